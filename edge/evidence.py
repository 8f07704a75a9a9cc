"""The picture that shows why: the part with boxes, how far each place deviates, and the closest good reference.

The colour scale is fixed by the limits, so a good part stays pale: nothing is painted below half the review limit,
yellow is the review limit, red the fail limit; beyond, red deepens up to ten times the fail limit.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.records import Limits, Outcome, Verdict
from edge.view_inspector import Prepared, Scores

Picture = NDArray[np.uint8]

# Width of each of the three panels, and height of the strip below them, px.
PANEL_WIDTH = 480
STRIP_HEIGHT = 56
# BGR.
OUTCOME_COLOURS = {Outcome.PASS: (80, 160, 40), Outcome.FAIL: (40, 40, 210), Outcome.ERROR: (150, 60, 150)}
YELLOW, RED, WHITE, DARK = (0, 220, 255), (0, 0, 230), (255, 255, 255), (40, 40, 40)
# Opacity at no, the review, the fail and ten times the fail limit: the part stays visible below, and a strong
# deviation shows where it is strongest.
LEVELS, OPACITY = (0.0, 1.0, 2.0, 3.0), (0.0, 0.2, 0.3, 0.85)
BEYOND = 10.0
FONT = cv2.FONT_HERSHEY_SIMPLEX


def severity(deviation: NDArray[np.float32], limits: Limits) -> NDArray[np.float32]:
    """Standardised deviations on the fixed scale: 0 at half the review limit, 1 at review, 2 at fail, 3 at ten times fail.

    Where the review limit is below one spread, the scale starts at zero spreads.
    """
    start = limits.review - max(limits.review / 2, 0.5)
    fail = max(limits.fail, limits.review + 1e-6)
    return np.interp(deviation, [start, limits.review, fail, max(fail * BEYOND, fail + 1e-6)], LEVELS).astype(
        np.float32
    )


def picture(
    image: Picture, verdict: Verdict, deviation: NDArray[np.float32] | None, limits: Limits, reference: Picture | None
) -> Picture:
    """The evidence [h, w, 3] for one image [h, w, 3] BGR.

    `deviation` is [h, w] in spreads at the image's size, None when the image could not be judged; `reference` is the
    closest good image, of any size.
    """
    panels = [
        _titled(_fitted(boxed(image, verdict)), "inspected"),
        _titled(_fitted(image if deviation is None else heated(image, deviation, limits)), "deviation"),
        _titled(_fitted(image * 0 if reference is None else reference), verdict.closest_reference or "no reference"),
    ]
    height = max(panel.shape[0] for panel in panels)
    row = np.hstack([_padded(panel, height) for panel in panels])
    return np.vstack([row, _strip(row.shape[1], verdict, limits)])


def write(
    path: Path, inspector: Inspector, image: Picture, prepared: Prepared, scores: Scores, verdict: Verdict
) -> None:
    """Write the evidence of one judged image as a PNG. Raises GoldlineError naming the file."""
    deviation = None if prepared.refusal else inspector.deviation(prepared, scores)
    closest = verdict.closest_reference
    reference = None if closest is None else inspector.thumbnail(closest, prepared.role)
    drawn = picture(image, verdict, deviation, inspector.calibration_of(prepared.role).limits, reference)
    if not cv2.imwrite(str(path), drawn):
        raise GoldlineError(f"{path}: cannot be written")


def boxed(image: Picture, verdict: Verdict) -> Picture:
    """A copy of an image [h, w, 3] BGR with the verdict's deviations framed."""
    canvas = image.copy()
    for defect in verdict.defects:
        x, y, width, height = defect.bbox
        cv2.rectangle(canvas, (x, y), (x + width, y + height), RED, line_width(image))
    return canvas


def line_width(image: Picture) -> int:
    """How wide a line must be, px, to be seen when the image [h, w, 3] is made small enough for a panel."""
    return max(1, round(max(image.shape[:2]) / 240))


def heated(image: Picture, deviation: NDArray[np.float32], limits: Limits) -> Picture:
    """An image [h, w, 3] BGR with its deviation map [h, w], in spreads, laid over it on the fixed scale."""
    return _painted(image, severity(deviation, limits))


def _painted(image: Picture, level: NDArray[np.float32]) -> Picture:
    opacity = np.interp(level, LEVELS, OPACITY)[..., None]
    towards_red = np.clip(level - 1.0, 0, 1)[..., None]
    colour = np.array(YELLOW) * (1 - towards_red) + np.array(RED) * towards_red
    return (image * (1 - opacity) + colour * opacity).astype(np.uint8)


def _fitted(image: Picture) -> Picture:
    scale = PANEL_WIDTH / image.shape[1]
    size = (PANEL_WIDTH, max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR).astype(np.uint8)


def _titled(panel: Picture, title: str) -> Picture:
    cv2.putText(panel, title, (8, 20), FONT, 0.5, DARK, 3, cv2.LINE_AA)
    cv2.putText(panel, title, (8, 20), FONT, 0.5, WHITE, 1, cv2.LINE_AA)
    return panel


def _padded(panel: Picture, height: int) -> Picture:
    return np.pad(panel, ((0, height - panel.shape[0]), (0, 0), (0, 0)))


def _sentence(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.ERROR:
        return f"ERROR ({verdict.reason}) {verdict.detail or ''}".rstrip()
    review = ", review" if verdict.review else ""
    return f"{verdict.outcome}{review}   score {verdict.score:.2f}   {_counted(len(verdict.defects))}"


def _counted(count: int) -> str:
    return f"{count} deviation" if count == 1 else f"{count} deviations"


def _strip(width: int, verdict: Verdict, limits: Limits) -> Picture:
    strip = np.full((STRIP_HEIGHT, width, 3), 24, np.uint8)
    strip[:, :12] = OUTCOME_COLOURS[verdict.outcome]
    cv2.putText(strip, _sentence(verdict), (24, 34), FONT, 0.6, WHITE, 1, cv2.LINE_AA)
    left = width - PANEL_WIDTH + 40
    levels = np.tile(np.linspace(0, 3, PANEL_WIDTH - 80, dtype=np.float32), (12, 1))
    strip[12:24, left : left + levels.shape[1]] = _painted(np.full((*levels.shape, 3), 120, np.uint8), levels)
    third = levels.shape[1] // 3
    marks = (f"review {limits.review:.1f}", f"fail {limits.fail:.1f}", f"{limits.fail * BEYOND:.0f}")
    for place, text in enumerate(marks, start=1):
        cv2.putText(strip, text, (left + place * third - 40, 42), FONT, 0.42, WHITE, 1, cv2.LINE_AA)
    return strip
