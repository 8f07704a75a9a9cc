"""Every shift and turn of a small object in a small picture, compared over the object's own outline.

OpenCV's matching with a mask does the same in ten times the time: it transforms whole pictures for each angle, and an
object is looked for in a few hundred places. Here the places are rows of one matrix and the turned objects columns of
another.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry import Matrix, Size, block_matrix, pose_matrix
from edge.records import Pose
from edge.solver import Map

# Half of it moves the corner of an object of some 30 px by less than a pixel.
ANGLE_STEP_DEG = 2.5
# Side of the square of equal area that an object is swept for as, px: smaller shows too little, larger takes longer.
_SMALL_PX = 26
# Products that a sweep may take, some three ms, as long as the object's shorter side keeps so many px.
_MOST_PRODUCTS, _LEAST_SIDE_PX = 5e7, 5
# A place of less than this share of the object's variance is empty; noise in it is not to be taken for structure.
_EMPTY_SHARE = 0.05
# Keeps the quotient finite where the object itself shows nothing; far below any variance of a relief.
_LEAST = 1e-12
# What is added to a product.
_NOTHING = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Reach:
    """How far an object is looked for: px of the cut, and degrees, each way."""

    across_px: float
    down_px: float
    angle_deg: float


def small_factor(size: Size, reach: Reach) -> int:
    """How many px of the cut, along a side, become one to sweep for an object of (width, height)."""
    factor = max(1, round(math.sqrt(size[0] * size[1]) / _SMALL_PX))
    while _products(size, reach, factor) > _MOST_PRODUCTS and min(size) >= _LEAST_SIDE_PX * (factor + 1):
        factor += 1
    return factor


def _products(size: Size, reach: Reach, factor: int) -> float:
    pixels = size[0] * size[1] / factor**2
    places = (2 * reach.across_px / factor + 1) * (2 * reach.down_px / factor + 1)
    return 3 * pixels * places * (2 * reach.angle_deg / ANGLE_STEP_DEG + 1)


class Sweep:
    """A small object [h, w] with its weights, turned by every angle; `factor` px of the cut are one of its own."""

    def __init__(self, golden: Map, weights: Map, factor: int, reach: Reach) -> None:
        """Prepare the columns: [h x w, angles]."""
        self._factor, self._size = factor, (golden.shape[1], golden.shape[0])
        self._room = math.ceil(reach.across_px / factor), math.ceil(reach.down_px / factor)
        steps = math.ceil(reach.angle_deg / ANGLE_STEP_DEG)
        self._angles = [reach.angle_deg * step / max(1, steps) for step in range(-steps, steps + 1)]
        turned = [_turned(golden, weights, angle) for angle in self._angles]
        self._shares, objects = (np.stack(part, axis=1) for part in zip(*turned, strict=True))
        objects = objects - (self._shares * objects).sum(0)
        self._variances = (self._shares * np.square(objects)).sum(0)
        self._objects = self._shares * objects

    def find(self, live: Map, origin: Size) -> Matrix:
        """The best whole-pixel pose around `origin`, object to live px at the scale of the cut. `live` is small."""
        rows, places = self._places(live, origin)
        means = _product(rows, self._shares)
        variances = _product(rows * rows, self._shares) - means * means
        products = _product(rows, self._objects)
        found = products / np.sqrt(np.maximum(variances, _EMPTY_SHARE * self._variances) * self._variances + _LEAST)
        place, angle = (int(index) for index in np.unravel_index(int(found.argmax()), found.shape))
        dx = origin[0] + place % places[0] - self._room[0]
        dy = origin[1] + place // places[0] - self._room[1]
        turn = pose_matrix(Pose(dx_px=dx, dy_px=dy, angle_deg=self._angles[angle]), self._size)
        blocks = block_matrix(self._factor)
        return np.linalg.inv(blocks) @ turn @ blocks

    def _places(self, live: Map, origin: Size) -> tuple[Map, Size]:
        """What lies at every place, [places, h x w], and how many places there are across and down."""
        (width, height), (across, down) = self._size, self._room
        # What the object may reach beyond the picture is empty; so is a block that the picture does not fill.
        framed = cv2.copyMakeBorder(live, down, down + 1, across, across + 1, cv2.BORDER_CONSTANT)
        near = framed[origin[1] : origin[1] + height + 2 * down, origin[0] : origin[0] + width + 2 * across]
        windows = np.lib.stride_tricks.sliding_window_view(near, (height, width))
        count = (windows.shape[1], windows.shape[0])
        return np.asarray(windows.reshape(count[0] * count[1], width * height), np.float32), count


def _turned(golden: Map, weights: Map, angle_deg: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shares of weight, which sum to 1, and values of the object turned within its frame, each [h x w]."""
    size = (golden.shape[1], golden.shape[0])
    matrix = pose_matrix(Pose(angle_deg=angle_deg), size)[:2]
    values, shares = (np.asarray(cv2.warpAffine(part, matrix, size), np.float32).ravel() for part in (golden, weights))
    return shares / shares.sum(), values


def _product(rows: Map, columns: Map) -> Map:
    """By OpenCV, in one thread: NumPy's would fight with the session's, and take 15 ms instead of one."""
    return np.asarray(cv2.gemm(rows, columns, 1, _NOTHING, 0), np.float32)
