"""Draws the demo product: the load floor of a car's trunk, with the warning triangle in its tray.

Each picture has its own pose (the part never lies twice in the same place), light and noise; a deviation is one of
`DEVIATIONS`. What was drawn, the truth, is returned beside the picture, for tests.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Pose

Picture = NDArray[np.uint8]
Point = tuple[float, float]
Size = tuple[int, int]

DEVIATIONS = ("missing", "misplaced", "turned", "wrong_object", "scratch", "stain")
# The scene is drawn once at this size and scaled to the camera's.
DRAWN: Size = (1280, 960)
TRAY: Point = (800.0, 520.0)
TRIANGLE_RADIUS_PX = 190.0
# What a fixture, a lamp and a sensor do from part to part.
SHIFT_PX, TURN_DEG, GAIN, GRADIENT, NOISE = 5.0, 0.6, 0.06, 0.05, 2.5
NOISE_PICTURES = 4


@dataclass(frozen=True)
class Truth:
    """What was drawn: `good` or a deviation, how the scene lies, and the box of the deviation in the picture."""

    label: str
    pose: Pose
    bbox: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Layer:
    """Something on the floor: its colour and how much it covers, both of the scene's size."""

    colour: Picture
    cover: NDArray[np.float32]


def render(kind: str, generator: np.random.Generator, size: Size) -> tuple[Picture, Truth]:
    """A picture uint8 [h, w, 3] BGR of this kind, `size` (width, height). Raises KeyError for an unknown kind."""
    floor = _floor()
    picture, box = _KINDS[kind](floor, generator)
    pose = Pose(
        dx_px=float(generator.normal(0, SHIFT_PX / 2)),
        dy_px=float(generator.normal(0, SHIFT_PX / 2)),
        angle_deg=float(generator.normal(0, TURN_DEG / 2)),
    )
    scale = size[0] / DRAWN[0], size[1] / DRAWN[1]
    matrix = _posed(pose, scale)
    posed = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    shown = Pose(dx_px=pose.dx_px * scale[0], dy_px=pose.dy_px * scale[1], angle_deg=pose.angle_deg)
    return _photograph(posed, generator), Truth(kind, shown, None if box is None else _posed_box(box, matrix, size))


def _posed(pose: Pose, scale: Point) -> NDArray[np.float64]:
    """Scene to picture: turn about the centre, shift, scale about pixel centres."""
    centre = (DRAWN[0] - 1) / 2, (DRAWN[1] - 1) / 2
    turn = np.vstack([cv2.getRotationMatrix2D(centre, -pose.angle_deg, 1.0), [0.0, 0.0, 1.0]])
    turn[:2, 2] += pose.dx_px, pose.dy_px
    scaling = np.array(
        [[scale[0], 0, (scale[0] - 1) / 2], [0, scale[1], (scale[1] - 1) / 2], [0, 0, 1.0]]
    )
    return (scaling @ turn)[:2]


def _posed_box(box: tuple[int, int, int, int], matrix: NDArray[np.float64], size: Size) -> tuple[int, int, int, int]:
    x, y, width, height = box
    corners = np.array([[x, y, 1], [x + width, y, 1], [x, y + height, 1], [x + width, y + height, 1]], np.float64)
    moved = corners @ matrix.T
    low = np.clip(np.floor(moved.min(0)), 0, (size[0] - 1, size[1] - 1)).astype(int)
    high = np.clip(np.ceil(moved.max(0)), 1, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _photograph(picture: Picture, generator: np.random.Generator) -> Picture:
    """Light that drifts and falls from one side, and a sensor's noise."""
    height, width = picture.shape[:2]
    gain = 1 + generator.normal(0, GAIN / 2)
    slope = generator.normal(0, GRADIENT / 2, 2)
    light = gain * (1 + slope[0] * np.linspace(-1, 1, width)[None, :] + slope[1] * np.linspace(-1, 1, height)[:, None])
    lit = cv2.multiply(picture, cv2.merge([light.astype(np.float32)] * 3), dtype=cv2.CV_8U)
    noise = _noise((width, height))[int(generator.integers(NOISE_PICTURES))]
    rolled = np.roll(noise, int(generator.integers(height)), axis=0)
    return cv2.add(lit, rolled, dtype=cv2.CV_8U)


@lru_cache(maxsize=4)
def _noise(size: Size) -> list[NDArray[np.int16]]:
    generator = np.random.default_rng(99)
    shape = (size[1], size[0], 3)
    return [np.round(generator.normal(0, NOISE, shape)).astype(np.int16) for _ in range(NOISE_PICTURES)]


# --- the floor, drawn once


@lru_cache(maxsize=1)
def _floor() -> Picture:
    """Carpet, rim, latch, floor seam, and the moulded tray, empty."""
    generator = np.random.default_rng(5)
    height, width = DRAWN[1], DRAWN[0]
    pile = sum(_cloud(generator, (width, height), grain) * weight for grain, weight in ((2, 9), (5, 6), (40, 5), (300, 7)))
    carpet = np.clip(64 + pile, 0, 255)[..., None] * np.array([1.0, 0.98, 0.96])
    floor = np.clip(carpet, 0, 255).astype(np.uint8)
    _rim(floor)
    _tray(floor)
    _fittings(floor)
    return floor


def _cloud(generator: np.random.Generator, size: Size, grain: int) -> NDArray[np.float32]:
    small = generator.normal(0, 1, (max(2, size[1] // grain), max(2, size[0] // grain))).astype(np.float32)
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)


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


def _rounded(box: tuple[int, int, int, int], radius: int) -> NDArray[np.int32]:
    """Outline of a rectangle with round corners."""
    x, y, width, height = box
    corners = ((x + width - radius, y + radius, -90), (x + width - radius, y + height - radius, 0))
    others = ((x + radius, y + height - radius, 90), (x + radius, y + radius, 180))
    arcs = [cv2.ellipse2Poly((cx, cy), (radius, radius), 0, start, start + 90, 6) for cx, cy, start in (*corners, *others)]
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


def _corners(centre: Point, radius: float, turn_deg: float) -> NDArray[np.int32]:
    angles = np.deg2rad(np.array([-90.0, 30.0, 150.0]) + turn_deg)
    points = np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], 1)
    return np.round(points).astype(np.int32)


def _triangle(picture: Picture, centre: Point, turn_deg: float) -> None:
    """Red reflector outside, orange fluorescent inside, hollow, with joints and feet."""
    picture[:] = _shadowed(picture, _corners((centre[0] + 7, centre[1] + 9), TRIANGLE_RADIUS_PX + 4, turn_deg))
    floor = picture.copy()
    for radius, colour in ((1.0, (38, 30, 190)), (0.86, (60, 60, 235)), (0.74, (40, 110, 250)), (0.58, (34, 34, 40))):
        cv2.fillPoly(picture, [_corners(centre, TRIANGLE_RADIUS_PX * radius, turn_deg)], colour, lineType=cv2.LINE_AA)
    hole = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(hole, [_corners(centre, TRIANGLE_RADIUS_PX * 0.54, turn_deg)], 255)
    picture[hole > 0] = floor[hole > 0]
    outer, inner = (_corners(centre, TRIANGLE_RADIUS_PX * radius, turn_deg) for radius in (0.97, 0.88))
    for index in range(3):
        begin, end = (np.linspace(points[index], points[(index + 1) % 3], 16) for points in (outer, inner))
        for here, there in zip(begin[1:-1], end[1:-1], strict=True):
            cv2.line(picture, tuple(map(int, here)), tuple(map(int, there)), (70, 70, 255), 3, cv2.LINE_AA)
    for corner in _corners(centre, TRIANGLE_RADIUS_PX * 0.92, turn_deg):
        cv2.circle(picture, tuple(map(int, corner)), 15, (30, 30, 34), -1, cv2.LINE_AA)
        cv2.circle(picture, tuple(map(int, corner)), 6, (140, 140, 146), -1, cv2.LINE_AA)


def _shadowed(picture: Picture, outline: NDArray[np.int32]) -> Picture:
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline], 255)
    soft = cv2.GaussianBlur(mask, (0, 0), 7)
    dark = 255 - (soft.astype(np.uint16) * 110 // 255).astype(np.uint8)
    return cv2.multiply(picture, cv2.merge([dark] * 3), scale=1 / 255)


Box = tuple[int, int, int, int]


def _around(centre: Point, reach: float) -> Box:
    return int(centre[0] - reach), int(centre[1] - reach), int(2 * reach), int(2 * reach)


@lru_cache(maxsize=1)
def _good_floor() -> Picture:
    picture = _floor().copy()
    _triangle(picture, TRAY, 0.0)
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def _good(_floor: Picture, _generator: np.random.Generator) -> tuple[Picture, Box | None]:
    return _good_floor(), None


def _missing(floor: Picture, _generator: np.random.Generator) -> tuple[Picture, Box | None]:
    return cv2.GaussianBlur(floor, (0, 0), 0.8), _around(TRAY, TRIANGLE_RADIUS_PX)


def _laid(floor: Picture, centre: Point, turn_deg: float) -> Picture:
    picture = floor.copy()
    _triangle(picture, centre, turn_deg)
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def _misplaced(floor: Picture, generator: np.random.Generator) -> tuple[Picture, Box | None]:
    angle, reach = generator.uniform(0, 2 * np.pi), generator.uniform(40, 110)
    centre = TRAY[0] + reach * float(np.cos(angle)), TRAY[1] + reach * float(np.sin(angle))
    return _laid(floor, centre, 0.0), _around(centre, TRIANGLE_RADIUS_PX + reach)


def _turned(floor: Picture, generator: np.random.Generator) -> tuple[Picture, Box | None]:
    turn_deg = float(generator.choice([-1.0, 1.0]) * generator.uniform(12, 60))
    return _laid(floor, TRAY, turn_deg), _around(TRAY, TRIANGLE_RADIUS_PX)


def _wrong_object(floor: Picture, generator: np.random.Generator) -> tuple[Picture, Box | None]:
    """A first-aid bag where the triangle belongs."""
    picture = floor.copy()
    x, y = int(TRAY[0] - 150 + generator.uniform(-15, 15)), int(TRAY[1] - 90 + generator.uniform(-15, 15))
    outline = _rounded((x, y, 300, 190), 40)
    picture[:] = _shadowed(picture, outline + 8)
    cv2.fillPoly(picture, [outline], (60, 120, 40), cv2.LINE_AA)
    cv2.rectangle(picture, (x + 125, y + 40), (x + 175, y + 150), (235, 235, 235), -1)
    cv2.rectangle(picture, (x + 95, y + 70), (x + 205, y + 120), (235, 235, 235), -1)
    return cv2.GaussianBlur(picture, (0, 0), 0.8), (x, y, 300, 190)


def _scratch(_floor: Picture, generator: np.random.Generator) -> tuple[Picture, Box | None]:
    picture = _good_floor().copy()
    start = np.array([generator.uniform(480, 900), generator.uniform(120, 700)])
    angle = generator.uniform(0, np.pi)
    steps = np.cumsum(generator.normal(0, 2.5, (24, 2)) + np.array([np.cos(angle), np.sin(angle)]) * 9, axis=0)
    points = np.clip(np.round(start + steps), 60, (DRAWN[0] - 60, DRAWN[1] - 60)).astype(np.int32)
    cv2.polylines(picture, [points], isClosed=False, color=(205, 210, 212), thickness=6, lineType=cv2.LINE_AA)
    x, y, width, height = cv2.boundingRect(points)
    return picture, (x - 4, y - 4, width + 8, height + 8)


def _stain(_floor: Picture, generator: np.random.Generator) -> tuple[Picture, Box | None]:
    picture = _good_floor().copy()
    centre = int(generator.uniform(500, 1080)), int(generator.uniform(140, 820))
    axes = int(generator.uniform(28, 55)), int(generator.uniform(22, 45))
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(mask, centre, axes, float(generator.uniform(0, 180)), 0, 360, 255, -1)
    soft = (cv2.GaussianBlur(mask, (0, 0), 5).astype(np.float32) / 255)[..., None]
    oil = np.array([20, 24, 30], np.float32)
    picture[:] = np.clip(picture * (1 - 0.75 * soft) + oil * 0.75 * soft, 0, 255).astype(np.uint8)
    return picture, _around(centre, max(axes) + 6.0)


_KINDS = {
    "good": _good,
    "missing": _missing,
    "misplaced": _misplaced,
    "turned": _turned,
    "wrong_object": _wrong_object,
    "scratch": _scratch,
    "stain": _stain,
}
