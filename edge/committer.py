"""The thread that owns the outbox and the LIVE socket: it commits, then sends, then says how far it has come.

A slow disk delays subscribers here and nobody else: the ledger only appends to a queue. A disk that cannot be written
ends nothing either (`keeper.py`): what is queued waits, or is let go and named later.

1. Everything that waits is taken, up to a batch, and committed in one transaction.
2. Each event of it is sent over XPUB and its record in the decided log is finished with.
3. The head sequence is sent every heartbeat, and at once to whoever subscribes: so a reader knows that it hears.
4. In between, a few milliseconds at a time, what is kept too long is removed.
"""

import math
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import msgspec
import zmq

from edge import told
from edge.config import Station, runtime_directory
from edge.decided_log import DecidedLog
from edge.events import Source
from edge.keeper import Keeper
from edge.ledger import Late
from edge.live import Live
from edge.messages import Acknowledged, Standing
from edge.metrics import Page
from edge.outbox import Draft, Outbox, OutboxError, Stored
from edge.outbox_health import BEHIND, Alarm
from edge.unkept import Unkept

# One commit costs the same for 1 and 64 events on most disks; more only makes the first of them wait.
BATCH_EVENTS = 256
# How often retention, the disk and what consumers acknowledged are seen to, and keys that were taken away.
TEND_S = 0.25
# With less than this share of the decided log free, no more triggers are accepted: what is in flight has room still.
BEHIND_SHARE = 1 / 8


class Reserve(msgspec.Struct, frozen=True):
    """Wanted: a block of trigger ids for this holder."""

    holder: str


class Reserved(msgspec.Struct, frozen=True):
    """A block of trigger ids, on disk for this holder."""

    holder: str
    first: int
    last: int


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """An event to commit: its record in the decided log (None: it has none), and when its frame was complete."""

    draft: Draft
    record: int | None
    captured_ns: int | None = None


class Lost(msgspec.Struct, frozen=True):
    """The event about trigger ids that went with another runtime directory: written once, and they are let go."""

    draft: Draft


Work = Decided | Reserve | Late | Lost | Standing | Acknowledged


class Committer:
    """The thread, and the two queues to and from it. All but `_run` and below is called by the main thread."""

    def __init__(
        self,
        outbox: Outbox,
        decided: DecidedLog,
        live: zmq.Socket[bytes],
        source: Source,
        page: Page,
        station: Station,
    ) -> None:
        """Takes over `outbox` and `live` from the moment of `start` until `finish`."""
        self._outbox, self._decided, self._source = outbox, decided, source
        self.live = Live(live, source, outbox, station.events.heartbeat_ms / 1000)
        self.keeper = Keeper(outbox, station.outbox, page)
        self._unkept = Unkept(runtime_directory(station) / "triggers" / "unkept.json")
        self._work: deque[Work] = deque()
        # What is taken from the queue stays in these until it is done with.
        self._batch: list[Decided] = []
        self._others: deque[Reserve | Late | Lost] = deque()
        # By consumer, with the stream that it is of: the outbox may be another one when it comes to writing.
        self._acknowledged: dict[str, Acknowledged] = {}
        self._answers: deque[Reserved] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._answered = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, "commit")
        self._written = page.counter("goldline_events_written_total")
        self._commit_seconds = page.histogram("goldline_outbox_commit_seconds")
        self._event_seconds = page.histogram("goldline_capture_to_event_seconds")
        self._head_gauge = page.gauge("goldline_outbox_head_sequence")
        self._unkept_total = page.counter("goldline_outbox_unkept_total")
        self._second = page.counter("goldline_invariant_violations_total", kind="second_decision")
        self._behind_alarm = page.gauge("goldline_outbox_alarm", alarm=BEHIND)

    def start(self) -> None:
        """Begin. The heartbeat begins with it."""
        self._head_gauge.set(self._outbox.head)
        self._running: Future[None] = self._thread.submit(self._run)
        self._running.add_done_callback(lambda _: os.eventfd_write(self._answered, 1))

    def fileno(self) -> int:
        """Readable when `answers` has something, or the thread has ended."""
        return self._answered

    def submit(self, work: Work) -> None:
        """Queue work. Never blocks."""
        self._work.append(work)
        os.eventfd_write(self._wake, 1)

    def answers(self) -> list[Reserved]:
        """The blocks reserved since the last call. Raises what ended the thread, if something did."""
        if select.select([self._answered], [], [], 0)[0]:
            os.eventfd_read(self._answered)
        if self._running.done():
            self._running.result()
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def may_accept(self) -> str | None:
        """None: a trigger may be accepted now. A text: why not. By the main thread, which also writes the decided log."""
        return self.keeper.health.refusal or next((alarm.text for alarm in self._behind()), None)

    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong with the record now; () while it is well. By the main thread."""
        behind = self._behind()
        self._behind_alarm.set(len(behind))
        return (*self.keeper.health.alarms, *behind)

    def _behind(self) -> tuple[Alarm, ...]:
        if self._decided.has_room(int(self._decided.size_bytes * BEHIND_SHARE)):
            return ()
        return (Alarm(BEHIND, "the outbox is behind: there is hardly room for more that is decided and not on disk"),)

    def finish(self) -> bool:
        """Commit and send what is queued, and end the thread: outbox and socket are the caller's again.

        False: not all of it could be written; the decided log has the rest. Raises what ended the thread before its
        time. A second call does nothing.
        """
        if not self._stopping:
            self._stopping = True
            os.eventfd_write(self._wake, 1)
            try:
                self._running.result()
            finally:
                self._thread.shutdown()
                os.close(self._wake)
                os.close(self._answered)
        return not self._has_work

    # --- the thread

    @property
    def _has_work(self) -> bool:
        return bool(self._work or self._batch or self._others)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake, zmq.POLLIN)
        poller.register(self.live.socket, zmq.POLLIN)
        next_tend_s, has_more = time.monotonic(), False
        while not self._stopping or (self._has_work and not self.keeper.is_failing):
            now_s = time.monotonic()
            beat_in_s = self.live.turn(now_s)
            if has_more or now_s >= next_tend_s:
                has_more, next_tend_s = self._tend(), time.monotonic() + TEND_S
            is_idle = not self._has_work or (self.keeper.is_failing and not self._work)
            idle_s = min(beat_in_s, next_tend_s - time.monotonic()) if is_idle and not has_more else 0.0
            if self._wake in dict(poller.poll(math.ceil(max(0.0, idle_s) * 1000))):
                os.eventfd_read(self._wake)
            self._take()
            self._do()
        self.live.send_head()

    def _tend(self) -> bool:
        has_more = self.keeper.tend()
        if self._acknowledged and not self.keeper.is_failing:
            self._quietly(partial(self._commit, []))
        if self._unkept.ranges and not self.keeper.is_failing:
            name = partial(self._unkept.name, self._outbox, self._source)
            if self._quietly(lambda: self._say(self.keeper.write(name))):
                self._unkept.clear()
        return has_more

    def _take(self) -> None:
        """Sort what waits. How the station stands is said at once, whatever the disk does."""
        for _ in range(len(self._work)):
            match work := self._work.popleft():
                case Decided():
                    self._batch.append(work)
                case Standing():
                    self.live.stand(work)
                case Acknowledged():
                    self._note(work)
                case _:
                    self._others.append(work)

    def _note(self, word: Acknowledged) -> None:
        """Keep what a consumer has, if it is of this outbox."""
        stream = str(self._outbox.stream)
        if word.stream in (None, stream):
            upto = max(word.upto, self._upto().get(word.consumer, 0))
            self._acknowledged[word.consumer] = Acknowledged(consumer=word.consumer, upto=upto, stream=stream)

    def _upto(self) -> dict[str, int]:
        stream = str(self._outbox.stream)
        return {name: word.upto for name, word in self._acknowledged.items() if word.stream == stream}

    def _do(self) -> None:
        if self.keeper.is_failing:
            if self.keeper.lets_go:
                self._let_go()
            return
        self._quietly(self._write)

    def _quietly(self, action: Callable[[], None]) -> bool:
        """The keeper knows of what goes wrong, and says so."""
        try:
            action()
        except OutboxError:
            return False
        return True

    def _write(self) -> None:
        while self._batch:
            self._commit(self._batch[:BATCH_EVENTS])
            del self._batch[:BATCH_EVENTS]
            self.live.turn(time.monotonic())
        while self._others:
            self.keeper.write(partial(self._serve, self._others[0]))
            self._others.popleft()

    def _serve(self, work: Reserve | Late | Lost) -> None:
        match work:
            case Reserve():
                self._answer(work.holder, *self._outbox.reserve(work.holder, self._decided.identity))
            case Lost():
                self._say(self._outbox.close_lost(self._decided.identity, work.draft))
            case Late():
                self._outbox.add_late(work)

    def _commit(self, batch: list[Decided]) -> None:
        before_s = time.monotonic()
        drafts = [work.draft for work in batch]
        stored = self.keeper.write(lambda: self._outbox.commit(drafts, self._upto()))
        self._acknowledged = {}
        if batch:
            self._commit_seconds.observe(time.monotonic() - before_s)
        self._say(stored)
        self._second.inc(len(batch) - len(stored))
        self._mark(batch)
        for work in batch:
            if work.captured_ns is not None:
                self._event_seconds.observe((time.monotonic_ns() - work.captured_ns) / 1e9)

    def _say(self, stored: Sequence[Stored]) -> None:
        for event in stored:
            self.live.send(event)
            self._written.inc()
        self._head_gauge.set(self._outbox.head)
        told.tell(stored)

    def _mark(self, batch: Iterable[Decided]) -> None:
        for work in batch:
            if work.record is not None:
                self._decided.mark_committed(work.record)

    def _answer(self, holder: str, first: int, last: int) -> None:
        self._answers.append(Reserved(holder, first, last))
        os.eventfd_write(self._answered, 1)

    # --- without a disk

    def _let_go(self) -> None:
        """The PLC is answered from the decided log; here it is noted whose events are missing."""
        if self._batch:
            self._unkept_total.inc(self._unkept.add(work.draft for work in self._batch))
            self._mark(self._batch)
            self._batch = []
        waiting = [work for work in self._others if isinstance(work, Lost)]
        for work in self._others:
            if isinstance(work, Reserve):
                self._answer(work.holder, *self._outbox.reserve_alone(work.holder, self._decided.identity))
        self._others = deque(waiting)
