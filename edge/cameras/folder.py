"""A camera without hardware: plays the images of a folder in name order, looping or once, or shows new ones as they come."""

import os
import time
from functools import cache
from pathlib import Path

from msgspec import structs

from edge import images
from edge.camera_config import FolderCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras.camera import CameraAbsent, CameraConfigError, CameraInfo, CameraLost
from edge.cameras.folder_watch import Newcomers, Shown
from edge.cameras.pacing import Clock, PacedCamera, Size


class _Progress:
    """How many images of a folder that is played once were played."""

    played = 0


# A camera is made anew each time it is opened; what was shown of a folder stays shown for as long as the process lives.
@cache
def _progress(_camera: str, _folder: Path) -> _Progress:
    return _Progress()


@cache
def _newcomers(_camera: str, folder: Path) -> Newcomers:
    return Newcomers(folder)


class FolderCamera(PacedCamera):
    """Reads each image when it is due; the file's name travels as the frame's label.

    A file that cannot be read, or has another size than the first that can, is an incomplete frame. `watch` looks for
    new files `rate_hz` times a second and shows one at each look; those that find no free buffer wait in the folder.
    """

    def __init__(self, name: str, config: Config, trigger: TriggerConfig) -> None:
        super().__init__(name, Clock(config.rate_hz, free_running=trigger.mode == "free"))
        self._folder, self._play, self._trigger = config.path, config.play, trigger.mode
        self._paths: list[Path] = []
        self._skipped = 0
        self._watched: Newcomers | None = None
        self._found: Shown | None = None

    def open(self) -> CameraInfo:
        """Raises CameraAbsent without the folder or its list, CameraConfigError without an image in it that can be read.

        Without a folder or a picture to watch for, CameraAbsent.
        """
        if self._trigger == "line":
            raise CameraConfigError(f'cameras.{self._name}.trigger.mode = "line": a folder has no input')
        if self._play == "watch":
            return self._open_watching()
        try:
            if not self._folder.is_dir():
                raise CameraAbsent(f"camera {self._name}: {self._folder}: no such folder")
            self._paths = images.list_images(self._folder)
        except images.ImageError as problem:
            raise CameraConfigError(f"camera {self._name}: {problem}") from None
        except OSError as problem:
            raise CameraAbsent(f"camera {self._name}: {self._folder}: {problem.strerror}") from None
        if self._play == "once":
            self._skipped = _progress(self._name, self._folder).played
            self._count = max(0, len(self._paths) - self._skipped)
        return self._opened("Folder", self._first_size())

    def stop(self) -> None:
        """No buffer is written from here on; what was due of a folder played once is over."""
        if self._play == "once":
            progress = _progress(self._name, self._folder)
            progress.played = max(progress.played, self._skipped + self._frame_id)
        super().stop()

    def _open_watching(self) -> CameraInfo:
        if self._trigger != "free":
            raise CameraConfigError(
                f'cameras.{self._name}.play = "watch": each new file is a picture: trigger.mode is "free"'
            )
        self._watched = _newcomers(self._name, self._folder)
        try:
            info = self._opened("Folder", self._watched.begin())
        except CameraAbsent as absence:
            raise CameraAbsent(f"camera {self._name}: {absence}") from None
        # Its pictures are of real parts as far as anyone knows, and come when they come.
        return structs.replace(info, period_s=None, is_simulated=False)

    def _first_size(self) -> Size:
        problems: list[str] = []
        for path in self._paths:
            try:
                height, width = images.read_image(path).shape[:2]
            except images.ImageError as problem:
                problems.append(str(problem))
            else:
                return width, height
        raise CameraConfigError(f"camera {self._name}: no image can be read: {problems[0]}")

    def _due(self, timeout_s: float) -> int:
        due = super()._due(timeout_s)
        if self._watched is None:
            return due
        if not due or self._free.is_empty:
            return 0
        try:
            self._found = self._watched.take(time.monotonic_ns())
        except CameraLost as loss:
            raise CameraLost(f"camera {self._name}: {loss}") from None
        return 0 if self._found is None else 1

    def _picture(self, number: int) -> Shown:
        picture, label = self._found or self._played(number)
        return (picture if picture is not None and picture.shape[1::-1] == self._size else None), label

    def _played(self, number: int) -> Shown:
        path = self._paths[(self._skipped + number - 1) % len(self._paths)]
        try:
            return images.read_image(path), path.name
        except images.ImageError:
            if not os.path.isdir(self._folder):  # Path.is_dir raises where this user may not look
                raise CameraLost(f"camera {self._name}: {self._folder}: the folder is gone") from None
            return None, path.name
