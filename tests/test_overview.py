"""`goldline status` and `goldline top`: what they say of a station that works, that suffers, and that is not there."""

import argparse
import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge import rehearsal
from edge.commands import top
from edge.config import Station
from edge.errors import GoldlineError
from edge.overview.attention import attention
from edge.overview.look import Look
from edge.overview.report import Answers, Overview, overview, quantile
from edge.overview.scraped import Counted, read_metrics, read_readiness
from edge.overview.screen import screen
from edge.rehearsal import Daemon
from tests.stations import CAMERA, TRIGGERED, station

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def daemon(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Two cameras: one free-running, with one part in five wrong; one triggered."""
    config = station(
        taught, tmp_path_factory.mktemp("overview"), {"left": CAMERA | {"deviation_rate": 0.2}, "box": TRIGGERED}
    )
    with rehearsal.running(config) as running:
        yield running


def goldline(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )


def status(config: Path) -> tuple[int, dict[str, Any]]:
    done = goldline("status", "--json", "--config", config)
    assert not done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def until_status(config: Path, wanted: str) -> dict[str, Any]:
    """The first overview whose attention says so."""
    until = time.monotonic() + PATIENCE_S
    while True:
        code, shown = status(config)
        if any(wanted in one for one in shown["attention"]):
            assert code == 1
            return shown
        assert time.monotonic() < until, shown["attention"]


def test_a_station_that_works_is_shown_as_it_counts(daemon):
    until = time.monotonic() + PATIENCE_S
    while True:
        code, shown = status(daemon.config)
        if shown["answers"]["left"]["verdicts"]["FAIL"]:
            break
        assert time.monotonic() < until, shown
    assert (code, shown["attention"], shown["unheard"], shown["is_running"]) == (0, [], [], True)
    left = shown["answers"]["left"]
    assert left["triggers"] == sum(left["verdicts"].values()) + left["in_flight"] > 0
    assert 0 < left["quantiles_ms"]["p50"] <= left["quantiles_ms"]["p99"]
    assert left["deadline_ms"] == 1000.0
    assert shown["answers"]["box"]["triggers"] == 0
    assert {camera["state"] for camera in shown["cameras"].values()} == {"streaming"}
    assert {name: worker["pid"] for name, worker in shown["workers"].items()} == daemon.workers()
    assert all(worker["resident_bytes"] > 1 << 20 for worker in shown["workers"].values())
    assert shown["record"]["head"] >= left["triggers"] - left["in_flight"] - 50
    assert shown["rejected"][0]["data"]["verdict"] == "FAIL"
    assert shown["job"]["product"] == rehearsal.PRODUCT


def test_the_screen_says_the_same_in_words(daemon):
    done = goldline("status", "--config", daemon.config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all is well" in done.stdout
    assert all(word in done.stdout for word in ("station rehearsal", "left", "box", "inspection", "record: events"))


def test_top_has_rates_from_its_second_look_on(daemon):
    done = goldline("top", "--json", "--looks", "3", "--every", "1", "--config", daemon.config)
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["over_s"] is None for one in looks] == [True, False, False]
    assert looks[0]["answers"]["left"]["per_minute"] is None
    # The camera takes 25 pictures a second.
    assert 0 < looks[2]["answers"]["left"]["per_minute"] < 25 * 60 * 2
    assert looks[2]["cameras"]["left"]["frames_per_second"] > 0
    assert looks[2]["answers"]["box"]["per_minute"] == 0
    piped = goldline("top", "--looks", "2", "--every", "0.2", "--config", daemon.config)
    assert piped.stdout.count("station rehearsal") == 2, "each look, where nothing can be written over"


def test_a_process_that_died_and_one_that_hangs_are_named(daemon):
    os.kill(daemon.workers()["publish"], signal.SIGSTOP)
    shown = until_status(daemon.config, "publish does not answer")
    assert any("no answer within" in one for one in shown["unheard"])
    until = time.monotonic() + PATIENCE_S
    while status(daemon.config)[0] != 0:  # the supervisor has killed it, and started another
        assert time.monotonic() < until
    _, shown = status(daemon.config)
    assert sum(shown["workers"]["publish"]["restarts"].values()) == 1


def test_a_file_that_was_changed_and_not_made_live_is_named(daemon):
    text = daemon.config.read_text()
    changed = text.replace('format = "json"', 'format = "json"\nlevel = "warning"')
    assert changed != text
    daemon.config.write_text(changed)
    until_status(daemon.config, "has changed (1 keys)")
    daemon.config.write_text(text)
    assert status(daemon.config)[1]["attention"] == []


def test_a_station_that_does_not_run_shows_what_it_left_behind(taught, tmp_path):
    config = station(taught, tmp_path, {"left": CAMERA})
    code, shown = status(config)
    assert (code, shown["attention"], shown["is_running"]) == (1, ["the station does not run"], False)
    assert shown["unheard"] == [f"{tmp_path}/state/outbox.sqlite3: there is no outbox yet"]
    with rehearsal.running(config) as running:
        until = time.monotonic() + PATIENCE_S
        while not running.total("goldline_events_written_total"):
            assert time.monotonic() < until
            time.sleep(0.05)
    code, shown = status(config)
    assert code == 1
    assert shown["record"]["head"] > 0
    assert "the station does not run" in goldline("status", "--config", config).stdout


def test_a_wrong_configuration_and_a_wrong_pace_are_refused(tmp_path, daemon):
    (tmp_path / "config.toml").write_text("station = 1\n")
    for command in ("status", "top"):
        done = goldline(command, "--config", tmp_path / "config.toml")
        assert (done.returncode, done.stdout) == (2, "")
        assert "station" in done.stderr
    done = goldline("top", "--every", "0", "--config", daemon.config)
    assert (done.returncode, done.stderr) == (2, "goldline: --every must be from 0.2 to 3600 s, --looks at least 1\n")
    forever = argparse.Namespace(config=daemon.config, every=1e12, looks=2, json=True)
    with pytest.raises(GoldlineError, match="--every must be"):
        top.run(forever)


NO_PAGES = [b"\xff\xfe\x00", b"# TYPE x counter\nx{ 1\n", b"node_load1 0.5\n", b"[1, 2]", b"{" * 100_000, b""]


@pytest.mark.parametrize("body", NO_PAGES)
def test_what_is_no_station_s_page_is_said_so(body):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = "127.0.0.1", server.server_address[1]
        with pytest.raises(GoldlineError, match="is no answer of a station"):
            read_readiness(host, port)
        with pytest.raises(GoldlineError, match=r"is no .*page of metrics"):
            read_metrics(host, port)
        server.shutdown()


BUCKETS = st.lists(st.tuples(st.floats(0.001, 10), st.integers(0, 50)), min_size=1, max_size=12)


@given(BUCKETS, st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_that_holds_it(counts, share):
    bounds = sorted({bound for bound, _ in counts})
    cumulated, total = {}, 0
    for bound, (_, count) in zip([*bounds, math.inf], [*counts, (0.0, 3)], strict=False):
        total += count
        cumulated[bound] = float(total)
    cumulated[math.inf] = float(total)
    found = quantile(cumulated, share)
    if total == 0:
        assert found is None
        return
    assert found is not None
    for low, high in pairwise([0.0, *cumulated]):
        if cumulated[high] >= share * total and cumulated[high] > cumulated.get(low, 0.0):
            assert low <= found <= (high if high < math.inf else low)
            return


def a_look(page: str, readiness: dict[str, Any] | None) -> Look:
    return Look(1.0, True, Counted.parsed(page), readiness, None, None, None, ())


def test_a_page_without_the_processes_is_not_well():
    told = attention(a_look("goldline_fleet_connected 0\n", None))
    assert any("does not say how its processes" in one for one in told)
    assert any("fleet's server" in one for one in told)


def test_frames_that_inspection_drops_are_their_cameras_whichever_shot_they_are():
    shots = [{"name": name, "role": name} for name in ("dark", "bright")]
    camera = {"source": "gige", "address": "cam1", "trigger": {"mode": "software"}, "shot": shots}
    page = "".join(
        f'goldline_frames_dropped_total{{camera="{view}",stage="{stage}",reason="{reason}"}} {count}\n'
        for view, stage, reason, count in (
            ("top", "capture", "overrun", 3),
            ("top.dark", "inspection", "deadline", 4),
            ("top.bright", "inspection", "deadline", 5),
            ("topmost", "capture", "overrun", 7),
        )
    )
    shown = overview(Station(cameras={"top": camera}), a_look(page, {}))  # pyright: ignore[reportArgumentType]
    assert shown.cameras["top"].dropped == {"deadline": 9, "overrun": 3}


def test_a_terminal_of_80_columns_shows_the_counts_of_weeks_whole():
    counts = {"PASS": 14_820_987, "FAIL": 302_469, "ERROR": 123}
    one = Answers(
        triggers=15_123_579, verdicts=counts, review=4321, errors={"camera_down": 100, "deadline": 23}, late=17,
        in_flight=2, per_minute=1499.7, quantiles_ms={"p50": 20.9, "p99": 356.6}, deadline_ms=1000.0,
    )  # fmt: skip
    shown = Overview(
        station="line-7", is_running=True, version=None, started=None, state=None, job=None, attention=(), over_s=60.0,
        answers={"left-top": one},
    )  # fmt: skip
    terminal = Console(width=80, highlight=False, file=io.StringIO())
    terminal.print(screen(shown))
    (row,) = [line for line in terminal.file.getvalue().splitlines() if line.startswith("left-top")]
    wanted = ["left-top", "1499.7", "14820987", "302469", "4321", "123", "17", "2", "20.9", "356.6", "1000"]
    assert row.split() == wanted
    assert "camera_down 100, deadline 23" in terminal.file.getvalue()


def test_counts_are_summed_by_label():
    counted = Counted.parsed(
        '# TYPE a counter\na_total{x="1",y="2"} 3\na_total{x="1",y="3"} 4\na_total{x="2",y="3"} 5\n'
    )
    assert counted.sum("a_total", x="1") == 7
    assert counted.by("a_total", "y") == {"2": 3, "3": 9}
    assert "b" not in counted
    assert counted.buckets("a") == {}
