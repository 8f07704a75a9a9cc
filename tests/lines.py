"""A made-up line: parts that rank among teach's good parts as good ones do, or worse."""

import numpy as np

from edge.judge import Calibration, p_value
from edge.ranks import Evidence, Grid
from edge.records import Limits


def calibration(goods: list[float], review: float | None = None) -> Calibration:
    """Limits as teach sets them: the largest good score, or another."""
    limit = max(goods, default=1.0) if review is None else review
    return Calibration(
        scales={}, limits=Limits(review=limit, fail=limit + 1), images=len(goods), rate=None, goods=tuple(sorted(goods))
    )


class Line:
    """A line whose good parts, and those of teach, score evenly in 0..1; `worse` makes p-values Beta(1, worse)."""

    def __init__(self, seed: int, goods: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._goods = np.sort(self._draw.random(goods))
        self.calibration = calibration(self._goods.tolist())
        self.grid = Grid.of(self.calibration)

    def p_values(self, parts: int, worse: float = 1.0) -> list[float]:
        """Of passed and failed parts, as judge computes them."""
        scores = self._draw.random(parts) ** (1 / worse)
        return [found for score in scores.tolist() if (found := p_value(self.calibration, score)) is not None]

    def cells(self, parts: int, worse: float = 1.0) -> list[int]:
        """Of those that pass."""
        return [cell for p in self.p_values(parts, worse) if (cell := self.grid.cell(p)) is not None]

    def run(self, evidence: Evidence, parts: int, worse: float = 1.0) -> int | None:
        """After how many passed parts there is an alarm; None without one."""
        for number, cell in enumerate(self.cells(parts, worse)):
            evidence.observe(cell)
            if evidence.is_alarm:
                return number + 1
        return None
