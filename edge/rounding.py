"""Features in whole steps of one width, as bytes: a processor multiplies these in a quarter of the time of floats.

All channels share one step, so that distances stay Euclidean; each channel is counted from a middle of its own, which is
taken from picture and bank alike and changes no distance. What rounding adds to a squared distance is known on average,
and taken off again.

A bank is held in unsigned bytes or in *narrow* ones, signed and of seven bits. These a processor multiplies a picture's
unsigned bytes with in half the time again. Of eight bits they would overflow where it has no VNNI and adds two products
in 16 bits; 2 * 255 * 64 does not.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.coreset import Floats, Indices, squared_distances

# Steps to either side of the middle, which is the byte 128; and of a narrow bank's, which is 0.
LEVELS, MIDDLE = 127, 128
_NARROW_LEVELS, _NARROW_MIDDLE = 63, 64
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
# Cells whose references are compared for that, spread over the picture; and how many of each are, with all of its others.
_SAMPLED = 100


class Rounding(msgspec.Struct, frozen=True, kw_only=True):
    """`middle` float32 [c] of each channel, and the width of a step."""

    middle: Floats
    step: float

    def levels(self, features: NDArray[np.floating]) -> Floats:
        """Features [..., c] as whole numbers of steps from the middle, -128 to 127: what bytes hold about byte 128."""
        steps = self._steps(features)
        return np.clip(steps, -MIDDLE, LEVELS, out=steps)

    def narrow_levels(self, vectors: Floats) -> Floats:
        """A bank's vectors [..., c] as `levels`, -64 to 63: what signed bytes of seven bits hold."""
        steps = self._steps(vectors)
        return np.clip(steps, -_NARROW_MIDDLE, _NARROW_LEVELS, out=steps)

    def squared(self, steps: Floats) -> Floats:
        """Squared distances from those of levels: without what rounding adds, in the features' own unit."""
        return np.maximum(steps - np.float32(self.noise()), 0) * np.float32(self.step**2)

    def noise(self) -> float:
        """What rounding adds to a squared distance on average, in squared steps."""
        return NOISE * len(self.middle)

    def _steps(self, features: NDArray[np.floating]) -> Floats:
        return np.rint((features.astype(np.float32) - self.middle) / np.float32(self.step))


def rounding_of(vectors: Floats, *, narrow: bool = False) -> Rounding | None:
    """Steps for a bank's vectors [cells, k, c]; None where its references differ by too little to be told in steps.

    Of a narrow bank the outermost steps hold all but a ten-thousandth, as those of pictures reach twice as far.
    """
    middle = vectors.mean((0, 1), dtype=np.float64).astype(np.float32)
    covered = float(np.percentile(np.abs(vectors - middle), _COVERED_PERCENT))
    step = covered / _NARROW_LEVELS if narrow else _BEYOND * covered / LEVELS
    usual = _usual(vectors)
    rounding = Rounding(middle=middle, step=step)
    # Of a single reference nothing is known; its distance to the nearest other is infinite.
    fine = covered > 0 and np.isfinite(usual) and rounding.noise() * rounding.step**2 <= _MOST_NOISE * usual
    return rounding if fine else None


def rounding_of_each(banks: Sequence[Floats], *, narrow: bool = False) -> Sequence[Rounding | None]:
    """Steps for the vectors [cells, k, c] of each bank that one graph compares with: of all of them, or of none."""
    found = [rounding_of(vectors, narrow=narrow) for vectors in banks]
    return [None] * len(found) if None in found else found


def _usual(vectors: Floats) -> float:
    """The squared distance of a vector, of [cells, k, c], to the nearest other of its cell; infinite without another."""
    cells, count = (max(1, length // _SAMPLED) for length in vectors.shape[:2])
    sampled = vectors[::cells]
    chosen: Indices = np.arange(0, vectors.shape[1], count, dtype=np.int64)
    apart = squared_distances(sampled[:, chosen], sampled)
    apart[:, np.arange(len(chosen)), chosen] = np.inf
    return float(np.median(apart.min(2)))
