"""Each kind of panel, drawn into its card of a figure."""

import math
import time
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tools.boards import look
from tools.boards.canvas import SMALL, Card, Shown, Time, ground
from tools.boards.drawn_tables import table
from tools.boards.panel import Panel

# More series than these are drawn, and not named.
NAMED = 10
BLUES = LinearSegmentedColormap.from_list("scheme", ["#ffffff", "#c6dbef", "#6baed6", "#2171b5", "#08306b"])


def stat(figure: Figure, card: Card, panel: Panel, shown: Shown) -> None:
    """One number on its colour."""
    left, bottom, width, height = card
    values = [answer.points[-1][1] for answer in shown.answers[0]]
    colour = look.step_of(values[0], panel.steps) if values else look.FAINT
    ground(figure, card, panel, colour)
    text = look.written(values[0], panel.unit) if values else "no parts"
    figure.text(
        left + width / 2, bottom + height * 0.42, text, size=21, weight="bold", color="white", ha="center", va="center"
    )


def _axes(figure: Figure, card: Card, panel: Panel, *, legend: bool, beside: float = 0.042) -> Axes:
    left, bottom, width, height = card
    line, _ = ground(figure, card, panel)
    below = line * (2.0 if legend else 1.0)
    axes = figure.add_axes((left + beside, bottom + below, width - beside - 0.008, height - below - line * 1.4))
    axes.tick_params(labelsize=SMALL, colors=look.FAINT, length=0, pad=3)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(color="#e9ebec", linewidth=0.7)
    axes.set_axisbelow(True)
    return axes


def _across(axes: Axes, span: Time) -> None:
    axes.set_xlim(0, span.length_s / 60)
    for moment, name in span.marks:
        axes.axvline(span.minutes(moment), color=look.colour(name), linewidth=0.8, linestyle=(0, (2, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    clock = lambda minutes, _: time.strftime("%H:%M", time.localtime(span.start_s + minutes * 60))  # noqa: E731 - a label
    axes.xaxis.set_major_formatter(FuncFormatter(clock))


def series(figure: Figure, card: Card, panel: Panel, shown: Shown) -> None:
    """Lines, or areas and bars stacked."""
    axes = _axes(figure, card, panel, legend=True)
    found = list(shown.series(panel))
    if not any(values for _, _, values in found):
        _nothing(axes)
        return
    if panel.kind == "lines":
        _lines(axes, panel, found)
    else:
        _stacked(axes, panel, found, shown.span)
    if panel.is_limit:
        for value, colour in panel.steps:
            if value is not None:
                worst = colour if colour == "red" else "red"
                axes.axhline(value, color=look.colour(worst), linewidth=1, linestyle=(0, (5, 4)))
    if all(value is None or value >= 0 for value, _ in panel.steps):
        axes.set_ylim(bottom=0)
    if axes.get_ylim()[1] < 1e-9 or all(not any(v for v in values if not math.isnan(v)) for _, _, values in found):
        axes.set_ylim(0, 1)
    if panel.top is not None:
        axes.set_ylim(top=panel.top * 1.02)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: look.written(value, panel.unit)))
    _across(axes, shown.span)
    _legend(axes)


def _colour(panel: Panel, name: str, index: int) -> str:
    return look.colour(panel.colours.get(name, look.PALETTE[index % len(look.PALETTE)]))


def _lines(axes: Axes, panel: Panel, found: list[tuple[str, list[float], list[float]]]) -> None:
    word = panel.dashed.strip("/^")
    for index, (name, minutes, values) in enumerate(found):
        is_limit = bool(word) and name.startswith(word)
        style = (0, (5, 4)) if is_limit else "solid"
        axes.plot(
            minutes,
            values,
            color="#e02f44" if is_limit else _colour(panel, name, index),
            linewidth=1.1,
            linestyle=style,
            label=name,
        )


def _stacked(axes: Axes, panel: Panel, found: list[tuple[str, list[float], list[float]]], span: Time) -> None:
    """On one grid of moments: a series that is not there counts nothing."""
    step = span.step_s / 60
    moments = np.arange(0, span.length_s / 60 + step / 2, step)
    below = np.zeros(len(moments))
    for index, (name, minutes, values) in enumerate(found):
        heights = np.zeros(len(moments))
        places = np.clip(np.rint(np.array(minutes) / step).astype(int), 0, len(moments) - 1)
        heights[places] = np.nan_to_num(values)
        colour = _colour(panel, name, index)
        if panel.kind == "bars":
            axes.bar(moments, heights, bottom=below, width=step * 0.85, color=colour, label=name)
        else:
            axes.fill_between(moments, below, below + heights, color=colour, alpha=0.6, linewidth=0, label=name)
            axes.plot(moments, below + heights, color=colour, linewidth=0.8)
        below += heights


def _legend(axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    if len(names) > NAMED:
        handles, names = handles[:NAMED], [*names[: NAMED - 1], f"and {len(names) - NAMED + 1} more"]
    columns = max(1, min(len(names), 5))
    axes.legend(
        handles, names, loc="upper left", bbox_to_anchor=(-0.1, -0.09), ncols=columns, fontsize=SMALL, frameon=False,
        handlelength=1.0, columnspacing=0.9, handletextpad=0.4, borderaxespad=0, labelcolor=look.WORDS, labelspacing=0.2,
    )  # fmt: skip


def _nothing(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", va="center", size=9, color=look.FAINT)


def states(figure: Figure, card: Card, panel: Panel, shown: Shown) -> None:
    """A band for each series, in the colour of what its number means."""
    axes = _axes(figure, card, panel, legend=False, beside=0.085)
    found = list(shown.series(panel))
    step = shown.span.step_s / 60
    for row, (_, minutes, values) in enumerate(reversed(found)):
        for minute, value in zip(minutes, values, strict=True):
            _, colour = panel.words.get(round(value), ("", look.FAINT))
            axes.barh(row, step * 1.02, left=minute, height=0.72, color=look.colour(colour), linewidth=0)
    axes.set_yticks(range(len(found)), [name for name, _, _ in reversed(found)])
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.grid(visible=False)
    _across(axes, shown.span)


def heatmap(figure: Figure, card: Card, panel: Panel, shown: Shown) -> None:
    """A histogram's buckets over time: how many fell into each range."""
    axes = _axes(figure, card, panel, legend=False)
    answers = sorted(shown.answers[0], key=lambda answer: float(answer.labels["le"]))
    if not answers:
        _nothing(axes)
        return
    step = shown.span.step_s / 60
    moments = np.arange(0, shown.span.length_s / 60 + step / 2, step)
    counts = np.zeros((len(answers), len(moments)))
    for row, answer in enumerate(answers):
        places = [min(len(moments) - 1, round(shown.span.minutes(moment) / step)) for moment, _ in answer.points]
        counts[row, places] = [value for _, value in answer.points]
    apart = np.diff(counts, axis=0, prepend=0).clip(min=0)
    axes.imshow(
        apart,
        aspect="auto",
        origin="lower",
        cmap=BLUES,
        extent=(0, moments[-1], -0.5, len(answers) - 0.5),
        interpolation="nearest",
    )
    bounds = [float(answer.labels["le"]) for answer in answers]
    axes.set_yticks(
        range(len(bounds)),
        ["over" if math.isinf(bound) else f"≤ {look.written(bound, panel.unit)}" for bound in bounds],
    )
    axes.grid(visible=False)
    _across(axes, shown.span)


DRAWERS: dict[str, Callable[[Figure, Card, Panel, Shown], None]] = {
    "stat": stat,
    "lines": series,
    "areas": series,
    "bars": series,
    "states": states,
    "heatmap": heatmap,
    "table": table,
}
