"""Compiles backbone and memory bank into one ONNX graph: a picture in; score, map and embedding out."""

import numpy as np

from edge.backbone import Backbone, extend
from edge.bank import Bank, Grid, PositionalBank, neighbourhood, top_count
from edge.coreset import Floats
from edge.errors import GoldlineError
from edge.graph import GraphBuilder

# Side of the grid that features are averaged on to find the closest reference: coarse enough to forgive a shift.
EMBEDDING_SIDE = 4
# Columns of one product with a global bank: 1,024 cells of them are 4 MB, which stay in the cache until reduced.
GLOBAL_COLUMNS = 1024


def compile_graph(backbone: Backbone, bank: Bank, size_wh: tuple[int, int], top_fraction: float) -> bytes:
    """One graph from uint8 BGR `image` [n, h, w, 3] to three float32 outputs.

    `map` [n, rows, columns]: distance of every cell to the bank. `score` [n]: mean of the largest `top_fraction` of
    them. `embedding` [n, e]: features averaged on a coarse grid. Raises GoldlineError where bank and backbone do not
    fit each other.
    """
    builder, features, channels, (rows, columns) = extend(backbone, size_wh)
    _check(bank, channels, (rows, columns))
    embedding = _embedding(builder, features, bank.grid, channels)
    nearest = _positional if isinstance(bank, PositionalBank) else _global
    closeness = nearest(builder, features, bank)
    distances = _distances(builder, features, closeness)
    builder.node("Reshape", distances, builder.constant([-1, rows, columns]), output="map")
    _score(builder, distances, embedding, top_count(rows * columns, top_fraction))
    builder.output("score", ["n"])
    builder.output("map", ["n", rows, columns])
    builder.output("embedding", ["n", EMBEDDING_SIDE**2 * channels])
    return builder.finish()


def _check(bank: Bank, channels: int, grid: Grid) -> None:
    if bank.grid != grid:
        (had, wide), (rows, columns) = bank.grid, grid
        raise GoldlineError(f"memory bank: made for {had} x {wide} cells, the picture has {rows} x {columns}")
    if bank.vectors.shape[-1] != channels:
        given = f"vectors of {bank.vectors.shape[-1]} numbers, the backbone gives {channels}"
        raise GoldlineError(f"memory bank: {given}; teach again with this backbone")
    if not np.isfinite(bank.vectors).all():
        raise GoldlineError("memory bank: a vector is not finite; teach again")


def _positional(builder: GraphBuilder, features: str, bank: Bank) -> str:
    """max(q·b - |b|²/2) over the nine places around each cell: [n, cells].

    The bank is far larger than the picture, so it is multiplied where it lies, [cells, 9n, c] x [cells, c, k], and
    what is moved by one cell is the queries before and the maxima after.
    """
    cells, _, channels = bank.vectors.shape
    queries, back = neighbourhood(bank.grid)
    by_cell = builder.node("Transpose", features, perm=[2, 0, 1])
    around = builder.node("Gather", by_cell, builder.constant(queries), axis=0)
    around = builder.node("Reshape", around, builder.constant([cells, -1, channels]))
    closeness = _closeness(builder, around, np.swapaxes(bank.vectors, 1, 2))
    flat = builder.node("Reshape", closeness, builder.constant([cells * 9, -1]))
    met = builder.node("Gather", flat, builder.constant(back), axis=0)
    best = builder.node("ReduceMax", met, builder.constant([1]), keepdims=0)
    return builder.node("Transpose", best, perm=[1, 0])


def _global(builder: GraphBuilder, features: str, bank: Bank) -> str:
    """max(q·b - |b|²/2) over all vectors: [n, cells], some columns of the product at a time."""
    queries = builder.node("Transpose", features, perm=[0, 2, 1])
    parts = [
        _closeness(builder, queries, bank.vectors[start : start + GLOBAL_COLUMNS].T)
        for start in range(0, len(bank.vectors), GLOBAL_COLUMNS)
    ]
    return builder.node("Max", *parts)


def _closeness(builder: GraphBuilder, queries: str, vectors: Floats) -> str:
    """q·b - |b|²/2 at its largest over the columns b of `vectors` [..., c, k]: half of |q|² - distance²."""
    product = builder.node("MatMul", queries, builder.constant(vectors.astype(np.float32)))
    half = (np.square(vectors, dtype=np.float64).sum(-2, keepdims=True) / 2).astype(np.float32)
    return builder.node(
        "ReduceMax", builder.node("Sub", product, builder.constant(half)), builder.constant([-1]), keepdims=0
    )


def _distances(builder: GraphBuilder, features: str, closeness: str) -> str:
    """sqrt(|q|² - 2·closeness), where rounding may leave a little less than 0: [n, cells]."""
    squares = builder.node("ReduceSumSquare", features, builder.constant([1]), keepdims=0)
    twice = builder.node("Add", closeness, closeness)
    squared = builder.node("Sub", squares, twice)
    return builder.node("Sqrt", builder.node("Relu", squared))


def _embedding(builder: GraphBuilder, features: str, grid: tuple[int, int], channels: int) -> str:
    """Features [n, channels, cells] averaged over a coarse grid, as one product: [n, e]."""
    rows, columns = (np.arange(side) * EMBEDDING_SIDE // side for side in grid)
    tile = (rows[:, None] * EMBEDDING_SIDE + columns).ravel()
    average = np.eye(EMBEDDING_SIDE**2, dtype=np.float32)[tile]
    average /= np.maximum(average.sum(0), 1)
    means = builder.node("MatMul", features, builder.constant(average))
    return builder.node("Reshape", means, builder.constant([0, EMBEDDING_SIDE**2 * channels]), output="embedding")


def _score(builder: GraphBuilder, distances: str, embedding: str, count: int) -> None:
    """The mean of the `count` largest distances.

    Nothing times the sum of the embedding is added: 0 as long as every feature is finite, else NaN, which judge
    refuses. Without it, features that overflow could be sorted away and pass for a good part.
    """
    largest = builder.name("largest")
    inputs = [distances, builder.constant([count])]
    builder.nodes("TopK", inputs, [largest, builder.name("indices")], axis=1, sorted=0)
    mean = builder.node("ReduceMean", largest, builder.constant([1]), keepdims=0)
    total = builder.node("ReduceSum", embedding, builder.constant([1]), keepdims=0)
    nothing = builder.node("Mul", total, builder.constant(np.zeros((), np.float32)))
    builder.node("Add", mean, nothing, output="score")
