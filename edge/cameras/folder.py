"""A camera without hardware: plays the images of a folder in name order, looping or once."""

from pathlib import Path

from edge import images
from edge.camera_config import FolderCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras.camera import CameraAbsent, CameraConfigError, CameraInfo
from edge.cameras.pacing import Clock, PacedCamera, Picture, Size


class FolderCamera(PacedCamera):
    """Reads each image when it is due; the file's name travels as the frame's label.

    A file that cannot be read, or has another size than the first that can, is an incomplete frame.
    """

    def __init__(self, name: str, config: Config, trigger: TriggerConfig) -> None:
        super().__init__(name, Clock(config.rate_hz, free_running=trigger.mode == "free"))
        self._config = config
        self._paths: list[Path] = []

    def open(self) -> CameraInfo:
        """Raises CameraAbsent without the folder, CameraConfigError without an image in it that can be read."""
        folder = self._config.path
        if not folder.is_dir():
            raise CameraAbsent(f"camera {self._name}: {folder}: no such folder")
        try:
            self._paths = images.list_images(folder)
        except images.ImageError as problem:
            raise CameraConfigError(f"camera {self._name}: {problem}") from None
        self._count = None if self._config.play == "loop" else len(self._paths)
        return self._opened("Folder", self._first_size())

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

    def _picture(self, number: int) -> tuple[Picture | None, str]:
        path = self._paths[(number - 1) % len(self._paths)]
        try:
            picture = images.read_image(path)
        except images.ImageError:
            return None, path.name
        return (picture if picture.shape[1::-1] == self._size else None), path.name
