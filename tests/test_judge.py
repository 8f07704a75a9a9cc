"""Judge: monotone, never a false PASS, and exact about its limits."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import calibrate, defects, judge
from edge.recipe import LimitsRecipe
from edge.records import Limits, Outcome, Reason, Verdict, error

CALIBRATION = judge.Calibration(
    scales={
        "part.anomaly": judge.CheckScale(median=10.0, spread=2.0),
        "part.template": judge.CheckScale(median=0.5, spread=0.25),
    },
    limits=Limits(review=3.0, fail=6.0),
    images=30,
    rate=1 / 31,
)
GOOD = {"part.anomaly": 10.0, "part.template": 0.5}
SEVERITY = {Outcome.PASS: 0, Outcome.FAIL: 1}

finite = st.floats(-1e6, 1e6)
scores = st.fixed_dictionaries({"part.anomaly": finite, "part.template": finite})


def rank(verdict: Verdict) -> tuple[int, bool]:
    return SEVERITY[verdict.outcome], verdict.outcome is Outcome.FAIL and not verdict.review


@given(scores, st.sampled_from(sorted(GOOD)), st.floats(0, 1e6))
def test_a_worse_score_never_improves_the_verdict(before: dict[str, float], check: str, worse_by: float) -> None:
    after = {**before, check: before[check] + worse_by}
    assert rank(judge.decide(after, CALIBRATION)) >= rank(judge.decide(before, CALIBRATION))


@given(scores)
def test_overall_and_per_check_limits_agree(given_scores: dict[str, float]) -> None:
    verdict = judge.decide(given_scores, CALIBRATION)
    for limit in ("review", "fail"):
        by_check = [check.score / getattr(check.limits, limit) - 1 for check in verdict.checks.values()]
        overall = verdict.score - getattr(verdict.limits, limit)
        if all(abs(distance) > 1e-9 for distance in by_check) and abs(overall) > 1e-9:  # not on the limit itself
            assert (overall > 0) == any(distance > 0 for distance in by_check)


@pytest.mark.parametrize(
    ("anomaly", "outcome", "review"),
    [
        (15.99, Outcome.PASS, False),
        (16.0, Outcome.FAIL, True),
        (21.99, Outcome.FAIL, True),
        (22.0, Outcome.FAIL, False),
    ],
)
def test_both_limits_belong_to_what_lies_above(anomaly: float, outcome: Outcome, review: bool) -> None:
    verdict = judge.decide({**GOOD, "part.anomaly": anomaly}, CALIBRATION)
    assert (verdict.outcome, verdict.review) == (outcome, review)
    assert verdict.checks["part.anomaly"].limits == Limits(review=16.0, fail=22.0)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_cannot_be_judged(broken: float) -> None:
    verdict = judge.decide({**GOOD, "part.template": broken}, CALIBRATION)
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)
    assert verdict.detail == "no finite score for part.template"


def test_a_missing_check_cannot_be_judged_but_another_can_still_fail() -> None:
    assert judge.decide({"part.anomaly": 10.0}, CALIBRATION).outcome is Outcome.ERROR
    assert judge.decide({"part.anomaly": 99.0, "part.template": math.nan}, CALIBRATION).outcome is Outcome.FAIL


def test_nothing_to_judge_is_not_a_pass() -> None:
    empty = judge.Calibration(scales={}, limits=Limits(review=1, fail=2), images=0, rate=None)
    assert judge.decide({}, empty).outcome is Outcome.ERROR


def test_an_expectation_nothing_answers_is_never_a_pass() -> None:
    passed = judge.decide(GOOD, CALIBRATION)
    asked = judge.answer(passed, {"variant": "left", "code": "123"})
    assert (asked.outcome, asked.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)
    assert asked.detail is not None and "variant=left, code=123" in asked.detail
    assert judge.answer(passed, {}) == passed
    answered = msgspec.structs.replace(passed, answers=("variant",))
    assert judge.answer(answered, {"variant": "left"}) == answered
    assert judge.answer(answered, {"variant": "left", "code": "123"}).outcome is Outcome.ERROR
    failed = judge.decide({**GOOD, "part.anomaly": 99.0}, CALIBRATION)
    assert judge.answer(failed, {"variant": "left"}) == failed


VIEWS = {
    "pass": judge.decide(GOOD, CALIBRATION),
    "review": judge.decide({**GOOD, "part.anomaly": 17.0}, CALIBRATION),
    "fail": judge.decide({**GOOD, "part.anomaly": 99.0}, CALIBRATION),
    "error": error(Reason.CANNOT_JUDGE, "blurred"),
}


@given(st.lists(st.sampled_from(sorted(VIEWS)), min_size=1, max_size=5))
def test_fold_puts_fail_before_error_before_pass(names: list[str]) -> None:
    folded = judge.fold([VIEWS[name] for name in names])
    if {"fail", "review"} & set(names):
        assert (folded.outcome, folded.review) == (Outcome.FAIL, "fail" not in names)
        assert folded.reason is None
    elif "error" in names:
        assert (folded.outcome, folded.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)
    else:
        assert folded.outcome is Outcome.PASS


def test_fold_of_no_view_is_an_error() -> None:
    assert judge.fold([]).reason is Reason.MISSING_VIEW


def test_the_recipe_can_override_limits() -> None:
    assert calibrate.in_force(CALIBRATION, LimitsRecipe(review=4.0)).limits == Limits(review=4.0, fail=6.0)
    assert calibrate.in_force(CALIBRATION, LimitsRecipe(review=9.0)).limits == Limits(review=9.0, fail=9.0)
    assert calibrate.in_force(CALIBRATION, LimitsRecipe(fail=2.0)).limits == Limits(review=2.0, fail=2.0)


GOODS = tuple(float(score) for score in range(99))


@pytest.mark.parametrize(("rate", "limit"), [(0.01, 98.0), (0.05, 94.0), (0.5, 49.0)])
def test_a_rate_of_false_calls_is_met_by_the_conformal_rank(rate: float, limit: float) -> None:
    known = msgspec.structs.replace(CALIBRATION, goods=GOODS)
    found = calibrate.in_force(known, LimitsRecipe(false_call_rate=rate, fail=200.0))
    assert (found.limits.review, found.rate) == (limit, rate)
    # Of 99 good parts and one more, equally likely to be any of them, at most this share lies above.
    assert sum(score > limit for score in GOODS) / 100 <= rate


def test_a_rate_beyond_what_the_images_can_show_is_extrapolated_and_not_promised() -> None:
    known = msgspec.structs.replace(CALIBRATION, goods=GOODS)
    found = calibrate.in_force(known, LimitsRecipe(false_call_rate=0.001, fail=900.0))
    assert found.limits.review > max(GOODS) and found.rate is None


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_a_stricter_rate_never_lowers_the_limit(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert calibrate.conformal(GOODS, low)[0] >= calibrate.conformal(GOODS, high)[0]


def test_the_p_value_counts_the_good_parts_that_look_as_bad() -> None:
    known = msgspec.structs.replace(CALIBRATION, goods=(1.0, 2.0, 3.0))
    assert [judge.p_value(known, score) for score in (0.0, 2.0, 9.0)] == [1.0, 0.75, 0.25]
    assert judge.p_value(CALIBRATION, 1.0) is None


@given(st.lists(st.floats(0, 100), min_size=5, max_size=40))
def test_the_review_limit_passes_every_image_not_set_aside_but_the_largest(values: list[float]) -> None:
    result = calibrate.calibrate({"part.anomaly": np.array(values)}, {"part.anomaly": 1e-3}, len(values))
    kept = np.delete(result.overall, result.odd)
    assert (kept <= result.calibration.limits.review).all()
    assert result.calibration.limits.review == kept.max()
    assert result.calibration.limits.fail > result.calibration.limits.review
    assert result.calibration.rate == (len(result.odd) + 1) / (len(values) + 1)


def test_a_bad_image_among_the_good_is_odd_and_does_not_set_the_limit() -> None:
    values = np.append(np.random.default_rng(0).normal(10, 1, 30), 60.0)
    result = calibrate.calibrate({"part.anomaly": values}, {"part.anomaly": 1e-3}, len(values))
    assert result.odd == (30,)
    assert result.calibration.limits.review < 5
    assert result.calibration.rate == 2 / 32


def test_few_images_promise_no_rate() -> None:
    assert calibrate.calibrate({"a": np.array([1.0, 2, 3, 4])}, {"a": 1e-3}, 4).calibration.rate is None


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_separation_is_the_share_of_pairs_in_order(good: list[int], bad: list[int]) -> None:
    pairs = [(b > g) + 0.5 * (b == g) for g in good for b in bad]
    assert calibrate.separation(np.array(good), np.array(bad)) == pytest.approx(sum(pairs) / len(pairs))


def test_near_duplicates_are_found() -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 8, 8)).astype(np.uint8)
    images[4] = np.clip(images[1].astype(int) + 1, 0, 255)
    assert calibrate.near_duplicates(images) == [(1, 4)]


def test_defects_are_boxed_worst_first_in_image_pixels() -> None:
    deviation = np.zeros((10, 10), np.float32)
    deviation[1:3, 1:4], deviation[7, 7], deviation[5, 0] = 5.0, 9.0, 2.0
    found = defects.defects("part.anomaly", deviation, 4.0, lambda box: tuple(10 * v for v in box), 1)
    assert [defect.bbox for defect in found] == [(70, 70, 10, 10), (10, 10, 30, 20)]
    assert [defect.score for defect in found] == [9.0, 5.0]
    assert [d.bbox for d in defects.defects("c", deviation, 4.0, lambda b: tuple(10 * v for v in b), 101)] == [
        (10, 10, 30, 20)
    ]


def test_a_failed_check_always_shows_a_box() -> None:
    deviation = np.zeros((4, 4), np.float32)
    deviation[2, 1] = 0.5
    found = defects.defects("c", deviation, 4.0, lambda box: box, 1_000)
    assert [defect.bbox for defect in found] == [(1, 2, 1, 1)]


def test_at_most_sixteen_boxes() -> None:
    deviation = np.zeros((40, 40), np.float32)
    deviation[::4, ::4] = np.arange(100).reshape(10, 10) + 1
    found = defects.defects("c", deviation, 1.0, lambda box: box, 1)
    assert [defect.score for defect in found] == list(range(100, 84, -1))
