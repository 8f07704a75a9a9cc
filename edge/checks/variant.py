"""Which of the taught variants is this? By the region's embedding: features averaged on a coarse grid.

1. For each pair of variants, the few numbers that tell it apart best, each weighted by its Fisher ratio (squared
   difference over variance within variants), become one: the regularised linear discriminant (Friedman, "Regularized
   Discriminant Analysis", 1989), which discounts what images of one variant vary in together: pose and light.
2. It is 0 where good images of the first variant lie and 1 where those of the second do. How far apart a part is from a
   variant is its worst over all pairs; the nearest variant is the one found. How far away it lies from a variant in
   everything that tells any pair apart shows parts that are none of them.
3. Learning leaves out some images in turn. What the others say about them must be right, and shows how far good images
   lie from their own variant. A part that is not clearly nearer than that is unclear, and fails with review.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edge.checks.check import Box, Floats, Image, Size
from edge.errors import GoldlineError
from edge.judge import RIGHT, WRONG, Finding
from edge.records import Limits, Pose

Embeddings = NDArray[np.floating]
Labels = NDArray[np.intp]

# Numbers of the embedding that tell a pair apart, at most: what differs covers a tile or two of sixteen.
_MOST_NUMBERS = 64
# The covariance of so few images is mixed in equal parts with what it would be if all numbers varied alike, unrelated.
_REGULARISED = 1.0
# Rounds of leaving images out: up to so many images, each is left out alone.
_ROUNDS = 16
# Fewer good images than this share recognised, and the line would stop for good parts.
_LEAST_ACCURACY = 0.95
# Half way between two variants nothing can be said.
_BETWEEN = 0.5
# Of drawn parts, new good ones lay up to 1.3 times as far as the furthest good image, those never taught 1.6 times.
_AWAY_MARGIN = 1.4
# What is unclear fails, and is to be reviewed.
_LIMITS = Limits(review=1.0, fail=WRONG)
_MOST_REVIEWED = 1.99
# Found where a part lies between variants, joined; and where it lies far from all.
_OR, UNKNOWN = " or ", "unknown"
# Images named where two variants look alike.
_MOST_NAMED = 3
# Keeps quotients finite where images are the same picture; far below any variance of features.
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True)
class Seen:
    """How far a part lies from each variant: `apart` [v], 0 at it and 1 at another; `away` [v], in usual deviations."""

    apart: Embeddings
    away: Embeddings


@dataclass(frozen=True)
class VariantModel:
    """What tells variants apart. `names` [v] are sorted; e numbers make an embedding.

    `directions` [pairs, e] and `offsets` [pairs] give each pair's number. Of the k `telling` numbers, `centres` [v, k] are
    the variants' and `spread` [k, k] takes differences from them to deviations. Good images lie within `clear` and
    `near` of their own variant.
    """

    names: tuple[str, ...]
    directions: Floats
    offsets: Floats
    telling: Labels
    centres: Floats
    spread: Floats
    clear: float = _BETWEEN
    near: float = np.inf

    def look(self, embedding: Embeddings) -> Seen:
        """Where an embedding [e] lies."""
        apart = np.full(len(self.names), -np.inf)
        # By einsum: these few products need no threads.
        between = np.einsum("pe,e->p", self.directions, embedding) + self.offsets
        for place, (first, second) in enumerate(combinations(range(len(self.names)), 2)):
            apart[first] = max(apart[first], between[place])
            apart[second] = max(apart[second], 1 - between[place])
        deviations = np.einsum("jk,vk->vj", self.spread, embedding[self.telling] - self.centres)
        return Seen(apart, np.sqrt(np.square(deviations).mean(1)))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays that a .npz holds without pickling."""
        return {
            "variant_names": np.array(self.names),
            "variant_directions": self.directions,
            "variant_offsets": self.offsets,
            "variant_telling": self.telling,
            "variant_centres": self.centres,
            "variant_spread": self.spread,
            "variant_limits": np.array([self.clear, self.near]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "VariantModel":
        """The inverse of `to_arrays`; others may lie among them. Raises KeyError for a missing array."""
        directions, offsets, centres, spread = (
            np.asarray(arrays[f"variant_{name}"], np.float32) for name in ("directions", "offsets", "centres", "spread")
        )
        telling = np.asarray(arrays["variant_telling"], np.intp)
        clear, near = (float(limit) for limit in arrays["variant_limits"].tolist())
        names = tuple(str(name) for name in arrays["variant_names"].tolist())
        return cls(names, directions, offsets, telling, centres, spread, clear, near)


@dataclass(frozen=True)
class Variant:
    """Whether a region shows the variant that an order names, or else `expect`, or else any. `region` is its name.

    It is shown the region as the memory bank is, and looks at the embedding that comes of it.
    """

    region: str
    box: Box
    size: Size
    model: VariantModel
    expect: str | None

    @property
    def name(self) -> str:
        """Region and kind."""
        return f"{self.region}.variant"

    @property
    def sight(self) -> str:
        """What it looks at: the region itself."""
        return self.region

    @property
    def answers(self) -> frozenset[str]:
        """`variant`."""
        return frozenset({"variant"})

    def look(self, cut: Image, embedding: Floats | None) -> Seen:
        """How far the part lies from each variant."""
        assert embedding is not None, "a recipe without the anomaly check has no variant check"
        return self.model.look(embedding)

    def posed(self, seen: Seen, pose: Pose) -> Seen:
        """The same at any pose."""
        return seen

    def hold(self, seen: Seen, expect: Mapping[str, str]) -> Finding:
        """The variant found, against the one expected."""
        expected = expect.get("variant", self.expect)
        names = self.model.names
        if expected is not None and expected not in names:
            problem = f"variant {expected} was never taught; taught are {', '.join(names)}"
            return Finding(score=math.nan, expected=expected, problem=problem)
        if not (np.isfinite(seen.apart).all() and np.isfinite(seen.away).all()):
            return Finding(score=math.nan, expected=expected, problem="its features are not finite")
        found, doubt = self._found(seen)
        right = RIGHT if expected in {None, found} else WRONG
        return Finding(score=right if doubt is None else doubt, limits=_LIMITS, found=found, expected=expected)

    def _found(self, seen: Seen) -> tuple[str, float | None]:
        """What to call it, and a score where that is in doubt."""
        model, order = self.model, np.argsort(seen.apart, kind="stable")
        nearest = int(order[0])
        # How far beyond its limit each lies, as a share of it.
        away = float(seen.away[nearest]) / model.near - 1
        apart = float(seen.apart[nearest])
        doubt = max(away, abs(apart) / model.clear - 1)
        if doubt <= 0:
            return model.names[nearest], None
        # Below 0 it lies on the far side of its variant, away from all others.
        is_between = away <= 0 < apart
        found = _OR.join(sorted(model.names[int(index)] for index in order[:2])) if is_between else UNKNOWN
        return found, min(1 + doubt, _MOST_REVIEWED)


@dataclass(frozen=True)
class Learned:
    """The model, and the share of good images whose variant is recognised by a model without them."""

    model: VariantModel
    accuracy: float

    @property
    def reason(self) -> str:
        """For the user to read."""
        return f"{len(self.model.names)} variants told apart on {self.accuracy:.0%} of good images"


def learn(embeddings: Embeddings, variants: Sequence[str], images: Sequence[str]) -> Learned:
    """The model of good images' embeddings [n, e], their variants [n] and, to be named, the images [n].

    Raises GoldlineError for a single variant, for one of a single image, and for two that look alike.
    """
    names = tuple(sorted(set(variants)))
    labels = np.array([names.index(variant) for variant in variants])
    _refuse_few(names, labels)
    seen = _unseen(embeddings, labels, names)
    found = np.array([int(one.apart.argmin()) for one in seen])
    _refuse_alike(names, labels, found, images)
    right: list[int] = np.flatnonzero(found == labels).tolist()
    apart = max(abs(float(seen[index].apart[labels[index]])) for index in right)
    away = max(float(seen[index].away[labels[index]]) for index in right)
    fitted = _fit(embeddings, labels, names)
    model = replace(fitted, clear=(min(apart, _BETWEEN) + _BETWEEN) / 2, near=max(_AWAY_MARGIN * away, _LEAST_VARIANCE))
    return Learned(model, len(right) / len(labels))


def _refuse_few(names: tuple[str, ...], labels: Labels) -> None:
    if len(names) == 1:
        raise GoldlineError(f"variant check: all good images are of variant {names[0]}; there is nothing to tell apart")
    for name, count in zip(names, np.bincount(labels), strict=True):
        if count < 2:
            raise GoldlineError(f"variant check: variant {name} has one good image; it takes two at least")


def _refuse_alike(names: tuple[str, ...], labels: Labels, found: Labels, images: Sequence[str]) -> None:
    wrong: list[int] = np.flatnonzero(found != labels).tolist()
    if len(wrong) <= (1 - _LEAST_ACCURACY) * len(labels):
        return
    pairs = [tuple(sorted((int(labels[index]), int(found[index])))) for index in wrong]
    first, second = max(sorted(set(pairs)), key=pairs.count)
    mistaken = [images[index] for index, pair in zip(wrong, pairs, strict=True) if pair == (first, second)]
    shown = ", ".join(mistaken[:_MOST_NAMED]) + (", …" if len(mistaken) > _MOST_NAMED else "")
    both = int(np.isin(labels, (first, second)).sum())
    raise GoldlineError(
        f"variant check: {names[first]} and {names[second]} look alike: of their {both} good images {len(mistaken)} "
        f"would be taken for the other ({shown}); draw the region closer around what differs"
    )


def _unseen(embeddings: Embeddings, labels: Labels, names: tuple[str, ...]) -> list[Seen]:
    """Each image as a model without it sees it."""
    # Rounds take images of every variant in turn, so that none loses all of its own at once.
    order = np.argsort(labels, kind="stable")
    seen: dict[int, Seen] = {}
    for first in range(min(_ROUNDS, len(labels))):
        left_out = order[first::_ROUNDS]
        kept = np.setdiff1d(order, left_out)
        model = _fit(embeddings[kept], labels[kept], names)
        seen |= {int(index): model.look(embeddings[index]) for index in left_out}
    return [seen[index] for index in range(len(labels))]


def _fit(embeddings: Embeddings, labels: Labels, names: tuple[str, ...]) -> VariantModel:
    """The model without its limits."""
    embeddings = embeddings.astype(np.float64)
    centres = np.stack([embeddings[labels == label].mean(0) for label in range(len(names))])
    residuals = embeddings - centres[labels]
    variances = np.square(residuals).sum(0) / max(1, len(labels) - len(names))
    # As much again as all have on the mean: of few images, some numbers seem not to vary.
    variances = variances + max(float(variances.mean()), _LEAST_VARIANCE)
    pairs = list(combinations(range(len(names)), 2))
    differences = [centres[second] - centres[first] for first, second in pairs]
    ratios = [np.square(difference) / variances for difference in differences]
    every = _tell(np.max(ratios, axis=0), variances, residuals)
    directions = [
        _direction(difference, _tell(ratio, variances, residuals))
        for difference, ratio in zip(differences, ratios, strict=True)
    ]
    offsets = [-float(one @ centres[first]) for (first, _), one in zip(pairs, directions, strict=True)]
    return VariantModel(
        names=names,
        directions=np.array(directions, np.float32),
        offsets=np.array(offsets, np.float32),
        telling=every.numbers,
        centres=np.asarray(centres[:, every.numbers], np.float32),
        spread=np.asarray(np.linalg.inv(np.linalg.cholesky(every.covariance)) * every.scale, np.float32),
    )


@dataclass(frozen=True)
class _Telling:
    """Some `numbers` [k] of the embedding, times `scale` [k], and the `covariance` [k, k] of these within variants."""

    numbers: Labels
    scale: NDArray[np.float64]
    covariance: NDArray[np.float64]


def _tell(ratio: NDArray[np.float64], variances: NDArray[np.float64], residuals: NDArray[np.float64]) -> _Telling:
    """The numbers of the largest Fisher ratio [e]: in deviations, times that ratio."""
    numbers = np.argsort(-ratio, kind="stable")[:_MOST_NUMBERS]
    scale = ratio[numbers] / np.sqrt(variances[numbers])
    scaled = residuals[:, numbers] * scale
    covariance = scaled.T @ scaled / len(scaled)
    alike = max(_REGULARISED * float(np.trace(covariance)) / len(numbers), _LEAST_VARIANCE)
    return _Telling(numbers, scale, covariance + alike * np.eye(len(numbers)))


def _direction(difference: NDArray[np.float64], telling: _Telling) -> NDArray[np.float64]:
    """What an embedding is multiplied by, [e], so that the product grows by 1 along a pair's difference."""
    direction = np.zeros_like(difference)
    scaled = difference[telling.numbers] * telling.scale
    direction[telling.numbers] = np.linalg.solve(telling.covariance, scaled) * telling.scale
    return direction / max(float(direction @ difference), _LEAST_VARIANCE)
