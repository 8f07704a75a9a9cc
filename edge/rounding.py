"""Features in whole steps of one width, as bytes: a processor multiplies these in a quarter of the time of floats.

All channels share one step, so that distances stay Euclidean; each channel is counted from a middle of its own, which is
taken from picture and bank alike and changes no distance. What rounding adds to a squared distance is known on average,
and taken off again.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.coreset import Floats, squared_distances

# Steps to either side of the middle, which is the byte 128.
LEVELS, MIDDLE = 127, 128
# The outermost steps lie half as far again as all but a ten-thousandth of a bank's numbers: few numbers are far larger than
# the rest, and a step for these would be as wide again. What lies beyond them is set to them. So rounding moved the
# scores of good parts by a twentieth to a tenth of their spread; steps that held 99 % took 2 % from those of deviating ones.
_COVERED_PERCENT, _BEYOND = 99.99, 1.5
# What both sides' rounding adds to a squared distance for each channel, in squared steps: twice the 1/12 of a number that
# is off by anything up to half a step.
NOISE = 1 / 6
# Rounding may add this share to the squared distance of references. Of 152 channels what is left of it is a random 3 % of a
# cell's distance, and a third of a percent of the mean over a score's cells, a tenth of what good parts differ by.
_MOST_NOISE = 0.1
# Cells whose references are compared for that, spread over the picture.
_SAMPLED_CELLS = 100


class Rounding(msgspec.Struct, frozen=True, kw_only=True):
    """`middle` float32 [c] of each channel, and the width of a step."""

    middle: Floats
    step: float

    def levels(self, features: NDArray[np.floating]) -> Floats:
        """Features [..., c] as whole numbers of steps from the middle, -128 to 127: what bytes hold about byte 128."""
        steps = np.rint((features.astype(np.float32) - self.middle) / np.float32(self.step))
        return np.clip(steps, -MIDDLE, LEVELS, out=steps)

    def squared(self, steps: Floats) -> Floats:
        """Squared distances from those of levels: without what rounding adds, in the features' own unit."""
        return np.maximum(steps - np.float32(self.noise()), 0) * np.float32(self.step**2)

    def noise(self) -> float:
        """What rounding adds to a squared distance on average, in squared steps."""
        return NOISE * len(self.middle)


def rounding_of(vectors: Floats) -> Rounding | None:
    """Steps for a bank's vectors [cells, k, c]; None where its references differ by too little to be told in steps."""
    cells, count = vectors.shape[:2]
    middle = vectors.mean((0, 1), dtype=np.float64).astype(np.float32)
    reach = _BEYOND * float(np.percentile(np.abs(vectors - middle), _COVERED_PERCENT))
    sampled = vectors[:: max(1, cells // _SAMPLED_CELLS)]
    apart = squared_distances(sampled, sampled)
    apart[:, np.arange(count), np.arange(count)] = np.inf
    usual = float(np.median(apart.min(2)))
    rounding = Rounding(middle=middle, step=reach / LEVELS)
    # Of a single reference nothing is known; its distance to the nearest other is infinite.
    fine = reach > 0 and np.isfinite(usual) and rounding.noise() * rounding.step**2 <= _MOST_NOISE * usual
    return rounding if fine else None
