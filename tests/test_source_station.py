"""A running station on pictures that come by themselves: a network stream that dies and hangs, and a watched folder."""

import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge import rehearsal
from edge.cameras import scene
from edge.rehearsal import Daemon
from tests.cameras.test_folder_watch import move_in
from tests.cameras.test_stream import Server
from tests.stations import SIZE, Listener, assert_each_answered_once, record, station

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PATIENCE_S = 60.0


def wait_for(daemon: Daemon, metric: str, value: float, **labels: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while daemon.total(metric, **labels) != value:
        assert time.monotonic() < until, f"{metric} does not become {value}: {daemon.metrics()}"
        time.sleep(0.05)


def draw_parts(folder: Path, count: int) -> None:
    """Good parts, but every third misses something."""
    folder.mkdir()
    generator = np.random.default_rng(5)
    for number in range(count):
        kind = scene.DEVIATIONS[0] if number % 3 == 2 else scene.GOOD
        rehearsal.write_picture(folder / f"{number:02}.png", scene.render(kind, generator, SIZE)[0])


def test_a_stream_that_dies_and_one_that_hangs_are_told_and_taken_up_again(taught: Path, tmp_path: Path) -> None:
    draw_parts(tmp_path / "parts", 9)
    with closing(Server(sys.executable, "mjpeg_server.py", "10", str(tmp_path / "parts"))) as server:
        url = f"http://inspector:secret@127.0.0.1:{server.port}/cam"
        config = station(taught, tmp_path, {"left": {"source": "stream", "url": url, "timeout_ms": 1500.0}})
        listener = Listener(config)
        with rehearsal.running(config) as daemon:
            listener.wait_for(10)
            for end, begin in ((server.lose, server.restore), (server.hang, server.resume)):
                end()
                wait_for(daemon, "goldline_camera_up", 0, camera="left")
                begin()
                wait_for(daemon, "goldline_camera_up", 1, camera="left")
                listener.wait_for(5)
            log = daemon.log.read_text()
    # Compressed parts look like none that was taught; that they are judged is what matters here.
    assert sum(event.data.score is not None for event in record(config)) >= 20
    assert_each_answered_once(config, listener)
    assert "secret" not in log


def test_each_file_that_is_put_into_a_watched_folder_gets_one_verdict(taught: Path, tmp_path: Path) -> None:
    draw_parts(tmp_path / "parts", 6)
    parts = [path.read_bytes() for path in sorted((tmp_path / "parts").iterdir())]
    (watched := tmp_path / "watched").mkdir()
    camera = {"source": "folder", "path": str(watched), "play": "watch", "rate_hz": 20.0}
    config = station(taught, tmp_path, {"left": camera})
    listener = Listener(config)
    with rehearsal.running(config):
        assert listener.joined.wait(PATIENCE_S), "the listener does not hear the station"
        for number, part in enumerate(parts):
            move_in(watched / f"{number}.png", part)
            listener.wait_for(1)
        (watched / "cut.png").write_bytes(parts[0][:-100])
        listener.wait_for(1)
    told = [event.data for event in record(config)]
    assert len(told) == 7 and all(it.score is not None and not it.is_simulated for it in told[:6])
    assert (told[2].verdict, told[5].verdict) == ("FAIL", "FAIL") and "PASS" in {it.verdict for it in told}
    assert (told[6].verdict, told[6].reason) == ("ERROR", "incomplete")
    assert_each_answered_once(config, listener)
