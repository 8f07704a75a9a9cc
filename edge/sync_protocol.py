"""The words of the SYNC socket, both ways (`docs/events.md`). Pure.

A request is two frames, verb and JSON; an answer is the same, and a BATCH has three more for each event, those of LIVE:

HELLO ─▶ WELCOME      FETCH ─▶ BATCH | GONE      ACK ─▶ ACKED      any ─▶ ERR

Whatever `id` a request has comes back in its answer.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from edge import header
from edge.errors import GoldlineError
from edge.header import Flag, Header

VERSION = 1
# A request is a hundred bytes.
MAX_REQUEST_BYTES = 4096
# What one BATCH holds at most, whatever was asked for: 4 MiB is read in 10 ms, and nobody waits longer for his turn.
MAX_EVENTS, MAX_BATCH_BYTES = 10_000, 4 << 20
# A reader that says nothing about it gets half a megabyte of events of usual size.
DEFAULT_EVENTS, DEFAULT_BATCH_BYTES = 500, 1 << 20
# How long a FETCH may wait for news; a network between may forget a connection that is silent for longer.
MAX_WAIT_MS = 30_000

Sequence64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
CONSUMER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ConsumerName = Annotated[str, msgspec.Meta(pattern=CONSUMER_NAME)]
RequestId = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, msgspec.Meta(max_length=64)] | None


class Code(StrEnum):
    """Why there is no other answer."""

    # Not understood: the verb, the JSON, or a value out of its bounds. Asking again is of no use.
    REQUEST = "request"
    # None of the versions offered is spoken here.
    VERSION = "version"
    # The outbox is another one by now: say HELLO again.
    STREAM = "stream"
    # The consumer's name belongs to another key, or there are as many names as there may be, of this key or at all.
    CONSUMER = "consumer"
    # Too many wait already: ask again later.
    BUSY = "busy"
    # There is no outbox that can be read now: ask again later.
    UNAVAILABLE = "unavailable"


class ProtocolError(GoldlineError):
    """A request that cannot be answered otherwise: the code and the text of an ERR."""

    def __init__(self, code: Code, text: str, request_id: int | str | None = None) -> None:
        super().__init__(text)
        self.code, self.request_id = code, request_id


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """The second frame of a request or an answer. A reader ignores what it does not know."""

    id: RequestId = None


class Hello(Words, frozen=True, kw_only=True):
    """Who is there, and what versions it speaks. A named consumer's events are kept until it has acknowledged them."""

    versions: Annotated[tuple[int, ...], msgspec.Meta(max_length=16)] = (VERSION,)
    consumer: ConsumerName | None = None


class Fetch(Words, frozen=True, kw_only=True):
    """Events from this number on, as many as these bounds allow, but one at least; where there is none, wait for it."""

    stream: UUID
    first: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] = msgspec.field(name="from")
    max_n: Annotated[int, msgspec.Meta(ge=1, le=MAX_EVENTS)] = DEFAULT_EVENTS
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH_BYTES)] = DEFAULT_BATCH_BYTES
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_MS)] = 0


class Ack(Words, frozen=True, kw_only=True):
    """The consumer has every event up to this one, on its own disk."""

    stream: UUID
    upto: Sequence64
    consumer: ConsumerName


class Welcome(Words, frozen=True, kw_only=True):
    """What there is: events `low` to `head`; none while `low` is above `head`. `upto`: what the consumer acknowledged."""

    version: int = VERSION
    stream: UUID
    head: int
    low: int
    upto: int | None = None
    codecs: tuple[str, ...] = ("json",)


class Batch(Words, frozen=True, kw_only=True):
    """`count` events follow, `first` and on without a gap; three frames each."""

    stream: UUID
    first: int = msgspec.field(name="from")
    count: int
    head: int
    low: int


class Gone(Words, frozen=True, kw_only=True):
    """Events `first` to `last` are not kept any more: go on after them."""

    stream: UUID
    first: int
    last: int
    head: int
    low: int


class Acked(Words, frozen=True, kw_only=True):
    """Heard. It is on the station's disk soon; one that was lost on the way is made good by the next."""

    consumer: str
    upto: int


class Err(Words, frozen=True, kw_only=True):
    """There is no other answer. `stream`: with code `stream`, the one that there is."""

    code: str
    text: str
    stream: UUID | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it stands in the outbox."""

    sequence: int
    topic: str
    previous: int
    flags: int
    verdict_utc_ns: int
    body: bytes


Request = Hello | Fetch | Ack
Answer = Welcome | Batch | Gone | Acked | Err

_REQUESTS: dict[bytes, type[Request]] = {b"HELLO": Hello, b"FETCH": Fetch, b"ACK": Ack}
_ANSWERS: dict[bytes, type[Answer]] = {
    b"WELCOME": Welcome,
    b"BATCH": Batch,
    b"GONE": Gone,
    b"ACKED": Acked,
    b"ERR": Err,
}
_VERBS: dict[type[Words], bytes] = {kind: verb for verb, kind in {**_REQUESTS, **_ANSWERS}.items()}


def encode(words: Request | Answer) -> list[bytes]:
    """Verb and JSON."""
    return [_VERBS[type(words)], msgspec.json.encode(words)]


def parse_request(frames: Sequence[bytes]) -> Request:
    """Raises ProtocolError saying what is wrong with it."""
    if len(frames) != 2 or sum(map(len, frames)) > MAX_REQUEST_BYTES:
        raise ProtocolError(Code.REQUEST, f"a request is a verb and a JSON object, {MAX_REQUEST_BYTES} bytes at most")
    kind = _REQUESTS.get(bytes(frames[0]))
    if kind is None:
        raise ProtocolError(Code.REQUEST, "the verb is none of HELLO, FETCH, ACK", _id_of(frames[1]))
    try:
        return msgspec.json.decode(frames[1], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise ProtocolError(Code.REQUEST, f"{frames[0].decode()}: {problem}", _id_of(frames[1])) from None


def parse_answer(frames: Sequence[bytes]) -> tuple[Answer, list[tuple[bytes, Header, bytes]]]:
    """The answer, and of a BATCH the events: topic, header, body. Raises ProtocolError for what is none."""
    kind = _ANSWERS.get(frames[0]) if len(frames) > 1 else None
    if kind is None:
        raise ProtocolError(Code.REQUEST, f"an answer with the verb {bytes(frames[0][:16])!r}" if frames else "nothing")
    try:
        answer = msgspec.json.decode(frames[1], type=kind)
        events = [(frames[at], header.decode(frames[at + 1]), frames[at + 2]) for at in range(2, len(frames), 3)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, IndexError) as problem:
        raise ProtocolError(Code.REQUEST, f"{frames[0].decode()}: {problem}") from None
    return answer, events


def batch(stream: UUID, rows: Sequence[Row], head: int, low: int, asked: Fetch) -> list[bytes]:
    """Every frame of a BATCH. The events are as they were sent first, but for the flag that they are so again."""
    told = Batch(id=asked.id, stream=stream, first=asked.first, count=len(rows), head=head, low=low)
    frames = encode(told)
    for row in rows:
        named = Header(
            flags=Flag(row.flags) | Flag.REPLAY,
            stream=stream,
            sequence=row.sequence,
            previous=row.previous,
            verdict_utc_ns=row.verdict_utc_ns,
        )
        frames += [row.topic.encode(), header.encode(named), row.body]
    return frames


def _id_of(body: bytes) -> int | str | None:
    """The id of a request that is wrong otherwise, as far as it can be read."""
    try:
        return msgspec.json.decode(body, type=Words).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
