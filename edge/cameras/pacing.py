"""What cameras without hardware have in common: when a picture is due, and which lent buffer it goes into."""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge.cameras.camera import CameraInfo, CameraLost, CameraStats, CapturedFrame

Picture = NDArray[np.uint8]
Size = tuple[int, int]


class Clock:
    """Free-running at a rate, or once for each `fire()`. `wait` is for one thread, `fire` for another."""

    def __init__(self, rate_hz: float, *, free_running: bool) -> None:
        self._period_ns, self._free_running = round(1e9 / rate_hz), free_running
        self._next_ns = time.monotonic_ns()
        self._fired = 0
        self._changed = threading.Condition()

    @property
    def period_s(self) -> float | None:
        """Between two pictures; None where each is asked for."""
        return self._period_ns / 1e9 if self._free_running else None

    def start(self) -> None:
        """The first picture is due now; nothing is outstanding."""
        with self._changed:
            self._next_ns, self._fired = time.monotonic_ns(), 0

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
    """The lent buffers that are free. `take` is for one thread, `give` for another."""

    def __init__(self) -> None:
        self._free: deque[int] = deque()

    def lend(self, count: int) -> None:
        """All of them."""
        self._free = deque(range(count))

    def take(self) -> int | None:
        """One, or None when every buffer is in use."""
        return self._free.popleft() if self._free else None

    def give(self, slot: int) -> None:
        """One comes back."""
        if slot in self._free:
            raise CameraLost(f"slot {slot} was released twice")
        self._free.append(slot)


class PacedCamera(ABC):
    """A camera but for where its pictures come from: a subclass has `open` and `_picture`.

    The picture with number n is frame n, whether it was taken or lost. Numbers begin at 1 with each `start`.
    """

    # How many pictures there are, where they end.
    _count: int | None = None

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._size: Size = (0, 0)
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
        shape = (self._size[1], self._size[0], 3)
        self._buffers = [buffer[: np.prod(shape)].reshape(shape) for buffer in buffers]
        self._frame_id = self._frames = self._incomplete = self._lost = 0
        self._free.lend(len(buffers))
        self._clock.start()

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The newest picture that is due, in a free buffer; those it is too late for are lost and counted."""
        due = self._clock.wait(timeout_s) if self._buffers else 0
        if self._count is not None:
            due = min(due, self._count - self._frame_id)
        if due == 0:
            return None
        slot = self._free.take()
        self._frame_id += due
        self._lost += due - (slot is not None)
        return None if slot is None else self._fill(slot, *self._picture(self._frame_id))

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
        """Lend a buffer back."""
        self._free.give(slot)

    def trigger(self) -> None:
        """Take one picture."""
        self._clock.fire()

    def stats(self) -> CameraStats:
        """Counters since `start`."""
        return CameraStats(frames=self._frames, incomplete=self._incomplete, lost=self._lost)

    def stop(self) -> None:
        """No buffer is written from here on."""
        self._buffers = []

    def close(self) -> None:
        """Nothing is held but the buffers."""
        self.stop()
