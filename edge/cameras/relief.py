"""Draws surfaces that look photographed: at every point a height, a colour and a gloss, lit by one lamp.

Shapes are regions by signed distance (negative inside, px), which gives them smooth edges, bevels and rounding.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Point = tuple[float, float]
Colour = tuple[float, float, float]
Direction = tuple[float, float, float]

# The lamp hangs beyond the top left corner of the picture: the direction to it, and what comes from everywhere else.
_LAMP: Direction = (-0.42, -0.55, 0.722)
_AMBIENT, _DIRECT = 0.5, 0.5 / _LAMP[2]
# The eye is straight above: a point shines where it faces half way between the lamp and the eye, at most so bright.
_HALF_WAY: Direction = (-0.226, -0.296, 0.928)
_HIGHLIGHT = 150
# The farthest that a shadow falls, px, and the steps in which a point looks for what stands in its light.
_SHADOW_PX, _SHADOW_STEP_PX, _SHADOW_DEPTH, _SHADOW_BLUR_PX = 34, 2, 0.5, 2.2
# How far around a point walls dim it, px, and how much for each px that they rise above it on average.
_HOLLOWS = ((5.0, 0.022), (24.0, 0.020))
_DARKEST_HOLLOW = 0.35
# Exponent of the highlight: plastic and painted steel, neither dull nor a mirror.
_SHINE = 18
# Room around a shape that its bevel may take.
_MARGIN_PX = 16


@dataclass(frozen=True)
class Shape:
    """Signed distance [h, w], px, over a part of the picture whose top left corner is (left, top)."""

    left: int
    top: int
    distance: Field

    def cover(self) -> Field:
        """How much of each point is inside, 0 to 1."""
        return np.clip(0.5 - self.distance, 0, 1)

    def grown(self, by_px: float) -> "Shape":
        """The shape with its outline moved outwards; at most by the margin."""
        return Shape(self.left, self.top, self.distance - np.float32(by_px))

    def outline(self, width_px: float) -> "Shape":
        """The band of this width along the shape's edge."""
        return Shape(self.left, self.top, np.abs(self.distance) - np.float32(width_px / 2))


def _shape(low: Point, high: Point, distance: Callable[[Field, Field], NDArray[np.floating]]) -> Shape:
    left, top = int(low[0]) - _MARGIN_PX, int(low[1]) - _MARGIN_PX
    width, height = int(high[0]) + _MARGIN_PX - left, int(high[1]) + _MARGIN_PX - top
    x, y = np.arange(left, left + width, dtype=np.float32), np.arange(top, top + height, dtype=np.float32)
    return Shape(left, top, distance(x[None, :], y[:, None]).astype(np.float32))


def rounded_box(centre: Point, size: Point, radius: float) -> Shape:
    """A rectangle with round corners."""
    half = size[0] / 2, size[1] / 2

    def distance(x: Field, y: Field) -> NDArray[np.floating]:
        beyond_x, beyond_y = np.abs(x - centre[0]) - (half[0] - radius), np.abs(y - centre[1]) - (half[1] - radius)
        outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
        return outside + np.minimum(np.maximum(beyond_x, beyond_y), 0) - radius

    return _shape((centre[0] - half[0], centre[1] - half[1]), (centre[0] + half[0], centre[1] + half[1]), distance)


def capsule(begin: Point, end: Point, radius: float) -> Shape:
    """A line with round ends; one point twice is a disc."""
    along = end[0] - begin[0], end[1] - begin[1]
    length_squared = max(along[0] ** 2 + along[1] ** 2, 1e-6)

    def distance(x: Field, y: Field) -> NDArray[np.floating]:
        share = np.clip(((x - begin[0]) * along[0] + (y - begin[1]) * along[1]) / length_squared, 0, 1)
        return np.hypot(x - begin[0] - share * along[0], y - begin[1] - share * along[1]) - radius

    low = min(begin[0], end[0]) - radius, min(begin[1], end[1]) - radius
    high = max(begin[0], end[0]) + radius, max(begin[1], end[1]) + radius
    return _shape(low, high, distance)


def disc(centre: Point, radius: float) -> Shape:
    """A circle, filled."""
    return capsule(centre, centre, radius)


def triangle(centre: Point, reach: float, radius: float) -> Shape:
    """An equilateral one, a corner up, its corners rounded; `reach` is from the centre to where they would be sharp."""

    def distance(x: Field, y: Field) -> NDArray[np.floating]:
        # Distance from a smaller sharp triangle, folded onto one half, then grown by the radius of the corners.
        root = math.sqrt(3)
        half = (reach - 2 * radius) * root / 2
        px, py = np.abs(x - centre[0]) - half, (centre[1] - y) + half / root
        flips = px + root * py > 0
        qx = np.asarray(np.where(flips, (px - root * py) / 2, px), np.float32)
        qy = np.asarray(np.where(flips, (-root * px - py) / 2, py), np.float32)
        qx = qx - np.clip(qx, -2 * half, 0)
        return -np.hypot(qx, qy) * np.sign(qy) - radius

    return _shape((centre[0] - reach, centre[1] - reach), (centre[0] + reach, centre[1] + reach), distance)


def joined(shapes: Sequence[Shape]) -> Shape:
    """One shape of several that overlap."""
    left, top = min(shape.left for shape in shapes), min(shape.top for shape in shapes)
    right = max(shape.left + shape.distance.shape[1] for shape in shapes)
    bottom = max(shape.top + shape.distance.shape[0] for shape in shapes)
    distance = np.full((bottom - top, right - left), np.inf, np.float32)
    for shape in shapes:
        part = distance[_place(shape, left, top)]
        np.minimum(part, shape.distance, out=part)
    return Shape(left, top, distance)


def hollow(outer: Shape, inner: Shape) -> Shape:
    """What is inside `outer` and outside `inner`, which lies within it."""
    distance = outer.distance.copy()
    part = distance[_place(inner, outer.left, outer.top)]
    np.maximum(part, -inner.distance, out=part)
    return Shape(outer.left, outer.top, distance)


def _place(shape: Shape, left: int, top: int) -> tuple[slice, slice]:
    """Where a shape lies in an array whose top left corner is (left, top)."""
    height, width = shape.distance.shape
    return slice(shape.top - top, shape.top - top + height), slice(shape.left - left, shape.left - left + width)


def lettering(text: str, origin: Point, scale: float, thickness: int) -> Shape:
    """Words whose baseline begins at `origin`; the distance is good for about a pixel around the strokes."""
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    mask = np.zeros((height + baseline + 8, width + 8), np.uint8)
    cv2.putText(mask, text, (4, height + 4), cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), thickness, cv2.LINE_AA)
    return Shape(int(origin[0]) - 4, int(origin[1]) - height - 4, (0.5 - mask / 255).astype(np.float32))


class Relief:
    """A surface to be drawn on: height in px, colour in B, G, R of 0 to 255, gloss of 0 to 1."""

    def __init__(self, size: tuple[int, int], colour: Colour) -> None:
        shape = (size[1], size[0])
        self.height: Field = np.zeros(shape, np.float32)
        self._roughness: Field = np.zeros(shape, np.float32)
        self.colour: Field = np.full((*shape, 3), colour, np.float32)
        self.gloss: Field = np.zeros(shape, np.float32)

    def paint(self, shape: Shape, colour: Colour, gloss: float = 0.0) -> None:
        """Give a shape a smooth surface of this colour."""
        rows, columns, cover = self._cut(shape, shape.cover())
        self.colour[rows, columns] += (np.array(colour, np.float32) - self.colour[rows, columns]) * cover[..., None]
        self.gloss[rows, columns] += (gloss - self.gloss[rows, columns]) * cover
        self._roughness[rows, columns] *= 1 - cover

    def press(self, shape: Shape, by_px: float, bevel_px: float = 3.0) -> None:
        """Raise a shape, or sink it where `by_px` is negative, with walls as wide as the bevel."""
        rows, columns, distance = self._cut(shape, shape.distance)
        inside = np.clip(0.5 - distance / np.float32(bevel_px), 0, 1)
        self.height[rows, columns] += np.float32(by_px) * inside * inside * (3 - 2 * inside)

    def round_off(self, shape: Shape, radius_px: float) -> None:
        """Lay a rod or ball on the surface: a half round across the shape, `radius_px` from edge to middle."""
        rows, columns, distance = self._cut(shape, shape.distance)
        depth = np.clip(-distance / np.float32(radius_px), 0, 1)
        self.height[rows, columns] += np.float32(radius_px) * np.sqrt(1 - (1 - depth) ** 2)

    def roughen(self, shape: Shape, texture: Field, height_px: float, contrast: float) -> None:
        """Give a shape a texture of about -1 to 1, as tall as `height_px`, that also colours it by `contrast`."""
        rows, columns, cover = self._cut(shape, shape.cover())
        grain = texture[rows, columns] * cover
        self._roughness[rows, columns] += grain * np.float32(height_px)
        self.colour[rows, columns] *= 1 + (grain * np.float32(contrast))[..., None]

    def photographed(self) -> NDArray[np.uint8]:
        """The surface under the lamp, uint8 [h, w, 3] BGR."""
        surface = self.height + self._roughness
        slope_x = np.asarray(cv2.Sobel(surface, cv2.CV_32F, 1, 0, scale=1 / 8), np.float32)
        slope_y = np.asarray(cv2.Sobel(surface, cv2.CV_32F, 0, 1, scale=1 / 8), np.float32)
        lit = self._lit()
        light = (_AMBIENT + _DIRECT * _facing(_LAMP, slope_x, slope_y) * lit) * self._open_sky()
        shine = self.gloss * _facing(_HALF_WAY, slope_x, slope_y) ** _SHINE * lit * _HIGHLIGHT
        return np.clip(self.colour * light[..., None] + shine[..., None], 0, 255).astype(np.uint8)

    def covered(self, shapes: Sequence[Shape]) -> NDArray[np.uint8]:
        """How much of each point any of these shapes covers, 0 to 255."""
        cover = np.zeros_like(self.height)
        for shape in shapes:
            rows, columns, part = self._cut(shape, shape.cover())
            np.maximum(cover[rows, columns], part, out=cover[rows, columns])
        return np.round(cover * 255).astype(np.uint8)

    def _lit(self) -> Field:
        """1 in the lamp's light, less in a shadow."""
        flat = math.hypot(_LAMP[0], _LAMP[1])
        blocked = np.zeros_like(self.height)
        for step in range(_SHADOW_STEP_PX, _SHADOW_PX, _SHADOW_STEP_PX):
            towards = np.array([[1, 0, _LAMP[0] / flat * step], [0, 1, _LAMP[1] / flat * step]], np.float64)
            wall = cv2.warpAffine(
                self.height,
                towards,
                self.height.shape[::-1],
                flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            np.maximum(blocked, wall - self.height - step * _LAMP[2] / flat, out=blocked)
        shade = cv2.GaussianBlur(np.clip(blocked / 3, 0, 1), (0, 0), _SHADOW_BLUR_PX)
        return np.asarray(1 - (1 - _SHADOW_DEPTH) * shade, np.float32)

    def _open_sky(self) -> Field:
        """1 in the open, less where walls around a point dim it."""
        share = np.ones_like(self.height)
        for reach, dimming in _HOLLOWS:
            around = cv2.GaussianBlur(self.height, (0, 0), reach)
            share -= np.maximum(0, around - self.height) * np.float32(dimming)
        return np.maximum(share, _DARKEST_HOLLOW)

    def _cut(self, shape: Shape, field: Field) -> tuple[slice, slice, Field]:
        """The part of a shape's field that lies on the surface, and where."""
        height, width = self.height.shape
        top, left = max(0, shape.top), max(0, shape.left)
        bottom, right = min(height, shape.top + field.shape[0]), min(width, shape.left + field.shape[1])
        part = field[top - shape.top : bottom - shape.top, left - shape.left : right - shape.left]
        return slice(top, bottom), slice(left, right), part


def _facing(direction: Direction, slope_x: Field, slope_y: Field) -> Field:
    """Cosine of the angle between a surface with these slopes and a direction; 0 where it looks away."""
    x, y, z = direction
    return np.asarray(np.maximum(0, (z - x * slope_x - y * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)), np.float32)


# --- textures of about -1 to 1


def _spread(texture: Field) -> Field:
    """Scaled so that three standard deviations are 1."""
    return np.asarray((texture - texture.mean()) / (3 * texture.std()), np.float32)


def grain(generator: np.random.Generator, size: tuple[int, int], sigma_px: float) -> Field:
    """Round specks of about this size: moulded plastic, dust."""
    white = generator.standard_normal((size[1], size[0]), np.float32)
    return _spread(np.asarray(cv2.GaussianBlur(white, (0, 0), sigma_px), np.float32))


def clouds(generator: np.random.Generator, size: tuple[int, int], grain_px: int) -> Field:
    """Smooth patches of about this size: wear, uneven dye."""
    small = generator.standard_normal((2 + size[1] // grain_px, 2 + size[0] // grain_px), np.float32)
    return _spread(np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.float32))


def felt(generator: np.random.Generator, size: tuple[int, int], angles_deg: Sequence[float]) -> Field:
    """Needle felt: short fibres lying in every direction, the topmost seen."""
    fibres = np.full((size[1], size[0]), -np.inf, np.float32)
    for angle in angles_deg:
        line = np.zeros((13, 13), np.float32)
        reach = 6 * np.cos(np.deg2rad(angle)), 6 * np.sin(np.deg2rad(angle))
        ends = [(round(6 - reach[0]), round(6 - reach[1])), (round(6 + reach[0]), round(6 + reach[1]))]
        cv2.line(line, *ends, color=(1.0,), thickness=1, lineType=cv2.LINE_8)
        white = generator.standard_normal((size[1], size[0]), np.float32)
        np.maximum(fibres, cv2.filter2D(white, cv2.CV_32F, line), out=fibres)
    return _spread(fibres)


def beads(generator: np.random.Generator, size: tuple[int, int], spacing_px: float) -> Field:
    """Moulded foam: domes of about this spacing with creases between them."""
    empty = np.full((size[1], size[0]), 255, np.uint8)
    count = int(size[0] * size[1] / spacing_px**2)
    empty[generator.integers(size[1], size=count), generator.integers(size[0], size=count)] = 0
    creases = cv2.distanceTransform(empty, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return _spread(np.asarray(-cv2.GaussianBlur(creases, (0, 0), 1.0), np.float32))
