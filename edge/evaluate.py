"""Judging labelled images (`labelled.py`) by a reference set: every image's verdict, and how long each stage took.

An image that cannot be judged counts as the worst score there is: it leaves the line too.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from edge.figures import PixelCurve
from edge.images import Image, ImageError, read_image
from edge.inspector import Inspector
from edge.labelled import GOOD, Sample, truth
from edge.records import Limits, Reason, Verdict, error
from edge.view_inspector import Prepared, Scores

# What an evaluation asks of an order: nothing, as labelled images come without one.
NO_ORDER: Mapping[str, str] = {}
STAGES = ("prepare", "graph", "judge")


@dataclass(frozen=True)
class Source:
    """What judged: the product, its reference set, and where they come from. `reasons`: why teach chose as it did."""

    product: str
    reference_set: str
    camera: str
    method: str
    references: int
    registration: str
    recipe_sha256: str
    model_sha256: str
    reasons: tuple[str, ...]


def source_of(inspector: Inspector, role: str) -> Source:
    """The provenance of an inspector's verdicts on pictures of the camera in that role."""
    view = inspector.references.view(role)
    provenance = inspector.provenance(0)
    return Source(
        product=provenance.product,
        reference_set=provenance.reference_set,
        camera=role,
        method=inspector.method,
        references=len(view.references),
        registration=view.registration,
        recipe_sha256=provenance.recipe_sha256,
        model_sha256=provenance.model_sha256,
        reasons=inspector.manifest.reasons,
    )


class Call(StrEnum):
    """What a verdict means to who stands at the line."""

    PASS = "PASS"  # noqa: S105 - a verdict
    REVIEW = "FAIL review"
    FAIL = "FAIL"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Judged:
    """A sample with its verdict, and the ms its stages took, in the order of STAGES; none for an unreadable file."""

    sample: Sample
    verdict: Verdict
    stages_ms: tuple[float, ...] = ()

    @property
    def score(self) -> float:
        """The overall score; the worst there is when the image could not be judged."""
        return math.inf if self.verdict.score is None else self.verdict.score

    @property
    def call(self) -> Call:
        """The verdict, with what is open to review told apart."""
        return Call.REVIEW if self.verdict.review else Call(self.verdict.outcome.value)


@dataclass(frozen=True)
class Evaluation:
    """One reference set's judgement of every sample, in their order; `pixels` None where no image has a mask."""

    source: Source
    limits: Limits
    judged: tuple[Judged, ...]
    pixels: PixelCurve | None

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


def look(inspector: Inspector, role: str, image: Image, expect: Mapping[str, str] = NO_ORDER) -> Seen:
    """Judge one image [h, w, 3] BGR of the camera in that role, in the light of what an order expects."""
    times = [time.perf_counter()]
    prepared = inspector.prepare(image, role)
    times.append(time.perf_counter())
    scores = inspector.score([prepared])[0]
    times.append(time.perf_counter())
    verdict = inspector.judge(prepared, scores, expect)
    times.append(time.perf_counter())
    return Seen(prepared, scores, verdict, tuple(float(span) for span in np.diff(times) * 1e3))


def judge_one(inspector: Inspector, role: str, sample: Sample, pixels: PixelCurve | None) -> Judged:
    """One sample's verdict; its pixels go into the curve. An unreadable image is an ERROR."""
    try:
        image = read_image(sample.path)
    except ImageError as problem:
        return Judged(sample, error(Reason.CANNOT_JUDGE, str(problem)))
    seen = look(inspector, role, image)
    mask = None if pixels is None or seen.prepared.refusal else truth(sample, image.shape)
    if pixels is not None and mask is not None:
        pixels.add(inspector.deviation(seen.prepared, seen.scores), mask)
    return Judged(sample, seen.verdict, seen.stages_ms)


def evaluate(
    inspector: Inspector, role: str, labelled: Sequence[Sample], tell: Callable[[int, int], None]
) -> Evaluation:
    """Judge every sample as a picture of the camera in that role. Raises GoldlineError for a mask that does not fit."""
    pixels = PixelCurve() if any(sample.mask for sample in labelled) else None
    inspector.warm_up((1,))
    judged: list[Judged] = []
    for sample in labelled:
        judged.append(judge_one(inspector, role, sample, pixels))
        tell(len(judged), len(labelled))
    limits = inspector.calibration_of(role).limits
    return Evaluation(source_of(inspector, role), limits, tuple(judged), pixels)
