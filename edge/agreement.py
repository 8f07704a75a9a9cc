"""How well a bank of a few vectors stands for all references: the same images by the bank and by an exact search.

The images are good ones and copies of them with deviations drawn in. On each side they are compared with references
without their own, and their verdicts are by a limit set in the same way.

A positional bank is searched as the graph compares it, in bytes where it does. Of a global bank the nearest-vector experts
are searched exactly, each then on the scale that it would have had; Gaussians keep nothing less, and stay.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import memory, synthetic
from edge.bank import Features, Seen, blocks, image_score
from edge.calibrate import Scores
from edge.coreset import Floats, Indices, Progress, silent
from edge.experts import FusedBank, Maps, Name, Scale, fuse, maps_by, seen_by, worst_of
from edge.material import evenly
from edge.nearest import NearestBank, all_vectors, build_nearest, own_scale
from edge.positional import PositionalBank, build_positional, exact_maps, level_share, positional_maps
from edge.tensors import Bank

Images = NDArray[np.uint8]
See = Callable[[Images], Seen]

# Good images tried, and what is drawn into a copy: 20 and 60 against 300 references by their places take two seconds.
GOODS = 20
KINDS = ("moved", "erased", "spot")
# Multiplications of an exact search over all places: a core makes some 50e9 a second, so that two take six seconds.
MOST_PRODUCTS = 600e9
# Fewer good images than this say nothing, and may take twice the time.
FEWEST = 3
# Of the references one in three at most is tried, as none of these is compared with.
MOST_HELD_OUT = 3
# Threads of that search: what its time was reckoned with.
THREADS = 2


@dataclass(frozen=True)
class Agreement:
    """Over `images` images: the share of equal verdicts, and the rank correlation of the scores (Spearman).

    `kept` says what the bank keeps, and of what.
    """

    kept: str
    images: int
    verdicts: float
    rank: float

    def __str__(self) -> str:
        figures = f"{self.verdicts:.1%} of {self.images} images, rank correlation {self.rank:.3f}"
        return f"{self.kept}: verdicts agree with an exact search on {figures}"


class Goods(NamedTuple):
    """Good images `stack` [n, h, w, 3], what is seen of them, and the distances [known, d] of the real ones, the first.

    Distances are to the bank without each.
    """

    stack: Images
    seen: Seen
    apart: Floats


class Probes(NamedTuple):
    """The images tried: `seen`, the first `goods` of them good, and the reference `own` [n] that each is or was."""

    seen: Seen
    goods: int
    own: Indices


def measure(goods: Goods, built: Bank, top_fraction: float, see: See, progress: Progress = silent) -> Agreement | None:
    """None where the bank keeps everything, or where an exact search over places everywhere would take too long."""
    if isinstance(built, PositionalBank):
        return _by_place(goods, built, top_fraction, see)
    return _everywhere(goods, built, top_fraction, see, progress)


def rank_correlation(one: Scores, other: Scores) -> float:
    """Spearman's; ties keep their order."""
    first, second = (np.argsort(np.argsort(scores)).astype(np.float64) for scores in (one, other))
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / max(1e-12, np.sqrt((first**2).sum() * (second**2).sum())))


def exact_distances(features: Features, pictures: Features, progress: Progress = silent) -> Floats:
    """Distances [q, cells] of pictures [q, cells, c] to the nearest of all vectors of references [n, cells, c].

    On each picture's own scale, as `nearest.py` has it.
    """
    found = np.empty(pictures.shape[:2], np.float32)
    runs = list(blocks(len(pictures), pictures.shape[1] * pictures.shape[2]))
    with ThreadPoolExecutor(THREADS) as threads:
        for done, run in enumerate(runs):
            scaled = own_scale(pictures[run])
            closest = _Closest(features, scaled)
            best = np.full(scaled.shape[:2], -np.inf, np.float32)
            for place, here in enumerate(threads.map(closest.to, range(len(features)))):
                np.maximum(best, here, out=best)
                progress(done * len(features) + place + 1, len(runs) * len(features))
            found[run] = np.sqrt(np.maximum(np.square(scaled).sum(-1) - 2 * best, 0))
    return found


class _Closest:
    """Pictures [q, cells, c] on their own scale: q·b - |b|²/2 at its largest, as one product, over one reference's vectors."""

    def __init__(self, features: Features, scaled: Floats) -> None:
        self._features = features
        self._queries = np.concatenate([scaled, np.ones((*scaled.shape[:2], 1), np.float32)], axis=2)

    def to(self, place: int) -> Floats:
        """Of each picture [q, cells]."""
        vectors = all_vectors(self._features[place : place + 1], place).vectors
        columns = np.vstack([vectors.T, -np.square(vectors).sum(1) / 2])
        best = np.full(self._queries.shape[:2], -np.inf, np.float32)
        for row in range(len(best)):
            for block in blocks(columns.shape[1], self._queries.shape[1]):
                np.maximum(best[row], (self._queries[row] @ columns[:, block]).max(1), out=best[row])
        return best


def affordable(images: int, cells: Sequence[int], channels: int) -> int:
    """How many good images, and a copy of each, are searched for among all vectors of so many; 0 for none.

    `cells` are those of each expert that is searched exactly.
    """
    products = float(images * channels * sum(count**2 for count in cells))
    if FEWEST * products > MOST_PRODUCTS:
        return 0
    return int(np.clip(MOST_PRODUCTS / (2 * products), FEWEST, GOODS))


def _by_place(goods: Goods, built: PositionalBank, top_fraction: float, see: See) -> Agreement | None:
    images, kept = len(goods.stack), built.vectors.shape[1]
    if kept >= images:
        return None
    probes = _probes(goods, GOODS, len(KINDS), see)
    pictures = probes.seen.whole
    few = np.empty(pictures.shape[:2], np.float32)
    for place in np.unique(probes.own):
        rows = probes.own == place
        few[rows] = positional_maps(without(built, goods.seen.whole, int(place)), pictures[rows])
    every = exact_maps(goods.seen.whole, built.grid, pictures.astype(np.float32), probes.own)
    level = 0 if built.level is None else built.level
    what = f"{kept} of {images} references kept for each place"
    return _compared(what, probes, *(image_score(maps - level, top_fraction) for maps in (few, every)))


def without(built: PositionalBank, features: Features, place: int) -> PositionalBank:
    """The bank as it would have been built of the others' features, in its own steps; sources are not kept up."""
    cells = np.flatnonzero((built.source == place).any(1))
    if not len(cells):
        return built
    others = np.delete(features[:, cells], place, axis=0)
    vectors = built.vectors.copy()
    vectors[cells] = build_positional(others, (1, len(cells)), vectors.shape[1]).vectors
    return msgspec.structs.replace(built, vectors=vectors)


def _everywhere(goods: Goods, built: FusedBank, top_fraction: float, see: See, progress: Progress) -> Agreement | None:
    """Scores of the same images by the bank's maps and scale, and by exact ones."""
    searched = _searched(goods, built)
    cells = [one.shape[1] for one in searched.values()]
    most = affordable(len(goods.stack), cells, goods.seen.whole.shape[2]) if searched else 0
    most = min(most, len(goods.apart) // MOST_HELD_OUT)
    if most < FEWEST:
        return None
    probes = _probes(goods, most, 1, see)
    scales: dict[Name, Scale] = {name: expert.scale for name, expert in built.experts.items()}
    others = goods.seen.take(np.setdiff1d(np.arange(len(goods.stack)), probes.own))
    few = _maps(goods, built, others, probes)
    moved, every = dict(scales), dict(few)
    for name in searched:
        references, pictures = (seen_by(name, seen, built.grid) for seen in (others, probes.seen))
        every[name] = exact_distances(references, pictures, progress)
        moved[name] = _moved(scales[name], few[name][: probes.goods], every[name][: probes.goods])
    scores = [image_score(fuse(*side, built.grid), top_fraction) for side in ((scales, few), (moved, every))]
    return _compared(f"{_kept(built)} of all {len(goods.stack)} references", probes, scores[0], scores[1])


def _searched(goods: Goods, built: FusedBank) -> dict[Name, Features]:
    """What all references look like to each expert that keeps only some of their vectors."""
    found: dict[Name, Features] = {}
    for name, expert in built.experts.items():
        seen = seen_by(name, goods.seen, built.grid)
        if isinstance(expert.model, NearestBank) and len(expert.model.vectors) < seen.shape[0] * seen.shape[1]:
            found[name] = seen
    return found


def _kept(built: FusedBank) -> str:
    models = {name: expert.model for name, expert in built.experts.items()}
    sizes = [f"{len(one.vectors)} vectors ({name})" for name, one in models.items() if isinstance(one, NearestBank)]
    return " and ".join(sizes)


def _maps(goods: Goods, built: FusedBank, others: Seen, probes: Probes) -> dict[Name, Floats]:
    """Every expert's distances of the probes; of good ones by Gaussians, those that teaching found without them.

    The vectors are chosen again of the other references: to leave out an image's own of those chosen with it would leave a
    hole where its near-duplicates' would have been taken.
    """
    maps: dict[Name, Floats] = {}
    for name, expert in built.experts.items():
        model = expert.model
        if isinstance(model, NearestBank):
            fresh = build_nearest(seen_by(name, others, built.grid), len(model.vectors))
            model = msgspec.structs.replace(fresh, rounding=model.rounding)
        maps[name] = maps_by(name, model, probes.seen, built.grid)
    if "gaussians" in maps:
        known: Maps = memory.split(built, goods.apart)
        maps["gaussians"][: probes.goods] = known["gaussians"][probes.own[: probes.goods]]
    return maps


def _moved(scale: Scale, few: Floats, every: Floats) -> Scale:
    """The scale of an exact search, by what it makes of good images [n, cells] that the bank has a scale for.

    Every place's middle lies as much closer as they do there; of few images, drawn towards what they do everywhere. On
    leather it ranked images as the scale of all 100 did: .995 by 20 of them, .979 by 6; with the bank's own, .949.
    """
    closer, share = every - few, level_share(len(few))
    middle = scale.middle + share * closer.mean(0) + (1 - share) * closer.mean()
    before, after = worst_of(few - scale.middle), worst_of(every - middle)
    return Scale(middle.astype(np.float32), scale.unit * after / before if min(before, after) > 0 else scale.unit)


def _compared(what: str, probes: Probes, few: Scores, every: Scores) -> Agreement:
    verdicts = [scores > scores[: probes.goods].max() for scores in (few, every)]
    return Agreement(what, len(probes.own), float((verdicts[0] == verdicts[1]).mean()), rank_correlation(few, every))


def _probes(goods: Goods, most: int, copies: int, see: See) -> Probes:
    """Good images evenly spread, and of each so many copies with a deviation, of one kind after the other."""
    places = evenly(len(goods.apart), most)
    made = list(_copies(goods.stack, places, copies))
    seen = goods.seen.take(places)
    if made:
        drawn = see(np.stack([copy for _, copy in made]))
        seen = Seen(_both(seen.whole, drawn.whole), _both(seen.half, drawn.half))
    return Probes(seen, len(places), np.append(places, [place for place, _ in made]).astype(np.int64))


def _both(some: Features, more: Features) -> Features:
    return np.concatenate([some, more], dtype=np.float16)


def _copies(stack: Images, places: Indices, each: int) -> Iterator[tuple[int, Images]]:
    """The place of the original and the copy; none where nothing that is drawn changes anything."""
    random = np.random.default_rng(0)
    for number, place in enumerate(np.repeat(places, each)):
        other = stack[int(random.integers(len(stack)))]
        copy = synthetic.deviate(KINDS[number % len(KINDS)], stack[place], other, random)
        if copy is not None:
            yield int(place), copy
