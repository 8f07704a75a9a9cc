"""Every metric of the station, documented once, and the page of shared memory a worker counts on.

A page is a memfd that the supervisor makes for a worker and keeps when the worker dies: the next incarnation goes on
counting where the last stopped, so no counter goes backwards and no file is left behind. One worker writes it, each
value from one thread; the supervisor reads (`exposition.py`). Layout, the same for every incarnation because it
follows from role and cameras:

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
from typing import Literal

from edge.camera_state import CameraState
from edge.errors import GoldlineError
from edge.records import Outcome, Reason

Kind = Literal["counter", "gauge", "histogram"]

# From the cheapest stage to the default deadline of 1 s, densest around a budget of 20 ms.
SECONDS = (0.001, 0.002, 0.005, 0.008, 0.01, 0.012, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0)
# An outbox commit takes 10 us unflushed, 4 ms flushed, and up to a second on a worn card.
COMMIT_SECONDS = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
# The sizes batches are padded to.
BATCH_SIZES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the table. `labels` gives each label's closed set; None is known only at start (cameras, workers).

    `lapses`: a gauge that is a lie once its writer is dead; the supervisor then calls `Page.lapse`.
    """

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...] | None]
    buckets: tuple[float, ...] = ()
    lapses: bool = False

    @property
    def words(self) -> int:
        """Float64 values that one series takes."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


def _counter(name: str, text: str, **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="counter", help=text, labels=labels)


def _gauge(name: str, text: str, *, lapses: bool = False, **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="gauge", help=text, labels=labels, lapses=lapses)


def _histogram(name: str, text: str, buckets: tuple[float, ...], **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="histogram", help=text, labels=labels, buckets=buckets)


VERDICTS = tuple(str(outcome) for outcome in Outcome)
REASONS = tuple(str(reason) for reason in Reason)
# Besides the reasons of an ERROR, in free-running mode: a newer frame took its place, or its stream had just begun.
DROP_REASONS = (*REASONS, "superseded", "settling")
CAMERA_STATES = tuple(str(state) for state in CameraState)
RECONNECT_CAUSES = ("absent", "busy", "config", "lost", "stalled", "frozen", "restarted")
RESTART_CAUSES = ("exit", "signal", "stall")
STAGES = ("queue", "register", "graph", "judge")
# What drifts, and the alarms about it (`drift.py`).
TRENDS = ("dx_px", "dy_px", "angle_deg", "gain", "sharpness")
ALARMS = ("appearance", "pose", "gain", "sharpness")
DROPPED = "Frames that were never judged, by the stage that dropped them and why."

# By the role that feeds them. A metric fed by two roles has the same kind, help and label names in both.
METRICS: dict[str, tuple[Metric, ...]] = {
    "publish": (
        _counter("triggers_total", "Triggers accepted, of a camera or of a group that sees one part.", camera=None),
        _counter("verdicts_total", "Triggers closed, by verdict.", camera=None, verdict=VERDICTS),
        _counter("errors_total", "ERROR verdicts, by reason.", camera=None, reason=REASONS),
        _gauge("triggers_in_flight", "Triggers accepted and not closed yet.", camera=None),
        _counter("deadline_missed_total", "Verdicts that came after their deadline.", camera=None),
        _histogram("capture_to_event_seconds", "From last frame complete to event committed.", SECONDS, camera=None),
        _counter("events_written_total", "Events committed to the outbox."),
        _histogram("outbox_commit_seconds", "Duration of an outbox commit.", COMMIT_SECONDS),
        _gauge("outbox_head_sequence", "Sequence number of the newest event in the outbox."),
    ),
    "capture": (
        _counter("frames_captured_total", "Frames the camera delivered, complete or not.", camera=None),
        _counter("frames_handed_total", "Frames lent to inspection.", camera=None),
        # Lost: the camera's own counter shows a frame that never arrived.
        _counter("frames_dropped_total", DROPPED, camera=None, stage=("camera",), reason=("lost",)),
        _counter("frames_dropped_total", DROPPED, camera=None, stage=("capture",), reason=DROP_REASONS),
        _gauge("camera_up", "1 while the camera streams.", camera=None, lapses=True),
        _gauge("camera_state", "1 for the state that the camera is in.", lapses=True, camera=None, state=CAMERA_STATES),
        _counter("camera_reconnects_total", "Times it was opened again.", camera=None, cause=RECONNECT_CAUSES),
        _counter("camera_incomplete_frames_total", "Frames with missing data.", camera=None),
        _gauge("camera_last_frame_timestamp_seconds", "Unix time of the newest complete frame.", camera=None),
        _gauge("ring_slots", "Slots of the camera's ring, by who has them.", camera=None, state=("free", "lent")),
    ),
    "inspection": (
        _counter("frames_judged_total", "Frames that judge decided on. A shot is `camera.shot`.", camera=None),
        _counter("frames_torn_total", "Frames that were overwritten while they were read.", camera=None),
        _counter("frames_dropped_total", DROPPED, camera=None, stage=("inspection",), reason=DROP_REASONS),
        _gauge("engine_fallback", "1 where the CPU stands in for the accelerator that was asked for.", lapses=True),
        _gauge("drift_ks_distance", "Of the newest 200 passed parts from teach's good ones.", lapses=True, camera=None),
        _gauge("drift_log10_evidence", "For passed parts having changed; alarm from 7 on.", lapses=True, camera=None),
        _gauge("drift_trend_spreads", "Mean beside the goods'; alarm at 4.", lapses=True, camera=None, quantity=TRENDS),
        _gauge("drift_alarm", "1 while this kind of drift is reported.", lapses=True, camera=None, kind=ALARMS),
        _counter("drift_alarms_total", "Times it began to be reported.", camera=None, kind=ALARMS),
        _histogram("batch_size", "Frames in one run of the graph.", BATCH_SIZES),
        _histogram("stage_duration_seconds", "A frame's time in each stage.", SECONDS, camera=None, stage=STAGES),
    ),
    "supervisor": (
        _gauge("worker_up", "1 while the worker is past its start and inside its deadline.", worker=None),
        _counter("worker_restarts_total", "Times it was started again, by cause.", worker=None, cause=RESTART_CAUSES),
        _gauge("worker_heartbeat_age_seconds", "Time since the worker's main loop last came round.", worker=None),
        _gauge("worker_resident_memory_bytes", "Resident memory.", worker=None),
        _gauge("worker_open_fds", "Open file descriptors.", worker=None),
        _gauge("build_info", "Always 1; the version is a label.", version=None),
    ),
}


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


def layout(worker: str, cameras: Sequence[str]) -> list[Series]:
    """The series of a worker's page, in order. `worker` is a role or `role@camera`. Unknown role: KeyError."""
    role, _, own_camera = worker.partition("@")
    known = (own_camera,) if own_camera else tuple(cameras)
    series: list[Series] = []
    offset = 0
    for metric in METRICS[role]:
        for values in product(*(known if allowed is None else allowed for allowed in metric.labels.values())):
            series.append(Series(metric, values, offset))
            offset += metric.words
    return series


HEADER_WORDS, WORD_BYTES = 8, 8
_FINGERPRINT, _STATE, _BEAT_NS, _LOOP_COUNT, _IN_FLIGHT = range(5)


def page_size(worker: str, cameras: Sequence[str]) -> int:
    """Bytes of the memfd that holds this worker's page."""
    return (HEADER_WORDS + sum(series.metric.words for series in layout(worker, cameras))) * WORD_BYTES


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

    def __init__(self, descriptor: int, worker: str, cameras: Sequence[str]) -> None:
        self.series = layout(worker, cameras)
        self._index = {
            (series.metric.name, frozenset(zip(series.metric.labels, series.labels, strict=True))): series
            for series in self.series
        }
        memory = memoryview(mmap.mmap(descriptor, page_size(worker, cameras)))
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
