"""Holds back what a process says again and again (`repeats.py`), and says how often and since when."""

import re
import threading
import time
from collections.abc import Callable
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
# What differs from line to line without making it another message.
PASSING = frozenset({"event_id", "timestamp", "exception", "detail", "verdict"})

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
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Lines for a developer are never held back. Raises DropEvent: this one is."""
        if event["level"] == "debug":
            return event
        now_ns = self._clock()
        with self._lock:
            over = self._repeats.over(now_ns)
            is_admitted = self._repeats.admit(key_of(event), now_ns)
            self._set_timer(now_ns)
        self._say(over, now_ns)
        if not is_admitted:
            raise structlog.DropEvent
        return event

    def tend(self) -> None:
        """Tell what was held back in windows that are over."""
        now_ns = self._clock()
        with self._lock:
            self._timer = None
            over = self._repeats.over(now_ns)
            self._set_timer(now_ns)
        self._say(over, now_ns)

    def close(self) -> None:
        """Tell everything that was held back: the process ends."""
        with self._lock:
            rest = self._repeats.rest()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        self._say(rest, self._clock())

    def _set_timer(self, now_ns: int) -> None:
        due_ns = self._repeats.due_ns
        if not self._has_timer or self._timer is not None or due_ns is None:
            return
        # A thread only while something is held back; it keeps no process from ending, which `close` precedes.
        self._timer = threading.Timer(max(0, due_ns - now_ns) / 1e9, self.tend)
        self._timer.daemon = True
        self._timer.start()

    def _say(self, told: list[Held[Key]], now_ns: int) -> None:
        for held in told:
            self._tell(**summary(held, now_ns))


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
