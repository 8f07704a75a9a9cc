"""Drawn surfaces, good or with a defect made in the material: leather, cloth, wood, a solar cell, rough castings.

300 x 300 px; castings 1280 x 960, with flaws of a few of these.
"""

from collections.abc import Callable

import cv2
import numpy as np

SIDE = 300
LARGE = (1280, 960)
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)
# Outlines and curves are drawn with three bits of a pixel's fraction.
FRACTION_BITS = 3


def grain(random: np.random.Generator, across: float, down: float | None = None) -> np.ndarray:
    """Smooth noise of deviation 1, with structures of these sizes, px."""
    smooth = cv2.GaussianBlur(
        random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), across, sigmaY=down or across
    )
    return (smooth - smooth.mean()) / smooth.std()


def walk(random: np.random.Generator, length: float, turn: float, width: int = 1) -> np.ndarray:
    """Coverage of a curve that wanders."""
    at, angle, points = random.uniform(40, SIDE - 40, 2), random.uniform(0, 2 * np.pi), []
    for _ in range(int(length / 4) + 1):
        points.append(at.copy())
        angle += random.normal(0, turn)
        at = at + 4 * np.array([np.cos(angle), np.sin(angle)])
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    curve = np.round(np.array(points) * 2**FRACTION_BITS).astype(np.int32)
    cv2.polylines(drawn, [curve], False, (255,), width, cv2.LINE_AA, FRACTION_BITS)
    return drawn.astype(np.float32) / 255


def blob(random: np.random.Generator, radius: float, soft: float) -> np.ndarray:
    """Coverage of a spot with an uneven outline."""
    row, column = random.uniform(30, SIDE - 30, 2)
    inside = np.hypot(Y - row, X - column) * (1 + 0.25 * grain(random, 8)) < radius
    return cv2.GaussianBlur(inside.astype(np.float32), (0, 0), soft)


def cells(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a Voronoi pattern: the number of each pixel's cell, and its distance from that cell's edge."""
    seeds = np.full((SIDE, SIDE), 255, np.uint8)
    seeds[tuple(random.integers(0, SIDE, (2, count)))] = 0
    _, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, labelType=cv2.DIST_LABEL_PIXEL
    )
    names = labels.astype(np.float32)
    edge = cv2.dilate(names, np.ones((3, 3))) != cv2.erode(names, np.ones((3, 3)))
    return labels, cv2.distanceTransform(np.where(edge, 0, 255).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def photographed(
    grey: np.ndarray, random: np.random.Generator, colour: tuple[int, int, int], light: float = 0.12
) -> np.ndarray:
    """[h, w, 3] under light from somewhere, through a lens, with a camera's noise."""
    aslant = 1 + random.uniform(-light, light) * (X / SIDE - 0.5) + random.uniform(-light, light) * (Y / SIDE - 0.5)
    seen = cv2.GaussianBlur((grey * aslant * random.uniform(1 - light, 1 + light)).astype(np.float32), (0, 0), 0.7)
    seen = seen + random.normal(0, 2, (SIDE, SIDE))
    return np.clip(seen[..., None] * np.array(colour) / max(colour), 0, 255).astype(np.uint8)


def leather(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """Grains of some 8 px, lit from a side."""
    _, inside = cells(random, 1500)
    height = cv2.GaussianBlur(np.minimum(inside, 2.5) / 2.5, (0, 0), 1.2)
    height = height + 0.25 * grain(random, 2) + 0.15 * grain(random, 12)
    tint: np.ndarray | float = 0.0
    match defect:
        case "cut":
            line = cv2.GaussianBlur(walk(random, random.uniform(20, 50), 0.15), (0, 0), 0.8)
            height, tint = height - 2.2 * line, -30 * line
        case "fold":
            line = cv2.GaussianBlur(walk(random, random.uniform(80, 150), 0.08, 3), (0, 0), 3)
            height = height + 1.6 * line / line.max()
        case "poke":
            height = height - 2 * blob(random, random.uniform(3, 5), 1.2)
        case "glue":
            spot = blob(random, random.uniform(10, 18), 3)
            height = height * (1 - 0.85 * spot) + 0.5 * spot
        case "colour":
            tint = random.choice([-38, 38]) * blob(random, random.uniform(9, 16), 3)
    slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) / 4 + 0.6 * cv2.Sobel(height, cv2.CV_32F, 0, 1) / 4
    return photographed(105 + 27 * (height - 0.4) + 60 * slope + tint, random, (70, 95, 130))


def cloth(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """Plain weave of some 11 px, a little aslant."""
    aslant, period = random.uniform(-0.06, 0.06), 11 * random.uniform(0.97, 1.03)
    across, down = grain(random, 25), grain(random, 25)
    if defect == "pull":
        across = across + random.choice([-6, 6]) * blob(random, random.uniform(12, 18), 5)
    u = (X * np.cos(aslant) + Y * np.sin(aslant) + across) / period + random.uniform(0, 9)
    v = (Y * np.cos(aslant) - X * np.sin(aslant) + down) / period + random.uniform(0, 9)
    column, row = np.floor(u), np.floor(v)
    on_top = (column + row) % 2 == 0
    if defect == "thread":
        which, first = int(random.integers(u.min() + 4, u.max() - 4)), int(random.integers(v.min() + 3, v.max() - 8))
        on_top &= ~((column == which) & (row > first) & (row < first + random.integers(3, 6)))
    shade = random.normal(0, 6, 60)
    warp = 120 + 60 * np.sin(np.pi * (u % 1)) + shade[np.clip(column, 0, 59).astype(int)]
    weft = 95 + 60 * np.sin(np.pi * (v % 1)) + shade[::-1][np.clip(row, 0, 59).astype(int)]
    grey = np.where(on_top, warp, weft) + 4 * grain(random, 1) + 5 * grain(random, 15)
    match defect:
        case "hole":
            spot = blob(random, random.uniform(4, 6), 1)
            grey = grey * (1 - spot) + 45 * spot
        case "metal":
            grey = grey + 60 * walk(random, random.uniform(12, 24), 0.1)
        case "colour":
            grey = grey * (1 + 0.16 * random.choice([-1, 1]) * blob(random, random.uniform(12, 20), 4))
    return photographed(grey, random, (120, 120, 115))


def wood(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """Sawn along the grain."""
    rings = (X + 5 * grain(random, 4, 60) + 8.4 * grain(random, 60)) / random.uniform(5, 7) + grain(random, 3, 40)
    grey = 150 + 16 * np.sin(rings) + 9 * grain(random, 1, 25) + 3 * grain(random, 1)
    match defect:
        case "scratch":
            grey = grey + 32 * walk(random, random.uniform(30, 70), 0.05)
        case "hole":
            grey = grey - 60 * blob(random, random.uniform(2.5, 4), 1)
        case "liquid":
            spot = blob(random, random.uniform(14, 22), 4)
            grey = grey * (1 - 0.16 * spot)
            grey = grey * (1 - spot / 2) + cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 3) * spot / 2
        case "knot":
            spot = blob(random, random.uniform(8, 13), 3)
            grey = grey - 36 * spot * (0.6 + 0.4 * np.sin(14 * spot))
    return photographed(grey, random, (95, 140, 175))


def solar_cell(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """Crystals of chance, fingers every 10 px, two bars."""
    crystal, _ = cells(random, 130)
    grey = 85 + random.uniform(-22, 22, crystal.max() + 1)[crystal] + 3 * grain(random, 1)
    offset = random.uniform(0, 10)
    fingers = np.exp(-np.square((X + offset) % 10 - 5) / 1.2)
    match defect:
        case "finger":
            at, top = 10 * int(random.integers(4, 26)), random.uniform(20, SIDE - 80)
            gone = (
                (np.abs(X + offset - at) < 5 * random.integers(1, 3)) & (top < Y) & (top + random.uniform(25, 60) > Y)
            )
            fingers = np.where(gone, 0, fingers)
        case "dark":
            grey = grey * (1 - 0.35 * blob(random, random.uniform(16, 26), 7))
        case "crack":
            grey = grey - 38 * walk(random, random.uniform(50, 110), 0.25)
        case "spot":
            grey = grey + 38 * blob(random, random.uniform(3, 5), 1)
    grey, shift = grey + 55 * fingers, random.uniform(-4, 4)
    for bar in (75, 225):
        grey = np.where(np.abs(Y - bar - shift) < 5, 190, grey)
    return photographed(grey, random, (150, 130, 110), 0.08)


def casting(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """A rough grey surface, photographed large."""
    width, height = LARGE
    grey = np.full((height, width), 120, np.float32)
    for grain_px, depth in ((160, 12), (40, 6), (6, 5)):
        coarse = random.normal(0, depth, (height // grain_px + 2, width // grain_px + 2)).astype(np.float32)
        grey += cv2.resize(coarse, LARGE, interpolation=cv2.INTER_CUBIC)
    x, y = (int(random.integers(100, side - 100)) for side in LARGE)
    match defect:
        case "pit":
            cv2.circle(grey, (x, y), int(random.integers(3, 6)), (60,), -1, cv2.LINE_AA)
        case "scratch":
            angle, length = random.uniform(0, np.pi), random.uniform(20, 60)
            end = int(x + length * np.cos(angle)), int(y + length * np.sin(angle))
            cv2.line(grey, (x, y), end, (180,), 2, cv2.LINE_AA)
    return np.clip(grey[..., None] + random.normal(0, 3, (height, width, 3)), 0, 255).astype(np.uint8)


Draw = Callable[[np.random.Generator, str | None], np.ndarray]
SURFACES: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "leather": (leather, ("cut", "fold", "poke", "glue", "colour")),
    "cloth": (cloth, ("thread", "hole", "metal", "colour", "pull")),
    "wood": (wood, ("scratch", "hole", "liquid", "knot")),
    "solar cell": (solar_cell, ("finger", "dark", "crack", "spot")),
    "casting": (casting, ("pit", "scratch")),
}
