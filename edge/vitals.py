"""How the station's processes are: what the supervisor knows of them, as metrics and as answers about health."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

import edge
from edge.child import Child
from edge.exposition import Health
from edge.metrics import Page

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Vitals(Collector):
    """The supervisor's own metrics; documented with the others in `metrics.py`."""

    def __init__(self, children: Mapping[str, Child]) -> None:
        self._children = children

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily]:
        """Read at each scrape."""
        up = GaugeMetricFamily("goldline_worker_up", "1 while the worker runs and is warm.", labels=["worker"])
        restarts = CounterMetricFamily(
            "goldline_worker_restarts_total", "Deaths of the worker, by cause.", labels=["worker", "cause"]
        )
        silent = GaugeMetricFamily(
            "goldline_worker_heartbeat_age_seconds", "Since the worker's loop came round.", labels=["worker"]
        )
        memory = GaugeMetricFamily(
            "goldline_worker_resident_memory_bytes", "Resident memory, shared pages included.", labels=["worker"]
        )
        descriptors = GaugeMetricFamily("goldline_worker_open_fds", "Open file descriptors.", labels=["worker"])
        for name, child in self._children.items():
            up.add_metric([name], float(child.is_running))
            silent.add_metric([name], child.silent_s)
            for cause, count in child.restarts.items():
                restarts.add_metric([name, cause], count)
            if (pid := child.pid) is not None:
                memory.add_metric([name], resident_bytes(pid))
                descriptors.add_metric([name], open_descriptors(pid))
        build = InfoMetricFamily("goldline_build", "The running version.", value={"version": edge.__version__})
        return up, restarts, silent, memory, descriptors, build


def resident_bytes(pid: int) -> float:
    """Resident memory of a process; 0 when it has just gone."""
    try:
        return float(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0.0


def open_descriptors(pid: int) -> float:
    """Open file descriptors of a process; 0 when it has just gone."""
    try:
        return float(len(os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return 0.0


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
