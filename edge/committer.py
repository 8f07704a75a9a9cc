"""The thread that owns the outbox and the LIVE socket: it commits, then sends, then says how far it has come.

A slow disk delays subscribers here and nobody else: the ledger only appends to a queue.

1. Everything that waits is taken, up to a batch, and committed in one transaction.
2. Each event of it is sent over XPUB and its record in the decided log is finished with.
3. The head sequence is sent every heartbeat, and at once to whoever subscribes: so a reader knows that it hears.
"""

import math
import os
import select
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import msgspec
import zmq

from edge import events, header
from edge.events import NONE, Head, Source
from edge.guard import tend
from edge.header import Flag, Header
from edge.ledger import Late
from edge.messages import Standing
from edge.metrics import Page
from edge.outbox import Draft, Outbox, Stored
from edge.outbox_health import Alarm
from edge.trigger_log import DecidedLog

# One commit costs the same for 1 and 64 events on most disks; more only makes the first of them wait.
BATCH_EVENTS = 256
# However seldom the heartbeat is: subscribers whose key was taken away are gone by then.
TURN_S = 0.5


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


Work = Decided | Reserve | Late | Standing


class Committer:
    """The thread, and the two queues to and from it. All but `_run` and below is called by the main thread."""

    def __init__(
        self,
        outbox: Outbox,
        decided: DecidedLog,
        live: zmq.Socket[bytes],
        source: Source,
        page: Page,
        heartbeat_s: float,
    ) -> None:
        """Takes over `outbox` and `live` from the moment of `start` until `finish`."""
        self._outbox, self._decided, self._live, self._page = outbox, decided, live, page
        # A second subscriber to the same topic is told to us as well: it waits for its first heartbeat.
        live.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._heartbeat_s = heartbeat_s
        self._heartbeat_topic = source.topic(NONE, "hb").encode()
        self._state_topic = source.topic(NONE, "state").encode()
        self._standing: Standing | None = None
        self._work: deque[Work] = deque()
        self._answers: deque[Reserved] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._answered = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, "commit")
        self._written = page.counter("goldline_events_written_total")
        self._commit_seconds = page.histogram("goldline_outbox_commit_seconds")
        self._head_gauge = page.gauge("goldline_outbox_head_sequence")

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
        return None

    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong with the record now; () while it is well."""
        return ()

    def finish(self) -> None:
        """Commit and send what is queued, and end the thread: outbox and socket are the caller's again.

        Raises what ended the thread before its time. A second call does nothing.
        """
        if self._stopping:
            return
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        try:
            self._running.result()
        finally:
            self._thread.shutdown()
            os.close(self._wake)
            os.close(self._answered)

    # --- the thread

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake, zmq.POLLIN)
        poller.register(self._live, zmq.POLLIN)
        next_beat_s = time.monotonic()
        while not (self._stopping and not self._work):
            if time.monotonic() >= next_beat_s:
                self._send_head()
                next_beat_s = time.monotonic() + self._heartbeat_s
            tend(self._live)
            wait_ms = 0 if self._work else math.ceil(max(0.0, min(TURN_S, next_beat_s - time.monotonic())) * 1000)
            ready = dict(poller.poll(wait_ms))
            if self._wake in ready:
                os.eventfd_read(self._wake)
            if self._live in ready:
                self._greet()
            self._do(self._take())
        self._send_head()

    def _take(self) -> list[Work]:
        return [self._work.popleft() for _ in range(min(BATCH_EVENTS, len(self._work)))]

    def _do(self, batch: list[Work]) -> None:
        decided = [work for work in batch if isinstance(work, Decided)]
        if decided:
            self._commit(decided)
        for work in batch:
            if isinstance(work, Reserve):
                first, last = self._outbox.reserve(work.holder, self._decided.identity)
                self._answers.append(Reserved(work.holder, first, last))
                os.eventfd_write(self._answered, 1)
            elif isinstance(work, Late):
                self._outbox.add_late(work)
            elif isinstance(work, Standing):
                self._standing = work
                self._send_state()

    def _commit(self, batch: list[Decided]) -> None:
        before_s = time.monotonic()
        stored = self._outbox.commit([work.draft for work in batch])
        self._commit_seconds.observe(time.monotonic() - before_s)
        for event in stored:
            self._send(event)
        for work in batch:
            if work.record is not None:
                self._decided.mark_committed(work.record)
            if work.captured_ns is not None:
                camera = work.draft.event.data.camera
                seconds = (time.monotonic_ns() - work.captured_ns) / 1e9
                self._page.histogram("goldline_capture_to_event_seconds", camera=camera).observe(seconds)
        self._written.inc(len(stored))
        self._head_gauge.set(self._outbox.head)

    def _send(self, event: Stored) -> None:
        # XPUB drops for a subscriber that is too far behind; it never blocks.
        self._live.send_multipart([event.topic.encode(), event.header, event.body])

    def _greet(self) -> None:
        """Read subscriptions; a new subscriber gets the head at once."""
        joined = False
        while self._live.poll(0):
            joined |= self._live.recv()[:1] == b"\x01"
        if joined:
            self._send_head()
            self._send_state()

    def _send_head(self) -> None:
        body = Head(stream=str(self._outbox.stream), head=self._outbox.head, low=self._outbox.low)
        self._say(self._heartbeat_topic, events.encode(body))

    def _send_state(self) -> None:
        """How the station stands: at each change, and to whoever joins."""
        if self._standing is not None:
            self._say(self._state_topic, self._standing.state)

    def _say(self, topic: bytes, body: bytes) -> None:
        """What is no event: its header has the newest sequence number and no flag."""
        stream: UUID = self._outbox.stream
        named = Header(
            flags=Flag(0), stream=stream, sequence=self._outbox.head, previous=0, verdict_utc_ns=time.time_ns()
        )
        self._live.send_multipart([topic, header.encode(named), body])
