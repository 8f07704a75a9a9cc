"""Teaches the checks that look for one thing: where a region's object lies, and which variant it shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.checks import placing, variant
from edge.checks.place import Layout, layout
from edge.learner import Learned
from edge.material import Material, enough
from edge.recipe import RegionRecipe
from edge.records import Pose
from edge.view import Box, View

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Located:
    """What presence and position are taught from: the layout's cuts of every image [n, h, w, 3], n >= 2."""

    at: Layout
    cuts: Images
    poses: tuple[Pose, ...]
    lots: tuple[str, ...]
    known: int


def layout_of(region: RegionRecipe, box: Box, view: View) -> Layout | None:
    """Where a region's object is looked for; None where it is not. Raises GoldlineError for a tiny region."""
    if region.presence is None and region.position is None:
        return None
    return layout(region, box, view.size, view.registration.frame_size)


def locate(at: Layout, cuts: Images, material: Material) -> Located:
    """What is taught from a layout's cuts [n, h, w, 3] of the material's images."""
    known, cuts = len(cuts), enough(cuts)
    poses = [alignment.pose for alignment in material.laid.alignments]
    stand_ins = len(cuts) - known
    return Located(at, cuts, (*poses, *poses[:1] * stand_ins), material.lots if not stand_ins else (), known)


def add_checks(
    learned: Learned,
    region: RegionRecipe,
    located: Located | None,
    golden: int,
    names: Sequence[str],
    labels: Sequence[str],
) -> Learned:
    """The region with its looking checks; `golden` is the index of the golden image, `labels` the images' variants."""
    if located is not None:
        goods = placing.Goods(located.cuts, golden, located.poses, located.lots)
        found = placing.learn(region, located.at, goods)
        scores = {f"{region.name}.{check}": values[: located.known] for check, values in found.scores.items()}
        learned = with_check(learned, tuple(found.scores), found.place.to_arrays(), scores)
    return learned if region.variant is None else with_variants(learned, labels, names)


def with_variants(learned: Learned, labels: Sequence[str], names: Sequence[str]) -> Learned:
    """The region with what tells its variants apart. Raises GoldlineError where nothing does."""
    found = variant.learn(learned.embedding, labels, names)
    told = with_check(learned, ("variant",), found.model.to_arrays(), {})
    return replace(told, reasons=(*learned.reasons, f"{learned.manifest.name}: {found.reason}"))


def with_check(
    learned: Learned,
    checks: Sequence[str],
    arrays: dict[str, NDArray[np.generic]],
    scores: dict[str, NDArray[np.floating]],
) -> Learned:
    """The region with more checks, what they hold a part against, and how its good images score by them."""
    every = (*learned.manifest.checks, *(check for check in checks if check not in learned.manifest.checks))
    return replace(
        learned,
        manifest=msgspec.structs.replace(learned.manifest, checks=every),
        arrays={**learned.arrays, **arrays},
        scores={**learned.scores, **scores},
    )
