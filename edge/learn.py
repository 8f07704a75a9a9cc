"""Learns one region from its good images: which checks, what they hold a part against, and how good parts score."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge import bank, choose, gate, template
from edge.backbone import Backbone, feature_graph, feature_grid
from edge.calibrate import UPPER_QUANTILE, Scores
from edge.config import InferenceConfig
from edge.errors import GoldlineError
from edge.inference import Session
from edge.recipe import AnomalyCheck, RegionRecipe
from edge.references import Arrays, RegionManifest, pack
from edge.score_graph import compile_graph

Images = NDArray[np.uint8]
Size = tuple[int, int]
Box = tuple[int, int, int, int]
# What is being done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]

# Images in the feature graph at a time: the largest batch a session runs at once.
FEATURE_BATCH = 8
# What float16 holds: features beyond it would turn infinite when stored.
LARGEST_FLOAT16 = 65504.0


@dataclass(frozen=True)
class Learned:
    """A region's part of a reference set, and its checks' leave-one-image-out scores [n], with least spreads."""

    manifest: RegionManifest
    files: dict[str, bytes]
    scores: dict[str, Scores]
    least_spreads: dict[str, float]
    reasons: tuple[str, ...]


KindT = TypeVar("KindT", bound="bank.Kind | None")


@dataclass(frozen=True)
class Plan(Generic[KindT]):
    """The checks a region gets, and why."""

    kind: KindT
    template: bool
    reasons: tuple[str, ...]


def working_size(box: Box, working_px: int, multiple: int) -> Size:
    """Width and height a box is scaled to: the area of a square of `working_px`, sides that the backbone takes."""
    scale = working_px / (box[2] * box[3]) ** 0.5
    return tuple(max(1, round(side * scale / multiple)) * multiple for side in box[2:])  # type: ignore[return-value]


class RegionLearner:
    """One region, its good images `stack` [n, h, w, 3] cut out and scaled; `known` of them are real images."""

    def __init__(
        self, region: RegionRecipe, box: Box, stack: Images, known: int, backbone: Backbone, inference: InferenceConfig
    ) -> None:
        self._region, self._box, self._stack, self._known = region, box, stack, known
        self._backbone, self._inference = backbone, inference
        self._size: Size = (stack.shape[2], stack.shape[1])

    def learn(self, tell: Tell, *, registered: bool) -> Learned:
        """Everything about the region. Raises GoldlineError when no check is left."""
        anomaly = self._region.anomaly
        if anomaly is None:
            return self._template_alone()
        features = self.extract(self._stack, lambda done, total: tell("features", done, total))
        grid = feature_grid(self._backbone, self._size)
        plan = self._plan(anomaly, features, grid, tell, registered=registered)
        built = self._build(plan.kind, anomaly, features, grid, tell)
        graph = compile_graph(self._backbone, built, self._size, anomaly.top_fraction)
        manifest = self._manifest(plan, grid, built.source.size)
        embedding = self._outputs(graph, "embedding", self._stack[: self._known], _unheard)
        learned = self._learned(manifest, embedding, plan.reasons)
        name = f"{self._region.name}.anomaly"
        return replace(
            learned,
            files={**learned.files, f"{self._region.name}.onnx": graph},
            scores={name: self._unseen(plan.kind, anomaly, features, grid, tell), **learned.scores},
            least_spreads={name: choose.LEAST_SPREADS[plan.kind], **learned.least_spreads},
        )

    def relative_spread(self) -> float:
        """The upper spread of leave-one-image-out scores by a positional bank, as a share of their median."""
        assert self._region.anomaly is not None
        features = self.extract(self._stack, _unheard)
        grid = feature_grid(self._backbone, self._size)
        scores = self._unseen("positional", self._region.anomaly, features, grid, _unheard_stage)
        median = float(np.median(scores))
        return (float(np.quantile(scores, UPPER_QUANTILE)) - median) / median

    def _template_alone(self) -> Learned:
        if self._region.template is None or self._region.template.mode == "off":
            raise GoldlineError(f"recipe: region {self._region.name} has no check")
        plan = Plan(None, True, ("template alone: the recipe has no anomaly check",))
        return self._learned(self._manifest(plan, (0, 0), 0), np.zeros((self._known, 1), np.float32), plan.reasons)

    def _manifest(self, plan: Plan[Any], grid: bank.Grid, vectors: int) -> RegionManifest:
        return RegionManifest(
            name=self._region.name,
            box=self._box,
            size=self._size,
            grid=grid,
            bank=plan.kind,
            vectors=vectors,
            template=plan.template,
        )

    def _learned(self, manifest: RegionManifest, embedding: NDArray[np.float32], reasons: tuple[str, ...]) -> Learned:
        """Gate, embedding and, if planned, the template: as one `.npz`."""
        limits = gate.learn(self._stack)
        arrays: Arrays = {
            "gate": np.array([limits.black, limits.saturated, limits.sharpness]),
            "embedding": embedding,
        }
        scores: dict[str, Scores] = {}
        if manifest.template and self._region.template is not None:
            model = template.learn(self._stack, self._region.template)
            arrays |= {"centre": model.centre, "bright": model.bright, "dark": model.dark}
            unseen = template.leave_one_out_scores(self._stack, self._region.template)
            scores[f"{manifest.name}.template"] = unseen
        least_spreads = dict.fromkeys(scores, choose.LEAST_SPREADS["template"])
        return Learned(manifest, {f"{manifest.name}.npz": pack(arrays)}, scores, least_spreads, reasons)

    def extract(self, images: Images, tell: Callable[[int, int], None]) -> bank.Features:
        """Features [n, cells, c] as float16: half the memory, and far finer than parts differ."""
        return self._outputs(feature_graph(self._backbone, self._size), "feat", images, tell, np.float16)

    def _outputs(
        self,
        graph: bytes,
        output: str,
        images: Images,
        tell: Callable[[int, int], None],
        kind: type[np.float16] | type[np.float32] = np.float32,
    ) -> NDArray[Any]:
        """One output of a graph for any number of images, as `kind`."""
        session = Session(
            graph,
            provider=self._inference.provider,
            threads=self._inference.threads,
            allow_fallback=self._inference.allow_fallback,
        )
        parts: list[NDArray[Any]] = []
        for start in range(0, len(images), FEATURE_BATCH):
            found = session.run(images[start : start + FEATURE_BATCH])[output]
            if not np.abs(found).max() < LARGEST_FLOAT16:
                raise GoldlineError(f"backbone {self._backbone.name}: features beyond float16; scale its input")
            parts.append(found.astype(kind))
            tell(min(start + FEATURE_BATCH, len(images)), len(images))
        return np.concatenate(parts)

    def _plan(
        self, anomaly: AnomalyCheck, features: bank.Features, grid: bank.Grid, tell: Tell, *, registered: bool
    ) -> Plan[bank.Kind]:
        """The bank, whether the template is kept, and why: by the recipe, or tried out."""
        wanted = self._region.template
        mode = "off" if wanted is None else wanted.mode
        in_question = mode == "auto" and registered
        said = f"{anomaly.bank} bank: the recipe says so"
        if anomaly.bank != "auto" and not in_question:
            return Plan(anomaly.bank, mode == "on", (said,))
        trial = choose.try_out(
            choose.Goods(self._stack, features, grid),
            anomaly,
            wanted if in_question else None,
            lambda images: self.extract(images, _unheard),
            lambda done, total: tell("comparing methods", done, total),
        )
        kind, reason = choose.choose_bank(trial) if anomaly.bank == "auto" else (anomaly.bank, said)
        if not in_question:
            return Plan(kind, mode == "on", (reason,))
        kept, why = choose.choose_template(trial, kind)
        return Plan(kind, kept, (reason, why))

    def _build(
        self, kind: bank.Kind, anomaly: AnomalyCheck, features: bank.Features, grid: bank.Grid, tell: Tell
    ) -> bank.Bank:
        def progress(done: int, total: int) -> None:
            tell("memory bank", done, total)

        if kind == "positional":
            return bank.build_positional(features, grid, anomaly.per_cell, progress)
        return bank.build_global(features, grid, anomaly.coreset, progress=progress)

    def _unseen(
        self, kind: bank.Kind, anomaly: AnomalyCheck, features: bank.Features, grid: bank.Grid, tell: Tell
    ) -> Scores:
        """Each image's score by a bank without it."""
        maps = bank.leave_one_out_maps(
            features,
            grid,
            kind,
            per_cell=anomaly.per_cell,
            coreset=anomaly.coreset,
            progress=lambda done, total: tell("leave-one-out scores", done, total),
        )
        return bank.image_score(maps, anomaly.top_fraction)


def _unheard(done: int, total: int) -> None:
    """Progress nobody waits for."""


def _unheard_stage(stage: str, done: int, total: int) -> None:
    """The same, with its stage."""
