"""Runs a camera on a thread of its own, opening it again and again, and tells the capture loop what happens.

    OPENING ──▶ STREAMING ──▶ (lost, restarted) ──▶ BACKOFF ──▶ OPENING …

The thread blocks in the camera's calls, which let the interpreter go; the loop stays awake for sockets. What is
told lands in a queue, and an eventfd wakes the loop.
"""

import contextlib
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge.cameras.camera import Camera, CameraConfigError, CameraError, CameraInfo, CameraLost, CapturedFrame

# A camera that is away is asked for again after 0.2 s, then ever later, at most every 10 s.
BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.2, 10.0
# No call of a camera lasts longer than this, nor opening one (drawing pictures before the start included); beyond, the
# process is restarted. Aravis takes 2.5 s to give up on a call.
CALL_S, OPEN_S = 6.0, 60.0
# One wait for a frame: how late the thread notices that it should stop.
NEXT_TIMEOUT_S = 0.1


class Streaming:
    """The camera streams into the lent buffers."""


class Down:
    """The camera is not there. `fatal`: its settings are refused, and trying again will not help."""

    def __init__(self, cause: CameraError) -> None:
        self.cause, self.fatal = cause, isinstance(cause, CameraConfigError)


Happening = CameraInfo | Streaming | CapturedFrame | Down


class Grabber:
    """One camera's thread. All methods are for the capture loop's thread."""

    def __init__(self, make_camera: Callable[[], Camera]) -> None:
        self._make_camera = make_camera
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told: deque[Happening] = deque()
        self._lock = threading.Lock()
        self._live: Camera | None = None
        self._buffers: list[NDArray[np.uint8]] | None = None
        self._buffers_given = threading.Event()
        self._interrupt = threading.Event()
        self._stopping = False
        # By when the call that the thread is in must be over; none while it waits for this process.
        self._over_by_ns: float = float("inf")
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        """Begin opening the camera."""
        self._thread.start()

    def is_stuck(self, now_ns: int) -> bool:
        """True once the thread failed, or a call of the camera hangs."""
        return now_ns > self._over_by_ns or not self._thread.is_alive()

    def happenings(self) -> Iterator[Happening]:
        """What was told since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake)
        while self._told:
            yield self._told.popleft()

    def lend(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Answer to CameraInfo: stream into these. The caller holds none of them."""
        self._buffers = buffers
        self._buffers_given.set()

    def release(self, slot: int) -> None:
        """Lend one buffer back."""
        with self._lock:
            if self._live is not None:
                self._live.release(slot)

    def trigger(self) -> None:
        """Take one picture. Raises CameraLost."""
        with self._lock:
            if self._live is None:
                raise CameraLost("the camera is not streaming")
            self._live.trigger()

    def reopen(self) -> None:
        """Close and open the camera anew."""
        self._interrupt.set()

    def stop(self, timeout_s: float) -> None:
        """Close the camera and end the thread; give up waiting after `timeout_s`."""
        self._stopping = True
        self._interrupt.set()
        self._buffers_given.set()
        self._thread.join(timeout_s)

    # --- on the camera's thread

    def _tell(self, happening: Happening) -> None:
        self._told.append(happening)
        os.eventfd_write(self.wake, 1)

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._interrupt.clear()
            self._buffers_given.clear()
            try:
                if self._session():
                    failures = 0
            except CameraError as cause:
                self._tell(Down(cause))
            else:
                self._tell(Down(CameraLost("reopening")))
            self._may_take(float("inf"))
            failures += 1
            pause_s = min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2 ** (failures - 1))
            self._interrupt.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _session(self) -> bool:
        """Open, stream, close. Returns True when at least one frame came."""
        camera = self._make_camera()
        frames = 0
        try:
            self._may_take(OPEN_S)
            self._tell(camera.open())
            self._may_take(float("inf"))
            self._buffers_given.wait()
            self._may_take(CALL_S)
            if self._stopping or self._buffers is None:
                return False
            camera.start(self._buffers)
            self._set_live(camera)
            self._tell(Streaming())
            while not self._interrupt.is_set():
                self._may_take(CALL_S)
                if (frame := camera.next(NEXT_TIMEOUT_S)) is not None:
                    frames += 1
                    self._tell(frame)
            return frames > 0
        finally:
            self._set_live(None)
            self._may_take(CALL_S)
            camera.stop()
            camera.close()

    def _may_take(self, seconds: float) -> None:
        self._over_by_ns = time.monotonic_ns() + seconds * 1e9

    def _set_live(self, camera: Camera | None) -> None:
        with self._lock:
            self._live = camera
