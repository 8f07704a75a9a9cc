"""The ledger with its logs: what publish promises and decides, written down before anybody else sees it.

Opening: capture (or `accept`, for a command) writes the opened log; the ledger reads it there, never from a message.
Closing:
1. the ledger decides;
2. the event goes into the decided log: from here on it is decided, whoever is killed;
3. the opened record is finished with;
4. the event is queued for the outbox, and its decided record is finished with when it is on disk.

After a kill, a new publish reads both logs and the outbox and goes on: what is decided and not on disk is queued
again, what is opened and not decided is open again.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from edge import events, ledger, told
from edge.committer import Decided, Work
from edge.config import Station
from edge.decided_log import DecidedLog
from edge.decisions import Decisions
from edge.events import Source
from edge.ledger import Decision, Late, Ledger, Origin, UnknownTrigger, View
from edge.messages import Judged, Unjudged
from edge.orders import OrderError
from edge.outbox import Outbox
from edge.records import Reason, Trigger, error
from edge.tally import Tally
from edge.trigger_log import Full, OpenedLog, commands_path, opened_path

COMMANDS = "-commands"
# Often enough to be seen on the metrics page; the count takes as long as there are cameras and open triggers.
CHECK_NS = 5_000_000_000
# Inspection died with a product that it had only just begun with, and its successor judged by the one before.
OUTDATED = "it was judged by a product that was not in force any more"


class Books:
    """Owns the ledger and this process's side of the trigger logs."""

    def __init__(self, station: Station, runtime: Path, decided: DecidedLog, tally: Tally) -> None:
        """The commands log is made or resumed here; nothing is read before `recover`."""
        self._station, self._runtime, self._decided, self._tally = station, runtime, decided, tally
        self.source = Source(site=station.events.site, line=station.events.line, station=station.station_id)
        self._decisions = Decisions(station, decided, self.source)
        self._log = structlog.get_logger()
        self.commands = OpenedLog.create_or_resume(commands_path(runtime), COMMANDS)
        self._opened: dict[str, OpenedLog] = {}
        self.ledger = Ledger(violated=tally.violated)
        self._next_check_ns = 0
        self._required = (0, 0)
        self._submit: Callable[[Work], None] = lambda _: None
        self._fire: Callable[[Trigger], None] = lambda _: None

    # --- after a death

    def recover(self, outbox: Outbox) -> list[Decided]:
        """Read what earlier processes left. The result is to be committed: decided, and not on disk."""
        pending, closed = self._undone(outbox)
        counts = outbox.counts()
        for work in pending:
            result = work.draft.event.data
            key = (result.camera, result.verdict, result.reason)
            counts[key] = counts.get(key, 0) + 1
        self.ledger = Ledger(counts, violated=self._tally.violated)
        for trigger_id in closed:
            self.ledger.remember_closed(trigger_id)
        for camera in self._cameras_on_disk():
            if log := OpenedLog.attach(opened_path(self._runtime, camera)):
                self._opened[camera] = log
        for log in (self.commands, *self._opened.values()):
            self._resume(log, outbox)
        return pending

    def _undone(self, outbox: Outbox) -> tuple[list[Decided], list[int]]:
        pending: list[Decided] = []
        closed: list[int] = []
        for record in self._decided.read_all():
            event = events.decode(record.event)
            trigger_id = event.data.trigger_id or 0
            closed.append(trigger_id)
            if outbox.has_event(trigger_id):
                self._decided.mark_committed(record.at)
            elif not record.committed:
                pending.append(self._decisions.work(event, record.at))
        return pending, closed

    def _cameras_on_disk(self) -> list[str]:
        names = (path.stem.removeprefix("opened-") for path in self._runtime.glob("triggers/opened-*.log"))
        return sorted(names)

    def _resume(self, log: OpenedLog, outbox: Outbox) -> None:
        for trigger in log.read_unclosed():
            # Decided, and killed before the record could be marked; or of a decided log that is gone.
            if not self.ledger.knows(trigger.trigger_id) and outbox.has_event(trigger.trigger_id):
                self.ledger.remember_closed(trigger.trigger_id)
            if not self.ledger.open(trigger) and not self.ledger.is_open(trigger.trigger_id):
                log.mark_closed(trigger.trigger_id)

    def begin(self, submit: Callable[[Work], None]) -> None:
        """From here on decisions go to `submit`."""
        self._submit = submit
        self._tally.restore(self.ledger)

    def tell(self, fire: Callable[[Trigger], None]) -> None:
        """From here on `fire` hears of each trigger that capture opened, once."""
        self._fire = fire

    def take_over(self, station: Station, deadlines_ms: Mapping[str, float]) -> None:
        """Another configuration of the same cameras. `deadlines_ms`: of what has triggers of its own."""
        self._decisions.take_over(station)
        self._tally.show_deadlines(deadlines_ms)

    # --- opening

    def attach(self, camera: str) -> None:
        """Read on in the camera's opened log, or in the file that a new capture process has put in its place."""
        log = self._opened.get(camera)
        if log is None or not log.is_current:
            self._attach_anew(camera)
        self.sweep()

    def _attach_anew(self, camera: str) -> None:
        log = OpenedLog.attach(opened_path(self._runtime, camera))
        if log is None:
            return
        if previous := self._opened.pop(camera, None):
            previous.close()
        self._opened[camera] = log
        for trigger in log.read_unclosed():
            self._open(trigger, log)

    def sweep(self) -> None:
        """Open what the capture processes have written since the last time."""
        for log in self._opened.values():
            for trigger in log.read_new():
                self._open(trigger, log)

    def opened(self, trigger: Trigger) -> None:
        """Capture says that it wrote this trigger down."""
        if self.ledger.knows(trigger.trigger_id):
            return
        # Of a group's cameras the first opens its triggers.
        self.attach(trigger.cameras[0])
        if self._promise(trigger):
            self._log.error("opened trigger is not in its log", camera=trigger.camera, trigger_id=trigger.trigger_id)

    def accept(self, trigger: Trigger) -> None:
        """Open a trigger that came as an order, with an id of `commands`. Raises OrderError: it cannot be written down."""
        try:
            self.commands.append(trigger)
        except Full as problem:
            raise OrderError(str(problem)) from problem
        self._open(trigger, self.commands)

    def _open(self, trigger: Trigger, log: OpenedLog) -> None:
        if not self._promise(trigger) and not self.ledger.is_open(trigger.trigger_id):
            log.mark_closed(trigger.trigger_id)

    def _promise(self, trigger: Trigger) -> bool:
        """Open it, and have it known. False: it was opened before."""
        if not self.ledger.open(trigger):
            return False
        self._tally.opened(trigger.camera, self._in_flight(trigger.camera))
        if trigger.source in ("line", "free", "announced"):
            self._fire(trigger)
        return True

    # --- closing

    @property
    def is_blocked(self) -> bool:
        """The outbox is so far behind that no result can be taken in until it has caught up."""
        return self._decisions.is_blocked

    def require(self, generation: int, since_ns: int) -> None:
        """Frames that inspection is handed after this time are to be judged by this product, or a later one."""
        self._required = generation, since_ns

    def judged(self, message: Judged) -> None:
        """Inspection's verdict on a view."""
        generation, since_ns = self._required
        verdict = message.verdict
        is_outdated = message.provenance.configuration < generation and message.frame.handed_ns > since_ns
        if is_outdated and verdict.reason is None:
            verdict = error(Reason.CANNOT_JUDGE, OUTDATED)
        origin = Origin(frame=message.frame, provenance=message.provenance, timing=message.timing, image=message.image)
        self._expect(message.frame.camera, message.frame.trigger_id)
        self._decide(message.frame.view, message.frame.trigger_id, View(verdict=verdict, origin=origin))

    def fail(self, camera: str, failed: Unjudged) -> None:
        """Views of a camera come to nothing: its process says so, or could not even be told to take them."""
        self._expect(camera, failed.trigger_id)
        if not self.ledger.knows(failed.trigger_id):
            self._log.error("word of an unknown trigger", camera=camera, trigger_id=failed.trigger_id)
            self._tally.violated(ledger.UNKNOWN_TRIGGER)
            return
        every = self.ledger.missing_of(failed.trigger_id, camera)
        for name in every if failed.view is None else (failed.view,):
            self._decide(name, failed.trigger_id, View(verdict=error(failed.reason, failed.detail)))

    def _expect(self, camera: str, trigger_id: int) -> None:
        """Two sockets race: inspection may be done before capture's message is read. The log knows."""
        self.expire(time.monotonic_ns())
        if not self.ledger.knows(trigger_id):
            self.attach(camera)

    def _decide(self, name: str, trigger_id: int, view: View) -> None:
        try:
            outcome = self.ledger.decide(trigger_id, name, view, time.monotonic_ns())
        except UnknownTrigger:
            self._log.error("verdict for an unknown trigger", **told.about(name, trigger_id, view))
            return
        if isinstance(outcome, Late):
            self._log.warning("late result", **told.about(name, trigger_id, view), verdict=view.verdict.outcome)
            self._tally.late()
            self._submit(outcome)
        elif outcome is not None:
            self._close([outcome])

    def expire(self, now_ns: int) -> None:
        """Close what is past its deadline, and write down what had to wait for room."""
        self._close(self.ledger.expire(now_ns))
        if now_ns >= self._next_check_ns:
            self._next_check_ns = now_ns + CHECK_NS
            self._check()

    def _check(self) -> None:
        """What must always hold is looked at while the station runs, not only in tests."""
        for name in self.ledger.unbalanced():
            self._log.error("triggers and verdicts do not add up", camera=name)
            self._tally.violated(ledger.UNBALANCED)

    def lost_inspection(self) -> None:
        """Inspection's process has died."""
        self._close(self.ledger.lost_inspection(time.monotonic_ns()))

    def lost_capture(self, camera: str, *, is_inspected: bool) -> None:
        """The camera's process has died; with no inspection there, nobody answers for what it had handed over."""
        # Its last triggers stand in its log, whether it came to tell of them or not.
        self.attach(camera)
        log = self._opened.get(camera)
        handed = [
            (trigger.trigger_id, view)
            for trigger, view in self.ledger.missing(camera)
            if log is not None
            and is_inspected
            and log.is_handed(trigger.trigger_id, trigger.views_of(camera).index(view))
        ]
        self._close(self.ledger.lost_capture(camera, handed, time.monotonic_ns()))

    def shut_down(self) -> None:
        """Close everything that is open."""
        self.sweep()
        self._close(self.ledger.shut_down(time.monotonic_ns()))

    def _close(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self._decisions.add(decision)
        for decision, work in self._decisions.written():
            self.commands.mark_closed(decision.trigger.trigger_id)
            for camera in decision.trigger.cameras:
                if log := self._opened.get(camera):
                    log.mark_closed(decision.trigger.trigger_id)
            # Counted once it is written: a successor counts from the record.
            self._tally.closed(decision, self._in_flight(decision.trigger.camera))
            self._submit(work)

    def _in_flight(self, name: str) -> int:
        """Triggers whose verdict is not written yet."""
        return self.ledger.in_flight(name) + self._decisions.waiting(name)

    @property
    def decided(self) -> DecidedLog:
        """What is decided, for lanes."""
        return self._decided

    # --- trigger ids, and the end

    def take_ids(self, first: int, last: int) -> None:
        """A block for commands."""
        self.commands.add_ids(first, last)

    def blocks(self) -> list[tuple[str, int, int]]:
        """The blocks of ids in use: holder, first and last."""
        logs = {COMMANDS: self.commands, **self._opened}
        return [(holder, block.first, block.last) for holder, log in logs.items() for block in log.blocks]

    def held_ids(self) -> list[int]:
        """Give back this process's ids, and return the first id of each block that some other still holds."""
        self.commands.surrender_ids()
        return [block.first for log in self._opened.values() for block in log.blocks]

    def close(self) -> None:
        """Unmap the logs."""
        for log in (self.commands, *self._opened.values()):
            log.close()
