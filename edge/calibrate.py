"""From scores of good images by references that exclude them, to scales, limits and the images that look odd.

1. Each check's leave-one-image-out scores give its scale: the median, and the spread of the upper half.
2. The largest standardised score of each image is what the line would have seen of it, by scales that it had no share in.
3. Odd images, far above the rest, are named and set aside, and cost their share of the promise.
4. The review limit is a score near the top: of n exchangeable good images and one more, the one more reaches the r-th
   largest with probability r / (n + 1) (conformal prediction: Vovk, Gammerman, Shafer, 2005). r is as large as
   TARGET_RATE allows, at least 1, and more than the images set aside.
5. The fail limit extrapolates the tail above the upper quartile as an exponential. It promises nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.judge import Calibration, CheckScale
from edge.recipe import LimitsRecipe
from edge.records import Limits

Scores = NDArray[np.floating]

# The spread is taken upwards, where false calls come from, and at a rank that five images still have.
UPPER_QUANTILE = 0.9
NORMAL_UPPER_QUANTILE = 1.2816
# A spread below this share of the median is an accident of few or equal images.
LEAST_RELATIVE_SPREAD = 0.03
# The tail the fail limit extrapolates, and the false-call rate it extrapolates to.
TAIL_SHARE = 0.25
FAIL_RATE = 1e-4
# An image this many deviations (1.4826 MAD) above the median is odd; skewed but healthy sets reach 6.
ODD_DEVIATIONS = 8.0
MAD_TO_DEVIATION = 1.4826
# More odd images than this share (and than one) are not odd: the set is simply wide.
MOST_ODD_SHARE = 0.05
# The rate of false calls that is aimed at: what a line signs. The largest good score instead, which 99 images and fewer
# leave no choice about, is set by the one oddest good image, and lets more bad parts pass than any other rule.
TARGET_RATE = 0.01
# Fewer images than this do not show what is usual.
LEAST_TO_BE_ODD = 8
# Below this many images no false-call rate is promised: a limit from so few is an accident.
LEAST_IMAGES = 5
# Images closer than this share of the usual distance to the nearest other show the same part in the same place.
DUPLICATE_SHARE = 0.25


@dataclass(frozen=True)
class Outcome:
    """The calibration, the largest standardised score of each image, and the images set aside."""

    calibration: Calibration
    overall: Scores
    odd: tuple[int, ...]


def scale_of(scores: Scores, least_spread: float) -> CheckScale:
    """Median and upper spread of one check's scores."""
    median = float(np.median(scores))
    spread = (float(np.quantile(scores, UPPER_QUANTILE)) - median) / NORMAL_UPPER_QUANTILE
    return CheckScale(median=median, spread=max(spread, LEAST_RELATIVE_SPREAD * abs(median), least_spread))


def calibrate(scores: Mapping[str, Scores], least_spreads: Mapping[str, float], images: int) -> Outcome:
    """Scales and limits from each check's leave-one-image-out scores, [n] each, in the same order.

    `images` is how many real images stand behind them. Without any check there is nothing to learn: of limits that are
    1 and 2, those that say yes or no make use.
    """
    if not scores:
        empty = Calibration(scales={}, limits=Limits(review=1.0, fail=2.0), images=images, rate=None)
        return Outcome(empty, np.empty(0), ())
    scales = {name: scale_of(values, least_spreads[name]) for name, values in scores.items()}
    overall = largest_unseen(list(scores.values()), [least_spreads[name] for name in scores])
    odd = odd_images(overall)
    rank = max(len(odd) + 1, math.floor(TARGET_RATE * (images + 1)))
    calibration = Calibration(
        scales=scales,
        limits=limits_of(np.sort(np.delete(overall, odd)), rank - len(odd)),
        images=images,
        rate=rank / (images + 1) if images >= LEAST_IMAGES else None,
        goods=tuple(sorted(float(score) for score in overall)),
    )
    return Outcome(calibration, overall, odd)


def largest_unseen(
    scores: Sequence[Scores], least_spreads: Sequence[float], lots: NDArray[np.str_] | None = None
) -> Scores:
    """The largest of each image's standardised scores [n] each, by scales without it, or without its lot.

    A share in the scales of many would bring each image's largest closer than a new one's comes: of 12 images and four
    scores twice as many new ones would exceed all of them as should. The order by a single score depends on no scale.
    """
    groups = np.arange(len(scores[0])) if lots is None else np.unique(lots, return_inverse=True)[1]
    share_all = len(scores) == 1 or len(np.unique(groups)) == 1
    groups = np.zeros_like(groups) if share_all else groups
    found = np.full(len(groups), -np.inf)
    for one, least in zip(scores, least_spreads, strict=True):
        for group in np.unique(groups):
            own = groups == group
            scale = scale_of(one if share_all else one[~own], least)
            found[own] = np.maximum(found[own], (one[own] - scale.median) / scale.spread)
    return found


def limits_of(overall: Scores, rank: int = 1) -> Limits:
    """The good score of this rank from the top for review, the extrapolated tail for fail. `overall` is sorted."""
    review = float(overall[-rank])
    # One spread is what a single image's limits are apart, where there is no tail to measure.
    return Limits(review=review, fail=max(extrapolated(overall, FAIL_RATE), review + max(_tail(overall)[1], 1.0)))


def extrapolated(overall: Scores, rate: float) -> float:
    """The score that this share of good parts would exceed, were their tail exponential. It promises nothing."""
    threshold, excess = _tail(overall)
    return threshold + excess * float(np.log(TAIL_SHARE / rate))


def _tail(overall: Scores) -> tuple[float, float]:
    """The upper quartile, and the mean by which what lies above exceeds it."""
    threshold = float(np.quantile(overall, 1 - TAIL_SHARE))
    above = overall[overall > threshold]
    return threshold, float((above - threshold).mean()) if len(above) else 0.0


def conformal(goods: Sequence[float], rate: float) -> tuple[float, bool]:
    """The limit that at most this share of good parts reaches, and whether it is extrapolated.

    The score of rank ceil((n + 1)(1 - rate)) among n exchangeable good scores; beyond the largest, the tail's.
    """
    rank = math.ceil((len(goods) + 1) * (1 - rate) - 1e-9)
    if rank <= len(goods):
        return sorted(goods)[max(rank, 1) - 1], False
    return max(extrapolated(np.array(goods), rate), *goods), True


def in_force(calibration: Calibration, wanted: LimitsRecipe) -> Calibration:
    """The calibration with the recipe's own limits, or its rate of false calls. Raises GoldlineError for a contradiction."""
    limits, rate = calibration.limits, calibration.rate
    review, fail = limits.review, limits.fail
    if wanted.false_call_rate is not None and calibration.goods:
        review, is_extrapolated = conformal(calibration.goods, wanted.false_call_rate)
        rate = None if is_extrapolated else wanted.false_call_rate
    if wanted.review is not None:
        review, rate = wanted.review, None
    fail = max(fail, review) if wanted.fail is None else wanted.fail
    if wanted.review is None:
        review = min(review, fail)
    if review > fail:
        raise GoldlineError(f"recipe [limits]: review = {review:g} is above fail = {fail:g}")
    return msgspec.structs.replace(calibration, limits=Limits(review=review, fail=fail), rate=rate)


def odd_images(overall: Scores) -> tuple[int, ...]:
    """Images far above the rest, worst first; at most 5 % of the set or one, and none of a set too small to tell."""
    if len(overall) < LEAST_TO_BE_ODD:
        return ()
    most = max(1, round(len(overall) * MOST_ODD_SHARE))
    centre = float(np.median(overall))
    deviation = MAD_TO_DEVIATION * float(np.median(np.abs(overall - centre)))
    far = [int(i) for i in np.argsort(-overall) if overall[i] > centre + ODD_DEVIATIONS * deviation]
    return tuple(far[:most])


def separation(good: Scores, bad: Scores) -> float:
    """The area under the ROC curve: how often a bad score exceeds a good one, ties as half. Both not empty."""
    values = np.concatenate([good, bad])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[len(good) :].sum() - len(bad) * (len(bad) + 1) / 2) / (len(good) * len(bad)))


def near_duplicates(small: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Pairs of images that are almost the same picture. `small` is [n, ...], registered and reduced."""
    flat = small.reshape(len(small), -1).astype(np.float32)
    if len(flat) < 3:  # nothing to compare the distance of a single pair with
        return []
    squared = (flat**2).sum(1)
    distance = np.sqrt(np.maximum(squared[:, None] + squared[None] - 2 * flat @ flat.T, 0))
    np.fill_diagonal(distance, np.inf)
    usual = float(np.median(distance.min(1)))
    first, second = np.nonzero(np.triu(distance < DUPLICATE_SHARE * usual, k=1))
    return [(int(i), int(j)) for i, j in zip(first, second, strict=True)]
