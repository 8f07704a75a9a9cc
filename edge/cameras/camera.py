"""What every camera can do. One contract suite (`tests/cameras/contract.py`) holds each of them to it.

A camera writes frames into buffers it is lent and never touches one it has handed over:

1. `open()` reaches the device, applies the settings, reads them back and refuses differences.
2. `start(buffers)` lends it the ring's slots; it fills free ones in any order.
3. `next(timeout_s)` hands over one filled buffer, or None when nothing came in time.
4. `release(slot)` lends a handed-over buffer back.
5. `stop()` ends the stream: no buffer is written after it returns. `close()` lets the device go.
"""

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

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


class CameraInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an open camera is and delivers. `pixel_format` is a GenICam PFNC name: Mono8, BGR8, RGB8, BayerRG8."""

    vendor: str
    model: str
    serial: str
    width: int
    height: int
    pixel_format: str
    frame_bytes: int
    period_s: float | None
    is_simulated: bool = False


class CapturedFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A filled buffer. `frame_id` counts up without wrapping; a step of more than 1 is a lost frame.

    `host_timestamp_ns` is CLOCK_MONOTONIC when the frame was complete; `label` is what the simulation drew, for
    tests only.
    """

    slot: int
    frame_id: int
    host_timestamp_ns: int
    host_timestamp_utc_ns: int
    device_timestamp_ns: int | None
    complete: bool
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

    def stats(self) -> CameraStats:
        """Counters since `start`."""
        ...

    def stop(self) -> None:
        """End the stream. Safe to call twice."""
        ...

    def close(self) -> None:
        """Let the device go. Safe to call twice."""
        ...
