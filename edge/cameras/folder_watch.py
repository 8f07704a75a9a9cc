"""New files of a folder: found by looking, read once they are whole, each shown once.

What lies in the folder when it is first seen is old and never shown: after a start of the station nobody waits for a
verdict on it. A folder that is replaced (unmounted, mounted again) is seen for the first time again. A name that is gone
is forgotten, so a file of that name is new once more. A file that is moved in is whole at the next look; one that is
still being written is tried again whenever it changed, and given up when it has not changed for a while.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge import images
from edge.cameras.camera import CameraAbsent, CameraLost
from edge.cameras.pacing import Picture, Size

# A writer that pauses longer than this in the middle of a file has died; over a network a second is common.
PATIENCE_NS = 2_000_000_000

Shown = tuple[Picture | None, str]


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was found: when it changed last (wall clock), its size, and when it was looked at."""

    modified_ns: int
    size: int
    looked_ns: int

    def is_like(self, other: "_Seen") -> bool:
        return (self.modified_ns, self.size) == (other.modified_ns, other.size)


class Newcomers:
    """The new files of one folder. Times are of the monotonic clock, in ns; it outlives the camera that looks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._identity: tuple[int, int] | None = None
        # Those that lie there and were shown, or are old; of these nothing but the name is looked at.
        self._shown: set[str] = set()
        self._new: dict[str, _Seen] = {}
        # New files that are not whole yet, as they were when they were last tried.
        self._tried: dict[str, _Seen] = {}

    def begin(self) -> Size:
        """The (width, height) to expect: of the first new picture, or the newest old one.

        Raises CameraAbsent while the folder or a picture in it is not there.
        """
        try:
            self._look(0)
        except CameraLost as loss:
            raise CameraAbsent(str(loss)) from None
        old = {name: seen for name in self._shown if (seen := self._see(name, 0))}
        for name in (*_in_order(self._new), *reversed(_in_order(old))):
            try:
                height, width = images.read_image(self._folder / name).shape[:2]
            except images.ImageError:
                continue
            return width, height
        raise CameraAbsent(f"{self._folder}: no picture in it yet, so their size is not known")

    def take(self, now_ns: int) -> Shown | None:
        """The oldest new picture that is whole, or None for a file given up; None when there is nothing to show.

        Raises CameraLost when the folder is gone, or another one is in its place.
        """
        self._look(now_ns)
        for name in _in_order(self._new):
            if (shown := self._try(name, now_ns)) is not None:
                self._shown.add(name)
                self._tried.pop(name, None)
                return shown
        return None

    def _try(self, name: str, now_ns: int) -> Shown | None:
        found, tried = self._new[name], self._tried.get(name)
        if tried is not None and tried.is_like(found):
            return (None, name) if now_ns - tried.looked_ns > PATIENCE_NS else None
        self._tried[name] = found
        try:
            return images.read_image(self._folder / name), name
        except images.ImageError:
            return None

    def _look(self, now_ns: int) -> None:
        try:
            status = self._folder.stat()
            names = {name for name in os.listdir(self._folder) if _is_picture(name)}
            if (identity := (status.st_dev, status.st_ino)) != self._identity:
                self._identity, self._shown = identity, set(names)
            self._shown &= names
            self._new = {name: seen for name in names - self._shown if (seen := self._see(name, now_ns))}
        except OSError as problem:
            raise CameraLost(f"{self._folder}: {problem.strerror}") from None
        self._tried = {name: tried for name, tried in self._tried.items() if name in self._new}

    def _see(self, name: str, now_ns: int) -> _Seen | None:
        """None for what is no file, was just removed, or is a link that leads nowhere: one such does not stop the others."""
        try:
            status = (self._folder / name).stat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return _Seen(modified_ns=status.st_mtime_ns, size=status.st_size, looked_ns=now_ns)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in images.SUFFIXES


def _in_order(files: Mapping[str, _Seen]) -> list[str]:
    return sorted(files, key=lambda name: (files[name].modified_ns, name))
