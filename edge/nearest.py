"""One set of vectors for all places: a picture's cells are compared with what good parts look like anywhere.

The vectors are the farthest from each other (PatchCore, Roth et al. 2022), of features that have lost their own
picture's mean and deviation in every channel: a picture's light, contrast and sharpness cancel.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bank import Features
from edge.coreset import Floats, Indices, Progress, k_centre, silent, squared_distances
from edge.rounding import Rounding, rounding_of_each

# Vectors that a coreset is chosen from, by chance: k-centre of 40,000 takes a second, and of more finds no more.
MOST_CANDIDATES = 40_000
# Added to a channel's deviation: of a flat picture there is nothing to divide by, and features reach 30.
LEAST_DEVIATION = 1e-3


class NearestBank(msgspec.Struct, frozen=True, kw_only=True):
    """`vectors` float32 [m, c], each exact in half precision; `source` int32 [m] is the reference each came from.

    With a `rounding` they are compared in its steps, as narrow bytes.
    """

    vectors: Floats
    source: NDArray[np.int32]
    rounding: Rounding | None = None


def own_scale(cells: Features) -> Floats:
    """Features [..., cells, c] less their mean over the cells and over their deviation, channel by channel."""
    centred = cells.astype(np.float32)
    centred -= centred.mean(-2, keepdims=True)
    return centred / (np.sqrt(np.square(centred).mean(-2, keepdims=True)) + np.float32(LEAST_DEVIATION))


def sample(features: Features, most: int = MOST_CANDIDATES, seed: int = 0) -> list[tuple[int, Indices]]:
    """Cells taken by chance of pictures [n, cells, c]: which of each picture that has any."""
    images, cells, _ = features.shape
    total = images * cells
    taken: Indices = np.arange(total, dtype=np.int64)
    if total > most:
        taken = np.sort(np.random.default_rng(seed).permutation(total)[:most])
    return [(image, within) for image in range(images) if len(within := taken[taken // cells == image] - image * cells)]


def build_nearest(features: Features, coreset: int, progress: Progress = silent) -> NearestBank:
    """Keeps `coreset` vectors of all cells of all references [n, cells, c], all where there are no more."""
    taken = sample(features)
    vectors = np.concatenate([own_scale(features[image])[cells] for image, cells in taken])
    source = np.concatenate([np.full(len(cells), image, np.int32) for image, cells in taken])
    order = k_centre(vectors, coreset, progress=progress)
    return NearestBank(vectors=_stored(vectors[order]), source=source[order])


def all_vectors(features: Features, first: int) -> NearestBank:
    """All vectors of some references, of which `first` is the first's number."""
    images, cells, channels = features.shape
    sources = np.arange(first, first + images, dtype=np.int32)
    vectors = own_scale(features).reshape(-1, channels)
    return NearestBank(vectors=_stored(vectors), source=np.repeat(sources, cells))


def grow_nearest(bank: NearestBank, fresh: NearestBank, most: int) -> NearestBank:
    """At most `most` of old vectors and fresh ones, farthest first: what is far from all others is kept for certain."""
    vectors = np.concatenate([bank.vectors, fresh.vectors])
    order = k_centre(vectors, max(most, 1))
    source = np.concatenate([bank.source, fresh.source])[order]
    return NearestBank(vectors=vectors[order], source=source, rounding=bank.rounding)


def nearest_in_steps(banks: Sequence[NearestBank]) -> list[NearestBank]:
    """Banks that one graph compares with, in steps where these are fine enough for each of them, else as they are."""
    found = rounding_of_each([bank.vectors[None] for bank in banks], narrow=True)
    return [msgspec.structs.replace(bank, rounding=one) for bank, one in zip(banks, found, strict=True)]


def nearest_distances(bank: NearestBank, picture: Features, own: int = -1) -> Floats:
    """Distances [cells] of a picture [cells, c] to the nearest vector, of those not from reference `own`."""
    others = bank.vectors[bank.source != own] if own >= 0 else bank.vectors
    seen, rounding = own_scale(picture), bank.rounding
    if rounding is None:
        return np.sqrt(squared_distances(seen, others).min(1))
    return np.sqrt(rounding.squared(squared_distances(rounding.levels(seen), rounding.narrow_levels(others)).min(1)))


def _stored(vectors: Floats) -> Floats:
    return vectors.astype(np.float16).astype(np.float32)
