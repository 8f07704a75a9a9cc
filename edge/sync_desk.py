"""What SYNC answers, to whom, and when: requests in, answers out. It reads the outbox; sockets are its caller's."""

from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

import msgspec

from edge import sync_protocol
from edge.messages import Acknowledged
from edge.metrics import Page
from edge.outbox_kept import MOST_CONSUMERS
from edge.outbox_reader import Extent, OutboxReader, Unavailable
from edge.sync_protocol import Ack, Acked, Code, Err, Fetch, Gone, Hello, ProtocolError, Request, Welcome

# Clients that wait for news at the same time; more are told to ask again.
MAX_WAITING = 256
# Names that one key may have: its own, and some for the programs behind it; the other keys have room for theirs.
CONSUMERS_OF_ONE_KEY = 8

Envelope = tuple[bytes, ...]


class Waiting(msgspec.Struct, frozen=True):
    """A FETCH that waits for news until `until_ns`."""

    request: Fetch
    until_ns: int


class SyncDesk:
    """Answers one request of a client at a time: another but ACK ends the waiting of the one before, which is let go."""

    def __init__(self, reader: OutboxReader, page: Page) -> None:
        """`acknowledged` is empty at first."""
        self._reader, self._page = reader, page
        self._waiting: dict[Envelope, Waiting] = {}
        self._stream: UUID | None = None
        # By consumer, the newest number it has told of since this process began: for publish to write down.
        self.acknowledged: dict[str, Acknowledged] = {}
        # Of those, the ones that were seen written down: one that is there no more was forgotten by a person.
        self._written: set[str] = set()
        self._events = page.counter("goldline_sync_events_total")
        self._gone = page.counter("goldline_sync_gone_total")
        self._waiting_gauge = page.gauge("goldline_sync_waiting")

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for news."""
        return bool(self._waiting)

    def answer(self, envelope: Envelope, frames: Sequence[bytes], owner: str | None, now_ns: int) -> list[bytes] | None:
        """The answer's frames; None where the client is to wait. `owner` is the name of its key, None without keys."""
        request_id = None
        try:
            request = sync_protocol.parse_request(frames)
            request_id = request.id
            if not isinstance(request, Ack):
                self._waiting.pop(envelope, None)
            self._count(request)
            return self._answer(envelope, request, owner, now_ns)
        except ProtocolError as problem:
            return self._refused(problem.code, str(problem), problem.request_id or request_id)
        except Unavailable as problem:
            return self._refused(Code.UNAVAILABLE, f"the outbox cannot be read now: {problem}", request_id)

    def news(self, now_ns: int) -> Iterator[tuple[Envelope, list[bytes]]]:
        """The answers to those whose waiting is over: there is something, or their time is up."""
        try:
            extent = self._extent() if self._waiting else None
        except Unavailable:
            extent = None
        for envelope, waiting in list(self._waiting.items()):
            if now_ns >= waiting.until_ns or (extent is not None and _has_news(extent, waiting.request)):
                frames = self._again(envelope, waiting)
                yield envelope, frames
        self._waiting_gauge.set(len(self._waiting))

    def let_go(self) -> None:
        """Nobody is said again whom a person has forgotten meanwhile (`goldline outbox forget`)."""
        try:
            self._known()
        except Unavailable:
            return

    # --- one request

    def _answer(self, envelope: Envelope, request: Request, owner: str | None, now_ns: int) -> list[bytes] | None:
        match request:
            case Hello():
                return self._welcome(request, owner)
            case Ack():
                return self._acked(request, owner)
            case Fetch():
                if request.wait_ms and not _has_news(self._extent(), request):
                    return self._wait(envelope, request, now_ns)
                return self._fetched(request)

    def _welcome(self, request: Hello, owner: str | None) -> list[bytes]:
        if sync_protocol.VERSION not in request.versions:
            raise ProtocolError(Code.VERSION, f"version {sync_protocol.VERSION} is spoken here", request.id)
        extent, upto = self._extent(), None
        if request.consumer is not None:
            upto = self._upto(request.consumer, owner)
            self._acknowledge(request.consumer, extent.stream, upto)
        welcome = Welcome(id=request.id, stream=extent.stream, head=extent.head, low=extent.low, upto=upto)
        return sync_protocol.encode(welcome)

    def _acked(self, request: Ack, owner: str | None) -> list[bytes]:
        extent = self._extent()
        if request.stream != extent.stream:
            return self._other_stream(request, extent)
        if request.upto > extent.head:
            raise ProtocolError(Code.REQUEST, f"upto {request.upto} is beyond the newest event, {extent.head}")
        upto = max(request.upto, self._upto(request.consumer, owner))
        self._acknowledge(request.consumer, extent.stream, upto)
        return sync_protocol.encode(Acked(id=request.id, consumer=request.consumer, upto=upto))

    def _upto(self, consumer: str, owner: str | None) -> int:
        """What this consumer is known to have, which it may speak of. Raises ProtocolError."""
        if owner and not _is_of(owner, consumer):
            raise ProtocolError(Code.CONSUMER, f"the key of {owner} speaks for {owner} and {owner}.*, not {consumer}")
        written = self._known()
        if consumer not in (names := written.keys() | self.acknowledged.keys()):
            _check_room(names, owner)
        known = self.acknowledged.get(consumer)
        return max(known.upto if known is not None else 0, written.get(consumer, 0))

    def _known(self) -> dict[str, int]:
        """What is written down of each consumer; who stood there and does no more is let go here as well."""
        written = self._reader.acknowledged()
        for name in self._written.difference(written):
            self.acknowledged.pop(name, None)
        self._written = set(written)
        return written

    def _acknowledge(self, consumer: str, stream: UUID, upto: int) -> None:
        self.acknowledged[consumer] = Acknowledged(consumer=consumer, upto=upto, stream=str(stream))

    def _extent(self) -> Extent:
        """What there is. What was acknowledged of another outbox says nothing about this one."""
        extent = self._reader.extent()
        if extent.stream != self._stream:
            self._stream = extent.stream
            self.acknowledged.clear()
            self._written.clear()
        return extent

    def _wait(self, envelope: Envelope, request: Fetch, now_ns: int) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise ProtocolError(Code.BUSY, f"{MAX_WAITING} clients wait already", request.id)
        self._waiting[envelope] = Waiting(request, now_ns + request.wait_ms * 1_000_000)

    def _again(self, envelope: Envelope, waiting: Waiting) -> list[bytes]:
        del self._waiting[envelope]
        try:
            return self._fetched(waiting.request)
        except Unavailable as problem:
            return self._refused(Code.UNAVAILABLE, f"the outbox cannot be read now: {problem}", waiting.request.id)

    def _fetched(self, request: Fetch) -> list[bytes]:
        extent, rows = self._reader.read(request.first, request.max_n, request.max_bytes)
        if request.stream != extent.stream:
            return self._other_stream(request, extent)
        kept_from = rows[0].sequence if rows else extent.head + 1
        if kept_from > request.first and request.first <= extent.head:
            self._gone.inc()
            gone = Gone(
                id=request.id,
                stream=extent.stream,
                first=request.first,
                last=kept_from - 1,
                head=extent.head,
                low=extent.low,
            )
            return sync_protocol.encode(gone)
        self._events.inc(len(rows))
        return sync_protocol.batch(extent.stream, rows, extent.head, extent.low, request)

    def _other_stream(self, request: Fetch | Ack, extent: Extent) -> list[bytes]:
        text = "the station has another outbox by now: say HELLO again"
        return self._refused(Code.STREAM, text, request.id, extent)

    def _refused(
        self, code: Code, text: str, request_id: int | str | None, extent: Extent | None = None
    ) -> list[bytes]:
        self._page.counter("goldline_sync_errors_total", code=str(code)).inc()
        stream = extent.stream if extent is not None else None
        return sync_protocol.encode(Err(id=request_id, code=str(code), text=text, stream=stream))

    def _count(self, request: Request) -> None:
        self._page.counter("goldline_sync_requests_total", verb=type(request).__name__.lower()).inc()


def _check_room(names: Collection[str], owner: str | None) -> None:
    """Raises ProtocolError where there is none for one name more of this key."""
    if len(names) >= MOST_CONSUMERS:
        raise ProtocolError(Code.CONSUMER, f"{MOST_CONSUMERS} consumers are named already: goldline outbox forget NAME")
    if owner and sum(_is_of(owner, name) for name in names) >= CONSUMERS_OF_ONE_KEY:
        text = f"the key of {owner} has named {CONSUMERS_OF_ONE_KEY} consumers already: goldline outbox forget NAME"
        raise ProtocolError(Code.CONSUMER, text)


def _is_of(owner: str, consumer: str) -> bool:
    return consumer == owner or consumer.startswith(f"{owner}.")


def _has_news(extent: Extent, request: Fetch) -> bool:
    return request.first <= extent.head or request.stream != extent.stream
