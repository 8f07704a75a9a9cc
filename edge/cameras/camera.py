"""What every camera can do. One contract suite (`tests/cameras/contract.py`) holds each of them to it.

A camera writes frames into buffers it is lent and never touches one it has handed over:

1. `open()` reaches the device, applies the settings, reads them back and refuses differences.
2. `start(buffers)` lends it the ring's slots; it fills free ones in any order.
3. `next(timeout_s)` hands over one filled buffer, or None when nothing came in time.
4. `release(slot)` lends a handed-over buffer back.
5. `stop()` ends the stream: no buffer is written after it returns. `close()` lets the device go.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.camera_config import FeatureValue
from edge.errors import GoldlineError


class CameraError(GoldlineError):
    """Something went wrong with a camera; the subclass says what can be done about it."""


class CameraAbsent(CameraError):
    """No such device now; try again."""


class CameraBusy(CameraError):
    """Another program holds the device; try again."""


class CameraConfigError(CameraError):
    """The device refuses a setting, or read back another value; trying again will not help."""


class CameraLost(CameraError):
    """The device was there and is gone; reopen."""


class CameraStalled(CameraLost):
    """It says that it streams, and sends nothing."""


class CameraFrozen(CameraLost):
    """It sends the same again and again: its picture, its ids or its clock do not move."""


class CameraInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an open camera is and delivers.

    `pixel_format` is one of `edge.images.PIXEL_FORMATS`. `period_s` is None where each picture is asked for;
    `exposure_s` where the camera does not tell. Pictures of a simulated camera may repeat, and show no real parts.
    """

    vendor: str
    model: str
    serial: str
    width: int
    height: int
    pixel_format: str
    frame_bytes: int
    period_s: float | None
    exposure_s: float | None = None
    is_simulated: bool = False


class CapturedFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A filled buffer. `frame_id` counts up without wrapping; a step of more than 1 is a lost frame.

    `host_timestamp_ns` is CLOCK_MONOTONIC when the frame was complete, `started_ns` when its trigger came or its exposure
    began, as far as can be told. `trigger_count` is the camera's count of its input's edges up to this frame, without wrapping; a step of
    more than the frames between is edges without a picture. `used_bytes`: of a frame whose length varies (MJPEG).
    `settling` and `repeats` (the picture before, to the last bit) are the grabber's to set. `label` is what the
    simulation drew, for tests only.
    """

    slot: int
    frame_id: int
    host_timestamp_ns: int
    host_timestamp_utc_ns: int
    device_timestamp_ns: int | None
    complete: bool
    started_ns: int | None = None
    trigger_count: int | None = None
    used_bytes: int | None = None
    settling: bool = False
    repeats: bool = False
    label: str | None = None


class CameraStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since `start`."""

    frames: int
    incomplete: int
    lost: int


class Camera(Protocol):
    """A source of frames. Every call returns or raises within 2.5 s; `next` within its timeout and 0.1 s."""

    def open(self) -> CameraInfo:
        """Reach the device and apply its settings. Raises CameraAbsent, CameraBusy or CameraConfigError."""
        ...

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into `buffers` (one flat uint8 array of at least `frame_bytes` for each slot, in slot order)."""
        ...

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame in the order taken, complete or not. Raises CameraLost."""
        ...

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back to the camera."""
        ...

    def trigger(self) -> None:
        """Take one picture (software trigger mode only). At most one may be outstanding."""
        ...

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """Set what the next shot needs, before `trigger`. Raises CameraLost, or CameraConfigError at once."""
        ...

    def stats(self) -> CameraStats:
        """Counters since `start`."""
        ...

    def stop(self) -> None:
        """End the stream. Safe to call twice."""
        ...

    def close(self) -> None:
        """Let the device go. Safe to call twice."""
        ...


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One of an open camera's settings. `value` is None where it cannot be read now; bounds and entries where it has them.

    `path` names the categories it is filed under, outermost first.
    """

    name: str
    kind: Literal["boolean", "command", "enumeration", "integer", "float", "string"]
    value: FeatureValue | None = None
    unit: str | None = None
    lowest: float | None = None
    highest: float | None = None
    step: float | None = None
    entries: tuple[str, ...] = ()
    is_writable: bool = False
    description: str | None = None
    path: tuple[str, ...] = ()


class Described(Protocol):
    """What cameras with settings of their own have besides, while open: gige, v4l2, pylon, gentl."""

    def features(self) -> Iterator[Feature]:
        """Every setting, in the device's order."""
        ...

    def set_feature(self, name: str, value: FeatureValue) -> Feature:
        """Write, read back, and return what the device has now. Raises CameraConfigError."""
        ...


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A device that was discovered: `address` is what `config.toml` calls it by, `aliases` what else it may."""

    source: str
    address: str
    vendor: str = ""
    model: str = ""
    serial: str = ""
    name: str = ""
    is_busy: bool = False
    aliases: tuple[str, ...] = ()
