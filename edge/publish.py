"""PROCESS: ledger, outbox and ZeroMQ sockets. Nothing here waits for a disk or for a subscriber.

One loop: what came in is read, inspection before captures, so that a verdict beats the news of its capture's death;
what is due is closed; what the outbox thread answered is passed on.
"""

import math
import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog
import zmq

from edge import border, resume
from edge.books import COMMANDS, Books
from edge.channel import ChannelClosed
from edge.committer import Committer, Reserve
from edge.config import Station, runtime_directory
from edge.decided_log import DecidedLog, decided_path
from edge.firing import Firing
from edge.guard import Guard, tend
from edge.job_desk import JobDesk
from edge.keeper import open_outbox
from edge.keys import ZONES
from edge.lane_desk import LaneDesk, is_lane
from edge.links import CAPTURE, INSPECTION, SYNC, Links, camera_of
from edge.messages import (
    Abandon,
    Acknowledged,
    AnyMessage,
    Asked,
    Commit,
    Ids,
    Judged,
    Link,
    Offer,
    Opened,
    Prepared,
    Stop,
    Streams,
    Unjudged,
    WantIds,
)
from edge.metrics import State
from edge.order_desk import OrderDesk
from edge.outbox import Outbox
from edge.publish_reload import Parts, PublishReload
from edge.record_log import boot_identity
from edge.records import Reason, Trigger
from edge.station_state import Describer, Teller
from edge.tally import Tally
from edge.topology import triggerable
from edge.unopened import Unopened, opened
from edge.worker import WorkerContext

# The loop comes round at least this often, to beat: lanes count it as dead after three beats that are missing.
TURN_MS = 50
# A stop waits this long for the processes before this one to hand on what they hold; the supervisor allows 3 s.
STOP_WAIT_S = 2.0


def run(context: WorkerContext) -> None:
    """Publish until told to stop."""
    station, page = context.station, context.page
    runtime = runtime_directory(station)
    with ExitStack() as stack:
        zmq_context = stack.enter_context(zmq.Context[zmq.Socket[bytes]]())
        refused = {zone: page.counter("goldline_peers_refused_total", zone=zone) for zone in ZONES}
        guard = stack.enter_context(Guard(zmq_context, station, lambda zone: refused[zone].inc()))
        guarded = partial(border.bind, zmq_context, security=guard)
        live = stack.enter_context(guarded(zmq.XPUB, "events.live", station.events.live, zone="events"))
        command = stack.enter_context(guarded(zmq.ROUTER, "events.command", station.events.command, zone="orders"))
        outbox = stack.enter_context(opened(outbox_path(station), run_identity(), open_outbox))
        decided = DecidedLog.create_or_resume(decided_path(runtime), station.station_id)
        tally = Tally(page, triggerable(station))
        tally.show_deadlines({name: station.deadline_ms(name) for name in triggerable(station)})
        books = Books(station, runtime, decided, tally)
        outbox, pending = resume.recover(books, outbox)
        committer = Committer(outbox, decided, live, books.source, page, station)
        resume.begin(station, books, outbox, decided, committer, pending)
        # However this ends, what is decided is committed, and no thread is left to keep the process from leaving.
        stack.callback(committer.finish)
        publisher = Publisher(context, books, committer, outbox, command)
        while not publisher.is_done:
            publisher.turn()
        if publisher.begins_anew:
            committer.finish()
        else:
            resume.end(books, outbox, decided, committer)
        books.close()
        decided.close()


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
        station = self._station = context.station
        self._page, self._control = context.page, context.control
        self._books, self._committer, self._outbox, self._command = books, committer, outbox, command
        self._log = structlog.get_logger()
        self._links = Links(self._hear, self._lost)
        self._firing = Firing(station, books, committer, self._links.send)
        runtime = runtime_directory(station)
        self._jobs = JobDesk(station, runtime, run_identity(), context.generation, books, self._firing, self._links)
        self._describer = describer = Describer(station, books, outbox, self._jobs, self._links.__contains__)
        self._desk = OrderDesk(command, station, self._jobs, describer, lambda: self.is_stopping)
        self._lanes = LaneDesk(self._links.send, self._desk.answer, books.decided)
        self._teller = Teller(describer, committer, self._lanes.stand, self._links.__contains__)
        self._reload = PublishReload(context.control, self._jobs, Parts(self._firing, books, committer))
        # Blocks of trigger ids that a capture's socket had no room for: it has asked, and does not ask again.
        self._ungiven: dict[str, Ids] = {}
        self._stop_by_ns: int | None = None
        books.tell(self._opened)

    @property
    def is_done(self) -> bool:
        """Told to stop, and nobody is left to wait for; or to be started again, for the outbox can be opened now."""
        if self._stop_by_ns is None:
            return self.begins_anew
        has_upstream = any(peer == INSPECTION or peer.startswith(CAPTURE) for peer in self._links)
        return not has_upstream or time.monotonic_ns() >= self._stop_by_ns

    @property
    def begins_anew(self) -> bool:
        """Not told to stop: publish is to be started again, for what could not be opened at its start can be now."""
        return self._stop_by_ns is None and isinstance(self._outbox, Unopened) and self._outbox.can_be_opened

    @property
    def is_stopping(self) -> bool:
        """Told to stop: no more triggers are taken."""
        return self._stop_by_ns is not None

    def turn(self) -> None:
        """One round of the loop."""
        self._beat()
        self._wait()
        self._hear_control()
        for answer in self._committer.answers():
            self._take_ids(answer.holder, answer.first, answer.last)
        self._give_ids()
        self._books.sweep()
        for peer in self._heard():
            self._links.read(peer)
        self._jobs.turn(self._committer.may_accept())
        tend(self._command)
        self._desk.serve()
        self._books.expire(time.monotonic_ns())
        self._firing.by_clock(self._jobs.trigger_by_clock, self._links)
        self._firing.want_ids()
        self._teller.turn(time.monotonic_ns(), time.time_ns())
        self._lanes.keep_up()
        self._reload.turn()

    def _beat(self) -> None:
        in_flight = self._books.ledger.in_flight()
        state = State.STOPPING if self._stop_by_ns is not None else State.BUSY if in_flight else State.IDLE
        now_ns = time.monotonic_ns()
        self._lanes.beat(now_ns)
        self._page.beat(state, now_ns, in_flight)

    def _wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self._control.fileno(), zmq.POLLIN)
        poller.register(self._committer.fileno(), zmq.POLLIN)
        for peer in self._heard():
            poller.register(self._links.fileno(peer), zmq.POLLIN)
        poller.register(self._command, zmq.POLLIN)
        due_ns = (self._firing.next_ns, self._books.ledger.next_deadline_ns())
        wait_ms = min([TURN_MS, *((due - time.monotonic_ns()) / 1e6 for due in due_ns if due is not None)])
        poller.poll(math.ceil(max(0.0, wait_ms)))

    def _heard(self) -> list[str]:
        """Whose words are read now. While nothing more can be decided, what is judged waits in its socket."""
        return [peer for peer in self._links if is_lane(peer) or peer == SYNC or not self._books.is_blocked]

    # --- the supervisor

    def _hear_control(self) -> None:
        try:
            while (received := self._control.receive_with_descriptor()) is not None:
                message, descriptor = received
                if isinstance(message, Link) and descriptor is not None:
                    self._link(message.peer, descriptor)
                elif isinstance(message, Stop):
                    self._stop()
                elif isinstance(message, Offer | Commit | Abandon):
                    self._reload.hear(message, descriptor)
                else:
                    self._log.error("unexpected message", message=type(message).__name__)
        except ChannelClosed:
            self._stop()

    def _stop(self) -> None:
        if self._stop_by_ns is None:
            self._stop_by_ns = time.monotonic_ns() + int(STOP_WAIT_S * 1e9)
            self._firing.stop_clock()
            self._jobs.stop()

    def _link(self, peer: str, descriptor: int) -> None:
        self._links.take(peer, descriptor)
        if peer.startswith(CAPTURE):
            self._books.attach(camera_of(peer))
            self._describer.streams(camera_of(peer), is_up=False)
        elif is_lane(peer):
            self._lanes.link(peer)
        self._jobs.link(peer)

    # --- the other workers

    def _lost(self, peer: str) -> None:
        self._lanes.lose(peer)
        if self.is_stopping:
            return  # it left because it was told to; what it left open is closed as such
        self._jobs.lose(peer)
        if peer == INSPECTION:
            self._books.lost_inspection()
        elif peer.startswith(CAPTURE):
            self._describer.streams(camera_of(peer), is_up=False)
            self._books.lost_capture(camera_of(peer), is_inspected=INSPECTION in self._links)

    def _hear(self, peer: str, message: AnyMessage) -> None:
        match message:
            case Judged():
                self._books.judged(message)
            case Unjudged():
                # What inspection said before it died, and capture noticed, was said first.
                self._links.read(INSPECTION)
                self._books.fail(camera_of(peer), message)
            case Prepared():
                self._jobs.prepared(message)
            case Streams():
                self._describer.streams(camera_of(peer), is_up=message.is_up)
            case Opened():
                self._books.opened(message.trigger)
            case Asked():
                self._lanes.hear(peer, message)
            case Acknowledged():
                self._committer.submit(message)
            case WantIds():
                # A new log has no ids: this is its first sign of life.
                self._books.attach(camera_of(peer))
                self._committer.submit(Reserve(camera_of(peer)))
            case _:
                self._log.error("unexpected message", peer=peer, message=type(message).__name__)

    def _send(self, peer: str, message: AnyMessage) -> Reason | None:
        """Send, or say why it cannot be."""
        return self._links.send(peer, message)

    def _opened(self, trigger: Trigger) -> None:
        """Capture opened it. Of a group on the line the first camera's did; the others hear of it here."""
        if trigger.source == "line":
            self._firing.fire(trigger, trigger.cameras[1:])
        self._jobs.opened(trigger)

    def _take_ids(self, holder: str, first: int, last: int) -> None:
        if holder == COMMANDS:
            self._firing.take_ids(first, last)
        else:
            self._ungiven[holder] = Ids(first=first, last=last)

    def _give_ids(self) -> None:
        for camera, ids in list(self._ungiven.items()):
            reason = self._send(f"{CAPTURE}{camera}", ids)
            if reason is Reason.OVERRUN:
                continue
            del self._ungiven[camera]
            if reason is not None:
                self._log.info("trigger ids are let go: nobody is there to take them", camera=camera, first=ids.first)
