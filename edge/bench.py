"""What this machine gives: the graph alone, the plain loop around it, and the running station, in one run.

1. Draw a product's good parts, teach it, draw the frames to judge.
2. The bare `session.run`, and the station's own register, graph and judge functions in one plain loop: the limit.
3. The running daemon on simulated cameras that repeat such frames, evenly out of step: saturated, for throughput; at half
   the limit's load, for latency. A subscriber in this process takes the time of every event.
4. The plain loop again: the machine may have changed speed meanwhile, and the limit is of both.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import client, rehearsal
from edge.cameras import scene
from edge.config import load_station
from edge.errors import GoldlineError
from edge.events import Event
from edge.inspector import Inspector

FRAMES = 32
WARM_UP_S = 2.0
# Enough above the limit to keep every camera's mailbox full, without spending the machine on frames nobody takes.
SATURATION = 1.5
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What to measure. `size` is the cameras' width and height, px."""

    seconds: float = 20.0
    cameras: int = 4
    references: int = 300
    size: tuple[int, int] = (640, 480)


@dataclass
class Plain:
    """The plain loop's times, ms a frame."""

    graph_ms: list[float] = field(default_factory=list[float])
    frame_ms: list[float] = field(default_factory=list[float])

    @property
    def limit_ms(self) -> float:
        """Median of a whole frame."""
        return statistics.median(self.frame_ms)

    @property
    def limit_fps(self) -> float:
        """Frames a second, from the total time."""
        return 1e3 / statistics.fmean(self.frame_ms)


def measure(settings: Settings, progress: Progress) -> dict[str, object]:
    """The whole of it; the result is what `goldline bench --json` prints."""
    with tempfile.TemporaryDirectory(prefix="goldline-bench-") as directory:
        return _measure(settings, Path(directory), progress)


def _measure(settings: Settings, directory: Path, progress: Progress) -> dict[str, object]:
    config = prepare(settings, directory, progress)
    progress("the plain loop")
    inspector = Inspector.load(load_station(config), rehearsal.PRODUCT)
    inspector.warm_up()
    frames = draw_frames(settings.size)
    plain = Plain()
    loop(inspector, frames, settings.seconds / 4, plain)
    progress("the station, saturated")
    full = station_run(settings, directory, config, SATURATION * plain.limit_fps)
    progress("the station, at half load")
    half = station_run(settings, directory, config, 0.5 * plain.limit_fps)
    progress("the plain loop again")
    loop(inspector, frames, settings.seconds / 4, plain)
    return {
        "graph_ms": round(statistics.median(plain.graph_ms), 3),
        "limit_ms": round(plain.limit_ms, 3),
        "limit_fps": round(plain.limit_fps, 1),
        "sustained_fps": round(full.fps, 1),
        "service_ms": {"p50": round(half.service_ms(50), 3), "p99": round(half.service_ms(99), 3)},
        "frames": full.events + half.events,
        "dropped": half.dropped,
        "references": settings.references,
        "cameras": settings.cameras,
    }


def prepare(settings: Settings, directory: Path, progress: Progress) -> Path:
    """Draw and teach the product; returns the configuration, which later runs overwrite with their cameras."""
    progress(f"drawing {settings.references} good parts")
    rehearsal.draw_good_parts(directory / "good", settings.references, settings.size)
    config = write_config(settings, directory, 1.0)
    progress(f"teaching from {settings.references} references")
    taught = rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
    if taught.returncode:
        raise GoldlineError(f"goldline teach: {taught.stderr.strip()}")
    return config


def write_config(settings: Settings, directory: Path, rate_hz: float) -> Path:
    """A station of simulated cameras that together give `rate_hz` frames a second."""
    camera = {
        "source": "simulated",
        "width": settings.size[0],
        "height": settings.size[1],
        "rate_hz": round(rate_hz / settings.cameras, 3),
        "prerendered": FRAMES,
    }
    # Free-running cameras are not in step with each other; in step, each would wait for those before it.
    cameras = {
        f"camera{number}": camera | {"seed": 100 + number, "phase": number / settings.cameras}
        for number in range(settings.cameras)
    }
    return rehearsal.write_config(directory, cameras)


def draw_frames(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """What a line shows: good parts, and a deviation in every fifth."""
    generator = np.random.default_rng(7)
    kinds = ["good", "good", "good", "good", "missing", "good", "good", "good", "good", "stain"]
    return [scene.render(kinds[index % len(kinds)], generator, size)[0] for index in range(FRAMES)]


def loop(inspector: Inspector, frames: list[NDArray[np.uint8]], seconds: float, plain: Plain) -> None:
    """Register, graph and judge frame after frame; and the graph alone on the last frame's regions, in turn."""
    region = next(iter(inspector.views.values())).regions[0]
    until = time.monotonic() + seconds
    index = 0
    while time.monotonic() < until:
        frame = frames[index % len(frames)]
        index += 1
        started = time.perf_counter()
        prepared = inspector.prepare(frame)
        scores = inspector.score([prepared])
        inspector.judge(prepared, scores[0], {})
        judged = time.perf_counter()
        rows = np.stack([prepared.regions[region.manifest.name]]) if prepared.refusal is None else None
        if rows is not None and region.session is not None:
            before = time.perf_counter()
            region.compare(region.session, rows)
            plain.graph_ms.append((time.perf_counter() - before) * 1e3)
        plain.frame_ms.append((judged - started) * 1e3)


@dataclass(frozen=True)
class Run:
    """What a subscriber saw of a running station. `services_ns` is from frame complete in the ring to event here."""

    events: int
    seconds: float
    dropped: int
    services_ns: list[int]

    @property
    def fps(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    def service_ms(self, percent: float) -> float:
        """A percentile of the service time."""
        return float(np.percentile(self.services_ns, percent)) / 1e6


class Subscriber:
    """Takes the time of every event, on a thread. `addresses`: the station's `[events]`."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.services_ns: list[int] = []
        self.joined = threading.Event()
        self._addresses = addresses
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        notify = client.Notify(begun=lambda _: self.joined.set())
        live, sync = self._addresses["live"], self._addresses["sync"]
        try:
            with client.Subscriber(live=live, sync=sync, silence_s=3.0, notify=notify) as events:
                for event in events:
                    self._take(event, time.time_ns())
        except GoldlineError:
            return  # the station has stopped

    def _take(self, event: Event, now_utc_ns: int) -> None:
        if event.data.captured is not None:
            self.services_ns.append(now_utc_ns - round(event.data.captured.timestamp() * 1e6) * 1000)


def station_run(settings: Settings, directory: Path, config: Path, rate_hz: float) -> Run:
    """Run the daemon at this rate and listen for a while."""
    config = write_config(settings, directory, rate_hz)
    with rehearsal.running(config) as daemon:
        subscriber = Subscriber(rehearsal.settings(config)["events"])
        if not subscriber.joined.wait(10):
            raise GoldlineError("the station runs, but no heartbeat was heard")
        time.sleep(WARM_UP_S)
        dropped, first, started = _dropped(daemon), len(subscriber.services_ns), time.monotonic()
        time.sleep(settings.seconds)
        last, seconds = len(subscriber.services_ns), time.monotonic() - started
        dropped = _dropped(daemon) - dropped
        services_ns = subscriber.services_ns[first:last]
    return Run(last - first, seconds, dropped, services_ns)


def _dropped(daemon: rehearsal.Daemon) -> int:
    return int(daemon.total("goldline_frames_dropped_total"))
