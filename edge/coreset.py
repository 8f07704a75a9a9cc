"""Which vectors stand for many: greedy k-centre selection, farthest point first (Gonzalez 1985).

Distances are squared Euclidean throughout; only their order matters here.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
# Called with what is done and how much there is.
Progress = Callable[[int, int], None]

# Candidates whose distances are kept exact while centres are picked from them: 2,048 vectors of 152 numbers are
# 1.2 MB, which stays in a core's second-level cache.
POOL = 2048
# Rows of one matrix product of the sweep over all vectors: bounds its result to a few megabytes.
SWEEP_ROWS = 8192


def silent(done: int, total: int) -> None:
    """Reports no progress."""


def squared_distances(queries: Floats, references: Floats) -> Floats:
    """[..., q, c] and [..., r, c] to [..., q, r], by |q|² + |r|² - 2 q·r, never below 0."""
    distances = queries @ np.swapaxes(references, -1, -2)
    distances *= -2
    distances += np.square(queries).sum(-1)[..., :, None]
    distances += np.square(references).sum(-1)[..., None, :]
    return np.maximum(distances, 0, out=distances)


def farthest_points(
    distances: Floats, count: int, excluded: Indices | None = None, given: Floats | None = None
) -> Indices:
    """`count` centres of each of b sets of n points, the point of lowest index first.

    `distances` is [b, n, n]; `excluded` [b, e] asks for e selections of each set, each without one point, and the
    result is [b, e, count] (e = 1 without it). `given` [b, n] are distances to centres that there are already. `count`
    must not exceed the points left.
    """
    sets, points, _ = distances.shape
    selections = 1 if excluded is None else excluded.shape[1]
    rows, columns = np.ogrid[:sets, :selections]
    nearest = np.full((sets, selections, points), np.inf, np.float32)
    if given is not None:
        nearest[:] = given[:, None]
    # Below every distance: such a point is never the farthest.
    if excluded is not None:
        nearest[rows, columns, excluded] = -1
    order = np.empty((sets, selections, count), np.int64)
    for place in range(count):
        pick = order[..., place] = nearest.argmax(-1)
        np.minimum(nearest, distances[rows, pick], out=nearest)
        nearest[rows, columns, pick] = -1
    return order


def k_centre(vectors: Floats, count: int, seed: int = 0, progress: Progress = silent) -> Indices:
    """`count` centres [count] of `vectors` [n, c], in the order greedy selection takes them.

    The same centres as computing every distance after every pick, but in few passes over all vectors. Distances to
    the nearest centre only ever fall, so a point outside the pool of the farthest can be overtaken but not overlooked:

    1. Take the POOL points that are farthest from the centres so far; the nearest of them is the bar.
    2. Pick from the pool, updating the pool alone, while its farthest point lies above the bar.
    3. Sweep: bring every vector up to date with the new centres, in matrix products. Again from 1.
    """
    if count >= len(vectors):
        return np.arange(len(vectors))
    chosen = [int(np.random.default_rng(seed).integers(len(vectors)))]
    squares = np.square(vectors).sum(1)
    nearest = np.full(len(vectors), np.inf, np.float32)
    swept = 0
    while len(chosen) < count:
        _sweep(vectors, squares, nearest, np.array(chosen[swept:]))
        swept = len(chosen)
        chosen += _pick_from_pool(vectors, squares, nearest, count - len(chosen))
        progress(len(chosen), count)
    return np.array(chosen)


def _sweep(vectors: Floats, squares: Floats, nearest: Floats, centres: Indices) -> None:
    added = vectors[centres]
    half = squares[centres] / 2
    for start in range(0, len(vectors), SWEEP_ROWS):
        rows = slice(start, start + SWEEP_ROWS)
        closeness = vectors[rows] @ added.T
        closeness -= half
        np.minimum(nearest[rows], squares[rows] - 2 * closeness.max(1), out=nearest[rows])
    nearest[centres] = -1


def _pick_from_pool(vectors: Floats, squares: Floats, nearest: Floats, most: int) -> list[int]:
    pool = np.arange(len(vectors))
    if len(vectors) > POOL:
        pool = np.sort(np.argpartition(nearest, len(vectors) - POOL)[-POOL:])
    inside, norms, left = vectors[pool], squares[pool], nearest[pool].copy()
    bar = left.min() if len(vectors) > POOL else -np.inf
    picked: list[int] = []
    while len(picked) < most:
        best = int(left.argmax())
        if picked and left[best] < bar:
            break
        picked.append(int(pool[best]))
        np.minimum(left, norms + norms[best] - 2 * (inside @ inside[best]), out=left)
        left[best] = -1
    return picked
