"""PROCESS: ledger, outbox and ZeroMQ sockets. Nothing here waits for a disk or for a subscriber.

One loop: what came in is read, inspection before captures, so that a verdict beats the news of its capture's death;
what is due is closed; what the outbox thread answered is passed on.
"""

import math
import os
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import structlog
import zmq

from edge import announce, border
from edge.books import COMMANDS, Books
from edge.channel import Channel, ChannelClosed, ChannelFull
from edge.committer import Committer, Reserve
from edge.config import Station, runtime_directory
from edge.events import NONE
from edge.header import Flag
from edge.messages import AnyMessage, Fire, Ids, Judged, Link, Opened, Stop, Unjudged, WantIds
from edge.metrics import State
from edge.metronome import Metronome
from edge.order_desk import OrderDesk
from edge.orders import OrderError
from edge.outbox import Draft, Outbox
from edge.record_log import boot_identity
from edge.records import Reason, Trigger
from edge.tally import Tally
from edge.trigger_log import DecidedLog, decided_path
from edge.worker import WorkerContext

# The loop comes round at least this often, to beat.
TURN_MS = 250
# A stop waits this long for the processes before this one to hand on what they hold; the supervisor allows 3 s.
STOP_WAIT_S = 2.0
INSPECTION = "inspection"


def run(context: WorkerContext) -> None:
    """Publish until told to stop."""
    station, page = context.station, context.page
    runtime = runtime_directory(station)
    with ExitStack() as stack:
        zmq_context = stack.enter_context(zmq.Context[zmq.Socket[bytes]]())
        live = stack.enter_context(border.bind(zmq_context, zmq.XPUB, "events.live", station.events.live))
        command = stack.enter_context(border.bind(zmq_context, zmq.ROUTER, "events.command", station.events.command))
        outbox = stack.enter_context(Outbox(outbox_path(station), run_identity()))
        decided = DecidedLog.create_or_resume(decided_path(runtime), station.station_id)
        books = Books(station, runtime, decided, Tally(page, station.triggered))
        committer = Committer(outbox, decided, live, books.source, page, station.events.heartbeat_ms / 1000)
        begin(station, books, outbox, decided, committer)
        # However this ends, what is decided is committed, and no thread is left to keep the process from leaving.
        stack.callback(committer.finish)
        publisher = Publisher(context, books, committer, outbox, command)
        while not publisher.is_done:
            publisher.turn()
        books.shut_down()
        committer.finish()
        outbox.release(decided.identity, books.held_ids())
        books.close()
        decided.close()


def begin(station: Station, books: Books, outbox: Outbox, decided: DecidedLog, committer: Committer) -> None:
    """Take up what earlier processes left, say what a power cut took, and start the outbox thread."""
    pending = books.recover(outbox)
    lost = outbox.lost_ids(decided.identity)
    if books.commands.wants_ids and any(camera.trigger.mode == "software" for camera in station.cameras.values()):
        books.take_ids(*outbox.reserve(COMMANDS, decided.identity))
    if lost:
        now_utc_ns = time.time_ns()
        topic = books.source.topic(NONE, "result")
        event = announce.interrupted_event(books.source, lost, now_utc_ns)
        outbox.close_lost(
            decided.identity, Draft(topic=topic, flags=Flag.DURABLE, verdict_utc_ns=now_utc_ns, event=event)
        )
        structlog.get_logger().warning("triggers without a record: the power failed", ranges=len(lost))
    for work in pending:
        committer.submit(work)
    books.begin(committer.submit)
    committer.start()


def outbox_path(station: Station) -> Path:
    """The database of events."""
    return station.state_dir / "outbox.sqlite3"


def run_identity() -> str:
    """This run of the station: the life of the process that supervises. Counts are kept for as long as it lives."""
    parent = os.getppid()
    # The fields behind the name in brackets, which may hold spaces; the 20th of them is the start time.
    started = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return f"{boot_identity().hex()}-{parent}-{started}"


class Publisher:
    """The loop's state: links to the other processes, the command socket, timers."""

    def __init__(
        self, context: WorkerContext, books: Books, committer: Committer, outbox: Outbox, command: zmq.Socket[bytes]
    ) -> None:
        """Nothing is read before the first `turn`."""
        self._station, self._page, self._control = context.station, context.page, context.control
        self._books, self._committer, self._command = books, committer, command
        self._desk = OrderDesk(command, context.station, books, outbox, self)
        self._log = structlog.get_logger()
        self._links: dict[str, Channel] = {}
        self._ids_asked = False
        self._stop_by_ns: int | None = None
        periods_ms = {name: ms for name in self._station.triggered if (ms := self._station.period_ms(name)) is not None}
        self._metronome = Metronome(periods_ms, time.monotonic_ns())
        # The first camera of a group on the line has opened it; the others hear of it here.
        books.tell(lambda trigger: self._fire(trigger, trigger.cameras[1:]))

    @property
    def is_done(self) -> bool:
        """Told to stop, and nobody is left to wait for."""
        return self._stop_by_ns is not None and (not self._links or time.monotonic_ns() >= self._stop_by_ns)

    @property
    def is_stopping(self) -> bool:
        """Told to stop: no more triggers are taken."""
        return self._stop_by_ns is not None

    def is_linked(self, camera: str) -> bool:
        """Whether the camera's process is there."""
        return f"capture@{camera}" in self._links

    def turn(self) -> None:
        """One round of the loop."""
        self._beat()
        self._wait()
        self._hear_control()
        for answer in self._committer.answers():
            self._give_ids(answer.holder, answer.first, answer.last)
        if self._books.is_blocked:
            return
        self._books.sweep()
        for peer in sorted(self._links, key=lambda name: name != INSPECTION):
            self._hear_peer(peer)
        self._desk.serve()
        self._books.expire(time.monotonic_ns())
        self._trigger_by_clock()
        self._want_ids()

    def _beat(self) -> None:
        in_flight = self._books.ledger.in_flight()
        state = State.STOPPING if self._stop_by_ns is not None else State.BUSY if in_flight else State.IDLE
        self._page.beat(state, time.monotonic_ns(), in_flight)

    def _wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self._control.fileno(), zmq.POLLIN)
        poller.register(self._committer.fileno(), zmq.POLLIN)
        if self._books.is_blocked:
            poller.poll(TURN_MS)
            return
        for channel in self._links.values():
            poller.register(channel.fileno(), zmq.POLLIN)
        poller.register(self._command, zmq.POLLIN)
        due_ns = (self._metronome.next_ns, self._books.ledger.next_deadline_ns())
        wait_ms = min([TURN_MS, *((due - time.monotonic_ns()) / 1e6 for due in due_ns if due is not None)])
        poller.poll(math.ceil(max(0.0, wait_ms)))

    # --- the supervisor

    def _hear_control(self) -> None:
        try:
            while (received := self._control.receive_with_descriptor()) is not None:
                message, descriptor = received
                if isinstance(message, Link) and descriptor is not None:
                    self._link(message.peer, descriptor)
                elif isinstance(message, Stop):
                    self._stop()
                else:
                    self._log.error("unexpected message", message=type(message).__name__)
        except ChannelClosed:
            self._stop()

    def _stop(self) -> None:
        if self._stop_by_ns is None:
            self._stop_by_ns = time.monotonic_ns() + int(STOP_WAIT_S * 1e9)
            self._metronome.stop()

    def _link(self, peer: str, descriptor: int) -> None:
        """A new incarnation of a peer. The one before is dead, even if its end was not read yet."""
        self._hear_peer(peer)
        self._lose(peer)
        self._links[peer] = Channel(socket.socket(fileno=descriptor))
        if peer.startswith("capture@"):
            self._books.attach(_camera(peer))

    # --- the other workers

    def _hear_peer(self, peer: str) -> None:
        if peer not in self._links:
            return
        try:
            for message in self._links[peer].drain():
                self._hear(peer, message)
        except ChannelClosed:
            self._lose(peer)

    def _lose(self, peer: str) -> None:
        channel = self._links.pop(peer, None)
        if channel is not None:
            channel.close()
            self._lost(peer)

    def _lost(self, peer: str) -> None:
        if self.is_stopping:
            return  # it left because it was told to; what it left open is closed as such
        if peer == INSPECTION:
            self._books.lost_inspection()
        elif peer.startswith("capture@"):
            self._books.lost_capture(_camera(peer), is_inspected=INSPECTION in self._links)

    def _hear(self, peer: str, message: AnyMessage) -> None:
        match message:
            case Judged():
                self._books.judged(message)
            case Unjudged():
                # What inspection said before it died, and capture noticed, was said first.
                self._hear_peer(INSPECTION)
                self._books.fail(_camera(peer), message)
            case Opened():
                self._books.opened(message.trigger)
            case WantIds():
                # A new log has no ids: this is its first sign of life.
                self._books.attach(_camera(peer))
                self._committer.submit(Reserve(_camera(peer)))
            case _:
                self._log.error("unexpected message", peer=peer, message=type(message).__name__)

    def _send(self, peer: str, message: AnyMessage) -> Reason | None:
        """Send, or say why it cannot be."""
        if peer not in self._links:
            return Reason.CAMERA_DOWN
        try:
            self._links[peer].send(message)
        except ChannelFull:
            return Reason.OVERRUN
        except ChannelClosed:
            # Its end is read, and dealt with, on the next turn.
            return Reason.CAMERA_DOWN
        return None

    # --- trigger ids

    def _give_ids(self, holder: str, first: int, last: int) -> None:
        if holder == COMMANDS:
            self._books.take_ids(first, last)
            self._ids_asked = False
        elif self._send(f"capture@{holder}", Ids(first=first, last=last)) is not None:
            self._log.info("trigger ids are let go: nobody is there to take them", camera=holder, first=first)

    def _want_ids(self) -> None:
        is_wanted = any(camera.trigger.mode == "software" for camera in self._station.cameras.values())
        if is_wanted and self._books.commands.wants_ids and not self._ids_asked:
            self._ids_asked = True
            self._committer.submit(Reserve(COMMANDS))

    # --- triggers

    def trigger(self, name: str, unit_identifier: str | None, expect: dict[str, str]) -> int:
        """Open a trigger that came as a command, and have its cameras fired. Raises OrderError."""
        trigger = self._books.accept(name, unit_identifier, expect)
        self._fire(trigger, trigger.cameras)
        return trigger.trigger_id

    def _fire(self, trigger: Trigger, cameras: Iterable[str]) -> None:
        """Have each take what it is to take for it."""
        for camera in cameras:
            reason = self._send(f"capture@{camera}", Fire(trigger=trigger))
            if reason is not None:
                detail = "the trigger could not be handed to the camera's process"
                self._books.fail(camera, Unjudged(trigger_id=trigger.trigger_id, reason=reason, detail=detail))

    def _trigger_by_clock(self) -> None:
        for name in self._metronome.take(time.monotonic_ns()):
            # Without a camera nothing passes by that somebody waits for.
            if any(self.is_linked(camera) for camera in self._station.cameras_of(name)):
                self._trigger_if_possible(name)

    def _trigger_if_possible(self, name: str) -> None:
        try:
            self.trigger(name, None, {})
        except OrderError as problem:
            self._log.warning("not triggered", camera=name, problem=str(problem))


def _camera(peer: str) -> str:
    return peer.partition("@")[2]
