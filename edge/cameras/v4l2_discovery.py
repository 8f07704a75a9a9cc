"""Which V4L2 cameras are plugged in. Nothing is changed on them."""

import errno
from pathlib import Path

from edge.cameras.camera import Found
from edge.cameras.v4l2_device import Device
from edge.cameras.v4l2_errors import stable_paths


def discover() -> list[Found]:
    """Every camera that delivers pictures, by the path that stays the same where it has one.

    A device that this user may not open is told too, with `name` saying so.
    """
    paths = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    stable = {path.resolve(): path for path in reversed(stable_paths())}
    return [found for path in paths if (found := _found(path, stable.get(path.resolve(), path))) is not None]


def _found(path: Path, address: Path) -> Found | None:
    try:
        device = Device(path)
    except OSError as problem:
        if problem.errno in (errno.EACCES, errno.EPERM):
            return Found(source="v4l2", address=str(address), name=f"{problem.strerror}: be in the group video")
        return None  # the other nodes of a camera, and what is no camera
    try:
        identity = device.identity()
        return Found(
            source="v4l2",
            address=str(address),
            vendor=identity.vendor,
            model=identity.card,
            serial=identity.serial,
            name=path.name,
            is_busy=device.is_busy(),
        )
    except OSError:
        return None  # it was unplugged meanwhile
    finally:
        device.close()
