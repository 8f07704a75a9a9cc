"""Draw the dashboards as Grafana lays them out, from their own files and what a Prometheus answers to their queries.

It is no Grafana: the layout, queries, units, colours and thresholds are the files', the strokes are matplotlib's.

    python -m tools.draw_dashboards --prometheus http://127.0.0.1:9090 --minutes 20 --into docs/pictures
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from tools.boards import asking, look
from tools.boards.annotations import ANNOTATIONS
from tools.boards.canvas import Shown, Time
from tools.boards.drawn_panels import DRAWERS
from tools.boards.panel import Board, Panel
from tools.dashboards import BOARDS

# Grafana's grid on a screen of 1600 pixels: a cell is 66 by 30 with its gap.
CELL_W, CELL_H, GRID_W, DPI = 66, 34, 24, 100
# Points across a board's time: as many as a panel has pixels would be more than its picture shows.
POINTS = 160
# Grafana's window for rates: four scrapes, and never less than a step.
SCRAPES = 4
# Of a picture's palette.
COLOURS = 192


@dataclass(frozen=True)
class Placed:
    """A panel, or a row's title, and where it is in the grid."""

    panel: Panel | str
    x: int
    y: int
    width: int
    height: int


def placed(board: Board) -> list[Placed]:
    """As `grafana.py` lays it out."""
    places: list[Placed] = []
    y = 0
    for row in board.rows:
        places.append(Placed(row.title, 0, y, GRID_W, 1))
        x, y, deepest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > GRID_W:
                x, y, deepest = 0, y + deepest, 0
            places.append(Placed(panel, x, y, panel.width, panel.height))
            x, deepest = x + panel.width, max(deepest, panel.height)
        y += deepest
    return places


def draw(board: Board, prometheus: str, span: Time) -> Figure:
    """One picture of the whole board. Raises OSError."""
    places = placed(board)
    rows = max(place.y + place.height for place in places) + 1
    figure = Figure(figsize=(GRID_W * CELL_W / DPI, rows * CELL_H / DPI), dpi=DPI, facecolor=look.PAGE)
    figure.text(0.008, 1 - 0.5 / rows, board.title, size=13, weight="bold", color=look.WORDS, va="center")
    figure.text(0.992, 1 - 0.5 / rows, span.words, size=9, color=look.FAINT, va="center", ha="right")
    for place in places:
        left, right = place.x / GRID_W, (place.x + place.width) / GRID_W
        top, bottom = 1 - (place.y + 1) / rows, 1 - (place.y + 1 + place.height) / rows
        if isinstance(place.panel, str):
            figure.text(left + 0.008, (top + bottom) / 2, f"⌄ {place.panel}", size=10, weight="bold", va="center")
        else:
            card = (left + 0.002, bottom + 0.1 / rows, right - left - 0.004, top - bottom - 0.2 / rows)
            DRAWERS[place.panel.kind](figure, card, place.panel, shown(place.panel, prometheus, span))
    return figure


def shown(panel: Panel, prometheus: str, span: Time) -> Shown:
    """What Prometheus answers to its queries: at the end of the time for numbers and tables, else all along it."""
    answers: list[list[asking.Answer]] = []
    for query in panel.queries:
        expression = asking.filled(query.promql, f"{span.window_s:.0f}s", f"{span.length_s:.0f}s")
        if panel.kind in {"stat", "table"}:
            answers.append(asking.between(prometheus, expression, span.end_s, span.end_s, span.step_s))
        else:
            answers.append(asking.between(prometheus, expression, span.start_s, span.end_s, span.step_s))
    return Shown(answers, span)


def marks(prometheus: str, span: Time) -> Iterator[tuple[float, str]]:
    """When each annotation began to hold, and its colour. Raises OSError."""
    for _, expression, colour in ANNOTATIONS:
        asked = asking.filled(expression, f"{span.window_s:.0f}s", f"{span.length_s:.0f}s")
        for answer in asking.between(prometheus, asked, span.start_s, span.end_s, span.step_s):
            moments = [moment for moment, _ in answer.points]
            befores = [0.0, *moments]
            yield from (
                (moment, colour)
                for before, moment in zip(befores, moments, strict=False)
                if moment - before > 2 * span.step_s
            )


def main() -> None:
    """Write a picture of each board."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address (default: %(default)s)")
    arguments.add_argument("--minutes", type=float, default=60.0, help="how much of the past (default: %(default)s)")
    arguments.add_argument("--scrape-s", type=float, default=5.0, help="the scrape interval (default: %(default)s)")
    arguments.add_argument("--into", type=Path, default=Path("docs/pictures"), help="folder (default: %(default)s)")
    chosen = arguments.parse_args()
    end_s = time.time()
    step_s = max(chosen.minutes * 60 / POINTS, chosen.scrape_s)
    span = Time(end_s - chosen.minutes * 60, end_s, step_s, max(SCRAPES * chosen.scrape_s, step_s + chosen.scrape_s))
    span = replace(span, marks=tuple(marks(chosen.prometheus, span)))
    for board in BOARDS:
        figure = draw(board, chosen.prometheus, span)
        path = chosen.into / f"{board.uid}.png"
        figure.savefig(path, facecolor=look.PAGE)
        # A drawing has few colours: a third of the bytes, and no difference to the eye.
        Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
