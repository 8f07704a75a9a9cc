"""What a person who mounts a camera reads: measures of the newest picture, the best focus seen, what gets lost."""

from collections import deque

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import focus

# The rate and the losses are those of this long.
_WINDOW_NS = 2_000_000_000
# A camera that sends nothing for so long is worth a word.
_SILENCE_NS = 2_000_000_000


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Of a stream since its start."""

    frames: int = 0
    incomplete: int = 0
    lost: int = 0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One look. Without `measures` no whole picture has come since the last; `best_focus` is of all looks so far."""

    measures: focus.Measures | None
    best_focus: float
    rate_hz: float | None
    counts: Counts
    hints: tuple[str, ...]


class Mounting:
    """Follows one camera. Times are CLOCK_MONOTONIC, ns, and given."""

    def __init__(self, now_ns: int) -> None:
        self._best_focus = 0.0
        self._heard_ns = now_ns
        self._recent: deque[tuple[int, int]] = deque()
        self._counted: deque[tuple[int, Counts]] = deque()

    def saw(self, frame_id: int, host_timestamp_ns: int) -> None:
        """A frame came, whole or not."""
        self._heard_ns = host_timestamp_ns
        self._recent.append((host_timestamp_ns, frame_id))
        while host_timestamp_ns - self._recent[0][0] > _WINDOW_NS:
            self._recent.popleft()

    def look(self, picture: NDArray[np.uint8] | None, counts: Counts, now_ns: int) -> Reading:
        """What there is to say about the newest whole picture, uint8 BGR [height, width, 3], if one came."""
        measures = None if picture is None else focus.measure(picture)
        self._best_focus = max(self._best_focus, measures.focus if measures else 0.0)
        while self._recent and now_ns - self._recent[0][0] > _WINDOW_NS:
            self._recent.popleft()
        told = [] if measures is None else focus.hints(measures, self._best_focus)
        return Reading(
            measures=measures,
            best_focus=self._best_focus,
            rate_hz=self._rate_hz(),
            counts=counts,
            hints=(*told, *self._troubles(counts, now_ns)),
        )

    def _rate_hz(self) -> float | None:
        """By the frames' ids, so that those which were not looked at count."""
        if len(self._recent) < 2 or self._recent[-1][0] == self._recent[0][0]:
            return None
        (first_ns, first), (last_ns, last) = self._recent[0], self._recent[-1]
        return (last - first) * 1e9 / (last_ns - first_ns)

    def _troubles(self, counts: Counts, now_ns: int) -> list[str]:
        self._counted.append((now_ns, counts))
        while now_ns - self._counted[0][0] > _WINDOW_NS:
            self._counted.popleft()
        before, told = self._counted[0][1], list[str]()
        if now_ns - self._heard_ns > _SILENCE_NS:
            told.append(f"no picture for {(now_ns - self._heard_ns) / 1e9:.0f} s")
        if counts.incomplete > before.incomplete:
            told.append("pictures come incomplete: see goldline doctor")
        if counts.lost > before.lost:
            told.append("pictures get lost: see goldline doctor")
        return told
