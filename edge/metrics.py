"""The page of shared memory that a worker counts on; `metric_table.py` says what is on it.

A page is a memfd that the supervisor makes for a worker and keeps when the worker dies: the next incarnation goes on
counting where the last stopped, so no counter goes backwards and no file is left behind. One worker writes it, each
value from one thread at a time; the supervisor reads (`exposition.py`). Layout, the same for every incarnation because it
follows from role, cameras and deadlines as they were when the station started:

    8 int64      layout fingerprint, state, beat_ns, loop_count, in_flight, 3 spare
    n float64    1 a counter or gauge; buckets + 2 (overflow, sum) a histogram

An aligned 8-byte store is whole or absent, so a writer killed at any instant leaves a page that can be read.
"""

import mmap
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import product

from edge.errors import GoldlineError
from edge.metric_table import METRICS, Kind, Metric


class State(IntEnum):
    """What a worker is doing; each state has its own deadline for the next beat."""

    STARTING = 0
    WARMUP = 1
    IDLE = 2
    BUSY = 3
    STOPPING = 4


@dataclass(frozen=True)
class Series:
    """One line of a page: a metric with its label values, and where it begins."""

    metric: Metric
    labels: tuple[str, ...]
    offset: int


def layout(worker: str, cameras: Sequence[str], deadlines_s: Sequence[float] = ()) -> list[Series]:
    """The series of a worker's page, in order. `worker` is a role or `role@camera`. Unknown role: KeyError.

    `deadlines_s` are the station's: histograms of what has a deadline have a bucket at each.
    """
    role, _, own_camera = worker.partition("@")
    known = (own_camera,) if own_camera else tuple(cameras)
    series: list[Series] = []
    offset = 0
    for row in (*METRICS[role], *(METRICS.get(worker, ()) if own_camera else ())):
        metric = row.at(deadlines_s)
        for values in product(*(known if allowed is None else allowed for allowed in metric.labels.values())):
            series.append(Series(metric, values, offset))
            offset += metric.words
    return series


HEADER_WORDS, WORD_BYTES = 8, 8
_FINGERPRINT, _STATE, _BEAT_NS, _LOOP_COUNT, _IN_FLIGHT = range(5)


def page_size(worker: str, cameras: Sequence[str], deadlines_s: Sequence[float] = ()) -> int:
    """Bytes of the memfd that holds this worker's page."""
    return (HEADER_WORDS + sum(series.metric.words for series in layout(worker, cameras, deadlines_s))) * WORD_BYTES


class Counter:
    """A value that only grows. 0.1 us a call."""

    __slots__ = ("_offset", "_values")

    def __init__(self, values: "memoryview[float]", offset: int) -> None:
        self._values, self._offset = values, offset

    def inc(self, amount: float = 1.0) -> None:
        """Add `amount` (not negative)."""
        self._values[self._offset] += amount

    def raise_to(self, value: float) -> None:
        """Take up a count that is kept elsewhere and ran on. A lower one is ignored: counters never go back."""
        self._values[self._offset] = max(self._values[self._offset], value)


class Gauge:
    """A value that goes up and down."""

    __slots__ = ("_offset", "_values")

    def __init__(self, values: "memoryview[float]", offset: int) -> None:
        self._values, self._offset = values, offset

    def set(self, value: float) -> None:
        """Take this value."""
        self._values[self._offset] = value


class Histogram:
    """Counts by bucket and their sum. 0.2 us a call."""

    __slots__ = ("_bounds", "_offset", "_sum", "_values")

    def __init__(self, values: "memoryview[float]", offset: int, bounds: tuple[float, ...]) -> None:
        self._values, self._offset, self._bounds = values, offset, bounds
        self._sum = offset + len(bounds) + 1

    def observe(self, value: float) -> None:
        """Count one value."""
        self._values[self._offset + bisect_left(self._bounds, value)] += 1.0
        self._values[self._sum] += value


class Page:
    """A mapping of a worker's page; the descriptor may be closed afterwards.

    Raises GoldlineError where the memory was laid out for another role or other cameras, KeyError for a metric or
    label value that is not in the table.
    """

    def __init__(self, descriptor: int, worker: str, cameras: Sequence[str], deadlines_s: Sequence[float] = ()) -> None:
        self.series = layout(worker, cameras, deadlines_s)
        self._index = {
            (series.metric.name, frozenset(zip(series.metric.labels, series.labels, strict=True))): series
            for series in self.series
        }
        memory = memoryview(mmap.mmap(descriptor, page_size(worker, cameras, deadlines_s)))
        self._header = memory[: HEADER_WORDS * WORD_BYTES].cast("q")
        self._values: memoryview[float] = memory[HEADER_WORDS * WORD_BYTES :].cast("d")
        fingerprint = zlib.crc32(repr(self.series).encode())
        if self._header[_FINGERPRINT] not in (0, fingerprint):
            raise GoldlineError(
                f"metrics page of {worker}: laid out for another role, other cameras or another version"
            )
        self._header[_FINGERPRINT] = fingerprint

    def counter(self, name: str, **labels: str) -> Counter:
        """The counter of these labels. Look it up once, at start."""
        return Counter(self._values, self._find("counter", name, labels).offset)

    def gauge(self, name: str, **labels: str) -> Gauge:
        """The gauge of these labels."""
        return Gauge(self._values, self._find("gauge", name, labels).offset)

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram of these labels."""
        series = self._find("histogram", name, labels)
        return Histogram(self._values, series.offset, series.metric.buckets)

    def _find(self, kind: Kind, name: str, labels: Mapping[str, str]) -> Series:
        series = self._index.get((name, frozenset(labels.items())))
        if series is None or series.metric.kind != kind:
            raise KeyError(f"no {kind} {name} {labels}")
        return series

    def beat(self, state: State, now_ns: int, in_flight: int = 0) -> None:
        """The main loop came round. For the loop itself to call, never a helper thread.

        The time is written before the state: a reader between the two never holds an old time against the shorter
        deadline of a new state.
        """
        self._header[_BEAT_NS] = now_ns
        self._header[_STATE] = state
        self._header[_IN_FLIGHT] = in_flight
        self._header[_LOOP_COUNT] += 1

    @property
    def state(self) -> State:
        """What the worker said it was doing at its last beat."""
        return State(self._header[_STATE])

    @property
    def beat_ns(self) -> int:
        """CLOCK_MONOTONIC of the last beat; 0 before the first."""
        return self._header[_BEAT_NS]

    @property
    def loop_count(self) -> int:
        """Beats since the page was made."""
        return self._header[_LOOP_COUNT]

    @property
    def in_flight(self) -> int:
        """What the worker said it had in hand at its last beat."""
        return self._header[_IN_FLIGHT]

    def lapse(self) -> None:
        """Set to 0 what is no longer so now that the worker is dead. For the supervisor."""
        for series in self.series:
            if series.metric.lapses:
                self._values[series.offset] = 0.0

    def read(self) -> Iterator[tuple[Series, tuple[float, ...]]]:
        """Every series with its values: one, or the buckets' counts, the overflow and the sum."""
        for series in self.series:
            yield series, tuple(self._values[series.offset : series.offset + series.metric.words])
