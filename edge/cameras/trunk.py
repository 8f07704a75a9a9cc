"""Draws the demo product: the load floor of a car's trunk, with the warning triangle in its tray, or not.

Each scene is uint8 [960, 1280, 3] BGR, evenly lit, in its nominal pose; `scene.py` takes photographs of it.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Outline = NDArray[np.int32]
Point = tuple[float, float]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

GOOD = "good"
DEVIATIONS = ("missing", "misplaced", "turned", "wrong_object", "scratch", "stain")
# (width, height) of every scene.
DRAWN: Size = (1280, 960)
TRAY: Point = (800.0, 520.0)
TRIANGLE_RADIUS_PX = 190.0
# A lens draws no sharper than this, px of the drawn size.
LENS_PX = 0.8
# A shadow takes this much of the light, of 255, and fades over this many px.
SHADOW, SHADOW_PX = 110, 7
# Oil: its colour, how much it hides, and further than it ever reaches from its middle, px.
OIL, OIL_COVER, STAIN_REACH_PX = (20, 24, 30), 0.75, 75


def draw(kind: str, generator: np.random.Generator) -> Picture:
    """A scene of this kind, GOOD or one of DEVIATIONS; not to be written to. Raises KeyError for another."""
    return _KINDS[kind](generator)


# --- the floor, drawn once


@lru_cache(maxsize=1)
def _floor() -> Picture:
    """Carpet, rim, latch, floor seam, and the moulded tray, empty."""
    generator = np.random.default_rng(5)
    height, width = DRAWN[1], DRAWN[0]
    pile = sum(
        _cloud(generator, (width, height), grain) * weight for grain, weight in ((2, 9), (5, 6), (40, 5), (300, 7))
    )
    carpet = np.clip(64 + pile, 0, 255)[..., None] * np.array([1.0, 0.98, 0.96])
    floor = np.clip(carpet, 0, 255).astype(np.uint8)
    _rim(floor)
    _tray(floor)
    _fittings(floor)
    return floor


def _cloud(generator: np.random.Generator, size: Size, grain: int) -> NDArray[np.float32]:
    small = generator.normal(0, 1, (max(2, size[1] // grain), max(2, size[0] // grain))).astype(np.float32)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _rim(floor: Picture) -> None:
    """The plastic sill around the carpet, with its highlight and shadow."""
    width, height = DRAWN
    for inset, shade in ((0, 34), (34, 96), (40, 52), (46, 22)):
        outline = _rounded((inset, inset, width - 2 * inset, height - 2 * inset), 120 - inset)
        mask = np.full((height, width), 255, np.uint8)
        cv2.fillPoly(mask, [outline], 0)
        cv2.polylines(floor, [outline], isClosed=True, color=(shade,) * 3, thickness=12, lineType=cv2.LINE_AA)
        if inset == 0:
            floor[mask > 0] = shade


def _rounded(box: Box, radius: int) -> Outline:
    """Outline of a rectangle with round corners."""
    x, y, width, height = box
    corners = ((x + width - radius, y + radius, -90), (x + width - radius, y + height - radius, 0))
    others = ((x + radius, y + height - radius, 90), (x + radius, y + radius, 180))
    arcs = [
        cv2.ellipse2Poly((cx, cy), (radius, radius), 0, start, start + 90, 6) for cx, cy, start in (*corners, *others)
    ]
    return np.concatenate(arcs).astype(np.int32)


def _tray(floor: Picture) -> None:
    """A moulded recess in the shape of the folded-out triangle."""
    for grow, shade in ((70, 88), (62, 30), (54, 44)):
        outline = _corners(TRAY, TRIANGLE_RADIUS_PX + grow, 0.0)
        cv2.fillPoly(floor, [outline], (shade, shade, shade), lineType=cv2.LINE_AA)


def _fittings(floor: Picture) -> None:
    """Seam, lashing eyes, pull strap and the label of the tool kit: what the picture can be laid over by."""
    cv2.line(floor, (430, 60), (430, 900), (26, 26, 26), 7, cv2.LINE_AA)
    cv2.line(floor, (437, 60), (437, 900), (92, 92, 92), 2, cv2.LINE_AA)
    for centre in ((130, 130), (1150, 130), (130, 830), (1150, 830)):
        cv2.circle(floor, centre, 34, (24, 24, 24), -1, cv2.LINE_AA)
        cv2.circle(floor, centre, 24, (150, 150, 152), 8, cv2.LINE_AA)
    cv2.fillPoly(floor, [_rounded((190, 380, 150, 210), 30)], (30, 34, 38), cv2.LINE_AA)
    cv2.fillPoly(floor, [_rounded((222, 420, 86, 130), 20)], (70, 84, 98), cv2.LINE_AA)
    cv2.rectangle(floor, (170, 690), (360, 770), (196, 200, 204), -1)
    cv2.putText(floor, "TOOL KIT", (184, 742), cv2.FONT_HERSHEY_SIMPLEX, 1.05, (40, 40, 40), 3, cv2.LINE_AA)


# --- what lies on it


def _corners(centre: Point, radius: float, turn_deg: float) -> Outline:
    angles = np.deg2rad(np.array([-90.0, 30.0, 150.0]) + turn_deg)
    points = np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], 1)
    return np.round(points).astype(np.int32)


def _triangle(picture: Picture, centre: Point, turn_deg: float) -> None:
    """Red reflector outside, orange fluorescent inside, hollow, with joints and feet."""
    _shadowed(picture, _corners((centre[0] + 7, centre[1] + 9), TRIANGLE_RADIUS_PX + 4, turn_deg))
    floor = picture.copy()
    for radius, colour in ((1.0, (38, 30, 190)), (0.86, (60, 60, 235)), (0.74, (40, 110, 250)), (0.58, (34, 34, 40))):
        cv2.fillPoly(picture, [_corners(centre, TRIANGLE_RADIUS_PX * radius, turn_deg)], colour, lineType=cv2.LINE_AA)
    hole = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(hole, [_corners(centre, TRIANGLE_RADIUS_PX * 0.54, turn_deg)], 255)
    cv2.copyTo(floor, hole, picture)
    _reflectors(picture, centre, turn_deg)
    for corner in _corners(centre, TRIANGLE_RADIUS_PX * 0.92, turn_deg):
        cv2.circle(picture, tuple(map(int, corner)), 15, (30, 30, 34), -1, cv2.LINE_AA)
        cv2.circle(picture, tuple(map(int, corner)), 6, (140, 140, 146), -1, cv2.LINE_AA)


def _reflectors(picture: Picture, centre: Point, turn_deg: float) -> None:
    """The ribs across each bar."""
    outer, inner = (_corners(centre, TRIANGLE_RADIUS_PX * radius, turn_deg) for radius in (0.97, 0.88))
    for index in range(3):
        for share in np.linspace(0, 1, 16)[1:-1]:
            begin, end = ((1 - share) * points[index] + share * points[(index + 1) % 3] for points in (outer, inner))
            cv2.line(picture, (int(begin[0]), int(begin[1])), (int(end[0]), int(end[1])), (70, 70, 255), 3, cv2.LINE_AA)


def _shadowed(picture: Picture, outline: Outline) -> None:
    """Darken what lies under and around the outline."""
    left, top, width, height = cv2.boundingRect(outline)
    reach = 3 * SHADOW_PX
    patch = picture[top - reach : top + height + reach, left - reach : left + width + reach]
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline - (left - reach, top - reach)], SHADOW)
    light = cv2.cvtColor(255 - np.asarray(cv2.GaussianBlur(mask, (0, 0), SHADOW_PX)), cv2.COLOR_GRAY2BGR)
    patch[:] = cv2.multiply(patch, light, scale=1 / 255)


def _through_lens(scene: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), LENS_PX), np.uint8)


def _laid(centre: Point, turn_deg: float) -> Picture:
    """The floor with the triangle on it."""
    scene = _floor().copy()
    _triangle(scene, centre, turn_deg)
    return _through_lens(scene)


@lru_cache(maxsize=1)
def good() -> Picture:
    """The floor as it should be."""
    return _laid(TRAY, 0.0)


# --- the kinds: a scene each, of the drawn size; not to be written to


def _good(_generator: np.random.Generator) -> Picture:
    return good()


def _missing(_generator: np.random.Generator) -> Picture:
    return _through_lens(_floor())


def _misplaced(generator: np.random.Generator) -> Picture:
    angle, reach = generator.uniform(0, 2 * np.pi), generator.uniform(40, 110)
    return _laid((TRAY[0] + reach * float(np.cos(angle)), TRAY[1] + reach * float(np.sin(angle))), 0.0)


def _turned(generator: np.random.Generator) -> Picture:
    return _laid(TRAY, float(generator.choice([-1.0, 1.0]) * generator.uniform(12, 60)))


def _wrong_object(generator: np.random.Generator) -> Picture:
    """A first-aid bag where the triangle belongs."""
    scene = _floor().copy()
    x, y = int(TRAY[0] - 150 + generator.uniform(-15, 15)), int(TRAY[1] - 90 + generator.uniform(-15, 15))
    outline = _rounded((x, y, 300, 190), 40)
    _shadowed(scene, outline + 8)
    cv2.fillPoly(scene, [outline], (60, 120, 40), cv2.LINE_AA)
    cv2.rectangle(scene, (x + 125, y + 40), (x + 175, y + 150), (235, 235, 235), -1)
    cv2.rectangle(scene, (x + 95, y + 70), (x + 205, y + 120), (235, 235, 235), -1)
    return _through_lens(scene)


def _scratch(generator: np.random.Generator) -> Picture:
    scene = good().copy()
    start = np.array([generator.uniform(480, 900), generator.uniform(120, 700)])
    angle = generator.uniform(0, np.pi)
    steps = np.cumsum(generator.normal(0, 2.5, (24, 2)) + np.array([np.cos(angle), np.sin(angle)]) * 9, axis=0)
    points = np.clip(np.round(start + steps), 60, (DRAWN[0] - 60, DRAWN[1] - 60)).astype(np.int32)
    cv2.polylines(scene, [points], isClosed=False, color=(205, 210, 212), thickness=6, lineType=cv2.LINE_AA)
    return scene


def _stain(generator: np.random.Generator) -> Picture:
    scene = good().copy()
    x, y = int(generator.uniform(500, 1080)), int(generator.uniform(140, 820))
    axes = int(generator.uniform(28, 55)), int(generator.uniform(22, 45))
    patch = scene[y - STAIN_REACH_PX : y + STAIN_REACH_PX, x - STAIN_REACH_PX : x + STAIN_REACH_PX]
    cover = np.zeros(patch.shape[:2], np.float32)
    middle = STAIN_REACH_PX, STAIN_REACH_PX
    cv2.ellipse(cover, middle, axes, float(generator.uniform(0, 180)), 0, 360, OIL_COVER, -1)
    soft = cv2.GaussianBlur(cover, (0, 0), 5)[..., None]
    patch[:] = (patch * (1 - soft) + np.array(OIL) * soft).astype(np.uint8)
    return scene


_KINDS = {
    GOOD: _good,
    "missing": _missing,
    "misplaced": _misplaced,
    "turned": _turned,
    "wrong_object": _wrong_object,
    "scratch": _scratch,
    "stain": _stain,
}
