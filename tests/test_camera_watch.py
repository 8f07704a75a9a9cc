"""`goldline camera watch`: readings of known pictures, on a terminal and for programs."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.commands import camera_watch
from edge.mounting import Counts, Mounting
from tests.camera_words import ROOT, STATION, command, readings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(STATION)
    return tmp_path / "config.toml"


def test_watch_reads_the_simulated_camera(config) -> None:
    told = readings(config, "trunk", "--seconds", "2")
    assert len(told) >= 2
    last = told[-1]
    assert last["focus_best"] >= last["focus"] > 0
    assert 0 < last["mean"] < 255
    assert sum(last["histogram"]) == 320 * 240
    assert last["frames"] > 5 and last["rate_hz"] == pytest.approx(20, rel=0.3)


def test_watch_triggers_what_waits_for_triggers(config) -> None:
    assert readings(config, "asked", "--seconds", "1")[-1]["frames"] > 1
    # Freely it runs at its own rate.
    assert readings(config, "asked", "--free", "--seconds", "2")[-1]["rate_hz"] == pytest.approx(5, rel=0.3)


def test_watch_measures_the_region_alone(config, tmp_path) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 48:] = 200
    assert cv2.imwrite(str(tmp_path / "half.png"), picture)
    (only,) = {line["mean"] for line in readings(config, str(tmp_path), "--region", "48,0,48,64", "--seconds", "1")}
    assert only == 200


def test_ctrl_c_ends_watching_in_order(config) -> None:
    watching = subprocess.Popen(command(config, "watch", "trunk", "--json"), stdout=subprocess.PIPE, cwd=ROOT)
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 0
    watching.stdout.close()


def test_on_a_terminal_watch_draws_and_draws_again(config) -> None:
    here, there = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    watching = subprocess.Popen(
        command(config, "watch", "trunk", "--seconds", "2"), stdout=there, stderr=there, cwd=ROOT, env=environment
    )
    os.close(there)
    drawn = b""
    try:
        while chunk := os.read(here, 65_536):
            drawn += chunk
    except OSError:  # the other end has gone
        pass
    os.close(here)
    text = drawn.decode()
    assert watching.wait(60) == 0
    assert text.count("focus ") >= 2 and "histogram" in text and "of the best" in text
    assert "\x1b[" in text


def test_a_reading_is_told_in_a_few_lines() -> None:
    generator = np.random.default_rng(1)
    picture = generator.integers(0, 256, (40, 60, 3), np.uint8)
    mounting = Mounting(0)
    for frame_id in range(5):
        mounting.saw(frame_id * 2, frame_id * 100_000_000)
    mounting.look(picture, Counts(frames=5), 400_000_000)
    blurred = cv2.GaussianBlur(picture, (0, 0), 2)
    reading = mounting.look(blurred, Counts(frames=9, incomplete=1, lost=2), 500_000_000)
    assert reading.rate_hz == pytest.approx(20)
    lines = camera_watch.display(reading)
    assert "░" in lines[0] and "% of the best" in lines[0]
    assert "pictures   20.0 a second, 9 taken, 2 lost, 1 incomplete" in lines
    assert "! pictures come incomplete: see goldline doctor" in lines
    assert "! pictures get lost: see goldline doctor" in lines
    assert any("of the best seen: turn the ring back" in line for line in lines)
    assert json.loads(camera_watch.as_line(reading))["lost"] == 2


def test_silence_has_no_rate() -> None:
    mounting = Mounting(0)
    for frame_id in range(1, 40):
        mounting.saw(frame_id, frame_id * 50_000_000)
    assert mounting.look(None, Counts(frames=39), 2_000_000_000).rate_hz == pytest.approx(20)
    assert mounting.look(None, Counts(frames=39), 5_000_000_000).rate_hz is None


def test_silence_is_told() -> None:
    mounting = Mounting(0)
    assert mounting.look(None, Counts(), 1_900_000_000).hints == ()
    reading = mounting.look(None, Counts(), 3_000_000_000)
    assert camera_watch.display(reading) == [
        "pictures   - a second, 0 taken, 0 lost, 0 incomplete",
        "! no picture for 3 s",
    ]
    assert json.loads(camera_watch.as_line(reading))["focus"] is None


def test_a_histogram_is_as_tall_as_its_counts() -> None:
    assert camera_watch.histogram((0, 1, 50, 100)) == " ▁▄█"
    assert camera_watch.histogram((0, 0)) == "  "
