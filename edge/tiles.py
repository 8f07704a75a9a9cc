"""A region in equal tiles, each with a memory bank of its own, that say one thing together.

1. The region is cut once, at the size of all its tiles; a tile is a slice of that, at the usual working size. All are run
   by one graph, each with its own bank.
2. Each tile's score and map are standardised by what its bank said about good images it had not seen. The region's score
   is the largest of them, its map theirs side by side.
3. What the region looks like as a whole is averaged over the tiles, to as many numbers as one tile has.

A single tile's score, map and looks are the region's, as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bank import EMBEDDING_SIDE
from edge.calibrate import largest_unseen, scale_of
from edge.judge import CheckScale

Arrays = Mapping[str, NDArray[np.generic]]
Images = NDArray[np.uint8]
Floats = NDArray[np.float32]
Scores = NDArray[np.floating]
Size = tuple[int, int]

# Where a region's arrays hold the scales of its tiles: a row of median and spread each.
SCALES = "tiles"


@dataclass(frozen=True)
class Tiles:
    """`columns` x `rows` tiles, numbered row by row."""

    columns: int = 1
    rows: int = 1

    def __len__(self) -> int:
        return self.columns * self.rows

    def size(self, whole: Size) -> Size:
        """(width, height) of a tile, of a cut of (width, height)."""
        return whole[0] // self.columns, whole[1] // self.rows

    def whole(self, size: Size) -> Size:
        """(width, height) of the cut, of tiles of (width, height)."""
        return size[0] * self.columns, size[1] * self.rows

    def grid(self, whole: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a tile's map, of those of the region's."""
        return whole[0] // self.rows, whole[1] // self.columns

    def slice(self, images: Images, number: int) -> Images:
        """One tile of cuts [n, h, w, 3]."""
        (row, column), (width, height) = divmod(number, self.columns), self.size((images.shape[2], images.shape[1]))
        return images[:, row * height : (row + 1) * height, column * width : (column + 1) * width]

    def part(self, values: Floats, number: int) -> Floats:
        """One tile's of what all tiles gave, [n, tiles * d] to [n, d]."""
        return np.split(values, len(self), axis=1)[number]

    def arrays(self, arrays: Arrays, number: int) -> dict[str, NDArray[np.generic]]:
        """One tile's arrays among a region's."""
        prefix = self._prefix(number)
        return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}

    def named(self, arrays: Arrays, number: int) -> dict[str, NDArray[np.generic]]:
        """One tile's arrays by their names among the region's: those of a single tile keep theirs."""
        return {self._prefix(number) + name: values for name, values in arrays.items()}

    def embedding(self, embeddings: Sequence[Floats]) -> Floats:
        """Of the whole region, by those of its tiles, [n, e] each."""
        if len(self) == 1:
            return embeddings[0]
        side = EMBEDDING_SIDE
        placed = self._placed([one.reshape(len(one), -1, side, side) for one in embeddings])
        blocks = placed.reshape(*placed.shape[:2], side, self.rows, side, self.columns)
        return blocks.mean((3, 5), dtype=np.float32).reshape(len(placed), -1)

    def map(self, maps: Sequence[Floats]) -> Floats:
        """The tiles' maps [n, rows, columns] side by side."""
        return maps[0] if len(self) == 1 else self._placed(maps)

    def _placed(self, values: Sequence[Floats]) -> Floats:
        across = [
            np.concatenate(values[start : start + self.columns], axis=-1) for start in range(0, len(self), self.columns)
        ]
        return np.concatenate(across, axis=-2)

    def _prefix(self, number: int) -> str:
        return "" if len(self) == 1 else f"tile{number}/"


# Most regions are looked at whole.
ONE = Tiles()


@dataclass(frozen=True)
class Scales:
    """Where each tile's scores of unseen good images lie; a single tile has none."""

    each: tuple[CheckScale, ...] = ()

    @classmethod
    def learned(cls, scores: Sequence[Scores], least_spread: float) -> "Scales":
        """From each tile's scores of good images by banks without them, [n] each."""
        return cls(tuple(scale_of(one, least_spread) for one in scores) if len(scores) > 1 else ())

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Scales":
        """The inverse of `to_arrays`, among a region's other arrays."""
        rows = np.asarray(arrays.get(SCALES, np.zeros((0, 2))), np.float64)
        return cls(tuple(CheckScale(median=float(median), spread=float(spread)) for median, spread in rows))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """For an .npz; nothing of a single tile."""
        return {SCALES: np.array([[one.median, one.spread] for one in self.each])} if self.each else {}

    def score(self, scores: Sequence[Scores]) -> Scores:
        """The region's scores [n] by its tiles', [n] each: the largest, and NaN where one of them is not finite."""
        if not self.each:
            return scores[0]
        standard = np.stack([
            (np.asarray(one, np.float64) - scale.median) / scale.spread
            for one, scale in zip(scores, self.each, strict=True)
        ])  # fmt: skip
        return np.where(np.isfinite(standard).all(0), standard.max(0), np.nan)

    def maps(self, maps: Sequence[Floats]) -> Sequence[Floats]:
        """The tiles' maps, each in its own spreads from its own median."""
        if not self.each:
            return maps
        return [
            (one - np.float32(scale.median)) / np.float32(scale.spread)
            for one, scale in zip(maps, self.each, strict=True)
        ]


def unseen(scores: Sequence[Scores], least_spread: float, lots: NDArray[np.str_] | None = None) -> Scores:
    """The region's scores [n] of the very images that scales are learned of, each by scales without it, or its lot."""
    return scores[0] if len(scores) == 1 else largest_unseen(scores, [least_spread] * len(scores), lots)
