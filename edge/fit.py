"""Make a Registration from good images: which of them is the golden picture, and what it takes to lay them over it.

1. The start is the image most like the others where it lies.
2. All are aligned to it; the golden picture is one of the more similar half, with the pose nearest to the middle.
3. Some are laid over it by each method, and what differs is measured at a finer scale than the solver works at: the
   cheapest method that is about as good as the best is taken.
4. Where that leaves much unlike, the parts are laid by their silhouettes (`fit_part.py`), which is taken where it makes
   them clearly more alike. `max_shift` and `max_angle_deg` do not apply to it.
5. Goods that do not lie over each other by any method are said to be in free pose, and none is used. Nor is one by which
   some of them lie beyond the recipe's range: new parts would, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import solver
from edge.check_recipes import RegistrationRecipe
from edge.errors import GoldlineError
from edge.fit_part import PartFit, fit_part
from edge.geometry import Image, Matrix, Size, block_matrix, decimate, pose_matrix
from edge.records import Pose
from edge.register import (
    SIMILARITY_MARGIN,
    Alignment,
    Method,
    Registration,
    align,
    align_grey,
    working_factor,
    working_grey,
)

# Below half of the structure in common (correlation), goods are as unlike as two pictures of a texture.
_FREE_BELOW = 0.5
# Images that the golden picture and the method are chosen on: enough for a median, and quick for hundreds.
_CHOOSE_ON = 40
# Long side at which methods are compared, px: what the checks look at is rarely finer.
_COMPARE_PX = 1280
# The simpler method is kept while it leaves no more than this much more unexplained.
_WORSE_BY = 1.1
# Silhouettes are looked at where the rest leaves parts less alike than this (a fixture that lies still may hide a part
# that does not), and taken where they make the part itself more alike by so much, and at least so much.
_LOOK_BELOW, _CLEARLY, _LEAST_ALIKE = 0.9, 0.15, 0.3
# More good images than this share, and more than one, beyond the range that parts may lie in: it is no mishap, but how they
# lie. What repeats itself, woven cloth or a wheel of six spokes, is laid over itself by the next thread or spoke.
_BEYOND_SHARE = 0.05
_METHODS: tuple[Method, ...] = ("none", "shift", "rigid")


@dataclass(frozen=True)
class FitReport:
    """A registration, the index of the golden image, each image's similarity to it, and how it was chosen."""

    registration: Registration
    golden_index: int
    similarities: NDArray[np.float64]
    reasons: tuple[str, ...]

    @property
    def registered(self) -> bool:
        """Whether the goods lie over each other."""
        return self.registration.registered


def fit(images: Sequence[Image], recipe: RegistrationRecipe) -> FitReport:
    """From good images, [height, width, 3] BGR each, at least one. They are read one at a time, some twice.

    Raises GoldlineError without images, and for images of several sizes that the recipe wants aligned.
    """
    sizes, greys = _survey(images)
    start = _most_central(greys)
    if recipe.method == "silhouette":
        return _by_silhouette(images, _wanted(_lay_parts(images, sizes, None)), f"{recipe.method}: the recipe says so")
    if len(set(sizes)) > 1:
        return _fit_sizes(images, sizes, greys[start], start, recipe)
    golden = _choose_golden(greys, _registration("rigid", greys[start], sizes[start], recipe))
    best = _registration("rigid", greys[golden], sizes[golden], recipe)
    method, reason = _choose_method(images, golden, best, recipe)
    tried = _Tried(
        replace(best, method=method), golden, [align_grey(replace(best, method=method), grey) for grey in greys]
    )
    why_not = ""
    if recipe.method == "auto" and (tried.typical < _LOOK_BELOW or tried.lie_anyhow):
        without = None if tried.lie_anyhow else _Otherwise(tried.registration, greys)
        found = _lay_parts(images, sizes, without)
        why_not = _why_not(found)
        if isinstance(found, PartFit) and not why_not:
            return _by_silhouette(images, found, _praise(found))
    return tried.report(recipe, reason, why_not)


@dataclass(frozen=True)
class _Tried:
    """How good images lie by a registration that refuses none for being unlike."""

    registration: Registration
    golden: int
    alignments: Sequence[Alignment]

    @property
    def similarities(self) -> NDArray[np.float64]:
        return np.array([alignment.similarity for alignment in self.alignments])

    @property
    def typical(self) -> float:
        return float(np.median(self.similarities))

    @property
    def beyond(self) -> int:
        """Images beyond the recipe's range."""
        return sum(not alignment.accepted for alignment in self.alignments)

    @property
    def lie_anyhow(self) -> bool:
        return self.beyond > max(1, _BEYOND_SHARE * len(self.alignments))

    def report(self, recipe: RegistrationRecipe, reason: str, why_not: str) -> FitReport:
        """The registration, unless parts do not lie over each other by it."""
        registration, method = self.registration, self.registration.method
        if recipe.method == "auto" and self.lie_anyhow:
            found = (
                f"{self.beyond} of {len(self.alignments)} good images, laid by {method}, lie beyond the recipe's range"
            )
        elif recipe.method in ("auto", "none") and self.typical < _FREE_BELOW:
            found = f"the good images do not lie over each other (typical similarity {self.typical:.2f})"
        else:
            least = SIMILARITY_MARGIN * float(np.quantile(self.similarities, 0.05))
            return FitReport(replace(registration, min_similarity=least), self.golden, self.similarities, (reason,))
        return _free(registration, self.golden, self.similarities, f"free pose: {found}{why_not}")


class _Otherwise:
    """How images lie over each other by another registration, at the working scale."""

    def __init__(self, registration: Registration, greys: Sequence[Image]) -> None:
        self._registration, self._greys = registration, greys
        self._known: dict[int, Matrix] = {}

    def __call__(self, first: int, second: int) -> Matrix:
        """[3, 3]: pixels of one image to those of another."""
        return self._matrix(second) @ np.linalg.inv(self._matrix(first))

    def _matrix(self, index: int) -> Matrix:
        if index not in self._known:
            pose = align_grey(self._registration, self._greys[index]).pose
            size = self._registration.image_size
            self._known[index] = _at_scale(pose, size, working_factor(size))
        return self._known[index]


def _fit_sizes(
    images: Sequence[Image], sizes: Sequence[Size], grey: Image, start: int, recipe: RegistrationRecipe
) -> FitReport:
    """Images that are not all of one size: parts at one distance may still be laid by their silhouettes."""
    reason = _explain_sizes(sizes, recipe)
    found = _lay_parts(images, sizes, None) if recipe.method == "auto" else "the recipe says so"
    why_not = _why_not(found)
    if isinstance(found, PartFit) and not why_not:
        return _by_silhouette(images, found, _praise(found))
    return _free(_registration("none", grey, sizes[start], recipe), start, np.ones(len(images)), reason + why_not)


def _lay_parts(images: Sequence[Image], sizes: Sequence[Size], without: _Otherwise | None) -> PartFit | str:
    width, height = (max(sides) for sides in zip(*sizes, strict=True))
    return fit_part(images, _spread_out(len(images)), (width, height), without)


def _wanted(found: PartFit | str) -> PartFit:
    if isinstance(found, PartFit):
        return found
    raise GoldlineError(f'registration.method = "silhouette": {found}')


def _why_not(found: PartFit | str) -> str:
    """Nothing where silhouettes are worth it."""
    if isinstance(found, str):
        return f"; silhouettes do not help: {found}"
    if found.typical < max(_LEAST_ALIKE, found.without + _CLEARLY):
        return f"; silhouettes do not help: the parts then have {found.typical:.2f}, and {found.without:.2f} without"
    return ""


def _praise(found: PartFit) -> str:
    without = f", and {found.without:.2f} without" if found.without > 0 else ""
    return f"silhouette: the part, laid by its outline, has a typical similarity of {found.typical:.2f}{without}"


def _by_silhouette(images: Sequence[Image], found: PartFit, reason: str) -> FitReport:
    """Nothing that can be laid is refused for being unlike: that is for the checks to say."""
    similarities = np.array([align(found.registration, image).similarity for image in images])
    return FitReport(found.registration, found.golden_index, similarities, (reason,))


def _survey(images: Sequence[Image]) -> tuple[list[Size], list[Image]]:
    """Each image's (width, height) and its working grey picture."""
    sizes: list[Size] = []
    greys: list[Image] = []
    for image in images:
        sizes.append((image.shape[1], image.shape[0]))
        greys.append(working_grey(image, sizes[-1]))
    if not greys:
        raise GoldlineError("registration needs at least one good image")
    return sizes, greys


def _explain_sizes(sizes: Sequence[Size], recipe: RegistrationRecipe) -> str:
    """What it means that the images are not all of one size."""
    first, second, *_ = sorted(set(sizes))
    found = f"{first[0]}x{first[1]} and {second[0]}x{second[1]}"
    if recipe.method in ("shift", "rigid"):
        raise GoldlineError(f'registration.method = "{recipe.method}" needs images of one size; these have {found}')
    return f"free pose: the images have different sizes, {found} among them"


def _registration(method: Method, golden: Image, image_size: Size, recipe: RegistrationRecipe) -> Registration:
    return Registration(method, True, golden, image_size, recipe.max_shift, recipe.max_angle_deg, min_similarity=-1.0)


def _free(registration: Registration, golden: int, similarities: NDArray[np.float64], reason: str) -> FitReport:
    return FitReport(replace(registration, method="none", registered=False), golden, similarities, (reason,))


def _most_central(greys: Sequence[Image]) -> int:
    """The image most like the others as they lie, seen at 32 x 32."""
    small = np.stack([cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).ravel() for grey in greys])
    flat = small - small.mean(axis=1, keepdims=True)
    flat = flat / np.maximum(1e-6, np.linalg.norm(flat, axis=1, keepdims=True))
    return int(np.argmax(np.median(flat @ flat.T, axis=0)))


def _spread_out(count: int) -> list[int]:
    """Up to _CHOOSE_ON of `count` indices, evenly."""
    chosen = min(count, _CHOOSE_ON)
    return [position * count // chosen for position in range(chosen)]


def _choose_golden(greys: Sequence[Image], start: Registration) -> int:
    """Of the half that is most like the start image, the one with the pose nearest to the middle."""
    chosen = _spread_out(len(greys))
    found = [align_grey(start, greys[index]) for index in chosen]
    similarities = np.array([alignment.similarity for alignment in found])
    places = np.array([_place(alignment.pose, start.image_size) for alignment in found])
    distances = np.linalg.norm(places - np.median(places, axis=0), axis=1)
    distances[similarities < np.median(similarities)] = np.inf
    return chosen[int(np.argmin(distances))]


def _place(pose: Pose, image_size: Size) -> tuple[float, float, float]:
    """A pose as three lengths: the shift, and how far the turn moves the end of the longer side, px."""
    return pose.dx_px, pose.dy_px, np.radians(pose.angle_deg) * max(image_size) / 2


def _choose_method(
    images: Sequence[Image], golden: int, registration: Registration, recipe: RegistrationRecipe
) -> tuple[Method, str]:
    """The cheapest method that explains about as much as the best does, or the recipe's; and why."""
    if recipe.method != "auto":
        return recipe.method, f"{recipe.method}: the recipe says so"
    others = [index for index in _spread_out(len(images)) if index != golden]
    if not others:
        return "rigid", "rigid: one image does not show how parts lie"
    unexplained = _unexplained(images, golden, others, registration)
    best = min(unexplained.values())
    method: Method = next(method for method in _METHODS if unexplained[method] <= best * _WORSE_BY)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in unexplained.items())
    return method, f"{method}: share of the golden picture's structure left unexplained: {figures}"


def _unexplained(
    images: Sequence[Image], golden: int, others: Sequence[int], registration: Registration
) -> dict[Method, float]:
    """For each method, the median over images of 1 - correlation with the golden picture, at the finer scale."""
    factor = max(1, -(-max(registration.image_size) // _COMPARE_PX))
    reference = _structure(images[golden], factor)
    rows: list[list[float]] = []
    candidates = [replace(registration, method=method) for method in _METHODS]
    for index in others:
        image = images[index]
        live = _structure(image, factor)
        poses = [align(candidate, image).pose for candidate in candidates]
        matrices = [_at_scale(pose, registration.image_size, factor) for pose in poses]
        rows.append([1 - solver.similarity(reference, live, matrix) for matrix in matrices])
    return dict(zip(_METHODS, (float(value) for value in np.median(rows, axis=0)), strict=True))


def _structure(image: Image, factor: int) -> solver.Map:
    return solver.structure(decimate(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), factor))


def _at_scale(pose: Pose, image_size: Size, factor: int) -> Matrix:
    blocks = block_matrix(factor)
    return blocks @ pose_matrix(pose, image_size) @ np.linalg.inv(blocks)
