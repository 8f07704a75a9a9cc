"""Trigger ids: given in blocks, each id once for the life of the station, whatever becomes of the outbox.

1. A block begins behind the last, by the outbox and by a small file beside it (`HighWater`), whichever is further.
2. It is on disk in both before anybody has it.
3. Where both are lost, the next block begins `beyond` every id that could have been given by then.
"""

import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID
from zlib import crc32

import structlog

from edge.durable import sync
from edge.events import IdRange

# Half a minute of ids at 30 triggers a second: one commit for 1024 triggers.
BLOCK_IDS = 1024
# Nobody gives more ids than this a second, in the mean since 2020: so the time of day is an id that was never given.
MOST_IDS_A_SECOND = 10_000
_BEGINNING_S = 1_577_836_800
# The number and its checksum, twice, each in a sector of its own: a cut during a write spoils one of them.
_COPY = struct.Struct("<QI")
_COPIES_AT = (0, 512)
_FILE_BYTES = 1024


def beyond(now_utc_ns: int) -> int:
    """An id that was not given before now, unless the clock stood wrong by more than the station is old."""
    return max(1, int((now_utc_ns / 1e9 - _BEGINNING_S) * MOST_IDS_A_SECOND))


class HighWater:
    """The first id that was never given, in a file that is written in place: that works on a full disk, too."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or made yet."""
        self._path = path

    def read(self) -> int | None:
        """The id; None where there is no file, or no whole number in it. Raises OSError."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return max((number for at in _COPIES_AT if (number := _copy(content, at)) is not None), default=None)

    def raise_to(self, number: int) -> None:
        """Have it on disk that all before this one are given. Raises OSError."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            content = os.pread(descriptor, _FILE_BYTES, 0)
            is_new = len(content) < _FILE_BYTES
            numbers = [_copy(content, at) or 0 for at in _COPIES_AT]
            if number > max(numbers):
                if is_new:
                    os.pwrite(descriptor, bytes(_FILE_BYTES), 0)
                body = number.to_bytes(8, "little")
                os.pwrite(descriptor, body + crc32(body).to_bytes(4, "little"), _COPIES_AT[numbers.index(min(numbers))])
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync(self._path.parent)


def _copy(content: bytes, at: int) -> int | None:
    if len(content) < at + _COPY.size:
        return None
    number, check = _COPY.unpack_from(content, at)
    return number if crc32(content[at : at + 8]) == check else None


class IdBook:
    """Which ids the station has given: the next one, and the blocks that are in use."""

    def __init__(self, path: Path) -> None:
        """`path` of the file beside the database."""
        self._file = HighWater(path)
        # Whether file and database were read.
        self._is_open = False
        # The first id that was never given.
        self.floor = 1
        # Holder, runtime directory, first, last.
        self.given: tuple[tuple[str, UUID, int, int], ...] = ()

    def open(self, known: int) -> None:
        """By the database every id before `known` was given. Raises OSError."""
        self.floor = max(self.floor, known, self._file.read() or 1)
        self._is_open = True
        self._write()

    def lose_database(self, now_utc_ns: int) -> None:
        """The database does not tell any more. Raises OSError."""
        if self._file.read() is None:
            self.floor = max(self.floor, beyond(now_utc_ns))

    def next_alone(self, now_utc_ns: int) -> tuple[int, int]:
        """A block that only the file knows of; where that cannot be written either, one of ids never given by now."""
        if not self._is_open:
            # The file may be behind the database, or not be readable.
            with suppress(OSError):
                self.floor = max(self.floor, self._file.read() or 1)
            self.floor = max(self.floor, beyond(now_utc_ns))
        if not self._write(self.floor + BLOCK_IDS):
            self.floor = max(self.floor, beyond(now_utc_ns))
        return self.floor, self.floor + BLOCK_IDS - 1

    def skip(self, blocks: Iterable[tuple[str, int, int]]) -> None:
        """These are in use, by holder, first and last: none of them is given again."""
        self.floor = max((self.floor, *(last + 1 for _, _, last in blocks)))

    def give(self, holder: str, runtime: UUID, first: int, last: int) -> tuple[int, int]:
        """This block is given from here on."""
        self.floor = max(self.floor, last + 1)
        self._write()
        others = [one for one in self.given if one[0] != holder]
        # A holder has one block in use and one in reserve.
        newest = [one for one in self.given if one[0] == holder][-1:]
        self.given = (*others, *newest, (holder, runtime, first, last))
        return first, last

    def _write(self, number: int | None = None) -> bool:
        """Whether the file has it that every id before this one was given."""
        try:
            self._file.raise_to(number or self.floor)
        except OSError as problem:
            structlog.get_logger().warning("the file of given trigger ids cannot be written", problem=str(problem))
            return False
        return True


# --- the outbox's part. Each is called inside a transaction.


def reserve(database: sqlite3.Connection, holder: str, runtime: UUID, floor: int) -> tuple[int, int]:
    """The next block from `floor` on. The holder's earlier blocks are let go once each of their ids has its event."""
    (known,) = database.execute("SELECT value FROM meta WHERE key = 'next_trigger_id'").fetchone()
    first = max(int(known), floor)
    last = first + BLOCK_IDS - 1
    database.execute(
        "DELETE FROM reservations WHERE holder = ? AND last - first + 1 ="
        " (SELECT COUNT(*) FROM events WHERE trigger_id BETWEEN first AND last)"
        " + (SELECT COUNT(*) FROM answered WHERE trigger_id BETWEEN first AND last)",
        (holder,),
    )
    _forget_answered(database)
    adopt(database, holder, first, last, runtime)
    return first, last


def adopt(database: sqlite3.Connection, holder: str, first: int, last: int, runtime: UUID) -> None:
    """This block is in use: no later one begins before its end."""
    database.execute("INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?)", (first, last, holder, str(runtime)))
    database.execute(
        "UPDATE meta SET value = MAX(CAST(value AS INTEGER), ?) WHERE key = 'next_trigger_id'", (last + 1,)
    )


def release(database: sqlite3.Connection, runtime: UUID, still_held: list[int]) -> None:
    """Let the blocks of this runtime directory go, but those that begin with an id of `still_held`."""
    rows = database.execute("SELECT first FROM reservations WHERE runtime = ?", (str(runtime),)).fetchall()
    gone = [row for row in rows if row[0] not in still_held]
    database.executemany("DELETE FROM reservations WHERE first = ?", gone)
    _forget_answered(database)


def release_others(database: sqlite3.Connection, runtime: UUID) -> None:
    """Let go what was reserved from other runtime directories."""
    database.execute("DELETE FROM reservations WHERE runtime <> ?", (str(runtime),))
    _forget_answered(database)


def lost(database: sqlite3.Connection, runtime: UUID) -> tuple[IdRange, ...]:
    """The ids reserved from other runtime directories than this that have no event: lost with those."""
    rows = database.execute(
        "SELECT first, last, holder FROM reservations WHERE runtime <> ? ORDER BY first", (str(runtime),)
    ).fetchall()
    return tuple(gap for first, last, holder in rows for gap in _gaps(database, first, last, holder))


def without_event(database: sqlite3.Connection, ranges: Iterable[IdRange]) -> tuple[IdRange, ...]:
    """Of these ids, those that have no event."""
    return tuple(gap for one in ranges for gap in _gaps(database, one.first, one.last, one.camera))


def note_pruned(database: sqlite3.Connection, upto: int) -> None:
    """The events up to this one go: their triggers were answered, as long as anybody may ask by their blocks."""
    database.execute(
        "INSERT OR IGNORE INTO answered SELECT events.trigger_id FROM events JOIN reservations"
        " ON events.trigger_id BETWEEN reservations.first AND reservations.last WHERE events.sequence <= ?",
        (upto,),
    )


def _forget_answered(database: sqlite3.Connection) -> None:
    database.execute(
        "DELETE FROM answered WHERE NOT EXISTS"
        " (SELECT 1 FROM reservations WHERE answered.trigger_id BETWEEN reservations.first AND reservations.last)"
    )


def _gaps(database: sqlite3.Connection, first: int, last: int, holder: str) -> Iterator[IdRange]:
    rows = database.execute(
        "SELECT trigger_id FROM events WHERE trigger_id BETWEEN ? AND ?"
        " UNION SELECT trigger_id FROM answered WHERE trigger_id BETWEEN ? AND ? ORDER BY trigger_id",
        (first, last, first, last),
    )
    start = first
    for known in [*(row[0] for row in rows), last + 1]:
        if known > start:
            yield IdRange(camera=holder, first=start, last=known - 1)
        start = known + 1
