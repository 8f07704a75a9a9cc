"""Deviations drawn into good images: visible, local, and the same every time."""

import numpy as np
import pytest

from edge import choose, synthetic, trial
from tests.lid import Lids

IMAGE, OTHER = Lids(1).good(), Lids(2).good()


@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_a_deviation_changes_a_part_of_the_picture_and_is_repeatable(kind: str) -> None:
    copies = [synthetic.deviate(kind, IMAGE, OTHER, np.random.default_rng(5)) for _ in range(2)]
    assert copies[0] is not None and copies[1] is not None
    assert (copies[0] == copies[1]).all()
    touched = np.any(copies[0] != IMAGE, axis=2).mean()
    assert 0 < touched < 0.5
    assert copies[0].shape == IMAGE.shape and copies[0].dtype == np.uint8


@pytest.mark.parametrize("kind", ["moved", "foreign", "erased", "displaced"])
def test_nothing_is_drawn_where_it_could_not_be_seen(kind: str) -> None:
    blank = np.full((64, 64, 3), 90, np.uint8)
    assert synthetic.deviate(kind, blank, blank, np.random.default_rng(0)) is None


def test_jittered_copies_are_nearly_the_picture() -> None:
    copies = synthetic.jittered(IMAGE, 3, np.random.default_rng(0))
    for copy in copies:
        assert 0 < np.abs(copy.astype(int) - IMAGE).mean() < 20


@pytest.mark.parametrize("count", [2, 5, 31, 59, 60, 300])
def test_held_out_images_are_never_built_from(count: int) -> None:
    scored = []
    for rest, part in trial.held_out(count):
        assert not set(rest) & set(part)
        assert len(rest)
        scored += part.tolist()
    assert len(scored) == len(set(scored)) == min(count, trial.MOST_HELD_OUT)


def scored_by(positional: list[float], everywhere: list[float], bad: list[float]) -> trial.Trial:
    """Ten good images of score 0 to 9 by both banks, and a copy of each."""
    good = [float(index) for index in range(10)]
    return trial.Trial(
        good={"positional": good, "global": good, "template": good},
        bad={"positional": positional, "global": everywhere, "template": bad},
        owner=list(range(10)),
    )


CLEAR, BLURRED = [20.0 + index for index in range(10)], [4.5 + index / 10 for index in range(10)]


def test_the_bank_that_separates_more_is_taken() -> None:
    assert choose.choose_bank(scored_by(BLURRED, CLEAR, CLEAR))[0] == "global"
    assert choose.choose_bank(scored_by(CLEAR, BLURRED, CLEAR))[0] == "positional"


def test_the_bank_is_positional_where_neither_separates_more() -> None:
    assert choose.choose_bank(scored_by(CLEAR, CLEAR, CLEAR))[0] == "positional"
    # One copy more, of ten images: as much as chance makes.
    kind, why = choose.choose_bank(scored_by(BLURRED, [*BLURRED[:9], 20.0], CLEAR))
    assert kind == "positional"
    assert "positional 0.545, global 0.585" in why


def test_without_any_copy_the_bank_is_positional() -> None:
    nothing = trial.Trial(good={"positional": [1.0, 2.0], "global": [1.0, 2.0]})
    assert choose.choose_bank(nothing)[0] == "positional"


def test_the_template_is_kept_only_where_it_finds_more() -> None:
    assert choose.choose_template(scored_by(BLURRED, BLURRED, CLEAR), "positional")[0]
    assert not choose.choose_template(scored_by(CLEAR, CLEAR, CLEAR), "positional")[0]
    assert not choose.choose_template(scored_by(CLEAR, CLEAR, BLURRED), "positional")[0]
