"""Photographs of the demo product, as a camera above the line would take them.

Each has its own pose (the part never lies twice in the same place), light and noise; a deviation is one of
`DEVIATIONS`. What was drawn, the truth, is returned beside the picture, for tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import trunk
from edge.cameras.trunk import DRAWN, Box, Picture, Size
from edge.records import Pose

GOOD, DEVIATIONS = trunk.GOOD, trunk.DEVIATIONS

# How far a fixture, a lamp and a sensor go from part to part, each way: px of the drawn size, degrees, shares of the
# light; how much darker a lens makes the corners; and the noise of each pixel, standard deviation in grey levels.
SHIFT_PX, TURN_DEG, GAIN, GRADIENT, VIGNETTE, NOISE = 5.0, 0.6, 0.06, 0.05, 0.08, 2.5
# Light is multiplied in whole steps of 1/160, below the noise, because bytes times bytes take a tenth of the time.
LIGHT_UNIT = 160
LIGHT_GRID: Size = (40, 30)
# Noise is drawn once, this much larger than a picture each way, and cut at random: 4096 pictures' worth.
NOISE_MARGIN_PX = 64
# What differs by less than this from the good scene, grey levels, nobody would call a deviation.
VISIBLE = 6


@dataclass(frozen=True)
class Truth:
    """What was drawn: `good` or a deviation, how the scene lies, and the box of the deviation in the picture."""

    label: str
    pose: Pose
    bbox: Box | None


def render(kind: str, generator: np.random.Generator, size: Size) -> tuple[Picture, Truth]:
    """A picture uint8 [h, w, 3] BGR of this kind, `size` (width, height). Raises KeyError for an unknown kind."""
    flat = _at(size, trunk.draw(kind, generator))
    pose = Pose(
        dx_px=float(generator.uniform(-SHIFT_PX, SHIFT_PX)) * size[0] / DRAWN[0],
        dy_px=float(generator.uniform(-SHIFT_PX, SHIFT_PX)) * size[1] / DRAWN[1],
        angle_deg=float(generator.uniform(-TURN_DEG, TURN_DEG)),
    )
    matrix = _matrix(pose, size)
    posed = cv2.warpAffine(flat, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    bbox = None if kind == GOOD else _posed_box(cv2.boundingRect(differing(flat, good(size))), matrix, size)
    return _photograph(_bytes(posed), generator), Truth(kind, pose, bbox)


def prepare(size: Size) -> None:
    """Draw what every picture shares, about a second's work, now rather than with the first."""
    render(GOOD, np.random.default_rng(0), size)


@lru_cache(maxsize=4)
def good(size: Size) -> Picture:
    """The good scene in its nominal pose, evenly lit and without noise: what poses and boxes are relative to."""
    return _at(size, trunk.good())


def differing(picture: Picture, other: Picture) -> Picture:
    """[h, w]: 255 where two pictures differ visibly, else 0."""
    difference = cv2.cvtColor(cv2.absdiff(picture, other), cv2.COLOR_BGR2GRAY)
    return _bytes(cv2.threshold(difference, VISIBLE, 255, cv2.THRESH_BINARY)[1])


def _at(size: Size, scene: Picture) -> Picture:
    return scene if size == DRAWN else _bytes(cv2.resize(scene, size, interpolation=cv2.INTER_AREA))


def _matrix(pose: Pose, size: Size) -> NDArray[np.float64]:
    """[2, 3]: turn about the centre, then shift."""
    matrix = cv2.getRotationMatrix2D(((size[0] - 1) / 2, (size[1] - 1) / 2), -pose.angle_deg, 1.0)
    matrix[:, 2] += pose.dx_px, pose.dy_px
    return np.asarray(matrix, np.float64)


def _posed_box(box: Sequence[int], matrix: NDArray[np.float64], size: Size) -> Box:
    x, y, width, height = box
    corners = np.array([[x, y, 1], [x + width, y, 1], [x, y + height, 1], [x + width, y + height, 1]], np.float64)
    moved = corners @ matrix.T
    low = np.clip(np.floor(moved.min(0)), 0, (size[0] - 1, size[1] - 1)).astype(int)
    high = np.clip(np.ceil(moved.max(0)), 1, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _photograph(picture: Picture, generator: np.random.Generator) -> Picture:
    """Light that drifts and falls from one side, a lens that darkens the corners, and a sensor's noise."""
    height, width = picture.shape[:2]
    lit = cv2.multiply(picture, _light((width, height), generator), scale=1 / LIGHT_UNIT)
    left, top = (int(place) for place in generator.integers(NOISE_MARGIN_PX, size=2))
    noise = _noise((width, height))[top : top + height, left : left + width]
    return _bytes(cv2.addWeighted(lit, 1, noise, 1, -128))


def _light(size: Size, generator: np.random.Generator) -> Picture:
    """[h, w, 3]: how much light falls on each pixel; LIGHT_UNIT is all of it."""
    across, down = np.linspace(-1, 1, LIGHT_GRID[0])[None, :], np.linspace(-1, 1, LIGHT_GRID[1])[:, None]
    gain = 1 + generator.uniform(-GAIN, GAIN)
    to_right, to_bottom = generator.uniform(-GRADIENT, GRADIENT, 2)
    light: NDArray[np.float64] = gain * (
        1 + to_right * across + to_bottom * down - VIGNETTE * (across**2 + down**2) / 2
    )
    grid = np.clip(np.round(light * LIGHT_UNIT), 0, 255).astype(np.uint8)
    return _bytes(cv2.cvtColor(cv2.resize(grid, size), cv2.COLOR_GRAY2BGR))


@lru_cache(maxsize=4)
def _noise(size: Size) -> Picture:
    """[h + margin, w + margin, 3] about 128."""
    shape = (size[1] + NOISE_MARGIN_PX, size[0] + NOISE_MARGIN_PX, 3)
    noise = np.random.default_rng(99).standard_normal(shape, np.float32)
    return np.round(128 + NOISE * noise).astype(np.uint8)


def _bytes(picture: cv2.typing.MatLike) -> Picture:
    """What OpenCV returns, for the type checker."""
    return np.asarray(picture, np.uint8)
