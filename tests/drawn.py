"""Drawn scenes whose pose is known: random shapes on a soft texture, seen by a camera that knows where it looks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry import pose_matrix
from edge.records import Pose

Image = NDArray[np.uint8]
Size = tuple[int, int]

# The scene reaches this far beyond what the camera sees when the part lies straight, as a share of its size.
SURROUNDINGS = 0.3


class Scene:
    """Something to look at; `view` is a picture of it, [height, width, 3] BGR."""

    def __init__(self, seed: int, size: Size = (640, 480)) -> None:
        self.size = size
        self._random = np.random.default_rng(seed)
        self._canvas = _draw(self._random, tuple(round(side * (1 + 2 * SURROUNDINGS)) for side in size))

    def view(self, pose: Pose | None = None, *, brightness: float = 1.0, noise: float = 2.0) -> Image:
        """The scene with the golden picture's place moved by `pose`."""
        margin = [round(side * SURROUNDINGS) for side in self.size]
        place = np.array([[1.0, 0.0, margin[0]], [0.0, 1.0, margin[1]], [0.0, 0.0, 1.0]])
        matrix = place @ np.linalg.inv(pose_matrix(pose or Pose(), self.size))
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(self._canvas, matrix[:2], self.size, flags=flags) * brightness
        return np.clip(seen + self._random.normal(0, noise, seen.shape) + 0.5, 0, 255).astype(np.uint8)


def _draw(random: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.float32]:
    width, height = size
    canvas = np.full((height, width, 3), 110, np.float32)
    for cell, contrast in ((width // 10, 25), (width // 40, 15), (6, 12)):
        texture = random.normal(0, contrast, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        canvas += cv2.resize(texture, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(30):
        x, y, reach = (int(value) for value in random.integers(0, [width, height, width // 14]))
        colour = tuple(float(value) for value in random.integers(20, 230, 3))
        if reach % 2:
            cv2.circle(canvas, (x, y), reach + 5, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (x, y), (x + 2 * reach + 5, y + reach + 5), colour, -1)
    return cv2.GaussianBlur(canvas, (0, 0), 1.0)


def with_object_removed(image: Image, share: float = 0.15) -> Image:
    """The middle of the picture gone, down to bare grey: `share` of its area."""
    height, width = image.shape[:2]
    half_height, half_width = (int(side * share**0.5 / 2) for side in (height, width))
    removed = image.copy()
    removed[
        height // 2 - half_height : height // 2 + half_height, width // 2 - half_width : width // 2 + half_width
    ] = 90
    return removed
