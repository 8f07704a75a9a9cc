"""An event before and after it has its place in the stream."""

from uuid import UUID

import msgspec

from edge import header
from edge.events import Event
from edge.header import Flag, Header


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way into the outbox, without its place in the stream."""

    topic: str
    flags: Flag
    verdict_utc_ns: int
    event: Event


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the outbox, as the three frames that are sent."""

    sequence: int
    topic: str
    header: bytes
    body: bytes


def stored(stream: UUID, row: tuple[int, str, int, int, int, bytes]) -> Stored:
    """Of this stream, from the row: sequence, topic, previous, flags, verdict_utc_ns, body."""
    sequence, topic, previous, flags, verdict_utc_ns, body = row
    named = Header(
        flags=Flag(flags), stream=stream, sequence=sequence, previous=previous, verdict_utc_ns=verdict_utc_ns
    )
    return Stored(sequence=sequence, topic=topic, header=header.encode(named), body=body)
