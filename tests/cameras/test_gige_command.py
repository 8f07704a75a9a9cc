"""`goldline camera` with GigE Vision cameras over a real network: found, held, set, looked at, lost."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge.camera_config import GigeCamera
from edge.cameras.discovery import discover, state_of
from edge.config import load_station
from tests.camera_words import ROOT, STATION, command, readings, refused, said
from tests.cameras.gige_bench import OWN, STOCK, gige, own_camera, process, settings, write_pictures
from tests.needs import needs_program


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(STATION)
    return tmp_path / "config.toml"


def test_list_tells_configured_and_found_cameras_and_whether_they_are_free(config, stock) -> None:
    told = json.loads(said(config, "list", "--json"))
    states = {one["name"]: (one["state"], one["address"]) for one in told["configured"]}
    assert states == {"trunk": ("reachable", ""), "asked": ("reachable", ""), "top": ("reachable", STOCK)}
    (found,) = [one for one in told["found"] if one["source"] == "gige"]
    assert (found["address"], found["serial"], found["is_busy"]) == (STOCK, f"ST{STOCK[-1]}", False)
    plain = said(config, "list")
    assert "top" in plain and f"ST{STOCK[-1]}" in plain


def test_a_library_that_is_missing_is_a_line(config, stock) -> None:
    """An empty file stands for a library that is not there."""
    (library,) = Path("/usr/lib").glob("*/libaravis-0.8.so.0")
    with config.open("a") as file:
        file.write('[cameras.other]\nsource = "gentl"\nproducer = "/nowhere/maker.cti"\n')
    hidden = f"mount --bind /dev/null {library} && exec {shlex.join(command(config, 'list', '--json'))}"
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden], capture_output=True, text=True, check=True, cwd=ROOT
    )
    notes = {note.partition(":")[0]: note for note in json.loads(ran.stdout)["notes"]}
    assert "install the Debian package libaravis-0.8-0" in notes["gige"]
    assert "/nowhere/maker.cti" in notes["gentl"] or "goldline[gentl]" in notes["gentl"]
    assert len(json.loads(ran.stdout)["configured"]) == 4


def test_states_of_cameras_that_are_held_or_away(config, stock) -> None:
    cameras = load_station(config).cameras
    by_serial = GigeCamera(source="gige", address=f"ST{STOCK[-1]}")
    holder = gige(settings(stock))
    holder.open()
    try:
        found = discover(cameras).found
        assert state_of("top", cameras["top"], found).state == "busy"
        assert state_of("top", by_serial, found).state == "busy"
    finally:
        holder.close()
    found = discover(cameras).found
    assert state_of("top", by_serial, found).state == "reachable"
    assert state_of("top", GigeCamera(source="gige", address="other"), found).state == "absent"


def test_a_camera_that_another_program_has_is_one_line(config, stock) -> None:
    holder = gige(settings(stock))
    holder.open()
    try:
        line = refused(config, "snap", stock, "--out", "x.png")
    finally:
        holder.close()
    assert line == f"camera {stock}: another program controls {stock}"


def test_a_running_station_is_named_as_the_one_that_has_it(config, stock, tmp_path) -> None:
    import fcntl

    (tmp_path / "state" / "run").mkdir(parents=True)
    holder = gige(settings(stock))
    holder.open()
    try:
        with open(tmp_path / "state" / "run" / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            line = refused(config, "watch", stock)
    finally:
        holder.close()
    assert line.endswith("; the station that runs here holds its cameras: stop it first")


def test_info_reads_features_by_category(config, stock) -> None:
    told = json.loads(said(config, "info", stock, "--json"))
    features = {feature["name"]: feature for feature in told["features"]}
    assert told["source"] == "gige" and told["serial"] == f"ST{STOCK[-1]}"
    assert features["Width"]["value"] == told["width"] and features["Width"]["is_writable"]
    assert "Mono8" in features["PixelFormat"]["entries"]
    assert features["Width"]["path"]
    (line,) = [line for line in said(config, "info", stock, "Width").splitlines() if line.startswith("rw ")]
    assert "Width" in line and f"= {told['width']}" in line


def test_set_writes_reads_back_and_prints_the_line_that_keeps_it(config, stock) -> None:
    told = said(config, "set", stock, "Width=256", "GainRaw=2").splitlines()
    assert told[:2] == ["Width is 256", "GainRaw is 2"]
    assert told[-1] == "features = { Width = 256, GainRaw = 2 }"
    assert "10" in refused(config, "set", stock, "GainRaw=11")
    assert "Widht: the camera has no feature of that name; it has Width" in refused(config, "set", stock, "Widht=3")


def test_snap_asks_a_gige_camera_for_a_shot(config, stock, tmp_path) -> None:
    means = {}
    for shot in ("bright", "dark"):
        said(config, "snap", "top", "--shot", shot, "--set", "Width=128", "--out", str(tmp_path / f"{shot}.png"))
        means[shot] = cv2.imread(str(tmp_path / f"{shot}.png"))
        assert means[shot].shape[1] == 128


def test_watch_follows_a_camera_and_sees_what_gets_lost(config, tmp_path_factory, stock) -> None:
    folder = tmp_path_factory.mktemp("own")
    write_pictures(folder, count=2)
    with own_camera(folder, OWN, folder / "stdout", "--rate", "50"):
        well = readings(config, OWN, "--seconds", "2")
    # A machine that is busy with something else slows the camera, which is a process like others.
    assert 5 < well[-1]["rate_hz"] < 60
    assert well[-1]["incomplete"] == 0
    # A dozen packets a picture: a fifth of the pictures lack one.
    with own_camera(folder, OWN, folder / "stdout", "--rate", "50", "--loss-per-thousand", "20"):
        lossy = readings(config, OWN, "--seconds", "2")
    assert lossy[-1]["incomplete"] > 0
    assert any("pictures come incomplete: see goldline doctor" in line["hints"] for line in lossy)


def test_watch_counts_the_pulses_of_a_line(tmp_path, tmp_path_factory, stock) -> None:
    folder = tmp_path_factory.mktemp("line")
    write_pictures(folder, count=2)
    config = tmp_path / "config.toml"
    trigger = 'trigger = { mode = "line", source = "Line0" }'
    config.write_text(f'[cameras.belt]\nsource = "gige"\naddress = "{OWN}"\n{trigger}')
    words = ["--folder", str(folder), "--interface", OWN, "--pulse-hz", "10"]
    with process([sys.executable, "-m", "edge", "camera", "fake", *words], OWN, folder / "stdout"):
        told = readings(config, "belt", "--seconds", "3")
        assert 1 < told[-1]["rate_hz"] < 13
        said(config, "snap", "belt", "--out", str(tmp_path / "pulse.png"))


def test_a_camera_that_goes_away_while_it_is_watched_is_told(config, tmp_path_factory, stock) -> None:
    folder = tmp_path_factory.mktemp("gone")
    write_pictures(folder, count=2)
    with own_camera(folder, OWN, folder / "stdout", "--rate", "20") as camera:
        watching = subprocess.Popen(
            command(config, "watch", OWN, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["frames"] >= 0
        camera.kill()
        _told, problem = watching.communicate(timeout=60)
    assert watching.returncode == 2
    assert problem.count("\n") == 1 and f"camera {OWN}: " in problem, problem


def test_what_a_camera_logs_does_not_mix_with_the_answer(tmp_path, stock) -> None:
    setpriv = needs_program("setpriv", "util-linux")
    config = tmp_path / "config.toml"
    config.write_text(f'[cameras.top]\nsource = "gige"\naddress = "{stock}"\nreceive_buffer_bytes = {1 << 30}')
    words = command(config, "snap", "top", "--json", "--out", str(tmp_path / "a.png"))
    without = [str(setpriv), "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", *words]
    ran = subprocess.run(without, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(ran.stdout)["file"] == str(tmp_path / "a.png")
    assert "the receive buffer is smaller than asked for" in ran.stderr
