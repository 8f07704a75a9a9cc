"""What counting costs on the path of a frame: `python benchmarks/metrics.py`."""

import os
import statistics
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from edge.exposition import Collector
from edge.metric_table import SECONDS
from edge.metrics import Page, State, page_size

CAMERAS = ("top", "side", "left", "right")
WORKERS = (
    *(f"capture@{camera}" for camera in CAMERAS),
    *("inspection", "publish", "sync", "archive", "lane@modbus", "lane@opcua", "lane@mqtt"),
)
SCRAPES = 50
CALLS = 200_000


def page_of(worker: str) -> Page:
    descriptor = os.memfd_create(worker)
    os.ftruncate(descriptor, page_size(worker, CAMERAS))
    return Page(descriptor, worker, CAMERAS)


def cost_us(call: Callable[[], None]) -> float:
    """The best of five, us a call: what the machine can do when nothing else runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        times.append(time.perf_counter() - start)
    return min(times) / CALLS * 1e6


def main() -> None:
    publish = page_of("publish")
    histogram = publish.histogram("goldline_answer_seconds", camera="left")
    theirs = CollectorRegistry()
    their_counter = Counter("c", "c", ["camera"], registry=theirs).labels("left")
    their_histogram = Histogram("h", "h", ["camera"], buckets=SECONDS, registry=theirs).labels("left")
    for name, call in {
        "page counter.inc": publish.counter("goldline_triggers_total", camera="left").inc,
        "page histogram.observe": lambda: histogram.observe(0.0123),
        "page beat": lambda: publish.beat(State.IDLE, 1),
        "prometheus_client counter.inc": their_counter.inc,
        "prometheus_client histogram.observe": lambda: their_histogram.observe(0.0123),
    }.items():
        print(f"{name:40} {cost_us(call):6.2f} us")
    registry = CollectorRegistry()
    registry.register(Collector({name: page_of(name) for name in WORKERS}))
    times_ms = []
    for _ in range(SCRAPES):
        start = time.perf_counter()
        text = generate_latest(registry)
        times_ms.append((time.perf_counter() - start) * 1e3)
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    low, middle, high = statistics.quantiles(times_ms, n=4)
    print(
        f"{'scrape of 4 cameras, all lanes, archive':40} {middle:6.2f} ms ({low:.2f} to {high:.2f}),"
        f" {series} series, {len(text)} bytes; the supervisor's own come on top"
    )


if __name__ == "__main__":
    main()
