"""The frame gate: a picture that no check can judge is said to be so before any check sees it.

Held against what the good pictures were: how much of it is black or saturated, and how sharp it is. The margins are
wide, because a missing or foreign object is the checks' business and must come through.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

# Grey levels that hold no picture: sensor noise below, clipping above.
_BLACK, _WHITE = 10, 250
# A part may cover most of what is not black in a good picture, and only a cover or a dead lamp leaves less than this.
_DARK_MARGIN = 0.95
# Glare that blinds leaves less than this share of what was not saturated; a bright object leaves more.
_BRIGHT_MARGIN = 0.9
# Blur takes away the fine structure and leaves the coarse; a missing object takes both. An eighth of the goods' ratio
# is left by a blur of some three pixels; what is less blurred is the checks' to see.
_SHARPNESS_MARGIN = 0.125
# What rounding, of the channels and of their grey, adds to the mean square of a Laplacian: its squared weights (20)
# times 1/12 and about half as much again.
_ROUNDING = 2.5
# Blocks of this many pixels are what blur leaves.
_COARSE_PX = 8


@dataclass(frozen=True)
class Measured:
    """Shares of black and of saturated pixels, and the sharpness: fine structure for each grey level of coarse contrast."""

    black: float
    saturated: float
    sharpness: float


@dataclass(frozen=True)
class GateLimits:
    """Shares of black and of saturated pixels not to exceed, the least sharpness, and the usual one."""

    black: float
    saturated: float
    sharpness: float
    usual_sharpness: float


def limits(goods: Sequence[Measured]) -> GateLimits:
    """Limits from what good pictures of one region, one at least, are as pictures."""
    measured = np.array([astuple(one) for one in goods])
    black, saturated = measured[:, :2].max(axis=0)
    return GateLimits(
        black=float(1 - (1 - black) * (1 - _DARK_MARGIN)),
        saturated=float(1 - (1 - saturated) * (1 - _BRIGHT_MARGIN)),
        sharpness=float(measured[:, 2].min() * _SHARPNESS_MARGIN),
        usual_sharpness=float(np.median(measured[:, 2])),
    )


def check(limits: GateLimits, region: Image) -> str | None:
    """Why this picture, [height, width, 3], cannot be judged; None when it can."""
    return refusal(limits, measure(region))


def refusal(limits: GateLimits, measured: Measured) -> str | None:
    """Why a picture that measures so cannot be judged; None when it can."""
    if measured.black > limits.black:
        return f"too dark: {measured.black:.0%} of the picture is black, {limits.black:.0%} is the limit"
    if measured.saturated > limits.saturated:
        return f"too bright: {measured.saturated:.0%} of the picture is saturated, {limits.saturated:.0%} is the limit"
    if measured.sharpness < limits.sharpness:
        return f"blurred: sharpness {measured.sharpness:.2f}, at least {limits.sharpness:.2f} is needed"
    return None


def measure(image: Image) -> Measured:
    """What a region, [height, width, 3], is as a picture."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    black = np.count_nonzero(grey < _BLACK) / grey.size
    saturated = np.count_nonzero(grey > _WHITE) / grey.size
    fine = math.sqrt(max(0.0, cv2.norm(cv2.Laplacian(grey, cv2.CV_16S)) ** 2 / grey.size - _ROUNDING))
    blocks = (max(1, grey.shape[1] // _COARSE_PX), max(1, grey.shape[0] // _COARSE_PX))
    coarse = float(cv2.meanStdDev(cv2.resize(grey, blocks, interpolation=cv2.INTER_AREA))[1][0, 0])
    # One grey level: a flat picture has no contrast to compare with.
    return Measured(black, saturated, fine / (1 + coarse))
