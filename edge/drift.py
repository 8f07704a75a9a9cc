"""Do parts still look, lie and shine as the good parts did that teach saw? One `Drift` a camera; it tells, no more.

Nothing here changes a limit or a reference. Two questions are kept apart (docs/drift.md):

appearance   Are the p-values of passed parts spread as those of good parts are? Evidence is gathered part by part.
trends       Has the mean pose, brightness or sharpness left its place among the good images?
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from edge.judge import Calibration
from edge.ranks import Evidence, Grid, Window
from edge.records import Outcome, Pose, Record, Verdict

# Weight of the newest part in a trend: the last hundred parts or so make it.
WEIGHT = 0.02
# Spreads that no part counts beyond: one that was misplaced moves a trend by a fifth of a spread.
MOST_SPREADS = 10.0
# A mean that lies where hardly a good image did: 1 in 15,000 normal ones. The goods may be off themselves: of sets of
# 8 images one in a hundred gives a false alarm for one quantity, of sets of 20 one in thousands.
ALARM_SPREADS = 4.0
# Low enough that the noise of a trend (a tenth of a spread) does not clear it.
CLEAR_SPREADS = 3.0
# Fewer images than this do not know their own spread.
LEAST_IMAGES = 8
# Of a normal distribution.
MAD_TO_DEVIATION = 1.4826
# Spreads below these are finer than anybody cares for: an alarm needs 2 px, 0.2 degrees, 8 % of the light, or 20 % of
# the sharpness at least.
LEAST_SPREADS = {"dx_px": 0.5, "dy_px": 0.5, "angle_deg": 0.05, "gain": 0.02, "sharpness": 0.05}

QUANTITIES = tuple(LEAST_SPREADS)
# An alarm's kind, and the trends that raise it; what raises `appearance` is the evidence.
KINDS: dict[str, tuple[str, ...]] = {
    "appearance": (),
    "pose": ("dx_px", "dy_px", "angle_deg"),
    "gain": ("gain",),
    "sharpness": ("sharpness",),
}


class Usual(Record, frozen=True):
    """Where one quantity lies in good images: the median, and 1.4826 times the median distance from it."""

    median: float
    spread: float


class Baseline(Record, frozen=True):
    """What teach measured of a view's good images. A quantity that was not measured is None."""

    dx_px: Usual | None = None
    dy_px: Usual | None = None
    angle_deg: Usual | None = None
    gain: Usual | None = None
    sharpness: Usual | None = None


def measured(pose: Pose | None, gain: float | None, sharpness: float | None) -> tuple[float, ...]:
    """One picture's quantities in the order of QUANTITIES; nan where one was not measured."""
    placed = (math.nan,) * 3 if pose is None else (pose.dx_px, pose.dy_px, pose.angle_deg)
    return (*placed, math.nan if gain is None else gain, math.nan if sharpness is None else sharpness)


def baseline(rows: Iterable[Sequence[float]]) -> Baseline:
    """From what was `measured` of each good image [n, 5]. What is known of fewer than LEAST_IMAGES stays None."""
    columns = zip(*rows, strict=True)
    return Baseline(**{name: _usual(column) for name, column in zip(QUANTITIES, columns, strict=False)})


def _usual(values: Iterable[float]) -> Usual | None:
    known = [float(value) for value in values if math.isfinite(value)]
    if len(known) < LEAST_IMAGES:
        return None
    centre = median(known)
    return Usual(median=centre, spread=MAD_TO_DEVIATION * median(abs(value - centre) for value in known))


@dataclass(frozen=True)
class Change:
    """An alarm that rose or cleared, and why: `lead` is a trend's quantity, or `worse` or `better` looks.

    `reached` is in the unit of the alarm's threshold: spreads, or powers of ten of evidence.
    """

    kind: str
    is_up: bool
    lead: str
    reached: float


class Trend:
    """The exponentially weighted mean of one quantity, in spreads of the good images from their median."""

    def __init__(self, usual: Usual, least_spread: float) -> None:
        self._median, self._spread = usual.median, max(usual.spread, least_spread)
        self.spreads = 0.0

    def observe(self, value: float) -> None:
        """One more part."""
        deviation = (value - self._median) / self._spread
        self.spreads += WEIGHT * (max(-MOST_SPREADS, min(MOST_SPREADS, deviation)) - self.spreads)


class Drift:
    """What one camera's parts are beside what teach saw. Fed on one thread, a frame at a time, from its start anew."""

    def __init__(self, calibration: Calibration, usual: Baseline) -> None:
        self._grid = Grid.of(calibration)
        self._evidence, self._window = Evidence(self._grid.gaps), Window(self._grid.gaps)
        self._trends = {
            name: Trend(found, LEAST_SPREADS[name])
            for name in QUANTITIES
            if (found := getattr(usual, name)) is not None
        }
        self._up = dict.fromkeys(KINDS, False)

    def observe(self, verdict: Verdict, gain: float | None, sharpness: float | None) -> list[Change]:
        """One judged frame; which alarms rose or cleared by it. A frame that could not be judged says nothing."""
        if verdict.outcome is Outcome.ERROR:
            return []
        if verdict.outcome is Outcome.PASS and verdict.p_value is not None:
            self._rank(verdict.p_value)
        self._measure(verdict.pose, gain, sharpness)
        return [change for kind in KINDS if (change := self._change(kind)) is not None]

    @property
    def ks_distance(self) -> float:
        """Of the newest passed parts from teach's good parts; 0 until known."""
        return self._window.distance

    @property
    def log10_evidence(self) -> float:
        """Against passed parts being like those of teach and of the start."""
        return self._evidence.log10

    @property
    def trends(self) -> dict[str, float]:
        """Spreads from the good images' median, by quantity; those without a baseline are left out."""
        return {name: trend.spreads for name, trend in self._trends.items()}

    def _rank(self, p: float) -> None:
        cell = self._grid.cell(p)
        if cell is not None:
            self._evidence.observe(cell)
            self._window.observe(cell)

    def _measure(self, pose: Pose | None, gain: float | None, sharpness: float | None) -> None:
        for name, value in zip(QUANTITIES, measured(pose, gain, sharpness), strict=True):
            trend = self._trends.get(name)
            if trend is not None and math.isfinite(value):
                trend.observe(value)

    def _change(self, kind: str) -> Change | None:
        was_up = self._up[kind]
        if kind == "appearance":
            lead, reached, is_up = self._evidence.lead, self._evidence.log10, self._evidence.is_alarm
        else:
            lead, reached = self._furthest(KINDS[kind])
            is_up = abs(reached) >= (CLEAR_SPREADS if was_up else ALARM_SPREADS)
        self._up[kind] = is_up
        return Change(kind, is_up, lead, reached) if is_up != was_up else None

    def _furthest(self, names: Sequence[str]) -> tuple[str, float]:
        found, furthest = "", 0.0
        for name in names:
            trend = self._trends.get(name)
            if trend is not None and abs(trend.spreads) >= abs(furthest):
                found, furthest = name, trend.spreads
        return found, furthest
