"""When a camera without hardware takes its pictures, and which lent buffer they go into."""

import threading
import time
from collections import deque

from edge.cameras.camera import CameraLost


class Clock:
    """Free-running at a rate, or once for each `fire()`. `wait` is for one thread, `fire` for another."""

    def __init__(self, rate_hz: float, *, free_running: bool) -> None:
        self._period_ns, self._free_running = round(1e9 / rate_hz), free_running
        self._next_ns = time.monotonic_ns()
        self._fired = 0
        self._changed = threading.Condition()

    def start(self) -> None:
        """The first picture is due now; nothing is outstanding."""
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
