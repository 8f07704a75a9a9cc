"""Builds a product's reference set from photographs of good parts alone.

1. Read the images: one size, each picture once.
2. Fit the registration; lay every image over the golden picture; leave out those that do not lie there.
3. Learn each region: which checks, what good looks like, and how each image scores by references without it.
4. Set the limits from those scores, name the images that look odd, and say what false-call rate that can promise.
5. Store the set under the hash of its content, and make it the active one.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import calibrate, fit, learn, synthetic
from edge.backbone import BUNDLED, Backbone, load_backbone
from edge.config import Station
from edge.errors import GoldlineError
from edge.judge import Calibration
from edge.photographs import Photographs, open_photographs
from edge.recipe import LoadedRecipe, RegionRecipe, load_recipe, recipe_path, write_default_recipe
from edge.references import SCHEMA, Manifest, Store, pack, taught_by
from edge.register import Alignment
from edge.view import View

Images = NDArray[np.uint8]
Tell = learn.Tell

# One image says nothing about how good parts differ; four copies of it, moved and lit a little differently, stand in.
STAND_INS = 4
# Images on which it is found out whether evening out the brightness helps.
NORMALISE_ON = 40
# Brightness differing by less than this between good images is not worth a correction that can also hide something.
LEAST_GAIN_SPREAD = 0.03
# The relative spread of good scores must fall at least to this share of what it was.
WORTHWHILE = 0.9
# Working size of a region that has no memory bank to name one: that of one that has.
DEFAULT_WORKING_PX = 256
# Side of the pictures that are compared to find near-duplicates, px.
DUPLICATE_PX = 32


@dataclass(frozen=True)
class Taught:
    """What teach did, for the user to read."""

    product: str
    reference_set: str
    references: int
    reasons: tuple[str, ...]
    calibration: Calibration
    odd: tuple[tuple[str, float], ...]
    near_duplicates: tuple[tuple[str, str], ...]
    identical: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report of `goldline teach --json`."""
        limits = self.calibration.limits
        return {
            "product": self.product,
            "reference_set": self.reference_set,
            "references": self.references,
            "reasons": list(self.reasons),
            "false_call_rate": self.calibration.rate,
            "limits": {"review": limits.review, "fail": limits.fail, "fail_is_extrapolated": True},
            "odd": [{"image": name, "score": score} for name, score in self.odd],
            "near_duplicates": [list(pair) for pair in self.near_duplicates],
            "identical": list(self.identical),
            "refused": [{"image": name, "reason": reason} for name, reason in self.refused],
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Laid:
    """The images that lie over the golden picture, by index, with where they do; and those that do not."""

    indices: tuple[int, ...]
    alignments: tuple[Alignment, ...]
    refused: tuple[tuple[str, str], ...]


def teach(station: Station, product: str, directory: Path, tell: Tell) -> Taught:
    """Build, store and activate a reference set. Raises GoldlineError."""
    began = time.monotonic()
    known = recipe_path(station, product).is_file() and load_recipe(station, product)
    photographs = open_photographs(directory, lambda done, total: tell("reading", done, total))
    recipe = known or write_default_recipe(station, product)
    tell("registration", 0, 1)
    fitted = fit.fit(photographs, recipe.recipe.registration)
    tell("registration", 1, 1)
    view = View(fitted.registration, photographs.any_size, False)
    laid = _lay(view, photographs, tell)
    return Teacher(station, recipe, photographs, view, laid, tell).teach(list(fitted.reasons), began)


def _role(recipe: LoadedRecipe) -> str:
    roles = sorted({region.camera for region in recipe.recipe.regions})
    if len(roles) > 1:
        raise GoldlineError(f"{recipe.path}: regions of several cameras ({', '.join(roles)}); teach takes one view")
    return roles[0]


def _lay(view: View, photographs: Photographs, tell: Tell) -> Laid:
    indices: list[int] = []
    alignments: list[Alignment] = []
    refused: list[tuple[str, str]] = []
    for index, image in enumerate(photographs):
        alignment = view.align(image)
        if alignment.problem is None:
            indices.append(index)
            alignments.append(alignment)
        else:
            refused.append((photographs.names[index], alignment.problem))
        tell("laying images over each other", index + 1, len(photographs))
    return Laid(tuple(indices), tuple(alignments), tuple(refused))


class Teacher:
    """Everything that is known once the images lie over each other."""

    def __init__(
        self, station: Station, recipe: LoadedRecipe, photographs: Photographs, view: View, laid: Laid, tell: Tell
    ) -> None:
        self._station, self._recipe, self._role = station, recipe, _role(recipe)
        self._photographs, self._view, self._laid, self._tell = photographs, view, laid, tell
        self._backbone: Backbone = load_backbone(station.inference.backbone or BUNDLED)
        self._names = [photographs.names[index] for index in laid.indices]

    def teach(self, reasons: list[str], began: float) -> Taught:
        """From the laid images to an active reference set."""
        view, why = self._choose_brightness()
        stacks = self._cut(view, range(len(self._names)))
        self._photographs.release()
        learned = [
            self._learner(region, stack).learn(self._tell, registered=view.registration.registered)
            for region, stack in zip(self._recipe.recipe.regions, stacks, strict=True)
        ]
        outcome = calibrate.calibrate(
            {name: scores for region in learned for name, scores in region.scores.items()},
            {name: spread for region in learned for name, spread in region.least_spreads.items()},
            len(self._names),
        )
        identity = self._store(view, learned, outcome.calibration)
        pairs = calibrate.near_duplicates(_small(stacks[0][: len(self._names)]))
        return Taught(
            product=self._recipe.product,
            reference_set=identity,
            references=len(self._names),
            reasons=(*reasons, *why, *(reason for region in learned for reason in region.reasons)),
            calibration=outcome.calibration,
            odd=tuple((self._names[index], float(outcome.overall[index])) for index in outcome.odd),
            near_duplicates=tuple((self._names[first], self._names[second]) for first, second in pairs),
            identical=self._photographs.repeated,
            refused=self._laid.refused,
            seconds=time.monotonic() - began,
        )

    def _cut(self, view: View, places: Sequence[int]) -> list[Images]:
        """For each region of the recipe, its stack [n, h, w, 3] from the laid images at `places`."""
        boxes = [self._box(region) for region in self._recipe.recipe.regions]
        sizes = [self._size(region) for region in self._recipe.recipe.regions]
        stacks = [np.empty((len(places), size[1], size[0], 3), np.uint8) for size in sizes]
        for row, place in enumerate(places):
            image = self._photographs[self._laid.indices[place]]
            for stack, box, size in zip(stacks, boxes, sizes, strict=True):
                stack[row] = view.cut(image, self._laid.alignments[place], box, size)
            self._tell("cutting regions out", row + 1, len(places))
        return [_enough(stack) for stack in stacks]

    def _box(self, region: RegionRecipe) -> learn.Box:
        width, height = self._view.size
        if region.box is None:
            return (0, 0, width, height)
        if region.box[0] + region.box[2] > width or region.box[1] + region.box[3] > height:
            raise GoldlineError(
                f"{self._recipe.path}: region {region.name}: box {region.box} exceeds {width} x {height}"
            )
        return region.box

    def _size(self, region: RegionRecipe) -> learn.Size:
        working_px = region.anomaly.working_px if region.anomaly else DEFAULT_WORKING_PX
        return learn.working_size(self._box(region), working_px, self._backbone.declaration.size_multiple)

    def _learner(self, region: RegionRecipe, stack: Images) -> learn.RegionLearner:
        box, inference = self._box(region), self._station.inference
        return learn.RegionLearner(region, box, stack, len(self._names), self._backbone, inference)

    def _choose_brightness(self) -> tuple[View, tuple[str, ...]]:
        """The view, with its brightness evened out where that makes good parts more alike to the memory bank."""
        gains = np.array([alignment.gain for alignment in self._laid.alignments])
        region = next((region for region in self._recipe.recipe.regions if region.anomaly), None)
        if region is None or len(gains) < calibrate.LEAST_IMAGES or gains.std() < LEAST_GAIN_SPREAD:
            return self._view, ()
        evened = View(self._view.registration, self._view.any_size, True)
        before, after = (self._spread(view, region) for view in (self._view, evened))
        figures = f"the relative spread of good scores is {before:.3f} as it is and {after:.3f} evened out"
        if after < WORTHWHILE * before:
            return evened, (f"brightness evened out: {figures}",)
        return self._view, (f"brightness left as it is: {figures}",)

    def _spread(self, view: View, region: RegionRecipe) -> float:
        places = np.unique(np.linspace(0, len(self._names) - 1, NORMALISE_ON).astype(int)).tolist()
        stack = self._cut(view, places)[self._recipe.recipe.regions.index(region)]
        return self._learner(region, stack).relative_spread()

    def _store(self, view: View, learned: Sequence[learn.Learned], calibration: Calibration) -> str:
        files = {name: content for region in learned for name, content in region.files.items()}
        files["registration.npz"] = pack(view.registration.to_arrays())
        for place, index in enumerate(self._laid.indices):
            files[f"references/{place:04d}.jpg"] = self._photographs.thumbnails[index]
        manifest = Manifest(
            schema=SCHEMA,
            product=self._recipe.product,
            camera=self._role,
            taught=taught_by(self._recipe.recipe),
            recipe_sha256=self._recipe.sha256,
            model_sha256=self._backbone.sha256,
            image_size=view.size,
            any_size=view.any_size,
            normalised=view.normalised,
            registration=view.registration.method if view.registration.registered else "none (free pose)",
            regions=tuple(region.manifest for region in learned),
            calibration=calibration,
            references=tuple(self._names),
        )
        store = Store(self._station.state_dir, self._recipe.product)
        identity = store.save(manifest, files)
        store.activate(identity)
        return identity


def _enough(stack: Images) -> Images:
    """The stack, with stand-ins behind a single image."""
    if len(stack) > 1:
        return stack
    copies = synthetic.jittered(stack[0], STAND_INS, np.random.default_rng(0))
    return np.stack([stack[0], *copies])


def _small(stack: Images) -> Images:
    """[n, 32, 32] grey."""
    size = (DUPLICATE_PX, DUPLICATE_PX)
    small = [np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8) for image in stack]
    return np.stack([np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8) for image in small])
