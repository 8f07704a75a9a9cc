"""Banks keep what the plain definitions say, and leave-one-out really leaves one out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import coreset as coreset_module
from edge import memory, nearest
from edge.bank import image_score, only
from edge.check_recipes import AnomalyCheck
from edge.coreset import farthest_points, k_centre, squared_distances
from edge.nearest import build_nearest, grow_nearest, nearest_distances, own_scale
from edge.positional import (
    build_positional,
    exact_maps,
    grow_positional,
    level_of,
    neighbourhood,
    positional_maps,
    positional_without_own,
)
from tests.small_backbone import CHANNELS, GRID

CELLS = GRID[0] * GRID[1]
ANOMALY = AnomalyCheck(per_cell=8)


def features_of(images, seed=0, cells=CELLS, channels=CHANNELS):
    return np.random.default_rng(seed).standard_normal((images, cells, channels)).astype(np.float32)


def greedy(vectors, count, first):
    """Farthest-point selection as its definition says, every distance from scratch."""
    chosen = [first]
    while len(chosen) < count:
        apart = np.linalg.norm(vectors[:, None] - vectors[chosen], axis=2).min(1)
        apart[chosen] = -1
        chosen.append(int(apart.argmax()))
    return chosen


def around(cell, grid=GRID):
    """A cell and those that touch it, inside the grid."""
    row, column = divmod(cell, grid[1])
    rows = range(max(row - 1, 0), min(row + 2, grid[0]))
    return [r * grid[1] + c for r in rows for c in range(max(column - 1, 0), min(column + 2, grid[1]))]


def plain_map(bank, picture):
    """Distances of one picture [cells, c] by looking at every vector that counts."""
    places = [np.concatenate(bank.vectors[around(cell, bank.grid)]) for cell in range(len(picture))]
    return np.array(
        [np.linalg.norm(place - vector, axis=1).min() for place, vector in zip(places, picture, strict=True)]
    )


def without(features, image):
    return np.delete(features, image, 0)


class TestCoreset:
    @pytest.mark.parametrize("pool", [8, 40, 2048])
    @pytest.mark.parametrize("spread", [0, 2])
    def test_k_centre_is_greedy_selection(self, monkeypatch, pool, spread):
        monkeypatch.setattr(coreset_module, "POOL", pool)
        random = np.random.default_rng(1)
        vectors = random.standard_normal((300, 6)) * np.exp(spread * random.standard_normal((300, 1)))
        chosen = k_centre(vectors.astype(np.float32), 120, seed=3)
        assert chosen.tolist() == greedy(vectors.astype(np.float32), 120, chosen[0])

    def test_k_centre_of_fewer_is_all(self):
        assert k_centre(features_of(1)[0], CELLS + 1).tolist() == list(range(CELLS))

    def test_k_centre_of_duplicates_takes_none_twice(self):
        assert sorted(k_centre(np.ones((50, 3), np.float32), 20)) == sorted(
            set(k_centre(np.ones((50, 3), np.float32), 20))
        )

    def test_farthest_points_is_greedy_selection(self):
        points = features_of(4, cells=30)
        order = farthest_points(squared_distances(points, points), 12)
        assert order.shape == (4, 1, 12)
        assert order[:, 0].tolist() == [greedy(each, 12, 0) for each in points]

    def test_farthest_points_without_one(self):
        points = features_of(2, cells=30)
        excluded = np.array([[0, 7], [29, 1]])
        order = farthest_points(squared_distances(points, points), 9, excluded)
        for each in range(2):
            for selection, left_out in enumerate(excluded[each]):
                others = np.delete(np.arange(30), left_out)
                expected = others[greedy(points[each][others], 9, 0)]
                assert order[each, selection].tolist() == expected.tolist()


class TestBuild:
    def test_few_references_are_all_kept(self):
        features = features_of(5)
        bank = build_positional(features, GRID, per_cell=8)
        assert np.sort(bank.source, 1).tolist() == [[0, 1, 2, 3, 4]] * CELLS
        assert positional_maps(bank, features).max() < 1e-2

    def test_positional_keeps_the_farthest_of_each_cell(self):
        features = features_of(20)
        bank = build_positional(features.astype(np.float16), GRID, per_cell=6)
        assert bank.vectors.shape == (CELLS, 6, CHANNELS)
        half = features.astype(np.float16).astype(np.float32)
        assert bank.source.tolist() == [greedy(half[:, cell], 6, 0) for cell in range(CELLS)]
        cells = np.arange(CELLS)[:, None]
        assert np.array_equal(bank.vectors, half[bank.source, cells])

    def test_blocks_do_not_matter(self, monkeypatch):
        features = features_of(20)
        whole = build_positional(features, GRID, 6)
        left_out = positional_without_own(features, GRID, 6)
        monkeypatch.setattr("edge.bank.BLOCK_NUMBERS", 1)
        assert np.array_equal(build_positional(features, GRID, 6).source, whole.source)
        assert np.allclose(positional_without_own(features, GRID, 6), left_out, atol=1e-3)

    def test_nearest_names_the_reference_of_every_vector(self):
        features = features_of(6)
        bank = build_nearest(features, coreset=30)
        assert bank.vectors.shape == (30, CHANNELS)
        scaled = own_scale(features)
        for vector, source in zip(bank.vectors, bank.source, strict=True):
            assert np.abs(scaled[source] - vector).max(1).min() < 1e-2

    def test_nearest_chooses_from_a_sample_of_very_many(self, monkeypatch):
        monkeypatch.setattr(nearest, "MOST_CANDIDATES", 50)
        bank = build_nearest(features_of(6), coreset=40)
        assert len(np.unique(bank.vectors, axis=0)) == 40

    def test_growing_keeps_the_new_and_no_more_than_the_most(self):
        features, fresh = features_of(12), features_of(2, seed=3)
        grown = grow_positional(build_positional(features, GRID, 6), fresh, 12, 6)
        assert grown.vectors.shape[1] == 6
        assert {12, 13} <= set(grown.source[0].tolist())
        assert positional_maps(grown, fresh).max() < 1e-2
        far = fresh * np.array([9, 1, 1, 1, 1], np.float32)
        before = build_nearest(features, 40)
        after = grow_nearest(before, build_nearest(far, 1000), 40)
        assert len(after.vectors) == 40
        assert nearest_distances(after, far[0]).mean() < nearest_distances(before, far[0]).mean()

    def test_progress_ends_with_all(self):
        told = []
        build_positional(features_of(5), GRID, 3, progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (CELLS, CELLS)


class TestDistances:
    @pytest.mark.parametrize("grid", [(1, 1), (1, 5), (4, 6)])
    def test_neighbourhood_is_what_touches(self, grid):
        queries, back = neighbourhood(grid)
        for cell in range(grid[0] * grid[1]):
            met = [divmod(int(row), 9) for row in back[cell]]
            assert {place for place, _ in met} == set(around(cell, grid))
            assert all(queries[place, step] == cell for place, step in met)

    def test_maps_are_distances_to_the_nearest(self):
        bank, new = build_positional(features_of(12), GRID, 5), features_of(3, seed=1)
        np.testing.assert_allclose(positional_maps(bank, new), [plain_map(bank, each) for each in new], rtol=1e-4)

    def test_a_picture_is_compared_on_its_own_scale(self):
        features = features_of(8)
        bank = build_nearest(features, 1000)
        brighter = features[3] * 1.7 + np.arange(CHANNELS, dtype=np.float32)
        assert nearest_distances(bank, brighter).max() < 0.02

    def test_the_right_thing_in_the_wrong_place_is_far_only_to_the_positional_bank(self):
        places = features_of(1)[0] * 10
        features = places + features_of(8) / 100
        moved = np.roll(places, 3, axis=0)[None]
        assert nearest_distances(build_nearest(features, 500), moved[0]).max() < 0.1
        assert positional_maps(build_positional(features, GRID, 8), moved).min() > 1

    def test_an_exact_search_is_the_bank_of_all(self):
        features, new = features_of(9), features_of(2, seed=4)
        np.testing.assert_allclose(
            exact_maps(features, GRID, new, np.array([-1, -1])),
            positional_maps(build_positional(features, GRID, 9), new),
            rtol=1e-3,
        )
        np.testing.assert_allclose(
            exact_maps(features, GRID, features, np.arange(9)), positional_without_own(features, GRID, 9), rtol=1e-3
        )

    def test_what_a_place_varies_by_is_its_level(self):
        maps = np.tile(np.linspace(1, 3, CELLS, dtype=np.float32), (45, 1))
        level = level_of(maps)
        np.testing.assert_allclose(level, 0.9 * np.linspace(-1, 1, CELLS), rtol=1e-4)
        assert abs(level_of(maps[:1])).max() < abs(level).max() / 4

    def test_a_place_that_varies_hides_nothing_at_one_that_does_not(self):
        wild = np.arange(CELLS) < CELLS // 4
        features = features_of(40) * np.where(wild, 1, 0.05)[:, None]
        deviating = features_of(1, seed=5) * np.where(wild, 1, 0.05)[:, None]
        deviating[:, -1] += 2 / CHANNELS**0.5
        scores = {}
        for levelled in (False, True):
            built, apart = memory.learn_bank("positional", (), ANOMALY, only(features), GRID, None, lambda *_: None)
            if levelled:
                built, apart = memory.levelled(built, apart, None)
            goods = memory.maps_of(built, apart)
            seen = memory.maps_of(built, memory.apart_of(built, only(deviating)))
            scores[levelled] = image_score(seen, 1 / CELLS)[0] - image_score(goods, 1 / CELLS).max()
        assert scores[False] < 0 < scores[True]

    def test_one_cell_to_the_side_is_near(self):
        places = features_of(1)[0] * 10
        shifted = places.reshape(*GRID, CHANNELS)
        shifted = np.concatenate([shifted[:, :1], shifted[:, :-1]], 1).reshape(1, CELLS, CHANNELS)
        assert positional_maps(build_positional(places[None], GRID, 8), shifted).max() < 0.01


class TestLeaveOneOut:
    @pytest.mark.parametrize("per_cell", [3, 9, 10, 11, 50])
    def test_positional_is_the_bank_of_the_others(self, per_cell):
        features = features_of(11)
        expected = [
            positional_maps(build_positional(without(features, image), GRID, per_cell), features[image : image + 1])[0]
            for image in range(11)
        ]
        maps = positional_without_own(features, GRID, per_cell)
        np.testing.assert_allclose(maps, expected, rtol=1e-3)

    def test_nearest_leaves_out_the_vectors_of_a_reference(self):
        features = features_of(7)
        bank = build_nearest(features, 1000)
        assert nearest_distances(bank, features[2]).max() < 0.02 < nearest_distances(bank, features[2], own=2).min()

    def test_an_odd_reference_stands_out(self):
        features = features_of(10)
        features[4] += 5
        scores = image_score(positional_without_own(features, GRID, 32), 0.1)
        assert scores.argmax() == 4
        assert scores[4] > 2 * np.median(scores)

    def test_one_reference_has_nothing_to_be_compared_with(self):
        with pytest.raises(ValueError, match="two references"):
            positional_without_own(features_of(1), GRID, 32)


class TestScore:
    @given(st.integers(1, 40), st.floats(0.001, 1), st.integers(0, 39), st.floats(0, 10), st.integers(0, 2**32 - 1))
    def test_never_falls_when_a_distance_rises(self, cells, fraction, cell, rise, seed):
        maps = np.random.default_rng(seed).random(cells).astype(np.float32)
        higher = maps.copy()
        higher[cell % cells] += rise
        before, after = image_score(maps, fraction), image_score(higher, fraction)
        assert after >= before - 1e-6
        assert maps.mean() - 1e-6 <= before <= maps.max() + 1e-6

    def test_is_the_mean_of_the_worst(self):
        maps = np.arange(200, dtype=np.float32)[::-1].reshape(2, 100)
        assert image_score(maps, 0.01).tolist() == [199, 99]
        assert image_score(maps, 0.04).tolist() == [197.5, 97.5]
