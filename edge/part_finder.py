"""Lays the golden picture over a part that lies at any angle: from its silhouette to the pose.

1. The golden picture is tried at the live axis and at its reverse; where the part is nearly round, at the angles at
   which the pictures agree in polar coordinates too (a circular correlation).
2. Each is also moved along and across to where it fits best, which a missing or foreign piece, that shifts the centre,
   does not disturb, and refined (`solver.py`).
3. Taken is what makes the pictures and their silhouettes most alike: of 120 drawn screws the pictures alone turned
   five the wrong way round, with their silhouettes none.

All is at the working scale. Matrices are [3, 3] and map golden to live pixels.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import solver
from edge.geometry import Image, Matrix, block_matrix, shift_matrix
from edge.silhouette import Silhouette, laid, measure
from edge.solver import Map

# Compared is what lies within this many px of the golden silhouette: its outline, and none of the background's noise.
_RIM_PX = 3
# Longest side of the maps on which candidates are tried, px, and how far the centre may be off, as a share of it.
_COARSE_PX, _ROOM = 64, 0.12
# Below this ratio of length to width the axis may be chance, and angles come from the polar comparison.
_ROUND_BELOW = 1.25
# Angles and radii of that comparison, and how many of its peaks are tried.
_ANGLES, _RADII, _PEAKS = 128, 24, 4
# Candidates refined, and steps at half and at the whole scale, at most.
_REFINED, _HALF_ROUNDS, _WHOLE_ROUNDS = 2, 5, 3
# What the silhouettes' correlation weighs beside the structures'. A repeated pattern, like a thread, is as alike one
# period on, which the outline is not: 5 to 20 all bring the error along a screw from 11 to 8 px of 720 (95 %).
# Of a round part's turn the outline says little: with the same weight chance prefers what the polar comparison guessed
# (1 degree off, not 0.1) to what refining found.
_OUTLINE_WEIGHT, _ROUND_WEIGHT = 5.0, 0.2


class Finder:
    """The golden picture [h, w] grey and its silhouette, prepared to be found at any angle.

    `frame_px` is the long side of the pictures it will be found in, at the working scale.
    """

    def __init__(self, golden: Image, mask: Image, frame_px: int) -> None:
        """Compute what every picture shares."""
        rim = np.asarray(cv2.dilate(mask, np.ones((2 * _RIM_PX + 1,) * 2, np.uint8)))
        self._within, self._outline = rim.astype(np.float32), mask.astype(np.float32)
        self._shape, self._frame_px = measure(mask), frame_px
        self._golden = self.structure(golden)
        self._round = self._shape.length < _ROUND_BELOW * self._shape.width
        self._weight = _ROUND_WEIGHT if self._round else _OUTLINE_WEIGHT
        self._factor = max(1, round(max(golden.shape) / _COARSE_PX))
        self._blocks = block_matrix(self._factor)
        self._small = solver.shrink(self._golden * self._within, self._factor)
        self._small_outline = solver.shrink(self._outline, self._factor)
        self._room = math.ceil(max(self._small.shape) * _ROOM)
        self._radius = math.hypot(*self._small.shape) / 2
        self._rings = _polar(self._small, _at_scale(self._shape.centre, self._factor), self._radius)
        self._whole = solver.level(self._golden, turns=True, within=rim > 0)
        self._half = solver.level(solver.half(self._golden), turns=True, within=solver.half(self._within) > 0.5)

    def structure(self, grey: Image) -> Map:
        """A picture's, as the golden one's was made."""
        return solver.structure(grey, self._frame_px)

    def find(self, live: Map, found: Silhouette) -> tuple[Matrix, float]:
        """Where the golden picture lies in a structure map with a part found in it, and how alike they are there."""
        outline = found.mask.astype(np.float32)
        small, small_outline = solver.shrink(live, self._factor), solver.shrink(outline, self._factor)
        turns = self._turns(small * small_outline, found)
        tried = [self._try(small, small_outline, found, turn) for turn in turns]
        tried.sort(key=lambda one: -one[0])
        half = solver.half(live)
        choices = [
            matrix for _, start, moved in tried[:_REFINED] for matrix in (start, self._refine(half, live, moved))
        ]
        scores = [self.similarity(live, matrix) for matrix in choices]
        alike = [
            score + self._weight * solver.similarity(self._outline, outline, matrix)
            for score, matrix in zip(scores, choices, strict=True)
        ]
        best = int(np.argmax(alike))
        return choices[best], scores[best]

    def similarity(self, live: Map, matrix: Matrix) -> float:
        """Correlation of the structures within the golden silhouette and its rim, -1 to 1."""
        return solver.similarity(self._golden, live, matrix, self._within)

    def _turns(self, part: Map, found: Silhouette) -> list[float]:
        """Turns from the golden picture to try, degrees."""
        turn = found.shape.angle_deg - self._shape.angle_deg
        if not self._round:
            return [turn, turn + 180]
        rings = _polar(part, _at_scale(found.shape.centre, self._factor), self._radius)
        return [turn, turn + 180, *_peaks(self._rings, rings)]

    def _try(self, small: Map, outline: Map, found: Silhouette, turn: float) -> tuple[float, Matrix, Matrix]:
        """How well the golden picture fits at a turn; centre over centre, and moved to where it fits best."""
        matrix = laid(self._shape.centre, found.shape.centre, turn)
        room, (height, width) = self._room, self._small.shape
        coarse = self._blocks @ matrix @ np.linalg.inv(self._blocks)
        around = coarse @ shift_matrix(-room, -room)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(small, around[:2], (width + 2 * room, height + 2 * room), flags=flags)
        _, value, _, place = cv2.minMaxLoc(cv2.matchTemplate(seen, self._small, cv2.TM_CCOEFF_NORMED))
        moved = matrix @ shift_matrix((place[0] - room) * self._factor, (place[1] - room) * self._factor)
        return value + self._weight * solver.similarity(self._small_outline, outline, coarse), matrix, moved

    def _refine(self, half: Map, live: Map, matrix: Matrix) -> Matrix:
        halving = block_matrix(2)
        back = np.linalg.inv(halving)
        refined = back @ solver.refine(self._half, half, halving @ matrix @ back, _HALF_ROUNDS) @ halving
        return solver.refine(self._whole, live, refined, _WHOLE_ROUNDS)


def _polar(small: Map, centre: tuple[float, float], radius: float) -> NDArray[np.complex64]:
    """The spectrum over angles, clockwise, of the map around a centre: [frequencies, radii], weighted by area."""
    flags = cv2.WARP_POLAR_LINEAR | cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS
    rings = cv2.warpPolar(small, (_RADII, _ANGLES), centre, radius, flags)
    weights = np.sqrt(np.arange(_RADII, dtype=np.float32) + 0.5)
    return np.asarray(np.fft.rfft(np.asarray(rings, np.float32) * weights, axis=0), np.complex64)


def _peaks(golden: NDArray[np.complex64], live: NDArray[np.complex64]) -> list[float]:
    """The turns at which two polar maps agree best, degrees, each a local maximum."""
    agreement = np.fft.irfft((live * golden.conj()).sum(axis=1), _ANGLES)
    peaks = np.flatnonzero((agreement >= np.roll(agreement, 1)) & (agreement > np.roll(agreement, -1)))
    best = peaks[np.argsort(-agreement[peaks])][:_PEAKS]
    return [float(index) * 360 / _ANGLES for index in best]


def _at_scale(centre: tuple[float, float], factor: int) -> tuple[float, float]:
    return (centre[0] + 0.5) / factor - 0.5, (centre[1] + 0.5) / factor - 0.5
