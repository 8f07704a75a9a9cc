"""What the supervisor shows over HTTP: the workers' metric pages for Prometheus, and two answers about health.

GET /metrics    every page, and what the supervisor itself knows
GET /healthz    200 while the station works as it should, else 503; the body says what is wrong
GET /readyz     200 once every critical worker is warm, else 503
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import Self

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector as BaseCollector

from edge.errors import GoldlineError
from edge.metric_table import ROWS, Metric
from edge.metrics import Page, Series

# A client that sends no request for this long is cut off.
REQUEST_TIMEOUT_S = 5.0

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Collector(BaseCollector):
    """Turns pages into Prometheus families. `pages` may change between scrapes, by worker name."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Family]:
        """One family for each metric, whichever pages it stands on."""
        families: dict[str, Family] = {}
        for page in tuple(self._pages.values()):
            for series, values in page.read():
                metric = series.metric
                family = families.setdefault(metric.name, family_of(metric))
                if values[0] or not metric.tells_why:
                    _add(family, series, values)
        return families.values()


class Samples:
    """What the supervisor itself knows, by the rows of `metric_table.py`."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def family(self, name: str) -> Family:
        """The family of this metric, which is shown from now on, samples or none."""
        return self._families.setdefault(name, family_of(ROWS[name]))

    def add(self, name: str, value: float, *labels: str) -> None:
        """One sample; labels in the order of its row. Raises KeyError for a metric that is not in the table."""
        family = self.family(name)
        assert not isinstance(family, HistogramMetricFamily)
        if value or not ROWS[name].tells_why:
            family.add_metric(list(labels), value)

    @property
    def families(self) -> tuple[Family, ...]:
        """All that was added."""
        return tuple(self._families.values())


def family_of(metric: Metric) -> Family:
    """The family of this row, empty."""
    labels = list(metric.labels)
    match metric.kind:
        case "counter":
            return CounterMetricFamily(metric.name, metric.help, labels=labels)
        case "gauge":
            return GaugeMetricFamily(metric.name, metric.help, labels=labels)
        case "histogram":
            return HistogramMetricFamily(metric.name, metric.help, labels=labels)


def _add(family: Family, series: Series, values: tuple[float, ...]) -> None:
    if not isinstance(family, HistogramMetricFamily):
        family.add_metric(list(series.labels), values[0])
        return
    *counts, total = values
    # As many digits as a deadline may have.
    bounds = [*(f"{bound:.12g}" for bound in series.metric.buckets), "+Inf"]
    family.add_metric(list(series.labels), list(zip(bounds, accumulate(counts), strict=True)), total)


@dataclass(frozen=True)
class Health:
    """An answer of /healthz or /readyz, with what a person wants to know next."""

    is_ok: bool
    detail: Mapping[str, object] = field(default_factory=dict[str, object])


class Server:
    """The running HTTP server. `port` is the real one where 0 was asked for."""

    def __init__(self, http: ThreadingHTTPServer) -> None:
        self._http = http
        self.port: int = http.server_address[1]
        # Polling only bounds how long close() takes.
        self._thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.2}, name="http")
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(
    host: str, port: int, registry: CollectorRegistry, health: Callable[[], Health], ready: Callable[[], Health]
) -> Server:
    """Answer on threads of its own until closed. `health` and `ready` are called there. Raises GoldlineError."""
    answers: dict[str, Callable[[str], tuple[int, str, bytes]]] = {
        "/metrics": lambda accept: _scrape(registry, accept),
        "/healthz": lambda _accept: _state(health()),
        "/readyz": lambda _accept: _state(ready()),
    }
    try:
        return Server(_Http((host, port), _handler(answers)))
    except OSError as problem:
        raise GoldlineError(f"metrics: cannot listen on {host}:{port}: {problem.strerror or problem}") from problem


def _scrape(registry: CollectorRegistry, accept: str) -> tuple[int, str, bytes]:
    encode, content_type = choose_encoder(accept)
    return 200, content_type, encode(registry)


def _state(health: Health) -> tuple[int, str, bytes]:
    body = json.dumps({"ok": health.is_ok, **health.detail}) + "\n"
    return 200 if health.is_ok else 503, "application/json", body.encode()


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A failing answer ends that connection, and the log says why."""
        structlog.get_logger().exception("http answer failed", client=str(client_address))


def _handler(answers: Mapping[str, Callable[[str], tuple[int, str, bytes]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S
        server_version = "goldline"
        sys_version = ""

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            if answer is None:
                self.send_error(404)
                return
            status, content_type, body = answer(self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Scrapes every few seconds are not news."""

    return Handler
