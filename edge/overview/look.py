"""One look at a station: every source asked once, each within its time, and who did not answer named.

The truth has four sources: the supervisor's page (processes, cameras, counts), the command socket (job and alarms), the
outbox's file (consumers, rejected parts), the supervisor's control socket (does what runs still match the file?). The
lock in the runtime directory says whether there is a station at all. A look costs it one scrape and two questions.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from edge.addresses import reached
from edge.client import ask
from edge.config import Station, runtime_directory
from edge.errors import GoldlineError
from edge.keys import keys_for
from edge.orders import StationState
from edge.overview.record import Record, read_record
from edge.overview.scraped import Counted, read_metrics, read_readiness
from edge.running import is_station_running
from edge.station_control import Status, status

# Each answers in milliseconds; one that is being restarted is not waited for.
ANSWER_WITHIN_S = 1.5

T = TypeVar("T")


class Look(NamedTuple):
    """What each source said at `at_s` (CLOCK_MONOTONIC); None for one that did not, and a line for it in `unheard`."""

    at_s: float
    is_running: bool | None
    counted: Counted | None
    readiness: dict[str, Any] | None
    state: StationState | None
    control: Status | None
    record: Record | None
    unheard: tuple[str, ...]


def look(station: Station) -> Look:
    """Ask them all."""
    unheard: list[str] = []
    page = station.metrics.host, station.metrics.port
    runtime = runtime_directory(station)
    is_running = is_station_running(runtime)
    counted = readiness = state = control = None
    # A page at that port without a station on this configuration is somebody else's.
    if is_running is not False:
        counted = _tried(unheard, lambda: read_metrics(*page))
        readiness = _tried(unheard, lambda: read_readiness(*page)) if counted else None
        state = _tried(unheard, lambda: _state(station))
        control = _tried(unheard, lambda: status(runtime, ANSWER_WITHIN_S))
    record = _tried(unheard, lambda: read_record(station.state_dir))
    return Look(time.monotonic(), is_running, counted, readiness, state, control, record, tuple(unheard))


def _tried(unheard: list[str], ask_one: Callable[[], T]) -> T | None:
    try:
        return ask_one()
    except GoldlineError as problem:
        unheard.append(str(problem))
        return None


def _state(station: Station) -> StationState:
    address = reached(station.events.command)
    answer = ask(address, {"verb": "state"}, ANSWER_WITHIN_S, keys=keys_for(station, "orders", None))
    try:
        return msgspec.convert(answer, StationState)
    except msgspec.ValidationError as problem:
        raise GoldlineError(f"{address}: what answers there is no station: {problem}") from None
