"""Learns one region from its good images by a plan: what each check holds a part against, and how good parts score.

Teaching decides the plan (`choose.py`); adding references later keeps it, and learns again by the same functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge import agreement, bank, gate, memory, template
from edge.agreement import Agreement
from edge.calibrate import Scores
from edge.check_recipes import AnomalyCheck
from edge.experts import Name
from edge.features import Extractor
from edge.kept import pack_kept
from edge.manifest import RegionManifest
from edge.material import Tell
from edge.recipe import RegionRecipe
from edge.references import Arrays
from edge.score_graph import compile_graph
from edge.tensors import Bank, tensors_of
from edge.tiles import ONE, Scales, Tiles, unseen

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

# Below these a spread is an accident, by bank or check: a score of distances has its relative one (calibrate.py); a fused
# score of a usual good image is about 1; a template score of a tenth of its tolerance is nothing; tiles score in
# spreads that have a least of their own.
LEAST_SPREADS = {"positional": 1e-6, "global": 0.03, "template": 0.1, "tiles": 1.0}


@dataclass(frozen=True)
class Plan:
    """How a region is checked: the (width, height) each check has it scaled to, None for a check that is not made.

    `size` is that of all `tiles` together; `experts` are those of a global bank. A `levelled` positional bank allows every
    place what it varies by: places mean something where parts lie over each other.
    """

    size: Size
    bank: bank.Kind | None
    top_fraction: float
    template: Size | None
    experts: tuple[Name, ...] = ()
    tiles: Tiles = ONE
    levelled: bool = False


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
        return images[np.argsort(np.arange(len(images)) != self.golden, kind="stable")]


@dataclass(frozen=True)
class Learned:
    """A region's part of a reference set: its graph, its arrays, and how every real image scores, [known] each.

    Images are scored by references without them and their lot. `kept` is what adding to them takes: see kept.py.
    `sharpness` is what the gate measured of every real image; of a region that has grown, nothing.
    """

    manifest: RegionManifest
    graph: bytes | None
    arrays: Arrays
    scores: dict[str, Scores]
    kept: Arrays
    reasons: tuple[str, ...] = ()
    sharpness: tuple[float, ...] = ()

    @property
    def embedding(self) -> NDArray[np.float32]:
        """What each real image looks like as a whole: [known, e]."""
        return np.asarray(self.arrays["embedding"], np.float32)


def learn(region: RegionRecipe, box: Box, plan: Plan, goods: Goods, extractor: Extractor, tell: Tell) -> Learned:
    """Everything that the plan asks for."""
    measured = [gate.measure(image) for image in goods.stack]
    limits = gate.limits(measured)
    arrays: Arrays = {"gate": np.array([limits.black, limits.saturated, limits.sharpness, limits.usual_sharpness])}
    scores: dict[str, Scores] = {}
    # Before the banks: while it is learned it takes two copies of its pictures.
    variation, unlike = learn_template(region, goods)
    banked = Banked(apart=np.zeros((goods.known, 0), np.float32))
    arrays["embedding"] = np.zeros((goods.known, 1), np.float32)
    if plan.bank is not None and region.anomaly is not None:
        banked = learn_banks(region.anomaly, plan, goods, extractor, tell)
        arrays |= banked.arrays
        scores["anomaly"] = banked.scores
    arrays |= variation
    scores |= unlike
    manifest = RegionManifest(
        name=region.name,
        box=box,
        size=plan.size,
        grid=banked.grid,
        bank=plan.bank,
        vectors=banked.vectors,
        top_fraction=plan.top_fraction,
        template=plan.template,
        checks=tuple(scores),
        tiles=(plan.tiles.columns, plan.tiles.rows),
    )
    return Learned(
        manifest=manifest,
        graph=banked.graph,
        arrays=arrays,
        scores={f"{region.name}.{check}": values for check, values in scores.items()},
        kept=pack_kept(list(goods.real), banked.apart),
        reasons=banked.reasons,
        sharpness=tuple(one.sharpness for one in measured[: goods.known]),
    )


def learn_template(region: RegionRecipe, goods: Goods) -> tuple[Arrays, dict[str, Scores]]:
    """The variation model's arrays and the scores of the good images by ones without them; nothing without a template."""
    if goods.templates is None or region.template is None:
        return {}, {}
    model = template.learn(goods.golden_first(goods.templates), region.template)
    lots = None if lots_of(goods) is None else goods.lots
    return model.to_arrays(), {"template": template.leave_one_out_scores(goods.templates, region.template, lots)}


@dataclass(frozen=True)
class Banked:
    """What the memory banks of a region's tiles came to: the graph that compares with them, and what is stored of them.

    `apart` are the distances [known, tiles * d] of each tile of each real image, one tile's behind another's.
    """

    apart: Floats
    scores: Scores = field(default_factory=lambda: np.zeros(0))
    graph: bytes | None = None
    grid: bank.Grid = (0, 0)
    vectors: int = 0
    arrays: Arrays = field(default_factory=dict[str, NDArray[Any]])
    reasons: tuple[str, ...] = ()


def learn_banks(anomaly: AnomalyCheck, plan: Plan, goods: Goods, extractor: Extractor, tell: Tell) -> Banked:
    """A bank for each tile of the plan, one after the other: features of all at once would be too many."""
    assert plan.bank is not None
    tiles, least = plan.tiles, LEAST_SPREADS[plan.bank]
    learned = [learn_tile(number, anomaly, plan, goods, extractor, tell) for number in range(len(tiles))]
    raw = [bank.image_score(memory.maps_of(one.bank, one.apart), plan.top_fraction) for one in learned]
    most, banks = memory.most_of(learned[0].bank, anomaly), memory.in_steps([one.bank for one in learned])
    # Banks of all tiles have tensors of one shape, and what a tile looks like does not depend on them.
    tensors = tensors_of(banks[0], most)
    graph = compile_graph(extractor.backbone, tensors, tiles.size(plan.size), plan.top_fraction)
    embedding = extractor.embedding(extractor.session(graph, tensors), goods.real, tiles)
    scales = Scales.learned(raw, least)
    arrays = scales.to_arrays()
    for number, one in enumerate(banks):
        arrays |= tiles.named(memory.to_arrays(one, most), number)
    rows, columns = banks[0].grid
    return Banked(
        apart=np.concatenate([one.apart for one in learned], axis=1),
        scores=unseen(raw, least, lots_of(goods)),
        graph=graph,
        grid=(rows * tiles.rows, columns * tiles.columns),
        vectors=sum(memory.size_of(one.bank) for one in learned),
        arrays={"embedding": embedding, **arrays},
        reasons=_agreement(learned),
    )


@dataclass(frozen=True)
class TileBank:
    """The bank of one tile, the distances [known, d] of real images to it, and how well it stands for all of them."""

    bank: Bank
    apart: Floats
    agreement: Agreement | None


def learn_tile(
    number: int, anomaly: AnomalyCheck, plan: Plan, goods: Goods, extractor: Extractor, tell: Tell
) -> TileBank:
    """One tile's bank. Its features, 100 MB of 300 images, are gone with this function."""
    assert plan.bank is not None
    stack = plan.tiles.slice(goods.stack, number)
    told = tell if len(plan.tiles) == 1 else _of_tile(tell, number, len(plan.tiles))
    seen = extractor.see(stack, lambda done, total: told("features", done, total), halved="half" in plan.experts)
    grid = extractor.grid((stack.shape[2], stack.shape[1]))
    built, apart = memory.learn_bank(plan.bank, plan.experts, anomaly, seen, grid, lots_of(goods), told)
    if plan.levelled:
        built, apart = memory.levelled(built, apart, lots_of(goods))
    apart = apart[: goods.known]
    shown = agreement.Goods(stack, seen, apart)
    halved = "half" in plan.experts
    found = agreement.measure(
        shown,
        memory.in_steps([built])[0],
        plan.top_fraction,
        lambda images: extractor.see(images, halved=halved),
        lambda done, total: told("exact search", done, total),
    )
    return TileBank(built, apart, found)


def _agreement(learned: Sequence[TileBank]) -> tuple[str, ...]:
    """How well the banks stand for all references, where they hold fewer: by the tile where they do least."""
    found = [one.agreement for one in learned if one.agreement is not None]
    return (str(min(found, key=lambda one: (one.verdicts, one.rank))),) if found else ()


def _of_tile(tell: Tell, number: int, count: int) -> Tell:
    return lambda stage, done, total: tell(f"{stage}, tile {number + 1} of {count}", done, total)


def lots_of(goods: Goods) -> NDArray[np.str_] | None:
    """The lot of each image where there are two or more; None where each image is its own."""
    lots = np.array(goods.lots)
    return lots if len(np.unique(lots)) > 1 and len(goods.stack) == goods.known else None
