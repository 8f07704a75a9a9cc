"""The only place that decides: scores and limits in, a verdict out.

Each check is standardised by what it said about good images it had not seen, z = (score - median) / spread; the
overall score is the largest z. One pair of limits holds for the overall score and, mapped back, for every check:

    PASS     overall score below `review`
    FAIL     from `review` on; `review = true` as long as it stays below `fail`
    ERROR    a check has no finite score and no other check failed
"""

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edge.records import CheckScore, Limits, Offset, Outcome, Reason, Record, Verdict, error


class CheckScale(Record, frozen=True):
    """Where one check's scores of unseen good images lie, in the check's own unit."""

    median: float
    spread: float


@dataclass(frozen=True)
class Finding:
    """What a check found that looks for one thing: an object, a variant, a code, what a model of the user's counts.

    `score`: higher is worse. `limits` None: teach learned them from good images. `problem`: why nothing can be said.
    `boxes`: where it is wrong, x, y, width, height in px of what the check was shown.
    """

    score: float
    limits: Limits | None = None
    found: str | None = None
    expected: str | None = None
    offset: Offset | None = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    problem: str | None = None


# Of a check whose answer is yes or no: 0 is right, 2 is wrong, and nothing is left to review.
RIGHT, WRONG = 0.0, 2.0
EXACT = Limits(review=1.0, fail=1.0)
NOTHING_FOUND = Finding(score=math.nan)


class Calibration(Record, frozen=True):
    """What teach learned about good images: each check's scale, and the limits of the overall score.

    `rate` is the false-call rate that `limits.review` can promise, from `images` exchangeable good images; None when
    they are too few to promise any. `limits.fail` is an extrapolation beyond them. `goods` are the overall scores of the
    good images that the limits rest on, each by references without it, from low to high.
    """

    scales: dict[str, CheckScale]
    limits: Limits
    images: int
    rate: float | None
    goods: tuple[float, ...] = ()


def without(calibration: Calibration, names: Collection[str]) -> Calibration:
    """The calibration less the scales of these checks: they have limits of their own."""
    scales = {name: scale for name, scale in calibration.scales.items() if name not in names}
    return msgspec.structs.replace(calibration, scales=scales)


def check_limits(scale: CheckScale, limits: Limits) -> Limits:
    """The limits of the overall score, in one check's own unit."""
    return Limits(
        review=scale.median + limits.review * scale.spread,
        fail=scale.median + limits.fail * scale.spread,
    )


def standardise(scale: CheckScale, score: float) -> float:
    """How far a check's score lies from good images, in spreads."""
    return (score - scale.median) / scale.spread


def decide(
    scores: Mapping[str, float],
    calibration: Calibration,
    findings: Mapping[str, Finding] | None = None,
    small: frozenset[str] = frozenset(),
) -> Verdict:
    """The verdict on one view.

    `scores` has one raw score for each check of the calibration; `findings` what the other checks found, with limits
    of their own. Checks in `small` deviate in places too small to count: they fail nothing.
    """
    findings = findings or {}
    calibration = without(calibration, {name for name, finding in findings.items() if finding.limits is not None})
    checks = _learned(scores, calibration, findings) | _exact(findings)
    open_questions = [name for name in (*calibration.scales, *findings) if name not in checks]
    levels = {name: level(name, check.score, check.limits, calibration) for name, check in checks.items()}
    limits = calibration.limits
    failing = [reached for name, reached in levels.items() if reached >= limits.review and name not in small]
    if not failing and (open_questions or not checks):
        return error(Reason.CANNOT_JUDGE, _unanswered(open_questions, findings))
    learned = [reached for name, reached in levels.items() if name in calibration.scales]
    return Verdict(
        outcome=Outcome.FAIL if failing else Outcome.PASS,
        review=bool(failing) and max(failing) < limits.fail,
        score=max(levels.values()),
        limits=limits,
        checks=checks,
        p_value=p_value(calibration, max(learned)) if learned else None,
    )


def p_value(calibration: Calibration, overall: float) -> float | None:
    """The share of good parts that look at least as bad: (1 + those of teach that do) / (1 + all of them)."""
    goods = calibration.goods
    if not goods:
        return None
    return (1 + len(goods) - bisect_left(goods, overall)) / (1 + len(goods))


def _learned(
    scores: Mapping[str, float], calibration: Calibration, findings: Mapping[str, Finding]
) -> dict[str, CheckScore]:
    """Checks with a scale learned from good images, as far as their scores are finite."""
    checks: dict[str, CheckScore] = {}
    for name, scale in calibration.scales.items():
        finding = findings.get(name, NOTHING_FOUND)
        score = scores.get(name, finding.score)
        if math.isfinite(score) and finding.problem is None:
            limits = check_limits(scale, calibration.limits)
            checks[name] = CheckScore(score=score, limits=limits, found=finding.found, offset=finding.offset)
    return checks


def _exact(findings: Mapping[str, Finding]) -> dict[str, CheckScore]:
    """Checks with limits of their own."""
    return {
        name: CheckScore(
            score=finding.score,
            limits=finding.limits,
            found=finding.found,
            expected=finding.expected,
            offset=finding.offset,
        )
        for name, finding in findings.items()
        if finding.limits is not None and finding.problem is None and math.isfinite(finding.score)
    }


def level(name: str, score: float, own: Limits, calibration: Calibration) -> float:
    """A score on the scale of the overall limits: standardised, or placed as it lies to the check's own limits."""
    scale = calibration.scales.get(name)
    if scale is not None:
        return standardise(scale, score)
    limits = calibration.limits
    if score < own.review:
        # Inside its tolerance: as far below the review limit as it is below its own.
        return limits.review - (own.review - score) / own.review
    if score < own.fail:
        return limits.review + (limits.fail - limits.review) * (score - own.review) / (own.fail - own.review)
    return limits.fail + (score - own.fail)


def _unanswered(names: Sequence[str], findings: Mapping[str, Finding]) -> str:
    problems = [f"{name}: {findings[name].problem}" for name in names if name in findings and findings[name].problem]
    silent = [name for name in names if name not in findings or not findings[name].problem]
    if silent or not problems:
        problems.append(f"no finite score for {', '.join(silent) or 'any check'}")
    return "; ".join(problems)


def answer(verdict: Verdict, expect: Mapping[str, str]) -> Verdict:
    """The verdict in the light of an order: an expectation that no check answers can never come out as PASS."""
    open_questions = [f"{name}={value}" for name, value in expect.items() if name not in verdict.answers]
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
        answers=tuple(sorted({key for view in views for key in view.answers})),
        pose=None,
        closest_reference=None,
    )
