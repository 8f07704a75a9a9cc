"""The variation model: what every pixel may be, learned from good parts alone.

Each pixel and channel has a bright and a dark tolerance of its own, beside the median of the good parts:

    tolerance = max(absolute, sigmas x spread, edge x gradient)

The spread of the bright side is that of the good parts' values above the median, the dark side's of those below. The
gradient is how much brighter (darker) the brightest (darkest) neighbour is: what a pixel becomes when the part lies
one pixel off, so `edge` is the registration error that is allowed for, in px. With one good part there is no spread
and the other two decide. After the variation model of HALCON (MVTec, prepare_variation_model), on medians, so that a
bad image among the good ones moves little.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.recipe import TemplateCheck

Image = NDArray[np.uint8]
Map = NDArray[np.float32]

# Mean absolute deviation of one half of a normal distribution as standard deviation: sqrt(pi / 2).
_MEAN_TO_SIGMA = 1.2533
# Models learned to judge the good parts without their own vote. Eight leave out an eighth of the parts each.
_FOLDS = 8
_NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2))
# The score is the mean over the worst pixels: few enough for a mark of 3 x 3 to fill them.
_WORST_PIXELS = 5


@dataclass(frozen=True)
class VariationModel:
    """What a good pixel is: the median, and the tolerances above and below it in grey levels.

    Each [height, width, 3]; `centre` uint8, `bright` and `dark` float32.
    """

    centre: Image
    bright: Map
    dark: Map


def learn(stack: Image, check: TemplateCheck) -> VariationModel:
    """The model of good parts laid over each other, [n, height, width, 3] with n >= 1."""
    centre = _median(stack)
    above, below = _spreads(stack, centre)
    square = np.ones((3, 3), np.uint8)
    brighter = np.asarray(cv2.dilate(centre, square), np.float32) - centre
    darker = centre - np.asarray(cv2.erode(centre, square), np.float32)
    return VariationModel(centre, _tolerance(check, above, brighter), _tolerance(check, below, darker))


def deviation(model: VariationModel, region: Image) -> Map:
    """How far each pixel of a region, [height, width, 3], is off in its worst channel: [height, width], in tolerances.

    0 is the median, 1 the limit. A pixel counts for no more than two of its neighbours do: a line one pixel thin has
    such neighbours anywhere, noise has not.
    """
    above = cv2.divide(cv2.subtract(region, model.centre), model.bright, dtype=cv2.CV_32F)
    below = cv2.divide(cv2.subtract(model.centre, region), model.dark, dtype=cv2.CV_32F)
    blue, green, red = cv2.split(cv2.max(above, below))
    worst = cv2.max(cv2.max(blue, green), red)
    return np.minimum(worst, _second_neighbour(np.asarray(worst, np.float32)))


def score(deviations: Map) -> float:
    """The mean of the worst pixels of a deviation map; above 1 something lies outside its limits."""
    flat = deviations.ravel()
    worst = np.partition(flat, flat.size - _WORST_PIXELS)[-_WORST_PIXELS:]
    return float(worst.mean())


def leave_one_out_scores(stack: Image, check: TemplateCheck) -> NDArray[np.float32]:
    """Each good part's score by a model it had no say in, [n]. Raises GoldlineError for fewer than two parts.

    The parts left out together are neighbours in the stack: pictures taken one after the other are the most alike.
    """
    count = len(stack)
    if count < 2:
        raise GoldlineError("one good image cannot be judged by the others; two or more are needed")
    scores = np.empty(count, np.float32)
    for held_out in np.array_split(np.arange(count), min(_FOLDS, count)):
        model = learn(np.delete(stack, held_out, axis=0), check)
        scores[held_out] = [score(deviation(model, stack[index])) for index in held_out]
    return scores


def _second_neighbour(values: Map) -> Map:
    """The second largest of each value's eight neighbours; beyond the border there are zeros."""
    height, width = values.shape
    padded = np.pad(values, 1)
    first, second = np.zeros_like(values), np.zeros_like(values)
    for dy, dx in _NEIGHBOURS:
        neighbour = padded[dy : dy + height, dx : dx + width]
        np.maximum(second, np.minimum(first, neighbour), out=second)
        np.maximum(first, neighbour, out=first)
    return second


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
