"""How the station's processes are: what the supervisor knows of them, as metrics and as answers about health."""

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from prometheus_client.registry import Collector

import edge
from edge.child import Child
from edge.exposition import Family, Health, Samples
from edge.metric_table import RELOAD_OUTCOMES
from edge.metrics import Page

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Configured:
    """What came of changes to the configuration in flight. The supervisor counts here; scrapes read."""

    generation: int = 1
    reloads: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RELOAD_OUTCOMES, 0))


class Vitals(Collector):
    """The supervisor's own metrics, as `metric_table.py` has them."""

    def __init__(self, children: Mapping[str, Child], configured: Configured) -> None:
        self._children, self._configured = children, configured
        self._processors = {name: ProcessorTime() for name in children}
        # Two may scrape at once.
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Family]:
        """Read at each scrape."""
        samples = Samples()
        for name, child in tuple(self._children.items()):
            samples.add("goldline_worker_up", float(child.is_running), name)
            samples.add("goldline_worker_heartbeat_age_seconds", child.silent_s, name)
            for cause, count in child.restarts.items():
                samples.add("goldline_worker_restarts_total", count, name, cause)
            self._add_process(samples, name, child.pid)
        samples.add("goldline_configuration_generation", self._configured.generation)
        for outcome, count in self._configured.reloads.items():
            samples.add("goldline_reload_total", count, outcome)
        samples.add("goldline_build_info", 1.0, edge.__version__)
        return samples.families

    def _add_process(self, samples: Samples, name: str, pid: int | None) -> None:
        usage = None if pid is None else usage_of(pid)
        with self._lock:
            processor = self._processors.setdefault(name, ProcessorTime())
            total_s = processor.total_s(pid, None if usage is None else usage.processor_s)
        samples.add("goldline_worker_cpu_seconds_total", total_s, name)
        if pid is not None and usage is not None:
            samples.add("goldline_worker_resident_memory_bytes", usage.resident_bytes, name)
            samples.add("goldline_worker_threads", usage.threads, name)
            samples.add("goldline_worker_open_fds", open_descriptors(pid), name)


class ProcessorTime:
    """What one worker's incarnations took of the processors, as far as it was read: it never goes back."""

    def __init__(self) -> None:
        self._before_s, self._newest_s, self._pid = 0.0, 0.0, -1

    def total_s(self, pid: int | None, processor_s: float | None) -> float:
        """With what the process of this id says of itself; None where there is none."""
        if pid is not None and processor_s is not None:
            if pid != self._pid:
                self._before_s, self._newest_s, self._pid = self._before_s + self._newest_s, 0.0, pid
            self._newest_s = max(self._newest_s, processor_s)
        return self._before_s + self._newest_s


class Usage(NamedTuple):
    """What the kernel says of a process."""

    processor_s: float
    threads: int
    resident_bytes: int


def usage_of(pid: int) -> Usage | None:
    """By proc_pid_stat(5), whose fields after the name in brackets begin with the third; None: it has just gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return Usage((int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[17]), int(fields[21]) * PAGE_BYTES)
    except (OSError, IndexError):
        return None


def open_descriptors(pid: int) -> int:
    """Open file descriptors of a process; 0 when it has just gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def healthy(children: Mapping[str, Child]) -> Health:
    """Every worker inside its deadline, or in its declared pause."""
    silent = {name: round(child.silent_s, 2) for name, child in children.items() if not child.is_healthy}
    return Health(not silent, {"silent_s": silent})


def ready(children: Mapping[str, Child]) -> Health:
    """Every worker warm. A camera that is away is named and does not count: its triggers are answered all the same."""
    states = {name: child.page.state.name.lower() if child.pid else "down" for name, child in children.items()}
    detail = {"workers": states, "cameras": camera_states(children)}
    return Health(all(child.is_running for child in children.values()), detail)


def camera_states(children: Mapping[str, Child]) -> dict[str, str]:
    """By camera: `CameraState`, or `down` while its process is."""
    states: dict[str, str] = {}
    for name, child in children.items():
        role, _, camera = name.partition("@")
        if role == "capture":
            states[camera] = _camera_state(child.page)
    return states


def _camera_state(page: Page) -> str:
    for series, values in page.read():
        if series.metric.name == "goldline_camera_state" and values[0]:
            return series.labels[1]
    return "down"


def quantile_s(counts: Iterable[float], bounds: tuple[float, ...], share: float) -> float | None:
    """The quantile of a histogram of seconds, interpolated inside its bucket; None when it is empty."""
    counted = list(counts)
    wanted, before, low = share * sum(counted), 0.0, 0.0
    if not sum(counted):
        return None
    for count, high in zip(counted, (*bounds, bounds[-1]), strict=True):
        if count and before + count >= wanted:
            return low + (high - low) * (wanted - before) / count
        before, low = before + count, high
    return bounds[-1]
