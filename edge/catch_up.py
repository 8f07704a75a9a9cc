"""How a reader misses nothing: what to ask SYNC next, and what to hand on next. Pure; `docs/events.md` has it in words.

1. HELLO tells the stream and its newest number. Without a cursor, reading begins behind that.
2. An event is handed on when its number is the next one; one that was handed on already is let go, one from further on
   is kept back, as far as there is room.
3. A number beyond the next, of an event or of a heartbeat, says that something is missing: FETCH from the next on.
4. GONE: what it names is not kept any more; that is handed on as such, and reading goes on behind it.
5. A message of another stream: HELLO again. SYNC alone says that there is a new stream; reading it begins at 1.
"""

from collections import deque
from collections.abc import Sequence
from uuid import UUID

import msgspec

from edge.header import Flag, Header
from edge.heard import Arrived, Cursor, Gone, Item, NewStream
from edge.sync_protocol import Ack, Acked, Answer, Batch, Code, Err, Fetch, Hello, Request, Welcome
from edge.sync_protocol import Gone as GoneAnswer

# Events from further on that are kept back while those before them are fetched; more are let go and fetched in turn.
BACKLOG_EVENTS = 1000
# An answer takes milliseconds; after so long the request or the answer was lost on the way.
ANSWER_NS = 3_000_000_000
# After a refusal that may pass; and where nobody is there to ask, which costs nobody anything.
PAUSE_NS, UNSENT_PAUSE_NS = 500_000_000, 50_000_000
# A station's heart beats every 250 ms unless set otherwise; when LIVE is silent for longer, SYNC is asked.
QUIET_NS = 2_000_000_000
# Without LIVE, news is waited for at SYNC, this long at a time.
WAIT_MS = 10_000
ACK_ID = "ack"
# Codes of an ERR after which it is of use to ask again.
_PASSING = (Code.BUSY, Code.UNAVAILABLE)


class Outstanding(msgspec.Struct, frozen=True):
    """A request without its answer, and how far reading had come when it was made."""

    request: Hello | Fetch
    sent_ns: int
    last: int


class CatchUp:
    """One reader's state. Times are CLOCK_MONOTONIC, ns."""

    def __init__(self, after: Cursor | None, consumer: str | None = None, *, has_live: bool = True) -> None:
        """`after`: what was read before; None: only what comes from now on."""
        self.items: deque[Item] = deque()
        # Why reading cannot go on, once it cannot.
        self.problem: str | None = None
        self.has_begun = False
        self._after, self._consumer, self._has_live = after, consumer, has_live
        self._stream: UUID | None = None
        self._left: set[UUID] = set()
        self._last = 0
        self._head = 0
        self._is_welcome = False
        self._backlog: dict[int, Arrived] = {}
        self._outstanding: Outstanding | None = None
        self._requests = 0
        self._is_unsent = False
        self._not_before_ns = 0
        self._live_ns = 0

    @property
    def cursor(self) -> Cursor:
        """Up to here everything is in `items` or was handed on."""
        return Cursor(self._last, self._stream)

    @property
    def is_level(self) -> bool:
        """All that the station is known to have was handed on."""
        return self._is_welcome and not self.items and self._last >= self._head

    # --- what to ask

    @property
    def is_asking(self) -> bool:
        """An answer is awaited, or nobody was there to ask."""
        return self._outstanding is not None or self._is_unsent

    def wanted(self, now_ns: int) -> Hello | Fetch | None:
        """The request to send now, if any. It counts as sent: where it cannot be, say `unsent`."""
        if self._outstanding is not None and now_ns < self._outstanding.sent_ns + _patience_ns(self._outstanding):
            return None
        request = None if now_ns < self._not_before_ns else self._next(now_ns)
        self._outstanding = self._asked(request, now_ns) if request is not None else None
        request = self._outstanding.request if self._outstanding is not None else None
        self._is_unsent = self._is_unsent and request is None
        return request

    def unsent(self, now_ns: int) -> None:
        """Nobody is there to take it."""
        self._outstanding, self._is_unsent = None, True
        self._not_before_ns = now_ns + UNSENT_PAUSE_NS

    def ack(self, cursor: Cursor) -> Ack | None:
        """The request that acknowledges this; None where it is of no use."""
        stream = cursor.stream or self._stream
        if self._consumer is None or stream is None or stream != self._stream:
            return None
        return Ack(id=ACK_ID, stream=stream, upto=cursor.sequence, consumer=self._consumer)

    def _asked(self, request: Hello | Fetch, now_ns: int) -> Outstanding:
        """What is asked once more is the same request: an answer that is only late is heard, however long they take."""
        late = self._outstanding
        if late is not None and msgspec.structs.replace(request, id=late.request.id) == late.request:
            return Outstanding(late.request, now_ns, late.last)
        return Outstanding(request, now_ns, self._last)

    def _next(self, now_ns: int) -> Hello | Fetch | None:
        self._requests += 1
        if self._stream is None or not self._is_welcome:
            return Hello(id=self._requests, consumer=self._consumer)
        if self._has_live and self._head <= self._last and now_ns < self._live_ns + QUIET_NS:
            return None
        if self._has_live and self._head <= self._last:
            self._live_ns = now_ns
        wait_ms = 0 if self._has_live else WAIT_MS
        return Fetch(id=self._requests, stream=self._stream, first=self._last + 1, wait_ms=wait_ms)

    # --- what was heard

    def live(self, topic: bytes, head: Header, body: bytes, now_ns: int) -> None:
        """A message of LIVE: an event, or what only tells the newest number."""
        if head.stream != self._stream:
            # Of one that was left, or not known yet: SYNC says.
            self._is_welcome = self._is_welcome and head.stream in self._left
            return
        self._live_ns = now_ns
        self._head = max(self._head, head.sequence)
        if head.flags & Flag.DURABLE:
            self._take(topic, head, body)
            self._drain()

    def answered(self, answer: Answer, sent: Sequence[tuple[bytes, Header, bytes]], now_ns: int) -> None:
        """An answer of SYNC, with the events that came with it. One to an earlier request is let go."""
        outstanding = self._outstanding
        if isinstance(answer, Err) and answer.id in (ACK_ID, None):
            self._refused(answer, now_ns)
        if isinstance(answer, Acked) or outstanding is None or answer.id != outstanding.request.id:
            return
        self._outstanding = None
        match answer:
            case Welcome():
                self._welcomed(answer, outstanding.last)
            case Batch():
                self._fetched(answer, sent, outstanding.last)
            case GoneAnswer():
                self._pruned(answer)
            case Err():
                self._refused(answer, now_ns)

    def _welcomed(self, answer: Welcome, last: int) -> None:
        self._is_welcome = True
        if self._stream is None:
            self._begin(answer)
        elif answer.stream != self._stream:
            self._change(answer.stream)
        else:
            self._check(answer.head, last)
        self._head = max(self._head, answer.head)

    def _begin(self, answer: Welcome) -> None:
        after = self._after or Cursor(answer.head)
        self._stream, self._last, self.has_begun = after.stream or answer.stream, after.sequence, True
        if self._stream != answer.stream:
            self._change(answer.stream)
        self._check(answer.head, self._last)

    def _change(self, stream: UUID) -> None:
        assert self._stream is not None
        self.items.append(NewStream(before=self._stream, heard=self._last, stream=stream))
        self._left.add(self._stream)
        self._left.discard(stream)
        self._stream, self._last, self._head = stream, 0, 0
        self._backlog.clear()

    def _check(self, head: int, last: int) -> None:
        """`last` was there when `head` was asked for."""
        if head < last:
            self.problem = f"the station's outbox ends at event {head}, and {last} was read before: it is an older copy"

    def _fetched(self, answer: Batch, sent: Sequence[tuple[bytes, Header, bytes]], last: int) -> None:
        if answer.stream != self._stream:
            return
        self._check(answer.head, last)
        self._head = max(self._head, answer.head)
        for topic, head, body in sent:
            self._take(topic, head, body)
            self._drain()

    def _pruned(self, answer: GoneAnswer) -> None:
        """What LIVE brought meanwhile is handed on; the rest of the range is gone."""
        if answer.stream != self._stream:
            return
        self._head = max(self._head, answer.head)
        while self._last < answer.last:
            kept = min((number for number in self._backlog if number <= answer.last), default=answer.last + 1)
            if kept > self._last + 1:
                self.items.append(Gone(stream=answer.stream, first=self._last + 1, last=kept - 1))
                self._last = kept - 1
            self._drain()

    def _refused(self, answer: Err, now_ns: int) -> None:
        if answer.code == Code.STREAM:
            self._is_welcome = False
        elif answer.code in _PASSING:
            self._not_before_ns = now_ns + PAUSE_NS
        else:
            self.problem = f"the station refused: {answer.text}"

    # --- what is next

    def _take(self, topic: bytes, head: Header, body: bytes) -> None:
        """Hand it on, keep it back, or let it go."""
        number = head.sequence
        is_next = number == self._last + 1
        if number <= self._last or not (is_next or len(self._backlog) < BACKLOG_EVENTS):
            return
        is_replay = bool(head.flags & Flag.REPLAY)
        one = Arrived(
            stream=head.stream, sequence=number, topic=topic.decode("utf-8", "replace"), body=body, is_replay=is_replay
        )
        self._backlog[number] = one

    def _drain(self) -> None:
        while (one := self._backlog.pop(self._last + 1, None)) is not None:
            self.items.append(one)
            self._last = one.sequence


def _patience_ns(outstanding: Outstanding) -> int:
    request: Request = outstanding.request
    return ANSWER_NS + (request.wait_ms * 1_000_000 if isinstance(request, Fetch) else 0)
