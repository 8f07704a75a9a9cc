"""From scores of good images by references that exclude them, to scales, limits and the images that look odd.

1. Each check's leave-one-image-out scores give its scale: the median, and the spread of the upper half.
2. The largest standardised score of each image is what the line would have seen of it.
3. Odd images, far above the rest, are named and set aside, and cost their share of the promise.
4. The review limit is the largest score left: of n exchangeable good images and one more, the one more is the largest
   with probability 1 / (n + 1) (conformal prediction: Vovk, Gammerman, Shafer, 2005). k set aside: (k + 1) / (n + 1).
5. The fail limit extrapolates the tail above the upper quartile as an exponential. It promises nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.judge import Calibration, CheckScale, standardise
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

    `images` is how many real images stand behind them.
    """
    scales = {name: scale_of(values, least_spreads[name]) for name, values in scores.items()}
    overall = np.max([[standardise(scales[name], float(s)) for s in scores[name]] for name in scales], axis=0)
    odd = odd_images(overall)
    kept = np.delete(overall, odd)
    calibration = Calibration(
        scales=scales,
        limits=limits_of(kept),
        images=images,
        rate=(len(odd) + 1) / (images + 1) if images >= LEAST_IMAGES else None,
    )
    return Outcome(calibration, overall, odd)


def limits_of(overall: Scores) -> Limits:
    """The largest good score for review, the extrapolated tail for fail."""
    review = float(overall.max())
    threshold = float(np.quantile(overall, 1 - TAIL_SHARE))
    above = overall[overall > threshold]
    excess = float((above - threshold).mean()) if len(above) else 0.0
    # One spread is what a single image's limits are apart, where there is no tail to measure.
    fail = threshold + excess * float(np.log(TAIL_SHARE / FAIL_RATE))
    return Limits(review=review, fail=max(fail, review + max(excess, 1.0)))


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
