"""Lay a region over the golden picture place by place: one pose for the whole leaves a few px that differ over it.

1. Both pictures in grey, at a quarter of the scale: there a few px are within reach of one step.
2. Each window's displacement by least squares on the golden picture's slopes (Lucas and Kanade, 1981), kept near none
   where there is little to see. An error counts for no more than a displacement can cause on such a slope, so what is
   missing or foreign hardly pulls; and nothing on flat ground does.
3. Once more from there; then every place is moved by whole px, so that edges stay as sharp as they are. The field is
   smooth, as its windows are wide.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Map = NDArray[np.float32]

# Furthest that a place may lie off, px of the region. What moved further is not where it belongs.
REACH_PX = 4.0
# The scale of the estimate. Half takes four times as long and finds no more (DeepPCB).
_FACTOR = 4
# Side of a window at that scale: 132 px of the region, several times any defect that must not be laid away.
_WINDOW = 33
# Smoothing at that scale, in its px: slopes as wide as the displacements looked for.
_SMOOTHING = 1.0
# Squared slope, in grey levels for each px of that scale, that says as much as "no displacement" does.
_DAMPING = np.float32(1.0)
# Displacement, px of that scale, beyond which an error on a slope is not one of position.
_MOST_STEP = 2.0
_STEPS = 2


class Elastic:
    """A golden picture [h, w, 3] and what every comparison with it shares."""

    def __init__(self, golden: Image) -> None:
        """Some milliseconds of work."""
        height, width = golden.shape[:2]
        self._size = (width, height)
        self._small = (max(1, width // _FACTOR), max(1, height // _FACTOR))
        self._golden = self._shrink(golden)
        self._along_x = np.asarray(cv2.Sobel(self._golden, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8), np.float32)
        self._along_y = np.asarray(cv2.Sobel(self._golden, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8), np.float32)
        self._most = np.asarray(_MOST_STEP * np.hypot(self._along_x, self._along_y), np.float32)
        self._inverse = _inverse(self._along_x, self._along_y)
        self._grid = np.stack(_grid(self._size), axis=2).astype(np.int16)
        self._small_grid = _grid(self._small)

    def laid(self, region: Image) -> Image:
        """A region [h, w, 3] with every place moved to where the golden picture has it."""
        field = self._field(self._shrink(region))
        scales = (self._size[axis] / self._small[axis] for axis in (0, 1))
        moved = [np.clip(part * scale, -REACH_PX, REACH_PX) for part, scale in zip(field, scales, strict=True)]
        places = np.rint(np.stack(moved, axis=2)).astype(np.int16)
        if not places.any():
            return region
        source = cv2.add(cv2.resize(places, self._size, interpolation=cv2.INTER_NEAREST), self._grid)
        nothing = np.zeros(0, np.uint16)
        return np.asarray(
            cv2.remap(region, source, nothing, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def _shrink(self, image: Image) -> Map:
        small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), self._small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(small.astype(np.float32), (0, 0), _SMOOTHING), np.float32)

    def _field(self, live: Map) -> tuple[Map, Map]:
        """How far right and below of its golden place each place lies, in px of the estimate's scale: [h, w] each."""
        right, below = np.zeros_like(live), np.zeros_like(live)
        moved = live
        for step in range(_STEPS):
            if step:
                x, y = self._small_grid[0] + right, self._small_grid[1] + below
                moved = cv2.remap(live, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            further = self._step(np.asarray(moved, np.float32))
            right, below = np.asarray(right + further[0], np.float32), np.asarray(below + further[1], np.float32)
        return right, below

    def _step(self, moved: Map) -> tuple[Map, Map]:
        error = np.asarray(np.clip(self._golden - moved, -self._most, self._most), np.float32)
        pull_x, pull_y = _windowed(self._along_x * error), _windowed(self._along_y * error)
        first, mixed, last = self._inverse
        right = np.asarray(first * pull_x + mixed * pull_y, np.float32)
        return right, np.asarray(mixed * pull_x + last * pull_y, np.float32)


def _inverse(along_x: Map, along_y: Map) -> tuple[Map, Map, Map]:
    """Of each window's damped matrix of squared slopes: its first, mixed and last entry."""
    first, last = _windowed(along_x * along_x) + _DAMPING, _windowed(along_y * along_y) + _DAMPING
    mixed = _windowed(along_x * along_y)
    determinant = first * last - mixed * mixed
    first, mixed, last = (np.asarray(part / determinant, np.float32) for part in (last, -mixed, first))
    return first, mixed, last


def _windowed(values: Map) -> Map:
    """The mean over each window; beyond the border there are zeros."""
    return np.asarray(cv2.blur(values, (_WINDOW, _WINDOW), borderType=cv2.BORDER_CONSTANT), np.float32)


def _grid(size: tuple[int, int]) -> tuple[Map, Map]:
    """The x and the y of every pixel of a picture (width, height)."""
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    return x, y
