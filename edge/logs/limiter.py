"""Holds back what a process says again and again (`repeats.py`), and says how often and since when."""

import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from structlog.typing import EventDict, WrappedLogger

from edge.logs.repeats import Held, Repeats

# Enough to see that it repeats and how fast; then once in two minutes, and ever more rarely, down to 16.
MOST, WINDOW_NS, LONGEST_NS = 5, 60 * 10**9, 960 * 10**9
# Messages at once, of all cameras and clients of a worker: some hundred kilobytes at the most.
KEYS = 256
# Numbers count as one number: "silent for 1.5 s" and "silent for 1.6 s" say the same, and so do the ports of a stranger.
_NUMBERS = re.compile(r"\d+")
KEY_CHARACTERS = 200
# Names that numbers tell apart: `camera1` and `camera2` are two things.
NAMES = frozenset({"camera", "view", "child", "channel", "product", "alarm", "reason", "peer_name", "logger", "code"})
# What differs from line to line without making it another message; the last four are what a stranger says it is.
PASSING = frozenset({
    "event_id", "timestamp", "exception", "detail", "verdict", "address", "most", "subject", "serial",
})  # fmt: skip

Key = tuple[tuple[str, str], ...]
Tell = Callable[..., None]


def key_of(event: EventDict) -> Key:
    """What two lines have in common when one repeats the other: all their words, their names, not their numbers."""
    return tuple(
        (name, value if name in NAMES else _NUMBERS.sub("#", value)[:KEY_CHARACTERS])
        for name, value in sorted(event.items())
        if isinstance(value, str) and name not in PASSING
    )


class Limiter:
    """The processor, and a timer for what nobody says again. Threads may share it."""

    def __init__(self, tell: Tell, clock: Callable[[], int] = time.monotonic_ns, *, has_timer: bool = True) -> None:
        """`tell` takes the lines that say what was held back."""
        self._tell, self._clock, self._has_timer = tell, clock, has_timer
        self._repeats: Repeats[Key] = Repeats(most=MOST, window_ns=WINDOW_NS, longest_ns=LONGEST_NS, keys=KEYS)
        # A garbage collection may come while it is held, and what it ends may have something to say: then `_is_busy`.
        self._lock = threading.RLock()
        self._is_busy = False
        self._timer: _Timer | None = None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Lines for a developer are never held back. Raises DropEvent: this one is."""
        if event["level"] == "debug":
            return event
        now_ns = self._clock()
        with self._lock:
            if self._is_busy:
                return event
            with self._busy():
                over = self._repeats.over(now_ns)
                is_admitted = self._repeats.admit(key_of(event), now_ns)
                before, after = self._next_timer(now_ns)
        _change(before, after)
        self._say(over, now_ns)
        if not is_admitted:
            raise structlog.DropEvent
        return event

    def tend(self) -> None:
        """Tell what was held back in windows that are over."""
        now_ns = self._clock()
        with self._lock, self._busy():
            before, self._timer = self._timer, None
            over = self._repeats.over(now_ns)
            _, after = self._next_timer(now_ns)
        _change(before, after)
        self._say(over, now_ns)

    def close(self) -> None:
        """Tell everything that was held back: the process ends."""
        with self._lock, self._busy():
            rest = self._repeats.rest()
            before, self._timer = self._timer, None
        _change(before, None)
        self._say(rest, self._clock())

    @contextmanager
    def _busy(self) -> Generator[None]:
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    def _next_timer(self, now_ns: int) -> tuple["_Timer | None", "_Timer | None"]:
        """The one until now and the one from now on: the same, where it is early enough for what is due first."""
        before, due_ns = self._timer, self._repeats.due_ns
        if self._has_timer and due_ns is not None and (before is None or due_ns < before.due_ns):
            self._timer = _Timer(due_ns, now_ns, self.tend)
        return before, self._timer

    def _say(self, told: list[Held[Key]], now_ns: int) -> None:
        for held in told:
            self._tell(**summary(held, now_ns))


class _Timer(threading.Timer):
    """A thread only while something is held back; it keeps no process from ending, which `close` precedes."""

    def __init__(self, due_ns: int, now_ns: int, act: Callable[[], None]) -> None:
        super().__init__(max(0, due_ns - now_ns) / 1e9, act)
        self.due_ns, self.daemon = due_ns, True


def _change(before: _Timer | None, after: _Timer | None) -> None:
    """Both wait for a thread for a moment: not to be called while that thread may wait for us."""
    if before is not after:
        if before is not None:
            before.cancel()
        if after is not None:
            after.start()


def summary(held: Held[Key], now_ns: int) -> EventDict:
    """The line about what was held back: the message's own words and names, how often, and since when."""
    about = dict(held.key)
    since = datetime.now(UTC) - timedelta(microseconds=(now_ns - held.since_ns) // 1000)
    return {
        **{name: value for name, value in about.items() if name in NAMES or name in ("level", "worker")},
        "event": "repeats were held back",
        "message": about["event"],
        "repeats": held.count,
        "since": since.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
