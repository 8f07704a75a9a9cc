"""The log of decisions: publish writes each here before anybody hears of it, and lanes read it.

    triggers/decided.log   written by publish, finished with once the outbox has committed

The outbox and its disk have no part in it: a PLC is answered from here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self
from uuid import UUID

from edge.record_log import Full, RecordLog

__all__ = ["DecidedLog", "Full", "decided_path"]

# 16 MiB: a typical event takes two slots, so 8000 events may wait for a disk that stalls.
DECIDED_SLOTS, DECIDED_SLOT_BYTES = 16_384, 1024


def decided_path(runtime: Path) -> Path:
    """Where publish keeps its decisions until they are in the outbox, and PLC lanes read them."""
    return runtime / "triggers" / "decided.log"


class Entry(NamedTuple):
    """A decision as it stands in the log: the event as bytes, without its sequence number."""

    at: int
    committed: bool
    event: bytes


class DecidedLog:
    """Publish's decisions: written before the outbox has them, finished with when it does."""

    def __init__(self, log: RecordLog) -> None:
        """Over a mapped log; use `create_or_resume` or `attach`."""
        self._log = log

    @classmethod
    def create_or_resume(cls, path: Path, station: str, slots: int = DECIDED_SLOTS) -> Self:
        """The writer's log: that of this boot, or a new one with a new `identity`."""
        return cls(RecordLog.resume(path, station, slots, DECIDED_SLOT_BYTES))

    @classmethod
    def attach(cls, path: Path) -> Self | None:
        """A reader's view, or None while there is none of this boot."""
        log = RecordLog.attach(path)
        return None if log is None else cls(log)

    @property
    def identity(self) -> UUID:
        """Born with the file: another one means that the runtime directory was lost in between."""
        return self._log.identity

    def has_room(self, length: int) -> bool:
        """Whether an event of `length` bytes fits without overwriting one that is not committed."""
        return self._log.has_room(length)

    @property
    def size_bytes(self) -> int:
        """What fits into it."""
        return self._log.slots * self._log.slot_bytes

    def append(self, event: bytes) -> int:
        """Write one decision and return its index. Raises Full while the outbox is a whole ring behind."""
        return self._log.append(event)

    @property
    def written(self) -> int:
        """The index behind the newest decision, for publish; readers ask for the `end`."""
        return self._log.written

    def beat(self, now_ns: int) -> None:
        """Publish's loop came round: what is decided is here."""
        self._log.beat(now_ns)

    @property
    def beat_ns(self) -> int:
        """When publish's loop last came round, CLOCK_MONOTONIC; 0 before the first time."""
        return self._log.beat_ns

    @property
    def beat_end(self) -> int:
        """The index behind the newest decision at that time: a decision below it that is not there was overwritten."""
        return self._log.beat_end

    @property
    def is_current(self) -> bool:
        """False when another file has taken this one's place."""
        return self._log.is_current

    def read_from(self, index: int) -> Iterator[tuple[int, bytes]]:
        """The decisions from `index` on: of each, the index behind it and the event as bytes."""
        for record in self._log.follow(index):
            yield self._log.after(record), record.body

    def end(self) -> int:
        """The index behind the newest decision."""
        return self._log.unfinished()[1]

    def mark_committed(self, index: int) -> None:
        """The outbox has this event on disk."""
        self._log.mark(index)

    def read_all(self) -> Iterator[Entry]:
        """Every decision in the log, oldest first."""
        for record in self._log.records():
            yield Entry(record.at, self._log.is_marked(record.at), record.body)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._log.close()
