"""Where a part deviates: boxes round the connected places of a map that lie above a limit."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Defect

# A part with more deviations than this is not understood better by more boxes, and the event stays small.
MOST_DEFECTS = 16

Box = tuple[int, int, int, int]


class Place(NamedTuple):
    """A connected place in a map: x, y, width, height in cells, and its worst value."""

    box: Box
    value: float


def places(deviation: NDArray[np.float32], threshold: float) -> list[Place]:
    """The places of `deviation` [h, w] above `threshold`, worst first.

    1. Cells at or above the threshold, connected.
    2. Of each, what rises above half its height: a strong deviation spreads over every cell whose features see it,
       several times its size.
    """
    mask = (deviation >= threshold).astype(np.uint8)
    # Most of a map does not deviate, and is not looked at again.
    left, top, across, down = cv2.boundingRect(mask)
    inside = np.s_[top : top + down, left : left + across]
    if not across:
        return []
    deviation = deviation[inside]
    labels, peaks, _ = _connected(mask[inside], deviation)
    half = threshold + (peaks[labels] - threshold) / 2
    _, peaks, stats = _connected(((labels > 0) & (deviation >= half)).astype(np.uint8), deviation)
    found = [
        Place((left + int(x), top + int(y), int(width), int(height)), float(peak))
        for (x, y, width, height, _), peak in zip(stats[1:], peaks[1:], strict=True)
    ]
    return sorted(found, key=lambda place: -place.value)


def _connected(
    mask: NDArray[np.uint8], deviation: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.int32]]:
    """Labels of connected cells (0 is none of them), and of each label the worst value and OpenCV's statistics."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    labels = labels.astype(np.intp)
    peaks = np.full(count, -np.inf, np.float32)
    # Few cells deviate: those that do not are left alone.
    deviating = np.flatnonzero(labels)
    np.maximum.at(peaks, labels.ravel()[deviating], deviation.ravel()[deviating])
    return labels, peaks, stats.astype(np.int32)


def worst_place(deviation: NDArray[np.float32]) -> Place:
    """The single worst cell of a map [h, w]."""
    row, column = np.unravel_index(int(np.argmax(deviation)), deviation.shape)
    return Place((int(column), int(row), 1, 1), float(deviation[row, column]))


def defects(
    check: str,
    deviation: NDArray[np.float32],
    threshold: float,
    to_image: Callable[[Box], Box],
    least_area_px: int,
) -> list[Defect]:
    """The boxes of one failed check, in image pixels, worst first; at least one."""
    found = places(deviation, threshold) or [worst_place(deviation)]
    boxed = [Defect(check=check, bbox=to_image(place.box), score=place.value) for place in found]
    large = [defect for defect in boxed if defect.bbox[2] * defect.bbox[3] >= least_area_px]
    return (large or boxed[:1])[:MOST_DEFECTS]
