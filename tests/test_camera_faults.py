"""Cameras that die, hang or freeze under a running station: every trigger is answered, nothing old is judged.

The whole table, with times, is `benchmarks/camera_faults.py`; these are its shortest faults.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from camera_devices import frozen, killed, unplugged
from camera_station import Bench, assert_right, show_parts, station

from tests.needs import needs_file, needs_program, needs_root

pytestmark = pytest.mark.timeout(180)
RATE_HZ = 10.0
# Until something of a second is seen, on a machine that is busy with something else.
PATIENCE_S = 60.0


@pytest.fixture
def shown(taught: Path) -> Path:
    """The taught product, its parts to show, and what the machine must have."""
    needs_root()
    needs_program("ip", "iproute2")
    needs_program("nsenter", "util-linux")
    needs_program("arv-fake-gv-camera-0.8", "aravis-tools")
    needs_file("/usr/lib/*/libaravis-0.8.so.0", "libaravis-0.8-0")
    if not (taught / "shown").is_dir():
        show_parts(taught / "shown")
    return taught


def wait_for(condition: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def camera_states(bench: Bench) -> dict[str, str]:
    status, body = bench.daemon.get("/readyz")
    assert status == 200, "a station is ready without its cameras"
    return json.loads(body)["cameras"]


def verdicts_of(bench: Bench, camera: str) -> int:
    return bench.daemon.total("goldline_verdicts_total", camera=camera)


def test_a_camera_that_loses_its_power_does_not_stop_the_other_and_is_taken_in_again(
    shown: Path, tmp_path: Path
) -> None:
    cameras = {"stays": ("stock", "free"), "goes": ("stock", "software")}
    with station(shown, tmp_path / "station", cameras, RATE_HZ) as bench:
        with killed(bench.devices["goes"]):
            wait_for(lambda: not bench.is_up("goes"), "its loss is noticed")
            wait_for(lambda: camera_states(bench)["goes"] == "backoff", "it is asked for again")
            assert camera_states(bench)["stays"] == "streaming"
            before = verdicts_of(bench, "stays"), verdicts_of(bench, "goes")
            wait_for(lambda: verdicts_of(bench, "stays") > before[0] + 5, "the other judges on")
            wait_for(lambda: verdicts_of(bench, "goes") > before[1] + 5, "its triggers are answered at once")
        bench.listener.first_picture_ns("goes", time.time_ns())
        assert bench.daemon.total("goldline_worker_restarts_total") == 0
        assert_right(bench.books())
    assert {str(result.reason) for _, result in bench.listener.events} >= {"camera_down"}


def test_a_pulled_cable_is_noticed_while_the_camera_waits_for_a_trigger(shown: Path, tmp_path: Path) -> None:
    with station(shown, tmp_path / "station", {"line": ("stock", "software")}, 0.05) as bench:
        with unplugged(bench.devices["line"]):
            # Its next trigger is 20 s away.
            wait_for(lambda: not bench.is_up("line"), "its loss is noticed without a trigger")
            assert bench.daemon.total("goldline_triggers_total") <= 1
        wait_for(lambda: bench.is_up("line"), "it is taken in again")
        assert_right(bench.books())


def test_a_frozen_picture_is_never_judged(shown: Path, tmp_path: Path) -> None:
    with station(shown, tmp_path / "station", {"line": ("own", "free")}, RATE_HZ) as bench:
        bench.listener.first_picture_ns("line", time.time_ns())
        with frozen(bench.devices["line"]):
            began_ns = time.time_ns()
            wait_for(lambda: not bench.is_up("line"), "it is noticed")
            # Opened anew, it shows the same picture still.
            wait_for(lambda: bench.is_up("line"), "it is opened anew")
            wait_for(lambda: not bench.is_up("line"), "it is noticed again")
            ended_ns = time.time_ns()
        bench.listener.first_picture_ns("line", time.time_ns())
        assert bench.daemon.total("goldline_camera_reconnects_total", cause="frozen") >= 1
        assert_right(bench.books())
    # A picture that was on its way when it froze is a picture like any other.
    taken_in_it = [
        result
        for _, result in bench.listener.events
        if result.captured is not None and began_ns + 300_000_000 < result.captured.timestamp() * 1e9 < ended_ns
    ]
    assert all(result.verdict == "ERROR" for result in taken_in_it), taken_in_it
    assert {str(result.reason) for _, result in bench.listener.events} >= {"frozen"}
