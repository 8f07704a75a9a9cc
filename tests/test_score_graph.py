"""The one graph agrees with NumPy, at every batch size and thread count, with its bank inside or bound as inputs."""

import hashlib

import numpy as np
import pytest

from edge import memory
from edge.bank import Seen, image_score
from edge.check_recipes import AnomalyCheck
from edge.errors import GoldlineError
from edge.experts import NAMES
from edge.gaussians import LocalGaussians
from edge.inference import Session
from edge.positional import PositionalBank, build_positional
from edge.score_graph import EMBEDDING_SIDE, compile_graph
from edge.tensors import Bank, tensors_of
from tests.small_backbone import CHANNELS, GRID, SIZE_WH, pictures, small_backbone, small_features

CELLS = GRID[0] * GRID[1]
ANOMALY = AnomalyCheck(coreset=50, per_cell=6)
# What rounding leaves of a distance, in whatever order a processor adds.
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


def quiet(stage: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def see(images) -> Seen:
    halved = images.reshape(len(images), images.shape[1] // 2, 2, images.shape[2] // 2, 2, 3).mean((2, 4))
    whole = small_features(images).astype(np.float32)
    return Seen(whole, small_features(halved).astype(np.float32))


# Sides that give whole cells at half the size as well.
WIDE = (64, 32)
WIDE_GRID = (4, 8)


@pytest.fixture
def backbone(tmp_path):
    return small_backbone(tmp_path)


# Of the global bank: its experts, and whether it is compared in steps.
GLOBAL = {
    "whole": (("whole",), False),
    "half": (("half",), False),
    "gaussians": (("gaussians",), False),
    "all": (NAMES, False),
    "whole in steps": (("whole",), True),
    "all in steps": (NAMES, True),
}


@pytest.fixture(params=["positional", "levelled", "steps", *GLOBAL])
def bank(request):
    kind = "global" if request.param in GLOBAL else "positional"
    names, in_steps = GLOBAL.get(request.param, ((), request.param == "steps"))
    seen = see(pictures(14, size_wh=WIDE))
    found, apart = memory.learn_bank(kind, names, ANOMALY, seen, WIDE_GRID, None, quiet)
    if request.param in ("levelled", "steps"):
        found, _ = memory.levelled(found, apart, None)
        assert abs(found.level).max() > 0
    return stepped(found) if in_steps else found


def stepped(bank) -> Bank:
    (found,) = memory.in_steps([bank])
    models = [found] if isinstance(found, PositionalBank) else [one.model for one in found.experts.values()]
    assert all(one.rounding is not None for one in models if not isinstance(one, LocalGaussians))
    return found


def compiled(backbone, bank, *, bound=True, threads=1) -> Session:
    tensors = tensors_of(bank, memory.most_of(bank, ANOMALY))
    graph = compile_graph(backbone, tensors, WIDE, 0.2, bound=bound)
    return Session(graph, tensors=tensors if bound else None, threads=threads)


def test_it_equals_numpy_at_every_batch_size_and_thread_count(backbone, bank):
    images = pictures(5, seed=1, size_wh=WIDE)
    expected = memory.maps_of(bank, memory.apart_of(bank, see(images)))
    for threads in (1, 2):
        session = compiled(backbone, bank, threads=threads)
        whole = session.run(images)
        assert whole["map"].shape == (5, *WIDE_GRID)
        np.testing.assert_allclose(whole["map"].reshape(5, -1), expected, **CLOSE)
        np.testing.assert_allclose(whole["score"], image_score(expected, 0.2), **CLOSE)
        for count in (1, 2, 3):
            for name, values in session.run(images[:count]).items():
                np.testing.assert_allclose(values, whole[name][:count], rtol=1e-4, atol=1e-4)


def test_a_bank_inside_the_graph_or_bound_to_it_scores_the_same(backbone, bank):
    images = pictures(5, seed=1, size_wh=WIDE)
    inside, bound = compiled(backbone, bank, bound=False).run(images), compiled(backbone, bank).run(images)
    for name, values in inside.items():
        np.testing.assert_allclose(bound[name], values, rtol=1e-4, atol=1e-4)


def test_more_references_change_no_graph(backbone):
    """An accelerator's engine is kept under the graph's hash: a bank that has learned runs in the same one."""
    seen = see(pictures(14, size_wh=WIDE))
    for kind in ("positional", "global"):
        learned = memory.learn_bank(kind, NAMES, ANOMALY, seen, WIDE_GRID, None, quiet)[0]
        before = stepped(learned)
        after = memory.grown(before, see(pictures(3, seed=9, size_wh=WIDE)), 14, ANOMALY)
        graphs = {
            hashlib.sha256(compile_graph(backbone, tensors_of(one, memory.most_of(one, ANOMALY)), WIDE, 0.2)).digest()
            for one in (before, after)
        }
        assert len(graphs) == 1


def test_tensors_of_another_bank_are_refused(backbone):
    seen = see(pictures(5, size_wh=WIDE))
    bank = memory.learn_bank("positional", NAMES, ANOMALY, seen, WIDE_GRID, None, quiet)[0]
    tensors = tensors_of(bank, 6)
    with pytest.raises(ValueError, match="are not the graph's"):
        Session(compile_graph(backbone, tensors, WIDE, 0.2), tensors=tensors_of(bank, 7))


def test_a_reference_is_at_no_distance(backbone):
    references = pictures(4)
    tensors = tensors_of(build_positional(small_features(references).astype(np.float32), GRID, 8), 8)
    session = Session(compile_graph(backbone, tensors, SIZE_WH, 0.2), tensors=tensors)
    assert session.run(references)["map"].max() < 0.05


def test_bytes_of_a_bank_score_almost_as_its_floats_do(backbone):
    """Whatever the picture: its own reference, another good one, and one far outside all that the bank has seen."""
    references = pictures(9, size_wh=WIDE)
    exact = build_positional(see(references).whole, WIDE_GRID, 6)
    images = np.concatenate([references[:1], pictures(3, seed=1, size_wh=WIDE), np.full_like(references[:1], 255)])
    by_floats, by_bytes = (compiled(backbone, one).run(images) for one in (exact, stepped(exact)))
    usual = by_floats["score"][1:4].mean()
    np.testing.assert_allclose(by_bytes["score"][:4], by_floats["score"][:4], atol=0.01 * usual)
    # What lies beyond the outermost steps is taken for them, and is far all the same.
    assert by_floats["score"][4] > by_bytes["score"][4] > 3 * usual


def test_a_bank_in_steps_is_stored_and_read_as_it_is():
    bank = stepped(build_positional(see(pictures(9, size_wh=WIDE)).whole, WIDE_GRID, 6))
    before = tensors_of(bank, 6)
    after = memory.stored_tensors(memory.to_arrays(bank, 6), WIDE_GRID)
    assert before.keys() == after.keys() == {"bank/vectors", "bank/half", "bank/middle", "bank/step"}
    assert before["bank/vectors"].dtype == after["bank/vectors"].dtype == np.uint8
    # Half precision moves a number by far less than a step, and so only what lies between two of them.
    apart = np.abs(before["bank/vectors"].astype(int) - after["bank/vectors"])
    assert apart.max() <= 1
    assert apart.mean() < 0.05


def test_narrow_bytes_of_nearest_vectors_score_almost_as_their_floats_do(backbone):
    references = pictures(14, size_wh=WIDE)
    exact, _ = memory.learn_bank("global", ("whole",), ANOMALY, see(references), WIDE_GRID, None, quiet)
    images = np.concatenate([references[:1], pictures(3, seed=1, size_wh=WIDE), np.full_like(references[:1], 255)])
    by_floats, by_bytes = (compiled(backbone, one).run(images) for one in (exact, stepped(exact)))
    # Units are those of the expert's scale, in which these pictures differ by far more.
    assert np.ptp(by_floats["score"]) > 0.5
    np.testing.assert_allclose(by_bytes["score"], by_floats["score"], atol=0.03)


def test_nearest_vectors_in_steps_are_stored_and_read_as_they_are():
    learned, _ = memory.learn_bank("global", NAMES, ANOMALY, see(pictures(14, size_wh=WIDE)), WIDE_GRID, None, quiet)
    bank = stepped(learned)
    before, after = tensors_of(bank, 50), memory.stored_tensors(memory.to_arrays(bank, 50), WIDE_GRID)
    assert before.keys() == after.keys()
    assert before.keys() - tensors_of(learned, 50).keys() == {
        f"{n}/{k}" for n in ("whole", "half") for k in ("middle", "step")
    }
    for name in ("whole/vectors", "half/vectors"):
        assert before[name].dtype == after[name].dtype == np.int8
        # What has lost its own picture's mean is rounded to half precision before steps are chosen.
        np.testing.assert_array_equal(before[name], after[name])


def test_a_bank_stored_without_steps_is_compared_as_floats():
    """A set that was taught before there were any keeps its graph, which takes floats."""
    learned, _ = memory.learn_bank("global", NAMES, ANOMALY, see(pictures(14, size_wh=WIDE)), WIDE_GRID, None, quiet)
    after = memory.stored_tensors(memory.to_arrays(learned, 50), WIDE_GRID)
    assert {values.dtype for values in after.values()} == {np.dtype(np.float32)}


def test_embedding_is_the_mean_of_each_tile(backbone):
    images = pictures(2)
    tensors = tensors_of(build_positional(small_features(pictures(3)).astype(np.float32), GRID, 8), 8)
    got = Session(compile_graph(backbone, tensors, SIZE_WH, 0.2), tensors=tensors).run(images)["embedding"]
    maps = small_features(images).reshape(2, *GRID, CHANNELS)
    # Four rows of tiles over four rows of cells; four columns of tiles over six columns: 2, 1, 2 and 1 of them.
    columns = [maps[:, :, a:b].mean(2) for a, b in ((0, 2), (2, 3), (3, 5), (5, 6))]
    expected = np.stack(columns, 2).reshape(2, EMBEDDING_SIDE**2, CHANNELS).swapaxes(1, 2).reshape(2, -1)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_features_that_are_not_finite_have_no_score(tmp_path):
    # Divided by almost nothing, every picture but a black one overflows.
    (tmp_path / "small.toml").write_text(
        'input = "image"\nfeatures = ["fine", "coarse"]\nsize_multiple = 16\ndeviation = [1e-38, 1e-38, 1e-38]\n'
    )
    backbone = small_backbone(tmp_path)
    tensors = tensors_of(build_positional(np.zeros((2, CELLS, CHANNELS), np.float32), GRID, 2), 2)
    images = pictures(2)
    images[0] = 0
    scores = Session(compile_graph(backbone, tensors, SIZE_WH, 0.2), tensors=tensors).run(images)["score"]
    assert np.isnan(scores).tolist() == [False, True]


def random_bank(cells=CELLS, channels=CHANNELS, grid=GRID) -> PositionalBank:
    features = np.random.default_rng(0).standard_normal((3, cells, channels)).astype(np.float32)
    return build_positional(features, grid, 2)


def test_a_bank_that_does_not_fit_is_refused(backbone):
    with pytest.raises(GoldlineError, match="vectors of 7 numbers, the backbone gives 5"):
        compile_graph(backbone, tensors_of(random_bank(channels=7), 2), SIZE_WH, 0.2)
    with pytest.raises(GoldlineError, match="made for 6 cells, the picture has 4 x 6"):
        compile_graph(backbone, tensors_of(random_bank(cells=6, grid=(2, 3)), 2), SIZE_WH, 0.2)


def test_a_bank_that_is_not_finite_is_refused(backbone):
    tensors = tensors_of(random_bank(), 2)
    tensors["bank/vectors"][1, 2, 0] = np.nan
    with pytest.raises(GoldlineError, match="not finite"):
        compile_graph(backbone, tensors, SIZE_WH, 0.2)


def test_a_bank_that_is_too_large_for_a_file_is_refused(backbone, monkeypatch):
    monkeypatch.setattr("edge.graph.LARGEST_BYTES", 1000)
    with pytest.raises(GoldlineError, match="lower per_cell, coreset or working_px"):
        compile_graph(backbone, tensors_of(random_bank(), 2), SIZE_WH, 0.2)
