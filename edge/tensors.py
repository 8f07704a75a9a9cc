"""A memory bank as the arrays that the graph multiplies with: of one shape whatever the bank holds.

A bank is filled up to the size that the recipe allows with vectors that are nearest to nothing. So more references
change no shape, and where the arrays are inputs of the graph they change no graph.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge.coreset import Floats
from edge.experts import FusedBank
from edge.gaussians import MOST_EXCEPTIONS, LocalGaussians
from edge.nearest import NearestBank
from edge.positional import PositionalBank
from edge.rounding import MIDDLE, Rounding

Tensor = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]
Tensors = Mapping[str, Tensor]
Bank = PositionalBank | FusedBank

# Half the square of the length of a vector that is no vector: farther than any, and finite as twice itself.
NOWHERE = 1e30


def tensors_of(bank: Bank, most: int) -> dict[str, Tensor]:
    """The arrays of a bank that may hold `most` vectors a cell, or as a coreset. See `score_graph.py` for their use."""
    if isinstance(bank, PositionalBank):
        level = {} if bank.level is None else {"bank/level": bank.level}
        return _positional(bank, most) | level
    found: dict[str, Tensor] = {}
    for name, expert in bank.experts.items():
        if isinstance(expert.model, LocalGaussians):
            found |= _gaussians(expert.model)
        else:
            found |= _nearest(name, expert.model, most)
        middle, unit = expert.scale
        share = 1 / (unit * len(bank.experts))
        found[f"{name}/share"] = np.array([share], np.float32)
        found[f"{name}/lift"] = (middle * share).astype(np.float32)
    return found


def _positional(bank: PositionalBank, most: int) -> dict[str, Tensor]:
    """Vectors [cells, c, most], with a rounding as unsigned bytes."""
    rounding = bank.rounding
    if rounding is None:
        return {**_vectors("bank", np.swapaxes(bank.vectors, 1, 2), most)}
    found = _vectors("bank", np.swapaxes(rounding.levels(bank.vectors), 1, 2), most)
    levels = (found["bank/vectors"] + MIDDLE).astype(np.uint8)
    return {**found, "bank/vectors": levels, **_steps("bank", rounding)}


def _nearest(name: str, bank: NearestBank, most: int) -> dict[str, Tensor]:
    """Vectors [c, most], with a rounding as narrow bytes."""
    rounding = bank.rounding
    if rounding is None:
        return {**_vectors(name, bank.vectors.T, most)}
    found = _vectors(name, rounding.narrow_levels(bank.vectors).T, most)
    return {**found, f"{name}/vectors": found[f"{name}/vectors"].astype(np.int8), **_steps(name, rounding)}


def _steps(name: str, rounding: Rounding) -> dict[str, Tensor]:
    """What a picture's features become bytes by."""
    return {f"{name}/middle": rounding.middle, f"{name}/step": np.array([rounding.step], np.float32)}


def _vectors(name: str, vectors: Floats, most: int) -> dict[str, NDArray[np.float32]]:
    """Vectors [..., c, k] and half of their squared lengths [..., 1, k], both filled up to `most` columns."""
    half = np.square(vectors, dtype=np.float64).sum(-2, keepdims=True).astype(np.float32) / 2
    room = [(0, 0)] * (vectors.ndim - 1) + [(0, max(0, most - vectors.shape[-1]))]
    return {
        f"{name}/vectors": np.ascontiguousarray(np.pad(vectors, room), np.float32),
        f"{name}/half": np.pad(half, room, constant_values=NOWHERE),
    }


def _gaussians(model: LocalGaussians) -> dict[str, NDArray[np.float32]]:
    exceptions = _vectors("gaussians/exceptions", model.exceptions.T, MOST_EXCEPTIONS)
    plain = {"weights": model.weights, "bias": model.bias, "white": model.white, "centre": model.centre}
    return {
        f"gaussians/{name}": np.ascontiguousarray(values, np.float32) for name, values in plain.items()
    } | exceptions
