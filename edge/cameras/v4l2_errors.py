"""The kernel's errors about a video device, in the words of the camera protocol: what a caller can do about them."""

import errno
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError, CameraError, CameraLost

# udev gives a new device its group some milliseconds after the device is there: only later a refusal is meant.
_NEW_DEVICE_S = 5.0
_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
# No video device, or one that cannot do what is asked.
_UNFIT = frozenset({errno.ENOTTY, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.ELOOP})


@contextmanager
def meaning(name: str, path: Path) -> Generator[None, None, None]:
    """While the device is opened and set. Raises CameraAbsent, CameraBusy or CameraConfigError for OSError."""
    try:
        yield
    except OSError as problem:
        raise _meaning_of(problem, name, path) from None


@contextmanager
def losing(path: Path) -> Generator[None, None, None]:
    """While it streams. Any OSError means that the device is gone: raises CameraLost."""
    try:
        yield
    except OSError as problem:
        raise CameraLost(f"{path} is gone or failed ({problem.strerror})") from None


def stable_paths() -> list[Path]:
    """The paths below /dev/v4l that stay the same when devices come and go, those by id first."""
    folders = (Path("/dev/v4l/by-id"), Path("/dev/v4l/by-path"))
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]


def _meaning_of(problem: OSError, name: str, path: Path) -> CameraError:
    if problem.errno in _ABSENT:
        return CameraAbsent(f"camera {name}: {path} is not there; {_present()}")
    if problem.errno == errno.EBUSY:
        return CameraBusy(f"camera {name}: another program streams from {path}")
    if problem.errno == errno.ENOSPC:
        return CameraBusy(f"camera {name}: USB has no bandwidth left for {path}: fewer or smaller pictures, or MJPEG")
    if problem.errno in _FORBIDDEN and _is_new(path):
        return CameraAbsent(f"camera {name}: {path} was just plugged in and is not ready")
    if problem.errno in _FORBIDDEN | _UNFIT:
        remedy = "; the service's user must be in the group video" if problem.errno in _FORBIDDEN else ""
        return CameraConfigError(f'cameras.{name}.device = "{path}": no camera to be used: {problem.strerror}{remedy}')
    # What USB says of a device that is going, or stuck: EIO, EPROTO, ETIMEDOUT, ESHUTDOWN.
    return CameraAbsent(f"camera {name}: {path} does not answer ({problem.strerror})")


def _present() -> str:
    paths = stable_paths() or sorted(Path("/dev").glob("video*"))
    if not paths:
        return "no video device is there: nothing in /dev/v4l/by-id, no /dev/video*"
    return f"there are {', '.join(map(str, paths))}"


def _is_new(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_ctime < _NEW_DEVICE_S
    except OSError:
        return False
