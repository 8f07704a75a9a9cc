"""Adds good images to what one region has learned: its bank, its template, and the scores its limits rest on."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import bank, memory, template
from edge.calibrate import Scores
from edge.check_recipes import AnomalyCheck
from edge.checks.position import Position, Presence
from edge.experts import FusedBank
from edge.features import Extractor
from edge.kept import append_kept, kept_images
from edge.learner import LEAST_SPREADS, Learned
from edge.manifest import RegionManifest, ViewManifest
from edge.recipe import Recipe
from edge.records import Pose
from edge.references import Arrays, ReferenceSet
from edge.region import Region
from edge.score_graph import compile_graph
from edge.tensors import Bank, tensors_of
from edge.tiles import Scales, Tiles, unseen
from edge.view_inspector import Prepared

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Of the old images, by score: those that limits rest on.
WORST_SHARE = 0.25


class Grower:
    """Grows the regions of one camera role's stored view. Limits rest on the `counted` of its images, new ones behind."""

    def __init__(
        self,
        found: ReferenceSet,
        manifest: ViewManifest,
        recipe: Recipe,
        extractor: Extractor,
        counted: Sequence[int],
    ) -> None:
        self._found, self._manifest, self._extractor, self._counted = found, manifest, extractor, list(counted)
        self._recipes = {region.name: region for region in recipe.regions}
        self._scores = found.arrays(f"{manifest.camera}/scores.npz")

    def grow(self, region: Region, new: Sequence[Prepared]) -> Learned:
        """The region with the cuts of new good images."""
        manifest = region.manifest
        arrays = self._found.arrays(f"{self._manifest.camera}/{manifest.name}.npz")
        scores = {
            name: np.concatenate([self._scores[name], self._unseen(region, name, new)])
            for name in self._scores
            if name.rpartition(".")[0] == manifest.name
        }
        if region.variation is not None:
            cuts = [one.regions[region.template] for one in new]
            arrays |= template.widen(region.variation, np.stack(cuts)).to_arrays()
        if region.session is None:
            embedding = np.zeros((len(arrays["embedding"]) + len(new), 1), np.float32)
            return Learned(manifest, None, {**arrays, "embedding": embedding}, scores, {})
        return self._with_bank(manifest, arrays, scores, np.stack([one.regions[manifest.name] for one in new]))

    def _unseen(self, region: Region, name: str, new: Sequence[Prepared]) -> Scores:
        """What a check makes of the new images, by what it has learned before; the bank's come later."""
        if name == region.template and region.variation is not None:
            variation = region.variation
            return np.array([template.score(template.deviation(variation, one.regions[name])) for one in new])
        for check in region.checks:
            if check.name == name and isinstance(check, Presence | Position):
                seen = [check.posed(check.look(one.regions[check.sight], None), one.pose or Pose()) for one in new]
                return np.array([check.raw_score(one) for one in seen])
        return np.zeros(len(new))

    def _with_bank(self, manifest: RegionManifest, arrays: Arrays, scores: dict[str, Scores], cuts: Images) -> Learned:
        kept = self._found.arrays(f"{self._manifest.camera}/{manifest.name}.kept.npz")
        tiles, anomaly = Tiles(*manifest.tiles), self._anomaly(manifest)
        grown = [self._grow_tile(manifest, number, arrays, kept, cuts) for number in range(len(tiles))]
        raw = [bank.image_score(memory.maps_of(one.before, one.apart), manifest.top_fraction) for one in grown]
        counted, least = [values[self._counted] for values in raw], LEAST_SPREADS[str(manifest.bank)]
        scales = Scales.learned(counted, least)
        scores[f"{manifest.name}.anomaly"] = scales.score(raw)
        scores[f"{manifest.name}.anomaly"][self._counted] = unseen(counted, least)
        most = memory.most_of(grown[0].after, anomaly)
        tensors = tensors_of(grown[0].after, most)
        graph = compile_graph(self._extractor.backbone, tensors, tiles.size(manifest.size), manifest.top_fraction)
        embedding = self._extractor.embedding(self._extractor.session(graph, tensors), cuts, tiles)
        arrays = {**arrays, **scales.to_arrays(), "embedding": np.concatenate([arrays["embedding"], embedding])}
        for number, one in enumerate(grown):
            arrays |= tiles.named(memory.to_arrays(one.after, most), number)
        return Learned(
            manifest=msgspec.structs.replace(manifest, vectors=sum(memory.size_of(one.after) for one in grown)),
            graph=graph,
            arrays=arrays,
            scores=scores,
            kept=append_kept(kept, list(cuts), np.concatenate([one.apart for one in grown], axis=1)),
        )

    def _grow_tile(
        self, manifest: RegionManifest, number: int, arrays: Arrays, kept: Arrays, cuts: Images
    ) -> "GrownTile":
        tiles, anomaly = Tiles(*manifest.tiles), self._anomaly(manifest)
        before = memory.from_arrays(tiles.arrays(arrays, number), tiles.grid(manifest.grid))
        fresh = self._see(tiles.slice(cuts, number), before)
        old = tiles.part(np.asarray(kept["maps"], np.float32), number)
        after = memory.grown(before, fresh, len(old), anomaly)
        worst = _worst(before, old, manifest.top_fraction)
        again = self._see(tiles.slice(kept_images(kept, worst), number), before)
        old[worst] = np.minimum(old[worst], memory.apart_of(memory.alone(before, fresh), again))
        return GrownTile(before, after, np.concatenate([old, _of_new(before, fresh)]))

    def _anomaly(self, manifest: RegionManifest) -> AnomalyCheck:
        anomaly = self._recipes[manifest.name].anomaly
        assert anomaly is not None
        return anomaly

    def _see(self, cuts: Images, compared: Bank) -> bank.Seen:
        halved = isinstance(compared, FusedBank) and "half" in compared.experts
        return self._extractor.see(np.ascontiguousarray(cuts), halved=halved)


@dataclass(frozen=True)
class GrownTile:
    """The bank of one tile before and after, and the distances [n + m, d] of old images and new ones to all others."""

    before: Bank
    after: Bank
    apart: Floats


def _worst(before: Bank, old: Floats, top_fraction: float) -> list[int]:
    """The images that limits rest on, by their distances [n, d]."""
    order = np.argsort(bank.image_score(memory.maps_of(before, old), top_fraction))
    return order[-max(1, round(WORST_SHARE * len(order))) :].tolist()


def _of_new(before: Bank, fresh: bank.Seen) -> Floats:
    """Distances [m, d] of new images to the references before them and to the others that are new."""
    apart = memory.apart_of(before, fresh)
    for row in range(fresh.pictures) if fresh.pictures > 1 else ():
        others = memory.alone(before, fresh.take(np.arange(fresh.pictures) != row))
        apart[row] = np.minimum(apart[row], memory.apart_of(others, fresh.take(slice(row, row + 1)))[0])
    return apart
