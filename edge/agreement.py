"""How well a positional bank of a few references a cell stands for all of them: the same images by both.

The images are good ones, each by references without it, and copies of them with deviations drawn in; their verdicts
are by limits set in the same way on each side.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge import bank, synthetic
from edge.calibrate import Scores
from edge.coreset import Floats
from edge.material import evenly
from edge.positional import PositionalBank, exact_maps, positional_maps

Images = NDArray[np.uint8]
Extract = Callable[[Images], bank.Features]

# Good images tried, and copies of each: 20 and 60 against 300 references exactly take two seconds.
GOODS = 20
KINDS = ("moved", "erased", "spot")


@dataclass(frozen=True)
class Agreement:
    """Over `images` images: the share of equal verdicts, and the rank correlation of the scores (Spearman)."""

    images: int
    verdicts: float
    rank: float

    def __str__(self) -> str:
        return f"verdicts agree with an exact search on {self.verdicts:.1%} of {self.images} images, rank correlation {self.rank:.3f}"


def measure(
    stack: Images,
    features: bank.Features,
    built: PositionalBank,
    maps: Floats,
    top_fraction: float,
    extract: Extract,
) -> Agreement:
    """Good images `stack` [n, h, w, 3], their features [n, cells, c], and their distances `maps` to a bank without them."""
    places = evenly(len(stack), GOODS)
    copies = _copies(stack, places)
    drawn = extract(copies) if len(copies) else features[:0]
    few = np.concatenate([maps[places], positional_maps(built, drawn)]) if len(drawn) else maps[places]
    own = np.concatenate([places, np.full(len(drawn), -1)])
    queries = np.concatenate([features[places], drawn]).astype(np.float32)
    every = exact_maps(features, built.grid, queries, own)
    level = 0 if built.level is None else built.level
    scores = [bank.image_score(one - level, top_fraction) for one in (few, every)]
    verdicts = [one > one[: len(places)].max() for one in scores]
    return Agreement(len(own), float((verdicts[0] == verdicts[1]).mean()), rank_correlation(*scores))


def _copies(stack: Images, places: NDArray[np.int64]) -> Images:
    random = np.random.default_rng(0)
    made = [
        synthetic.deviate(kind, stack[place], stack[int(random.integers(len(stack)))], random)
        for place in places
        for kind in KINDS
    ]
    found = [one for one in made if one is not None]
    return np.stack(found) if found else stack[:0]


def rank_correlation(one: Scores, other: Scores) -> float:
    """Spearman's; ties keep their order."""
    first, second = (np.argsort(np.argsort(scores)).astype(np.float64) for scores in (one, other))
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / max(1e-12, np.sqrt((first**2).sum() * (second**2).sum())))
