"""What Grafana does with a query before Prometheus sees it, and what Prometheus answers."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# With "All" chosen, each variable is this pattern.
EVERYTHING = {"job": ".+", "instance": ".+", "camera": ".+"}

Labels = Mapping[str, str]


def filled(expression: str, window: str, whole: str) -> str:
    """The expression with Grafana's variables in place: a rate's window, and the time that a board shows."""
    for name, value in {"__rate_interval": window, "__range": whole, **EVERYTHING}.items():
        expression = expression.replace(f"${name}", value)
    return expression


@dataclass(frozen=True)
class Answer:
    """One series: its labels, and (Unix time, value) pairs, one or many."""

    labels: Labels
    points: tuple[tuple[float, float], ...]

    def named(self, legend: str) -> str:
        """As Grafana writes it by this template."""
        for name, value in self.labels.items():
            legend = legend.replace(f"{{{{{name}}}}}", value)
        return legend


def now(prometheus: str, expression: str) -> list[Answer]:
    """What it says at this moment. `prometheus` is its address. Raises OSError."""
    found = _get(prometheus, "query", query=expression)
    return [Answer(row["metric"], (_point(row["value"]),)) for row in found]


def between(prometheus: str, expression: str, start_s: float, end_s: float, step_s: float) -> list[Answer]:
    """What it said from one Unix time to another. Raises OSError."""
    found = _get(prometheus, "query_range", query=expression, start=start_s, end=end_s, step=step_s)
    return [Answer(row["metric"], tuple(map(_point, row["values"]))) for row in found]


def _point(pair: tuple[float, str]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _get(prometheus: str, endpoint: str, **words: Any) -> list[Any]:
    url = f"{prometheus}/api/v1/{endpoint}?{urllib.parse.urlencode(words)}"
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the address that was given
        return json.load(answer)["data"]["result"]
