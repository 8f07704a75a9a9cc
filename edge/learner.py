"""Learns one region from its good images by a plan: what each check holds a part against, and how good parts score.

Teaching decides the plan (`choose.py`); adding references later keeps it, and learns again by the same functions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge import agreement, bank, gate, memory, template
from edge.calibrate import Scores
from edge.check_recipes import AnomalyCheck
from edge.experts import Name
from edge.features import Extractor
from edge.kept import pack_kept
from edge.manifest import RegionManifest
from edge.material import Tell
from edge.positional import PositionalBank
from edge.recipe import RegionRecipe
from edge.references import Arrays
from edge.score_graph import compile_graph
from edge.tensors import tensors_of

Images = NDArray[np.uint8]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

# Below these a spread is an accident, by bank or check: a score of distances has its relative one (calibrate.py); a fused
# score of a usual good image is about 1; a template score of a tenth of its tolerance is nothing.
LEAST_SPREADS = {"positional": 1e-6, "global": 0.03, "template": 0.1}


@dataclass(frozen=True)
class Plan:
    """How a region is checked: the (width, height) each check has it scaled to, None for a check that is not made.

    `experts` are those of a global bank.
    """

    size: Size
    bank: bank.Kind | None
    top_fraction: float
    template: Size | None
    experts: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Goods:
    """A region's good images: `stack` [n, h, w, 3] at the plan's size, `templates` at the template's.

    The first `known` of the stack are real ones, of these `lots`, one of them the golden one; what follows stands in for
    more. The templates are all real.
    """

    stack: Images
    templates: Images | None
    known: int
    lots: tuple[str, ...]
    golden: int = 0

    @property
    def real(self) -> Images:
        """The real ones of the stack."""
        return self.stack[: self.known]

    def golden_first(self, images: Images) -> Images:
        """Images in the order of the goods, the golden one before all others."""
        return np.concatenate([images[self.golden : self.golden + 1], np.delete(images, self.golden, axis=0)])


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
        graph, grid, vectors = banked.graph, banked.bank.grid, memory.size_of(banked.bank)
        arrays["embedding"] = banked.embedding
        arrays |= memory.to_arrays(banked.bank, banked.most)
        scores["anomaly"] = banked.scores()
        maps, reasons = banked.apart, banked.reasons(extractor)
        # Its features and session, 200 MB of 300 images, before the template takes as much.
        del banked
    if goods.templates is not None and region.template is not None:
        arrays |= template.learn(goods.golden_first(goods.templates), region.template).to_arrays()
        lots = None if lots_of(goods) is None else goods.lots
        scores["template"] = template.leave_one_out_scores(goods.templates, region.template, lots)
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
        kept=pack_kept(list(goods.real), maps),
        reasons=reasons,
    )


class Banked:
    """The memory bank of a region, and the graph that it is compared by."""

    def __init__(self, anomaly: AnomalyCheck, plan: Plan, goods: Goods, extractor: Extractor, tell: Tell) -> None:
        assert plan.bank is not None
        self._goods, self._top_fraction = goods, plan.top_fraction
        halved = "half" in plan.experts
        self._seen = extractor.see(goods.stack, lambda done, total: tell("features", done, total), halved=halved)
        self.bank, apart = memory.learn_bank(
            plan.bank, plan.experts, anomaly, self._seen, extractor.grid(plan.size), lots_of(goods), tell
        )
        self.apart = apart[: goods.known]
        self.most = memory.most_of(self.bank, anomaly)
        tensors = tensors_of(self.bank, self.most)
        self.graph = compile_graph(extractor.backbone, tensors, plan.size, plan.top_fraction)
        scorer = extractor.session(self.graph, tensors)
        self.embedding = extractor.embedding(scorer, goods.real)

    def scores(self) -> Scores:
        """Of each real image, by a bank without it and without its lot."""
        return bank.image_score(memory.maps_of(self.bank, self.apart), self._top_fraction)

    def reasons(self, extractor: Extractor) -> tuple[str, ...]:
        """How well the bank stands for all references, where it holds fewer."""
        kept, every = self.bank, self._seen.whole
        if not isinstance(kept, PositionalBank) or kept.vectors.shape[1] >= len(every):
            return ()
        found = agreement.measure(self._goods.stack, every, kept, self.apart, self._top_fraction, extractor.features)
        return (f"{kept.vectors.shape[1]} of {len(every)} references kept for each place: {found}",)


def lots_of(goods: Goods) -> NDArray[np.str_] | None:
    """The lot of each image where there are two or more; None where each image is its own."""
    lots = np.array(goods.lots)
    return lots if len(np.unique(lots)) > 1 and len(goods.stack) == goods.known else None
