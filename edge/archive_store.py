"""The archive's files, and their index beside them.

    images/ab/<sha256>.png                           the pixels, once, whatever triggers showed them
    images/ab/<sha256>.<trigger id>.<view>.json      what was said about them (`archive_record.py`)
    images/ab/<sha256>.<trigger id>.<view>.map.png   where they deviate, as large as the kept picture; where there are maps
    images/part/                                     files that are being written
    images/index.sqlite3

A picture is kept in this order, so that a kill at any instant leaves whole files and an index that can be mended:

1. room is made: the oldest go until it fits into the bounds, and until the disk has its reserve
2. pixels, map and sidecar are each written to `part` and renamed, the sidecar last
3. the index is told

How old a picture is, and which is the oldest, goes by how long the archive has lived since (`lived.py`), not by the clock.
Nothing is synced: the pictures of the last half minute may be lost with the power, and so may their names. What the
index and the files disagree about is mended at the start, one folder at a time: `tidy`.
"""

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge import archive_record
from edge.archive_index import FILE as INDEX_FILE
from edge.archive_index import Index
from edge.archive_mending import Mending, path_of, remove
from edge.archive_record import Sidecar
from edge.archive_retention import STEP, Bounds, due
from edge.border_config import ARCHIVE_FOLDER
from edge.lived import Instant, Lived

FOLDER, PART = ARCHIVE_FOLDER, "part"
# Written and removed to see whether the disk can be written.
PROBE = "probe"
# The record and the system need the disk before pictures do: with less than this left on it, pictures go.
LEAST_FREE_BYTES = 256 << 20
# Of a disk of their own: enough for the index and its journal to grow.
LEAST_FREE_OWN_BYTES = 1 << 20
# For a start after a power cut: what passed since it was noted is then read from the clock.
NOTED_EVERY_NS = 3600 * 10**9
# What SQLite calls a file of which some page, or all, is not what it wrote.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class StoreFailed(Exception):
    """It cannot be kept now; the message says why."""


class NoRoom(StoreFailed):
    """There is no room for it, whatever goes."""


@dataclass(frozen=True)
class Files:
    """What is to be written of one picture: the pixels' file, and the map's where there is one."""

    picture: bytes
    map: bytes | None


class Store:
    """An open archive; one thread uses it. Raises StoreFailed where the disk or the index does not go along."""

    def __init__(self, state_dir: Path, bounds: Bounds, now: Instant) -> None:
        """Open it, or begin one. What an earlier process left is mended by `tidy`, step by step."""
        self.directory = state_dir / FOLDER
        # Replaced whole, also by another thread, where the configuration changes in flight.
        self.bounds = bounds
        try:
            (self.directory / PART).mkdir(parents=True, exist_ok=True)
            # Only a whole file is worth something.
            for name in os.listdir(self.directory / PART):
                os.unlink(self.directory / PART / name)
            shares_disk = os.stat(self.directory).st_dev == os.stat(state_dir).st_dev
            self._index = _open_index(self.directory)
        except (OSError, sqlite3.Error) as problem:
            raise StoreFailed(str(problem)) from problem
        self._least_free_bytes = LEAST_FREE_BYTES if shares_disk else LEAST_FREE_OWN_BYTES
        self._pruned = 0
        try:
            self._begin(now)
        except (OSError, sqlite3.Error) as problem:
            self._index.close()
            raise self._failed(problem) from problem

    def _begin(self, now: Instant) -> None:
        """Go on living, and look for what an index that is new does not know of."""
        self._opened = _identity(self.directory / INDEX_FILE)
        noted = self._index.noted()
        lived, is_whole = noted or (Lived(0, now), False)
        self._mending = Mending(self.directory, self._index, is_whole=is_whole)
        self._lived = lived.until(now, self.bounds.most_off_ns)
        self._note(is_whole=is_whole)
        self._count()

    def _note(self, *, is_whole: bool) -> None:
        self._noted_ns = self._lived.ns
        self._index.note(self._lived, is_whole=is_whole)

    def _live(self, now: Instant) -> None:
        self._lived = self._lived.until(now, self.bounds.most_off_ns)
        if self._lived.ns - self._noted_ns > NOTED_EVERY_NS:
            self._note(is_whole=self._mending.is_over)

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    # --- keeping

    def put(self, sidecar: Sidecar, files: Files, now: Instant) -> None:
        """Keep a picture. Raises StoreFailed, and leaves nothing of it."""
        said = archive_record.encode(sidecar)
        record_bytes = len(said) + len(files.map or b"")
        try:
            self._live(now)
            known = self._is_there(sidecar, len(files.picture))
            self._make_room(record_bytes + (0 if known else len(files.picture)))
            # Making room may have taken the older picture of the same pixels.
            if not (known and self._is_there(sidecar, len(files.picture))):
                self._write(sidecar.file, files.picture)
            if files.map is not None:
                self._write(f"{sidecar.name}.map.png", files.map)
            self._write(f"{sidecar.name}.json", said)
            sizes = {"picture_bytes": len(files.picture), "record_bytes": record_bytes}
            self._index.add(sidecar, **sizes, kept_ns=self._lived.ns)
            self._count()
        except (OSError, sqlite3.Error) as problem:
            self._forget(sidecar)
            raise self._failed(problem) from problem

    def _failed(self, problem: OSError | sqlite3.Error) -> StoreFailed:
        """What to raise; a damaged index is set aside first, so that it is made anew when the store is opened again."""
        if isinstance(problem, sqlite3.DatabaseError) and getattr(problem, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
            with suppress(OSError):
                _set_aside(self.directory, str(problem))
        return StoreFailed(str(problem))

    def _is_there(self, sidecar: Sidecar, size: int) -> bool:
        try:
            on_disk = os.stat(path_of(self.directory, sidecar.file)).st_size
        except FileNotFoundError:
            return False
        return on_disk == size and self._index.picture_bytes(sidecar.sha256) == size

    def _write(self, name: str, content: bytes) -> None:
        """Whole, or not there."""
        part, target = self.directory / PART / name, path_of(self.directory, name)
        try:
            part.write_bytes(content)
            target.parent.mkdir(exist_ok=True)
            os.replace(part, target)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _forget(self, sidecar: Sidecar) -> None:
        """What was written of it goes, as far as the disk lets it; the next start does the rest."""
        try:
            remove(self.directory, self._index, [sidecar.name])
            if self._index.picture_bytes(sidecar.sha256) is None:
                path_of(self.directory, sidecar.file).unlink(missing_ok=True)
        except (OSError, sqlite3.Error):
            return

    # --- bounds

    def _make_room(self, wanted_bytes: int) -> None:
        while (over := self._over(wanted_bytes)) > 0:
            if not self._prune(over) and not self._mend_next():
                raise NoRoom(f"no room for {wanted_bytes} bytes")

    def _over(self, wanted_bytes: int) -> int:
        """By how many bytes there is too much, with so many more."""
        disk = os.statvfs(self.directory)
        short = self._least_free_bytes + wanted_bytes - disk.f_bavail * disk.f_frsize
        return max(self.total_bytes + wanted_bytes - self.bounds.max_bytes, short)

    def _prune(self, over_bytes: int) -> int:
        """One step; how many went."""
        oldest = self._index.oldest(STEP)
        if self._mending.unknown_bytes:
            # An index begins to live at 0: what it has not found yet is older than what came since.
            oldest = [one for one in oldest if one.kept_ns < 0]
        names = [one.name for one in due(oldest, over_bytes, self.bounds, self._lived.ns)]
        if names:
            remove(self.directory, self._index, names)
            self._pruned += len(names)
            self._count()
        return len(names)

    def take_pruned(self) -> int:
        """How many went since this was asked last."""
        pruned, self._pruned = self._pruned, 0
        return pruned

    def _count(self) -> None:
        self.total_bytes = self._index.total_bytes() + self._mending.unknown_bytes
        self.count = self._index.count()

    # --- looking after it

    def _mend_next(self) -> bool:
        """One folder more. False: every one is well."""
        if not self._mending.step(lambda utc_ns: self._lived.when(utc_ns, self.bounds.most_off_ns)):
            return False
        self._count()
        if self._mending.is_over:
            self._note(is_whole=True)
        return True

    def tidy(self, now: Instant) -> bool:
        """One small step of what is to be done. False: nothing is left to do, and the disk can be written."""
        try:
            self._live(now)
            if _identity(self.directory / INDEX_FILE) != self._opened:
                raise StoreFailed(f"{self.directory / INDEX_FILE}: was taken away, and is made anew")
            if self._mend_next() or self._prune(self._over(0)) == STEP:
                return True
            (self.directory / PART / PROBE).write_bytes(b"?")
            (self.directory / PART / PROBE).unlink()
            if self._over(0) > 0:
                raise NoRoom("the disk is full of other things")
        except (OSError, sqlite3.Error) as problem:
            raise self._failed(problem) from problem
        return False


def _identity(path: Path) -> tuple[int, int]:
    """Which file lies there. Raises OSError."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _open_index(directory: Path) -> Index:
    """The index; a damaged one is set aside, and made anew from the files."""
    try:
        return Index.create_or_open(directory)
    except sqlite3.DatabaseError as problem:
        if isinstance(problem, sqlite3.OperationalError):
            raise
        _set_aside(directory, str(problem))
        return Index.create_or_open(directory)


def _set_aside(directory: Path, problem: str) -> None:
    structlog.get_logger().warning("the archive's index is damaged and made anew", problem=problem)
    os.replace(directory / INDEX_FILE, directory / f"{INDEX_FILE}.damaged")
    for end in ("-wal", "-shm"):
        (directory / f"{INDEX_FILE}{end}").unlink(missing_ok=True)
