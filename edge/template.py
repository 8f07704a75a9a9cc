"""The variation model: what every pixel may be, learned from good parts alone.

Each pixel and channel has a bright and a dark tolerance of its own, beside the median of the good parts:

    tolerance = max(absolute, sigmas x spread, edge x gradient)

The spread of the bright side is that of the good parts' values above the median, the dark side's of those below. The
gradient is how much brighter (darker) the brightest (darkest) neighbour is: what a pixel becomes when the part lies
one pixel off, so `edge` is the registration error that is allowed for, in px. After the variation model of HALCON
(MVTec, prepare_variation_model), on medians, so that a bad image among the good ones moves little.

From fewer than eight good parts no spread is learned: the golden picture's own edges decide (`golden.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import golden
from edge.check_recipes import TemplateCheck
from edge.neighbours import second_neighbour

Image = NDArray[np.uint8]
Map = NDArray[np.float32]

# Mean absolute deviation of one half of a normal distribution as standard deviation: sqrt(pi / 2).
_MEAN_TO_SIGMA = 1.2533
# Models learned to judge the good parts without their own vote. Eight leave out an eighth of the parts each.
_FOLDS = 8
# Fewer parts than this do not show what is usual: a spread of seven may be half of what it is.
LEAST_FOR_SPREAD = 8
# Side of what a place is judged by: the furthest that is looked for what explains it, either way.
_UNSEEN_PX = 2 * golden.FAR_PX + 1
# The score is the mean over the worst pixels: few enough for a mark of 3 x 3 to fill them.
_WORST_PIXELS = 5
# What good parts exceed the tolerance of a few by, where a picture is moved by parts of a pixel: a half more than all of it.
_LEAST_OF_FEW = 1.5
# What is new and good, a label or a weld, lies as loosely as this on the next part.
_WIDENED_PX = 3


@dataclass(frozen=True)
class Spread:
    """What a good pixel is by many parts: the median, and the tolerances above and below it in grey levels.

    Each [height, width, 3]; `centre` uint8, `bright` and `dark` float32.
    """

    centre: Image
    bright: Map
    dark: Map

    @cached_property
    def planes(self) -> list["Plane"]:
        """The channels by themselves."""
        limits = [cv2.split(values) for values in (self.centre, 1 / self.bright, -1 / self.dark)]
        return [Plane(*(np.asarray(one) for one in channel)) for channel in zip(*limits, strict=True)]

    def deviation(self, region: Image) -> Map:
        """Of each pixel of a region, [h, w, 3], in its worst channel: [h, w]; 0 is the median, 1 the limit.

        A pixel counts for no more than two of its neighbours do: a line one pixel thin has such neighbours anywhere,
        noise has not.
        """
        channels = zip(self.planes, cv2.split(region), strict=True)
        worst = reduce(cv2.max, [plane.deviation(seen) for plane, seen in channels])
        return np.asarray(cv2.min(worst, second_neighbour(np.asarray(worst, np.float32))), np.float32)


@dataclass(frozen=True)
class Plane:
    """One channel's median, and by what grey levels above and below it become shares of their tolerance; each [h, w]."""

    centre: Image
    bright: Map
    dark: Map

    def deviation(self, seen: cv2.typing.MatLike) -> cv2.typing.MatLike:
        """Of each pixel of one channel [h, w]: one plane at a time stays in the cache."""
        levels = cv2.subtract(seen, self.centre, dtype=cv2.CV_32F)
        return cv2.max(cv2.multiply(levels, self.bright), cv2.multiply(levels, self.dark))


@dataclass(frozen=True)
class VariationModel:
    """What good parts look like, by the spread of many or by the edges of a few."""

    parts: Spread | golden.Golden

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """For an .npz."""
        parts = self.parts
        if isinstance(parts, Spread):
            return {"centre": parts.centre, "bright": parts.bright, "dark": parts.dark}
        return {"centre": parts.centre, "low": parts.low, "high": parts.high, "absolute": np.array(parts.absolute)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "VariationModel":
        """The inverse of `to_arrays`."""
        centre = np.asarray(arrays["centre"], np.uint8)
        if "bright" in arrays:
            return cls(Spread(centre, *(np.asarray(arrays[name], np.float32) for name in ("bright", "dark"))))
        low, high = (np.asarray(arrays[name], np.uint8) for name in ("low", "high"))
        return cls(golden.Golden(centre, low, high, float(arrays["absolute"])))


def learn(stack: Image, check: TemplateCheck) -> VariationModel:
    """The model of good parts laid over each other, [n, height, width, 3] with n >= 1; of a few, the first is golden."""
    return VariationModel(_spread(stack, check) if len(stack) >= LEAST_FOR_SPREAD else _golden(stack, check))


def widen(model: VariationModel, stack: Image) -> VariationModel:
    """The model with tolerances that hold more good parts, [n, height, width, 3], just inside their limits."""
    parts = model.parts
    return VariationModel(_wider(parts, stack) if isinstance(parts, Spread) else parts.widened(stack))


def deviation(model: VariationModel, region: Image, seen: Image | None = None) -> Map:
    """How far each place of a region, [height, width, 3], is off: [height, width]; above 1 it is outside its limits.

    `seen` is [height, width], 0 where the region reaches beyond the live picture and what it shows is made up: that, and
    what lies within reach of it, is not judged.
    """
    found = model.parts.deviation(region)
    if seen is None:
        return found
    return np.asarray(cv2.copyTo(found, cv2.erode(seen, np.ones((_UNSEEN_PX, _UNSEEN_PX), np.uint8))), np.float32)


def score(deviations: Map) -> float:
    """The mean of the worst pixels of a deviation map; above 1 something lies outside its limits."""
    # What exceeds the fifth largest row lies in four rows: sorting those takes a hundredth of the time of the whole map.
    largest = deviations.max(axis=1)
    rows = np.sort(largest)[-_WORST_PIXELS:]
    above = deviations[largest > rows[0]]
    above = np.sort(above[above > rows[0]])[-_WORST_PIXELS:]
    return float((above.sum() + rows[0] * (_WORST_PIXELS - above.size)) / _WORST_PIXELS)


def leave_one_out_scores(stack: Image, check: TemplateCheck, lots: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Each good part's score by a model that it, and its lot where these are given, had no say in: [n].

    Otherwise the parts left out together are neighbours in the stack: pictures taken one after the other are the most
    alike. Of fewer than eight parts none scores less than `_LEAST_OF_FEW`: so few cannot show that a lower limit would do.
    """
    count = len(stack)
    few = count < LEAST_FOR_SPREAD
    scores = np.full(count, _LEAST_OF_FEW, np.float32)
    for held_out in _folds(count, lots):
        if len(held_out) < count:
            rest = np.delete(stack, held_out, axis=0)
            model = VariationModel(_golden(rest, check) if few else _spread(rest, check))
            scores[held_out] = [score(deviation(model, stack[index])) for index in held_out]
    return np.maximum(scores, _LEAST_OF_FEW) if few else scores


def _folds(count: int, lots: Sequence[str] | None) -> list[NDArray[np.intp]]:
    """Indices of the parts left out together."""
    if lots is None:
        return np.array_split(np.arange(count), min(_FOLDS, count))
    named = np.array(lots)
    return [np.flatnonzero(named == lot) for lot in np.unique(named)]


def _golden(stack: Image, check: TemplateCheck) -> golden.Golden:
    return golden.learn(stack, check.absolute)


def _spread(stack: Image, check: TemplateCheck) -> Spread:
    centre = _median(stack)
    above, below = _spreads(stack, centre)
    square = np.ones((3, 3), np.uint8)
    brighter = np.asarray(cv2.dilate(centre, square), np.float32) - centre
    darker = centre - np.asarray(cv2.erode(centre, square), np.float32)
    return Spread(centre, _tolerance(check, above, brighter), _tolerance(check, below, darker))


def _wider(parts: Spread, stack: Image) -> Spread:
    bright, dark = parts.bright, parts.dark
    for image in stack:
        bright = _raised(bright, cv2.subtract(image, parts.centre))
        dark = _raised(dark, cv2.subtract(parts.centre, image))
    return Spread(parts.centre, bright, dark)


def _raised(tolerance: Map, excess: cv2.typing.MatLike) -> Map:
    """A tolerance that holds what exceeds it, also where that lies a little elsewhere on the next part."""
    beyond = np.where(excess > tolerance, excess, 0).astype(np.float32)
    around = cv2.dilate(beyond, np.ones((2 * _WIDENED_PX + 1, 2 * _WIDENED_PX + 1), np.uint8))
    return np.maximum(tolerance, around)


def _tolerance(check: TemplateCheck, spread: Map, gradient: Map) -> Map:
    tolerance = np.maximum(check.sigmas * spread, check.edge * gradient)
    return np.maximum(tolerance, check.absolute).astype(np.float32)


def _median(stack: Image) -> Image:
    """Per pixel, by bits from the highest: keep one where at least half of the values reach it.

    Counting whole images is eight passes over the stack in memory order; sorting 300 takes three times as long.
    """
    median = np.zeros(stack.shape[1:], np.uint8)
    half = len(stack) - len(stack) // 2
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        candidate = median + np.uint8(bit)
        reached = np.zeros(median.shape, np.uint16)
        for image in stack:
            reached += image >= candidate
        median = np.where(reached >= half, candidate, median)
    return median


def _spreads(stack: Image, centre: Image) -> tuple[Map, Map]:
    """Standard deviations above and below the median, each averaged over 3 x 3: few parts say little about a pixel."""
    above, below = np.zeros(centre.shape, np.float32), np.zeros(centre.shape, np.float32)
    for image in stack:
        cv2.accumulate(cv2.subtract(image, centre), above)
        cv2.accumulate(cv2.subtract(centre, image), below)
    scale = 2 * _MEAN_TO_SIGMA / len(stack)  # half of the parts lie on each side
    return _averaged(above * scale), _averaged(below * scale)


def _averaged(spread: Map) -> Map:
    return np.asarray(cv2.blur(spread, (3, 3)), np.float32)
