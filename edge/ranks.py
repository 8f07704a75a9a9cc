"""Do passed parts rank among teach's good parts as good parts do? An online test of exchangeability.

For each passed part:

1. Its p-value says between which two good parts of teach it ranks; those gaps, in at most CELLS cells, are the grid.
2. Of n exchangeable good parts and one more, the one more falls into each gap alike; of n + t parts, into a cell with
   probability (its gaps + the parts that fell into it) / (all of both). So the goods may be few: their chance is in the
   reckoning. Parts are added up to YARDSTICK, and none while an alarm is up; from there on it is a fixed yardstick.
3. The part's rank u by that reckoning, the middle of its cell, is bet on: 1 + STAKE (1 - 2u) pays where ranks fall,
   1 - STAKE (1 - 2u) where they rise. Exchangeable parts make both fair: each pays 1 on average. Linear in u, a bet on
   the middle of a cell pays what one on a rank drawn at random within it pays on average, so nothing need be drawn.
4. R <- (1 + R) x payment sums the bets begun at each part so far (Shiryaev and Roberts). R grows by 1 a part on
   average, so the mean run to a false alarm at R >= c is at least c parts, and among T parts there is one with
   probability T / c at most (Doob's inequality). That is exact while the yardstick grows; docs/drift.md has
   measurements of the fixed one.

Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (ranks); Vovk et al., "Retrain or not retrain:
conformal test martingales for change-point detection", 2021 (bets).
"""

import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub

from edge.judge import Calibration, p_value

# Finer than this no drift worth an alarm differs; a part costs time in proportion.
CELLS = 32
# Good and passed parts that make the yardstick: the mean rank by one of 4,000 is off by 0.005 (standard deviation), a
# fourteenth of what a bet can live on. Half as many give twice the false alarms.
YARDSTICK = 4000
# Half-way between a stake that sees the smallest shift and one that sees a large one soonest: with this one, ranks
# whose mean moved by 0.07 of their range or less (a quarter of the scores' spread) raise no lasting evidence.
STAKE = 0.75
# A false alarm in ten million parts: at a part a second, four months.
ALARM_LOG10 = 7.0
# What exchangeable parts reach every few thousand parts is no alarm any more.
CLEAR_LOG10 = 4.0
# The newest passed parts behind the KS distance: among very many goods, chance keeps it below 0.1 nineteen times of 20.
WINDOW = 200


@dataclass(frozen=True)
class Grid:
    """Cells of p-values that passed parts can have, from low to high, as teach's good parts divide them.

    `edges` are their lower bounds; `gaps` how many of the gaps between good parts each holds.
    """

    edges: tuple[float, ...]
    gaps: tuple[int, ...]

    @classmethod
    def of(cls, calibration: Calibration) -> "Grid":
        """From the goods that pass. A gap cut by the review limit is left out, one of no width joins its neighbour."""
        passing = Counter(good for good in calibration.goods if good <= calibration.limits.review)
        half_step = 0.5 / (1 + len(calibration.goods))
        edges: list[float] = []
        gaps: list[int] = []
        counted = 0
        for good in sorted(passing, reverse=True):
            if len(edges) <= counted * CELLS // passing.total():
                edges.append((p_value(calibration, good) or 0.0) - half_step)
                gaps.append(0)
            gaps[-1] += passing[good]
            counted += passing[good]
        return cls(tuple(edges), tuple(gaps))

    def cell(self, p: float) -> int | None:
        """The cell of a p-value; None below them all."""
        found = bisect_right(self.edges, p) - 1
        return found if found >= 0 else None


class Evidence:
    """Shiryaev-Roberts statistics of two bets on the ranks of passed parts. Constant time and memory."""

    def __init__(self, gaps: Sequence[int]) -> None:
        self._counts = [float(count) for count in gaps]
        self._total = float(sum(gaps))
        self._worse = self._better = 0.0
        self.is_alarm = False

    def observe(self, cell: int) -> None:
        """One more passed part."""
        rank = (sum(self._counts[:cell]) + self._counts[cell] / 2) / self._total
        won = STAKE * (1 - 2 * rank)
        # Evidence beyond the alarm would only delay its end.
        most = 2 * 10**ALARM_LOG10
        self._worse = min(most, (1 + self._worse) * (1 + won))
        self._better = min(most, (1 + self._better) * (1 - won))
        self.is_alarm = self.log10 >= (CLEAR_LOG10 if self.is_alarm else ALARM_LOG10)
        if self._total < YARDSTICK and not self.is_alarm:
            self._counts[cell] += 1
            self._total += 1

    @property
    def log10(self) -> float:
        """Of the mean of both statistics; 0 where there is no evidence at all."""
        return math.log10(max(1.0, (self._worse + self._better) / 2))

    @property
    def lead(self) -> str:
        """Which way the parts' looks went, if they did."""
        return "worse" if self._worse >= self._better else "better"


class Window:
    """How far the newest WINDOW passed parts are from teach's good parts: Kolmogorov and Smirnov's distance."""

    def __init__(self, gaps: Sequence[int]) -> None:
        total = sum(gaps)
        self._expected = [WINDOW * sum_to / total for sum_to in accumulate(gaps)]
        self._counts = [0] * len(gaps)
        self._cells: deque[int] = deque()

    def observe(self, cell: int) -> None:
        """One more passed part."""
        self._cells.append(cell)
        self._counts[cell] += 1
        if len(self._cells) > WINDOW:
            self._counts[self._cells.popleft()] -= 1

    @property
    def distance(self) -> float:
        """0 to 1; 0 until the window is full."""
        if len(self._cells) < WINDOW:
            return 0.0
        return max(map(abs, map(sub, accumulate(self._counts), self._expected))) / WINDOW
