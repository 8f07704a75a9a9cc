"""Runs a camera on a thread of its own, opening it again and again, and tells the capture loop what happens.

    CLOSED ──▶ OPENING ──▶ STREAMING ──▶ STALLED ──▶ BACKOFF ──▶ OPENING …
                  └──────── absent, busy ──────────────▲

The thread blocks in the camera's calls, which let the interpreter go; the loop stays awake for sockets. What is
told lands in a queue, and an eventfd wakes the loop.

A camera that is lost, silent or frozen is told to be down at once; letting it go comes after. Its slots are lent again
only when that is over, and where it takes too long, the process ends instead: a library that still writes into the
ring then ends with it.
"""

import contextlib
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edge.camera_config import CameraConfig, FeatureValue
from edge.camera_state import CameraState
from edge.cameras.camera import (
    Camera,
    CameraBusy,
    CameraConfigError,
    CameraError,
    CameraInfo,
    CameraLost,
    CapturedFrame,
)
from edge.watched_camera import WatchedCamera

# A camera that is away is asked for again after 0.2 s, then ever later, at most every 2 s: one that is plugged in
# streams within 3 s, of which opening a GigE camera takes half a second.
BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.2, 2.0
# A GigE camera belongs to a process that died, such as this one's predecessor, for 3 s: meanwhile it is asked more often.
BUSY_LAST_S, BUSY_TRIES = 0.5, 16
# A stream that lasted this long was well; one that ends sooner, again and again, is asked for ever later too.
WELL_AFTER_S = 5.0
# How long a call of a camera may last before the process is restarted. By the protocol a call takes 2.5 s at most; the
# rest is for a busy machine. Opening includes drawing pictures where a camera is simulated.
CALL_S, OPEN_S = 4.0, 60.0
# Letting it go, both calls together. A GigE camera that is gone takes 2.1 s; the rest is for a busy machine.
TEARDOWN_S = 3.0
# One wait for a frame: how late the thread notices that it should stop.
NEXT_TIMEOUT_S = 0.1


class Down:
    """The camera is not there. `fatal`: its settings are refused, and trying again will not help.

    `is_news`: it streamed, or the try before said something else. One that is away says the same every two seconds.
    """

    def __init__(self, cause: CameraError, *, is_news: bool = True) -> None:
        self.cause, self.fatal, self.is_news = cause, isinstance(cause, CameraConfigError), is_news


Happening = CameraInfo | CapturedFrame | Down | CameraState


def pause_s(failures: int, jitter: float, *, is_busy: bool = False) -> float:
    """How long to wait after so many failures in a row, 1 or more. `jitter`, 0 to 1, parts cameras that fell together."""
    last_s = BUSY_LAST_S if is_busy and failures <= BUSY_TRIES else BACKOFF_LAST_S
    # The exponent is bounded, for a camera may be away for weeks.
    return min(last_s, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10)) * (0.5 + 0.5 * jitter)


class Grabber:
    """One camera's thread. All methods are for the capture loop's thread."""

    def __init__(self, name: str, config: CameraConfig, make_camera: Callable[[], Camera]) -> None:
        self._name, self._config, self._make_camera = name, config, make_camera
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told: deque[Happening] = deque()
        self._lock = threading.Lock()
        self._live: WatchedCamera | None = None
        self._buffers: list[NDArray[np.uint8]] = []
        self._last_picture: NDArray[np.uint8] | None = None
        self._is_busy, self._said = False, ""
        self._buffers_given = threading.Event()
        self._reopening, self._stopping = threading.Event(), threading.Event()
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
            self._streaming().trigger()

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """Set what the next shot needs. Raises CameraLost or CameraConfigError."""
        with self._lock:
            self._streaming().prepare(features)

    def reopen(self) -> None:
        """Close and open the camera anew."""
        self._reopening.set()

    def stop(self, timeout_s: float) -> None:
        """Close the camera and end the thread; give up waiting after `timeout_s`."""
        self._stopping.set()
        self._buffers_given.set()
        self._thread.join(timeout_s)

    def _streaming(self) -> WatchedCamera:
        if self._live is None:
            raise CameraLost(f"camera {self._name}: it is not streaming")
        return self._live

    # --- on the camera's thread

    def _tell(self, happening: Happening) -> None:
        self._told.append(happening)
        os.eventfd_write(self.wake, 1)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            failures = 1 if self._session() else failures + 1
            self._may_take(float("inf"))
            self._tell(CameraState.BACKOFF)
            jitter = random.random()  # noqa: S311 - no secret
            self._stopping.wait(pause_s(failures, jitter, is_busy=self._is_busy))
        self._tell(CameraState.CLOSED)

    def _session(self) -> bool:
        """Open, stream, close. Returns True when it was well for long enough."""
        camera, watched, was_well = self._make_camera(), None, False
        try:
            if (watched := self._open(camera)) is not None:
                self._stream(watched)
        except CameraError as cause:
            was_well = watched is not None and watched.age_s > WELL_AFTER_S
            self._tell(Down(cause, is_news=watched is not None or str(cause) != self._said))
            self._is_busy, self._said = isinstance(cause, CameraBusy), str(cause)
        finally:
            self._let_go(camera, watched)
        return was_well

    def _let_go(self, camera: Camera, watched: WatchedCamera | None) -> None:
        # 1. Nothing fires it any more.
        self._set_live(None)
        if watched is not None:
            self._tell(CameraState.STALLED)
        self._may_take(TEARDOWN_S)
        # 2. No slot is written after this.
        camera.stop()
        if watched is not None:
            self._last_picture = watched.last_picture()
        # 3. The device is free for whoever asks next.
        camera.close()

    def _open(self, camera: Camera) -> WatchedCamera | None:
        """Open it and ask for its buffers; None when told to stop meanwhile."""
        self._reopening.clear()
        self._buffers_given.clear()
        if self._stopping.is_set():
            return None
        self._tell(CameraState.OPENING)
        self._may_take(OPEN_S)
        info = camera.open()
        self._tell(info)
        self._may_take(float("inf"))
        self._buffers_given.wait()
        if self._stopping.is_set():
            return None
        return WatchedCamera(self._name, camera, self._config, info, self._buffers, before=self._last_picture)

    def _stream(self, watched: WatchedCamera) -> None:
        """Until it is to be opened anew, or this process to stop. Raises CameraError."""
        self._may_take(CALL_S)
        watched.start()
        self._set_live(watched)
        self._tell(CameraState.STREAMING)
        while not (self._stopping.is_set() or self._reopening.is_set()):
            self._may_take(CALL_S)
            if (frame := watched.next(NEXT_TIMEOUT_S)) is not None:
                self._tell(frame)
        if self._reopening.is_set():
            raise CameraLost(f"camera {self._name}: it is opened anew")

    def _may_take(self, seconds: float) -> None:
        self._over_by_ns = time.monotonic_ns() + seconds * 1e9

    def _set_live(self, watched: WatchedCamera | None) -> None:
        with self._lock:
            self._live = watched
