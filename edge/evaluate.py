"""Judging labelled images (`labelled.py`) by a reference set: every image's verdict, and how long each stage took.

One camera's pictures are judged one by one; where several see a part, all its views are folded into one verdict by the
ledger's own rule. An image that cannot be judged counts as the worst score there is: it leaves the line too.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from edge import ledger
from edge.figures import PixelCurve
from edge.images import Image, ImageError, read_image
from edge.inspector import Inspector
from edge.labelled import GOOD, Sample, truth
from edge.records import Limits, Outcome, Reason, Trigger, Verdict, error
from edge.view_inspector import Prepared, Scores

# A picture judged by itself, as nobody ordered it.
NO_ORDER: Mapping[str, str] = {}
Tell = Callable[[int, int], None]
STAGES = ("prepare", "graph", "judge")


@dataclass(frozen=True)
class Source:
    """What judged: the product, its reference set, and where they come from. `reasons`: why teach chose as it did.

    `camera` is None for all views of a part. `taught` is the part of the recipe that the set was taught by. `promised`
    is the rate of false calls that the limits promise: of a part the sum over its views, which bounds that of their
    union however they go together; None where one promises nothing.
    """

    product: str
    reference_set: str
    camera: str | None
    method: str
    references: int
    registration: str
    recipe_sha256: str
    model_sha256: str
    reasons: tuple[str, ...]
    checks: tuple[str, ...]
    promised: float | None
    taught: Mapping[str, Any]


def source_of(inspector: Inspector, role: str | None) -> Source:
    """The provenance of an inspector's verdicts on pictures of the camera in that role; None: on whole parts."""
    roles = inspector.roles if role is None else (role,)
    views = [inspector.references.view(one) for one in roles]
    rates = [inspector.calibration_of(one).rate for one in roles]
    provenance = inspector.provenance(0)
    return Source(
        product=provenance.product,
        reference_set=provenance.reference_set,
        camera=role,
        method=inspector.method,
        references=sum(len(view.references) for view in views),
        registration=", ".join(dict.fromkeys(view.registration for view in views)),
        recipe_sha256=provenance.recipe_sha256,
        model_sha256=provenance.model_sha256,
        reasons=inspector.manifest.reasons,
        checks=tuple(name for one in roles for name in _checks(inspector, one)),
        promised=None if None in rates else min(1.0, sum(rate or 0.0 for rate in rates)),
        taught=inspector.manifest.taught,
    )


def _checks(inspector: Inspector, role: str) -> tuple[str, ...]:
    """The checks of a camera role, by region and kind."""
    regions = inspector.views[role].regions
    taught = [f"{region.manifest.name}.{check}" for region in regions for check in region.manifest.checks]
    return tuple(dict.fromkeys([*taught, *(check.name for region in regions for check in region.checks)]))


class Call(StrEnum):
    """What a verdict means to who stands at the line; REVIEW is FAIL between the two limits."""

    PASS = "PASS"  # noqa: S105 - a verdict
    REVIEW = "REVIEW"
    FAIL = "FAIL"
    ERROR = "ERROR"

    @classmethod
    def of(cls, verdict: Verdict) -> "Call":
        """The verdict, with what is open to review told apart."""
        return cls.REVIEW if verdict.review else cls(verdict.outcome.value)


@dataclass(frozen=True)
class Judged:
    """A sample with its verdict, and the ms its stages took, in the order of STAGES; none for an unreadable file.

    Of a part `views` are its judged pictures by role; its times are theirs together.
    """

    sample: Sample
    verdict: Verdict
    stages_ms: tuple[float, ...] = ()
    views: Mapping[str, "Judged"] = field(default_factory=dict[str, "Judged"])

    @property
    def score(self) -> float:
        """The overall score; the worst there is when the image could not be judged."""
        score = self.verdict.score
        return math.inf if score is None or self.verdict.outcome is Outcome.ERROR else score

    @property
    def call(self) -> Call:
        """What it was called."""
        return Call.of(self.verdict)


@dataclass(frozen=True)
class Evaluation:
    """One reference set's judgement of every sample, in their order; `pixels` None where no image has a mask.

    Of whole parts, `views` is each camera role's own; limits and pixels are then only theirs.
    """

    source: Source
    limits: Limits | None
    judged: tuple[Judged, ...]
    pixels: PixelCurve | None
    views: Mapping[str, "Evaluation"] = field(default_factory=dict[str, "Evaluation"])

    @property
    def good(self) -> list[Judged]:
        """The good images."""
        return [one for one in self.judged if one.sample.label == GOOD]

    @property
    def bad(self) -> list[Judged]:
        """The bad ones."""
        return [one for one in self.judged if one.sample.label != GOOD]


@dataclass(frozen=True)
class Seen:
    """What each stage made of an image, and the ms each took, in the order of STAGES."""

    prepared: Prepared
    scores: Scores
    verdict: Verdict
    stages_ms: tuple[float, ...]


def look(
    inspector: Inspector, role: str, image: Image, expect: Mapping[str, str] = NO_ORDER, *, is_part: bool = True
) -> Seen:
    """Judge one image [h, w, 3] BGR of the camera in that role, in the light of what an order expects.

    `is_part`: it is all there is of the part, so that what no check answers stays unanswered.
    """
    times = [time.perf_counter()]
    prepared = inspector.prepare(image, role)
    times.append(time.perf_counter())
    scores = inspector.score([prepared])[0]
    times.append(time.perf_counter())
    verdict = inspector.judge(prepared, scores, expect, is_part=is_part)
    times.append(time.perf_counter())
    return Seen(prepared, scores, verdict, tuple(float(span) for span in np.diff(times) * 1e3))


@dataclass(frozen=True)
class Viewer:
    """Judges the pictures of one camera role; their pixels go into the curve, where some have masks."""

    inspector: Inspector
    role: str
    pixels: PixelCurve | None

    @classmethod
    def of(cls, inspector: Inspector, role: str, labelled: Sequence[Sample]) -> "Viewer":
        """For these pictures."""
        return cls(inspector, role, PixelCurve() if any(sample.mask for sample in labelled) else None)

    def judge(self, sample: Sample, expect: Mapping[str, str], *, is_part: bool) -> Judged:
        """One picture's verdict. An unreadable one is an ERROR."""
        try:
            image = read_image(sample.path)
        except ImageError as problem:
            return Judged(sample, error(Reason.CANNOT_JUDGE, str(problem)))
        seen = look(self.inspector, self.role, image, expect, is_part=is_part)
        mask = None if self.pixels is None or seen.prepared.refusal else truth(sample, image.shape)
        if self.pixels is not None and mask is not None:
            self.pixels.add(self.inspector.deviation(seen.prepared, seen.scores), mask)
        return Judged(sample, seen.verdict, seen.stages_ms)

    def evaluation(self, judged: Sequence[Judged]) -> Evaluation:
        """What became of this role's pictures."""
        limits = self.inspector.calibration_of(self.role).limits
        return Evaluation(source_of(self.inspector, self.role), limits, tuple(judged), self.pixels)


def evaluate(inspector: Inspector, role: str, labelled: Sequence[Sample], tell: Tell) -> Evaluation:
    """Judge every sample as a picture of the camera in that role. Raises GoldlineError for a mask that does not fit."""
    viewer = Viewer.of(inspector, role, labelled)
    inspector.warm_up((1,))
    judged: list[Judged] = []
    for sample in labelled:
        judged.append(viewer.judge(sample, sample.expect, is_part=True))
        tell(len(judged), len(labelled))
    return viewer.evaluation(judged)


def evaluate_parts(inspector: Inspector, labelled: Sequence[Sample], tell: Tell) -> Evaluation:
    """Judge every part over all its views, as a station with a group of these cameras does. Raises as `evaluate`."""
    viewers = [
        Viewer.of(inspector, role, [part.views[role] for part in labelled if role in part.views])
        for role in inspector.roles
    ]
    inspector.warm_up((1,))
    judged: list[Judged] = []
    for part in labelled:
        judged.append(_judge_part(viewers, part))
        tell(len(judged), len(labelled))
    return Evaluation(
        source_of(inspector, None),
        None,
        tuple(judged),
        None,
        {viewer.role: viewer.evaluation([part.views[viewer.role] for part in judged]) for viewer in viewers},
    )


def _judge_part(viewers: Sequence[Viewer], part: Sample) -> Judged:
    views = {viewer.role: _judge_view(viewer, part) for viewer in viewers}
    trigger = Trigger(
        trigger_id=0,
        camera=part.name,
        source="software",
        opened_ns=0,
        opened_utc_ns=0,
        deadline_ns=0,
        expect=dict(part.expect),
        views=tuple(views),
    )
    verdict = ledger.of_part(trigger, {role: one.verdict for role, one in views.items()})
    times = [one.stages_ms for one in views.values()]
    return Judged(part, verdict, tuple(map(sum, zip(*times, strict=True))) if all(times) else (), views)


def _judge_view(viewer: Viewer, part: Sample) -> Judged:
    """One view of a part; a picture that is not there is a view that did not come."""
    picture = part.views.get(viewer.role)
    if picture is not None:
        return viewer.judge(picture, part.expect, is_part=False)
    missing = Sample(part.path / viewer.role, f"{part.name} ({viewer.role})", part.label, None)
    return Judged(missing, error(Reason.MISSING_VIEW, f"no picture by camera role {viewer.role}"))
