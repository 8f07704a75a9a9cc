"""Puts what was learned of a camera role's regions together: limits over all checks, and the files to store."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import calibrate, drift
from edge.checks.place import layout
from edge.learner import LEAST_SPREADS, Learned
from edge.manifest import ViewManifest
from edge.recipe import RegionRecipe
from edge.references import pack
from edge.view import View

# Light and noise alone change the similarity of an object by a hundredth, and its place by a tenth of a pixel of what is
# searched.
SIMILARITY_SPREAD, PLACE_SPREAD_PX = 0.01, 0.1


@dataclass(frozen=True)
class TaughtView:
    """One camera role's part of a reference set, and what there is to say about its images.

    `files` are named below the role's folder; `odd` are (image, overall score), `refused` (image, why).
    """

    manifest: ViewManifest
    files: dict[str, bytes]
    reasons: tuple[str, ...] = ()
    odd: tuple[tuple[str, float], ...] = ()
    near_duplicates: tuple[tuple[str, str], ...] = ()
    identical: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Pictures:
    """The good images of a role by their names, small as JPEG, and sorted where they came sorted.

    `measured` [n, 5] are their quantities as `drift.measured` orders them. `uncounted` are compared with, and say nothing
    about limits.
    """

    names: tuple[str, ...]
    thumbnails: Sequence[bytes]
    measured: NDArray[np.float64]
    variants: tuple[str, ...]
    lots: tuple[str, ...]
    uncounted: tuple[str, ...] = ()


def assemble(
    role: str, view: View, learned: Sequence[Learned], pictures: Pictures, regions: Sequence[RegionRecipe]
) -> TaughtView:
    """The role's part of a set. Checks to which the recipe gives limits of their own say nothing about those of others."""
    scores = {name: values for region in learned for name, values in region.scores.items()}
    counted = [place for place, name in enumerate(pictures.names) if name not in pictures.uncounted]
    exact = {f"{region.name}.{check}" for region in regions for check in region.exact_checks}
    spreads = _least_spreads(view, learned, regions)
    outcome = calibrate.calibrate(
        {name: values[counted] for name, values in scores.items() if name not in exact}, spreads, len(counted)
    )
    own = {name: calibrate.scale_of(scores[name][counted], spreads[name]) for name in scores if name in exact}
    calibration = msgspec.structs.replace(outcome.calibration, scales={**outcome.calibration.scales, **own})
    manifest = ViewManifest(
        camera=role,
        image_size=view.size,
        any_size=view.any_size,
        normalised=view.normalised,
        registration=view.registration.method if view.registration.registered else "none (free pose)",
        regions=tuple(region.manifest for region in learned),
        calibration=calibration,
        references=pictures.names,
        uncounted=pictures.uncounted,
        variants=pictures.variants if any(pictures.variants) else (),
        lots=pictures.lots if any(pictures.lots) else (),
        usual=drift.baseline(pictures.measured[counted]),
    )
    files = {
        "registration.npz": pack(view.registration.to_arrays()),
        "scores.npz": pack(scores),
        "measured.npz": pack({"measured": pictures.measured}),
    }
    for region in learned:
        files |= _region_files(region)
    files |= {f"references/{place:04d}.jpg": content for place, content in enumerate(pictures.thumbnails)}
    odd = tuple((pictures.names[counted[index]], float(outcome.overall[index])) for index in outcome.odd)
    return TaughtView(manifest, files, odd=odd)


def _least_spreads(view: View, learned: Sequence[Learned], regions: Sequence[RegionRecipe]) -> dict[str, float]:
    """Of every check, the spread below which one is an accident."""
    spreads: dict[str, float] = {}
    for one, region in zip(learned, regions, strict=True):
        known = {**LEAST_SPREADS, "presence": SIMILARITY_SPREAD}
        if one.manifest.bank is not None:
            known["anomaly"] = LEAST_SPREADS["tiles" if one.manifest.tiles != (1, 1) else one.manifest.bank]
        if "position" in one.manifest.checks:
            at = layout(region, one.manifest.box, view.size, view.registration.frame_size)
            known["position"] = PLACE_SPREAD_PX * at.scale
        spreads |= {name: known[name.rpartition(".")[2]] for name in one.scores}
    return spreads


def _region_files(region: Learned) -> dict[str, bytes]:
    """A region's files: its graph, what its checks hold a part against, and what is kept to add to it."""
    name = region.manifest.name
    files = {f"{name}.npz": pack(region.arrays)}
    if region.graph is not None:
        files[f"{name}.onnx"] = region.graph
        files[f"{name}.kept.npz"] = pack(region.kept)
    return files
