"""Whether a region is looked at in tiles: only where the camera sees more than one tile shows, and it clearly helps.

1. The finest grid is looked for that needs no more than the camera's picture, MOST_TILES over all regions of the view, and
   memory for the good images' cuts. Where there is none, or few good images, one tile is taken untried.
2. Fine flaws, a few px of the camera's picture, are drawn into held-out good images; the region is cut out of them
   as the line would, whole and in tiles, and scored by what would decide on the line: bank, and template where it is kept.
3. A template that coarser deviations left out (`choose.py`) is kept after all where it finds clearly more of these: it
   costs next to nothing.
4. Tiles are taken where they then find clearly more: they cost a graph run each.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge.check_recipes import AnomalyCheck
from edge.errors import GoldlineError
from edge.fine_trial import FineTrial, Subject
from edge.learner import Box, Plan, Size
from edge.material import Tell
from edge.recipe import RegionRecipe
from edge.tiles import ONE, Tiles
from edge.trial import LEAST_ERROR, Trial

# The size of one tile of a box in such a grid.
SizeOf = Callable[[Tiles], Size]

# Graph runs a frame, over all regions of a view, that teach decides for by itself: a line waits for them.
MOST_TILES = 4
# Camera px for each px of a single tile, along a side: from here on there is something to gain.
LEAST_DETAIL = 1.5
# Sides are whole numbers of what the backbone takes: so much blowing up is no loss.
LEAST_SHRINKAGE = 0.95
# A tile is at most so many times as long as wide, or as the region is: slim ones see little around a place.
MOST_ELONGATED = 2.0
# Fewer good images than this say nothing about so rare a thing as a good part's worst place.
LEAST_IMAGES = 8
# Bytes of good images' cuts and of banks, of all regions in tiles: a third of the GiB that teach may take, 300 images in
# four tiles.
TILE_BYTES = 320 << 20
# Of a bank, for each px of a tile and each vector that it keeps of a place: 152 floats for 8 x 8 px.
BANK_BYTES = 10
# Tiles are taken where they leave at most this share of one tile's wrong pairs, by more standard errors than chance.
CLEAR_SHARE = 3 / 4
CLEAR_ERRORS = 2.0


@dataclass(frozen=True)
class Room:
    """What each region may take whose tiles teach decides: so many, and so many bytes of cuts and banks."""

    tiles: int
    bytes: int


def room(regions: Sequence[RegionRecipe], sizes: Sequence[SizeOf], images: int) -> Room:
    """What the tiles that a recipe asks for leave. `sizes` are those of each region's tiles.

    Raises GoldlineError where it asks for more than memory holds of so many images.
    """
    needed: dict[str, int] = {}
    free, left = 0, MOST_TILES
    for region, size_of in zip(regions, sizes, strict=True):
        if region.anomaly is None:
            continue
        if region.anomaly.tiles == "auto":
            free += 1
            continue
        tiles = Tiles(*region.anomaly.tiles)
        left -= len(tiles)
        if len(tiles) > 1:
            needed[region.name] = tile_bytes(tiles.whole(size_of(tiles)), images, region.anomaly.per_cell)
    total = sum(needed.values())
    if total > TILE_BYTES:
        raise GoldlineError(
            f"regions.anomaly.tiles of {', '.join(needed)}: {images} good images and their memory banks would take "
            f"{total / 2**20:.0f} MiB in tiles, {TILE_BYTES >> 20} are to be had: ask for fewer tiles, a smaller "
            "working_px or per_cell, or teach from fewer images"
        )
    return Room(max(1, left // max(1, free)), (TILE_BYTES - total) // max(1, free))


def tile_bytes(size: Size, images: int, per_cell: int = AnomalyCheck().per_cell) -> int:
    """Of the cuts of so many images, and of banks that keep so many vectors of a place."""
    return size[0] * size[1] * (3 * images + BANK_BYTES * min(per_cell, images))


def finest(box: Box, size_of: SizeOf, images: int, within: Room) -> Tiles:
    """The most tiles that the camera's picture fills, near to squares of it; one where it holds no more detail."""
    width, height = size_of(ONE)
    if math.sqrt(box[2] * box[3] / (width * height)) < LEAST_DETAIL:
        return ONE

    def fits(tiles: Tiles) -> bool:
        across, down = whole = tiles.whole(size_of(tiles))
        fills = box[2] >= LEAST_SHRINKAGE * across and box[3] >= LEAST_SHRINKAGE * down
        is_slim = elongation(box, tiles) > max(math.log(MOST_ELONGATED), elongation(box, ONE))
        return fills and not is_slim and tile_bytes(whole, images) <= within.bytes

    sides = range(1, within.tiles + 1)
    grids = [Tiles(columns, rows) for rows in sides for columns in sides if columns * rows <= within.tiles]
    found = [ONE, *(tiles for tiles in grids if len(tiles) > 1 and fits(tiles))]
    return max(found, key=lambda tiles: (len(tiles), -elongation(box, tiles)))


def elongation(box: Box, tiles: Tiles) -> float:
    """How far a tile of a box is from square: the logarithm of its longer side over its shorter one."""
    return abs(math.log(box[2] * tiles.rows / (box[3] * tiles.columns)))


def shown(name: str, box: Box, plan: Plan) -> str:
    """The working resolution, in words."""
    width, height = plan.tiles.size(plan.size)
    share = math.sqrt(plan.size[0] * plan.size[1] / (box[2] * box[3]))
    return f"working resolution of {name}: {_said(plan.tiles)} of {width} x {height} px, {share:.2f} px for each px of the camera"


class Tiler:
    """Decides on the tiles of one region, of which all else is planned.

    `size_of` is the size of one tile of a grid, `finer` the template's where it is kept or may be.
    """

    def __init__(self, subject: Subject, size_of: SizeOf, finer: Size | None) -> None:
        self._name, self._anomaly, self._box = subject.region.name, subject.anomaly, subject.box
        self._images, self._size_of, self._finer = len(subject.material), size_of, finer
        self._trial = FineTrial(subject, finer)

    def tiled(self, plan: Plan, within: Room, tell: Tell) -> tuple[Plan, tuple[str, ...]]:
        """The plan in tiles or as it is, and why."""
        if self._anomaly.tiles != "auto":
            found = self._in(plan, Tiles(*self._anomaly.tiles))
            return found, (shown(self._name, self._box, found),)
        many = self._in(plan, finest(self._box, self._size_of, self._images, within))
        if len(many.tiles) == 1:
            return plan, (shown(self._name, self._box, plan),)
        if self._images < LEAST_IMAGES:
            why = f"1 tile: {self._images} good images are too few to try {_said(many.tiles)} on"
            return plan, (why, shown(self._name, self._box, plan))
        trial, reasons = self._trial.run(plan, many, tell), ()
        if plan.template is None and self._finer is not None:
            keeps, why = choose_finer(trial, str(plan.bank))
            reasons = (why,) if keeps else ()
            plan, many = (replace(one, template=self._finer if keeps else None) for one in (plan, many))
        takes, why = choose_tiles(trial, plan, many)
        chosen = many if takes else plan
        return chosen, (*reasons, why, shown(self._name, self._box, chosen))

    def _in(self, plan: Plan, tiles: Tiles) -> Plan:
        return replace(plan, size=tiles.whole(self._size_of(tiles)), tiles=tiles)


def choose_finer(trial: Trial, kind: str) -> tuple[bool, str]:
    """Whether the template is kept after all, which sees fine flaws at a fraction of what tiles cost; and why."""
    takes = is_clear(trial, (kind,), (kind, "template"))
    figures = (
        f"{trial.wrong(kind):.0%} of the pairs are in the wrong order, {trial.wrong(kind, 'template'):.0%} with it"
    )
    return takes, f"template kept after all: of good images and copies with fine flaws {figures}"


def is_clear(trial: Trial, one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether some methods clearly have fewer pairs of good image and flawed copy in the wrong order than others."""
    fewer, error = trial.fewer_wrong(other, one)
    return max(trial.wrong(*other), LEAST_ERROR) <= CLEAR_SHARE * trial.wrong(*one) and fewer > CLEAR_ERRORS * error


def choose_tiles(trial: Trial, plan: Plan, many: Plan) -> tuple[bool, str]:
    """Whether to take `many` tiles instead of the plan's one, and why."""
    beside = () if plan.template is None else ("template",)
    one, other = (str(plan.bank), *beside), ("tiles", *beside)
    wrong, left = trial.wrong(*one), trial.wrong(*other)
    figures = (
        f"of good images and {len(trial.owner)} copies with fine flaws one tile has {wrong:.0%} of the pairs in the wrong "
        f"order, {_said(many.tiles)} {left:.0%}, standard error of the difference {trial.fewer_wrong(other, one)[1]:.1%}"
    )
    if is_clear(trial, one, other):
        return True, f"{_said(many.tiles)}, {len(many.tiles)} graph runs a frame, as they find clearly more: {figures}"
    return False, f"1 tile, a graph run a frame, as more do not find clearly more: {figures}"


def _said(tiles: Tiles) -> str:
    return "1 tile" if len(tiles) == 1 else f"{tiles.columns} x {tiles.rows} tiles"
