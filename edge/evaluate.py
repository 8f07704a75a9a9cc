"""How well a reference set tells good from bad, on a folder of labelled images (MVTec layout).

    DIR/test/good/*            DIR/test/<defect>/*
    DIR/ground_truth/<defect>/<stem>.png or <stem>_mask.png     optional; white where the part deviates

`train` is not looked at. An image that cannot be judged counts as the worst score there is: it leaves the line too.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.calibrate import separation
from edge.errors import GoldlineError
from edge.images import ImageError, list_images, read_image
from edge.inspector import Inspector
from edge.records import Outcome, Reason, Verdict, error

GOOD = "good"
# Grey level from which a mask says "here": masks come as 0/255, and JPEG-born ones blur.
MASK_LEVEL = 128


@dataclass(frozen=True)
class Sample:
    """One labelled image."""

    path: Path
    label: str
    mask: Path | None


@dataclass(frozen=True)
class Judged:
    """A sample with its verdict and the time from decoded frame to verdict."""

    sample: Sample
    verdict: Verdict
    latency_ms: float

    @property
    def score(self) -> float:
        """The overall score; the worst there is when the image could not be judged."""
        return math.inf if self.verdict.score is None else self.verdict.score


class PixelCurve:
    """The area under the pixel ROC curve of any number of images, in fixed memory.

    Values are counted in the 65,536 bins of float16, whose bit patterns, read as integers, are in the order of the
    numbers: the curve is exact up to values that agree in their first eleven bits, and ties count half.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, 1 << 16), np.int64)

    def add(self, deviation: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """One image's deviation map and its truth, both [h, w]."""
        # 60,000: just inside what float16 can hold.
        bits = np.clip(deviation, -6e4, 6e4).astype(np.float16).view(np.uint16)
        keys = np.where(bits & 0x8000, ~bits, bits | 0x8000)
        for row, chosen in enumerate((~mask, mask)):
            self._counts[row] += np.bincount(keys[chosen], minlength=1 << 16)

    def area(self) -> float | None:
        """The area; None while there are no bad or no good pixels."""
        good, bad = self._counts.astype(np.float64)
        if not good.sum() or not bad.sum():
            return None
        below = np.cumsum(good) - good
        return float((bad * (below + good / 2)).sum() / (good.sum() * bad.sum()))


def samples(directory: Path) -> list[Sample]:
    """Every labelled image, good ones first. Raises GoldlineError when a side is missing."""
    test = directory / "test"
    if not (test / GOOD).is_dir():
        raise GoldlineError(f"{test / GOOD}: not a folder; expected test/good and test/<defect> as MVTec AD has them")
    labels = sorted(path.name for path in test.iterdir() if path.is_dir() and path.name != GOOD)
    if not labels:
        raise GoldlineError(f"{test}: no folder of bad images beside {GOOD}")
    return [
        Sample(path, label, _mask_of(directory, label, path))
        for label in (GOOD, *labels)
        for path in list_images(test / label)
    ]


def _mask_of(directory: Path, label: str, path: Path) -> Path | None:
    folder = directory / "ground_truth" / label
    candidates = (folder / f"{path.stem}.png", folder / f"{path.stem}_mask.png")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _truth(sample: Sample, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Where the sample deviates, [h, w]; None when nobody drew it."""
    if sample.label == GOOD:
        return np.zeros(shape[:2], np.bool_)
    if sample.mask is None:
        return None
    mask = read_image(sample.mask)[..., 0] >= MASK_LEVEL
    if mask.shape != shape[:2]:
        sizes = f"{mask.shape[1]} x {mask.shape[0]}, its image {shape[1]} x {shape[0]}"
        raise GoldlineError(f"{sample.mask}: the mask is {sizes}")
    return mask


def judge_one(inspector: Inspector, sample: Sample, curve: PixelCurve | None) -> Judged:
    """One sample's verdict; its pixels go into the curve. An unreadable image is an ERROR, without a latency."""
    try:
        image = read_image(sample.path)
    except ImageError as problem:
        return Judged(sample, error(Reason.CANNOT_JUDGE, str(problem)), math.nan)
    began = time.perf_counter()
    prepared = inspector.prepare(image, inspector.manifest.camera)
    scores = inspector.score([prepared])[0]
    verdict = inspector.judge(prepared, scores, {})
    latency_ms = (time.perf_counter() - began) * 1e3
    truth = None if curve is None or prepared.refusal else _truth(sample, image.shape)
    if curve is not None and truth is not None:
        curve.add(inspector.deviation(prepared, scores), truth)
    return Judged(sample, verdict, latency_ms)


def evaluate(inspector: Inspector, directory: Path, tell: Callable[[int, int], None]) -> dict[str, Any]:
    """The report of `goldline evaluate --json`. Raises GoldlineError."""
    labelled = samples(directory)
    curve = PixelCurve() if any(sample.mask for sample in labelled) else None
    inspector.warm_up((1,))
    judged: list[Judged] = []
    for sample in labelled:
        judged.append(judge_one(inspector, sample, curve))
        tell(len(judged), len(labelled))
    return report(inspector, judged, curve)


def report(inspector: Inspector, judged: Sequence[Judged], curve: PixelCurve | None) -> dict[str, Any]:
    """The figures, by the names of the documented JSON."""
    good = [one for one in judged if one.sample.label == GOOD]
    bad = [one for one in judged if one.sample.label != GOOD]
    latencies = [one.latency_ms for one in judged if math.isfinite(one.latency_ms)]

    def area(some: Sequence[Judged]) -> float:
        return separation(np.array([one.score for one in good]), np.array([one.score for one in some]))

    labels = sorted({one.sample.label for one in bad})
    return {
        "auroc": area(bad),
        "per_class": {label: area([one for one in bad if one.sample.label == label]) for label in labels},
        "pixel_auroc": None if curve is None else curve.area(),
        "false_call_rate": _share(good, lambda one: one.verdict.outcome is not Outcome.PASS),
        "escape_rate": _share(bad, lambda one: one.verdict.outcome is Outcome.PASS),
        "error_rate": _share(judged, lambda one: one.verdict.outcome is Outcome.ERROR),
        "n_good": len(good),
        "n_bad": len(bad),
        "latency_ms": {f"p{rank}": float(np.percentile(latencies, rank)) if latencies else None for rank in (50, 99)},
        "reference_set": inspector.reference_set,
        "method": inspector.method,
    }


def _share(judged: Sequence[Judged], holds: Callable[[Judged], bool]) -> float:
    return sum(holds(one) for one in judged) / len(judged)
