"""Features in steps: fine enough for what references differ by, or none at all; one answer for all that share a graph."""

import numpy as np
import pytest

from edge.positional import PositionalBank, build_positional, compared_in_steps, positional_maps
from edge.rounding import rounding_of

GRID = (4, 6)
CELLS = GRID[0] * GRID[1]


def features_of(count, seed=0, spread=1.0, channels=40):
    """Each place looks like itself, and each picture differs from it by `spread`."""
    places = 4 * np.random.default_rng(99).standard_normal((CELLS, channels))
    return (places + spread * np.random.default_rng(seed).standard_normal((count, CELLS, channels))).astype(np.float32)


def bank_of(features) -> PositionalBank:
    return build_positional(features, GRID, 6)


def test_distances_in_steps_are_those_of_the_features():
    """No bias either: what rounding adds on average is taken off again."""
    exact = bank_of(features_of(12))
    (bank,) = compared_in_steps([exact])
    new = features_of(5, seed=1)
    ratio = positional_maps(bank, new) / positional_maps(exact, new)
    assert ratio.min() > 0.97
    assert ratio.max() < 1.03
    assert ratio.mean() == pytest.approx(1, abs=0.002)


def test_a_middle_of_its_own_makes_nothing_of_a_channel_that_is_always_large():
    features = features_of(12)
    features[..., 3] += 1000
    rounding, plain = rounding_of(bank_of(features).vectors), rounding_of(bank_of(features_of(12)).vectors)
    assert rounding is not None
    assert plain is not None
    assert rounding.step == pytest.approx(plain.step, rel=0.01)


def test_references_closer_than_steps_can_tell_are_compared_as_they_are():
    assert rounding_of(bank_of(features_of(12)).vectors) is not None
    assert rounding_of(bank_of(features_of(12, spread=0.01)).vectors) is None


def test_of_a_single_reference_nothing_is_known():
    assert rounding_of(bank_of(features_of(1)).vectors) is None


def test_flat_pictures_have_no_steps():
    assert rounding_of(np.zeros((CELLS, 3, 5), np.float32)) is None


def test_banks_that_share_a_graph_are_all_in_steps_or_none():
    fine, coarse = bank_of(features_of(12)), bank_of(features_of(12, spread=0.01))
    assert [one.rounding is None for one in compared_in_steps([fine, fine])] == [False, False]
    assert [one.rounding is None for one in compared_in_steps([fine, coarse])] == [True, True]
