"""Flaws of a surface drawn into good images: what is hard on a product stays hard, whatever its texture.

Their contrast is measured in units of what the texture itself varies by nearby, from barely to clearly visible, and
they are drawn before the picture is shrunk, so that every size sees the same. They rule experts out (`choose.py`) and
never set a limit; what rearranges a part is drawn by `synthetic.py`.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Region = NDArray[np.uint8]
Floats = NDArray[np.float32]
Maker = Callable[[Floats, Floats, np.random.Generator], Floats]

# Contrasts in local deviations, log-uniform, and the least in grey levels: below it a camera's noise hides it.
CONTRASTS = (1.0, 4.0)
LEAST_CONTRAST = 10.0
# Width of a seam around a flaw whose texture counts as nearby, px.
NEARBY_PX = 9
# A copy shows its flaw where its 12 most changed pixels, or 30 % of all changed by a level, differ by 6 on average.
LEAST_PIXELS = 12
CORE_SHARE = 0.3
LEAST_CHANGE = 6.0
ATTEMPTS = 8


def crack(image: Floats, _other: Floats, random: np.random.Generator) -> Floats:
    """A thin, wandering line, darker or lighter."""
    mask = _stroke(random, image.shape, (0.08, 0.5), 0.35)
    return _lit(image, mask, _contrast(image, mask, random))


def dab(image: Floats, _other: Floats, random: np.random.Generator) -> Floats:
    """A small spot with a soft, bent rim."""
    mask = _blob(random, image.shape, (0.012, 0.05))
    return _lit(image, mask, _contrast(image, mask, random))


def cloud(image: Floats, _other: Floats, random: np.random.Generator) -> Floats:
    """A large stain, 12 to 35 % lighter or darker."""
    mask = _blob(random, image.shape, (0.06, 0.2))[..., None]
    change = float(random.choice([-1, 1])) * random.uniform(0.12, 0.35)
    return (image * (1 + mask * np.float32(change))).astype(np.float32)


def blur(image: Floats, _other: Floats, random: np.random.Generator) -> Floats:
    """A place whose texture is worn away."""
    mask = _blob(random, image.shape, (0.05, 0.15))[..., None]
    smooth = cv2.GaussianBlur(image, (0, 0), _side(image.shape) * random.uniform(0.006, 0.02))
    return (image * (1 - mask) + mask * np.asarray(smooth, np.float32)).astype(np.float32)


def warp(image: Floats, _other: Floats, random: np.random.Generator) -> Floats:
    """A place whose texture is drawn aside."""
    mask = _blob(random, image.shape, (0.06, 0.15))
    length = _side(image.shape) * random.uniform(0.015, 0.05)
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    across, down = columns + mask * np.float32(length * np.cos(angle)), rows + mask * np.float32(length * np.sin(angle))
    moved = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32)


def alien(image: Floats, other: Floats, random: np.random.Generator) -> Floats:
    """Another good picture's texture, turned by quarters and scaled, showing through."""
    turned = np.ascontiguousarray(np.rot90(other, int(random.integers(1, 4))))
    scale = random.uniform(0.5, 1.6)
    scaled = np.asarray(cv2.resize(turned, None, fx=scale, fy=scale), np.float32)
    height, width = image.shape[:2]
    room = [(0, max(0, side - had)) for side, had in zip((height, width), scaled.shape, strict=False)]
    laid = np.pad(scaled, [*room, (0, 0)], "symmetric")[:height, :width]
    mask = _blob(random, image.shape, (0.04, 0.14))[..., None] * np.float32(random.uniform(0.5, 1))
    return (image * (1 - mask) + laid * mask).astype(np.float32)


def relief(image: Floats, _other: Floats, random: np.random.Generator) -> Floats:
    """A dent or a groove: one flank light, the other dark."""
    if random.random() < 0.5:
        mask = _blob(random, image.shape, (0.015, 0.06))
    else:
        groove = _stroke(random, image.shape, (0.1, 0.4), 0.15)
        mask = np.asarray(cv2.GaussianBlur(groove, (0, 0), max(1.0, _side(image.shape) * 0.008)), np.float32)
    angle = random.uniform(0, 2 * np.pi)
    across, down = cv2.Sobel(mask, cv2.CV_32F, 1, 0), cv2.Sobel(mask, cv2.CV_32F, 0, 1)
    flanks = np.asarray(np.cos(angle) * across + np.sin(angle) * down, np.float32)
    flanks /= np.abs(flanks).max() + np.float32(1e-9)
    return image + abs(_contrast(image, np.abs(flanks), random)) * flanks[..., None]


FLAWS: dict[str, Maker] = {
    "crack": crack,
    "dab": dab,
    "cloud": cloud,
    "blur": blur,
    "warp": warp,
    "alien": alien,
    "relief": relief,
}


def flawed(kind: str, region: Region, other: Region, random: np.random.Generator) -> Region | None:
    """One flawed copy of `region` [h, w, 3]; None when nothing drawn there can be seen."""
    image, source = region.astype(np.float32), other.astype(np.float32)
    for _ in range(ATTEMPTS):
        changed = np.clip(FLAWS[kind](image, source, random) + 0.5, 0, 255).astype(np.uint8)
        if _shows(image, changed):
            return changed
    return None


def _shows(before: Floats, after: Region) -> bool:
    difference = cv2.GaussianBlur(after.astype(np.float32) - before, (0, 0), 1.0)
    change = np.abs(difference).max(2)
    touched = int((change > 1).sum())
    if touched <= LEAST_PIXELS:
        return False
    core = max(LEAST_PIXELS, int(CORE_SHARE * touched))
    return bool(np.partition(change.ravel(), -core)[-core:].mean() >= LEAST_CHANGE)


def _side(shape: tuple[int, ...]) -> int:
    return min(shape[:2])


def _blob(random: np.random.Generator, shape: tuple[int, ...], shares: tuple[float, float]) -> Floats:
    """A soft ellipse of a radius in shares of the side, its rim bent by smooth noise, anywhere."""
    radius = _side(shape) * random.uniform(*shares)
    y, x = random.uniform(0.06, 0.94, 2) * shape[:2]
    flat, angle = random.uniform(0.5, 1), random.uniform(0, np.pi)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    along = (rows - y) * np.cos(angle) + (columns - x) * np.sin(angle)
    aside = ((columns - x) * np.cos(angle) - (rows - y) * np.sin(angle)) / flat
    noise = cv2.GaussianBlur(random.normal(0, 1, shape[:2]).astype(np.float32), (0, 0), max(1.5, radius * 0.5))
    bent = np.hypot(along, aside) * (1 + 0.25 * noise / (noise.std() + 1e-9))
    soft = max(0.8, radius * random.uniform(0.05, 0.35))
    return np.asarray(cv2.GaussianBlur((bent < radius).astype(np.float32), (0, 0), soft), np.float32)


def _stroke(random: np.random.Generator, shape: tuple[int, ...], shares: tuple[float, float], turn: float) -> Floats:
    """A thin line of a length in shares of the side, that turns by about `turn` radians at every step; 1 at most."""
    side = _side(shape)
    length = side * random.uniform(*shares)
    steps = max(4, int(length / (side * 0.015)))
    angles = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, turn, steps))
    start = random.uniform(0.1, 0.9, 2) * shape[1::-1]
    points = start + np.vstack([[0, 0], np.cumsum(np.stack([np.cos(angles), np.sin(angles)], 1) * length / steps, 0)])
    mask = np.zeros(shape[:2], np.uint8)
    width = max(1, round(side * random.uniform(0.003, 0.012)))
    # Eighths of a pixel, as OpenCV's three fractional bits.
    cv2.polylines(mask, [np.round(points * 8).astype(np.int32)], False, 255, width, cv2.LINE_AA, 3)
    soft = np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.6, side * 0.002)), np.float32)
    return soft / max(float(soft.max()), 1e-6)


def _lit(image: Floats, mask: Floats, level: float) -> Floats:
    return (image + np.float32(level) * mask[..., None]).astype(np.float32)


def _contrast(image: Floats, mask: Floats, random: np.random.Generator) -> float:
    """Grey levels by which a flaw differs, up or down, so that it stays within what a camera shows."""
    grey = image.mean(2)
    near = cv2.dilate((mask > 0.2).astype(np.uint8), np.ones((NEARBY_PX, NEARBY_PX), np.uint8)) > 0
    texture = grey[near] if near.any() else grey
    low, high = (math.log(contrast) for contrast in CONTRASTS)
    level = max(LEAST_CONTRAST, float(texture.std()) * math.exp(random.uniform(low, high)))
    sign, mean = random.choice([-1, 1]), float(texture.mean())
    if mean + sign * level < 0 or mean + sign * level > 255:
        sign = -sign
    return float(sign * level)
