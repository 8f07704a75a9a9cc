"""The second frame of every message: fixed, binary, read without looking into the body.

Big-endian: version u8, flags u8, codec u8, stream 16 bytes, sequence u64, previous u64, verdict_utc_ns i64.
"""

import struct
from enum import IntFlag
from uuid import UUID

import msgspec

VERSION = 1
CODEC_JSON = 1
_HEADER = struct.Struct(">BBB16sQQq")


class Flag(IntFlag):
    """Bits of the header."""

    DURABLE = 1
    REPLAY = 2
    SIMULATED = 4


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What it says. `previous` is the sequence number of the event before on the same topic.

    A heartbeat carries the newest sequence number and 0.
    """

    flags: Flag
    stream: UUID
    sequence: int
    previous: int
    verdict_utc_ns: int


def encode(header: Header) -> bytes:
    """43 bytes."""
    return _HEADER.pack(
        VERSION,
        header.flags,
        CODEC_JSON,
        header.stream.bytes,
        header.sequence,
        header.previous,
        header.verdict_utc_ns,
    )


def decode(data: bytes) -> Header:
    """Raises ValueError for another version, codec or length."""
    if len(data) != _HEADER.size:
        raise ValueError(f"header of {len(data)} bytes, expected {_HEADER.size}")
    version, flags, codec, stream, sequence, previous, verdict_utc_ns = _HEADER.unpack(data)
    if (version, codec) != (VERSION, CODEC_JSON):
        raise ValueError(f"header of version {version} and codec {codec}, expected {VERSION} and {CODEC_JSON}")
    return Header(
        flags=Flag(flags),
        stream=UUID(bytes=stream),
        sequence=sequence,
        previous=previous,
        verdict_utc_ns=verdict_utc_ns,
    )
