"""Banks keep what the plain definitions say, leave-one-out really leaves one out, and the graph agrees with NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import coreset as coreset_module
from edge.bank import (
    GlobalBank,
    PositionalBank,
    build_global,
    build_positional,
    distance_maps,
    image_score,
    leave_one_out_maps,
    neighbourhood,
)
from edge.coreset import farthest_points, k_centre, squared_distances
from edge.errors import GoldlineError
from edge.inference import Session
from edge.score_graph import EMBEDDING_SIDE, compile_graph
from tests.small_backbone import CHANNELS, GRID, SIZE_WH, pictures, small_backbone, small_features

CELLS = GRID[0] * GRID[1]


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
    if isinstance(bank, GlobalBank):
        return np.array([np.linalg.norm(bank.vectors - vector, axis=1).min() for vector in picture])
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
        assert distance_maps(bank, features).max() < 1e-2

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
        left_out = leave_one_out_maps(features, GRID, "positional", per_cell=6)
        monkeypatch.setattr("edge.bank.BLOCK_NUMBERS", 1)
        assert np.array_equal(build_positional(features, GRID, 6).source, whole.source)
        assert np.allclose(leave_one_out_maps(features, GRID, "positional", per_cell=6), left_out, atol=1e-3)

    def test_global_names_the_reference_of_every_vector(self):
        features = features_of(6)
        bank = build_global(features, GRID, coreset=30)
        assert bank.vectors.shape == (30, CHANNELS)
        for vector, source in zip(bank.vectors, bank.source, strict=True):
            assert (features[source] == vector).all(1).any()

    def test_global_chooses_from_a_sample_of_very_many(self, monkeypatch):
        monkeypatch.setattr("edge.bank.MOST_CANDIDATES", 50)
        features = features_of(6)
        bank = build_global(features, GRID, coreset=40)
        assert len(np.unique(bank.vectors, axis=0)) == 40
        for vector, source in zip(bank.vectors, bank.source, strict=True):
            assert (features[source] == vector).all(1).any()

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

    @pytest.mark.parametrize("kind", ["positional", "global"])
    def test_maps_are_distances_to_the_nearest(self, kind):
        features, new = features_of(12), features_of(3, seed=1)
        build = build_positional if kind == "positional" else build_global
        bank = build(features, GRID, 5)
        np.testing.assert_allclose(distance_maps(bank, new), [plain_map(bank, each) for each in new], rtol=1e-4)

    def test_the_right_thing_in_the_wrong_place_is_far(self):
        places = features_of(1)[0] * 10
        features = places + features_of(8) / 100
        moved = np.roll(places, 3, axis=0)[None]
        positional = distance_maps(build_positional(features, GRID, 8), moved)
        assert distance_maps(build_global(features, GRID, 500), moved).max() < 1
        assert positional.min() > 1

    def test_one_cell_to_the_side_is_near(self):
        places = features_of(1)[0] * 10
        shifted = places.reshape(*GRID, CHANNELS)
        shifted = np.concatenate([shifted[:, :1], shifted[:, :-1]], 1).reshape(1, CELLS, CHANNELS)
        assert distance_maps(build_positional(places[None], GRID, 8), shifted).max() < 0.01


class TestLeaveOneOut:
    @pytest.mark.parametrize("per_cell", [3, 9, 10, 11, 50])
    def test_positional_is_the_bank_of_the_others(self, per_cell):
        features = features_of(11)
        expected = [
            distance_maps(build_positional(without(features, image), GRID, per_cell), features[image : image + 1])[0]
            for image in range(11)
        ]
        maps = leave_one_out_maps(features, GRID, "positional", per_cell=per_cell)
        np.testing.assert_allclose(maps, expected, rtol=1e-3)

    def test_global_is_the_bank_without_its_own_vectors(self):
        features = features_of(7)
        bank = build_global(features, GRID, 60)
        maps = leave_one_out_maps(features, GRID, "global", coreset=60)
        for image in range(7):
            others = bank.source != image
            rest = GlobalBank(vectors=bank.vectors[others], source=bank.source[others], grid=GRID)
            assert len(rest.vectors) < 60
            np.testing.assert_allclose(maps[image], plain_map(rest, features[image]), rtol=1e-3)

    @pytest.mark.parametrize("kind", ["positional", "global"])
    def test_an_odd_reference_stands_out(self, kind):
        features = features_of(10)
        features[4] += 5
        scores = image_score(leave_one_out_maps(features, GRID, kind), 0.1)
        assert scores.argmax() == 4
        assert scores[4] > 2 * np.median(scores)

    def test_one_reference_has_nothing_to_be_compared_with(self):
        with pytest.raises(ValueError, match="two references"):
            leave_one_out_maps(features_of(1), GRID, "positional")


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


class TestGraph:
    @pytest.fixture
    def backbone(self, tmp_path):
        return small_backbone(tmp_path)

    @pytest.fixture(params=["positional", "positional of few", "global", "global of few"])
    def bank(self, request):
        features = small_features(pictures(14)).astype(np.float32)
        if request.param.startswith("positional"):
            return build_positional(features, GRID, 40 if request.param.endswith("few") else 5)
        return build_global(features, GRID, 1000 if request.param.endswith("few") else 50)

    def test_equals_numpy_at_every_batch_size(self, backbone, bank, monkeypatch):
        # More than one part of a global bank, the last of them shorter.
        monkeypatch.setattr("edge.score_graph.GLOBAL_COLUMNS", 16)
        session = Session(compile_graph(backbone, bank, SIZE_WH, 0.2))
        images = pictures(5, seed=1)
        features = small_features(images).astype(np.float32)
        expected = distance_maps(bank, features)
        whole = session.run(images)
        assert whole["map"].shape == (5, *GRID)
        np.testing.assert_allclose(whole["map"].reshape(5, -1), expected, rtol=1e-3)
        np.testing.assert_allclose(whole["score"], image_score(expected, 0.2), rtol=1e-3)
        for count in (1, 2, 3):
            part = session.run(images[:count])
            for name, values in part.items():
                np.testing.assert_allclose(values, whole[name][:count], rtol=1e-4, atol=1e-4)

    def test_a_reference_is_at_no_distance(self, backbone):
        references = pictures(4)
        bank = build_positional(small_features(references).astype(np.float32), GRID, 8)
        assert Session(compile_graph(backbone, bank, SIZE_WH, 0.2)).run(references)["map"].max() < 0.05

    def test_embedding_is_the_mean_of_each_tile(self, backbone, bank):
        images = pictures(2)
        got = Session(compile_graph(backbone, bank, SIZE_WH, 0.2)).run(images)["embedding"]
        maps = small_features(images).reshape(2, *GRID, CHANNELS)
        # Four rows of tiles over four rows of cells; four columns of tiles over six columns: 2, 1, 2 and 1 of them.
        columns = [maps[:, :, a:b].mean(2) for a, b in ((0, 2), (2, 3), (3, 5), (5, 6))]
        expected = np.stack(columns, 2).reshape(2, EMBEDDING_SIDE**2, CHANNELS).swapaxes(1, 2).reshape(2, -1)
        np.testing.assert_allclose(got, expected, atol=1e-4)

    def test_features_that_are_not_finite_have_no_score(self, tmp_path):
        # Divided by almost nothing, every picture but a black one overflows.
        (tmp_path / "small.toml").write_text(
            'input = "image"\nfeatures = ["fine", "coarse"]\nsize_multiple = 16\ndeviation = [1e-38, 1e-38, 1e-38]\n'
        )
        backbone = small_backbone(tmp_path)
        bank = build_positional(np.zeros((2, CELLS, CHANNELS), np.float32), GRID, 2)
        images = pictures(2)
        images[0] = 0
        scores = Session(compile_graph(backbone, bank, SIZE_WH, 0.2)).run(images)["score"]
        assert np.isnan(scores).tolist() == [False, True]

    def test_a_bank_of_another_backbone_is_refused(self, backbone):
        bank = build_positional(features_of(3, channels=7), GRID, 2)
        with pytest.raises(GoldlineError, match="vectors of 7 numbers, the backbone gives 5"):
            compile_graph(backbone, bank, SIZE_WH, 0.2)

    def test_a_bank_of_another_size_is_refused(self, backbone):
        bank = build_positional(features_of(3, cells=6), (2, 3), 2)
        with pytest.raises(GoldlineError, match="2 x 3 cells, the picture has 4 x 6"):
            compile_graph(backbone, bank, SIZE_WH, 0.2)

    def test_a_bank_that_is_not_finite_is_refused(self, backbone):
        features = features_of(3)
        features[1, 2, 3] = np.nan
        bank = PositionalBank(vectors=features.swapaxes(0, 1), source=np.zeros((CELLS, 3), np.int32), grid=GRID)
        with pytest.raises(GoldlineError, match="not finite"):
            compile_graph(backbone, bank, SIZE_WH, 0.2)

    def test_a_bank_that_is_too_large_for_a_file_is_refused(self, backbone, bank, monkeypatch):
        monkeypatch.setattr("edge.graph.LARGEST_BYTES", 1000)
        with pytest.raises(GoldlineError, match="lower per_cell, coreset or working_px"):
            compile_graph(backbone, bank, SIZE_WH, 0.2)
