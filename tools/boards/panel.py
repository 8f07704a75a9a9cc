"""What a dashboard is made of, without a word of Grafana: rows of panels, and what each asks of Prometheus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["stat", "lines", "areas", "bars", "states", "table", "heatmap"]
# A value from which a colour holds; None: from below everything.
Step = tuple[float | None, str]

# Written into expressions for the label matchers that every selector has. VIEW: shots of a camera are `camera.shot`.
STATION = 'job=~"$job", instance=~"$instance"'
MATCHERS = {
    "STATION": STATION,
    "CAMERA": f'{STATION}, camera=~"$camera"',
    "VIEW": f'{STATION}, camera=~"$camera([.].+)?"',
}
# What Grafana puts in the place of a time window: what a rate needs, and what the board shows as a whole.
WINDOW, WHOLE = "$__rate_interval", "$__range"

# Colours mean one thing on every panel.
GOOD, CARE, BAD, UNJUDGED, CALM = "green", "orange", "red", "purple", "blue"
VERDICT_COLOURS = {"PASS": GOOD, "FAIL": BAD, "ERROR": UNJUDGED}


@dataclass(frozen=True)
class Query:
    """`expression`: PromQL with the names of MATCHERS; `legend`: Grafana's template of a series' name, or a column's."""

    expression: str
    legend: str

    @property
    def promql(self) -> str:
        """The expression with its matchers."""
        expression = self.expression
        for name, matchers in MATCHERS.items():
            expression = expression.replace(name, matchers)
        return expression


@dataclass(frozen=True, kw_only=True)
class Panel:
    """`shows`, `good` and `act` are its description: what it shows, what is good, what to do where it is not.

    `width` and `height` are in Grafana's grid, 24 wide. `steps`: where the colour changes; with `is_limit` a line is
    drawn at each. `dashed`: a pattern of legends that are limits, not measurements. `alert`: whose runbook it links to.
    `hidden`: columns of a table that say nothing. `words`: what the numbers of states mean, with their colours.
    """

    title: str
    kind: Kind
    unit: str
    shows: str
    good: str
    act: str
    queries: Sequence[Query]
    width: int = 8
    height: int = 7
    steps: Sequence[Step] = ((None, CALM),)
    is_limit: bool = False
    dashed: str = ""
    colours: Mapping[str, str] = field(default_factory=dict[str, str])
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])
    alert: str = ""
    top: float | None = None

    @property
    def description(self) -> str:
        """For a person who does not know the panel."""
        return f"{self.shows}\n\n**Good:** {self.good}\n\n**Otherwise:** {self.act}"


@dataclass(frozen=True)
class Row:
    """Panels beneath one title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A dashboard."""

    uid: str
    title: str
    description: str
    has_cameras: bool
    rows: Sequence[Row]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Every panel, in reading order."""
        return tuple(panel for row in self.rows for panel in row.panels)


def counted(counter: str, window: str) -> str:
    """What a counter that says why counted in a window: such a series is born with its first count, which is no increase.

    Born in the window is what was there for less of it than the station answered. See
    docs/decisions/0047-a-budget-of-series.md.
    """
    answered = f"0.95 * sum_over_time(up{{STATION}}[{window}])"
    born = f"{counter} and count_over_time({counter}[{window}]) < on (job, instance) group_left {answered}"
    return f"({born} or increase({counter}[{window}]))"


def quantile(share: float, histogram: str, matchers: str, by: str = "") -> str:
    """The quantile of a histogram's newest observations, for each of the labels `by`."""
    labels = f"{by}, le" if by else "le"
    buckets = f"{histogram}_bucket{{{matchers}}}"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({buckets}[{WINDOW}])))"
