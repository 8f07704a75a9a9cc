"""From one or two looks at a station to its overview. Pure.

With a look before, rates and quantiles are of the time between the two; without, quantiles are since the start.
"""

import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

import msgspec

from edge.config import Station
from edge.events import Event
from edge.orders import JobState
from edge.overview.attention import attention
from edge.overview.look import Look
from edge.overview.scraped import Counted
from edge.records import Outcome
from edge.vitals import quantile_s

ANSWERS = "goldline_answer_seconds"


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the triggers of a camera or group, since the service started; latency is from trigger to verdict.

    `review`: FAIL between the two limits. `quantiles_ms` are None where nothing was answered in the time looked at.
    """

    triggers: int
    verdicts: dict[str, int]
    review: int
    errors: dict[str, int]
    late: int
    in_flight: int
    per_minute: float | None
    quantiles_ms: dict[str, float | None]
    deadline_ms: float


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """`dropped`: frames that were never judged, by the reason."""

    state: str
    frames: int
    frames_per_second: float | None
    lost: int
    incomplete: int
    dropped: dict[str, int]
    reconnects: int
    slots_free: int
    slots: int


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process. `cpu_share` is of one core, over the time looked at."""

    pid: int | None
    state: str
    silent_s: float
    resident_bytes: int
    open_fds: int
    cpu_share: float | None
    restarts: dict[str, int]


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Who acknowledges events."""

    name: str
    behind: int
    seen_utc: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The record of what was said."""

    low: int
    head: int
    used_bytes: int
    consumers: tuple[Consumer, ...]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The station at a glance. `attention`: what somebody has to see to, worst first; empty where all is well."""

    station: str
    is_running: bool | None
    version: str | None
    started: datetime | None
    state: str | None
    job: JobState | None
    attention: tuple[str, ...]
    over_s: float | None
    answers: dict[str, Answers] = {}
    cameras: dict[str, Camera] = {}
    workers: dict[str, Worker] = {}
    record: Kept | None = None
    rejected: tuple[Event, ...] = ()
    device: dict[str, float] = {}
    unheard: tuple[str, ...] = ()


class Span(NamedTuple):
    """The newest counts, and those of an earlier look where there is one."""

    now: Counted
    before: Counted | None
    seconds: float

    def gain(self, name: str, **labels: str) -> float | None:
        """What a counter grew by; None without an earlier look. A service that was restarted counts from 0."""
        if self.before is None:
            return None
        now, before = self.now.sum(name, **labels), self.before.sum(name, **labels)
        return now - before if now >= before else now

    def rate(self, name: str, **labels: str) -> float | None:
        """The same for each second."""
        gained = self.gain(name, **labels)
        return None if gained is None or self.seconds <= 0 else gained / self.seconds

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """Cumulated counts of the time between, or since the start."""
        now = self.now.buckets(name, **labels)
        before = self.before.buckets(name, **labels) if self.before else {}
        grown = {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
        return now if any(count < 0 for count in grown.values()) else grown


def overview(station: Station, now: Look, before: Look | None = None) -> Overview:
    """What the looks come to."""
    whole = Overview(
        station=station.station_id,
        is_running=now.is_running,
        version=next(iter(now.counted.by("goldline_build_info", "version")), None) if now.counted else None,
        started=datetime.fromtimestamp(now.control.started, UTC) if now.control else None,
        state=now.state.state if now.state else None,
        job=now.state.job if now.state else None,
        attention=attention(now),
        over_s=now.at_s - before.at_s if before else None,
        record=_kept(now),
        rejected=now.record.rejected if now.record else (),
        unheard=now.unheard,
    )
    if now.counted is None:
        return whole
    span = Span(now.counted, before.counted if before else None, now.at_s - before.at_s if before else 0.0)
    return msgspec.structs.replace(
        whole,
        answers={name: _answers(station, span, name) for name in station.triggered if _is_triggered(station, name)},
        cameras={name: _camera(station, span, name, now) for name in station.cameras},
        workers={name: _worker(span, name, now) for name in now.counted.by("goldline_worker_up", "worker")},
        device=_device(span),
    )


def _is_triggered(station: Station, name: str) -> bool:
    """False for a camera of a group: the group's triggers are what it answers."""
    return name in station.groups or station.group_of(name) is None


def _answers(station: Station, span: Span, name: str) -> Answers:
    verdicts = span.now.by("goldline_verdicts_total", "verdict", camera=name)
    rate = span.rate("goldline_verdicts_total", camera=name)
    buckets = span.buckets(ANSWERS, camera=name)
    return Answers(
        triggers=int(span.now.sum("goldline_triggers_total", camera=name)),
        verdicts={str(outcome): int(verdicts.get(outcome, 0)) for outcome in Outcome},
        review=int(span.now.sum("goldline_reviews_total", camera=name)),
        errors=_some(span.now.by("goldline_errors_total", "reason", camera=name)),
        late=int(span.now.sum("goldline_deadline_missed_total", camera=name)),
        in_flight=int(span.now.sum("goldline_triggers_in_flight", camera=name)),
        per_minute=None if rate is None else rate * 60,
        quantiles_ms={f"p{share * 100:.0f}": _ms(quantile(buckets, share)) for share in (0.5, 0.99)},
        deadline_ms=station.deadline_ms(name),
    )


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Of cumulated counts by upper bound, interpolated inside its bucket; None where nothing was counted.

    What lies above the last finite bound is that bound, as Prometheus has it.
    """
    counts = [here - below for below, here in pairwise((0.0, *buckets.values()))]
    return quantile_s(counts, tuple(bound for bound in buckets if bound < math.inf), share)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 1)


def _some(counts: Mapping[str, float]) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items() if count}


def _camera(station: Station, span: Span, name: str, now: Look) -> Camera:
    # Inspection counts what it drops by the view: of a camera with shots, by each of them.
    dropped: Counter[str] = Counter()
    for view in {name, *station.views_of(name)}:
        dropped.update(_some(span.now.by("goldline_frames_dropped_total", "reason", camera=view)))
    slots = span.now.by("goldline_ring_slots", "state", camera=name)
    states: Mapping[str, str] = (now.readiness or {}).get("cameras", {})
    return Camera(
        state=states.get(name, "unknown"),
        frames=int(span.now.sum("goldline_frames_captured_total", camera=name)),
        frames_per_second=span.rate("goldline_frames_captured_total", camera=name),
        lost=int(span.now.sum("goldline_frames_dropped_total", camera=name, stage="camera")),
        incomplete=int(span.now.sum("goldline_camera_incomplete_frames_total", camera=name)),
        dropped=dict(sorted(dropped.items())),
        reconnects=int(span.now.sum("goldline_camera_reconnects_total", camera=name)),
        slots_free=int(slots.get("free", 0)),
        slots=int(sum(slots.values())),
    )


def _worker(span: Span, name: str, now: Look) -> Worker:
    states: Mapping[str, str] = (now.readiness or {}).get("workers", {})
    pids = {one.name: one.pid for one in now.control.workers} if now.control else {}
    return Worker(
        pid=pids.get(name),
        state=states.get(name, "unknown"),
        silent_s=round(span.now.sum("goldline_worker_heartbeat_age_seconds", worker=name), 2),
        resident_bytes=int(span.now.sum("goldline_worker_resident_memory_bytes", worker=name)),
        open_fds=int(span.now.sum("goldline_worker_open_fds", worker=name)),
        cpu_share=span.rate("goldline_worker_cpu_seconds_total", worker=name),
        restarts=_some(span.now.by("goldline_worker_restarts_total", "cause", worker=name)),
    )


def _kept(now: Look) -> Kept | None:
    if now.record is None:
        return None
    extent = now.record.extent
    return Kept(
        low=extent.low,
        head=extent.head,
        used_bytes=extent.used_bytes,
        consumers=tuple(
            Consumer(name=one.name, behind=extent.head - one.upto, seen_utc=one.seen_utc)
            for one in now.record.consumers
        ),
    )


def _device(span: Span) -> dict[str, float]:
    """What the machine itself says, by metric, the hottest and fullest of each; only what is there."""
    counted = span.now
    found: dict[str, float] = {}
    for name in ("memory_available_bytes", "memory_total_bytes"):
        if f"goldline_device_{name}" in counted:
            found[name] = counted.sum(f"goldline_device_{name}")
    for directory, free in counted.by("goldline_device_disk_free_bytes", "directory").items():
        found[f"{directory}_free_bytes"] = free
    for metric, label in (("device_temperature_celsius", "sensor"), ("gpu_temperature_celsius", "gpu")):
        if degrees := counted.by(f"goldline_{metric}", label):
            found[metric] = max(degrees.values())
    if gpus := counted.by("goldline_gpu_utilization_ratio", "gpu"):
        found["gpu_utilization_ratio"] = max(gpus.values())
    busy = _busy(span)
    return found if busy is None else {**found, "cpu_busy_ratio": busy}


def _busy(span: Span) -> float | None:
    """The share of all cores' time that was not idle."""
    gained = span.gain("goldline_device_cpu_seconds_total")
    idle = span.gain("goldline_device_cpu_seconds_total", mode="idle")
    return None if not gained or idle is None else 1.0 - idle / gained
