"""Deviations drawn into good images, to choose between methods without a single bad part.

What the line will really see is unknown; these stand for its kinds: something in the wrong place, something foreign,
something gone, a spot, and a thin mark. They choose between methods and never set a limit.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Region = NDArray[np.uint8]
Maker = Callable[[Region, Region, np.random.Generator], Region]

# Sides of a moved patch as shares of the region's side: from a screw to a cover.
PATCH_SHARES = (0.08, 0.2)
# A displaced piece is larger, and lies this share of the region's side from its place: a part not seated, or broken.
PIECE_SHARES = (0.25, 0.5)
DISPLACED_SHARES = (0.04, 0.12)
# Radius of a spot, and grey levels by which spots and marks differ: visible, not glaring.
SPOT_SHARES = (0.02, 0.05)
CONTRASTS = (35.0, 80.0)
# A patch that changes less than this mean absolute grey level, once grain is smoothed away, is no deviation: it shows
# the same as before, elsewhere. Another is tried.
LEAST_CHANGE = 10.0
GRAIN_PX = 2.0
# Softness of a patch's edge: what a lens leaves of a sharp one.
SOFT_PX = 1.0
ATTEMPTS = 12


def _between(random: np.random.Generator, low: float, high: float) -> float:
    return float(random.uniform(low, high))


def _place(random: np.random.Generator, room: int) -> int:
    """A whole number from 0 to below `room`."""
    return int(random.integers(0, max(1, room)))


def _box(
    shape: tuple[int, ...], random: np.random.Generator, shares: tuple[float, float] = PATCH_SHARES
) -> tuple[int, int, int, int]:
    """Top, left, height, width of a patch inside an image of that shape."""
    height, width = (max(4, round(side * _between(random, *shares))) for side in shape[:2])
    top, left = _place(random, shape[0] - height), _place(random, shape[1] - width)
    return top, left, height, width


def _blend(region: Region, patch: NDArray[np.floating], mask: NDArray[np.floating]) -> Region:
    mixed = region * (1 - mask[..., None]) + patch * mask[..., None]
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _pasted(region: Region, source: Region, random: np.random.Generator) -> Region:
    top, left, height, width = _box(region.shape, random)
    from_top, from_left = _place(random, region.shape[0] - height), _place(random, region.shape[1] - width)
    # The whole source is moved, so that the soft edge blends into what lay beside the patch.
    patch = np.roll(source, (top - from_top, left - from_left), (0, 1)).astype(np.float32)
    return _blend(region, patch, _blob(region.shape, (top, left, height, width), random))


def _blob(shape: tuple[int, ...], box: tuple[int, int, int, int], random: np.random.Generator) -> NDArray[np.float32]:
    """An irregular, soft-edged shape inside a box: straight edges and corners would be a deviation of their own."""
    top, left, height, width = box
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = np.arctan2(rows, columns)
    radius = 0.75 + sum(
        random.uniform(-0.2, 0.2) / order * np.cos(order * angle + random.uniform(0, 2 * np.pi)) for order in (1, 2, 3)
    )
    mask = np.zeros(shape[:2], np.float32)
    mask[top : top + height, left : left + width] = np.hypot(rows, columns) < radius
    return cv2.GaussianBlur(mask, (0, 0), SOFT_PX).astype(np.float32)


def moved(region: Region, _other: Region, random: np.random.Generator) -> Region:
    """A patch of the part itself, somewhere else on it."""
    return _pasted(region, region, random)


def foreign(region: Region, other: Region, random: np.random.Generator) -> Region:
    """A patch of another part, somewhere else and mirrored."""
    return _pasted(region, other[:, ::-1], random)


def displaced(region: Region, _other: Region, random: np.random.Generator) -> Region:
    """A large piece of the part, a little off its place."""
    box = _box(region.shape, random, PIECE_SHARES)
    angle, share = random.uniform(0, 2 * np.pi), random.uniform(*DISPLACED_SHARES)
    shift = np.array([[1, 0, share * region.shape[1] * np.cos(angle)], [0, 1, share * region.shape[0] * np.sin(angle)]])
    size = (region.shape[1], region.shape[0])
    patch = cv2.warpAffine(region, shift, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    return _blend(region, patch, _blob(region.shape, box, random))


def erased(region: Region, _other: Region, random: np.random.Generator) -> Region:
    """A patch painted over with what surrounds it."""
    box = _box(region.shape, random)
    top, left, height, width = box
    rows, columns = slice(top, top + height), slice(left, left + width)
    edge = np.concatenate([region[rows, left], region[rows, left + width], region[top, columns]])
    patch = np.broadcast_to(np.median(edge, axis=0).astype(np.float32), region.shape)
    return _blend(region, patch, _blob(region.shape, box, random))


def spot(region: Region, _other: Region, random: np.random.Generator) -> Region:
    """A round spot, darker or lighter than what it lies on."""
    height, width = region.shape[:2]
    radius = max(1.5, min(height, width) * _between(random, *SPOT_SHARES))
    y, x = _between(random, radius, height - radius), _between(random, radius, width - radius)
    rows, columns = np.mgrid[:height, :width]
    mask = np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)
    return _blend(region, region + _contrast(region, int(y), int(x), random), mask)


def mark(region: Region, _other: Region, random: np.random.Generator) -> Region:
    """A scratch one or two pixels wide."""
    height, width = region.shape[:2]
    start = random.uniform(0.1, 0.9, 2) * (width, height)
    angle, length = random.uniform(0, np.pi), min(height, width) * random.uniform(0.1, 0.25)
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    mask = np.zeros((height, width), np.uint8)
    first, last = ((round(float(point[0])), round(float(point[1]))) for point in (start, end))
    cv2.line(mask, first, last, 255, 1, cv2.LINE_AA)
    y, x = min(max(first[1], 0), height - 1), min(max(first[0], 0), width - 1)
    return _blend(region, region + _contrast(region, y, x, random), mask / 255.0)


def _contrast(region: Region, y: int, x: int, random: np.random.Generator) -> float:
    """Away from what is there: bright places get darker, dark ones lighter."""
    level = _between(random, *CONTRASTS)
    return -level if region[y, x].mean() > 127 else level


KINDS: dict[str, Maker] = {
    "moved": moved,
    "displaced": displaced,
    "foreign": foreign,
    "erased": erased,
    "spot": spot,
    "mark": mark,
}


def deviate(kind: str, region: Region, other: Region, random: np.random.Generator) -> Region | None:
    """One deviant copy of `region` [h, w, 3]; None when nothing drawn there changes it visibly."""
    for _ in range(ATTEMPTS):
        changed = KINDS[kind](region, other, random)
        if _change(region, changed) >= LEAST_CHANGE:
            return changed
    return None


def _change(before: Region, after: Region) -> float:
    """Mean smoothed difference, in grey levels, where anything was touched."""
    touched = np.any(before != after, axis=2)
    if not touched.any():
        return 0.0
    difference = cv2.GaussianBlur(after.astype(np.float32) - before, (0, 0), GRAIN_PX)
    return float(np.abs(difference).max(axis=2)[touched].mean())


def jittered(region: Region, count: int, random: np.random.Generator) -> list[Region]:
    """Copies shifted by up to a pixel, a little brighter or darker, with noise: a stand-in for more good images."""
    copies: list[Region] = []
    for _ in range(count):
        matrix = np.array([[1, 0, random.uniform(-1, 1)], [0, 1, random.uniform(-1, 1)]])
        size = (region.shape[1], region.shape[0])
        warped = np.asarray(cv2.warpAffine(region, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        shifted = warped.astype(np.float32)
        noisy = shifted * _between(random, 0.97, 1.03) + random.normal(0, 2, shifted.shape)
        copies.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return copies
