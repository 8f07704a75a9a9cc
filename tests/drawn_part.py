"""A drawn part before a lit background, at any pose: a key, long and unlike at its ends, or a marked disc."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry import Image, Size

Kind = Literal["key", "disc"]
# The part is drawn about the centre of a square of so many px.
SIDE = 400


def part(kind: Kind) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grey levels and coverage (0 to 1), [SIDE, SIDE]."""
    grey, cover = np.full((SIDE, SIDE), 90, np.float32), np.zeros((SIDE, SIDE), np.float32)
    if kind == "disc":
        cv2.circle(cover, (200, 200), 90, (1.0,), -1, cv2.LINE_AA)
        for x, y, radius, level in ((240, 170, 22, 150), (170, 245, 14, 40), (160, 160, 10, 170)):
            cv2.circle(grey, (x, y), radius, (level,), -1, cv2.LINE_AA)
    else:
        cv2.circle(cover, (90, 200), 46, (1.0,), -1, cv2.LINE_AA)
        cv2.circle(grey, (90, 200), 18, (140,), -1, cv2.LINE_AA)
        cv2.rectangle(cover, (120, 186), (340, 214), (1.0,), -1)
        for x, depth in ((230, 22), (262, 30), (294, 14), (322, 26)):
            cv2.rectangle(cover, (x, 214), (x + 16, 214 + depth), (1.0,), -1)
        cv2.line(grey, (130, 200), (330, 200), (60,), 5, cv2.LINE_AA)
    return grey, cv2.GaussianBlur(cover, (0, 0), 0.8)


def place(dx: float, dy: float, angle_deg: float, size: Size) -> NDArray[np.float64]:
    """[3, 3]: pixels of the part's square to those of a picture: its centre (dx, dy) from the picture's, clockwise."""
    angle, middle = np.radians(angle_deg), (SIDE - 1) / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = (size[0] - 1) / 2 + dx, (size[1] - 1) / 2 + dy
    return np.array([
        [cosine, -sine, x - cosine * middle + sine * middle],
        [sine, cosine, y - sine * middle - cosine * middle],
        [0.0, 0.0, 1.0],
    ])  # fmt: skip


def background(size: Size, seed: int, colour: tuple[float, float, float]) -> NDArray[np.float32]:
    """Lit from a side that differs by seed, darker in the corners, [h, w, 3]."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    y, x = np.indices((size[1], size[0]), np.float32)
    x, y = x / size[0] - 0.5, y / size[1] - 0.5
    light = 1 + 0.12 * (np.cos(angle) * x + np.sin(angle) * y) - 0.25 * (x * x + y * y)
    return (light[..., None] * np.array(colour)).astype(np.float32)


def photograph(
    kind: Kind,
    matrix: NDArray[np.float64],
    size: Size = (640, 480),
    *,
    seed: int = 0,
    colour: tuple[float, float, float] = (205.0, 210.0, 215.0),
    mark: tuple[int, int, int] | None = None,
    under: Image | None = None,
) -> Image:
    """A picture [h, w, 3] of the part at a place, perhaps marked: (x, y, radius) in the part's square.

    It lies on the picture `under`, if there is one.
    """
    grey, cover = part(kind)
    if mark is not None:
        cv2.circle(grey, mark[:2], mark[2], (235,), -1, cv2.LINE_AA)
    back = background(size, seed, colour) if under is None else under.astype(np.float32)
    grey, cover = (cv2.warpAffine(layer, matrix[:2], size, flags=cv2.INTER_CUBIC) for layer in (grey, cover))
    cover = np.clip(cover, 0, 1)[..., None]
    noise = np.random.default_rng(seed + 1).normal(0, 2, (size[1], size[0], 3))
    return np.clip(back * (1 - cover) + grey[..., None] * cover + noise + 0.5, 0, 255).astype(np.uint8)
