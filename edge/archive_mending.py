"""Files and index of the archive made to agree: a whole picture with its sidecar stays, everything else goes.

One folder of 256 at a time. A kill leaves files that the index does not know, or rows whose files are gone; an index that
was lost knows none. Until every folder was looked at, what lies there unknown counts as well.
"""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edge import archive_record, picture_file
from edge.archive_index import Index
from edge.archive_record import OUR_NAME, Sidecar, Unreadable
from edge.images import ImageError

SHARDS = tuple(f"{number:02x}" for number in range(256))


def path_of(directory: Path, name: str) -> Path:
    """Where a file of the archive lies."""
    return directory / name[:2] / name


def remove(directory: Path, index: Index, names: Sequence[str]) -> None:
    """Records with their files. From the index first: what it names is there; files that a kill leaves are mended."""
    pictures = index.remove(names)
    for name in (*pictures, *(f"{name}{end}" for name in names for end in (".json", ".map.png"))):
        path_of(directory, name).unlink(missing_ok=True)


class Mending:
    """The folders that were not looked at yet. Errors are the disk's and sqlite3's."""

    def __init__(self, directory: Path, index: Index, *, is_whole: bool) -> None:
        """`is_whole`: every folder was looked at once since the index was made."""
        self._directory, self._index = directory, index
        self._left = {shard: 0 if is_whole else self._unknown_bytes(shard) for shard in SHARDS}

    @property
    def unknown_bytes(self) -> int:
        """Of the files that the index does not know of yet."""
        return sum(self._left.values())

    @property
    def is_over(self) -> bool:
        """Every folder is well."""
        return not self._left

    def step(self, kept_ns: Callable[[int], int]) -> bool:
        """One folder more; False: there is none. `kept_ns`: what had been lived at a time of day (`Lived.when`)."""
        if not self._left:
            return False
        shard = next(reversed(self._left))
        self._mend(shard, kept_ns)
        del self._left[shard]
        return True

    def _unknown_bytes(self, shard: str) -> int:
        pictures, records = self._index.of_shard(shard)
        known = pictures.keys() | records
        found = _sizes(self._directory / shard).items()
        return sum(size for file, size in found if _of_record(file) not in known)

    def _mend(self, shard: str, kept_ns: Callable[[int], int]) -> None:
        pictures, records = self._index.of_shard(shard)
        folder = self._directory / shard
        on_disk = _sizes(folder)
        whole = {file[:64] for file, size in pictures.items() if on_disk.get(file) == size}
        gone = [name for name in records if f"{name}.json" not in on_disk or name[:64] not in whole]
        if gone:
            remove(self._directory, self._index, gone)
        for file in on_disk:
            if file.endswith(".json") and file.removesuffix(".json") not in records:
                self._adopt(folder / file, on_disk, kept_ns)
        _, kept = self._index.of_shard(shard)
        pixels = {name[:64] for name in kept}
        for file in on_disk:
            if _of_record(file) not in kept and not (file.count(".") == 1 and file[:64] in pixels):
                (folder / file).unlink(missing_ok=True)

    def _adopt(self, path: Path, on_disk: dict[str, int], kept_ns: Callable[[int], int]) -> None:
        """A sidecar that the index does not know, with its picture: a kill came between, or the index is new."""
        try:
            sidecar = archive_record.decode(_content(path))
        except Unreadable:
            return
        picture = on_disk.get(sidecar.file, 0)
        if picture == 0 or f"{sidecar.name}.json" != path.name or not _has_its_hash(sidecar, path.parent):
            return
        sizes = {
            "picture_bytes": picture,
            "record_bytes": on_disk[path.name] + on_disk.get(f"{sidecar.name}.map.png", 0),
        }
        self._index.add(sidecar, **sizes, kept_ns=kept_ns(sidecar.taken_utc_ns))


def _of_record(file: str) -> str:
    return file.removesuffix(".json").removesuffix(".map.png")


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
