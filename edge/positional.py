"""The positional memory bank: every cell is compared with what was in its own place, and the eight around it.

The bank keeps, of every cell, some of the references' vectors, chosen farthest-point; leaving one reference out gives
exactly the bank that would have been built of the others.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bank import Features, Grid, blocks
from edge.coreset import Floats, Indices, Progress, farthest_points, silent, squared_distances
from edge.rounding import Rounding, rounding_of_each

# A cell's own place among the nine that it is compared with.
CENTRE = 4
# Pictures that the places' levels are taken to be alike by, before any is seen: so few hardly tell one from chance.
LEVEL_PRIOR = 5


class PositionalBank(msgspec.Struct, frozen=True, kw_only=True):
    """`vectors` float32 [cells, k, c]; `source` int32 [cells, k] is the reference each came from.

    With a `rounding` they are compared in its steps. `level` [cells] is how much farther than the mean cell each place of
    unseen good pictures lies: a map is distances less it, as what varies there would else hide a deviation elsewhere.
    """

    vectors: Floats
    source: NDArray[np.int32]
    grid: Grid
    rounding: Rounding | None = None
    level: Floats | None = None


def build_positional(features: Features, grid: Grid, per_cell: int, progress: Progress = silent) -> PositionalBank:
    """Keeps `per_cell` references of every cell, farthest first; all of them where there are no more."""
    images, cells, channels = features.shape
    kept = min(per_cell, images)
    vectors = np.empty((cells, kept, channels), np.float32)
    source = np.empty((cells, kept), np.int32)
    for block in blocks(cells, images * images):
        here = _cells(features, block)
        order = _order(here, kept)
        vectors[block] = np.take_along_axis(here, order[..., None], 1)
        source[block] = order
        progress(block.stop, cells)
    return PositionalBank(vectors=vectors, source=source, grid=grid)


def grow_positional(bank: PositionalBank, features: Features, first: int, most: int) -> PositionalBank:
    """The bank with the vectors of more references, features [m, cells, c], of which `first` is the first's number.

    At most `most` vectors a cell: the new ones for certain, and of the old those farthest from them and each other.
    """
    fresh = all_of(features, bank.grid, first)
    count = min(bank.vectors.shape[1], max(0, most - len(features)))
    kept = np.empty((len(bank.vectors), count), np.int64)
    for block in blocks(len(bank.vectors), bank.vectors.shape[1] ** 2):
        old = bank.vectors[block]
        given = squared_distances(old, fresh.vectors[block]).min(2)
        kept[block] = farthest_points(squared_distances(old, old), count, given=given)[:, 0]
    return PositionalBank(
        vectors=np.concatenate([fresh.vectors, np.take_along_axis(bank.vectors, kept[..., None], 1)], axis=1),
        source=np.concatenate([fresh.source, np.take_along_axis(bank.source, kept, 1)], axis=1),
        grid=bank.grid,
        rounding=bank.rounding,
        level=bank.level,
    )


def level_of(maps: Floats) -> Floats:
    """The level [cells] of unseen good pictures' distances [n, cells]; of few pictures, drawn towards none."""
    return np.asarray((maps.mean(0) - maps.mean()) * level_share(len(maps)), np.float32)


def level_share(pictures: int) -> float:
    """How much of what the places of so many pictures vary by is taken for more than chance."""
    return pictures / (pictures + LEVEL_PRIOR)


def compared_in_steps(banks: Sequence[PositionalBank]) -> list[PositionalBank]:
    """Banks that one graph compares with, in steps where these are fine enough for each of them, else as they are."""
    found = rounding_of_each([bank.vectors for bank in banks])
    return [msgspec.structs.replace(bank, rounding=one) for bank, one in zip(banks, found, strict=True)]


def all_of(features: Features, grid: Grid, first: int = 0) -> PositionalBank:
    """All vectors of some references, features [m, cells, c], as a bank."""
    images, cells, _ = features.shape
    sources = np.arange(first, first + images, dtype=np.int32)
    vectors = np.ascontiguousarray(features.swapaxes(0, 1), np.float32)
    return PositionalBank(vectors=vectors, source=np.tile(sources, (cells, 1)), grid=grid)


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


def positional_maps(bank: PositionalBank, features: Features) -> Floats:
    """Distances [n, cells] of every cell to the nearest vector of the bank: what the graph computes, in NumPy."""
    queries, back = neighbourhood(bank.grid)
    maps = np.empty(features.shape[:2], np.float32)
    rounding = bank.rounding
    vectors = bank.vectors if rounding is None else rounding.levels(bank.vectors)
    for row, picture in enumerate(features):
        seen = picture.astype(np.float32) if rounding is None else rounding.levels(picture)
        squared = squared_distances(seen[queries], vectors).min(2).reshape(-1)[back].min(1)
        maps[row] = np.sqrt(squared if rounding is None else rounding.squared(squared))
    return maps


def positional_without_own(features: Features, grid: Grid, per_cell: int, progress: Progress = silent) -> Floats:
    """Distances [n, cells] of every reference to exactly the bank that would have been built of the others."""
    if len(features) < 2:
        raise ValueError("leaving one out needs two references or more")
    images, cells, channels = features.shape
    kept = min(per_cell, images)
    queries, back = neighbourhood(grid)
    nearest = np.empty((images, cells, 9), np.float32)
    for block in blocks(cells, images * (images + 4 * kept + 2 * channels)):
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
    for block in blocks(cells, (images + len(pictures)) * channels + images * len(pictures)):
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


def _order(here: Floats, kept: int) -> Indices:
    return farthest_points(squared_distances(here, here), kept)[:, 0]


def _cells(features: Features, cells: Indices | slice) -> Floats:
    """The vectors of some cells, each beside those of the other pictures: float32 [cells, n, c]."""
    return np.ascontiguousarray(features[:, cells].swapaxes(0, 1), np.float32)
