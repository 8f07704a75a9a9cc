"""A streaming camera whose frames are marked, and which is lost when it falls silent or stands still (`liveness.py`).

To tell a repetition, the newest whole picture is kept until the next one is there: its slot goes back to the camera
that much later, or, where the camera would have no other, its bytes are copied first. Two pictures are compared up to
their first difference, which in a sensor's noise is among the first bytes; only a repetition costs a whole pass.
"""

import ctypes
import threading
import time
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.camera_config import EXPOSURE_TIMES, CameraConfig, FeatureValue
from edge.cameras.camera import Camera, CameraInfo, CapturedFrame
from edge.images import frame_bytes
from edge.liveness import Liveness, rules_for

Pixels = NDArray[np.uint8]
# Bytes of one pixel, or of few together, in every pixel format divide this; so a picture in one colour repeats itself
# at this distance.
PIXELS_APART_BYTES = 12
# NumPy compares without an early end; the library's function ends at the first difference and lets the interpreter go.
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes, _memcmp.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int


def are_equal(first: Pixels, second: Pixels) -> bool:
    """The same bytes, from first to last. Both contiguous."""
    return first.nbytes == second.nbytes and _memcmp(first.ctypes.data, second.ctypes.data, first.nbytes) == 0


def is_one_colour(picture: Pixels) -> bool:
    """Every pixel is like the one before."""
    return are_equal(picture[:-PIXELS_APART_BYTES], picture[PIXELS_APART_BYTES:])


class WatchedCamera:
    """A camera that streams into `buffers`. `next` is for one thread, the other calls are for a second one.

    `before` is the last picture of its stream before: a camera that is frozen still is when it was opened anew.
    """

    def __init__(
        self,
        name: str,
        camera: Camera,
        config: CameraConfig,
        info: CameraInfo,
        buffers: list[Pixels],
        *,
        before: Pixels | None = None,
    ) -> None:
        self._name, self._camera, self._buffers = name, camera, buffers
        self._picture_bytes = frame_bytes(info.width, info.height, info.pixel_format)
        self._settling = config.settling_frames
        self._rules = rules_for(config, info)
        self._compares = self._rules is not None and self._rules.detects_frozen
        self._began_ns = time.monotonic_ns()
        # From the start of its stream on, which may take a while itself.
        self._liveness: Liveness | None = None
        self._lock = threading.Lock()
        # Slots that the camera does not have.
        self._held: set[int] = set()
        # The newest whole picture: its slot while that is kept from the camera or in use, and its bytes.
        self._kept: int | None = None
        self._is_due_back = False
        self._before = before

    @property
    def age_s(self) -> float:
        """Since its stream was about to begin."""
        return time.monotonic() - self._began_ns / 1e9

    def start(self) -> None:
        """Start the camera's stream into the buffers."""
        self._camera.start(self._buffers)
        if self._rules is not None:
            self._liveness = Liveness(self._name, self._rules, time.monotonic_ns())

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame, marked; None when nothing came. Raises CameraLost, CameraStalled or CameraFrozen."""
        if self._liveness is not None:
            self._liveness.check_moving()
        frame = self._camera.next(timeout_s)
        if frame is not None:
            return self._mark(frame)
        if self._liveness is not None:
            is_starved = len(self._held) == len(self._buffers)
            self._liveness.check_silence(time.monotonic_ns(), is_starved=is_starved)
        return None

    def release(self, slot: int) -> None:
        """Lend a buffer back: at once, or when the next picture is there. Raises KeyError for one not handed over."""
        with self._lock:
            if slot not in self._held or (slot == self._kept and self._is_due_back):
                raise KeyError(slot)
            if slot == self._kept and len(self._held) < len(self._buffers):
                self._is_due_back = True
                return
            if slot == self._kept and self._before is not None:
                self._before, self._kept = self._before.copy(), None
            self._give_back(slot)

    def trigger(self) -> None:
        """Take one picture. Raises CameraLost."""
        if self._liveness is not None:
            self._liveness.asked(time.monotonic_ns())
        self._camera.trigger()

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """Set what the next shot needs. Raises CameraLost or CameraConfigError."""
        self._camera.prepare(features)
        for name in features.keys() & EXPOSURE_TIMES:
            if self._liveness is not None:
                self._liveness.exposes(float(features[name]) / 1e6)

    def last_picture(self) -> Pixels | None:
        """A copy of the newest whole picture, where pictures are compared. For after the end of the stream."""
        return self._before.copy() if self._compares and self._before is not None else None

    def _give_back(self, slot: int) -> None:
        self._held.remove(slot)
        self._camera.release(slot)

    def _mark(self, frame: CapturedFrame) -> CapturedFrame:
        is_settling, self._settling = self._settling > 0, max(0, self._settling - 1)
        with self._lock:
            self._held.add(frame.slot)
            repeats = self._compares and frame.complete and self._compare(frame)
        if is_settling or repeats:
            frame = msgspec.structs.replace(frame, settling=is_settling, repeats=repeats)
        if self._liveness is not None:
            self._liveness.arrived(frame, is_clipped=repeats and is_one_colour(self._pixels(frame)))
        return frame

    def _pixels(self, frame: CapturedFrame) -> Pixels:
        used_bytes = self._picture_bytes if frame.used_bytes is None else frame.used_bytes
        return self._buffers[frame.slot][:used_bytes]

    def _compare(self, frame: CapturedFrame) -> bool:
        """Whether it repeats the newest whole picture, whose place it takes."""
        picture = self._pixels(frame)
        repeats = self._before is not None and are_equal(self._before, picture)
        if self._kept is not None and self._is_due_back:
            self._give_back(self._kept)
        self._before, self._kept, self._is_due_back = picture, frame.slot, False
        return repeats
