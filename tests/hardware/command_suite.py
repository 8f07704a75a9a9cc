"""`goldline camera` and `goldline doctor` on the kernel's own cameras. Run by `vivid.sh`, in its virtual machine."""

import contextlib
import io
import json
import sys
from pathlib import Path

import cv2
import pytest

from edge.__main__ import main
from edge.config import load_station
from edge.doctor.cameras import video_access
from edge.doctor.finding import Machine, Person, Status
from tests.hardware.vivid_bench import DIRECT, SMALL, opened

STATION = f"""
[cameras.side]
source = "v4l2"
device = "{DIRECT}"
width = {SMALL["width"]}
height = {SMALL["height"]}
pixel_format = "GREY"
controls = {{ brightness = 100 }}
"""


@pytest.fixture
def config(tmp_path: Path, restored_logging: None) -> Path:
    (tmp_path / "config.toml").write_text(STATION)
    return tmp_path / "config.toml"


def goldline(config: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr. In this process: starting another takes seconds where the processor is emulated."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["goldline", *words, "--config", str(config)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main()
    finally:
        sys.argv = before
    return code, out.getvalue(), err.getvalue()


def told(config: Path, *words: str) -> dict[str, object]:
    code, out, err = goldline(config, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_list_finds_the_cameras_and_says_whether_they_are_free(config: Path) -> None:
    listed = told(config, "camera", "list")
    assert [(one["name"], one["state"]) for one in listed["configured"]] == [("side", "reachable")]
    found = [one for one in listed["found"] if one["source"] == "v4l2"]
    assert len(found) == 2 and not any(one["is_busy"] for one in found)


def test_info_takes_a_device_as_it_was_left(config: Path) -> None:
    with opened():
        pass  # leaves it small and grey
    info = told(config, "camera", "info", str(DIRECT))
    assert (info["width"], info["height"], info["pixel_format"]) == (SMALL["width"], SMALL["height"], "Mono8")
    brightness = next(feature for feature in info["features"] if feature["name"] == "brightness")
    assert (brightness["lowest"], brightness["highest"], brightness["is_writable"]) == (0, 255, True)


def test_set_writes_a_control_and_prints_the_line_that_keeps_it(config: Path) -> None:
    code, out, _err = goldline(config, "camera", "set", "side", "brightness=77")
    assert (code, out.splitlines()[0], out.splitlines()[-1]) == (
        0,
        "brightness is 77",
        "controls = { brightness = 77 }",
    )
    code, _out, err = goldline(config, "camera", "set", "side", "brightness=999")
    assert code == 2 and "999" in err and err.count("\n") == 1


def test_snap_saves_a_picture(config: Path, tmp_path: Path) -> None:
    code, out, err = goldline(config, "camera", "snap", "side", "--out", str(tmp_path / "a.png"))
    assert code == 0, err
    assert "320 x 180 px Mono8" in out
    assert cv2.imread(str(tmp_path / "a.png")).shape == (180, 320, 3)
    assert goldline(config, "camera", "snap", "side", "--out", str(tmp_path / "a.raw"))[0] == 0
    assert (tmp_path / "a.raw").stat().st_size == 180 * 320


def test_watch_reads_it(config: Path) -> None:
    code, out, err = goldline(config, "camera", "watch", "side", "--seconds", "2", "--json")
    assert code == 0, err
    last = json.loads(out.splitlines()[-1])
    assert last["focus_best"] > 0 and last["frames"] > 2


def test_a_camera_in_use_is_one_line(config: Path) -> None:
    with opened():
        code, _out, err = goldline(config, "camera", "watch", "side")
        assert (code, err.count("\n")) == (2, 1)
        states = told(config, "camera", "list")["found"]
        assert {one["name"]: one["is_busy"] for one in states if one["source"] == "v4l2"}[DIRECT.name] is True


@pytest.mark.parametrize(("mode", "status"), [(0o600, Status.BAD), (0o660, Status.BAD), (0o666, Status.OK)])
def test_doctor_knows_who_may_use_the_device(config: Path, mode: int, status: Status) -> None:
    somebody = Machine(person=Person(name="somebody", uid=4711, groups=frozenset({4711})))
    before = DIRECT.stat().st_mode
    DIRECT.chmod(mode)
    try:
        (found,) = video_access(load_station(config).cameras, somebody)
        assert found.status is status
    finally:
        DIRECT.chmod(before)
