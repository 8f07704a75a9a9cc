"""The memory bank: what every place of a good part has looked like, and how far a new picture is from that.

A *positional* bank holds, for every cell, vectors of that same place on the good parts; a cell is compared with its
own place and the eight around it, so the right thing in the wrong place is far. A *global* bank holds one set of
vectors for all places, for textures and parts that lie at any angle (PatchCore, Roth et al. 2022).

Features are [n, cells, c], cells row by row over a grid (rows, columns); float16 is kept as it is and computed with
as float32. Distances are Euclidean. `score_graph.py` compiles the same comparison into the ONNX graph.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.coreset import Floats, Indices, Progress, farthest_points, k_centre, silent, squared_distances

Features = NDArray[np.float16] | NDArray[np.float32]
Grid = tuple[int, int]
Kind = Literal["positional", "global"]

# A cell's own place among the nine that it is compared with.
CENTRE = 4
# Float32 numbers of one block's working arrays: 64 MiB, so that several at once stay far below the teaching budget.
BLOCK_NUMBERS = 16 << 20
# Vectors a global coreset is chosen from: all of 300 pictures of 32 x 32 cells; of more, as many by chance.
MOST_CANDIDATES = 307_200


class PositionalBank(msgspec.Struct, frozen=True, kw_only=True):
    """`vectors` float32 [cells, k, c]; `source` int32 [cells, k] is the reference each came from."""

    vectors: Floats
    source: NDArray[np.int32]
    grid: Grid


class GlobalBank(msgspec.Struct, frozen=True, kw_only=True):
    """`vectors` float32 [m, c]; `source` int32 [m] is the reference each came from."""

    vectors: Floats
    source: NDArray[np.int32]
    grid: Grid


Bank = PositionalBank | GlobalBank


def build_positional(features: Features, grid: Grid, per_cell: int, progress: Progress = silent) -> PositionalBank:
    """Keeps `per_cell` references of every cell, farthest first; all of them where there are no more."""
    images, cells, channels = features.shape
    kept = min(per_cell, images)
    vectors = np.empty((cells, kept, channels), np.float32)
    source = np.empty((cells, kept), np.int32)
    for block in _blocks(cells, images * images):
        here = _cells(features, block)
        order = _order(here, kept)
        vectors[block] = np.take_along_axis(here, order[..., None], 1)
        source[block] = order
        progress(block.stop, cells)
    return PositionalBank(vectors=vectors, source=source, grid=grid)


def build_global(
    features: Features, grid: Grid, coreset: int, seed: int = 0, progress: Progress = silent
) -> GlobalBank:
    """Keeps `coreset` vectors of all cells of all references, farthest first; all of them where there are no more."""
    _, cells, channels = features.shape
    flat = features.reshape(-1, channels)
    candidates = _candidates(len(flat), seed)
    vectors = flat[candidates].astype(np.float32)
    order = k_centre(vectors, coreset, seed, progress)
    return GlobalBank(vectors=vectors[order], source=(candidates[order] // cells).astype(np.int32), grid=grid)


def grow(bank: Bank, features: Features, first: int, most: int) -> Bank:
    """The bank with the vectors of more references, features [m, cells, c], of which `first` is the first's number.

    Positional: at most `most` vectors a cell, the new ones for certain and of the old those farthest from them and
    each other. Global: at most `most`, farthest first among old and new.
    """
    if isinstance(bank, GlobalBank):
        fresh = bank_of(bank, features, first)
        vectors = np.concatenate([bank.vectors, fresh.vectors])
        order = k_centre(vectors, max(most, 1))
        return GlobalBank(
            vectors=vectors[order], source=np.concatenate([bank.source, fresh.source])[order], grid=bank.grid
        )
    fresh = bank_of(bank, features, first)
    count = min(bank.vectors.shape[1], max(0, most - len(features)))
    kept = np.empty((len(bank.vectors), count), np.int64)
    for block in _blocks(len(bank.vectors), bank.vectors.shape[1] ** 2):
        old = bank.vectors[block]
        given = squared_distances(old, fresh.vectors[block]).min(2)
        kept[block] = farthest_points(squared_distances(old, old), count, given=given)[:, 0]
    return PositionalBank(
        vectors=np.concatenate([fresh.vectors, np.take_along_axis(bank.vectors, kept[..., None], 1)], axis=1),
        source=np.concatenate([fresh.source, np.take_along_axis(bank.source, kept, 1)], axis=1),
        grid=bank.grid,
    )


def bank_of(kind: Bank, features: Features, first: int = 0) -> Bank:
    """All vectors of some references, features [m, cells, c], as a bank of the same kind as another."""
    images, cells, channels = features.shape
    sources = np.arange(first, first + images, dtype=np.int32)
    if isinstance(kind, GlobalBank):
        flat = features.reshape(-1, channels).astype(np.float32)
        return GlobalBank(vectors=flat, source=np.repeat(sources, cells), grid=kind.grid)
    vectors = np.ascontiguousarray(features.swapaxes(0, 1), np.float32)
    return PositionalBank(vectors=vectors, source=np.tile(sources, (cells, 1)), grid=kind.grid)


def neighbourhood(grid: Grid) -> tuple[Indices, Indices]:
    """How a cell finds the nine places around it: two index tables, both [cells, 9].

    Multiplying every place's nine surrounding *queries* with that place's own vectors keeps the bank still, which is
    the larger side. `queries[r, s]` is the cell that lies at step s of place r (held inside the grid); `back[p, s]`
    is the row, in that product flattened to [cells * 9], where the vectors at step s of cell p met cell p.
    """
    rows, columns = grid
    row, column = np.divmod(np.arange(rows * columns), columns)
    step = np.arange(9)
    to_row, to_column = row[:, None] + step // 3 - 1, column[:, None] + step % 3 - 1
    inside = (to_row >= 0) & (to_row < rows) & (to_column >= 0) & (to_column < columns)
    queries = np.clip(to_row, 0, rows - 1) * columns + np.clip(to_column, 0, columns - 1)
    # Seen from the place at step s, the cell lies at the opposite step, 8 - s; outside the grid only itself is left.
    own = np.arange(rows * columns)[:, None] * 9 + CENTRE
    return queries, np.where(inside, queries * 9 + 8 - step, own)


def distance_maps(bank: Bank, features: Features) -> Floats:
    """Distances [n, cells] of every cell to the nearest vector of the bank: what the graph computes, in NumPy."""
    return np.stack([_distance_map(bank, picture.astype(np.float32)) for picture in features])


def leave_one_out_maps(
    features: Features, grid: Grid, kind: Kind, *, per_cell: int = 32, coreset: int = 4_000, progress: Progress = silent
) -> Floats:
    """Distances [n, cells] of every reference to a bank without it: how far apart good parts are. Needs two or more.

    Positional: exactly the bank that would have been built of the other references. Global: the bank of all of them
    less the reference's own vectors, as n coresets would take hours; it is a little sparser where they lay.
    """
    if len(features) < 2:
        raise ValueError("leaving one out needs two references or more")
    if kind == "global":
        return _global_without_own(features, grid, coreset, progress)
    return _positional_without_own(features, grid, per_cell, progress)


def image_score(maps: Floats, top_fraction: float) -> Floats:
    """The mean of the largest distances of each map: [..., cells] to [...]."""
    count = top_count(maps.shape[-1], top_fraction)
    return np.partition(maps, -count, axis=-1)[..., -count:].mean(-1)


def top_count(cells: int, top_fraction: float) -> int:
    """How many cells make the score: the nearest whole number, at least one."""
    return max(1, round(cells * top_fraction))


def _distance_map(bank: Bank, picture: Floats, own: int = -1) -> Floats:
    """One picture [cells, c] against a bank without the reference `own` (they count from 0): distances [cells]."""
    if isinstance(bank, GlobalBank):
        squared = squared_distances(picture, bank.vectors)
        squared[:, bank.source == own] = np.inf
        return np.sqrt(squared.min(1))
    queries, back = neighbourhood(bank.grid)
    squared = squared_distances(picture[queries], bank.vectors)
    return np.sqrt(squared.min(2).reshape(-1)[back].min(1))


def _global_without_own(features: Features, grid: Grid, coreset: int, progress: Progress) -> Floats:
    bank = build_global(features, grid, coreset)
    maps = np.empty(features.shape[:2], np.float32)
    for image, picture in enumerate(features):
        maps[image] = _distance_map(bank, picture.astype(np.float32), image)
        progress(image + 1, len(features))
    return maps


def _positional_without_own(features: Features, grid: Grid, per_cell: int, progress: Progress) -> Floats:
    images, cells, channels = features.shape
    kept = min(per_cell, images)
    queries, back = neighbourhood(grid)
    nearest = np.empty((images, cells, 9), np.float32)
    for block in _blocks(cells, images * (images + 4 * kept + 2 * channels)):
        here = _cells(features, block)
        distances = squared_distances(here, here)
        order = farthest_points(distances, kept)[:, 0]
        rebuilt = farthest_points(distances, kept, order) if images > kept else None
        for step in range(9):
            around = _cells(features, queries[block, step])
            nearest[:, block, step] = _nearest_of_others(around, here, order, rebuilt).T
        progress(block.stop, cells)
    return np.sqrt(nearest.reshape(images, -1)[:, back].min(2))


def exact_maps(features: Features, grid: Grid, pictures: Features, own: Indices) -> Floats:
    """Distances [q, cells] of pictures [q, cells, c] to all references [n, cells, c], each at its place and around it.

    A picture that is itself reference `own` (below 0: none) is compared with the others.
    """
    images, cells, channels = features.shape
    queries, back = neighbourhood(grid)
    nearest = np.empty((len(pictures), cells, 9), np.float32)
    rows = np.flatnonzero(own >= 0)
    for block in _blocks(cells, (images + len(pictures)) * channels + images * len(pictures)):
        here = _cells(features, block)
        for step in range(9):
            squared = squared_distances(_cells(pictures, queries[block, step]), here)
            squared[:, rows, own[rows]] = np.inf
            nearest[:, block, step] = squared.min(2).T
    return np.sqrt(nearest.reshape(len(pictures), -1)[:, back].min(2))


def _nearest_of_others(around: Floats, here: Floats, order: Indices, rebuilt: Indices | None) -> Floats:
    """Squared distances [b, n] of queries [b, n, c] to the bank of each place without the query's own picture.

    A picture that gave the place's bank nothing leaves it as it is: greedy selection never took it. For one that did,
    `rebuilt` [b, k, k] is the selection without it; None where the bank is simply all of the others.
    """
    places = np.arange(len(order))[:, None]
    squared = squared_distances(around, np.take_along_axis(here, order[..., None], 1))
    squared[places, order, np.arange(order.shape[1])] = np.inf
    nearest = squared.min(2)
    if rebuilt is not None:
        givers = squared_distances(np.take_along_axis(around, order[..., None], 1), here)
        nearest[places, order] = np.take_along_axis(givers, rebuilt, 2).min(2)
    return nearest


def _candidates(total: int, seed: int) -> Indices:
    if total <= MOST_CANDIDATES:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, MOST_CANDIDATES, replace=False))


def _order(here: Floats, kept: int) -> Indices:
    return farthest_points(squared_distances(here, here), kept)[:, 0]


def _cells(features: Features, cells: Indices | slice) -> Floats:
    """The vectors of some cells, each beside those of the other pictures: float32 [cells, n, c]."""
    return np.ascontiguousarray(features[:, cells].swapaxes(0, 1), np.float32)


def _blocks(cells: int, numbers_per_cell: int) -> Iterator[slice]:
    size = max(1, BLOCK_NUMBERS // numbers_per_cell)
    for start in range(0, cells, size):
        yield slice(start, min(start + size, cells))
