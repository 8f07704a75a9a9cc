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

Nothing is synced: the pictures of the last half minute may be lost with the power, and so may their names. What the
index and the files disagree about is mended at the start, one folder at a time: `tidy`.
"""

import errno
import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge import archive_record, picture_file
from edge.archive_index import FILE as INDEX_FILE
from edge.archive_index import Index
from edge.archive_record import OUR_NAME, Sidecar, Unreadable
from edge.archive_retention import STEP, Bounds, due
from edge.images import ImageError

FOLDER, PART = "images", "part"
# Written and removed to see whether the disk can be written.
PROBE = "probe"
# The record and the system need the disk before pictures do: with less than this left on it, pictures go.
LEAST_FREE_BYTES = 256 << 20
# Of a disk of their own: enough for the index and its journal to grow.
LEAST_FREE_OWN_BYTES = 1 << 20
# What SQLite calls a file of which some page, or all, is not what it wrote.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
SHARDS = tuple(f"{number:02x}" for number in range(256))


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

    def __init__(self, state_dir: Path, bounds: Bounds) -> None:
        """Open it, or begin one. What an earlier process left is mended by `tidy`, step by step."""
        self.directory = state_dir / FOLDER
        self._bounds = bounds
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
        self._unmended = list(SHARDS)
        self._pruned = 0
        try:
            self._count()
        except sqlite3.Error as problem:
            self._index.close()
            raise self._failed(problem) from problem

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    # --- keeping

    def put(self, sidecar: Sidecar, files: Files, now_utc_ns: int) -> None:
        """Keep a picture. Raises StoreFailed, and leaves nothing of it."""
        said = archive_record.encode(sidecar)
        record_bytes = len(said) + len(files.map or b"")
        try:
            known = self._is_there(sidecar, len(files.picture))
            self._make_room(record_bytes + (0 if known else len(files.picture)), now_utc_ns)
            # Making room may have taken the older picture of the same pixels.
            if not (known and self._is_there(sidecar, len(files.picture))):
                self._write(sidecar.file, files.picture)
            if files.map is not None:
                self._write(f"{sidecar.name}.map.png", files.map)
            self._write(f"{sidecar.name}.json", said)
            self._index.add(sidecar, picture_bytes=len(files.picture), record_bytes=record_bytes)
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
            on_disk = os.stat(self._path(sidecar.file)).st_size
        except FileNotFoundError:
            return False
        return on_disk == size and self._index.picture_bytes(sidecar.sha256) == size

    def _path(self, name: str) -> Path:
        return self.directory / name[:2] / name

    def _write(self, name: str, content: bytes) -> None:
        """Whole, or not there."""
        part, target = self.directory / PART / name, self._path(name)
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
            self._remove([sidecar.name])
            if self._index.picture_bytes(sidecar.sha256) is None:
                self._path(sidecar.file).unlink(missing_ok=True)
        except (OSError, sqlite3.Error):
            return

    # --- bounds

    def _make_room(self, wanted_bytes: int, now_utc_ns: int) -> None:
        while (over := self._over(wanted_bytes)) > 0:
            if not self._prune(over, now_utc_ns):
                raise NoRoom(f"no room for {wanted_bytes} bytes")

    def _over(self, wanted_bytes: int) -> int:
        """By how many bytes there is too much, with so many more."""
        disk = os.statvfs(self.directory)
        short = self._least_free_bytes + wanted_bytes - disk.f_bavail * disk.f_frsize
        return max(self.total_bytes + wanted_bytes - self._bounds.max_bytes, short)

    def _prune(self, over_bytes: int, now_utc_ns: int) -> int:
        """One step; how many went."""
        names = [one.name for one in due(self._index.oldest(STEP), over_bytes, self._bounds, now_utc_ns)]
        if names:
            self._remove(names)
            self._pruned += len(names)
            self._count()
        return len(names)

    def take_pruned(self) -> int:
        """How many went since this was asked last."""
        pruned, self._pruned = self._pruned, 0
        return pruned

    def _remove(self, names: list[str]) -> None:
        """From the index first: what it names is there. A kill in between leaves files that `tidy` finds."""
        pictures = self._index.remove(names)
        for name in (*pictures, *(f"{name}{end}" for name in names for end in (".json", ".map.png"))):
            self._path(name).unlink(missing_ok=True)

    def _count(self) -> None:
        self.total_bytes, self.count = self._index.total_bytes(), self._index.count()

    # --- looking after it

    def tidy(self, now_utc_ns: int) -> bool:
        """One small step of what is to be done. False: nothing is left to do, and the disk can be written."""
        try:
            if self._unmended:
                self._mend(self._unmended[-1])
                self._unmended.pop()
                return True
            if self._prune(self._over(0), now_utc_ns) == STEP:
                return True
            (self.directory / PART / PROBE).write_bytes(b"?")
            (self.directory / PART / PROBE).unlink()
        except (OSError, sqlite3.Error) as problem:
            raise self._failed(problem) from problem
        if self._over(0) > 0:
            raise NoRoom("the disk is full of other things")
        return False

    def _mend(self, shard: str) -> None:
        """Make files and index of one folder agree: a whole picture with its sidecar stays, everything else goes."""
        pictures, records = self._index.of_shard(shard)
        on_disk = _sizes(self.directory / shard)
        whole = {file for file, size in pictures.items() if on_disk.get(file) == size}
        gone = [name for name in records if f"{name}.json" not in on_disk or name[:64] not in {f[:64] for f in whole}]
        if gone:
            self._remove(gone)
        for file in on_disk:
            if file.endswith(".json") and file.removesuffix(".json") not in records:
                self._adopt(self.directory / shard / file, on_disk)
        _, kept = self._index.of_shard(shard)
        pixels = {name[:64] for name in kept}
        for file in on_disk:
            of_record = file.removesuffix(".json").removesuffix(".map.png")
            if of_record not in kept and not (file.count(".") == 1 and file[:64] in pixels):
                (self.directory / shard / file).unlink(missing_ok=True)
        self._count()

    def _adopt(self, path: Path, on_disk: dict[str, int]) -> None:
        """A sidecar that the index does not know, with its picture: a kill came between, or the index is new."""
        try:
            sidecar = archive_record.decode(_content(path))
        except Unreadable:
            return
        picture = on_disk.get(sidecar.file, 0)
        if picture == 0 or f"{sidecar.name}.json" != path.name or not _has_its_hash(sidecar, path.parent):
            return
        record = on_disk[path.name] + on_disk.get(f"{sidecar.name}.map.png", 0)
        self._index.add(sidecar, picture_bytes=picture, record_bytes=record)


def _sizes(folder: Path) -> dict[str, int]:
    """Of the archive's own files in a folder; what else somebody put there is left alone."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if OUR_NAME.fullmatch(entry.name)}
    except FileNotFoundError:
        return {}


def _content(path: Path) -> bytes:
    """A file's bytes. Raises Unreadable where the disk has lost some: that file costs itself alone."""
    try:
        return path.read_bytes()
    except OSError as problem:
        if problem.errno != errno.EIO:
            raise
        raise Unreadable(str(problem)) from problem


def _has_its_hash(sidecar: Sidecar, folder: Path) -> bool:
    """Whether the pixels are those that were judged: after a power cut a file may have its length and not its content."""
    try:
        content = _content(folder / sidecar.file)
        pixels = picture_file.decode(content, sidecar.box[2:], sidecar.pixel_format)
    except (ImageError, Unreadable):
        return False
    return picture_file.sha256(pixels) == sidecar.sha256


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
