"""A camera in the hands of a person: a command opens it, looks at pictures, and lets it go.

The station itself does not go this way: it has a ring, and a process for each camera.
"""

import mmap
import time
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edge.camera_config import CameraConfig
from edge.cameras.camera import Camera, CameraInfo, CameraLost, CapturedFrame
from edge.cameras.factory import make_camera
from edge.images import as_bgr

# One being filled, one being looked at, and room for what comes while a computer measures and draws, or is busy: so
# long. What would be lost here would look as if the network lost it.
_LEAST_SLOTS, _ROOM_S, _MOST_BYTES = 4, 1.0, 256 << 20
# One wait for a frame: how late a person who interrupts is heard.
_LOOK_S = 0.1
# A picture that was asked for and did not come within so many exposures, and this long, is asked for again.
_EXPOSURES, _LEAST_PATIENCE_S = 3, 1.0


class Stream:
    """An open camera that streams. One frame is held at a time: the next call lends it back."""

    def __init__(self, camera: Camera, info: CameraInfo, config: CameraConfig) -> None:
        self.camera, self.info = camera, info
        self._asks = config.trigger.mode == "software"
        self._settling = config.settling_frames if config.trigger.mode == "free" else 0
        # Of whole pages, as drivers that write into a program's memory want them.
        self._buffers = [np.frombuffer(mmap.mmap(-1, info.frame_bytes), np.uint8) for _ in range(_slots(info))]
        self._held: CapturedFrame | None = None
        self._patience_s = max(_LEAST_PATIENCE_S, _EXPOSURES * (info.exposure_s or 0))
        self._asked_s: float | None = None
        camera.start(self._buffers)

    def next(self, timeout_s: float = _LOOK_S) -> CapturedFrame | None:
        """The next frame, asked for where the camera waits for that; None after the timeout. Raises CameraLost."""
        self.release()
        now_s = time.monotonic()
        if self._asks and (self._asked_s is None or now_s - self._asked_s > self._patience_s):
            self.camera.trigger()
            self._asked_s = now_s
        frame = self.camera.next(timeout_s)
        if frame is not None:
            self._held, self._asked_s = frame, None
        return frame

    def newest(self, timeout_s: float = _LOOK_S) -> CapturedFrame | None:
        """As `next`, and whatever came in the meantime is passed over."""
        newest = self.next(timeout_s)
        while newest is not None and not self._asks and (later := self.camera.next(0)) is not None:
            self.camera.release(newest.slot)
            newest = self._held = later
        return newest

    def whole(self, timeout_s: float) -> CapturedFrame:
        """The next frame of which every byte came, once the camera has settled. Raises CameraLost after `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        incomplete = 0
        while time.monotonic() < until_s:
            if (frame := self.next()) is None:
                continue
            if self._settling > 0:
                self._settling -= 1
            elif frame.complete:
                return frame
            else:
                incomplete += 1
        why = f"{incomplete} came incomplete" if incomplete else "none came"
        raise CameraLost(f"no whole picture in {timeout_s:g} s: {why}")

    def raw(self, frame: CapturedFrame) -> NDArray[np.uint8]:
        """The held frame's bytes, in its slot."""
        return self._buffers[frame.slot][: frame.used_bytes or self.info.frame_bytes]

    def picture(self, frame: CapturedFrame) -> NDArray[np.uint8]:
        """The held frame as it would be judged: 8-bit BGR, of its own."""
        info = self.info
        buffer = self._buffers[frame.slot]
        return np.array(as_bgr(buffer, info.width, info.height, info.pixel_format, frame.used_bytes))

    def release(self) -> None:
        """Lend back what is held."""
        if self._held is not None:
            self.camera.release(self._held.slot)
            self._held = None


def _slots(info: CameraInfo) -> int:
    wanted = 0 if info.period_s is None else round(_ROOM_S / info.period_s)
    return _LEAST_SLOTS + min(wanted, _MOST_BYTES // info.frame_bytes)


@contextmanager
def opened(name: str, config: CameraConfig) -> Generator[tuple[Camera, CameraInfo]]:
    """The camera, open and set. Raises CameraAbsent, CameraBusy, CameraConfigError."""
    camera = make_camera(name, config)
    try:
        yield camera, camera.open()
    finally:
        camera.close()


@contextmanager
def streaming(name: str, config: CameraConfig) -> Generator[Stream]:
    """The camera, open and streaming into memory of its own."""
    with opened(name, config) as (camera, info):
        stream = Stream(camera, info, config)  # its buffers outlive the camera's stream
        yield stream
