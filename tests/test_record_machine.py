"""Ledger, logs and outbox together, killed anywhere: each accepted trigger has one event, with its first decision.

The outbox thread's part is played by the test, so that a kill falls where it wants it to: between any two writes.
"""

import os
import shutil
import tempfile
import time
from collections import Counter, deque
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge import events, unkept
from edge.books import COMMANDS, Books
from edge.committer import Decided, Work
from edge.config import Station
from edge.decided_log import DecidedLog, decided_path
from edge.ledger import Late
from edge.messages import Unjudged
from edge.metrics import Page, page_size
from edge.outbox import Outbox, OutboxError, Trouble
from edge.records import Outcome, Reason, Trigger
from edge.tally import Tally
from edge.trigger_log import OpenedLog, opened_path
from edge.unopened import Unopened, opened
from tests import values
from tests.publish_line import camera

HOUR_NS = 3600 * 10**9
CUTS = ("before the decided log", "behind the decided log", "behind the opened log")


class Killed(BaseException):
    """Between two writes."""


def unusable(path: Path, _run: str) -> Outbox:
    raise OutboxError(f"{path}: a disk that is away", Trouble.FAILED)


class CutLog(DecidedLog):
    """The decided log of a process that is killed at a place of its writing."""

    cut: str | None = None

    def append(self, event: bytes) -> int:
        if self.cut == CUTS[0]:
            raise Killed
        at = super().append(event)
        if self.cut == CUTS[1]:
            raise Killed
        return at


class Record(RuleBasedStateMachine):
    """A station of one free camera and one that takes orders. `accepted` are the triggers that were promised an event."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.runtime = self.directory / "run"
        cameras = {"left": camera("free"), "right": camera("software")}
        self.station = Station.model_validate({"state_dir": self.directory / "state", "cameras": cameras})
        memory = os.memfd_create("page")
        os.ftruncate(memory, page_size("publish", self.station.triggered))
        self.page = Page(memory, "publish", self.station.triggered)
        os.close(memory)
        self.accepted: dict[int, Trigger] = {}
        self.first: dict[int, Outcome] = {}
        self.pruned: dict[int, Outcome] = {}
        self.capture: OpenedLog | None = None
        self.start()

    # --- a life of publish

    def start(self, way=Outbox) -> None:
        self.outbox = opened(self.directory / "state" / "outbox.sqlite3", "run", way)
        self.decided = CutLog.create_or_resume(decided_path(self.runtime), "station", slots=256)
        self.books = Books(self.station, self.runtime, self.decided, Tally(self.page, self.station.triggered))
        self.queue: deque[Work] = deque(self.books.recover(self.outbox))
        if lost := self.outbox.lost_ids(self.decided.identity):
            self.outbox.close_lost(self.decided.identity, unkept.draft(self.books.source, lost, time.time_ns()))
        self.outbox.adopt(self.decided.identity, self.books.blocks())
        self.books.begin(self.submit)
        if self.capture is not None:
            self.books.attach("left")
        self.note_decided()

    def submit(self, work: Work) -> None:
        if self.decided.cut == CUTS[2]:
            raise Killed
        self.queue.append(work)

    def note_decided(self) -> None:
        """What stands in the decided log has been seen: it is what the event must say."""
        for one in self.decided.read_all():
            result = events.decode(one.event).data
            assert self.first.setdefault(result.trigger_id, result.verdict) is result.verdict, "a second decision"

    @rule()
    def kill(self, way=Outbox) -> None:
        self.outbox.close()
        self.books.close()
        self.decided.close()
        self.start(way)

    @rule()
    def kill_and_find_no_outbox(self) -> None:
        """Until the next death nothing is on disk, and what was there is not known."""
        self.kill(unusable)

    @property
    def has_outbox(self) -> bool:
        return not isinstance(self.outbox, Unopened)

    @rule()
    def power_cut(self) -> None:
        """What was not on disk is gone, with the processes that held it."""
        self.outbox.close()
        self.books.close()
        self.decided.close()
        if self.capture is not None:
            self.capture.close()
            self.capture = None
        shutil.rmtree(self.runtime)
        self.first = {}
        self.start()

    # --- triggers

    @rule()
    def capture_opens(self) -> None:
        if self.capture is None:
            self.capture = OpenedLog.create_or_resume(opened_path(self.runtime, "left"), "left")
            self.books.attach("left")
        if self.capture.next_id() is None:
            if not self.has_outbox:
                return
            self.capture.add_ids(*self.outbox.reserve("left", self.decided.identity))
        self.accept(self.capture.next_id(), "left", self.capture.append)

    @rule()
    def an_order_opens(self) -> None:
        if self.books.commands.next_id() is None:
            if not self.has_outbox:
                return
            self.books.take_ids(*self.outbox.reserve(COMMANDS, self.decided.identity))
        self.accept(self.books.commands.next_id(), "right", self.books.accept)

    def accept(self, number, name, write) -> None:
        assert number not in self.accepted, "an id was given twice"
        now_ns = time.monotonic_ns()
        trigger = values.trigger(
            number, name, opened_ns=now_ns, opened_utc_ns=time.time_ns(), deadline_ns=now_ns + HOUR_NS
        )
        write(trigger)
        self.accepted[number] = trigger

    @rule()
    def publish_reads(self) -> None:
        self.books.sweep()

    # --- verdicts

    @precondition(lambda self: self.accepted)
    @rule(
        data=st.data(), outcome=st.sampled_from([Outcome.PASS, Outcome.FAIL]), cut=st.sampled_from((None, None, *CUTS))
    )
    def judge(self, data, outcome, cut) -> None:
        trigger = self.accepted[data.draw(st.sampled_from(sorted(self.accepted)))]
        said = values.judged(trigger.trigger_id, trigger.camera, outcome, at_ns=time.monotonic_ns())
        self.cut_off(cut, lambda: self.books.judged(said))

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), cut=st.sampled_from((None, *CUTS)))
    def fail(self, data, cut) -> None:
        trigger = self.accepted[data.draw(st.sampled_from(sorted(self.accepted)))]
        failed = Unjudged(trigger_id=trigger.trigger_id, reason=Reason.OVERRUN)
        self.cut_off(cut, lambda: self.books.fail(trigger.camera, failed))

    @rule(cut=st.sampled_from((None, *CUTS)))
    def deadlines_pass(self, cut) -> None:
        self.cut_off(cut, lambda: self.books.expire(time.monotonic_ns() + 2 * HOUR_NS))

    def cut_off(self, cut, action) -> None:
        self.decided.cut = cut
        try:
            action()
            self.note_decided()
        except Killed:
            self.kill()
        self.decided.cut = None

    # --- the outbox thread

    @precondition(lambda self: self.has_outbox)
    @rule(count=st.integers(1, 5), is_cut=st.booleans())
    def commit(self, count, is_cut) -> None:
        batch = [self.queue.popleft() for _ in range(min(count, len(self.queue)))]
        decided = [work for work in batch if isinstance(work, Decided)]
        stored = self.outbox.commit([work.draft for work in decided])
        assert len(stored) == len(decided), "a second decision"
        for late in batch:
            if isinstance(late, Late):
                self.outbox.add_late(late)
        if is_cut:
            self.kill()
        else:
            for work in decided:
                self.decided.mark_committed(work.record)

    @precondition(lambda self: self.has_outbox)
    @rule(count=st.integers(1, 10))
    def prune(self, count) -> None:
        gone = self.outbox.read(1, count)
        if gone:
            for one in gone:
                result = events.decode(one.body).data
                self.pruned[result.trigger_id] = result.verdict
            self.outbox.prune(gone[-1].sequence)

    # --- what must hold

    @invariant()
    def it_adds_up(self) -> None:
        assert self.books.ledger.unbalanced() == []
        for name in self.station.triggered:
            ledger = self.books.ledger
            verdicts = sum(ledger.verdicts(name, outcome) for outcome in Outcome)
            assert ledger.triggers(name) == verdicts + ledger.in_flight(name)

    def teardown(self) -> None:
        self.kill()
        if self.capture is not None:
            self.books.attach("left")
        self.books.expire(time.monotonic_ns() + 2 * HOUR_NS)
        self.note_decided()
        self.commit(len(self.queue), is_cut=False) if self.queue else None
        stored = [events.decode(one.body) for one in self.outbox.read(1, 1_000_000)]
        numbers = [int(event.sequence) for event in stored]
        assert numbers == list(range(self.outbox.low or 1, self.outbox.head + 1))
        kept = Counter(event.data.trigger_id for event in stored if event.data.trigger_id is not None)
        assert not kept or max(kept.values()) == 1
        named = {
            number for event in stored for gap in event.data.interrupted for number in range(gap.first, gap.last + 1)
        }
        # The event that names what a power cut took may have been pruned as well: then nobody can tell.
        if None not in self.pruned:
            assert set(self.accepted) <= set(kept) | set(self.pruned) | named
        said = {event.data.trigger_id: event.data.verdict for event in stored} | self.pruned
        assert all(said[number] is verdict for number, verdict in self.first.items())
        self.outbox.close()
        self.books.close()
        self.decided.close()
        shutil.rmtree(self.directory)


TestRecord = Record.TestCase
# Each step writes and flushes real files.
TestRecord.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


def test_a_pass_without_a_frame_never_goes_out():
    violations: list[str] = []
    from edge.ledger import Decision, Ledger, View
    from edge.records import Verdict

    ledger = Ledger(violated=violations.append)
    ledger.open(values.trigger(1))
    decision = ledger.decide(1, "left", View(verdict=Verdict(outcome=Outcome.PASS)), 10)
    assert isinstance(decision, Decision)
    assert (decision.verdict.outcome, decision.verdict.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)
    assert violations == ["pass_without_frame"]
    assert ledger.unbalanced() == []
    ledger._opened["left"] += 1
    assert ledger.unbalanced() == ["left"]


def test_decisions_without_room_wait_in_order_and_are_written_when_there_is(tmp_path):
    """The outbox is away for so long that the decided log is full: nothing is lost, nothing goes out unwritten."""
    record = Record()
    record.decided.close()
    decided_path(record.runtime).unlink()
    record.decided = DecidedLog.create_or_resume(decided_path(record.runtime), "station", slots=16)
    record.books = Books(record.station, record.runtime, record.decided, Tally(record.page, record.station.triggered))
    record.books.begin(record.queue.append)
    for _ in range(30):
        record.capture_opens()
    record.books.attach("left")
    record.books.expire(time.monotonic_ns() + 2 * HOUR_NS)
    written = len(record.queue)
    assert 0 < written < 30
    assert record.books.is_blocked
    assert record.books.ledger.in_flight() == 0
    while record.queue:
        work = record.queue.popleft()
        record.outbox.commit([work.draft])
        record.decided.mark_committed(work.record)
        record.books.expire(time.monotonic_ns())
    stored = [events.decode(one.body).data.trigger_id for one in record.outbox.read(1, 100)]
    assert stored == sorted(record.accepted)
    shutil.rmtree(record.directory)
