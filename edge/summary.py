"""The figures of an evaluation, by the names of the documented JSON; and two sets beside each other."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edge.calibrate import separation
from edge.evaluate import STAGES, Call, Evaluation, Judged
from edge.figures import Interval, Scores, area_difference, area_interval, rate_interval
from edge.labelled import GOOD, readable
from edge.records import Limits, Record, Verdict
from edge.taught import Difference, differences


class Figures(Record, frozen=True):
    """What is measured of one set, by the names of the documented JSON. Intervals have 95 % confidence.

    `calls` counts verdicts by label; the lists name images, worst first. `median_score` is null where half or more of
    a label's images could not be judged. `promised_false_call_rate` is what the limits promise, null where nothing.

    Of whole parts `views` has each camera role's figures, a part's images for those of its defect whatever this view
    shows of it; `camera`, `limits` and the pixel figures are null, and what is promised is the sum over the views.
    """

    auroc: float
    auroc_interval: Interval
    per_class: dict[str, float]
    pixel_auroc: float | None
    au_pro: float | None
    false_call_rate: float
    false_call_interval: Interval
    escape_rate: float
    escape_interval: Interval
    error_rate: float
    n_good: int
    n_bad: int
    latency_ms: dict[str, float | None]
    stages_ms: dict[str, dict[str, float | None]]
    reference_set: str
    method: str
    camera: str | None
    limits: Limits | None
    promised_false_call_rate: float | None
    checks: tuple[str, ...]
    recipe_sha256: str
    calls: dict[str, dict[str, int]]
    median_score: dict[str, float]
    false_calls: tuple[str, ...]
    escapes: tuple[str, ...]
    errors: dict[str, str]
    views: "dict[str, Figures]"


class Changed(Record, frozen=True):
    """An image of which two sets make different calls: `old` is that of the set compared against."""

    image: str
    label: str
    old: str
    new: str
    old_score: float
    new_score: float


class Against(Figures, frozen=True):
    """Another set's figures on the same images, and what sets the first apart from it.

    `auroc_difference` is what the first has more; its interval is null where the images cannot give one.
    `differences` are the keys of the recipe by which the two were taught differently.
    """

    auroc_difference: float
    auroc_difference_interval: Interval | None
    changed: tuple[Changed, ...]
    differences: tuple[Difference, ...]


class Report(Figures, frozen=True):
    """The whole of `goldline evaluate --json`."""

    against: Against | None = None


def report(found: Evaluation, other: Evaluation | None = None) -> Report:
    """The figures of a set, and those of another one on the same images."""
    against = None if other is None else _against(found, other)
    return Report(**_fields(figures(found)), against=against)


def figures(found: Evaluation) -> Figures:
    """What is measured of one set."""
    good, bad = found.good, found.bad
    by_label = {label: [one for one in found.judged if one.sample.label == label] for label in labels(found)}
    rejected = sorted((one for one in good if one.call is not Call.PASS), key=lambda one: -one.score)
    passed = sorted((one for one in bad if one.call is Call.PASS), key=lambda one: one.score)
    errors = [one for one in found.judged if one.call is Call.ERROR]
    areas = {label: separation(scores_of(good), scores_of(some)) for label, some in by_label.items() if label != GOOD}
    auroc = separation(scores_of(good), scores_of(bad))
    return Figures(
        auroc=auroc,
        auroc_interval=area_interval(auroc, len(good), len(bad)),
        per_class=areas,
        pixel_auroc=None if found.pixels is None else found.pixels.area(),
        au_pro=None if found.pixels is None else found.pixels.au_pro(),
        false_call_rate=len(rejected) / len(good),
        false_call_interval=rate_interval(len(rejected), len(good)),
        escape_rate=len(passed) / len(bad),
        escape_interval=rate_interval(len(passed), len(bad)),
        error_rate=len(errors) / len(found.judged),
        n_good=len(good),
        n_bad=len(bad),
        latency_ms=_percentiles([sum(one.stages_ms) for one in found.judged if one.stages_ms]),
        stages_ms=_stages(found.judged),
        reference_set=found.source.reference_set,
        method=found.source.method,
        camera=found.source.camera,
        limits=found.limits,
        promised_false_call_rate=found.source.promised,
        checks=found.source.checks,
        recipe_sha256=found.source.recipe_sha256,
        calls={label: {call.value: _count(some, call) for call in Call} for label, some in by_label.items()},
        median_score={label: float(np.median(scores_of(some))) for label, some in by_label.items()},
        false_calls=tuple(one.sample.name for one in rejected),
        escapes=tuple(one.sample.name for one in passed),
        errors={one.sample.name: _why(one.verdict) for one in errors},
        views={role: figures(view) for role, view in found.views.items()},
    )


def _against(found: Evaluation, other: Evaluation) -> Against:
    difference = area_difference(
        [scores_of(one.good) for one in (found, other)], [scores_of(one.bad) for one in (found, other)]
    )
    pairs = zip(found.judged, other.judged, strict=True)
    return Against(
        **_fields(figures(other)),
        auroc_difference=difference.value,
        auroc_difference_interval=difference.interval,
        changed=tuple(_changed(old, new) for new, old in pairs if new.call is not old.call),
        differences=differences(found.source.taught, other.source.taught),
    )


def _changed(old: Judged, new: Judged) -> Changed:
    return Changed(
        image=new.sample.name,
        label=new.sample.label,
        old=old.call.value,
        new=new.call.value,
        old_score=old.score,
        new_score=new.score,
    )


def _fields(record: Figures) -> dict[str, Any]:
    return msgspec.structs.asdict(record)


def operating(told: Figures) -> tuple[tuple[str, float, float], tuple[str, float, float]]:
    """Where the line stands when REVIEW is rejected, and when it is let through.

    Each is the name of the limit, and the shares of good images rejected and of bad ones found.
    """
    surely = (Call.FAIL.value, Call.ERROR.value)
    failed = {label: sum(counts[call] for call in surely) for label, counts in told.calls.items()}
    good = failed.pop(GOOD)
    return (
        ("review", told.false_call_rate, 1 - told.escape_rate),
        ("fail", good / told.n_good, sum(failed.values()) / told.n_bad),
    )


def labels(found: Evaluation) -> list[str]:
    """Good, then each defect class."""
    return list(dict.fromkeys(one.sample.label for one in found.judged))


def scores_of(judged: Sequence[Judged]) -> Scores:
    """Their scores, [n]."""
    return np.array([one.score for one in judged])


def _count(judged: Sequence[Judged], call: Call) -> int:
    return sum(one.call is call for one in judged)


def _why(verdict: Verdict) -> str:
    return readable(f"{verdict.reason}: {verdict.detail}" if verdict.detail else str(verdict.reason))


def _stages(judged: Sequence[Judged]) -> dict[str, dict[str, float | None]]:
    timed = [one.stages_ms for one in judged if one.stages_ms]
    return {stage: _percentiles([times[place] for times in timed]) for place, stage in enumerate(STAGES)}


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    return {f"p{rank}": float(np.percentile(values, rank)) if values else None for rank in (50, 99)}
