"""One product, ready to judge: the same object in the daemon, `inspect`, `evaluate` and `bench`.

prepare   gate, align, cut the regions out at the part's pose        any thread
score     one graph run a region for the whole batch; the template   the accelerator's thread
judge     decide, and only where something deviates: say where       the accelerator's thread
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import defects, gate, judge, register, template
from edge.config import Station
from edge.inference import BATCH_SIZES, Session
from edge.recipe import LoadedRecipe, load_recipe, recipe_path
from edge.records import Defect, Outcome, Pose, Provenance, Reason, Verdict, error
from edge.references import ReferenceSet, RegionManifest, Store, refuse_other_recipe
from edge.view import View

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
Size = tuple[int, int]


@dataclass(frozen=True)
class Prepared:
    """A frame's regions, cut out and scaled, by name; or why it cannot be judged. `size` is the frame's."""

    size: Size
    pose: Pose | None
    regions: Mapping[str, Image]
    refusal: str | None = None


@dataclass(frozen=True)
class Scores:
    """Raw scores by check, the maps they came from (float32 [h, w], in the check's unit), and the closest reference."""

    values: Mapping[str, float]
    maps: Mapping[str, Map]
    closest: str | None


NO_SCORES = Scores({}, {}, None)


@dataclass(frozen=True)
class Region:
    """One taught region: its gate, graph, template, and what its good images looked like as a whole.

    `embedding` is [references, e]; `norms` its squared lengths.
    """

    manifest: RegionManifest
    gate: gate.GateLimits
    session: Session | None
    variation: template.VariationModel | None
    embedding: Map
    norms: Map

    @property
    def anomaly(self) -> str:
        """The name of the memory bank's check."""
        return f"{self.manifest.name}.anomaly"

    @property
    def template(self) -> str:
        """The name of the variation model's check."""
        return f"{self.manifest.name}.template"

    def score(self, images: Image, *, crowded: bool) -> tuple[list[dict[str, Map]], list[dict[str, float]], Map]:
        """Maps and scores of each image of a batch [n, h, w, 3], and what orders its distances [n, references]."""
        maps: list[dict[str, Map]] = [{} for _ in images]
        values: list[dict[str, float]] = [{} for _ in images]
        distances = np.zeros((len(images), len(self.embedding)), np.float32)
        if self.session is not None:
            found = self.session.run(images, crowded=crowded)
            for row in range(len(images)):
                maps[row][self.anomaly] = found["map"][row]
                values[row][self.anomaly] = float(found["score"][row])
            # Nearest in |q|^2 - 2 q.r + |r|^2; |q|^2 is the same for every reference. By einsum, because a product would
            # wake NumPy's own threads, which then fight with the session's for a millisecond.
            distances = self.norms - 2 * np.einsum("re,ne->nr", self.embedding, found["embedding"])
        if self.variation is not None:
            for row, image in enumerate(images):
                deviation = template.deviation(self.variation, image)
                maps[row][self.template] = deviation
                values[row][self.template] = template.score(deviation)
        return maps, values, distances


class Inspector:
    """Judges views of one product by its active reference set. Pure once loaded: the same frame, the same verdict."""

    def __init__(self, recipe: LoadedRecipe, found: ReferenceSet, regions: Sequence[Region]) -> None:
        self.manifest = found.manifest
        self.references = found
        self.regions = tuple(regions)
        limits = recipe.recipe.limits
        self.calibration = judge.override(found.manifest.calibration, limits.review, limits.fail)
        self.max_batch = 1
        self._least_area_px = limits.min_defect_area_px
        self._recipe_sha256 = recipe.sha256
        registration = register.Registration.from_arrays(found.arrays("registration.npz"))
        self.view = View(registration, found.manifest.any_size, found.manifest.normalised)

    @classmethod
    def load(cls, station: Station, product: str, *, threads: int | None = None) -> "Inspector":
        """The product's active set with its graphs loaded. Raises GoldlineError."""
        recipe_path(station, product)  # refuses a name that is none
        found = Store(station.state_dir, product).load()
        recipe = load_recipe(station, product)
        refuse_other_recipe(recipe, found)
        # Every pool of threads but the graph's stays out of its way.
        cv2.setNumThreads(1)
        return cls(recipe, found, [_load_region(station, found, region, threads) for region in found.manifest.regions])

    @property
    def reference_set(self) -> str:
        """The id of the reference set in use."""
        return self.references.id

    @property
    def method(self) -> str:
        """How this set judges, in words."""
        banks = sorted({f"{region.bank} bank" for region in self.manifest.regions if region.bank})
        templates = ["template"] if any(region.template for region in self.manifest.regions) else []
        return ", ".join([*banks, *templates, f"registration {self.manifest.registration}"])

    def provenance(self, generation: int) -> Provenance:
        """What produces this inspector's verdicts under a configuration generation."""
        return Provenance(
            configuration=generation,
            product=self.manifest.product,
            recipe_sha256=self._recipe_sha256,
            reference_set=self.reference_set,
            model_sha256=self.manifest.model_sha256,
        )

    def warm_up(self, sizes: Sequence[int] = BATCH_SIZES) -> None:
        """Measure these batch sizes on this machine, which warms them, and set `max_batch`. All take a second or two."""
        sessions = [region.session for region in self.regions if region.session is not None]
        self.max_batch = min((session.calibrate(allowed=sizes).max_batch for session in sessions), default=1)

    @property
    def fell_back(self) -> bool:
        """True where the CPU runs a graph for which another provider was asked (`inference.allow_fallback`)."""
        return any(region.session is not None and region.session.fell_back for region in self.regions)

    def prepare(self, image: Image, role: str = "main") -> Prepared:
        """The regions of one frame [h, w, 3] BGR of the camera in that role; the frame is not kept."""
        size = (image.shape[1], image.shape[0])
        if role != self.manifest.camera:
            return _refused(size, f"no region looks at camera role {role!r}")
        refusal = self.view.refusal(image)
        if refusal is not None:
            return _refused(size, refusal)
        alignment = self.view.align(image)
        if alignment.problem is not None:
            return _refused(size, alignment.problem, alignment.pose)
        return self._cut(image, alignment)

    def _cut(self, image: Image, alignment: register.Alignment) -> Prepared:
        size, pose = (image.shape[1], image.shape[0]), alignment.pose
        regions: dict[str, Image] = {}
        for region in self.regions:
            cut = self.view.cut(image, alignment, region.manifest.box, region.manifest.size)
            refusal = self.view.hidden(region.manifest.box, pose) or gate.check(region.gate, cut)
            if refusal is not None:
                return _refused(size, f"{region.manifest.name}: {refusal}", pose)
            regions[region.manifest.name] = cut
        return Prepared(size, pose, regions)

    def score(self, batch: Sequence[Prepared], *, crowded: bool = False) -> list[Scores]:
        """Scores in the order of the batch; those of a refused frame are empty. `crowded`: more frames wait."""
        rows = [row for row, prepared in enumerate(batch) if prepared.refusal is None]
        results = [NO_SCORES] * len(batch)
        if not rows:
            return results
        maps: list[dict[str, Map]] = [{} for _ in rows]
        values: list[dict[str, float]] = [{} for _ in rows]
        distances: list[Map] = []
        for region in self.regions:
            name = region.manifest.name
            found = region.score(np.stack([batch[row].regions[name] for row in rows]), crowded=crowded)
            for place in range(len(rows)):
                maps[place] |= found[0][place]
                values[place] |= found[1][place]
            distances.append(found[2])
        nearest = np.sum(distances, axis=0).argmin(axis=1)
        for place, row in enumerate(rows):
            results[row] = Scores(values[place], maps[place], self.manifest.references[int(nearest[place])])
        return results

    def judge(self, prepared: Prepared, scores: Scores, expect: Mapping[str, str]) -> Verdict:
        """The verdict on one frame, in the light of what an order expects of it."""
        if prepared.refusal is not None:
            refused = error(Reason.CANNOT_JUDGE, prepared.refusal)
            return msgspec.structs.replace(refused, pose=prepared.pose)
        verdict = judge.answer(judge.decide(scores.values, self.calibration), expect)
        return msgspec.structs.replace(
            verdict,
            defects=self._defects(prepared, scores, verdict) if verdict.outcome is Outcome.FAIL else (),
            pose=prepared.pose,
            closest_reference=scores.closest,
        )

    def thumbnail(self, reference: str) -> Image:
        """A small picture of a good image, by its name. Offline only."""
        place = self.manifest.references.index(reference)
        content = np.frombuffer(self.references.read(f"references/{place:04d}.jpg"), np.uint8)
        return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)

    def deviation(self, prepared: Prepared, scores: Scores) -> Map:
        """How far every pixel of a judged frame lies from good, in spreads: [h, w] at the frame's size. Offline only.

        Where no region looks it is the least there is.
        """
        layers = [
            self.view.to_frame_map(
                (scores.maps[name] - scale.median) / scale.spread,
                region.manifest.box,
                prepared.pose or Pose(),
                prepared.size,
            )
            for region in self.regions
            for name in (region.anomaly, region.template)
            if (scale := self.calibration.scales.get(name)) is not None
        ]
        return np.max(layers, axis=0)

    def _defects(self, prepared: Prepared, scores: Scores, verdict: Verdict) -> tuple[Defect, ...]:
        """Boxes of the checks that failed. A score is a mean of the worst cells, so above a limit some cell is too."""
        found: list[tuple[float, Defect]] = []
        for region in self.regions:
            for name in (region.anomaly, region.template):
                check = verdict.checks.get(name)
                if check is None or check.score < check.limits.review:
                    continue
                deviation = scores.maps[name]

                def to_image(box: defects.Box, region: Region = region, shape: Any = deviation.shape) -> defects.Box:
                    grid, pose = (shape[1], shape[0]), prepared.pose or Pose()
                    return self.view.to_frame(box, region.manifest.box, grid, pose, prepared.size)

                boxed = defects.defects(name, deviation, check.limits.review, to_image, self._least_area_px)
                found += [(judge.standardise(self.calibration.scales[name], one.score), one) for one in boxed]
        found.sort(key=lambda pair: -pair[0])
        return tuple(defect for _, defect in found[: defects.MOST_DEFECTS])


def _refused(size: Size, refusal: str, pose: Pose | None = None) -> Prepared:
    return Prepared(size, pose, {}, refusal)


def _load_region(station: Station, found: ReferenceSet, region: RegionManifest, threads: int | None) -> Region:
    arrays = found.arrays(f"{region.name}.npz")
    inference = station.inference
    return Region(
        manifest=region,
        gate=gate.GateLimits(*(float(value) for value in arrays["gate"])),
        session=Session(
            found.read(f"{region.name}.onnx"),
            provider=inference.provider,
            threads=inference.threads if threads is None else threads,
            allow_fallback=inference.allow_fallback,
            engine_cache=station.state_dir / "engines",
        )
        if region.bank
        else None,
        variation=template.VariationModel(arrays["centre"], arrays["bright"], arrays["dark"])
        if region.template
        else None,
        embedding=arrays["embedding"],
        norms=np.square(arrays["embedding"]).sum(axis=1),
    )
