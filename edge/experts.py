"""The global bank: three experts that fail differently, each on a scale of its own, fused into one map.

    whole       nearest of a coreset, at the region's size: a part of any pose, texture as fine as a cell sees
    half        the same at half the size: structures larger than a cell's field, as stains and uneven light
    gaussians   local Gaussians over plain features: fine marks on a regular texture

Which of them count is decided by teach (`choose.py`). An expert's map is scaled so that unseen good pictures are 0 on
average at every place (at the rim, where the backbone looks beyond the picture, everything is far from everything), and
the worst 3 % of their cells 1; the fused map is the mean, at the finest grid.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bank import Features, Grid, Seen
from edge.coreset import Floats, Indices, Progress, silent
from edge.gaussians import (
    LocalGaussians,
    every_second,
    except_for,
    exceptions_alone,
    fit_gaussians,
    gaussian_distances,
)
from edge.nearest import NearestBank, all_vectors, build_nearest, grow_nearest, nearest_distances, nearest_in_steps

Name = Literal["whole", "half", "gaussians"]
NAMES: tuple[Name, ...] = get_args(Name)
Model = NearestBank | LocalGaussians
# Distances of n pictures by one expert, [n, its cells], of each.
Maps = Mapping[Name, Floats]

# Cells whose mean makes the unit of an expert's scale: those that a fused score is made of.
WORST_SHARE = 0.03
# A unit of nothing, where all good pictures are equal, would make every difference infinite.
LEAST_UNIT = 1e-6
# Gaussians take a second to fit: unseen pictures are scored by so many fits, few by one each.
FOLDS = 5
FEW_IMAGES = 10


class Scale(NamedTuple):
    """Where each cell of an expert's good maps lies on average, and how far above that their worst cells.

    `middle` is [its cells], or [1] where all cells have one.
    """

    middle: Floats
    unit: float


class Expert(msgspec.Struct, frozen=True, kw_only=True):
    """A model, and the scale of its maps."""

    model: Model
    scale: Scale


class FusedBank(msgspec.Struct, frozen=True, kw_only=True):
    """Experts by name, in the order of NAMES; `grid` is the finest, of the fused map."""

    experts: dict[Name, Expert]
    grid: Grid

    @property
    def vectors(self) -> int:
        """How many vectors and Gaussians a picture is compared with."""
        return sum(
            len(one.model.vectors) if isinstance(one.model, NearestBank) else one.model.clusters
            for one in self.experts.values()
        )


def grid_of(name: Name, grid: Grid) -> Grid:
    """The cells of an expert's map, where the finest has `grid`."""
    rows, columns = grid
    return (
        (rows // 2, columns // 2)
        if name == "half"
        else ((rows + 1) // 2, (columns + 1) // 2)
        if name == "gaussians"
        else grid
    )


def seen_by(name: Name, seen: Seen, grid: Grid) -> Features:
    """The features that an expert looks at, [n, its cells, c]."""
    if name == "gaussians":
        return every_second(seen.whole, grid)
    return seen.half if name == "half" else seen.whole


def fit(name: Name, seen: Seen, grid: Grid, coreset: int, progress: Progress = silent) -> Model:
    """One expert's model of good pictures."""
    features = seen_by(name, seen, grid)
    return fit_gaussians(features) if name == "gaussians" else build_nearest(features, coreset, progress)


def maps_by(name: Name, model: Model, seen: Seen, grid: Grid, own: Sequence[int] = ()) -> Floats:
    """One expert's distances [n, its cells]; `own` is the reference that each picture is, where it is one."""
    features = seen_by(name, seen, grid)
    if isinstance(model, LocalGaussians):
        return np.stack([gaussian_distances(model, picture) for picture in features])
    numbers = own or [-1] * len(features)
    return np.stack(
        [nearest_distances(model, picture, number) for picture, number in zip(features, numbers, strict=True)]
    )


def unseen_maps(
    names: Iterable[Name],
    models: Mapping[Name, Model],
    seen: Seen,
    grid: Grid,
    coreset: int,
    lots: NDArray[np.str_] | None,
    progress: Progress = silent,
) -> dict[Name, Floats]:
    """Of every good picture the distances to models without it, or without its lot where there are lots.

    Nearest vectors: the picture's own are left out of the coreset of all. Gaussians, and everything where there are
    lots: fitted again without a fold of pictures, of which each lot lies in one.
    """
    folds = _folds(seen.pictures, lots)
    found: dict[Name, Floats] = {}
    for done, name in enumerate(names):
        if name != "gaussians" and lots is None:
            found[name] = maps_by(name, models[name], seen, grid, range(seen.pictures))
        else:
            maps = np.empty((seen.pictures, np.prod(grid_of(name, grid))), np.float32)
            for own in folds:
                maps[own] = maps_by(name, fit(name, seen.take(~own), grid, coreset), seen.take(own), grid)
            found[name] = maps
        progress(done + 1, len(models))
    return found


def scale_of(maps: Floats) -> Scale:
    """The scale of unseen good pictures' maps [n, cells]."""
    middle = np.asarray(maps.mean(0), np.float32)
    return Scale(middle, max(worst_of(maps - middle), LEAST_UNIT))


def worst_of(maps: Floats) -> float:
    """The mean over the worst cells of all maps [n, cells]."""
    worst = max(1, round(WORST_SHARE * maps.shape[1]))
    return float(np.partition(maps, -worst, axis=1)[:, -worst:].mean())


def beside_others(maps: Floats, lots: NDArray[np.str_] | None) -> Floats:
    """Maps [n, cells] that lie to their middle as each lies to that of the others, or of the other lots.

    What a picture gave the middle would bring it closer than a new one comes.
    """
    groups = np.arange(len(maps)) if lots is None else np.unique(lots, return_inverse=True)[1]
    sums = np.zeros((int(groups.max()) + 1, maps.shape[1]), np.float64)
    np.add.at(sums, groups, maps)
    others = (sums.sum(0) - sums) / (len(maps) - np.bincount(groups))[:, None]
    return (maps + maps.mean(0) - others[groups]).astype(np.float32)


def spread(own: Grid, grid: Grid, name: Name) -> tuple[Floats, Floats]:
    """Matrices that lay an expert's map over the finest grid: rows [rows, own rows] and columns [own columns, columns].

    Linear between the middles of its cells; those of "gaussians" lie where every second of the finest does.
    """
    rows, columns = (_linear(few, many, name) for few, many in zip(own, grid, strict=True))
    return rows, np.ascontiguousarray(columns.T)


def fuse(scales: Mapping[Name, Scale], maps: Maps, grid: Grid) -> Floats:
    """The fused maps [n, cells] of the experts that have a scale."""
    fused = np.zeros((len(next(iter(maps.values()))), *grid), np.float32)
    for name, (middle, unit) in scales.items():
        own = grid_of(name, grid)
        rows, columns = spread(own, grid, name)
        fused += rows @ ((maps[name] - middle) / (unit * len(scales))).reshape(-1, *own) @ columns
    return fused.reshape(len(fused), -1)


def fused_maps(bank: FusedBank, maps: Maps) -> Floats:
    """The fused maps [n, cells] of a bank's experts."""
    return fuse({name: expert.scale for name, expert in bank.experts.items()}, maps, bank.grid)


def expert_maps(bank: FusedBank, seen: Seen) -> dict[Name, Floats]:
    """Every expert's distances of new pictures."""
    return {name: maps_by(name, expert.model, seen, bank.grid) for name, expert in bank.experts.items()}


def grow_experts(bank: FusedBank, seen: Seen, first: int, coreset: int) -> FusedBank:
    """The bank with the cells of more good pictures, of which `first` is the first's number; scales stay."""

    def grown(name: Name, expert: Expert) -> Expert:
        features = seen_by(name, seen, bank.grid)
        if isinstance(expert.model, NearestBank):
            model = grow_nearest(expert.model, all_vectors(features, first), coreset)
        else:
            model = except_for(expert.model, features, expert.scale.middle + expert.scale.unit)
        return msgspec.structs.replace(expert, model=model)

    return msgspec.structs.replace(bank, experts={name: grown(name, one) for name, one in bank.experts.items()})


def newly(bank: FusedBank, seen: Seen, first: int) -> FusedBank:
    """A bank of what these pictures alone add: nothing else is near to anything."""

    def fresh(name: Name, expert: Expert) -> Expert:
        features = seen_by(name, seen, bank.grid)
        if isinstance(expert.model, NearestBank):
            return msgspec.structs.replace(expert, model=all_vectors(features, first))
        model = exceptions_alone(expert.model, features, expert.scale.middle + expert.scale.unit)
        return msgspec.structs.replace(expert, model=model)

    return msgspec.structs.replace(bank, experts={name: fresh(name, one) for name, one in bank.experts.items()})


def experts_in_steps(banks: Sequence[FusedBank]) -> list[FusedBank]:
    """Banks of the same experts that one graph compares with: nearest vectors in steps, where these are fine enough."""
    models = {name: _in_steps([bank.experts[name].model for bank in banks]) for name in banks[0].experts}

    def stepped(number: int, bank: FusedBank) -> FusedBank:
        experts = {n: msgspec.structs.replace(one, model=models[n][number]) for n, one in bank.experts.items()}
        return msgspec.structs.replace(bank, experts=experts)

    return [stepped(number, bank) for number, bank in enumerate(banks)]


def _in_steps(models: Sequence[Model]) -> Sequence[Model]:
    nearest = [model for model in models if isinstance(model, NearestBank)]
    return nearest_in_steps(nearest) if nearest else models


def _folds(count: int, lots: NDArray[np.str_] | None) -> list[NDArray[np.bool_]]:
    """Which pictures are left out together."""
    groups = np.arange(count) if lots is None else np.unique(lots, return_inverse=True)[1]
    number = int(groups.max()) + 1
    folds = number if number <= (FEW_IMAGES if lots is None else FOLDS) else FOLDS
    return [groups % folds == fold for fold in range(folds)]


def _linear(few: int, many: int, name: Name) -> Floats:
    """Weights [many, few] of linear interpolation, the outermost values held beyond their middles."""
    place: Indices | NDArray[np.float64] = (
        np.arange(many) / 2 if name == "gaussians" else (np.arange(many) + 0.5) * few / many - 0.5
    )
    place = np.clip(place, 0, few - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, few - 1)
    weights = np.zeros((many, few), np.float32)
    np.add.at(weights, (np.arange(many), low), 1 - (place - low))
    np.add.at(weights, (np.arange(many), high), place - low)
    return weights
