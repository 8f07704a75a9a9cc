"""Lay the live image over the golden picture: its pose, whether to trust it, and its brightness.

1. `working_grey`: the picture in grey, whole blocks of pixels averaged, at most 256 px long.
2. The solver finds the pose: coarse by matching, fine by weighted least squares (`solver.py`).
3. The pose is taken only where it makes the pictures more alike than leaving the image as it lies; and judged only
   when it is within the recipe's range and the picture resembles the golden one at all.
4. How much brighter the picture is than the golden one: the median of their ratio, pixel by pixel.

By the method "silhouette", for a part that lies at any angle anywhere in the picture, the golden picture is the part's
own surroundings, upright, and the pose comes from the part's outline (`part_finder.py`). No range limits it: the part
must be in the picture, whole and alone.

Regions follow the whole frame's pose (`geometry.py`). `fit.py` makes a Registration from good images.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import part_finder, silhouette, solver
from edge.geometry import Image, Matrix, Size, block_matrix, decimate, matrix_pose
from edge.records import Pose

Method = Literal["none", "shift", "rigid", "silhouette"]

# Longest side of the working picture, px. The solver finds a pose to some hundredths of these (below 0.1 px of a
# picture of 1280), and a larger one costs time in proportion to its area.
_WORKING_PX = 256
# Steps at half and at the whole working scale, at most; it has mostly converged after four and two.
_HALF_ROUNDS, _WHOLE_ROUNDS = 10, 5
# Share of the golden picture, its steepest pixels, that tells the pose of a part that lies near its place: poses drawn with
# and without the others were right to the same hundredths of a pixel. From further off all count.
_STEEPEST_SHARE = 1 / 3
# A step at half the scale that moves no corner by more than this is the last there: the whole scale takes over.
_HALF_DONE_PX = 0.1
# Below this share of what the least similar twentieth reach it is another thing altogether (0.1 or less, where goods
# reach 0.9 and more); with the main object gone the fixture alone leaves half.
SIMILARITY_MARGIN = 0.3
# Lighting that drifts further than this is a fault, not drift: it is left for the checks and the gate to see.
_GAIN_BOUNDS = (0.7, 1.4)
# Grey levels of which a ratio means something: above noise, below saturation.
_RATIO_RANGE = (17, 239)


@dataclass(frozen=True)
class Registration:
    """How images are laid over the golden picture. All of a camera view's regions share it.

    `golden` is [height, width] grey at the working scale, `scale` working px for each image px, `image_size` the
    (width, height) of the whole golden picture. `registered` is False for goods that do not lie over each other:
    nothing is then aligned or refused. `part` is set for the method "silhouette", to which no bound applies.
    """

    method: Method
    registered: bool
    golden: Image
    image_size: Size
    max_shift: float
    max_angle_deg: float
    min_similarity: float
    part: silhouette.Part | None = None

    @property
    def frame_size(self) -> Size:
        """(width, height) of the camera's images: the golden picture's own, unless that is a part's surroundings."""
        return self.image_size if self.part is None else self.part.frame_size

    @property
    def usual_similarity(self) -> float:
        """What all but a twentieth of good pictures reach; beyond any where that is not known yet."""
        return self.min_similarity / SIMILARITY_MARGIN if self.min_similarity > 0 else math.inf

    @property
    def scale(self) -> float:
        """Working px for each px of the image."""
        return 1 / working_factor(self.frame_size)

    @cached_property
    def aligner(self) -> "Aligner":
        """What is computed once from the golden picture. The first use takes some 20 ms."""
        return Aligner(self)

    @cached_property
    def finder(self) -> part_finder.Finder:
        """The same for a part at any angle."""
        assert self.part is not None
        return part_finder.Finder(self.golden, self.part.mask, round(max(self.frame_size) * self.scale))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays that a .npz holds without pickling."""
        part = self.part
        return {
            **({} if part is None else {"silhouette": part.mask, "frame_size": np.array(part.frame_size)}),
            "golden": self.golden,
            "method": np.array(self.method),
            "registered": np.array(self.registered),
            "image_size": np.array(self.image_size),
            "bounds": np.array([self.max_shift, self.max_angle_deg, self.min_similarity]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "Registration":
        """The inverse of `to_arrays`. Raises KeyError for a missing array."""
        width, height = (int(side) for side in arrays["image_size"].tolist())
        max_shift, max_angle_deg, min_similarity = (float(bound) for bound in arrays["bounds"].tolist())
        return cls(
            method=cast(Method, str(arrays["method"])),
            registered=bool(arrays["registered"]),
            golden=np.asarray(arrays["golden"], np.uint8),
            image_size=(width, height),
            max_shift=max_shift,
            max_angle_deg=max_angle_deg,
            min_similarity=min_similarity,
            part=_part(arrays) if "silhouette" in arrays else None,
        )


@dataclass(frozen=True)
class Alignment:
    """Where the golden picture lies in an image, and how alike the two are there (-1 to 1).

    `problem` says why the image cannot be judged, None when it can; `gain` takes the image to the golden brightness.
    A picture that is not like the golden one has no pose: it is left as it lies.
    """

    pose: Pose
    similarity: float
    gain: float
    problem: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether regions cut at this pose may be judged."""
        return self.problem is None


class Aligner:
    """A golden picture, prepared for the solver at half and at the whole working scale."""

    def __init__(self, registration: Registration) -> None:
        """Compute what every alignment shares."""
        turns = registration.method == "rigid"
        self.structure = solver.structure(registration.golden)
        self.coarse = solver.coarse(
            self.structure, registration.max_shift, registration.max_angle_deg if turns else 0.0
        )
        self.whole = solver.level(self.structure, turns=turns)
        self.steepest = solver.level(self.structure, turns=turns, share=_STEEPEST_SHARE)
        self.half = solver.level(solver.half(self.structure), turns=turns)

    def solve(self, live: solver.Map, usual: float) -> tuple[Matrix, float]:
        """Golden to live working pixels, [3, 3], and the similarity there.

        1. From where the part should lie. Most lie near it, and where that makes the pictures as alike as good ones
           `usual`ly are, nothing else is looked for.
        2. Else from where the coarse match lies as well: what repeats itself matches coarsely at every period, and the
           better of the two is known at half the scale.
        """
        halving, small = block_matrix(2), solver.half(live)
        near = solver.refine(self.half, small, np.eye(3), _HALF_ROUNDS, _HALF_DONE_PX)
        matrix, reached = self._at_whole(self.steepest, live, near)
        if reached >= usual:
            return matrix, reached
        far = halving @ self.coarse.find(live) @ np.linalg.inv(halving)
        far = solver.refine(self.half, small, far, _HALF_ROUNDS, _HALF_DONE_PX)
        alike = [solver.similarity(self.half.golden, small, each) for each in (near, far)]
        return (matrix, reached) if alike[0] >= alike[1] else self._at_whole(self.whole, live, far)

    def _at_whole(self, level: solver.Level, live: solver.Map, at_half: Matrix) -> tuple[Matrix, float]:
        halving = block_matrix(2)
        matrix = solver.refine(level, live, np.linalg.inv(halving) @ at_half @ halving, _WHOLE_ROUNDS)
        return matrix, solver.similarity(self.structure, live, matrix)


def align(registration: Registration, image: Image) -> Alignment:
    """The pose of a live image of `frame_size`, [height, width, 3] BGR. Never raises for a strange picture.

    By the method "silhouette" images may be of any size, at one distance from the camera.
    """
    if registration.part is not None:
        picture = decimate(image, working_factor(registration.frame_size))
        return align_part(registration, picture, (image.shape[1], image.shape[0]))
    return align_grey(registration, working_grey(image, registration.image_size))


def align_part(registration: Registration, picture: Image, frame_size: Size) -> Alignment:
    """`align` by the method "silhouette", for a picture [h, w, 3] at the working scale of a frame (width, height)."""
    assert registration.part is not None
    found = silhouette.find(picture)
    problem = registration.part.problem(found)
    if problem is not None or found is None:
        return Alignment(Pose(), 0.0, 1.0, problem)
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    matrix, similarity = registration.finder.find(registration.finder.structure(grey), found)
    blocks = block_matrix(working_factor(registration.frame_size))
    pose = matrix_pose(np.linalg.inv(blocks) @ matrix @ blocks, registration.image_size, frame_size)
    return Alignment(pose, similarity, _matched_gain(registration.golden, grey, matrix))


def align_grey(registration: Registration, grey: Image) -> Alignment:
    """`align` for a picture that is at the working scale already, by any other method than "silhouette"."""
    if not registration.registered:
        return Alignment(Pose(), 1.0, _gain(np.median(registration.golden), np.median(grey)))
    matrix, similarity = _find(registration, solver.structure(grey))
    gain = _matched_gain(registration.golden, grey, matrix)
    if similarity < registration.min_similarity:
        problem = f"unlike the golden picture: similarity {similarity:.2f}, at least {registration.min_similarity:.2f}"
        return Alignment(Pose(), similarity, gain, problem)
    blocks = block_matrix(working_factor(registration.image_size))
    pose = matrix_pose(np.linalg.inv(blocks) @ matrix @ blocks, registration.image_size)
    return Alignment(pose, similarity, gain, _out_of_range(registration, pose))


def normalise(region: Image, gain: float) -> Image:
    """A region as bright as the golden picture, [height, width, 3]; see Alignment.gain."""
    return np.asarray(cv2.convertScaleAbs(region, alpha=gain), np.uint8)


def working_factor(image_size: Size) -> int:
    """Image px for each working px, along a side."""
    return max(1, math.ceil(max(image_size) / _WORKING_PX))


def working_grey(image: Image, image_size: Size) -> Image:
    """[height, width] grey at the working scale of pictures of `image_size`."""
    return decimate(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), working_factor(image_size))


def _part(arrays: Mapping[str, NDArray[np.generic]]) -> silhouette.Part:
    width, height = (int(side) for side in arrays["frame_size"].tolist())
    return silhouette.Part(np.asarray(arrays["silhouette"], np.uint8), (width, height))


def _find(registration: Registration, live: solver.Map) -> tuple[Matrix, float]:
    """The matrix to use and the similarity there: the identity unless the solver's is better."""
    identity, golden = np.eye(3), registration.aligner.structure
    unmoved = solver.unmoved_similarity(golden, live)
    if registration.method == "none":
        return identity, unmoved
    matrix, moved = registration.aligner.solve(live, registration.usual_similarity)
    return (matrix, moved) if moved > unmoved else (identity, unmoved)


def _out_of_range(registration: Registration, pose: Pose) -> str | None:
    across, down = (registration.max_shift * side for side in registration.image_size)
    if abs(pose.dx_px) > across or abs(pose.dy_px) > down:
        return f"lies {pose.dx_px:+.0f}, {pose.dy_px:+.0f} px off; {across:.0f}, {down:.0f} px is the limit"
    if abs(pose.angle_deg) > registration.max_angle_deg:
        return f"turned by {pose.angle_deg:+.1f} degrees; {registration.max_angle_deg:.1f} is the limit"
    return None


def _matched_gain(golden: Image, grey: Image, matrix: Matrix) -> float:
    """From every fourth row and column: a few thousand ratios, whose median half a picture of faults cannot move."""
    few = golden[::4, ::4]
    size, flags = (few.shape[1], few.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = np.asarray(cv2.warpAffine(grey, (matrix @ np.diag([4.0, 4.0, 1.0]))[:2], size, flags=flags))
    usable = cv2.bitwise_and(cv2.inRange(few, *_RATIO_RANGE), cv2.inRange(warped, *_RATIO_RANGE)) > 0
    ratios = np.divide(few[usable], warped[usable], dtype=np.float32)
    return _gain(solver.median(ratios), 1.0) if len(ratios) else 1.0


def _gain(golden: np.floating | float, live: np.floating | float) -> float:
    low, high = _GAIN_BOUNDS
    return float(np.clip(float(golden) / max(1.0, float(live)), low, high))
