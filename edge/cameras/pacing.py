"""What cameras without hardware have in common: when a picture is due, and which lent buffer it goes into."""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge.camera_config import FeatureValue
from edge.cameras.camera import CameraConfigError, CameraInfo, CameraLost, CameraStats, CapturedFrame

Picture = NDArray[np.uint8]
Size = tuple[int, int]


class Clock:
    """Free-running at a rate, or once for each `fire()`. `wait` is for one thread, `fire` for another.

    With a `phase` (a share of the period) pictures are due at that phase of the machine's monotonic clock, so cameras
    of the same rate keep their distance from each other; without, the first is due at the start.
    """

    def __init__(self, rate_hz: float, *, free_running: bool, phase: float | None = None) -> None:
        self._period_ns, self._free_running = round(1e9 / rate_hz), free_running
        self._phase_ns = None if phase is None else round(phase * self._period_ns)
        self._next_ns = time.monotonic_ns()
        self._fired = 0
        self._changed = threading.Condition()

    @property
    def period_s(self) -> float | None:
        """Between two pictures; None where each is asked for."""
        return self._period_ns / 1e9 if self._free_running else None

    def start(self) -> None:
        """The first picture is due now, or at its phase; nothing is outstanding."""
        now_ns = time.monotonic_ns()
        wait_ns = 0 if self._phase_ns is None else (self._phase_ns - now_ns) % self._period_ns
        with self._changed:
            self._next_ns, self._fired = now_ns + wait_ns, 0

    def fire(self) -> None:
        """Ask for one picture."""
        with self._changed:
            self._fired += 1
            self._changed.notify()

    def wait(self, timeout_s: float) -> int:
        """Pictures that are due, after at most `timeout_s`; 0 when none is."""
        return self._wait_free(timeout_s) if self._free_running else self._wait_fired(timeout_s)

    def _wait_free(self, timeout_s: float) -> int:
        now_ns = time.monotonic_ns()
        pause_s = min(timeout_s, (self._next_ns - now_ns) / 1e9)
        if pause_s > 0:
            time.sleep(pause_s)
        due = max(0, (time.monotonic_ns() - self._next_ns) // self._period_ns + 1)
        self._next_ns += due * self._period_ns
        return due

    def _wait_fired(self, timeout_s: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._fired, timeout_s)
            due, self._fired = self._fired, 0
        return due


class Buffers:
    """Which of the lent buffers are free. `take` is for one thread, `give` for another."""

    def __init__(self) -> None:
        self._free: deque[int] = deque()
        self._handed_over: set[int] = set()

    def lend(self, count: int) -> None:
        """All of them are free."""
        self._free, self._handed_over = deque(range(count)), set()

    @property
    def is_empty(self) -> bool:
        """True when every one was handed over."""
        return not self._free

    def take(self) -> int | None:
        """One to hand over, or None when there is none."""
        if not self._free:
            return None
        slot = self._free.popleft()
        self._handed_over.add(slot)
        return slot

    def give(self, slot: int) -> None:
        """One comes back. Raises KeyError for one that was not handed over."""
        self._handed_over.remove(slot)
        self._free.append(slot)


class PacedCamera(ABC):
    """A camera but for where its pictures come from: a subclass has `open` and `_picture`.

    The picture with number n is frame n, whether it was taken or lost. Numbers begin at 1 with each `start`.
    """

    # How many pictures there are, where they end.
    _count: int | None = None

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._size: Size | None = None
        self._free = Buffers()
        self._buffers: list[NDArray[np.uint8]] = []
        self._frame_id = self._frames = self._incomplete = self._lost = 0

    @abstractmethod
    def _picture(self, number: int) -> tuple[Picture | None, str]:
        """Picture `number`, [height, width, 3] BGR of the opened size, or None for an incomplete one; and its label."""

    def _opened(self, model: str, size: Size) -> CameraInfo:
        """What `open` answers: pictures of this (width, height)."""
        self._size = width, height = size
        return CameraInfo(
            vendor="Goldline",
            model=model,
            serial=self._name,
            width=width,
            height=height,
            pixel_format="BGR8",
            frame_bytes=width * height * 3,
            period_s=self._clock.period_s,
            is_simulated=True,
        )

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into these, from the first picture on."""
        width, height = self._opened_size()
        self._buffers = [buffer[: width * height * 3].reshape(height, width, 3) for buffer in buffers]
        self._frame_id = self._frames = self._incomplete = self._lost = 0
        self._free.lend(len(buffers))
        self._clock.start()

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The newest picture that is due, in a free buffer; those that are too late or find none are lost and counted."""
        if not self._buffers:
            raise CameraLost(f"camera {self._name}: it is not streaming")
        until_s = time.monotonic() + timeout_s
        while True:
            due = self._due(max(0.0, until_s - time.monotonic()))
            slot = self._free.take() if due else None
            self._frame_id += due
            if slot is not None:
                self._lost += due - 1
                return self._fill(slot, *self._picture(self._frame_id))
            self._lost += due
            if time.monotonic() >= until_s:
                return None

    def _due(self, timeout_s: float) -> int:
        due = self._clock.wait(timeout_s)
        return due if self._count is None else min(due, self._count - self._frame_id)

    def _fill(self, slot: int, picture: Picture | None, label: str) -> CapturedFrame:
        if picture is None:
            self._incomplete += 1
        else:
            np.copyto(self._buffers[slot], picture)
        self._frames += 1
        return CapturedFrame(
            slot=slot,
            frame_id=self._frame_id,
            host_timestamp_ns=time.monotonic_ns(),
            host_timestamp_utc_ns=time.time_ns(),
            device_timestamp_ns=None,
            complete=picture is not None,
            label=label,
        )

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back."""
        if self._buffers:
            self._free.give(slot)

    def trigger(self) -> None:
        """Take one picture."""
        self._opened_size()
        self._clock.fire()

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """There is nothing to set. Raises CameraConfigError for any feature."""
        if features:
            raise CameraConfigError(f"camera {self._name}: it has no features: {', '.join(features)}")

    def stats(self) -> CameraStats:
        """Counters since `start`."""
        return CameraStats(frames=self._frames, incomplete=self._incomplete, lost=self._lost)

    def stop(self) -> None:
        """No buffer is written from here on."""
        self._buffers = []

    def close(self) -> None:
        """No picture can be asked for from here on."""
        self.stop()
        self._size = None

    def _opened_size(self) -> Size:
        if self._size is None:
            raise CameraLost(f"camera {self._name}: it is not open")
        return self._size
