"""Compiles backbone and memory bank into one ONNX graph: a picture in; score, map and embedding out.

The bank's arrays (`tensors.py`) are inputs of it, of fixed shape, that a session binds once: a bank that has changed
runs in the same graph, and an accelerator's engine for it stays.
"""

from collections.abc import Callable

import numpy as np

from edge.backbone import Backbone, FeatureGraph, extend
from edge.bank import EMBEDDING_SIDE, Grid, top_count
from edge.errors import GoldlineError
from edge.experts import Name, grid_of, spread
from edge.positional import neighbourhood
from edge.rounding import MIDDLE, NOISE
from edge.tensors import Tensors

# As in `nearest.own_scale`.
LEAST_DEVIATION = 1e-3


def compile_graph(
    backbone: Backbone, tensors: Tensors, size_wh: tuple[int, int], top_fraction: float, *, bound: bool = True
) -> bytes:
    """One graph from uint8 BGR `image` [n, h, w, 3] to three float32 outputs.

    `map` [n, rows, columns]: distance of every cell to the bank. `score` [n]: mean of the largest `top_fraction` of
    them. `embedding` [n, e]: features averaged on a coarse grid. The tensors are further inputs, by name; without
    `bound` they are constants.
    Raises GoldlineError where bank and backbone do not fit each other.
    """
    halved = "half/vectors" in tensors
    graph = extend(backbone, size_wh, halved=halved)
    _check(tensors, graph.channels, graph.grid)
    compiler = _Compiler(graph, tensors, bound=bound)
    embedding = compiler.embedding()
    distances = compiler.levelled() if "bank/vectors" in tensors else compiler.fused()
    rows, columns = graph.grid
    builder = graph.builder
    builder.node("Reshape", distances, builder.constant([-1, rows, columns]), output="map")
    compiler.score(distances, embedding, top_count(rows * columns, top_fraction))
    builder.output("score", ["n"])
    builder.output("map", ["n", rows, columns])
    builder.output("embedding", ["n", EMBEDDING_SIDE**2 * graph.channels])
    return builder.finish()


def _check(tensors: Tensors, channels: int, grid: Grid) -> None:
    rows, columns = grid
    for name, values in tensors.items():
        if name.endswith("/vectors") and values.shape[-2] != channels:
            given = f"vectors of {values.shape[-2]} numbers, the backbone gives {channels}"
            raise GoldlineError(f"memory bank: {given}; teach again with this backbone")
        if not np.isfinite(values).all():
            raise GoldlineError("memory bank: a vector is not finite; teach again")
    places = tensors.get("bank/vectors", np.empty(rows * columns))
    if len(places) != rows * columns:
        raise GoldlineError(f"memory bank: made for {len(places)} cells, the picture has {rows} x {columns}")


class _Compiler:
    """Writes the comparison behind the features of a graph."""

    def __init__(self, graph: FeatureGraph, tensors: Tensors, *, bound: bool) -> None:
        self._builder, self._graph, self._tensors, self._bound = graph.builder, graph, tensors, bound
        self._placed: dict[str, str] = {}

    def _tensor(self, name: str) -> str:
        if name not in self._placed:
            values, builder = self._tensors[name], self._builder
            self._placed[name] = builder.given(name, values) if self._bound else builder.constant(values)
        return self._placed[name]

    def levelled(self) -> str:
        """Positional distances, less what each place varies by where the bank says so: [n, cells]."""
        distances = self.positional()
        if "bank/level" not in self._tensors:
            return distances
        return self._builder.node("Sub", distances, self._tensor("bank/level"))

    def positional(self) -> str:
        """Distances to the nearest in the nine places around each cell: [n, cells].

        The bank is far larger than the picture, so it is multiplied where it lies, [cells, 9n, c] x [cells, c, k], and
        what is moved by one cell is the queries before and the maxima after.
        """
        builder = self._builder
        cells, channels, _ = self._tensors["bank/vectors"].shape
        queries, back = neighbourhood(self._graph.grid)
        by_cell = builder.node("Transpose", self._graph.features, perm=[2, 0, 1])
        stepped = self._stepped("bank")
        by_cell = self._levels(by_cell, "bank") if stepped else by_cell
        around = builder.node("Gather", by_cell, builder.constant(queries), axis=0)
        around = builder.node("Reshape", around, builder.constant([cells, -1, channels]))
        closeness = self._closeness(self._numbers(around) if stepped else around, "bank")
        flat = builder.node("Reshape", closeness, builder.constant([cells * 9, -1]))
        met = builder.node("Gather", flat, builder.constant(back), axis=0)
        best = builder.node("ReduceMax", met, builder.constant([1]), keepdims=0)
        squares = self._squares(self._numbers(by_cell) if stepped else by_cell, 2)
        return builder.node("Transpose", self._distances(squares, best, "bank"), perm=[1, 0])

    def _stepped(self, name: str) -> bool:
        return f"{name}/step" in self._tensors

    def _levels(self, features: str, name: str) -> str:
        """Features [..., c] as bytes: see `rounding.py`."""
        builder = self._builder
        centred = builder.node("Sub", features, self._tensor(f"{name}/middle"))
        return builder.node("QuantizeLinear", centred, self._tensor(f"{name}/step"), self._zero(np.uint8))

    def _numbers(self, levels: str, kind: type[np.uint8 | np.int8] = np.uint8) -> str:
        """Bytes, unsigned about a middle or signed, as the whole numbers that they stand for.

        Written between bytes and a product, ONNX Runtime makes both one product of bytes; what does not know that
        multiplies floats, with the same result: sums stay below 2^24.
        """
        return self._builder.node("DequantizeLinear", levels, self._number(1), self._zero(kind))

    def _zero(self, kind: type[np.uint8 | np.int8]) -> str:
        return self._builder.constant(np.array(MIDDLE if kind is np.uint8 else 0, kind))

    def fused(self) -> str:
        """The mean of the experts' maps, each on its own scale and laid over the finest grid: [n, cells]."""
        builder, (rows, columns) = self._builder, self._graph.grid
        makers: dict[Name, Callable[[], str]] = {
            "whole": self._whole,
            "half": self._half,
            "gaussians": self._gaussians,
        }
        maps = [self._laid(name, maker()) for name, maker in makers.items() if f"{name}/share" in self._tensors]
        fused = builder.node("Sum", *maps)
        return builder.node("Reshape", fused, builder.constant([-1, rows * columns]))

    def _whole(self) -> str:
        return self._nearest(self._graph.features, "whole")

    def _half(self) -> str:
        return self._nearest(self._graph.half, "half")

    def _nearest(self, features: str, name: str) -> str:
        """Distances [n, cells] of features [n, c, cells] on their own picture's scale to the nearest vector."""
        builder = self._builder
        axes = builder.constant([2])
        centred = builder.node("Sub", features, builder.node("ReduceMean", features, axes))
        variance = builder.node("ReduceMean", builder.node("Mul", centred, centred), axes)
        deviation = builder.node("Add", builder.node("Sqrt", variance), self._number(LEAST_DEVIATION))
        queries = builder.node("Transpose", builder.node("Div", centred, deviation), perm=[0, 2, 1])
        if self._stepped(name):
            queries = self._numbers(self._levels(queries, name))
        return self._distances(self._squares(queries, 2), self._closeness(queries, name), name)

    def _gaussians(self) -> str:
        """Distances [n, every second cell] to the nearest of local Gaussians and exceptions."""
        builder, (rows, columns) = self._builder, self._graph.grid
        channels = self._graph.channels
        placed = builder.node("Reshape", self._graph.features, builder.constant([0, channels, rows, columns]))
        ends = [builder.constant(values) for values in ([0, 0], [rows, columns], [2, 3], [2, 2])]
        few = grid_of("gaussians", self._graph.grid)
        cells = builder.node(
            "Reshape", builder.node("Slice", placed, *ends), builder.constant([0, channels, few[0] * few[1]])
        )
        cells = builder.node("Transpose", cells, perm=[0, 2, 1])
        apart = builder.node(
            "Sub", builder.node("MatMul", cells, self._tensor("gaussians/weights")), self._tensor("gaussians/bias")
        )
        apart = builder.node("Reshape", apart, builder.constant([0, few[0] * few[1], -1, channels]))
        squares = self._squares(apart, 3)
        nearest = builder.node("ReduceMin", squares, builder.constant([2]), keepdims=0)
        return builder.node("Min", builder.node("Sqrt", nearest), self._exceptions(cells))

    def _exceptions(self, cells: str) -> str:
        builder = self._builder
        white = builder.node("MatMul", cells, self._tensor("gaussians/white"))
        white = builder.node("Sub", white, self._tensor("gaussians/centre"))
        return self._distances(self._squares(white, 2), self._closeness(white, "gaussians/exceptions"), "gaussians")

    def _laid(self, name: Name, distances: str) -> str:
        builder, grid = self._builder, self._graph.grid
        own = grid_of(name, grid)
        scaled = builder.node(
            "Sub", builder.node("Mul", distances, self._tensor(f"{name}/share")), self._tensor(f"{name}/lift")
        )
        placed = builder.node("Reshape", scaled, builder.constant([-1, *own]))
        if own == grid:
            return placed
        rows, columns = (builder.constant(matrix) for matrix in spread(own, grid, name))
        return builder.node("MatMul", builder.node("MatMul", rows, placed), columns)

    def _closeness(self, queries: str, name: str) -> str:
        """q·b - |b|²/2 at its largest over a bank's columns: half of |q|² - distance²."""
        builder = self._builder
        vectors = self._tensor(f"{name}/vectors")
        for kind in (np.uint8, np.int8):
            if self._tensors[f"{name}/vectors"].dtype == kind:
                vectors = self._numbers(vectors, kind)
        product = builder.node("MatMul", queries, vectors)
        less = builder.node("Sub", product, self._tensor(f"{name}/half"))
        return builder.node("ReduceMax", less, builder.constant([-1]), keepdims=0)

    def _squares(self, vectors: str, axis: int) -> str:
        """Squared lengths along the last axis: by two nodes, as ReduceSumSquare takes seven times as long on a CPU."""
        squared = self._builder.node("Mul", vectors, vectors)
        return self._builder.node("ReduceSum", squared, self._builder.constant([axis]), keepdims=0)

    def _distances(self, squares: str, closeness: str, name: str) -> str:
        """sqrt(|q|² - 2·closeness), where rounding may leave a little less than 0: [n, cells].

        Of a bank in steps without what these add, and in the features' own unit.
        """
        builder = self._builder
        if self._stepped(name):
            squares = builder.node("Sub", squares, self._number(NOISE * self._graph.channels))
        squared = builder.node("Sub", squares, builder.node("Add", closeness, closeness))
        distances = builder.node("Sqrt", builder.node("Relu", squared))
        return builder.node("Mul", distances, self._tensor(f"{name}/step")) if self._stepped(name) else distances

    def embedding(self) -> str:
        """Features averaged over a coarse grid, as one product: [n, e]."""
        rows, columns = (np.arange(side) * EMBEDDING_SIDE // side for side in self._graph.grid)
        tile = (rows[:, None] * EMBEDDING_SIDE + columns).ravel()
        average = np.eye(EMBEDDING_SIDE**2, dtype=np.float32)[tile]
        average /= np.maximum(average.sum(0), 1)
        means = self._builder.node("MatMul", self._graph.features, self._builder.constant(average))
        shape = self._builder.constant([0, EMBEDDING_SIDE**2 * self._graph.channels])
        return self._builder.node("Reshape", means, shape, output="embedding")

    def score(self, distances: str, embedding: str, count: int) -> None:
        """The mean of the `count` largest distances.

        Nothing times the sum of the embedding is added: 0 as long as every feature is finite, else NaN, which judge
        refuses. Without it, features that overflow could be sorted away and pass for a good part.
        """
        builder = self._builder
        largest = builder.name("largest")
        inputs = [distances, builder.constant([count])]
        builder.nodes("TopK", inputs, [largest, builder.name("indices")], axis=1, sorted=0)
        mean = builder.node("ReduceMean", largest, builder.constant([1]), keepdims=0)
        total = builder.node("ReduceSum", embedding, builder.constant([1]), keepdims=0)
        nothing = builder.node("Mul", total, self._number(0))
        builder.node("Add", mean, nothing, output="score")

    def _number(self, value: float) -> str:
        return self._builder.constant(np.array(value, np.float32))
