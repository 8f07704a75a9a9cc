"""A camera whose library does not let it go: its process is ended, the ring is whole, the station goes on."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import rehearsal
from tests.stations import SIZE, assert_balanced, assert_each_answered_once, running, station

pytestmark = pytest.mark.timeout(180)
# The pause of a hanging teardown and a restart take five seconds; the machine may be busy.
PATIENCE_S = 60.0
# Read by Python before the worker's own code: once, while the file is there, `stop` does not come back.
HOOK = """
import sys, time
from pathlib import Path

if any(word.startswith("capture@") for word in sys.orig_argv):
    from edge.cameras.folder import FolderCamera

    stop, hanging = FolderCamera.stop, Path({hanging!r})

    def stop_or_hang(camera):
        if hanging.exists():
            hanging.unlink()
            time.sleep(600)
        stop(camera)

    FolderCamera.stop = stop_or_hang
"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def test_a_camera_that_cannot_be_let_go_costs_one_restart_and_no_answer(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, hanging, shown = tmp_path / "hook", tmp_path / "hanging", tmp_path / "shown"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK.format(hanging=str(hanging)))
    monkeypatch.setenv("PYTHONPATH", f"{hook}:{Path.cwd()}")
    rehearsal.draw_good_parts(shown, 3, SIZE, seed=2)
    camera = {"source": "folder", "path": str(shown), "rate_hz": 10.0}
    config = station(taught, tmp_path / "station", {"left": camera})
    with running(config) as (daemon, listener):
        listener.wait_for(3)
        hanging.touch()
        shown.rename(tmp_path / "away")
        wait_for(lambda: not daemon.total("goldline_camera_up"), "its loss is told before it is let go")
        assert not daemon.total("goldline_worker_restarts_total")
        wait_for(lambda: daemon.total("goldline_worker_restarts_total", cause="exit") == 1, "its process is ended")
        (tmp_path / "away").rename(shown)
        listener.wait_for(5)
        assert daemon.total("goldline_worker_restarts_total") == 1
        assert_balanced(daemon)
    assert_each_answered_once(config, listener)
