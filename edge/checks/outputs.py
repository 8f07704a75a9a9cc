"""What the output of a user's model says: a classifier's scores, or a detector's boxes, written in one of two ways.

An output that does not fit the labels, or holds what is no number, says nothing: GoldlineError.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError

Floats = NDArray[np.float32]

# Probabilities of 16 bits sum to 1, and stay below it, within this.
_ROUNDING = 0.01
# A box measured in pixels is never as small as this; one measured in shares may reach a little beyond 1.
_LARGEST_SHARE = 1.5
# The best boxes that are compared with each other; all of 8400 would take a second.
_MOST_COMPARED = 2000


@dataclass(frozen=True)
class Detections:
    """Corners [k, 4] (x1, y1, x2, y2 in px of the model's picture), scores [k] and places in the list of labels [k]."""

    corners: Floats
    scores: Floats
    labels: NDArray[np.intp]

    def only(self, rows: NDArray[np.intp]) -> "Detections":
        """Those in these rows."""
        return Detections(self.corners[rows], self.scores[rows], self.labels[rows])


def are_probabilities(outputs: Iterable[Floats]) -> bool:
    """Whether each output [1, labels] is positive and sums to 1; scores that are still to become so hardly do."""
    return all(output.min() >= -_ROUNDING and abs(output.sum() - 1) <= _ROUNDING for output in outputs)


def probabilities(output: Floats, labels: int, *, from_logits: bool) -> Floats:
    """Of every label [labels], from a classifier's output [1, labels]; `from_logits` by softmax."""
    _refuse_unless_numbers(output)
    if output.shape != (1, labels):
        raise GoldlineError(f"its output {list(output.shape)} does not fit the labels: they make [1, {labels}]")
    if from_logits:
        powers = np.exp(output[0] - output.max())
        return powers / powers.sum()
    if not are_probabilities([output]):
        raise GoldlineError(f"its scores are no probabilities any more: they sum to {output.sum():g}")
    return output[0]


def detections(
    output: Floats,
    kind: Literal["boxes", "yolo"],
    labels: int,
    size: tuple[int, int],
    *,
    confidence: float,
    overlap: float,
) -> Detections:
    """What a detector saw in its picture of (width, height), each thing once."""
    _refuse_unless_numbers(output)
    found = _from_rows(output) if kind == "boxes" else _from_yolo(output, labels)
    # Scores that were never made probabilities would all be above any confidence.
    if found.scores.max(initial=0) > 1 + _ROUNDING:
        raise GoldlineError(f"one of its scores is {found.scores.max():g}; they must lie from 0 to 1")
    found = found.only(np.flatnonzero(found.scores >= confidence))
    strange = found.labels[(found.labels < 0) | (found.labels >= labels)]
    if len(strange):
        raise GoldlineError(f"it found class {strange[0]}, and there are {labels} labels, from 0 on")
    return _best(_in_px(found, size), overlap)


def _refuse_unless_numbers(output: Floats) -> None:
    if not np.isfinite(output).all():
        raise GoldlineError("its output holds what is no number")


def _from_rows(output: Floats) -> Detections:
    """Rows of x1, y1, x2, y2, score, class: [m, 6] or [1, m, 6]."""
    rows = output[0] if output.ndim == 3 and len(output) == 1 else output
    if rows.ndim != 2 or rows.shape[1] != 6:
        raise GoldlineError(f"its output {list(output.shape)} does not hold boxes: they make [1, any, 6] or [any, 6]")
    return Detections(rows[:, :4], rows[:, 4], np.rint(rows[:, 5]).astype(np.intp))


def _from_yolo(output: Floats, labels: int) -> Detections:
    """Centre x, centre y, width, height and a score for each label, along either dimension: [1, 4 + c, m], [1, m, 4 + c]."""
    numbers = 4 + labels
    axes = [axis for axis in (1, 2) if output.ndim == 3 and len(output) == 1 and output.shape[axis] == numbers]
    about = f"its output {list(output.shape)}"
    if not axes:
        raise GoldlineError(f"{about} does not fit the {labels} labels: they make [1, {numbers}, any] or the reverse")
    if len(axes) == 2:
        raise GoldlineError(f"{about} can be read either way with {labels} labels: change its picture's size")
    rows = output[0].T if axes == [1] else output[0]
    centres, halves, scores = rows[:, :2], rows[:, 2:4] / 2, rows[:, 4:]
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    return Detections(corners, scores.max(axis=1), scores.argmax(axis=1))


def _in_px(found: Detections, size: tuple[int, int]) -> Detections:
    """Corners that are shares of the picture become its pixels, and all come to lie in it."""
    is_share = np.abs(found.corners).max(initial=0) <= _LARGEST_SHARE
    scale = np.array([*size, *size] if is_share else [1, 1, 1, 1], np.float32)
    corners = np.clip(found.corners * scale, 0, np.array([*size, *size], np.float32))
    return Detections(corners.astype(np.float32), found.scores, found.labels)


def _best(found: Detections, overlap: float) -> Detections:
    """Of boxes of one label that overlap by more than this, the best; best first."""
    best = np.argsort(-found.scores, kind="stable")[:_MOST_COMPARED]
    found = found.only(best)
    sides = found.corners[:, 2:] - found.corners[:, :2]
    boxes = np.concatenate([found.corners[:, :2], sides], axis=1).tolist()
    kept = cv2.dnn.NMSBoxesBatched(boxes, found.scores.tolist(), found.labels.tolist(), 0.0, overlap)
    return found.only(np.array(kept, np.intp))
