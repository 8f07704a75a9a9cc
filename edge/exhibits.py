"""The images of an evaluation worth looking at: what was called wrong, the worst first, with the pictures that show why."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import evidence
from edge.evaluate import Call, Evaluation, Judged
from edge.images import read_image
from edge.inspector import Inspector
from edge.labelled import Sample, truth

Picture = NDArray[np.uint8]

# Shown of each kind of mistake; of what came closest to one, where there was none, half as many say as much.
MOST, CLOSEST = 8, 4
# Longest side of a picture, px: three beside each other fill a page.
LONGEST_PX = 360
# Each quality is tried until a picture takes no more than this many bytes: 48 of them, written in base 64, stay below
# 3 MB however noisy they are.
QUALITIES, MOST_BYTES = (82, 65, 45, 25), 40_000
# BGR: where the ground truth says the image deviates. Found in no colour scale of the evidence.
CYAN = (230, 200, 0)


@dataclass(frozen=True)
class Exhibit:
    """One image with its three pictures as data URIs, each below what it shows; `reference` is the third's name.

    Of a part of several views, `seen` is the view that says most, by the camera role `role`; else `judged` itself.
    """

    judged: Judged
    role: str
    seen: Judged
    inspected: str
    deviation: str
    reference: str | None
    reference_name: str


@dataclass(frozen=True)
class Shown:
    """Exhibits of one kind of mistake, worst first; where there was none (not `wrong`), those that came closest."""

    exhibits: tuple[Exhibit, ...]
    wrong: bool


def false_calls(inspector: Inspector, found: Evaluation) -> Shown:
    """Good images called FAIL with the highest scores; else the good ones that came closest to it."""
    judged = sorted(_judged(found.good), key=lambda one: -one.score)
    return _shown(inspector, found, judged, [one for one in judged if one.call is not Call.PASS])


def escapes(inspector: Inspector, found: Evaluation) -> Shown:
    """Bad images called PASS with the lowest scores; else the bad ones that came closest to it."""
    judged = sorted(_judged(found.bad), key=lambda one: one.score)
    return _shown(inspector, found, judged, [one for one in judged if one.call is Call.PASS])


def _judged(some: Sequence[Judged]) -> list[Judged]:
    """Those that have something to show."""
    return [one for one in some if one.call is not Call.ERROR]


def _shown(inspector: Inspector, found: Evaluation, judged: Sequence[Judged], wrong: Sequence[Judged]) -> Shown:
    chosen = wrong[:MOST] or judged[:CLOSEST]
    return Shown(tuple(exhibit(inspector, found.source.camera, one) for one in chosen), bool(wrong))


def exhibit(inspector: Inspector, role: str | None, judged: Judged) -> Exhibit:
    """Look at an image again, and draw what was seen. Raises ImageError when it is there no longer."""
    role, seen = (role, judged) if role is not None else _telling(judged)
    image = read_image(seen.sample.path)
    prepared = inspector.prepare(image, role)
    deviation = inspector.deviation(prepared, inspector.score([prepared])[0])
    closest = seen.verdict.closest_reference
    return Exhibit(
        judged=judged,
        role=role,
        seen=seen,
        inspected=data_uri(_outlined(evidence.boxed(image, seen.verdict), seen.sample)),
        deviation=data_uri(evidence.heated(_grey(image), deviation, inspector.calibration_of(role).limits)),
        reference=None if closest is None else data_uri(inspector.thumbnail(closest, role)),
        reference_name=closest or "no reference",
    )


def _telling(part: Judged) -> tuple[str, Judged]:
    """Of a part's judged views one that was rejected, else one with a mask: where something is to be seen."""
    seen = [(role, view) for role, view in part.views.items() if view.call is not Call.ERROR]
    return max(seen, key=lambda one: (one[1].call is not Call.PASS, one[1].sample.mask is not None, one[1].score))


def _grey(image: Picture) -> Picture:
    """The image without its colours, so that what is painted over it is told from what was there."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def _outlined(image: Picture, sample: Sample) -> Picture:
    """The image with the outline of its ground truth drawn into it, where there is one."""
    mask = truth(sample, image.shape)
    if mask is not None:
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outlines, -1, CYAN, evidence.line_width(image))
    return image


def data_uri(picture: Picture) -> str:
    """A picture [h, w, 3] BGR, made small, as what an `img` shows."""
    scale = min(1.0, LONGEST_PX / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(small)).decode()


def _jpeg(picture: cv2.typing.MatLike) -> bytes:
    """The picture at the first quality that is small enough, else at the last."""
    encoded = (cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for quality in QUALITIES)
    last = b""
    for last in encoded:
        if len(last) <= MOST_BYTES:
            break
    return last
