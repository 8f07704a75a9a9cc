"""Either memory bank by the same functions: learned from good images, compared with, grown, and stored.

A bank's *apart* are the distances [n, d] of pictures before they become a map: of the positional bank one for each
cell, of the global bank those of each expert behind one another.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bank import Grid, Kind, Seen
from edge.check_recipes import AnomalyCheck
from edge.coreset import Floats, Progress, silent
from edge.experts import (
    NAMES,
    Expert,
    FusedBank,
    Maps,
    Model,
    Name,
    Scale,
    beside_others,
    expert_maps,
    experts_in_steps,
    fit,
    fused_maps,
    grid_of,
    grow_experts,
    newly,
    scale_of,
    unseen_maps,
)
from edge.gaussians import LocalGaussians
from edge.nearest import NearestBank
from edge.positional import (
    PositionalBank,
    all_of,
    build_positional,
    compared_in_steps,
    grow_positional,
    level_of,
    level_share,
    positional_maps,
    positional_without_own,
)
from edge.rounding import Rounding
from edge.tensors import Bank, Tensor, tensors_of

Arrays = dict[str, NDArray[np.generic]]
# What is being done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]

# Fields of local Gaussians that are stored as they are.
GAUSSIAN_FIELDS = ("weights", "bias", "white", "centre", "exceptions")


def learn_bank(
    kind: Kind,
    names: Sequence[Name],
    anomaly: AnomalyCheck,
    seen: Seen,
    grid: Grid,
    lots: NDArray[np.str_] | None,
    tell: Tell,
) -> tuple[Bank, Floats]:
    """The bank, and the apart of each picture by a bank without it, or without its lot where there are lots."""
    banking, leaving_out = _stage(tell, "memory bank"), _stage(tell, "leave-one-out scores")
    if kind == "positional":
        bank = build_positional(seen.whole, grid, anomaly.per_cell, banking)
        return bank, _positional_unseen(seen, grid, anomaly.per_cell, lots, leaving_out)
    models: dict[Name, Model] = {name: fit(name, seen, grid, anomaly.coreset, banking) for name in names}
    maps = unseen_maps(names, models, seen, grid, anomaly.coreset, lots, leaving_out)
    experts: dict[Name, Expert] = {
        name: Expert(model=model, scale=scale_of(maps[name])) for name, model in models.items()
    }
    return FusedBank(experts=experts, grid=grid), _joined({name: beside_others(maps[name], lots) for name in maps})


def levelled(bank: Bank, unseen: Floats, lots: NDArray[np.str_] | None) -> tuple[Bank, Floats]:
    """A positional bank that allows every place what unseen pictures vary by there; any other bank as it is.

    The apart of each picture comes to lie to the level as it does to that of the others, or of the other lots.
    """
    if not isinstance(bank, PositionalBank):
        return bank, unseen
    share = level_share(len(unseen))
    apart = (1 - share) * unseen + share * beside_others(unseen, lots)
    return msgspec.structs.replace(bank, level=level_of(unseen)), apart.astype(np.float32)


def in_steps(banks: Sequence[Bank]) -> list[Bank]:
    """The banks that one graph compares with, as it compares them: in steps, where these are fine enough."""
    positional = [bank for bank in banks if isinstance(bank, PositionalBank)]
    if positional:
        return [*compared_in_steps(positional)]
    return [*experts_in_steps([bank for bank in banks if isinstance(bank, FusedBank)])]


def apart_of(bank: Bank, seen: Seen) -> Floats:
    """The apart of new pictures."""
    return positional_maps(bank, seen.whole) if isinstance(bank, PositionalBank) else _joined(expert_maps(bank, seen))


def maps_of(bank: Bank, apart: Floats) -> Floats:
    """Maps [n, cells] of the apart: what the graph gives."""
    if isinstance(bank, PositionalBank):
        return apart if bank.level is None else apart - bank.level
    return fused_maps(bank, split(bank, apart))


def split(bank: FusedBank, apart: Floats) -> dict[Name, Floats]:
    """Each expert's distances [n, its cells] of an apart."""
    names: list[Name] = [name for name in NAMES if name in bank.experts]
    ends = np.cumsum([np.prod(grid_of(name, bank.grid)) for name in names])
    parts: list[Floats] = np.split(apart, ends[:-1], axis=1)
    return dict(zip(names, parts, strict=True))


def grown(bank: Bank, seen: Seen, first: int, anomaly: AnomalyCheck) -> Bank:
    """The bank with more good pictures, of which `first` is the first's number."""
    if isinstance(bank, PositionalBank):
        return grow_positional(bank, seen.whole, first, anomaly.per_cell)
    return grow_experts(bank, seen, first, anomaly.coreset)


def alone(bank: Bank, seen: Seen) -> Bank:
    """A bank of the same kind of what these pictures would add to it, and nothing else."""
    return all_of(seen.whole, bank.grid) if isinstance(bank, PositionalBank) else newly(bank, seen, 0)


def size_of(bank: Bank) -> int:
    """How many vectors a picture is compared with."""
    return bank.source.size if isinstance(bank, PositionalBank) else bank.vectors


def most_of(bank: Bank, anomaly: AnomalyCheck) -> int:
    """How many vectors it may hold: of each cell, or as a coreset."""
    return anomaly.per_cell if isinstance(bank, PositionalBank) else anomaly.coreset


def to_arrays(bank: Bank, most: int) -> Arrays:
    """For an .npz. Vectors came from float16 features or were rounded to them, so that half precision loses nothing."""
    limit: Arrays = {"bank/most": np.array(most)}
    if isinstance(bank, PositionalBank):
        level: Arrays = {} if bank.level is None else {"bank/level": bank.level}
        return limit | _stored("bank", bank) | level
    found = limit
    for name, expert in bank.experts.items():
        found[f"bank/{name}/scale"] = np.append(*expert.scale)
        if isinstance(expert.model, NearestBank):
            found |= _stored(f"bank/{name}", expert.model)
        else:
            found |= {f"bank/{name}/{field}": getattr(expert.model, field) for field in GAUSSIAN_FIELDS}
    return found


def from_arrays(arrays: Arrays, grid: Grid) -> Bank:
    """The inverse of `to_arrays`."""
    if "bank/vectors" in arrays:
        return PositionalBank(
            vectors=np.asarray(arrays["bank/vectors"], np.float32),
            source=np.asarray(arrays["bank/source"], np.int32),
            grid=grid,
            rounding=_rounding("bank", arrays),
            level=np.asarray(arrays["bank/level"], np.float32) if "bank/level" in arrays else None,
        )
    names: list[Name] = [name for name in NAMES if f"bank/{name}/scale" in arrays]
    experts: dict[Name, Expert] = {name: _expert(arrays, name) for name in names}
    return FusedBank(experts=experts, grid=grid)


def _stored(prefix: str, bank: PositionalBank | NearestBank) -> Arrays:
    found: Arrays = {f"{prefix}/vectors": bank.vectors.astype(np.float16), f"{prefix}/source": bank.source}
    if bank.rounding is not None:
        found |= {f"{prefix}/middle": bank.rounding.middle, f"{prefix}/step": np.array(bank.rounding.step)}
    return found


def _rounding(prefix: str, arrays: Arrays) -> Rounding | None:
    if f"{prefix}/step" not in arrays:
        return None
    return Rounding(middle=np.asarray(arrays[f"{prefix}/middle"], np.float32), step=float(arrays[f"{prefix}/step"]))


def stored_tensors(arrays: Arrays, grid: Grid) -> dict[str, Tensor]:
    """What a stored bank gives the graph to multiply with; nothing where no bank is stored."""
    if "bank/most" not in arrays:
        return {}
    return tensors_of(from_arrays(arrays, grid), int(arrays["bank/most"]))


def _expert(arrays: Arrays, name: Name) -> Expert:
    scale = np.asarray(arrays[f"bank/{name}/scale"], np.float32)
    middle, unit = scale[:-1], float(scale[-1])
    if f"bank/{name}/weights" in arrays:
        fields = {field: np.asarray(arrays[f"bank/{name}/{field}"], np.float32) for field in GAUSSIAN_FIELDS}
        return Expert(model=LocalGaussians(**fields), scale=Scale(middle, unit))
    model = NearestBank(
        vectors=np.asarray(arrays[f"bank/{name}/vectors"], np.float32),
        source=np.asarray(arrays[f"bank/{name}/source"], np.int32),
        rounding=_rounding(f"bank/{name}", arrays),
    )
    return Expert(model=model, scale=Scale(middle, unit))


def _positional_unseen(
    seen: Seen, grid: Grid, per_cell: int, lots: NDArray[np.str_] | None, progress: Progress
) -> Floats:
    if lots is None:
        return positional_without_own(seen.whole, grid, per_cell, progress)
    maps = np.empty(seen.whole.shape[:2], np.float32)
    for done, lot in enumerate(np.unique(lots)):
        own = lots == lot
        maps[own] = positional_maps(build_positional(seen.whole[~own], grid, per_cell, silent), seen.whole[own])
        progress(done + 1, len(np.unique(lots)))
    return maps


def _joined(maps: Maps) -> Floats:
    return np.concatenate([maps[name] for name in NAMES if name in maps], axis=1)


def _stage(tell: Tell, name: str) -> Progress:
    return lambda done, total: tell(name, done, total)
