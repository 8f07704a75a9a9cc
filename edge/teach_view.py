"""Teaches one camera role of a product: from a folder of good images to its part of a reference set."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import calibrate, choose, drift, fit, learner, tiling
from edge.assemble import Pictures, TaughtView, assemble
from edge.errors import GoldlineError
from edge.features import Extractor
from edge.learner import Goods, Learned, Plan
from edge.material import Material, Tell, enough, lay
from edge.photographs import open_photographs
from edge.recipe import LoadedRecipe, RegionRecipe
from edge.sorting import sort_in
from edge.teach_checks import Located, add_checks, layout_of, locate
from edge.view import Box, View

Images = NDArray[np.uint8]

# Images on which it is found out whether evening out the brightness helps.
NORMALISE_ON = 40
# Brightness differing by less than this between good images is not worth a correction that can also hide something.
LEAST_GAIN_SPREAD = 0.03
# The relative spread of good scores must fall at least to this share of what it was.
WORTHWHILE = 0.9
# Side of the pictures that are compared to find near-duplicates, px.
DUPLICATE_PX = 32


class TeacherOfView:
    """Teaches one role by the recipe."""

    def __init__(self, recipe: LoadedRecipe, role: str, extractor: Extractor, tell: Tell) -> None:
        self._recipe, self._role, self._extractor, self._tell = recipe, role, extractor, tell
        self._regions = recipe.recipe.regions_of(role)

    def teach(self, directory: Path) -> TaughtView:
        """From the folder to what is stored. Raises GoldlineError."""
        files = sort_in(directory, self._recipe.recipe, self._role)
        photographs = open_photographs(files, lambda done, total: self._tell("reading", done, total))
        self._tell("registration", 0, 1)
        fitted = fit.fit(photographs, self._recipe.recipe.registration_of(self._role))
        self._tell("registration", 1, 1)
        view = View(fitted.registration, photographs.any_size, False)
        material = Material(photographs, lay(view, photographs, self._tell), self._tell)
        view, why = self._choose_brightness(view, material)
        boxes = [self._box(region, view) for region in self._regions]
        plans = self._plans(boxes, view, material)
        self._extractor.release()
        golden = material.laid.indices.index(fitted.golden_index)
        if any(len(plan.tiles) > 1 for plan, _ in plans):
            # Their cuts take what the decoded images took: these are read once more.
            material.release()
        goods, located = self._cut(view, material, boxes, [plan for plan, _ in plans], golden)
        material.release()
        near_duplicates = _near_duplicates(material.names, goods[0].real)
        rows = zip(self._regions, boxes, plans, _handed(goods), located, strict=True)
        learned = [
            add_checks(self._learn(region, box, plan, good), region, cuts, golden, material.names, material.variants)
            for region, box, (plan, _), good, cuts in rows
        ]
        taught = assemble(self._role, view, learned, _pictures(material, learned), self._regions)
        return replace(
            taught,
            reasons=(
                *fitted.reasons,
                *_lots(material),
                *why,
                *(reason for _, reasons in plans for reason in reasons),
                *(reason for region in learned for reason in region.reasons),
            ),
            near_duplicates=near_duplicates,
            identical=photographs.repeated,
            refused=material.laid.refused,
        )

    def _learn(self, region: RegionRecipe, box: Box, plan: Plan, goods: Goods) -> Learned:
        return learner.learn(region, box, plan, goods, self._extractor, self._tell)

    def _box(self, region: RegionRecipe, view: View) -> Box:
        width, height = view.size
        if region.box is None:
            return (0, 0, width, height)
        if region.box[0] + region.box[2] > width or region.box[1] + region.box[3] > height:
            raise GoldlineError(
                f"{self._recipe.path}: region {region.name}: box {region.box} exceeds {width} x {height}"
            )
        return region.box

    def _plans(self, boxes: Sequence[Box], view: View, material: Material) -> list[tuple[Plan, tuple[str, ...]]]:
        sizes = [
            choose.tile_size(region, box, self._extractor) for region, box in zip(self._regions, boxes, strict=True)
        ]
        room = tiling.room(self._regions, sizes, len(material))
        return [
            choose.plan(region, box, view, material, self._extractor, room, self._tell)
            for region, box in zip(self._regions, boxes, strict=True)
        ]

    def _cut(
        self, view: View, material: Material, boxes: Sequence[Box], plans: Sequence[Plan], golden: int
    ) -> tuple[list[Goods], list[Located | None]]:
        """Each region's good images, and what is around its object where that is looked for, all cut in one reading."""
        layouts = [layout_of(region, box, view) for region, box in zip(self._regions, boxes, strict=True)]
        wanted = [(box, plan.size) for box, plan in zip(boxes, plans, strict=True)]
        finer = [(box, plan.template) for box, plan in zip(boxes, plans, strict=True) if plan.template is not None]
        around = [(at.box, at.size) for at in layouts if at is not None]
        stacks = material.cut_all(view, [*wanted, *finer, *around])
        templates, places = iter(stacks[len(wanted) :]), iter(stacks[len(wanted) + len(finer) :])
        goods = [
            Goods(
                stack=enough(stack),
                templates=None if plan.template is None else next(templates),
                known=len(stack),
                lots=material.lots,
                golden=golden,
            )
            for stack, plan in zip(stacks, plans, strict=False)
        ]
        return goods, [None if at is None else locate(at, next(places), material) for at in layouts]

    def _choose_brightness(self, view: View, material: Material) -> tuple[View, tuple[str, ...]]:
        """The view, with its brightness evened out where that makes good parts more alike to the memory bank."""
        region = next((region for region in self._regions if region.anomaly), None)
        if region is None or len(material) < calibrate.LEAST_IMAGES or material.gains.std() < LEAST_GAIN_SPREAD:
            return view, ()
        evened = replace(view, normalised=True)
        box = self._box(region, view)
        places = material.some(NORMALISE_ON)
        before, after = (
            choose.relative_spread(
                region, material.cut(one, box, choose.usual_size(box, self._extractor), places), self._extractor
            )
            for one in (view, evened)
        )
        figures = f"the relative spread of good scores is {before:.3f} as it is and {after:.3f} evened out"
        if after < WORTHWHILE * before:
            return evened, (f"brightness evened out: {figures}",)
        return view, (f"brightness left as it is: {figures}",)


def _handed(goods: list[Goods]) -> Iterator[Goods]:
    """Each of them, kept by nobody else: one region's pictures, 240 MB of 300 in four tiles, make room for the next."""
    while goods:
        yield goods.pop(0)


def _pictures(material: Material, learned: Sequence[Learned]) -> Pictures:
    measured = _measured(material, np.array([region.sharpness for region in learned]))
    return Pictures(material.names, material.thumbnails, measured, material.variants, material.lots)


def _measured(material: Material, sharpness: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 5]: every image's pose, gain, and sharpness as the line will measure them, by that of its regions [r, n]."""
    usual = np.maximum(np.median(sharpness, axis=1, keepdims=True), 1e-6)
    alignments = material.laid.alignments
    pairs = zip(alignments, (sharpness / usual).mean(axis=0), strict=True)
    return np.array([drift.measured(alignment.pose, alignment.gain, float(sharp)) for alignment, sharp in pairs])


def _lots(material: Material) -> tuple[str, ...]:
    """What there is to say about lots."""
    lots = sorted(set(material.lots) - {""})
    if len(lots) < 2:
        return ()
    return (f"{len(lots)} lots ({', '.join(lots)}): each is judged by the others, as a new lot will be",)


def _near_duplicates(names: Sequence[str], stack: Images) -> tuple[tuple[str, str], ...]:
    size = (DUPLICATE_PX, DUPLICATE_PX)
    small = [np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8) for image in stack]
    greys = np.stack([np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8) for image in small])
    return tuple((names[first], names[second]) for first, second in calibrate.near_duplicates(greys))
