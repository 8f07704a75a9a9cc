"""goldline run: the station, in the foreground or under systemd."""

import argparse
import faulthandler
import fcntl
import os
import signal
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from edge import exposition, log, product_switch, vitals
from edge.config import Station, configuration, load_station, runtime_directory
from edge.control_desk import ControlDesk
from edge.device.watch import Device, sources
from edge.errors import GoldlineError
from edge.guard import refuse_the_open
from edge.metrics import Page
from edge.recipe import load_recipe, unmatched_roles
from edge.reload_request import Reloader
from edge.running import make_findable
from edge.sd_notify import Notifier, saying_why_not
from edge.supervisor import Supervisor

# A start that is not over by then has failed; the longest one builds a TensorRT engine.
START_WITHIN_S = 1200.0
# While it is starting and alive, systemd is asked to wait this much longer.
EXTEND_BY_US = 30_000_000
# Whoever looks whether a station runs (`running.py`) has its lock for some microseconds: then it is tried again.
LOCK_TRIES, LOCK_PAUSE_S = 5, 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline run`."""
    parser.description = "Run the station until SIGTERM or Ctrl-C; then print what it did."
    parser.epilog = "example:\n  goldline run --for 20"
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="end by itself after this long")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


@saying_why_not()
def run(arguments: argparse.Namespace) -> int:
    """Start, watch, stop, sum up."""
    # A watchdog that starves sends SIGABRT: every thread's stack, to stderr.
    faulthandler.enable(2)
    station = load_station(arguments.config)
    log.setup(station.log, "supervisor")
    log.take_uncaught()
    refuse_the_incomplete(station)
    with only_one(runtime := runtime_directory(station)):
        with suppress(OSError):  # where the state cannot be written, who looks for the station has to be told where
            make_findable(station, runtime)
        supervisor = Supervisor(station)
        reloader = Reloader(supervisor, partial(load_whole, arguments.config), runtime, configuration(arguments.config))
        try:
            with ControlDesk(runtime, reloader.reload, reloader.status):
                watch(supervisor, reloader, arguments.seconds)
        finally:
            supervisor.close()
            log.close()
    summary = sum_up(supervisor.children["publish"].page)
    print(msgspec.json.encode(summary).decode() if arguments.json else summary)
    return 0


def load_whole(path: Path | None) -> Station:
    """The station as it stands in the file, with all that it needs. Raises GoldlineError."""
    station = load_station(path)
    refuse_the_incomplete(station)
    return station


def refuse_the_incomplete(station: Station) -> None:
    """What cannot work is said before anything starts. Raises GoldlineError."""
    if not station.cameras:
        raise GoldlineError("configuration: [cameras]: this station has no camera")
    if station.product is None:
        raise GoldlineError("configuration: product: name the product this station inspects")
    product_switch.finish(station, station.product)
    if unmatched := unmatched_roles(station, load_recipe(station, station.product)):
        raise GoldlineError("\n".join(unmatched))
    refuse_the_open(station)


@contextmanager
def only_one(runtime: Path) -> Generator[None]:
    """Refuse a second station on the same runtime directory: two would write the same trigger logs."""
    try:
        if runtime.is_symlink() and not runtime.exists():  # to that of a service that has ended
            runtime.unlink()
        runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
        (runtime / "lock").touch()
    except OSError as failure:
        raise GoldlineError(f"{runtime}: the runtime directory cannot be written: {failure.strerror}") from failure
    with open(runtime / "lock", "w") as handle:
        if not any(_locks(handle) for _ in range(LOCK_TRIES)):
            raise GoldlineError(f"{runtime}: another goldline run uses this runtime directory")
        yield


def _locks(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(LOCK_PAUSE_S)
        return False
    return True


@contextmanager
def told() -> Generator[list[int]]:
    """Signals received, as they come."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(supervisor: Supervisor, reloader: Reloader, seconds: float | None) -> None:
    """Turn until told to stop, feeding systemd's watchdog only while every worker is well."""
    station = supervisor.station
    registry = CollectorRegistry()
    registry.register(exposition.Collector({name: child.page for name, child in supervisor.children.items()}))
    registry.register(vitals.Vitals(supervisor.children, supervisor.configured))
    logger = structlog.get_logger()
    children = supervisor.children
    server = exposition.serve(
        station.metrics.host,
        station.metrics.port,
        registry,
        lambda: vitals.healthy(children),
        lambda: vitals.ready(children),
    )

    with server, Device(sources(station)) as device, closing(Notifier()) as notifier, told() as received:
        registry.register(device)

        def feed() -> None:
            if supervisor.is_healthy:
                notifier.send("WATCHDOG=1")

        started_s, ready_s = time.monotonic(), None
        supervisor.reloads.notice = partial(tell_systemd, notifier, supervisor)
        while not is_stopped(received, reloader) and not (ready_s and seconds and time.monotonic() - ready_s > seconds):
            supervisor.turn()
            feed()
            if ready_s is None:
                notifier.send(f"EXTEND_TIMEOUT_USEC={EXTEND_BY_US}", "STATUS=warming up")
            if ready_s is None and supervisor.is_ready:
                ready_s = time.monotonic()
                notifier.send("READY=1", f"STATUS=inspecting {station.product}")
                logger.info("ready", after_s=round(ready_s - started_s, 2), product=station.product)
            elif ready_s is None and time.monotonic() - started_s > START_WITHIN_S:
                raise GoldlineError(f"not ready after {START_WITHIN_S:.0f} s")
        notifier.send("STOPPING=1")
        supervisor.stop(feed)


def is_stopped(received: list[int], reloader: Reloader) -> bool:
    """Whether a signal said so. SIGHUP has the configuration reloaded; on a terminal it means that the terminal has gone."""
    while signal.SIGHUP in received and not os.isatty(0):
        received.remove(signal.SIGHUP)
        reloader.begin()
    return bool(received)


def tell_systemd(notifier: Notifier, supervisor: Supervisor, is_on: bool) -> None:  # noqa: FBT001 - a callback's one word
    """A reload has begun, or is over (sd_notify(3)). Of a station that is not ready yet READY would be a lie."""
    if not supervisor.has_been_ready:
        return
    if is_on:
        now_us = time.monotonic_ns() // 1000
        notifier.send("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reloading the configuration")
    else:
        notifier.send("READY=1", f"STATUS=inspecting {supervisor.station.product}")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. Latency is from frame complete in the ring to event committed, interpolated from buckets."""

    triggers: int
    verdicts: dict[str, int]
    in_flight: int
    late: int
    capture_to_event_ms: dict[str, float | None]

    def __str__(self) -> str:
        kinds = " · ".join(f"{kind} {count}" for kind, count in self.verdicts.items())
        times = " ".join(f"{name} {ms} ms" for name, ms in self.capture_to_event_ms.items() if ms is not None)
        return (
            f"triggers {self.triggers} · {kinds} · in flight {self.in_flight} · late {self.late} · "
            f"frame to event {times or '-'}"
        )


def sum_up(page: Page) -> Summary:
    """Of this run, from the page that publish left behind."""
    totals: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    counts: list[float] = []
    bounds: tuple[float, ...] = ()
    for series, values in page.read():
        totals[series.metric.name] += int(values[0])
        if series.metric.name == "goldline_verdicts_total":
            verdicts[series.labels[1]] += int(values[0])
        elif series.metric.name == "goldline_capture_to_event_seconds":
            *filled, _sum = values
            bounds = series.metric.buckets
            counts = [a + b for a, b in zip(counts or [0.0] * len(filled), filled, strict=True)]
    quantiles = {f"p{share * 100:.0f}": vitals.quantile_s(counts, bounds, share) for share in (0.5, 0.99)}
    return Summary(
        triggers=totals["goldline_triggers_total"],
        verdicts=dict(verdicts),
        in_flight=totals["goldline_triggers_in_flight"],
        late=totals["goldline_deadline_missed_total"],
        capture_to_event_ms={name: None if s is None else round(s * 1e3, 1) for name, s in quantiles.items()},
    )
