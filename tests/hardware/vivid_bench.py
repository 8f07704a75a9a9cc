"""What the tests in the virtual machine stand on: two cameras of the kernel's own, and orders to them from outside."""

import contextlib
import os
import shlex
import subprocess
from pathlib import Path

from edge.camera_config import FeatureValue, TriggerConfig
from edge.camera_config import V4l2Camera as V4l2Config
from edge.cameras.v4l2 import V4l2Camera
from edge.cameras.v4l2_controls import Controls
from edge.cameras.v4l2_device import Device
from tests.cameras.contract import Streaming, streaming

# The first takes memory it is given; the second has only its own.
DIRECT, COPIED = Path("/dev/video0"), Path("/dev/video1")
LINK = Path("/dev/v4l/by-id/usb-Kernel_vivid-0")
# Small and fast enough for a machine that is emulated.
RATE_HZ = 50.0
SMALL = {"width": 320, "height": 180, "pixel_format": "GREY", "rate_hz": RATE_HZ}

_FIRST: dict[str, FeatureValue] = {
    "percentage_of_dropped_buffers": 0,
    "brightness": 128,
    "test_pattern": 0,
    "horizontal_flip": False,
    "timestamp_source": 0,
    "osd_text_mode": 0,
}


def settings(**changes: object) -> V4l2Config:
    """A camera's configuration: `DIRECT`, small, unless given."""
    return V4l2Config.model_validate({"source": "v4l2", "device": DIRECT} | SMALL | changes)


def camera(config: V4l2Config, mode: str = "free") -> V4l2Camera:
    """A closed camera."""
    return V4l2Camera("top", config, TriggerConfig.model_validate({"mode": mode}))


def opened(
    config: V4l2Config | None = None, mode: str = "free", slots: int = 4
) -> contextlib.AbstractContextManager[Streaming]:
    """The camera open and streaming; afterwards closed, its guards looked at."""
    return streaming(lambda: camera(config or settings(), mode), slots)


def order(name: str, value: FeatureValue = True, path: Path = DIRECT) -> None:
    """Another program sets a control."""
    device = Device(path)
    try:
        Controls(device).execute("order", name, value)
    finally:
        device.close()


def put_back() -> None:
    """Every control that a test moves, as it was at first."""
    for path in (DIRECT, COPIED):
        for name, value in _FIRST.items():
            order(name, value, path)


def plug_in() -> None:
    """The cameras come (back)."""
    subprocess.run(shlex.split(os.environ["VIVID"]), check=True)


def unplug() -> None:
    """The cameras' nodes vanish. No program may have them open."""
    subprocess.run([*shlex.split(os.environ["VIVID"])[:5], "-r", "vivid"], check=True)


class Vivid:
    """The kernel's camera as a device that can be taken away: it stays so until nobody has it open any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: Device | None = None

    def lose(self) -> None:
        self._kept = Device(self._path)
        Controls(self._kept).execute("order", "disconnect", True)

    def restore(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self._kept = None

    def hang(self) -> None:
        order("percentage_of_dropped_buffers", 100, self._path)

    def resume(self) -> None:
        order("percentage_of_dropped_buffers", 0, self._path)
