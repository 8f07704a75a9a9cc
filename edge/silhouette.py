"""The silhouette of a part that may lie at any angle before a plain background, at the working scale.

1. `find`: the background is a smooth surface through the picture's border, then through all that is not the part; what
   is far from it in any channel, in one piece and with its holes filled, is the part.
2. `measure`: centre, main axis and extent from the second moments; the axis points to the longer tail, by the third
   (Hu, "Visual Pattern Recognition by Moment Invariants", 1962).
3. `upright`: the golden picture is the golden part's own surroundings with its axis to the right, all of it inside.

`part_finder.py` lays the golden picture over a part that was found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry import Image, Matrix, Size, shift_matrix

Map = NDArray[np.float32]

# Width of the border that the background is first seen in, as a share of the picture's longer side.
_BORDER_SHARE = 0.03
# Residuals beyond this many typical ones are no background: a part that reaches the border.
_TRIM = 4.0
# It is fitted to the means of blocks of so many px a side; and again without the part, where this share is left.
_SURFACE_STEP, _LEAST_PLAIN = 4, 0.1
# A part differs from the background by these grey levels, by this many of the background's deviations, and by this
# share of Otsu's threshold, which lies half way to what differs most: shaded and shining places differ less.
_LEAST_DISTANCE, _DEVIATIONS, _OTSU_SHARE = 8.0, 5.0, 0.5
# Gaps of up to this many px in an outline are closed: reflections run across it. Below this many px is no part.
_CLOSED_PX, _LEAST_AREA = 5, 30
# A whole part is preferred to something that reaches the border and is up to this many times as large.
_PREFERENCE = 4.0
# What stands out from something that reaches the border is the part where it is more than this share of it.
_LEAST_ALONE = 0.25
# Room around the golden part on each side, as a share of the square root of its extent's area, and at least, px.
_MARGIN, _LEAST_MARGIN = 0.08, 3.0
# Parts are counted, and missed, by these shares of the golden area: a broken part is judged, nothing is not.
_ANOTHER, _NOTHING = 0.6, 0.1


@dataclass(frozen=True)
class Shape:
    """Moments of a silhouette: px, degrees clockwise from the right to where the axis' longer tail points.

    `length` and `width` are four deviations along and across: those of an ellipse.
    """

    area: float
    centre: tuple[float, float]
    angle_deg: float
    length: float
    width: float


@dataclass(frozen=True)
class Silhouette:
    """A part's `mask` (0 or 1, [h, w]), whether it `touches` the border, and the area of the next largest one."""

    mask: Image
    shape: Shape
    touches: bool
    next_area: float


@dataclass(frozen=True)
class Part:
    """What registration by silhouette adds: the golden silhouette, 0 or 1, [h, w], and the (width, height) of frames.

    The golden picture is upright and tight around the part, so it is of another size than frames are.
    """

    mask: Image
    frame_size: Size

    @cached_property
    def area(self) -> float:
        """Of the golden silhouette, px."""
        return float(np.count_nonzero(self.mask))

    def problem(self, found: Silhouette | None) -> str | None:
        """Why this cannot be laid over the golden picture at all; whatever is wrong with a part is for the checks."""
        if found is None or found.shape.area < _NOTHING * self.area:
            return "no part in the picture"
        if found.touches:
            return "the part is cut off by the picture's edge"
        if min(found.shape.area, found.next_area) > _ANOTHER * self.area:
            return "more than one part in the picture"
        return None


def find(picture: Image) -> Silhouette | None:
    """The largest part in a picture [h, w, 3] BGR, rather a whole one; None where all is background."""
    height, width = picture.shape[:2]
    small_size = max(8, width // _SURFACE_STEP), max(8, height // _SURFACE_STEP)
    small = np.asarray(cv2.resize(picture, small_size, interpolation=cv2.INTER_AREA), np.uint8)
    border = _border(small.shape[:2])
    distance = _from_background(small, small, border, terms=3)
    plain = np.asarray(cv2.dilate(_foreground(distance, border), np.ones((3, 3), np.uint8))) == 0
    plain, terms = (plain, 6) if plain.mean() > _LEAST_PLAIN else (border, 3)
    distance = _from_background(picture, small, plain, terms)
    found = _main_piece(_foreground(distance, plain))
    if found is None or not found.touches:
        return found
    # A shadow may tie the part to something at the border; what stands out more is then the part alone.
    alone = _main_piece(_foreground(distance, plain, otsu_share=1.0))
    whole = alone is not None and not alone.touches and alone.shape.area > _LEAST_ALONE * found.shape.area
    return alone if whole else found


def measure(mask: Image) -> Shape:
    """The shape of a silhouette, 0 or 1, [h, w], that is not empty."""
    found = cv2.moments(mask, binaryImage=True)
    area = found["m00"]
    across, mixed, down = found["mu20"] / area, found["mu11"] / area, found["mu02"] / area
    angle = math.atan2(2 * mixed, across - down) / 2
    mean, spread = (across + down) / 2, math.hypot((across - down) / 2, mixed)
    cosine, sine = math.cos(angle), math.sin(angle)
    third = cosine**3 * found["mu30"] + 3 * cosine**2 * sine * found["mu21"]
    third += 3 * cosine * sine**2 * found["mu12"] + sine**3 * found["mu03"]
    within = 1 / 12  # the variance within one px: a line of them has a width, too
    return Shape(
        area=area,
        centre=(found["m10"] / area, found["m01"] / area),
        angle_deg=math.degrees(angle) + (180 if third < 0 else 0),
        length=4 * math.sqrt(mean + spread + within),
        width=4 * math.sqrt(max(0.0, mean - spread) + within),
    )


def upright(found: Silhouette) -> tuple[Matrix, Size]:
    """The golden picture around a silhouette: to the pixels it was found in, and its (width, height)."""
    turn = laid((0.0, 0.0), found.shape.centre, found.shape.angle_deg)
    y, x = np.nonzero(found.mask)
    points = np.asarray((np.stack([x, y], axis=1) - turn[:2, 2]) @ turn[:2, :2], np.float64)
    (left, right), (top, bottom) = ((float(along.min()), float(along.max())) for along in points.T)
    margin = max(_LEAST_MARGIN, _MARGIN * math.sqrt((right - left + 1) * (bottom - top + 1)))
    size = (math.ceil(right - left + 2 * margin) + 1, math.ceil(bottom - top + 2 * margin) + 1)
    return turn @ shift_matrix(left - margin, top - margin), size


def _foreground(distance: Image, plain: NDArray[np.bool_], otsu_share: float = _OTSU_SHARE) -> Image:
    """What is far from the background, 0 or 1, [h, w]; `plain`, perhaps at a smaller scale, is where it is seen."""
    size = plain.shape[1], plain.shape[0]
    sampled = np.asarray(cv2.resize(distance, size, interpolation=cv2.INTER_NEAREST))[plain]
    otsu, _ = cv2.threshold(distance, 0, 1, cv2.THRESH_OTSU)
    limit = max(_LEAST_DISTANCE, _DEVIATIONS * 1.4826 * float(np.median(sampled)), otsu_share * otsu)
    return np.asarray(cv2.threshold(distance, limit, 1, cv2.THRESH_BINARY)[1], np.uint8)


def _from_background(values: Image, small: Image, plain: NDArray[np.bool_], terms: int) -> Image:
    """Distance [h, w] of `values` from the surface through the plain pixels of `small`, in the channel where it is most."""
    surface = _surface(small, plain, terms)
    if surface.shape != values.shape:
        surface = cv2.resize(surface, (values.shape[1], values.shape[0]), interpolation=cv2.INTER_LINEAR)
    blue, green, red = cv2.split(cv2.absdiff(values, surface))
    return np.asarray(cv2.max(cv2.max(blue, green), red), np.uint8)


def _surface(small: Image, plain: NDArray[np.bool_], terms: int) -> Image:
    """The polynomial of so many terms through the plain pixels, but for those far from it, [h, w, 3]."""
    basis, flat = _basis(small.shape[1], small.shape[0])[:, :terms], small.reshape(-1, 3).astype(np.float32)
    chosen = np.flatnonzero(plain)
    surface = np.broadcast_to(np.median(flat[chosen], axis=0), flat.shape)
    for _ in range(2):
        distance = np.abs(flat[chosen] - surface[chosen]).max(axis=1)
        kept = chosen[distance <= max(2.0, _TRIM * float(np.median(distance)))]
        surface = basis @ _least_squares(basis[kept], flat[kept])
    return np.clip(surface + 0.5, 0, 255).astype(np.uint8).reshape(small.shape)


def _least_squares(basis: Map, values: Map) -> Map:
    """Weights [terms, 3], by the normal equations; the terms are within 1, and what they lack is left at nothing."""
    normal = basis.T @ basis
    damping = np.eye(len(normal), dtype=np.float32) * np.float32(1e-6 * len(basis))
    return np.linalg.solve(normal + damping, basis.T @ values)


@lru_cache(maxsize=8)
def _basis(width: int, height: int) -> Map:
    """The terms of a surface of second degree at each pixel, [pixels, 6], the plane's three first."""
    y, x = np.indices((height, width), np.float32).reshape(2, -1)
    x, y = x * (2 / width) - 1, y * (2 / height) - 1
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    wide = max(2, round(max(shape) * _BORDER_SHARE))
    border = np.ones(shape, np.bool_)
    border[wide:-wide, wide:-wide] = False
    return border


def _main_piece(mask: Image) -> Silhouette | None:
    closing = np.ones((_CLOSED_PX, _CLOSED_PX), np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, closing)
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = np.array([cv2.contourArea(outline) for outline in outlines])
    if not len(areas) or areas.max() < _LEAST_AREA:
        return None
    touches = np.array([_touches(cv2.boundingRect(outline), mask.shape) for outline in outlines])
    best = int(np.argmax(areas * np.where(touches, 1.0, _PREFERENCE)))
    others = np.where(touches, 0.0, areas)
    others[best] = 0.0
    filled = np.asarray(cv2.drawContours(np.zeros_like(mask), outlines, best, 1, cv2.FILLED), np.uint8)
    return Silhouette(filled, measure(filled), bool(touches[best]), float(others.max()))


def _touches(rectangle: Sequence[int], shape: tuple[int, ...]) -> bool:
    left, top, width, height = rectangle
    return left == 0 or top == 0 or left + width == shape[1] or top + height == shape[0]


def laid(golden: tuple[float, float], live: tuple[float, float], turn_deg: float) -> Matrix:
    """Golden to live pixels, [3, 3]: one centre (x, y) over the other, turned clockwise."""
    cosine, sine = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    rotation = np.array([[cosine, -sine, live[0]], [sine, cosine, live[1]], [0.0, 0.0, 1.0]])
    return rotation @ shift_matrix(-golden[0], -golden[1])
