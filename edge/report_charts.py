"""The charts of an evaluation's page as inline SVG: colours and letters are the page's (`report.css`).

Good images are drawn as `good`, bad ones as `bad`; both also differ in where they lie, so that the charts can be
read without colours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from edge.figures import Scores, roc
from edge.markup import Child, tag
from edge.records import Limits

# The drawing's own unit is about a pixel on a phone. Room left, right, above and below the axes.
WIDTH, HEIGHT = 420, 330
LEFT, RIGHT, ABOVE, BELOW = 56, 22, 36, 40
# Bars across a histogram: with some ten images a bar on a set of hundreds, its shape is seen.
BARS = 36
# Scores from tenths of a spread to hundreds of them are drawn on asinh: like a logarithm far out, straight near zero.
SCORES_MARKED = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)
# A letter's width and a line's height of what is written above a histogram, on the wide side.
LETTER, LINE = 7, 14
# Least distance of two marked scores, in the drawing's unit: the widest of their numbers.
MARK_SPACE = 34
# Shares that may stand at the top of a histogram.
TOPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)

Point = tuple[float, float]


@dataclass(frozen=True)
class Axes:
    """Where values lie in a drawing: `x` and `y` are the values at the ends of the axes."""

    x: Point
    y: Point

    def across(self, value: float) -> float:
        """The x of a value."""
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def down(self, value: float) -> float:
        """The y of a value."""
        return HEIGHT - BELOW - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - ABOVE - BELOW)


@dataclass(frozen=True)
class Operating:
    """Where a limit puts the line: the shares of good images rejected and of bad ones found."""

    name: str
    rejected: float
    found: float


def roc_chart(sides: Sequence[tuple[Scores, Scores]], marks: Sequence[Operating]) -> Element:
    """ROC curves of (good, bad) scores, the first solid and the second dashed, with operating points on the first."""
    axes = Axes((0.0, 1.0), (0.0, 1.0))
    names = ("curve", "curve other")
    curves = [_line(axes, roc(good, bad), name) for (good, bad), name in zip(sides, names, strict=False)]
    return _drawing(
        "ROC curve: share of bad images found over share of good images rejected",
        [_horizontal(axes, share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)],
        [_vertical(axes, share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)],
        _titles("good images rejected (false calls)", "bad images found"),
        _line(axes, [(0, 0), (1, 1)], "chance"),
        curves[::-1],
        [_mark(axes, mark) for mark in marks],
    )


def histogram(good: Scores, bad: Scores, limits: Limits) -> Element:
    """How many images have which score, good ones upwards and bad ones downwards, with both limits."""
    finite = [side[np.isfinite(side)] for side in (good, bad)]
    reach = np.arcsinh(np.concatenate([*finite, [limits.review, limits.fail, 0.0]]))
    # A little air at both ends.
    margin = 0.03 * (reach.max() - reach.min())
    low, high = float(reach.min() - margin), float(reach.max() + margin)
    edges: Scores = np.linspace(low, high, BARS + 1)
    shares = [
        np.histogram(np.arcsinh(some), edges)[0] / len(side) for some, side in zip(finite, (good, bad), strict=True)
    ]
    top = next((top for top in TOPS if top >= max(side.max() for side in shares)), 1.0)
    axes = Axes((low, high), (-top, top))
    return _drawing(
        "Histogram of the scores of good and of bad images, with the review and the fail limit",
        [_horizontal(axes, share, f"{abs(share):.0%}") for share in (top, 0.0, -top)],
        [_vertical(axes, math.asinh(value), f"{value:g}") for value in _marked(axes)],
        _titles("score, in spreads of good images", "share of bad | of good"),
        _bars(axes, edges, shares[0], "good"),
        _bars(axes, edges, -shares[1], "bad"),
        _limit(axes, limits.review, "review", row=1),
        _limit(axes, limits.fail, "fail", row=0),
    )


def _drawing(label: str, *children: Child) -> Element:
    return tag("svg", *children, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)


def _line(axes: Axes, points: Sequence[Point], name: str) -> Element:
    places = " ".join(f"{axes.across(x):.1f},{axes.down(y):.1f}" for x, y in points)
    return tag("polyline", points=places, class_=name)


def _horizontal(axes: Axes, value: float, text: str) -> list[Element]:
    y = axes.down(value)
    return [
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"),
        tag("text", text, x=LEFT - 6, y=y + 4, text_anchor="end"),
    ]


def _vertical(axes: Axes, value: float, text: str) -> list[Element]:
    x = axes.across(value)
    return [
        tag("line", x1=x, x2=x, y1=ABOVE, y2=HEIGHT - BELOW, class_="grid"),
        tag("text", text, x=x, y=HEIGHT - BELOW + 16, text_anchor="middle"),
    ]


def _titles(below: str, beside: str) -> list[Element]:
    x, y = (LEFT + WIDTH - RIGHT) / 2, (ABOVE + HEIGHT - BELOW) / 2
    return [
        tag("text", below, x=x, y=HEIGHT - 6, text_anchor="middle", class_="title"),
        tag("text", beside, transform=f"translate(11 {y:.0f}) rotate(-90)", text_anchor="middle", class_="title"),
    ]


def _mark(axes: Axes, mark: Operating) -> Element:
    x, y = axes.across(mark.rejected), axes.down(mark.found)
    title = tag("title", f"{mark.name} limit: {mark.rejected:.1%} false calls, {1 - mark.found:.1%} escapes")
    if mark.name == "fail":
        return tag("rect", title, x=x - 5, y=y - 5, width=10, height=10, class_="mark")
    return tag("circle", title, cx=x, cy=y, r=6, class_="mark")


def _marked(axes: Axes) -> list[float]:
    """Scores to write below the axis, as many as there is room for: zero, then outwards."""
    values: list[float] = []
    for sign in (1, -1):
        last = -math.inf if sign == 1 else axes.across(0.0)
        for value in SCORES_MARKED if sign == 1 else SCORES_MARKED[1:]:
            place = axes.across(math.asinh(sign * value))
            if abs(place - last) >= MARK_SPACE and LEFT <= place <= WIDTH - RIGHT:
                values.append(float(sign * value))
                last = place
    return values


def _bars(axes: Axes, edges: Scores, shares: Scores, name: str) -> list[Element]:
    zero = axes.down(0.0)
    return [
        tag(
            "rect",
            x=axes.across(left) + 0.5,
            width=axes.across(right) - axes.across(left) - 1,
            y=min(zero, axes.down(share)),
            height=abs(axes.down(share) - zero),
            class_=name,
        )
        for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True)
        if share
    ]


def _limit(axes: Axes, value: float, name: str, row: int) -> list[Element]:
    """A limit's line, and above it what it is: on a row of its own, and inside the drawing wherever the line is."""
    x, text = axes.across(math.asinh(value)), f"{name} {value:.2f}"
    half = LETTER * len(text) / 2
    middle = min(max(x, half), WIDTH - half)
    return [
        tag("line", x1=x, x2=x, y1=ABOVE - 6, y2=HEIGHT - BELOW, class_=f"limit {name}"),
        tag("text", text, x=middle, y=ABOVE - 9 - row * LINE, text_anchor="middle", class_="title"),
    ]
