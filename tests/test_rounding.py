"""Features in steps: fine enough for what references differ by, or none at all; one answer for all that share a graph."""

import numpy as np
import pytest

from edge.experts import Expert, FusedBank, Scale, experts_in_steps
from edge.gaussians import fit_gaussians
from edge.nearest import NearestBank, all_vectors, build_nearest, grow_nearest, nearest_distances, nearest_in_steps
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


def test_the_nearest_vector_in_narrow_steps_is_as_far_as_the_features_are():
    exact = build_nearest(features_of(12), 200)
    (bank,) = nearest_in_steps([exact])
    assert bank.rounding is not None
    for picture in features_of(5, seed=1):
        ratio = nearest_distances(bank, picture) / nearest_distances(exact, picture)
        assert ratio.min() > 0.95
        assert ratio.max() < 1.05
        # Of 200 that are as far the nearest is one that rounding has brought nearer.
        assert ratio.mean() == pytest.approx(1, abs=0.01)


def test_two_products_of_a_byte_and_a_narrow_one_fit_16_bits():
    """Where a processor adds them in 16 bits, more than that is cut off without a word."""
    rounding = rounding_of(features_of(12), narrow=True)
    assert rounding is not None
    kept = rounding.narrow_levels(np.float32(1000) * features_of(2))
    assert (kept.min(), kept.max()) == (-64, 63)
    assert 2 * 255 * np.abs(kept).max() < 2**15


def test_a_picture_reaches_twice_as_far_as_a_narrow_bank():
    features = features_of(12)
    rounding = rounding_of(features, narrow=True)
    assert rounding is not None
    beyond = rounding.middle + 2 * (features - rounding.middle)
    assert np.mean(np.abs(rounding.levels(beyond)) == 127) < 0.001


def test_a_coreset_whose_vectors_lie_too_close_is_compared_as_it_is():
    """A few far vectors set the width of a step: what all others differ by is lost in it."""
    vectors = 0.01 * np.random.default_rng(0).standard_normal((200, 40)).astype(np.float32)
    source = np.zeros(200, np.int32)
    assert nearest_in_steps([NearestBank(vectors=100 * vectors, source=source)])[0].rounding is not None
    vectors[:4] += 5
    assert nearest_in_steps([NearestBank(vectors=vectors, source=source)])[0].rounding is None


def test_steps_stay_when_a_bank_of_nearest_vectors_grows():
    (bank,) = nearest_in_steps([build_nearest(features_of(12), 200)])
    fresh = all_vectors(features_of(1, seed=5), 12)
    grown = grow_nearest(bank, fresh, 200)
    assert grown.rounding is bank.rounding
    assert 12 in grown.source


def fused(features) -> FusedBank:
    scale = Scale(np.zeros(1, np.float32), 1.0)
    experts = {"whole": build_nearest(features, 50), "gaussians": fit_gaussians(features)}
    return FusedBank(experts={name: Expert(model=one, scale=scale) for name, one in experts.items()}, grid=GRID)


def test_tiles_share_a_graph_and_so_are_all_in_steps_or_none():
    fine, one = fused(features_of(12)), fused(features_of(1))
    # A single vector has no other to be told from.
    vectors = one.experts["whole"].model.vectors[:1]
    single = Expert(model=NearestBank(vectors=vectors, source=np.zeros(1, np.int32)), scale=one.experts["whole"].scale)
    coarse = FusedBank(experts={**one.experts, "whole": single}, grid=GRID)
    for banks, stepped in (((fine, fine), True), ((fine, coarse), False)):
        found = experts_in_steps(banks)
        assert [(bank.experts["whole"].model.rounding is not None) for bank in found] == [stepped, stepped]
        assert [bank.experts["gaussians"] for bank in found] == [bank.experts["gaussians"] for bank in banks]
