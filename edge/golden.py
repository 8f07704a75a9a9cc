"""What a pixel may be when one good picture, or a few, is all there is: their tolerances come from the picture itself.

A few pictures say nothing about how good parts differ, so a live pixel is good where some golden pixel near it explains
it, and a golden one where some live pixel near it does (the tolerance XOR of printed-board inspection, for grey levels
and for each channel):

    excess = how far the live pixel lies outside the range of the golden ones within reach,
             or the golden pixel outside that of the live ones, beyond the tolerance

in both directions, so what was added counts and what is missing too. Two questions are put to it:

1. Bulk: what nothing within 2 px explains. Edges that were etched or printed a little wider make thin strips of it;
   where more than half of a window of 5 x 5 exceeds, it is more than that (a median).
2. Thin: what nothing within 5 px explains is no moved edge, however thin: scratches, missing lines, pinholes. It must
   be four times as strong.

The region is first laid over the golden picture place by place (`elastic.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.elastic import Elastic
from edge.neighbours import second_neighbour

Image = NDArray[np.uint8]
Map = NDArray[np.float32]

# How far an edge of a good part may lie from the golden one's once both are laid over each other, px. On DeepPCB 1 px
# leaves false alarms on every third board, and 3 px hide one defect in fifty.
REACH_PX = 2
# Further than this no edge of a good part lies. So near to the border of its region nothing is judged.
FAR_PX = 5
# Side of the window of which more than half must exceed. A window of 7 misses twice as many defects (DeepPCB).
_WINDOW = 5
# A thin deviation must be this many times as strong as one with bulk. Resampling leaves 45 grey levels of a line.
_THIN = 4.0
# Near an edge focus and resampling change a pixel by up to this share of the contrast within a pixel more than reach.
_CONTRAST_SHARE = 0.15


@dataclass(frozen=True)
class Golden:
    """A golden picture, the least and the largest of the few pictures laid over it, each [height, width, 3].

    `absolute` is the tolerance in grey levels.
    """

    centre: Image
    low: Image
    high: Image
    absolute: float

    @cached_property
    def elastic(self) -> Elastic:
        """Lays a region over the golden picture."""
        return Elastic(self.centre)

    @cached_property
    def limits(self) -> tuple[list["Limits"], list["Limits"]]:
        """Those of the bulk and of the thin, of each channel."""
        ranges = list(zip(_planes(self.low), _planes(self.high), strict=True))
        bulk, thin = _disc(REACH_PX), _square(FAR_PX)
        return [Limits.of(low, high, bulk) for low, high in ranges], [
            Limits.of(low, high, thin) for low, high in ranges
        ]

    def widened(self, stack: Image) -> "Golden":
        """With more good pictures [n, h, w, 3] to explain what is seen."""
        laid = np.stack([self.elastic.laid(image) for image in stack])
        low, high = np.minimum(self.low, laid.min(axis=0)), np.maximum(self.high, laid.max(axis=0))
        return Golden(self.centre, low, high, self.absolute)

    def deviation(self, region: Image) -> Map:
        """How far a region [h, w, 3] deviates at every place: [h, w], 1 is the limit; 0 within 5 px of the border."""
        planes = _planes(self.elastic.laid(region))
        bulk, thin = (
            _worst([own.excess(plane) for own, plane in zip(limits, planes, strict=True)]) for limits in self.limits
        )
        for excess in (bulk, thin):
            # What the golden picture shows beyond the region's border may explain what lies within reach of it.
            excess[:FAR_PX] = excess[-FAR_PX:] = excess[:, :FAR_PX] = excess[:, -FAR_PX:] = 0
        bulk = cv2.medianBlur(bulk, _WINDOW)
        thin = np.minimum(thin, second_neighbour(thin))
        worst = cv2.max(bulk, cv2.convertScaleAbs(thin, alpha=1 / _THIN))
        # A deviation begins up to its reach, and half of a window, before the place that has bulk and nothing explains.
        return np.multiply(
            cv2.dilate(worst, _square(REACH_PX + _WINDOW // 2)), np.float32(1 / self.absolute), dtype=np.float32
        )


@dataclass(frozen=True)
class Limits:
    """The range [least, largest] of what golden pixels within reach explain, and of the golden pixels themselves."""

    kernel: Image
    explained: tuple[Image, Image]
    golden: tuple[Image, Image]

    @classmethod
    def of(cls, low: Image, high: Image, kernel: Image) -> "Limits":
        """Those of the range [h, w, 3] of good pictures; `kernel` is what lies within reach."""
        near = _square(REACH_PX + 1)
        contrast = cv2.subtract(cv2.dilate(high, near), cv2.erode(low, near))
        spare = cv2.convertScaleAbs(contrast, alpha=_CONTRAST_SHARE)
        reached = (_lowered(cv2.erode(low, kernel), spare), _raised(cv2.dilate(high, kernel), spare))
        return cls(kernel, reached, (_lowered(low, spare), _raised(high, spare)))

    def excess(self, live: Image) -> Image:
        """By how many grey levels each pixel of a picture [h, w, 3] lies outside, in its worst channel: [h, w]."""
        added = cv2.max(cv2.subtract(live, self.explained[1]), cv2.subtract(self.explained[0], live))
        gone = cv2.max(
            cv2.subtract(self.golden[0], cv2.dilate(live, self.kernel)),
            cv2.subtract(cv2.erode(live, self.kernel), self.golden[1]),
        )
        return np.asarray(cv2.max(added, gone), np.uint8)


def learn(stack: Image, absolute: float) -> Golden:
    """From good pictures laid over each other, [n, height, width, 3]; the first is the golden one."""
    first = stack[0].copy()
    return Golden(first, first, first, absolute).widened(stack)


def _disc(reach: int) -> Image:
    """What lies within reach; a third of a pixel more, as a disc of whole pixels is otherwise too small a circle."""
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return (np.hypot(x, y) <= reach + 1 / 3).astype(np.uint8)


def _planes(image: Image) -> list[Image]:
    """The channels of [h, w, 3], each [h, w]: small enough to stay in the cache, which makes them thrice as fast."""
    return [np.asarray(plane, np.uint8) for plane in cv2.split(image)]


def _worst(planes: Sequence[Image]) -> Image:
    """The largest of each pixel."""
    return reduce(np.maximum, planes)


def _square(reach: int) -> Image:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _lowered(image: cv2.typing.MatLike, by: cv2.typing.MatLike) -> Image:
    return np.asarray(cv2.subtract(image, by), np.uint8)


def _raised(image: cv2.typing.MatLike, by: cv2.typing.MatLike) -> Image:
    return np.asarray(cv2.add(image, by), np.uint8)
