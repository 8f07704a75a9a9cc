"""The global bank's experts, each alone and fused, and what is stored of a bank."""

import numpy as np
import pytest

from edge import memory
from edge.bank import Seen, image_score
from edge.check_recipes import AnomalyCheck
from edge.experts import NAMES, Scale, beside_others, fit, fuse, grid_of, maps_by, scale_of, spread
from edge.gaussians import except_for, fit_gaussians, gaussian_distances
from edge.trial import kept_experts

GRID = (6, 8)
CELLS, CHANNELS = 48, 5
ANOMALY = AnomalyCheck(coreset=60, per_cell=8)


def texture(images: int, seed: int = 0) -> Seen:
    """Features whose numbers hang together: a channel varies little across the others' main direction."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).standard_normal((CHANNELS, CHANNELS)) * [1, 1, 1, 1, 0.05]
    whole = random.standard_normal((images, CELLS, CHANNELS)) @ mixing.T
    half = random.standard_normal((images, 12, CHANNELS)) @ mixing.T
    return Seen(whole.astype(np.float16), half.astype(np.float16))


def quiet(stage: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def test_gaussians_know_the_direction_in_which_nothing_varies() -> None:
    model = fit_gaussians(texture(40).whole)
    usual = gaussian_distances(model, texture(1, seed=5).whole[0])
    narrow = np.linalg.svd(np.random.default_rng(99).standard_normal((CHANNELS, CHANNELS)) * [1, 1, 1, 1, 0.05])[0][
        :, -1
    ]
    strange = texture(1, seed=5).whole.astype(np.float32) + 0.6 * narrow
    # As Euclid sees it, it is a quarter of the usual spread; across the narrow direction it is far.
    assert np.median(gaussian_distances(model, strange[0])) > 1.3 * np.median(usual)


def test_what_is_learned_later_is_an_exception_to_the_gaussians() -> None:
    model = fit_gaussians(texture(40).whole)
    odd = texture(1, seed=6).whole + np.float16(8)
    before = gaussian_distances(model, odd[0])
    after = gaussian_distances(except_for(model, odd, far=1.0), odd[0])
    assert after.max() < before.min() / 4
    usual = texture(1, seed=7).whole[0]
    assert np.allclose(gaussian_distances(except_for(model, odd, far=1.0), usual), gaussian_distances(model, usual))


def test_few_cells_make_gaussians_all_the_same() -> None:
    seen = texture(2)
    assert np.isfinite(gaussian_distances(fit_gaussians(seen.whole), seen.whole[0])).all()
    flat = np.zeros((3, CELLS, CHANNELS), np.float16)
    assert np.isfinite(gaussian_distances(fit_gaussians(flat), flat[0] + 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_each_expert_is_on_a_scale_of_its_own_and_laid_over_the_finest_grid(name: str) -> None:
    seen = texture(12)
    maps = maps_by(name, fit(name, seen, GRID, 60), texture(5, seed=3), GRID)
    assert maps.shape == (5, np.prod(grid_of(name, GRID)))
    middle, unit = scale_of(maps)
    fused = fuse({name: Scale(middle, unit)}, {name: maps}, GRID)
    assert fused.shape == (5, CELLS)
    np.testing.assert_allclose(fused.mean(0), 0, atol=1e-4)
    # Neighbouring cells are mixed where a grid is coarser; no value is made up.
    assert fused.max() <= ((maps - middle) / unit).max() + 1e-4


def test_a_place_that_is_always_far_does_not_count() -> None:
    maps = np.random.default_rng(0).normal(10, 1, (20, CELLS)).astype(np.float32)
    maps[:, :8] += 30
    new = maps[:2].copy()
    new[1, 40:43] += 6
    fused = fuse({"whole": scale_of(maps)}, {"whole": new}, GRID)
    assert fused[1].argmax() in (40, 41, 42)
    good, bad = image_score(fused, 0.05)
    assert bad > 2 * good
    # By one middle for all places the deviation is hidden behind what is always far.
    level = Scale(np.array([10], np.float32), 1.0)
    good, bad = image_score(fuse({"whole": level}, {"whole": new}, GRID), 0.05)
    assert bad < 1.05 * good


def test_a_picture_lies_beside_the_others_as_if_it_had_given_nothing() -> None:
    maps = np.random.default_rng(1).normal(5, 1, (6, CELLS)).astype(np.float32)
    lots = np.array(["early", "early", "early", "late", "late", "other"])
    for groups in (None, lots):
        beside = beside_others(maps, groups) - maps.mean(0)
        for row in range(6):
            others = np.arange(6) != row if groups is None else groups != groups[row]
            np.testing.assert_allclose(beside[row], maps[row] - maps[others].mean(0), atol=1e-5)


@pytest.mark.parametrize(("own", "name"), [((3, 4), "half"), ((3, 4), "gaussians")])
def test_a_flat_map_stays_flat_on_the_finest_grid(own: tuple[int, int], name: str) -> None:
    rows, columns = spread(own, GRID, name)
    np.testing.assert_allclose(rows @ np.full(own, 2.5, np.float32) @ columns, 2.5, rtol=1e-5)


def test_an_expert_is_dropped_only_where_it_is_clearly_worse() -> None:
    assert kept_experts({"whole": 0.30, "half": 0.44, "gaussians": 0.31}) == NAMES
    assert kept_experts({"whole": 0.30, "half": 0.46, "gaussians": 0.31}) == ("whole", "gaussians")
    assert kept_experts({"whole": 0.0, "half": 0.0, "gaussians": 0.1}) == ("whole", "half")
    # Hardly any error is no reason, how ever many times that of another.
    assert kept_experts({"whole": 0.008, "half": 0.002, "gaussians": 0.005}) == NAMES


def test_a_bank_stored_with_one_middle_for_all_places_is_compared_by_it() -> None:
    seen, new = texture(12), texture(2, seed=2)
    bank, _ = memory.learn_bank("global", ("whole",), ANOMALY, seen, GRID, None, quiet)
    arrays = {**memory.to_arrays(bank, 60), "bank/whole/scale": np.array([2.0, 0.5])}
    again = memory.from_arrays(arrays, GRID)
    apart = memory.apart_of(again, new)
    np.testing.assert_allclose(memory.maps_of(again, apart), (apart - 2) / 0.5, rtol=1e-5)
    np.testing.assert_allclose(memory.stored_tensors(arrays, GRID)["whole/lift"], [4.0])


@pytest.mark.parametrize("kind", ["positional", "global"])
def test_a_bank_is_stored_grown_and_compared_alike(kind: str) -> None:
    seen, new = texture(12), texture(3, seed=2)
    bank, apart = memory.learn_bank(kind, NAMES, ANOMALY, seen, GRID, None, quiet)
    most = memory.most_of(bank, ANOMALY)
    again = memory.from_arrays(memory.to_arrays(bank, most), GRID)
    np.testing.assert_allclose(memory.apart_of(again, new), memory.apart_of(bank, new), rtol=2e-2, atol=2e-2)
    unseen = image_score(memory.maps_of(bank, apart), 0.05)
    assert len(unseen) == 12 and np.isfinite(unseen).all()
    # What is left out is farther than what is there.
    assert unseen.mean() > image_score(memory.maps_of(bank, memory.apart_of(bank, seen)), 0.05).mean()
    strange = Seen(new.whole + np.float16(9), new.half * np.float16(-4))
    grown = memory.grown(bank, strange, 12, ANOMALY)
    before, after = (image_score(memory.maps_of(one, memory.apart_of(one, strange)), 0.05) for one in (bank, grown))
    assert (after < before).all()


def test_a_lot_does_not_vouch_for_itself() -> None:
    seen = texture(12)
    seen.whole[6:] += np.float16(6)
    lots = np.array(["early"] * 6 + ["late"] * 6)
    for kind in ("positional", "global"):
        bank, alone = memory.learn_bank(kind, NAMES, ANOMALY, seen, GRID, None, quiet)
        _, by_lot = memory.learn_bank(kind, ("gaussians",), ANOMALY, seen, GRID, lots, quiet)
        if kind == "positional":
            assert memory.maps_of(bank, by_lot).mean() > 1.5 * memory.maps_of(bank, alone).mean()
        else:
            assert np.isfinite(by_lot).all()
