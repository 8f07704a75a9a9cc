"""Memory banks: what good parts have looked like, and how far a new picture is from that.

A *positional* bank (`positional.py`) holds, for every cell, vectors of that same place on the good parts: the right
thing in the wrong place is far. The *global* bank holds what good parts look like anywhere, for textures and parts that
lie at any angle: several experts that fail differently, fused into one map (`experts.py`).

Features are [n, cells, c], cells row by row over a grid (rows, columns); float16 is kept as it is and computed with
as float32. Distances are Euclidean. `score_graph.py` compiles the same comparison into the ONNX graph.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.coreset import Floats, Indices

Features = NDArray[np.float16] | NDArray[np.float32]
Grid = tuple[int, int]
Kind = Literal["positional", "global"]

# Side of the grid that features are averaged on to find the closest reference: coarse enough to forgive a shift.
EMBEDDING_SIDE = 4
# Float32 numbers of one block's working arrays: 16 MiB, so that several at once stay far below the teaching budget.
BLOCK_NUMBERS = 4 << 20


class Seen(NamedTuple):
    """Features of n pictures at their size, `whole` [n, cells, c], and at half of it, `half` [n, fewer cells, c].

    `half` has no cells where it was not asked for.
    """

    whole: Features
    half: Features

    @property
    def pictures(self) -> int:
        """How many these are."""
        return len(self.whole)

    def take(self, rows: Indices | slice | NDArray[np.bool_]) -> "Seen":
        """Those of some pictures."""
        return Seen(self.whole[rows], self.half[rows])


def only(whole: Features) -> Seen:
    """Features of pictures that nothing looks at by half their size."""
    return Seen(whole, whole[:, :0])


def image_score(maps: Floats, top_fraction: float) -> Floats:
    """The mean of the largest distances of each map: [..., cells] to [...]."""
    count = top_count(maps.shape[-1], top_fraction)
    return np.partition(maps, -count, axis=-1)[..., -count:].mean(-1)


def top_count(cells: int, top_fraction: float) -> int:
    """How many cells make the score: the nearest whole number, at least one."""
    return max(1, round(cells * top_fraction))


def blocks(cells: int, numbers_per_cell: int) -> Iterator[slice]:
    """Cells in runs that need at most BLOCK_NUMBERS numbers at once."""
    size = max(1, BLOCK_NUMBERS // numbers_per_cell)
    for start in range(0, cells, size):
        yield slice(start, min(start + size, cells))
