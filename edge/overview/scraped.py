"""What a station's HTTP page says, as values: /metrics parsed, and /readyz."""

import http.client
from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from edge.errors import GoldlineError

# The page is a few ten kB; a station with every lane has 500 series.
MOST_BYTES = 4 << 20
# A page takes milliseconds; a machine that stands still for a moment is no news.
TIMEOUT_S = 3.0

# Without this one the page is of something else that listens there.
EVERY_STATIONS = "goldline_build_info"

Labels = Mapping[str, str]


class Counted:
    """Every sample of one scrape, by its name."""

    def __init__(self, samples: Iterable[tuple[str, Labels, float]]) -> None:
        self._samples: dict[str, list[tuple[Labels, float]]] = {}
        for name, labels, value in samples:
            self._samples.setdefault(name, []).append((labels, value))

    @classmethod
    def parsed(cls, text: str) -> Self:
        """From the Prometheus text format. Raises ValueError."""
        families = text_string_to_metric_families(text)
        return cls((one.name, one.labels, one.value) for family in families for one in family.samples)

    def __contains__(self, name: str) -> bool:
        return name in self._samples

    def sum(self, name: str, **labels: str) -> float:
        """Of every sample that has these labels; 0 where there is none."""
        return sum(value for _, value in self._having(name, labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The same for each value of one label."""
        sums: dict[str, float] = {}
        for found, value in self._having(name, labels):
            if label in found:
                sums[found[label]] = sums.get(found[label], 0.0) + value
        return sums

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """A histogram's cumulated counts by upper bound, infinity the last; {} where there is none."""
        found = self.by(f"{name}_bucket", "le", **labels)
        return dict(sorted((float(bound), count) for bound, count in found.items()))

    def _having(self, name: str, labels: Labels) -> Iterable[tuple[Labels, float]]:
        return (
            (found, value)
            for found, value in self._samples.get(name, ())
            if all(found.get(label) == wanted for label, wanted in labels.items())
        )


def read_metrics(host: str, port: int) -> Counted:
    """One scrape. Raises GoldlineError where nothing answers, or something else does."""
    body = _get(host, port, "/metrics")
    try:
        counted = Counted.parsed(body.decode())
    except ValueError as problem:
        raise GoldlineError(f"http://{host}:{port}/metrics: this is no page of metrics: {problem}") from None
    if EVERY_STATIONS not in counted:
        raise GoldlineError(f"http://{host}:{port}/metrics: this is no station's page of metrics")
    return counted


def read_readiness(host: str, port: int) -> dict[str, Any]:
    """The answer of /readyz. Raises GoldlineError."""
    body = _get(host, port, "/readyz")
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise GoldlineError(f"http://{host}:{port}/readyz: this is no answer of a station") from None


def _get(host: str, port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        body = connection.getresponse().read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as problem:
        raise GoldlineError(f"http://{host}:{port}{path}: {problem}") from None
    finally:
        connection.close()
    if len(body) > MOST_BYTES:
        raise GoldlineError(f"http://{host}:{port}{path}: more than {MOST_BYTES >> 20} MiB: this is no station's page")
    return body
