"""The statistics of an evaluation: how sure a rate, an area and a difference are, and pixel curves in fixed memory.

Scores are arrays [n], higher is worse; infinite for what could not be judged. Every interval has 95 % confidence.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Interval = tuple[float, float]

# What an interval may miss, half on each side, and the normal quantile that goes with it.
MISSED = 0.05
QUANTILE = 1.959964
# Halvings of [0, 1] until doubles differ no more.
HALVINGS = 55
# AU-PRO is taken up to this share of good pixels called bad, as its authors do.
PRO_LIMIT = 0.3


def rate_interval(count: int, n: int) -> Interval:
    """Clopper and Pearson's exact interval (1934) of a rate of which `count` in `n` were seen. n at least 1."""
    # log of the binomial coefficients (n over 0 … count)
    steps = np.arange(1, count + 1)
    coefficients = np.concatenate([[0.0], np.cumsum(np.log((n - steps + 1) / steps))])

    def at_most(seen: int, rate: float) -> float:
        """The probability that so many or fewer are seen."""
        i = np.arange(seen + 1)
        return float(np.exp(coefficients[: seen + 1] + i * math.log(rate) + (n - i) * math.log1p(-rate)).sum())

    lower = 0.0 if count == 0 else _falls_to(lambda rate: at_most(count - 1, rate), 1 - MISSED / 2)
    upper = 1.0 if count == n else _falls_to(lambda rate: at_most(count, rate), MISSED / 2)
    return lower, upper


def images_to_show(rate: float) -> int:
    """How many images without a single mistake show that mistakes are rarer than `rate`."""
    return math.ceil(math.log(MISSED / 2) / math.log1p(-rate))


def area_interval(area: float, n_good: int, n_bad: int) -> Interval:
    """Newcombe's interval (2006, method 5) of an area under a ROC curve; it has a width at an area of 1, too."""
    mean_count = (n_good + n_bad) / 2 - 1

    def excess(theta: float, seen: float) -> float:
        """How much farther off the seen area is than chance allows, were `theta` the true one."""
        spread = 1 + mean_count * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return seen - theta - QUANTILE * math.sqrt(theta * (1 - theta) * spread / (n_good * n_bad))

    # The spread is the same at theta and 1 - theta, so the upper end is the lower one of the mirrored area.
    lower, mirrored = (_falls_to(lambda theta, seen=seen: excess(theta, seen), 0.0) for seen in (area, 1 - area))
    return lower, 1 - mirrored


def _falls_to(function: Callable[[float], float], level: float) -> float:
    """Where a function that falls on (0, 1) passes a level; 0 where it begins below it."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > level else (low, middle)
    return low


@dataclass(frozen=True)
class Difference:
    """How much larger the first of two areas is; no interval where the images give no spread to estimate one from."""

    value: float
    interval: Interval | None


def area_difference(good: Sequence[Scores], bad: Sequence[Scores]) -> Difference:
    """DeLong, DeLong and Clarke-Pearson (1988): two areas under ROC curves of the same images.

    `good` and `bad` are two arrays each: how the first and the second judged them.
    """
    of_bad = _placements(bad[0], good[0]) - _placements(bad[1], good[1])
    of_good = _placements(good[1], bad[1]) - _placements(good[0], bad[0])
    value = float(of_bad.mean())
    if min(len(of_bad), len(of_good)) < 2:
        return Difference(value, None)
    reach = QUANTILE * math.sqrt(of_bad.var(ddof=1) / len(of_bad) + of_good.var(ddof=1) / len(of_good))
    return Difference(value, (max(-1.0, value - reach), min(1.0, value + reach)) if reach else None)


def _placements(scores: Scores, others: Scores) -> Scores:
    """Of each score, the share of the others that lie below it; ties count half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(others))


def roc(good: Scores, bad: Scores) -> list[tuple[float, float]]:
    """The corners of the ROC curve from (0, 0) to (1, 1): share of good and of bad at or above each score."""
    levels = np.unique(np.concatenate([good, bad]))[::-1]
    shares = [1 - np.searchsorted(np.sort(side), levels, "left") / len(side) for side in (good, bad)]
    points = [(0.0, 0.0), *((float(x), float(y)) for x, y in zip(*shares, strict=True))]
    return [point for place, point in enumerate(points) if not _on_the_way(points, place)]


def _on_the_way(points: Sequence[tuple[float, float]], place: int) -> bool:
    """True for a point between two others straight below and above it, or straight left and right of it."""
    if place in (0, len(points) - 1):
        return False
    return any(points[place - 1][axis] == points[place][axis] == points[place + 1][axis] for axis in (0, 1))


class PixelCurve:
    """Figures over the pixels of any number of images, in fixed memory.

    Values are counted in the 65,536 bins of float16, whose bit patterns, read as integers, are in the order of the
    numbers: curves are exact up to values that agree in their first eleven bits, and ties count half.
    """

    def __init__(self) -> None:
        # Good pixels, bad pixels, and bad pixels each as its share of the connected place it belongs to.
        self._good, self._bad, self._shares = np.zeros((3, 1 << 16))
        self._places = 0

    def add(self, deviation: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """One image's deviation map and its truth, both [h, w]."""
        # 60,000: just inside what float16 can hold.
        bits = np.clip(deviation, -6e4, 6e4).astype(np.float16).view(np.uint16)
        keys = np.where(bits & 0x8000, ~bits, bits | 0x8000)
        self._good += np.bincount(keys.ravel(), minlength=1 << 16)
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        if width:
            self._add_places(keys[y : y + height, x : x + width], mask[y : y + height, x : x + width])

    def _add_places(self, keys: NDArray[np.uint16], mask: NDArray[np.bool_]) -> None:
        """What lies within the smallest rectangle round all that is bad."""
        bad = np.bincount(keys[mask], minlength=1 << 16)
        self._good -= bad
        self._bad += bad
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        areas = np.asarray(stats, np.int64)[:, cv2.CC_STAT_AREA]
        shares = 1 / areas[np.asarray(labels, np.int64)[mask]]
        self._shares += np.bincount(keys[mask], weights=shares, minlength=1 << 16)
        self._places += count - 1

    def area(self) -> float | None:
        """The area under the ROC curve; None while there are no bad or no good pixels."""
        if not self._good.any() or not self._bad.any():
            return None
        below = np.cumsum(self._good) - self._good
        return float((self._bad * (below + self._good / 2)).sum() / (self._good.sum() * self._bad.sum()))

    def au_pro(self) -> float | None:
        """The area under the per-region overlap up to PRO_LIMIT, 1 at best (Bergmann et al., MVTec AD, 2021).

        Every connected place counts alike, however small; None as for `area`.
        """
        if not self._good.any() or not self._places:
            return None
        called = np.concatenate([[0.0], np.cumsum(self._good[::-1]) / self._good.sum()])
        overlap = np.concatenate([[0.0], np.cumsum(self._shares[::-1]) / self._places])
        inside = called < PRO_LIMIT
        x = np.append(called[inside], PRO_LIMIT)
        y = np.append(overlap[inside], np.interp(PRO_LIMIT, called, overlap))
        return float(np.trapezoid(y, x) / PRO_LIMIT)
