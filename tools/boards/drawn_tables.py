"""Tables: series with the same labels are one row, as Grafana's transformation `merge` has it."""

import math

from matplotlib.figure import Figure

from tools.boards import look
from tools.boards.canvas import SMALL, Card, Shown, Time, ground
from tools.boards.panel import Panel


def table(figure: Figure, card: Card, panel: Panel, shown: Shown) -> None:
    """A row for each set of labels, a column for each label and each query."""
    left, bottom, width, height = card
    line, _ = ground(figure, card, panel)
    columns, rows = tabled(panel, shown)
    top = bottom + height - line * 1.7
    letters = [max(len(name), *(len(row[column]) for row in rows)) + 2 for column, name in enumerate(columns)]
    for column, name in enumerate(columns):
        # As wide as what stands in it.
        x = left + 0.006 + sum(letters[:column]) * (width - 0.01) / sum(letters)
        figure.text(x, top, name, size=SMALL + 0.5, weight="bold", color="#1f60c4", va="center")
        for row, cells in enumerate(rows[: int((height / line) - 2)]):
            figure.text(x, top - (row + 1) * line, cells[column], size=SMALL + 0.5, color=look.WORDS, va="center")
    if not rows:
        figure.text(left + width / 2, bottom + height / 2, "none", size=9, color=look.FAINT, ha="center", va="center")


# What Grafana's transformation leaves out of a table; the address of the one station that is drawn says nothing.
UNSAID = {"job", "__name__", "instance"}


def tabled(panel: Panel, shown: Shown) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and the rows: series with the same labels are one, as Grafana's `merge` has it."""
    merged: dict[tuple[str, ...], dict[str, str]] = {}
    for query, answers in zip(panel.queries, shown.answers, strict=True):
        for answer in answers:
            labels = {name: value for name, value in answer.labels.items() if name not in UNSAID}
            same = next((row for row in merged.values() if all(row.get(k, v) == v for k, v in labels.items())), None)
            row = same if same is not None else merged.setdefault(tuple(labels.values()), {})
            row.update(labels)
            if query.legend:
                row[query.legend] = _cell(answer.points[-1][1], panel.units.get(query.legend, "none"), shown.span)
    names = [query.legend for query in panel.queries if query.legend]
    labels = list(dict.fromkeys(name for row in merged.values() for name in row if name not in names))
    columns = [*labels, *names] if merged else []
    return columns, [[row.get(name, "") for name in columns] for row in merged.values()]


def _cell(value: float, unit: str, span: Time) -> str:
    if unit == "dateTimeFromNow":
        return look.ago(value / 1000, span.end_s)
    return look.written(value if unit != "none" or math.isnan(value) else round(value), unit)
