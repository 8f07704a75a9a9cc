"""Lay a region over the golden picture place by place: one pose for the whole leaves a few px that differ over it.

1. Both pictures in the mixture of their channels that shows the golden edges best, at a quarter of the scale: there a
   few px are within reach of one step.
2. A net over the region; between its knots the displacement is interpolated. By least squares on the golden picture's
   slopes (Lucas and Kanade, 1981), over the whole region at once, where a stretched net costs what it would cost to
   leave edges where they are: what a lens, paper or a board do to a picture is a smooth thing, and a pad that has grown
   stretches the net too much to be laid away. What has no edges goes with its surroundings.
3. An error larger than a displacement can cause on such a slope does not count, so what is missing or foreign pulls
   nothing.
4. Once more from there; then every place is moved by whole px, so that edges stay as sharp as they are.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
Matrix = NDArray[np.float64]

# Furthest that a place may lie off, px of the region. What moved further is not where it belongs. Over 640 px two
# photographs of one board differ from a rigid pose by up to 5 px (DeepPCB).
REACH_PX = 6.0
# The scale of the estimate. Half takes four times as long and finds no more (DeepPCB).
_FACTOR = 4
# Between two knots at that scale: 64 px of the region, several times any defect that must not be laid away.
_MESH = 16
# Meshes along a side at most: solving for more takes seconds, and a larger region does not bend in more places.
_MOST_MESHES = 16
# Smoothing at that scale, in its px: slopes as wide as the displacements looked for.
_SMOOTHING = 1.0
# Pixels on the picture's strong slopes that weigh as much as the thread between two knots, stretched by as much as they
# are off. At 2 a round pad that grew by a fifth is half laid away; at 10 a board that is bent by 2 px alarms (DeepPCB).
_STIFFNESS = 5.0
# Squared slope, in grey levels for each px of that scale, that says as much as "no displacement" does.
_DAMPING = 1.0
# Displacement, px of that scale, beyond which an error on a slope is not one of position.
_MOST_STEP = 2.0
_STEPS = 2
# OpenCV asks for what is added to a product.
_NOTHING = np.zeros(0)


class Elastic:
    """A golden picture [h, w, 3] and what every comparison with it shares."""

    def __init__(self, golden: Image) -> None:
        """Some milliseconds of work."""
        height, width = golden.shape[:2]
        self._size = (width, height)
        self._small = (max(1, width // _FACTOR), max(1, height // _FACTOR))
        self._mixture = _mixture(self._coarse(golden))
        self._golden = self._shrink(golden)
        self._along = [_slope(self._golden, axis) for axis in (0, 1)]
        self._most = np.asarray(_MOST_STEP * np.hypot(*self._along), np.float32)
        self._across, self._down = (_hats(side) for side in self._small)
        self._back, self._up = (np.ascontiguousarray(hats.T) for hats in (self._across, self._down))
        held = self._stiffness()
        self._held = held.astype(np.float32)
        self._inverse = np.linalg.inv(self._pulls_by_knot() + held).astype(np.float32)
        self._grid = np.stack(_grid(self._size), axis=2).astype(np.int16)
        self._small_grid = _grid(self._small)

    def laid(self, region: Image) -> Image:
        """A region [h, w, 3] with every place moved to where the golden picture has it."""
        field = self._field(self._shrink(region))
        scales = (self._size[axis] / self._small[axis] for axis in (0, 1))
        moved = [np.clip(part * scale, -REACH_PX, REACH_PX) for part, scale in zip(field, scales, strict=True)]
        places = np.rint(np.stack(moved, axis=2)).astype(np.int16)
        if not places.any():
            return region
        source = cv2.add(cv2.resize(places, self._size, interpolation=cv2.INTER_NEAREST), self._grid)
        nothing = np.zeros(0, np.uint16)
        return np.asarray(
            cv2.remap(region, source, nothing, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def _shrink(self, image: Image) -> Map:
        small = cv2.transform(self._coarse(image), self._mixture)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), _SMOOTHING), np.float32)

    def _coarse(self, image: Image) -> Map:
        return cv2.resize(image, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)

    def _field(self, live: Map) -> list[Map]:
        """How far right and below of its golden place each place lies, in px of the estimate's scale: [h, w] each."""
        knots = self._step(np.zeros((len(self._held), 1), np.float32), live)
        for _ in range(_STEPS - 1):
            x, y = (start + off for start, off in zip(self._small_grid, self._between(knots), strict=True))
            moved = cv2.remap(live, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            knots = self._step(knots, np.asarray(moved, np.float32))
        return self._between(knots)

    def _step(self, knots: Map, moved: Map) -> Map:
        error = self._golden - moved
        error[np.abs(error) > self._most] = 0
        pulls = (np.asarray(slope * error, np.float32) for slope in self._along)
        pull = [_product(self._up, _product(each, self._across)) for each in pulls]
        left = np.reshape(np.concatenate(pull), (-1, 1)) - _product(self._held, knots)
        return knots + _product(self._inverse, left)

    def _between(self, knots: Map) -> list[Map]:
        """The displacement right and below of each place, [h, w] each, from that of all knots."""
        net = knots.reshape(2, self._down.shape[1], self._across.shape[1])
        return [_product(_product(self._down, part), self._back) for part in net]

    def _pulls_by_knot(self) -> Matrix:
        """How much every displacement of a knot changes the pull on every other: [n, n], n displacements."""
        x, y = self._along
        return np.block([[self._by_knot(first * second) for second in (x, y)] for first in (x, y)])

    def _by_knot(self, weights: Map) -> Matrix:
        """The sum of weights [h, w] over what every pair of knots share."""
        rows, columns = self._down.shape[1], self._across.shape[1]
        across, down = _pairs(self._across), _pairs(self._down)
        sums = np.asarray(down.T @ weights.astype(np.float64) @ across, np.float64)
        sums = sums.reshape(rows, rows, columns, columns)
        return sums.transpose(0, 2, 1, 3).reshape(rows * columns, rows * columns)

    def _stiffness(self) -> Matrix:
        """What pulls each displacement back to that of the neighbouring knots, and a little to none: [n, n]."""
        rows, columns = self._down.shape[1], self._across.shape[1]
        squared = np.square(self._along, dtype=np.float64).sum(axis=0)
        # The mean squared slope, weighed by itself: that of edges, however few they are.
        strong = max(_DAMPING, float(np.square(squared).sum() / max(squared.sum(), _DAMPING)))
        threads = np.kron(np.eye(rows), _chain(columns)) + np.kron(_chain(rows), np.eye(columns))
        held = _STIFFNESS * strong * threads + _DAMPING * _MESH**2 * np.eye(rows * columns)
        return np.asarray(np.kron(np.eye(2), held), np.float64)


def _product(left: Map, right: Map) -> Map:
    """Of small matrices, on the thread that asks for it: NumPy would wake every core, which takes longer."""
    return np.asarray(cv2.gemm(left, right, 1.0, _NOTHING, 0.0), np.float32)


def _mixture(picture: Map) -> Map:
    """The mixture of the channels of a picture [h, w, 3] that shows its edges best: [1, 3], as bright as they are.

    Grey would show nothing of red lines on a green as dark.
    """
    slopes = np.concatenate([_slope(picture, axis).reshape(-1, 3) for axis in (0, 1)])
    best = np.linalg.eigh(slopes.T @ slopes)[1][:, -1]
    return np.asarray(best / np.abs(best).sum(), np.float32).reshape(1, 3)


def _slope(picture: Map, axis: int) -> Map:
    """In grey levels for each px, along x (0) or y (1)."""
    return np.asarray(cv2.Sobel(picture, cv2.CV_32F, 1 - axis, axis, ksize=3, scale=1 / 8), np.float32)


def _hats(side: int) -> Map:
    """Each place's share of each knot along a side, by the distance to the two it lies between: [side, knots]."""
    meshes = int(np.clip(round(side / _MESH), 1, _MOST_MESHES))
    places = np.linspace(0, meshes, side)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(meshes + 1))).astype(np.float32)


def _pairs(hats: Map) -> Matrix:
    """The products of all pairs of knots: [side, knots x knots]."""
    return (hats[:, :, None] * hats[:, None, :]).reshape(len(hats), -1).astype(np.float64)


def _chain(count: int) -> Matrix:
    """The squared differences of neighbours in a row of so many, as a matrix."""
    steps = np.diff(np.eye(count), axis=0)
    return steps.T @ steps


def _grid(size: tuple[int, int]) -> tuple[Map, Map]:
    """The x and the y of every pixel of a picture (width, height)."""
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    return x, y
