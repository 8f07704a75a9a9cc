"""The demo product, good or not: the load floor with the warning triangle in its spot, or what may be wrong with it.

Each scene is uint8 [960, 1280, 3] BGR, evenly lit, in its nominal pose; `scene.py` takes photographs of it.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.load_floor import DRAWN, SPOT, Item, Picture, Size, empty_floor, first_aid_bag, safety_vest
from edge.cameras.load_floor import warning_triangle as triangle
from edge.cameras.relief import Point

__all__ = ["DEVIATIONS", "DRAWN", "GOOD", "Box", "Picture", "Size", "draw", "good"]

Box = tuple[int, int, int, int]

GOOD = "good"
DEVIATIONS = ("missing", "misplaced", "turned", "wrong_object", "scratch", "stain")
# Shadows of an item: how far they fall to the right and down, px, over how many px they fade, the light they take.
_SHADOWS = (((2, 3), 2.5, 0.45), ((9, 12), 7.0, 0.45))
_SHADOW_ROOM_PX = 36
# Where marks may be: on the board and the insert.
_MARKED_FROM, _MARKED_TO = (110.0, 120.0), (1170.0, 750.0)
# What a scraped surface shows, the dark edge of the furrow, and dried mud.
_SCRAPED, _FURROW, _MUD = (206, 210, 212), (18, 18, 18), (92, 134, 168)
# Sixteenths of a pixel, in which OpenCV takes the points of thin lines.
_SUBPIXEL_BITS = 4


def draw(kind: str, generator: np.random.Generator) -> Picture:
    """A scene of this kind, GOOD or one of DEVIATIONS; not to be written to. Raises KeyError for another."""
    return _KINDS[kind](generator)


@lru_cache(maxsize=1)
def good() -> Picture:
    """The floor as it should be."""
    return _with(triangle(), SPOT, 0.0)


def _with(item: Item, centre: Point, turn_deg: float) -> Picture:
    """The floor with something on it, and its shadow."""
    scene = empty_floor().copy()
    side = item.picture.shape[0] + 2 * _SHADOW_ROOM_PX
    left, top = round(centre[0] - side / 2), round(centre[1] - side / 2)
    patch = scene[top : top + side, left : left + side]
    turn = cv2.getRotationMatrix2D(((item.picture.shape[0] - 1) / 2,) * 2, -turn_deg, 1.0)
    # The last fraction of a pixel of where it lies, too: half the side is where the item's middle comes to.
    turn[:, 2] += np.array(centre) - (left + side / 2, top + side / 2) + _SHADOW_ROOM_PX
    laid = cv2.warpAffine(item.picture, turn, (side, side), flags=cv2.INTER_LINEAR)
    cover = np.asarray(laid[..., 3], np.uint8)
    over = cover.astype(np.float32) / 255
    shaded = cv2.multiply(patch, cv2.cvtColor(_light_beside(cover), cv2.COLOR_GRAY2BGR), scale=1 / 255)
    patch[:] = cv2.blendLinear(laid[..., :3].copy(), shaded, over, 1 - over)
    return scene


def _light_beside(cover: Picture) -> Picture:
    """What an item that covers so much leaves of the light around it; 255 is all."""
    # Shadows are soft: half the size shows the same, in a quarter of the time.
    half = cv2.resize(cover, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    light = np.full_like(half, 255)
    for (right, down), fade_px, share in _SHADOWS:
        fallen = cv2.warpAffine(half, np.array([[1.0, 0, right / 2], [0, 1.0, down / 2]]), half.shape[::-1])
        soft = cv2.GaussianBlur(fallen, (0, 0), fade_px / 2)
        light = cv2.multiply(light, cv2.convertScaleAbs(soft, None, -share, 255), scale=1 / 255)
    return np.asarray(cv2.resize(light, cover.shape[::-1]), np.uint8)


# --- the kinds


def _good(_generator: np.random.Generator) -> Picture:
    return good()


def _missing(_generator: np.random.Generator) -> Picture:
    return empty_floor()


def _misplaced(generator: np.random.Generator) -> Picture:
    """Beside its spot, half over the rim."""
    angle, reach = generator.uniform(0, 2 * np.pi), generator.uniform(40, 110)
    centre = SPOT[0] + reach * float(np.cos(angle)), SPOT[1] + reach * float(np.sin(angle))
    return _with(triangle(), centre, float(generator.uniform(-6, 6)))


def _turned(generator: np.random.Generator) -> Picture:
    return _with(triangle(), SPOT, float(generator.choice([-1.0, 1.0]) * generator.uniform(12, 60)))


def _wrong_object(generator: np.random.Generator) -> Picture:
    item = (first_aid_bag, safety_vest)[int(generator.integers(2))]()
    centre = SPOT[0] + float(generator.uniform(-15, 15)), SPOT[1] + float(generator.uniform(-15, 15))
    return _with(item, centre, float(generator.uniform(-8, 8)))


def _scratch(generator: np.random.Generator) -> Picture:
    """A curved furrow, pale, dark along one edge, thin at its ends."""
    scene = good().copy()
    middle = generator.uniform(_MARKED_FROM, _MARKED_TO)
    direction, length = generator.uniform(0, np.pi), generator.uniform(160, 320)
    half = np.array([np.cos(direction), np.sin(direction)]) * length / 2
    share = np.linspace(-1, 1, 40)[:, None]
    bend = np.array([-half[1], half[0]]) * generator.uniform(-0.3, 0.3)
    points = np.clip(middle + share * half + (1 - share**2) * bend, _MARKED_FROM, _MARKED_TO)
    for colour, offset, thickness in ((_FURROW, 2.5, 5), (_SCRAPED, 0.0, 5)):
        _polyline(scene, points[1:-1] + offset, colour, thickness)
        _polyline(scene, points + offset, colour, thickness // 2)
    return scene


def _polyline(scene: Picture, points: NDArray[np.float64], colour: tuple[int, int, int], thickness: int) -> None:
    fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(scene, [fixed], False, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _stain(generator: np.random.Generator) -> Picture:
    """A splash of mud, dried, its rim thicker; a few drops around it."""
    scene = good().copy()
    radius = float(generator.uniform(30, 52))
    reach = round(2 * radius)
    x, y = (round(place) for place in generator.uniform(_MARKED_FROM, _MARKED_TO))
    cover = np.zeros((2 * reach, 2 * reach), np.float32)
    cv2.fillPoly(cover, [_blot(generator, reach, radius)], (1.0,), cv2.LINE_AA)
    for _ in range(6):
        angle, distance = generator.uniform(0, 2 * np.pi), generator.uniform(1.2, 1.75) * radius
        drop = int(reach + distance * np.cos(angle)), int(reach + distance * np.sin(angle))
        cv2.circle(cover, drop, int(generator.integers(2, 6)), (1.0,), -1, cv2.LINE_AA)
    soft, softer = (np.asarray(cv2.GaussianBlur(cover, (0, 0), sigma), np.float32) for sigma in (1.5, 9.0))
    opaque = (0.78 * soft + 0.30 * np.clip(soft - softer, 0, 1)) * np.float32(0.9)
    patch = scene[y - reach : y + reach, x - reach : x + reach]
    opaque = opaque[: patch.shape[0], : patch.shape[1], None]
    patch[:] = (patch + (np.array(_MUD, np.float32) - patch) * opaque).astype(np.uint8)
    return scene


def _blot(generator: np.random.Generator, centre: int, radius: float) -> NDArray[np.int32]:
    """An outline that is round on the whole."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    lobes = [generator.normal(0, 0.28 / n) * np.cos(n * angles + generator.uniform(0, 2 * np.pi)) for n in range(2, 8)]
    reaches = radius * (1 + np.sum(lobes, axis=0))
    points = centre + np.stack([reaches * np.cos(angles), reaches * np.sin(angles)], 1)
    return np.round(points).astype(np.int32)


_KINDS = {
    GOOD: _good,
    "missing": _missing,
    "misplaced": _misplaced,
    "turned": _turned,
    "wrong_object": _wrong_object,
    "scratch": _scratch,
    "stain": _stain,
}
