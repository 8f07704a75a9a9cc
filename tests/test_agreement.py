"""How a bank is found to stand for all references: exact searches, banks without a reference, and the figures."""

import msgspec
import numpy as np
import pytest

from edge import agreement, memory
from edge.agreement import FEWEST, GOODS, Goods, affordable, exact_distances, without
from edge.bank import Seen
from edge.check_recipes import AnomalyCheck
from edge.nearest import all_vectors, nearest_distances
from edge.positional import PositionalBank, build_positional, positional_maps, positional_without_own
from edge.rounding import Rounding

GRID, CELL_PX, CHANNELS = (6, 8), 8, 8


def see(images: np.ndarray) -> Seen:
    """Mixed grey levels of some pixels of each cell, and of each four cells."""
    mixing = np.random.default_rng(9).standard_normal((192, CHANNELS)) / 40

    def cells(size: int) -> np.ndarray:
        rows, columns = GRID[0] * CELL_PX // size, GRID[1] * CELL_PX // size
        placed = images.reshape(len(images), rows, size, columns, size, 3)[:, :, :: size // 8, :, :: size // 8]
        return (placed.swapaxes(2, 3).reshape(len(images), rows * columns, -1) @ mixing).astype(np.float16)

    return Seen(cells(CELL_PX), cells(2 * CELL_PX))


def pictures(count: int) -> np.ndarray:
    """One coarse pattern, each time with noise of its own."""
    random = np.random.default_rng(0)
    coarse = random.integers(60, 190, (GRID[0], GRID[1], 3)).repeat(CELL_PX, 0).repeat(CELL_PX, 1)
    return np.clip(coarse + random.normal(0, 12, (count, *coarse.shape)), 0, 255).astype(np.uint8)


def found(kind: str, names: tuple, anomaly: AnomalyCheck, count: int = 24):
    """Good images, and the bank of them as it is compared."""
    stack = pictures(count)
    seen = see(stack)
    bank, apart = memory.learn_bank(kind, names, anomaly, seen, GRID, None, lambda *_: None)
    return Goods(stack, seen, apart), memory.in_steps([bank])[0]


def test_an_exact_search_is_that_of_all_vectors() -> None:
    features = see(pictures(5)).whole
    exact = exact_distances(features[:4], features[3:])
    for distances, picture in zip(exact, features[3:], strict=True):
        assert np.allclose(distances, nearest_distances(all_vectors(features[:4], 0), picture), atol=0.03)
    assert exact[0].max() < 0.1 < exact[1].min()


def test_more_pictures_than_fit_a_block_are_searched_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    features = see(pictures(5)).whole
    steps: list[tuple[int, int]] = []
    whole = exact_distances(features, features)
    monkeypatch.setattr("edge.bank.BLOCK_NUMBERS", 2 * features.shape[1] * CHANNELS)
    assert np.allclose(exact_distances(features, features, lambda *step: steps.append(step)), whole, atol=0.01)
    assert steps == [(done, 15) for done in range(1, 16)]


def test_a_bank_without_a_reference_is_that_of_the_others() -> None:
    features = see(pictures(12)).whole
    bank = build_positional(features, GRID, 4)
    expected = positional_without_own(features, GRID, 4)
    for place in range(12):
        maps = positional_maps(without(bank, features, place), features[place : place + 1])
        assert np.allclose(maps[0], expected[place], atol=0.02)


def test_a_bank_that_keeps_everything_is_not_compared() -> None:
    goods, bank = found("positional", (), AnomalyCheck(per_cell=24))
    assert agreement.measure(goods, bank, 0.05, see) is None
    goods, bank = found("global", ("whole", "gaussians"), AnomalyCheck(coreset=24 * 48))
    assert agreement.measure(goods, bank, 0.05, see) is None


def test_a_larger_coreset_ranks_more_as_the_exact_search_does() -> None:
    ranks = []
    for coreset in (16, 900):
        goods, bank = found("global", ("whole", "half", "gaussians"), AnomalyCheck(coreset=coreset), count=24)
        one = agreement.measure(goods, bank, 0.05, see)
        assert one is not None
        assert one.images == 2 * 24 // 3
        ranks.append(one.rank)
    assert ranks[0] < ranks[1]
    assert ranks[1] > 0.95


def test_what_agrees_is_named() -> None:
    goods, bank = found("global", ("whole", "gaussians"), AnomalyCheck(coreset=900))
    assert str(agreement.measure(goods, bank, 0.05, see)).startswith(
        "900 vectors (whole) of all 24 references: verdicts agree with an exact search on "
    )
    goods, bank = found("positional", (), AnomalyCheck(per_cell=20))
    assert str(agreement.measure(goods, bank, 0.05, see)).startswith("20 of 24 references kept for each place: ")


def test_a_positional_bank_is_searched_as_the_graph_compares_it() -> None:
    goods, bank = found("positional", (), AnomalyCheck(per_cell=20))
    assert isinstance(bank, PositionalBank)
    fine = agreement.measure(goods, bank, 0.05, see)
    # Steps of half of what all numbers reach: little is left to tell pictures apart by.
    blunt = Rounding(middle=goods.seen.whole.astype(np.float32).mean((0, 1)), step=float(goods.seen.whole.max() / 2))
    coarse = agreement.measure(goods, msgspec.structs.replace(bank, rounding=blunt), 0.05, see)
    assert fine is not None and coarse is not None
    assert fine.rank > 0.95
    assert coarse.rank < fine.rank - 0.05


def test_so_many_images_are_searched_for_as_there_is_time_for() -> None:
    cells = (1024, 256)
    tried = [affordable(references, cells, 152) for references in (30, 100, 300, 1000, 3000)]
    assert tried == sorted(tried, reverse=True)
    assert (tried[0], tried[3], tried[4]) == (GOODS, FEWEST, 0)
    assert FEWEST < tried[2] < GOODS


def test_too_many_references_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    goods, bank = found("global", ("whole",), AnomalyCheck(coreset=100))
    assert agreement.measure(goods, bank, 0.05, see) is not None
    monkeypatch.setattr(agreement, "MOST_PRODUCTS", 1e3)
    assert agreement.measure(goods, bank, 0.05, see) is None
