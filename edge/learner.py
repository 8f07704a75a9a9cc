"""Learns one region from its good images by a plan: what each check holds a part against, and how good parts score.

Teaching decides the plan (`choose.py`); adding references later keeps it, and learns again by the same functions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge import agreement, bank, gate, template
from edge.calibrate import Scores
from edge.features import Extractor
from edge.kept import pack_kept
from edge.material import Tell
from edge.recipe import AnomalyCheck, RegionRecipe, TemplateCheck
from edge.references import Arrays, RegionManifest
from edge.score_graph import compile_graph

Images = NDArray[np.uint8]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

# Below these a spread is an accident: an anomaly score has its relative one (calibrate.py); a template score of a
# tenth of its tolerance is nothing.
LEAST_SPREADS = {"anomaly": 1e-6, "template": 0.1}


@dataclass(frozen=True)
class Plan:
    """How a region is checked: the (width, height) each check has it scaled to, None for a check that is not made."""

    size: Size
    bank: bank.Kind | None
    top_fraction: float
    template: Size | None


@dataclass(frozen=True)
class Goods:
    """A region's good images: `stack` [n, h, w, 3] at the plan's size, `templates` at the template's.

    The first `known` are real ones, of these `lots`; what follows stands in for more.
    """

    stack: Images
    templates: Images | None
    known: int
    lots: tuple[str, ...]


@dataclass(frozen=True)
class Learned:
    """A region's part of a reference set: its graph, its arrays, and how every real image scores, [known] each.

    Images are scored by references without them and their lot. `kept` is what adding to them takes: see kept.py.
    """

    manifest: RegionManifest
    graph: bytes | None
    arrays: Arrays
    scores: dict[str, Scores]
    kept: Arrays
    reasons: tuple[str, ...] = ()

    @property
    def embedding(self) -> NDArray[np.float32]:
        """What each real image looks like as a whole: [known, e]."""
        return np.asarray(self.arrays["embedding"], np.float32)


def learn(region: RegionRecipe, box: Box, plan: Plan, goods: Goods, extractor: Extractor, tell: Tell) -> Learned:
    """Everything that the plan asks for."""
    limits = gate.learn(goods.stack)
    arrays: Arrays = {"gate": np.array([limits.black, limits.saturated, limits.sharpness, limits.usual_sharpness])}
    scores: dict[str, Scores] = {}
    graph, grid, vectors, maps = None, (0, 0), 0, np.zeros((goods.known, 0), np.float32)
    reasons: tuple[str, ...] = ()
    arrays["embedding"] = np.zeros((goods.known, 1), np.float32)
    if plan.bank is not None and region.anomaly is not None:
        banked = Banked(region.anomaly, plan, goods, extractor, tell)
        graph, grid, vectors = banked.graph, banked.bank.grid, banked.bank.source.size
        arrays["embedding"] = banked.embedding
        arrays |= bank_arrays(banked.bank)
        scores["anomaly"] = banked.scores()
        maps, reasons = banked.maps, banked.reasons(extractor)
    if goods.templates is not None and region.template is not None:
        arrays |= template.learn(goods.templates, region.template).to_arrays()
        scores["template"] = _unseen_by_template(goods, region.template)
    manifest = RegionManifest(
        name=region.name,
        box=box,
        size=plan.size,
        grid=grid,
        bank=plan.bank,
        vectors=vectors,
        top_fraction=plan.top_fraction,
        template=plan.template,
        checks=tuple(scores),
    )
    return Learned(
        manifest=manifest,
        graph=graph,
        arrays=arrays,
        scores={f"{region.name}.{check}": values for check, values in scores.items()},
        kept=pack_kept(list(goods.stack[: goods.known]), maps),
        reasons=reasons,
    )


class Banked:
    """The memory bank of a region, compiled into its graph."""

    def __init__(self, anomaly: AnomalyCheck, plan: Plan, goods: Goods, extractor: Extractor, tell: Tell) -> None:
        assert plan.bank is not None
        self._anomaly, self._goods, self._tell = anomaly, goods, tell
        self._kind: bank.Kind = plan.bank
        self._top_fraction = plan.top_fraction
        self._features = extractor.features(goods.stack, _stage(tell, "features"))
        self._grid = extractor.grid(plan.size)
        self.bank = build(self._kind, anomaly, self._features, self._grid, _stage(tell, "memory bank"))
        self.graph = compile_graph(extractor.backbone, self.bank, plan.size, plan.top_fraction)
        self.embedding = extractor.outputs(extractor.session(self.graph), "embedding", goods.stack[: goods.known])
        self.maps = self._unseen()[: goods.known]

    def scores(self) -> Scores:
        """Of each real image, by a bank without it and without its lot."""
        return bank.image_score(self.maps, self._top_fraction)

    def reasons(self, extractor: Extractor) -> tuple[str, ...]:
        """How well the bank stands for all references, where it holds fewer."""
        kept = self.bank
        if not isinstance(kept, bank.PositionalBank) or kept.vectors.shape[1] >= len(self._features):
            return ()
        found = agreement.measure(
            self._goods.stack, self._features, kept, self.maps, self._top_fraction, extractor.features
        )
        return (f"{kept.vectors.shape[1]} of {len(self._features)} references kept for each place: {found}",)

    def _unseen(self) -> bank.Floats:
        lots = lots_of(self._goods)
        tell = _stage(self._tell, "leave-one-out scores")
        if lots is None:
            return bank.leave_one_out_maps(
                self._features,
                self._grid,
                self._kind,
                per_cell=self._anomaly.per_cell,
                coreset=self._anomaly.coreset,
                progress=tell,
            )
        maps = np.empty(self._features.shape[:2], np.float32)
        for done, lot in enumerate(np.unique(lots)):
            own = lots == lot
            others = build(self._kind, self._anomaly, self._features[~own], self._grid)
            maps[own] = bank.distance_maps(others, self._features[own])
            tell(done + 1, len(np.unique(lots)))
        return maps


def bank_arrays(built: bank.Bank) -> Arrays:
    """A bank for an .npz. Its vectors came from float16 features, so that half precision loses nothing."""
    return {"bank": built.vectors.astype(np.float16), "bank_source": built.source}


def bank_from(arrays: Arrays, kind: str, grid: bank.Grid) -> bank.Bank:
    """The inverse of `bank_arrays`."""
    vectors, source = np.asarray(arrays["bank"], np.float32), np.asarray(arrays["bank_source"], np.int32)
    made = bank.PositionalBank if kind == "positional" else bank.GlobalBank
    return made(vectors=vectors, source=source, grid=grid)


def build(
    kind: bank.Kind,
    anomaly: AnomalyCheck,
    features: bank.Features,
    grid: bank.Grid,
    progress: Callable[[int, int], None] = bank.silent,
) -> bank.Bank:
    """The bank of this kind from features [n, cells, c], as large as the recipe allows."""
    if kind == "positional":
        return bank.build_positional(features, grid, anomaly.per_cell, progress)
    return bank.build_global(features, grid, anomaly.coreset, progress=progress)


def lots_of(goods: Goods) -> NDArray[np.str_] | None:
    """The lot of each image where there are two or more; None where each image is its own."""
    lots = np.array(goods.lots)
    return lots if len(np.unique(lots)) > 1 and len(goods.stack) == goods.known else None


def _unseen_by_template(goods: Goods, check: TemplateCheck) -> Scores:
    assert goods.templates is not None
    lots = lots_of(goods)
    if lots is None:
        return template.leave_one_out_scores(goods.templates, check)[: goods.known]
    scores = np.empty(len(lots), np.float32)
    for lot in np.unique(lots):
        model = template.learn(goods.templates[lots != lot], check)
        for place in np.flatnonzero(lots == lot):
            scores[place] = template.score(template.deviation(model, goods.templates[place]))
    return scores


def _stage(tell: Tell, name: str) -> Callable[[int, int], None]:
    return lambda done, total: tell(name, done, total)
