"""The only place that decides: scores and limits in, a verdict out.

Each check is standardised by what it said about good images it had not seen, z = (score - median) / spread; the
overall score is the largest z. One pair of limits holds for the overall score and, mapped back, for every check:

    PASS     overall score below `review`
    FAIL     from `review` on; `review = true` as long as it stays below `fail`
    ERROR    a check has no finite score and no other check failed
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from edge.errors import GoldlineError
from edge.records import CheckScore, Limits, Outcome, Reason, Record, Verdict, error


class CheckScale(Record, frozen=True):
    """Where one check's scores of unseen good images lie, in the check's own unit."""

    median: float
    spread: float


class Calibration(Record, frozen=True):
    """What teach learned about good images: each check's scale, and the limits of the overall score.

    `rate` is the false-call rate that `limits.review` can promise, from `images` exchangeable good images; None when
    they are too few to promise any. `limits.fail` is an extrapolation beyond them.
    """

    scales: dict[str, CheckScale]
    limits: Limits
    images: int
    rate: float | None


def override(calibration: Calibration, review: float | None, fail: float | None) -> Calibration:
    """The calibration with the recipe's own limits. Raises GoldlineError when review would exceed fail."""
    chosen_review = calibration.limits.review if review is None else review
    chosen_fail = max(calibration.limits.fail, chosen_review) if fail is None else fail
    if review is None:
        chosen_review = min(chosen_review, chosen_fail)
    if chosen_review > chosen_fail:
        raise GoldlineError(f"recipe [limits]: review = {chosen_review:g} is above fail = {chosen_fail:g}")
    return msgspec.structs.replace(calibration, limits=Limits(review=chosen_review, fail=chosen_fail))


def check_limits(scale: CheckScale, limits: Limits) -> Limits:
    """The limits of the overall score, in one check's own unit."""
    return Limits(
        review=scale.median + limits.review * scale.spread,
        fail=scale.median + limits.fail * scale.spread,
    )


def standardise(scale: CheckScale, score: float) -> float:
    """How far a check's score lies from good images, in spreads."""
    return (score - scale.median) / scale.spread


def decide(scores: Mapping[str, float], calibration: Calibration) -> Verdict:
    """The verdict on one view, from one raw score for each check of the calibration."""
    judged = {name: scores[name] for name in calibration.scales if math.isfinite(scores.get(name, math.nan))}
    missing = [name for name in calibration.scales if name not in judged]
    overall = max((standardise(calibration.scales[name], score) for name, score in judged.items()), default=-math.inf)
    limits = calibration.limits
    if overall < limits.review and (missing or not judged):
        return error(Reason.CANNOT_JUDGE, f"no finite score for {', '.join(missing) or 'any check'}")
    return Verdict(
        outcome=Outcome.PASS if overall < limits.review else Outcome.FAIL,
        review=limits.review <= overall < limits.fail,
        score=overall,
        limits=limits,
        checks={
            name: CheckScore(score=score, limits=check_limits(calibration.scales[name], limits))
            for name, score in judged.items()
        },
    )


def answer(verdict: Verdict, expect: Mapping[str, str], answered: frozenset[str] = frozenset()) -> Verdict:
    """The verdict in the light of an order: an expectation that no check answers can never come out as PASS."""
    open_questions = [f"{name}={value}" for name, value in expect.items() if name not in answered]
    if verdict.outcome is not Outcome.PASS or not open_questions:
        return verdict
    return msgspec.structs.replace(
        verdict,
        outcome=Outcome.ERROR,
        reason=Reason.CANNOT_JUDGE,
        detail=f"no check of the recipe answers what is expected: {', '.join(open_questions)}",
    )


# What the line must hear first.
_SEVERITY = {Outcome.PASS: 0, Outcome.ERROR: 1, Outcome.FAIL: 2}


def fold(views: Sequence[Verdict]) -> Verdict:
    """One part's verdict from its views: FAIL if any failed, else ERROR if any is unjudged, else PASS.

    A FAIL stays open to review only while every failed view is. Pose and closest reference belong to a single view.
    """
    if not views:
        return error(Reason.MISSING_VIEW, "no view of the part")
    if len(views) == 1:
        return views[0]
    worst = max(views, key=lambda view: (_SEVERITY[view.outcome], not view.review, view.score or 0.0))
    scores = [view.score for view in views if view.score is not None]
    return msgspec.structs.replace(
        worst,
        score=max(scores, default=None),
        checks={name: check for view in views for name, check in view.checks.items()},
        defects=tuple(defect for view in views for defect in view.defects),
        pose=None,
        closest_reference=None,
    )
