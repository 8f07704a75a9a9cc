"""Triggers that were decided, and answered to the PLC, while the disk could not be written: named in one event later.

Their ids are written into the runtime directory, which is memory: that outlives publish. A power cut takes it, and then
the event about that names them, by the ids that were reserved.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec
import structlog

from edge import announce
from edge.events import NONE, Event, IdRange, Source
from edge.header import Flag
from edge.outbox import Draft, Outbox, Stored

DETAIL = "the disk could not be written: triggers among these ids were decided and have no record"
# Cameras whose triggers share one block of ids leave a range for each trigger. A disk may be full for days, and every
# trigger is held against all of them.
MOST_RANGES = 64


class Noted(msgspec.Struct, frozen=True):
    """The file. `token` tells these ranges from those of another time: they are named once."""

    token: str = ""
    ranges: tuple[IdRange, ...] = ()


_decode = msgspec.json.Decoder(Noted).decode


class Unkept:
    """The ranges of ids, in a file."""

    def __init__(self, path: Path) -> None:
        """With what an earlier publish has left there."""
        self._path = path
        self._noted = Noted()
        with suppress(OSError, msgspec.DecodeError):
            self._noted = _decode(path.read_bytes())

    @property
    def ranges(self) -> tuple[IdRange, ...]:
        """What is to be named."""
        return self._noted.ranges

    def add(self, drafts: Iterable[Draft]) -> int:
        """These have no record. Returns how many."""
        ids = [(one.event.data.camera, one.event.data.trigger_id) for one in drafts]
        known = [(camera, number) for camera, number in ids if number is not None]
        ranges = self.ranges
        for camera, number in known:
            ranges = with_id(ranges, camera, number)
        self._write(Noted(self._noted.token or str(uuid4()), ranges))
        return len(known)

    def name(self, outbox: Outbox, source: Source) -> list[Stored]:
        """Write the event that names them. Killed before they are let go here, the next publish writes no second one.

        Not those that have an event: killed before its record was finished with, it was let go all the same. Raises
        OutboxError.
        """
        exact = outbox.without_event(self.ranges)
        ranges = exact if len(exact) <= MOST_RANGES else self.ranges
        event = draft(source, ranges, time.time_ns(), DETAIL) if ranges else None
        return outbox.name_unkept(self._noted.token, event)

    def clear(self) -> None:
        """They were named."""
        self._write(Noted())

    def _write(self, noted: Noted) -> None:
        self._noted = noted
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_bytes(msgspec.json.encode(noted))
            temporary.replace(self._path)
        except OSError as problem:
            structlog.get_logger().warning("triggers without a record are noted in memory alone", problem=str(problem))


def with_id(ranges: tuple[IdRange, ...], camera: str, number: int) -> tuple[IdRange, ...]:
    """With this id: in the range that it continues, else in one of its own. Pure."""
    for place, one in enumerate(ranges):
        if one.camera == camera and one.first - 1 <= number <= one.last + 1:
            grown = IdRange(camera=camera, first=min(one.first, number), last=max(one.last, number))
            return (*ranges[:place], grown, *ranges[place + 1 :])
    added = (*ranges, IdRange(camera=camera, first=number, last=number))
    return added if len(added) <= MOST_RANGES else _coarser(added, camera)


def _coarser(ranges: tuple[IdRange, ...], camera: str) -> tuple[IdRange, ...]:
    """With the two of this camera that lie nearest to each other as one: its triggers are among those ids all the same."""
    own = sorted((one for one in ranges if one.camera == camera), key=lambda one: one.first)
    if len(own) < 2:
        return ranges
    at = min(range(1, len(own)), key=lambda place: own[place].first - own[place - 1].last)
    joined = IdRange(camera=camera, first=own[at - 1].first, last=max(own[at - 1].last, own[at].last))
    return (*(one for one in ranges if one not in own[at - 1 : at + 1]), joined)


def draft(source: Source, ranges: tuple[IdRange, ...], now_utc_ns: int, detail: str | None = None) -> Draft:
    """The event that names ids without a record; `detail` says why, where it was not the power that failed."""
    event: Event = announce.interrupted_event(source, ranges, now_utc_ns)
    if detail is not None:
        event = msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, detail=detail))
    topic = source.topic(NONE, "result")
    return Draft(topic=topic, flags=Flag.DURABLE, verdict_utc_ns=now_utc_ns, event=event)
