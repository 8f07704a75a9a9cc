"""The station's parent process: one idempotent pass that starts, links, watches, restarts and stops the workers.

It holds no frame and takes no part in a verdict. Rings are made here, pages and sockets too; they live as long as
the processes that map them. Every worker dies with it, for systemd to start the station anew.
"""

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge import log, ring, topology
from edge.channel import ChannelClosed, pair
from edge.child import Child
from edge.config import Station
from edge.errors import GoldlineError
from edge.messages import Failed, Grant, Link, Offered, Stop, Taken, WantRing
from edge.reload import Reloads
from edge.vitals import Configured

# How long a pass waits for something to happen: the grain of the watchdog, not of anything a part waits for.
PASS_S = 0.25


@dataclass(frozen=True)
class SharedRing:
    """A camera's ring. It is kept while the frame size stays."""

    descriptor: int
    slots: int
    slot_bytes: int


class Supervisor:
    """Owns the children of a running station."""

    def __init__(self, station: Station, generation: int = 1) -> None:
        self.station = station
        self._log = structlog.get_logger()
        self._epoll = select.epoll()
        self._rings: dict[str, SharedRing] = {}
        self._stopping = False
        self.has_been_ready = False
        self.configured = Configured(generation)
        self.reloads = Reloads(self)
        self._epoll.register(self.reloads.wake, select.EPOLLIN)
        self.children = {process.name: Child(process, station, generation) for process in topology.processes(station)}

    @property
    def is_ready(self) -> bool:
        """Every worker is warm."""
        return all(child.is_running for child in self.children.values())

    @property
    def is_healthy(self) -> bool:
        """Every critical worker is inside its deadline, or in its declared pause before a restart."""
        return all(child.is_healthy for child in self.children.values() if child.process.role.is_critical)

    # --- the pass

    def turn(self, timeout_s: float = PASS_S) -> None:
        """Start what should run, hear what was said, look after what hangs. Raises GoldlineError: cannot start."""
        now_s = time.monotonic()
        for child in self.children.values():
            if not self._stopping and child.is_due(now_s):
                self._start(child, now_s)
        for descriptor, _ in self._epoll.poll(timeout_s):
            self._hear_or_reap(descriptor)
        for child in self.children.values():
            child.watch(time.monotonic())
        if not self._stopping:
            self.reloads.turn(time.monotonic())
        self.has_been_ready |= self.is_ready

    def _start(self, child: Child, now_s: float) -> None:
        child.start(now_s)
        assert child.control is not None
        self._epoll.register(child.control.fileno(), select.EPOLLIN)
        self._epoll.register(child.pidfd, select.EPOLLIN)
        for link in topology.links(self.station):
            # Capture is linked to inspection when it knows its frame size and asks for its ring.
            if child.name in link and child.name != topology.frames_from(link):
                self._link(link)

    def _hear_or_reap(self, descriptor: int) -> None:
        if descriptor == self.reloads.wake:
            self.reloads.awake()
        for child in self.children.values():
            if child.control is not None and child.control.fileno() == descriptor:
                self._hear(child)
            elif child.pidfd == descriptor:
                self._bury(child)

    # --- links

    def _link(self, link: tuple[str, str]) -> None:
        """A fresh pair of sockets for two live workers; where frames travel, after the ring they lie in."""
        up, down = (self.children[name] for name in link)
        if up.control is None or down.control is None:
            return
        if sender := topology.frames_from(link):
            if not up.has_ring:
                return
            self._grant(down, sender.partition("@")[2])
        first, second = pair()
        with first, second:
            up.tell(Link(peer=down.name), first.fileno())
            down.tell(Link(peer=up.name), second.fileno())

    def _grant(self, child: Child, camera: str) -> None:
        shared = self._rings[camera]
        grant = Grant(camera=camera, slots=shared.slots, slot_bytes=shared.slot_bytes)
        child.tell(grant, shared.descriptor)

    def _try_to_give_ring(self, child: Child, slot_bytes: int) -> None:
        try:
            self._give_ring(child, slot_bytes)
        except GoldlineError as problem:
            self._cannot_run(child, str(problem))
            child.kill()  # it asks again when it is started again

    def _give_ring(self, child: Child, slot_bytes: int) -> None:
        camera = child.name.partition("@")[2]
        shared = self._rings.get(camera)
        slots = self.station.cameras[camera].slots
        if shared is None or (shared.slots, shared.slot_bytes) != (slots, slot_bytes):
            self._rings[camera] = SharedRing(
                ring.create(f"goldline-ring-{camera}", slots, slot_bytes), slots, slot_bytes
            )
            if shared is not None:
                os.close(shared.descriptor)
        self._grant(child, camera)
        child.has_ring = True
        for link in topology.links(self.station):
            if topology.frames_from(link) == child.name:
                self._link(link)

    # --- what children say, and their death

    def _hear(self, child: Child) -> None:
        assert child.control is not None
        try:
            for message in child.control.drain():
                match message:
                    case WantRing(slot_bytes=slot_bytes):
                        self._try_to_give_ring(child, slot_bytes)
                    case Offered() | Taken():
                        self.reloads.heard(child, message)
                    case Failed(problem=problem):
                        self._cannot_run(child, problem)
                    case _:
                        self._log.error("unexpected message", child=child.name, message=type(message).__name__)
        except ChannelClosed:
            self._epoll.unregister(child.control.fileno())
            child.hang_up()

    def _cannot_run(self, child: Child, problem: str) -> None:
        """What a person must mend stops a start; a station that ran tries again, for it may be mended meanwhile."""
        if not self.has_been_ready:
            raise GoldlineError(f"{child.name}: {problem}")
        self._log.error("cannot run", child=child.name, problem=problem)

    def _bury(self, child: Child) -> None:
        if child.control is not None:
            self._hear(child)
        if child.control is not None:
            self._epoll.unregister(child.control.fileno())
        self._epoll.unregister(child.pidfd)
        child.reap(time.monotonic())
        self.reloads.lost(child)

    def commit(self, station: Station, generation: int) -> None:
        """Whoever is started from now on goes by this configuration."""
        self.station, self.configured.generation = station, generation
        log.set_level(station.log.level)
        for child in self.children.values():
            child.renew(station, generation)

    # --- the end

    def stop(self, alive: Callable[[], None]) -> None:
        """Stop in the order data flows, so that what is in hand flows out. `alive` is called while waiting."""
        self._stopping = True
        self.reloads.close("the station is stopping")
        for role in topology.ROLES:
            members = [child for child in self.children.values() if child.process.role is role]
            for child in members:
                child.tell(Stop())
            deadline_s = time.monotonic() + role.stop_s
            while any(child.popen for child in members) and time.monotonic() < deadline_s:
                self.turn(0.05)
                alive()
            self._end(members)

    def _end(self, members: list[Child]) -> None:
        for child in members:
            if child.popen is not None:
                self._log.error("did not stop in time", child=child.name)
                child.kill()
                self._bury(child)

    def close(self) -> None:
        """Kill whatever is left and let every descriptor go."""
        for child in self.children.values():
            child.dismiss()
            if child.popen is not None:
                self._bury(child)
        for shared in self._rings.values():
            os.close(shared.descriptor)
        self._epoll.close()
