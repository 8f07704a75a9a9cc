"""Ranks: exchangeable parts raise no alarm however few the goods are, changed ones do, and both bets are fair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.judge import p_value
from edge.ranks import CELLS, WINDOW, YARDSTICK, Evidence, Grid, Window
from tests.lines import Line, calibration


def test_a_grid_holds_every_gap_in_which_parts_pass() -> None:
    grid = Grid.of(calibration([1.0, 2.0, 3.0, 4.0]))
    # 4 is the limit: what passes lies below 1, 2, 3 or 4, and has a p-value of 5/5, 4/5, 3/5 or 2/5.
    assert grid.gaps == (1, 1, 1, 1)
    assert [grid.cell(p) for p in (0.2, 0.4, 0.6, 0.8, 1.0)] == [None, 0, 1, 2, 3]


def test_a_gap_that_the_limit_cuts_is_left_out() -> None:
    """Which share of it passes is not known."""
    goods = [1.0, 2.0, 3.0, 4.0]
    assert Grid.of(calibration(goods, review=2.5)).gaps == (1, 1)
    assert Grid.of(calibration(goods, review=9.0)).gaps == (1, 1, 1, 1)
    assert Grid.of(calibration(goods, review=2.5)).cell(0.6) is None
    assert Grid.of(calibration(goods, review=0.5)).gaps == ()


def test_good_parts_that_score_alike_share_their_gap() -> None:
    goods = calibration([0.0, 0.0, 0.0, 1.0])
    assert Grid.of(goods).gaps == (1, 3)
    assert Grid.of(goods).cell(p_value(goods, 0.0) or 0.0) == 1


@given(st.lists(st.floats(min_value=-5, max_value=5), min_size=1, max_size=200), st.floats(min_value=-6, max_value=5))
def test_whatever_passes_has_a_cell_and_worse_parts_a_lower_one(goods: list[float], score: float) -> None:
    known = calibration(goods)
    grid = Grid.of(known)
    assert sum(grid.gaps) == len(goods)
    assert len(grid.gaps) <= CELLS
    passing = [one for one in sorted([score, *goods]) if one <= max(goods)]
    cells = [grid.cell(p_value(known, one) or 0.0) for one in passing]
    assert None not in cells
    assert cells == sorted(cells, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("goods", [12, 300])
def test_in_hardly_any_run_of_100_000_exchangeable_parts_there_is_an_alarm(goods: int) -> None:
    """However few the goods are that they are ranked among; docs/drift.md has the share of many more runs."""
    for seed in range(10):
        line = Line(seed, goods)
        assert line.run(Evidence(line.grid.gaps), 100_000) is None, seed


def test_a_fixed_yardstick_of_few_goods_would_raise_alarms() -> None:
    """Why it grows: endless good parts do not fall evenly among twelve of them."""
    found = []
    for seed in range(10):
        line = Line(seed, 12)
        frozen = Evidence([count * YARDSTICK for count in line.grid.gaps])
        found.append(line.run(frozen, 10_000))
    assert found.count(None) <= 5


@pytest.mark.parametrize("goods", [12, 300])
def test_parts_that_look_worse_raise_an_alarm_within_300(goods: int) -> None:
    for seed in range(20):
        line = Line(seed, goods)
        evidence = Evidence(line.grid.gaps)
        assert line.run(evidence, 2_000) is None
        found = line.run(evidence, 300, worse=2.0)
        assert found is not None
        assert evidence.lead == "worse"


def test_parts_that_look_better_raise_an_alarm_too() -> None:
    """Blur takes away what the checks look at: everything seems good, and deviations will be missed."""
    line = Line(1, 100)
    evidence = Evidence(line.grid.gaps)
    assert line.run(evidence, 2_000) is None
    assert line.run(evidence, 500, worse=0.4) is not None
    assert evidence.lead == "better"


def test_many_goods_tell_drift_from_the_first_part_on() -> None:
    line = Line(2, 300)
    found = line.run(Evidence(line.grid.gaps), 400, worse=2.0)
    assert found is not None


def test_a_shift_too_small_to_matter_raises_no_alarm() -> None:
    for seed in range(5):
        line = Line(seed, 1_000)
        assert line.run(Evidence(line.grid.gaps), 20_000, worse=1.1) is None


def test_drift_is_not_learned_while_the_alarm_is_up_and_its_end_clears_it() -> None:
    line = Line(3, 100)
    evidence = Evidence(line.grid.gaps)
    assert line.run(evidence, 1_000) is None
    assert line.run(evidence, 1_000, worse=3.0) is not None
    for cell in line.cells(10 * YARDSTICK, worse=3.0):
        evidence.observe(cell)
        assert evidence.is_alarm
    still_up = 0
    for cell in line.cells(500):
        evidence.observe(cell)
        still_up += evidence.is_alarm
    assert 20 < still_up < 400
    assert not evidence.is_alarm


@given(st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=CELLS))
def test_both_bets_are_fair_for_exchangeable_parts(gaps: list[int]) -> None:
    """From any state, R grows by 1 a part on average: over the cells, each as likely as it has gaps."""
    total = {"worse": 0.0, "better": 0.0}
    for cell, share in enumerate(gaps):
        after = Evidence(gaps)
        after._worse, after._better = 7.0, 3.0
        after.observe(cell)
        total["worse"] += after._worse * share / sum(gaps)
        total["better"] += after._better * share / sum(gaps)
    assert total["worse"] == pytest.approx(8.0)
    assert total["better"] == pytest.approx(4.0)


def test_the_distance_is_that_of_the_newest_parts_and_waits_for_them() -> None:
    window = Window((1, 1, 1, 1))
    for _ in range(WINDOW - 1):
        window.observe(0)
    assert window.distance == 0
    window.observe(0)
    assert window.distance == pytest.approx(0.75)
    for number in range(WINDOW):
        window.observe(number % 4)
    assert window.distance == 0


def test_a_distance_against_numpy() -> None:
    line = Line(4, 57)
    window, cells = Window(line.grid.gaps), line.cells(3 * WINDOW, worse=1.5)
    for cell in cells:
        window.observe(cell)
    seen = np.bincount(cells[-WINDOW:], minlength=len(line.grid.gaps)).cumsum() / WINDOW
    expected = np.cumsum(line.grid.gaps) / sum(line.grid.gaps)
    assert window.distance == pytest.approx(np.abs(seen - expected).max())
