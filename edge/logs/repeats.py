"""How often a message may repeat itself: pure, time is an argument.

1. A message that is new, or was silent for a whole window, is let through `most` times; more is held back. A window is
   `window_ns` long, and what is left of the number carries over into the next: slow repetitions are repetitions.
2. When a window is over, what was held back in it is told by one count. A message of which something was held back goes
   on: it is let through once in a next window of twice the length, up to `longest_ns`.
3. A message that was silent as long as its window is forgotten.

Each call is either let through or counted in exactly one `Held`. Memory is bounded: beyond `keys` messages the one that
was new longest ago makes room, and what was held back of it is told.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Held(Generic[Key]):
    """Of this message so many were held back, the first of them at `since_ns`."""

    key: Key
    count: int
    since_ns: int


@dataclass(kw_only=True)
class _Window:
    """One message's present window: what it may still say in it, and what was held back."""

    ends_ns: int
    length_ns: int
    left: int
    last_ns: int
    held: int = 0
    since_ns: int = 0


class Repeats(Generic[Key]):
    """The windows of the messages of late."""

    def __init__(self, *, most: int, window_ns: int, longest_ns: int, keys: int) -> None:
        self._most, self._window_ns, self._longest_ns, self._keys = most, window_ns, longest_ns, keys
        self._windows: OrderedDict[Key, _Window] = OrderedDict()
        # Of messages that had to make room.
        self._displaced: list[Held[Key]] = []

    def admit(self, key: Key, now_ns: int) -> bool:
        """Whether this one is let through. Call `over` before, for windows that have ended."""
        window = self._windows.get(key)
        if window is None:
            window = self._begin(key, now_ns)
        window.last_ns = now_ns
        if window.left:
            window.left -= 1
            return True
        window.since_ns = window.since_ns if window.held else now_ns
        window.held += 1
        return False

    def over(self, now_ns: int) -> list[Held[Key]]:
        """What was held back in windows that have ended by now, and of messages that made room."""
        told, self._displaced = self._displaced, []
        for key, window in [one for one in self._windows.items() if now_ns >= one[1].ends_ns]:
            if window.held:
                told.append(Held(key=key, count=window.held, since_ns=window.since_ns))
            if now_ns - window.last_ns >= window.length_ns:
                del self._windows[key]
            else:
                self._windows[key] = self._next(window, now_ns)
        return told

    def rest(self) -> list[Held[Key]]:
        """Everything that is held back, at the end; every message is new from here on."""
        held = [
            Held(key=key, count=window.held, since_ns=window.since_ns)
            for key, window in self._windows.items()
            if window.held
        ]
        told, self._displaced = [*self._displaced, *held], []
        self._windows.clear()
        return told

    @property
    def due_ns(self) -> int | None:
        """When something that is held back may be told; None: nothing is held back."""
        if self._displaced:
            return 0
        return min((window.ends_ns for window in self._windows.values() if window.held), default=None)

    def __len__(self) -> int:
        return len(self._windows)

    def _begin(self, key: Key, now_ns: int) -> _Window:
        if len(self._windows) >= self._keys:
            displaced, window = self._windows.popitem(last=False)
            if window.held:
                self._displaced.append(Held(key=displaced, count=window.held, since_ns=window.since_ns))
        ends_ns = now_ns + self._window_ns
        window = _Window(ends_ns=ends_ns, length_ns=self._window_ns, left=self._most, last_ns=now_ns)
        self._windows[key] = window
        return window

    def _next(self, window: _Window, now_ns: int) -> _Window:
        length_ns = min(2 * window.length_ns, self._longest_ns) if window.held else window.length_ns
        left = 1 if window.held else window.left
        return _Window(ends_ns=now_ns + length_ns, length_ns=length_ns, left=left, last_ns=window.last_ns)
