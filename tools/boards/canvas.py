"""What panels are drawn on: the time they show, the answers they show, and the ground of each."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tools.boards import look
from tools.boards.asking import Answer
from tools.boards.panel import Panel

# Left, bottom, width and height as shares of the figure.
Card = tuple[float, float, float, float]
SMALL, TITLE = 6.5, 8.0


@dataclass(frozen=True)
class Time:
    """What a board shows, in Unix time, how far its points are apart, and the window of its rates."""

    start_s: float
    end_s: float
    step_s: float
    window_s: float
    # When something happened to the station, and the colour of what it was.
    marks: tuple[tuple[float, str], ...] = ()

    @property
    def length_s(self) -> float:
        """All of it."""
        return self.end_s - self.start_s

    @property
    def words(self) -> str:
        """For a person."""
        start, end = (time.strftime("%H:%M", time.localtime(moment)) for moment in (self.start_s, self.end_s))
        return f"{start} to {end}"

    def minutes(self, moment_s: float) -> float:
        """Since its start."""
        return (moment_s - self.start_s) / 60


@dataclass(frozen=True)
class Shown:
    """Answers to each of a panel's queries."""

    answers: list[list[Answer]]
    span: Time

    def series(self, panel: Panel) -> Iterator[tuple[str, list[float], list[float]]]:
        """Name, minutes and values of each series, in the order of the legend."""
        for query, answers in zip(panel.queries, self.answers, strict=True):
            for answer in sorted(answers, key=lambda one: one.named(query.legend)):
                name = _without_address(answer.named(query.legend))
                minutes = [self.span.minutes(moment) for moment, _ in answer.points]
                yield name, minutes, [value for _, value in answer.points]


def _without_address(name: str) -> str:
    """One station is drawn: its address in every legend would say nothing."""
    return " ".join(word for word in name.split() if not word.startswith(("127.0.0.1", "{{"))) or "station"


def ground(figure: Figure, card: Card, panel: Panel, colour: str = look.CARD) -> tuple[float, float]:
    """The panel's ground and title; the heights of its title and its figure in shares and inches."""
    left, bottom, width, height = card
    figure.add_artist(
        Rectangle(
            (left, bottom),
            width,
            height,
            facecolor=colour,
            edgecolor=look.EDGE,
            linewidth=0.8,
            transform=figure.transFigure,
            # Below what is drawn on it.
            zorder=-10,
        )
    )
    line = 20 / (figure.get_figheight() * figure.dpi)
    words = look.WORDS if colour == look.CARD else "white"
    figure.text(
        left + 0.005, bottom + height - line * 0.6, panel.title, size=TITLE, weight="bold", color=words, va="center"
    )
    return line, width
