"""Finds what the golden picture shows in a region, wherever it lies nearby: its shift, its turn, and how alike it is.

What is searched is the region with a margin all round. Whatever is in it besides the object stays where it is when the
object moves, so none of that may count:

1. `learn`: the object is told from its surroundings by colour (GrabCut: Rother, Kolmogorov and Blake, 2004); `agree`:
   each pixel of it counts as far as good pictures agree there once the object lies over itself.
2. `Relief`: colours are mixed so that the object's contrast is largest, lighting is taken out, and contrast above the
   object's own is evened out, so that a faint ground stays faint.
3. `find`: every shift and turn of a small picture by weighted correlation, over the object alone. The best is refined
   by the solver, and taken unless it is less alike than what it began with or the object where it belongs.

Pictures are cuts, [height, width, 3] BGR, of one size. Matrices are [3, 3] and map px of the golden object, which is a
part of the golden cut, to px of a live cut.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import solver
from edge.checks.sweep import ANGLE_STEP_DEG, Reach, Sweep, small_factor
from edge.errors import GoldlineError
from edge.geometry import Image, Matrix, Size, block_matrix, matrix_pose
from edge.solver import Map

# Noise is smoothed over a pixel. Lighting changes over more than this share of the cut's longer side.
_SMOOTHING_PX, _LIGHTING_SHARE = 1.0, 0.1
# Contrast below this many grey levels is noise, and nothing can be found by it.
_LEAST_CONTRAST = 2.0
# Rounds of GrabCut: it has settled after two or three.
_CUT_ROUNDS = 4
# An object of less or more than these shares of its box was not told from its surroundings: the box counts whole.
_LEAST_COVER, _MOST_COVER = 0.03, 0.97
# The outline is most of what an object shows: so many px beyond it count, too.
_RIM_PX = 2
# Good pictures that are asked where they agree; more say the same.
_MOST_ASKED = 40
# Pixels of less weight than this are none of the solver's business, which knows no weights.
_COUNTING = 0.2
# Steps at half and at the whole scale, at most; it has mostly converged after four and two. Halves of less than this
# many px are too few to begin with.
_HALF_ROUNDS, _WHOLE_ROUNDS, _LEAST_HALF_PX = 8, 4, 12
# A refined place may be less alike by this much than an unrefined one: a whole pixel needs no interpolation.
_ROUNDING = 0.02


@dataclass(frozen=True)
class Found:
    """How far the object's middle lies from its place in the golden cut, in px of cuts; its turn; and how alike it is.

    `similarity` is 1 for the same, 0 for nothing in common, and may be negative.
    """

    dx_px: float
    dy_px: float
    angle_deg: float
    similarity: float


@dataclass(frozen=True)
class Sought:
    """What is looked for: the golden cut, where the object is in it ([h, w], 255 counts in full), and how far.

    `middle` is the point of the golden cut whose shift is told, in px.
    """

    golden: Image
    weights: Image
    middle: tuple[float, float]
    reach: Reach

    @cached_property
    def finder(self) -> "Finder":
        """What is computed once. The first use takes some milliseconds."""
        return Finder(self)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays that a .npz holds without pickling."""
        reach = self.reach
        return {
            "golden": self.golden,
            "weights": self.weights,
            "middle": np.array(self.middle),
            "reach": np.array([reach.across_px, reach.down_px, reach.angle_deg]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "Sought":
        """The inverse of `to_arrays`. Raises KeyError for a missing array."""
        x, y = (float(place) for place in arrays["middle"].tolist())
        golden, weights = (np.asarray(arrays[name], np.uint8) for name in ("golden", "weights"))
        return cls(golden, weights, (x, y), Reach(*(float(bound) for bound in arrays["reach"].tolist())))


def learn(golden: Image, box: tuple[float, float, float, float], reach: Reach) -> Sought:
    """The object in `box` (x, y, width, height in px) of the golden cut.

    Raises GoldlineError where there is nothing to find it by.
    """
    x, y, width, height = box
    middle = (x + (width - 1) / 2, y + (height - 1) / 2)
    sought = Sought(golden, _object(golden, box), middle, reach)
    contrast = sought.finder.relief.contrast
    if contrast < _LEAST_CONTRAST:
        raise GoldlineError(f"nothing to find: contrast of {contrast:.1f} grey levels, at least {_LEAST_CONTRAST:g}")
    return sought


def agree(sought: Sought, others: Sequence[Image]) -> Sought:
    """Count less what good pictures disagree about though the object lies over itself: 1 / (1 + share of variance)."""
    finder = sought.finder
    places: list[int] = np.unique(np.linspace(0, len(others) - 1, _MOST_ASKED).astype(int)).tolist()
    squares = np.zeros(finder.golden.shape, np.float32)
    for place in places:
        live = finder.relief.of(others[place])
        squares += np.square(_warp(live, finder.find(live)[0], finder.size) - finder.golden)
    own = float((finder.weights * np.square(finder.golden)).sum() / finder.weights.sum())
    agreement = finder.weights / (1 + squares / (len(places) * own))
    weights = np.zeros_like(sought.weights)
    weights[finder.inside] = np.round(agreement * (255 / float(agreement.max())))
    return replace(sought, weights=weights)


def find(sought: Sought, cut: Image) -> Found:
    """Where the object is in a live cut of the golden one's size. Never raises for a strange picture."""
    finder = sought.finder
    matrix, similarity = finder.find(finder.relief.of(cut))
    from_golden = matrix @ np.linalg.inv(_shift(*finder.origin))
    middle = np.array([*sought.middle, 1.0])
    dx, dy, _ = (float(value) for value in from_golden @ middle - middle)
    return Found(dx, dy, math.degrees(math.atan2(from_golden[1, 0], from_golden[0, 0])), similarity)


def _object(golden: Image, box: tuple[float, float, float, float]) -> Image:
    """[h, w]: 255 where the object is, told from what surrounds its box by colour; else all of the box."""
    left, top, right, bottom = (round(edge) for edge in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    whole = np.zeros(golden.shape[:2], np.uint8)
    whole[top:bottom, left:right] = 255
    labels = np.where(whole > 0, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    surroundings = np.count_nonzero(labels == cv2.GC_BGD)
    if surroundings < golden.shape[0] + golden.shape[1]:  # hardly a margin to learn the surroundings from
        return whole
    cv2.setRNGSeed(0)  # GrabCut begins at random; the same pictures are to teach the same set
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(golden, labels, (0, 0, 0, 0), *models, _CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    told = (labels == cv2.GC_PR_FGD).astype(np.uint8)
    if not _LEAST_COVER < np.count_nonzero(told) / np.count_nonzero(whole) < _MOST_COVER:
        return whole
    return np.asarray(cv2.dilate(told * 255, np.ones((2 * _RIM_PX + 1,) * 2, np.uint8)), np.uint8)


class Relief:
    """Turns cuts into maps of what the golden object stands out by."""

    def __init__(self, golden: Image, weights: Map) -> None:
        """Learn the mixture of colours, and `contrast`, the object's own in grey levels."""
        self._side = int(max(golden.shape) * _LIGHTING_SHARE) | 1
        smooth = np.asarray(cv2.GaussianBlur(golden.astype(np.float32), (0, 0), _SMOOTHING_PX), np.float32)
        detail = np.asarray(smooth - self._surroundings(smooth), np.float32).reshape(-1, 3)
        share = weights.reshape(-1, 1) / np.float32(weights.sum())
        variances, axes = np.linalg.eigh((detail * share).T.astype(np.float64) @ detail)
        # The axis of most variance, in grey levels: the share of each colour, with a sign where one counters another.
        self._mixture = (axes[:, -1:] / np.abs(axes[:, -1]).sum()).T
        self.contrast = math.sqrt(max(0.0, float(variances[-1]))) / float(np.abs(axes[:, -1]).sum())

    def of(self, cut: Image) -> Map:
        """[h, w]: detail in units of its surroundings' contrast, to which the object's is added."""
        mixed = np.asarray(cv2.transform(cut.astype(np.float32), self._mixture), np.float32)
        smooth = np.asarray(cv2.GaussianBlur(mixed, (0, 0), _SMOOTHING_PX), np.float32)
        detail = np.asarray(smooth - self._surroundings(smooth), np.float32)
        return detail / (np.sqrt(self._surroundings(detail * detail)) + np.float32(self.contrast + _LEAST_CONTRAST))

    def _surroundings(self, values: Map) -> Map:
        return np.asarray(cv2.blur(values, (self._side, self._side), borderType=cv2.BORDER_REFLECT), np.float32)


class Finder:
    """A golden object, prepared at every scale. It begins at `origin` in the golden cut."""

    def __init__(self, sought: Sought) -> None:
        """Compute what every search shares."""
        reach, weights = sought.reach, np.asarray(sought.weights / np.float32(255), np.float32)
        left, top, width, height = cv2.boundingRect(sought.weights)
        self._factor = small_factor((width, height), reach)
        # It begins with a whole block of the small picture.
        extra_x, extra_y = left % self._factor, top % self._factor
        self.origin = (left - extra_x, top - extra_y)
        self.inside = slice(self.origin[1], top + height), slice(self.origin[0], left + width)
        self.relief = Relief(sought.golden, weights)
        self.golden = np.ascontiguousarray(self.relief.of(sought.golden)[self.inside])
        self.weights = np.ascontiguousarray(weights[self.inside])
        self._reach, turns = reach, reach.angle_deg > 0
        self._whole = solver.level(self.golden, turns=turns, within=self.weights > _COUNTING)
        half, counts = solver.half(self.golden), solver.half(self.weights)
        self._half = solver.level(half, turns=turns, within=counts > _COUNTING)
        small, counts = (solver.shrink(part, self._factor) for part in (self.golden, self.weights))
        self._sweep = Sweep(small, counts, self._factor, reach)

    @property
    def size(self) -> Size:
        """(width, height) of the object."""
        return self.golden.shape[1], self.golden.shape[0]

    def find(self, live: Map) -> tuple[Matrix, float]:
        """The object's matrix and its similarity there."""
        left, top = self.origin
        begun = self._sweep.find(solver.shrink(live, self._factor), (left // self._factor, top // self._factor))
        matrices = self._refined(live, begun), begun, _shift(left, top)
        candidates = [(matrix, self._similarity(live, matrix)) for matrix in matrices]
        best = max(candidates, key=lambda candidate: candidate[1])
        near = self._within_reach(matrices[0]) and candidates[0][1] > best[1] - _ROUNDING
        return candidates[0] if near else max(candidates[1:], key=lambda candidate: candidate[1])

    def _refined(self, live: Map, matrix: Matrix) -> Matrix:
        if min(self.size) >= 2 * _LEAST_HALF_PX:
            halving = block_matrix(2)
            at_half = halving @ matrix @ np.linalg.inv(halving)
            at_half = solver.refine(self._half, solver.half(live), at_half, _HALF_ROUNDS)
            matrix = np.linalg.inv(halving) @ at_half @ halving
        return solver.refine(self._whole, live, matrix, _WHOLE_ROUNDS)

    def _within_reach(self, matrix: Matrix) -> bool:
        """Within what was swept, and a step beyond it: the best of the small picture may be its last."""
        pose = matrix_pose(np.linalg.inv(_shift(*self.origin)) @ matrix, self.size)
        return (
            abs(pose.dx_px) <= self._reach.across_px + self._factor
            and abs(pose.dy_px) <= self._reach.down_px + self._factor
            and abs(pose.angle_deg) <= self._reach.angle_deg + ANGLE_STEP_DEG
        )

    def _similarity(self, live: Map, matrix: Matrix) -> float:
        """Twice the covariance over the sum of variances, weighted: a correlation that a fainter object lowers, too."""
        share, there = self.weights / self.weights.sum(), _warp(live, matrix, self.size)
        golden = self.golden - (share * self.golden).sum()
        there = there - (share * there).sum()
        both = float((share * (np.square(golden) + np.square(there))).sum())
        return 2 * float((share * golden * there).sum()) / both if both > 0 else 0.0


def _warp(live: Map, matrix: Matrix, size: Size) -> Map:
    """The object from a live map, laid upright; 0 where it lies outside."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(live, matrix[:2], size, flags=flags), np.float32)


def _shift(dx: float, dy: float) -> Matrix:
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])
