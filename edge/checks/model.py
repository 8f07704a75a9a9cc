"""What does the user's own model see in this region: the right class, or the right number of everything?

A classifier is given the region stretched to its picture; the label that wins must be one that is expected, with the
confidence asked for. A detector is given the region fitted into its picture, grey around it; of every label there must
be as many as expected, and none of a label that is not named.

At the start the model is shown test pictures: its output must fit the labels. A classifier's scores that are positive
and sum to 1 for each of these are probabilities; others become so by softmax. A detector's boxes are shares of its
picture where none reaches beyond 1.5, else px of it.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import validation
from edge.check_recipes import Count, ModelCheck
from edge.checks import outputs
from edge.checks.check import Box, Floats, Image, Size
from edge.config import InferenceConfig
from edge.errors import GoldlineError
from edge.foreign import ForeignModel
from edge.judge import EXACT, RIGHT, WRONG, Finding
from edge.recipe import RECIPE_FILE
from edge.records import Pose

# What detectors are trained to see around a picture that is not square, grey level.
_GREY = 114
# A cut is at most so many times as large as the model's picture: more would be averaged away at once.
_FINEST = 2
# Test pictures of noise, beside a black, a grey and a white one.
_NOISES = 3
UNCLEAR, NOTHING = "unclear", "nothing"


@dataclass(frozen=True)
class Bounds:
    """How many there may be."""

    least: int = 0
    most: float = 0

    def __contains__(self, count: int) -> bool:
        return self.least <= count <= self.most

    def __str__(self) -> str:
        if self.least == self.most:
            return f"={self.least}"
        if self.most == math.inf:
            return f">={self.least}"
        return f"<={self.most}" if not self.least else f"={self.least}..{self.most}"


NONE = Bounds()


@dataclass(frozen=True)
class Sighting:
    """One thing the model saw, and where in the cut, px; a classifier's is all of it."""

    label: str
    box: Box


@dataclass(frozen=True)
class Seen:
    """What the model saw, or why nothing can be said."""

    sightings: tuple[Sighting, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class OwnModel:
    """One region's model. `box` is the region's, in px of the golden picture; `wanted` what there may be of a label.

    `from_logits`: a classifier's scores need softmax.
    """

    region: str
    box: Box
    check: ModelCheck
    model: ForeignModel
    labels: tuple[str, ...]
    wanted: Mapping[str, Bounds]
    from_logits: bool = True

    @property
    def name(self) -> str:
        """Region and kind."""
        return f"{self.region}.model"

    @property
    def size(self) -> Size:
        """The box's own width and height, as far as the model's picture can show them."""
        width, height = self.box[2:]
        share = min(1.0, _FINEST * max(self.model.size) / max(width, height))
        return max(1, round(width * share)), max(1, round(height * share))

    @property
    def answers(self) -> frozenset[str]:
        """No key of an order."""
        return frozenset()

    @property
    def sha256(self) -> str:
        """Of the model's file, with the weights that lie beside it."""
        return self.model.sha256

    @property
    def fell_back(self) -> bool:
        """Whether another provider runs it than the station's."""
        return self.model.fell_back

    @property
    def sight(self) -> str:
        """A cut of its own."""
        return self.name

    def look(self, cut: Image, embedding: Floats | None) -> Seen:
        """What the model sees on a cut [h, w, 3] BGR."""
        try:
            return Seen(self._classified(cut) if self.check.output == "classes" else self._detected(cut))
        except GoldlineError as problem:
            return Seen(problem=str(problem))

    def probabilities(self, output: Floats) -> Floats:
        """What a classifier's output says, [labels]. Raises GoldlineError where it does not fit the labels."""
        return outputs.probabilities(output, len(self.labels), from_logits=self.from_logits)

    def detections(self, output: Floats) -> outputs.Detections:
        """What a detector's output says. Raises GoldlineError where it does not fit the labels."""
        assert self.check.output != "classes"
        return outputs.detections(
            output,
            self.check.output,
            len(self.labels),
            self.model.size,
            confidence=self.check.confidence,
            overlap=self.check.overlap,
        )

    def posed(self, seen: Seen, pose: Pose) -> Seen:
        """The same at any pose."""
        return seen

    def hold(self, seen: Seen, expect: Mapping[str, str]) -> Finding:
        """What was seen, held against what the recipe expects; an order changes nothing."""
        if seen.problem is not None:
            return Finding(score=math.nan, limits=EXACT, problem=seen.problem)
        if self.check.output == "classes":
            return self._hold_winner(seen.sightings)
        return self._hold_counts(seen.sightings)

    def _hold_winner(self, sightings: tuple[Sighting, ...]) -> Finding:
        found = sightings[0].label if sightings else None
        allowed = _winners(self.wanted)
        score = RIGHT if found in allowed else WRONG
        return Finding(score, EXACT, found=found or UNCLEAR, expected=" or ".join(allowed))

    def _hold_counts(self, sightings: tuple[Sighting, ...]) -> Finding:
        counts = Counter(sighting.label for sighting in sightings)
        wanted = {label: self.wanted.get(label, NONE) for label in self.labels}
        is_right = all(counts[label] in bounds for label, bounds in wanted.items())
        return Finding(
            RIGHT if is_right else WRONG,
            EXACT,
            found=", ".join(f"{label}={counts[label]}" for label in self.labels if counts[label]) or NOTHING,
            expected=", ".join(f"{label}{bounds}" for label, bounds in self.wanted.items()) or NOTHING,
            # Of what there is too much, all of it; what is missing is nowhere.
            boxes=tuple(one.box for one in sightings if counts[one.label] > wanted[one.label].most),
        )

    def _classified(self, cut: Image) -> tuple[Sighting, ...]:
        scores = self.probabilities(self.model.run(_stretched(cut, self.model.size)))
        winners = np.flatnonzero(scores == scores.max())
        if len(winners) > 1 or scores.max() < self.check.confidence:
            return ()
        return (Sighting(self.labels[int(winners[0])], (0, 0, cut.shape[1], cut.shape[0])),)

    def _detected(self, cut: Image) -> tuple[Sighting, ...]:
        picture, share, corner = _fitted(cut, self.model.size)
        found = self.detections(self.model.run(picture))
        corners = (found.corners - np.array([*corner, *corner])) / share
        size = (cut.shape[1], cut.shape[0])
        return tuple(
            Sighting(self.labels[int(label)], _box(corners[row], size)) for row, label in enumerate(found.labels)
        )


def load_model_check(
    region: str,
    box: Box,
    check: ModelCheck,
    base: Path,
    inference: InferenceConfig,
    *,
    threads: int | None = None,
    engine_cache: Path | None = None,
) -> OwnModel:
    """The model check of a region, tried out. Paths of the recipe are relative to `base`; `threads` None is the station's.

    Raises GoldlineError for a model or labels that cannot be read, do not fit each other, or do not fit the recipe.
    """
    file = base / check.labels.expanduser()
    labels = _read_labels(file)
    wanted = {label: _bounds(count) for label, count in check.expect.items()}
    about = f"{base / RECIPE_FILE}: region {region}: model.expect"
    for label in wanted:
        if label not in labels:
            raise GoldlineError(f"{about}: {label}: there is no such label in {file}")
    if check.output == "classes" and len(labels) < 2:
        raise GoldlineError(f"{file}: a classifier needs two labels at least: a single one would always win")
    if check.output == "classes" and not _winners(wanted):
        raise GoldlineError(f"{about}: of a classifier's labels exactly one wins, which this does not allow")
    model = ForeignModel(base / check.file.expanduser(), check, inference, threads=threads, engine_cache=engine_cache)
    return _tried(OwnModel(region, box, check, model, labels, wanted))


def _tried(one: OwnModel) -> OwnModel:
    """The check as it was made, once its outputs for test pictures fit. Raises GoldlineError where they do not."""
    given = [one.model.run(picture) for picture in _test_pictures(one.model.size)]
    # A picture without contrast may be a division by nothing to a model; no picture of a part is.
    usable = [output for output in given if np.isfinite(output).all()]
    if not usable:
        raise GoldlineError(f"{one.model.file}: its output holds what is no number, whatever it is shown")
    is_classifier = one.check.output == "classes"
    try:
        for output in usable:
            one.probabilities(output) if is_classifier else one.detections(output)
    except GoldlineError as problem:
        raise GoldlineError(f"{one.model.file}: {problem}") from problem
    return replace(one, from_logits=is_classifier and not outputs.are_probabilities(usable))


def _test_pictures(size: Size) -> Iterator[Image]:
    shape = (size[1], size[0], 3)
    for level in (0, 128, 255):
        yield np.full(shape, level, np.uint8)
    random = np.random.default_rng(0)
    for _ in range(_NOISES):
        yield random.integers(0, 256, shape, np.uint8)


def _read_labels(file: Path) -> tuple[str, ...]:
    """One a line. Raises GoldlineError for a file that cannot be read, and for a label that is empty or there twice."""
    with validation.reading(file):
        labels = tuple(line.strip() for line in file.read_text("utf-8-sig").rstrip().splitlines())
    if not labels:
        raise GoldlineError(f"{file}: there is no label in it")
    for number, label in enumerate(labels, start=1):
        if not label:
            raise GoldlineError(f"{file}: line {number} is empty")
        if label in labels[: number - 1]:
            raise GoldlineError(f"{file}: line {number}: {label!r} is the label of line {labels.index(label) + 1} too")
    return labels


def _bounds(count: int | Count) -> Bounds:
    if isinstance(count, int):
        return Bounds(count, count)
    return Bounds(count.least, math.inf if count.most is None else count.most)


def _winners(wanted: Mapping[str, Bounds]) -> tuple[str, ...]:
    """The labels that may win: the one that must, else all that may."""
    needed = tuple(label for label, bounds in wanted.items() if bounds.least)
    if len(needed) > 1:
        return ()
    return tuple(label for label in needed or wanted if 1 in wanted[label])


def _box(corners: NDArray[np.floating], size: Size) -> Box:
    """Of x1, y1, x2, y2, inside a cut of this (width, height), and nowhere empty."""
    width, height = size
    left, top, right, bottom = (round(float(edge)) for edge in corners)
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return left, top, max(min(right, width) - left, 1), max(min(bottom, height) - top, 1)


def _stretched(cut: Image, size: Size) -> Image:
    shrinks = size[0] < cut.shape[1] or size[1] < cut.shape[0]
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def _fitted(cut: Image, size: Size) -> tuple[Image, float, tuple[int, int]]:
    """The cut in the middle of a picture of this size, how many times its own size, and where its corner comes to lie."""
    height, width = cut.shape[:2]
    share = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * share)), max(1, round(height * share))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    picture = np.full((size[1], size[0], 3), _GREY, np.uint8)
    picture[top : top + inner[1], left : left + inner[0]] = _stretched(cut, inner)
    return picture, share, (left, top)
