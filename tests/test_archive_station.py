"""Pictures kept by a whole station: what they show, what an event says of them, and that no verdict waits for them."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import archive_reader, client, rehearsal
from edge.archive_index import Wanted
from edge.archive_store import FOLDER
from edge.events import Event
from edge.rehearsal import Daemon
from tests.needs import needs_root
from tests.stations import (
    CHECKS,
    SIZE,
    TRIGGERED,
    Listener,
    assert_each_answered_once,
    record,
    running,
    station,
    write_recipe,
)

pytestmark = pytest.mark.timeout(300)
# In px of the golden picture.
REGION = (60, 50, 180, 120)
RECIPE = f'[[regions]]\nname = "part"\nbox = {list(REGION)}\n{CHECKS}'


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo product, of which only a part of the picture is inspected."""
    directory = tmp_path_factory.mktemp("framed")
    write_recipe(directory, RECIPE)
    rehearsal.draw_good_parts(directory / "good", 12, SIZE)
    config = rehearsal.write_config(directory, {"left": TRIGGERED})
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
    return directory


def keeping(taught: Path, directory: Path, **archive: object) -> Path:
    """A station that keeps the picture of every part."""
    config = station(taught, directory, {"left": TRIGGERED})
    rows = "".join(f"{key} = {json.dumps(value)}\n" for key, value in ({"share_of_pass": 1.0} | archive).items())
    config.write_text(f"{config.read_text()}\n[archive]\n{rows}")
    return config


def trigger(config: Path, listener: Listener, count: int) -> list[Event]:
    """One part after the other, each when the one before is answered; their events."""
    command = rehearsal.settings(config)["events"]["command"]
    before = len(listener.events)
    for number in range(count):
        answer = client.ask(
            command, {"verb": "trigger", "camera": "left", "unit_identifier": f"part-{before + number}"}
        )
        assert answer["accepted"], answer
        wait_until(lambda: len(listener.events) > before + number)  # noqa: B023 - called at once
    return listener.events[before:]


def wait_until(holds, timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def streaming(config: Path) -> Iterator[tuple[Daemon, Listener]]:
    """A running station whose camera is there."""
    with running(config) as (daemon, listener):
        wait_until(lambda: daemon.total("goldline_camera_up") == 1)
        yield daemon, listener


def written(daemon: Daemon) -> float:
    """Once nothing waits for the disk: how many pictures were written to it."""
    count = lambda name: daemon.total(f"goldline_pictures_{name}_total")  # noqa: E731
    lost = lambda: daemon.total("goldline_pictures_dropped_total", stage="archive")  # noqa: E731
    wait_until(lambda: count("written") + lost() == count("handed"))
    return count("written")


def dropped(daemon: Daemon, stage: str, reason: str) -> float:
    return daemon.total("goldline_pictures_dropped_total", stage=stage, reason=reason)


@pytest.fixture
def unmounted(tmp_path: Path) -> Iterator[Path]:
    """A place for a small disk; it is taken away whatever happens."""
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path / "state" / FOLDER], check=False, capture_output=True)


def test_an_event_has_the_hash_of_pixels_that_show_the_region_and_nothing_beside_it(
    framed: Path, tmp_path: Path
) -> None:
    config = keeping(framed, tmp_path)
    with streaming(config) as (daemon, listener):
        events: list[Event] = []
        for _ in range(6):
            # No more at once than the archive has slots for, however slow the machine is.
            events += trigger(config, listener, 4)
            written(daemon)
        assert written(daemon) == 24
        assert daemon.total("goldline_archive_pictures") == 24
        assert daemon.total("goldline_pictures_dropped_total") == 0
    assert {str(event.data.verdict) for event in events} == {"PASS", "FAIL"}
    for event in events:
        (row,) = archive_reader.find(tmp_path / "state", Wanted(text=str(event.data.trigger_id)))
        kept = archive_reader.read(tmp_path / "state", row)
        assert (kept.sidecar.sha256, kept.sidecar.unit_identifier) == (
            event.data.image_sha256,
            event.data.unit_identifier,
        )
        assert event.data.image_ref is not None
        decoded = cv2.imread(str(tmp_path / "state" / event.data.image_ref), cv2.IMREAD_UNCHANGED)
        assert (decoded.ravel() == kept.pixels).all()
        assert_shows_only_the_region(decoded, kept.sidecar.box, event)
        assert kept.map is not None
        levels = kept.map
        assert levels.shape == decoded.shape[:2]
        # A score is a mean of the worst cells: above a limit some cell is too.
        assert levels.max() >= kept.sidecar.map_review or event.data.verdict == "PASS"
    assert_each_answered_once(config, listener)
    assert_found_and_exported(config, events)


def assert_shows_only_the_region(picture: np.ndarray, box: tuple[int, int, int, int], event: Event) -> None:
    """Of a frame of 320 x 240: the region, as the part lies; around it not a pixel."""
    pose = event.data.pose
    assert pose is not None
    left, top, width, height = REGION
    centre = np.array([(SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2])
    corners = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]]) - 0.5
    angle = np.radians(pose.angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    region = ((corners - centre) @ turn.T + centre + [pose.dx_px, pose.dy_px]).astype(np.float32)
    assert box[2] * box[3] < 1.3 * width * height
    for row, column in np.argwhere(picture.any(2)):
        place = (float(box[0] + column), float(box[1] + row))
        assert cv2.pointPolygonTest(region, place, True) > -2.0, "a pixel that nobody inspects reached the disk"
    assert picture.any(2).sum() > 0.9 * width * height


def assert_found_and_exported(config: Path, events: list[Event]) -> None:
    """As a quality engineer does it."""
    failed = [event for event in events if event.data.verdict == "FAIL"]
    out = config.parent / "out"
    words = ["images", "export", "--verdict", "FAIL", "--since", "1h", "--out", out, "--json", "--config", config]
    done = json.loads(rehearsal.goldline(*words).stdout)
    assert len(done["written"]) == len(failed) and done["problems"] == []
    picture = cv2.imread(done["written"][0])
    assert picture.shape == (SIZE[1], SIZE[0], 3), "in its place in the camera's frame"
    assert len(list((out / "maps").iterdir())) == len(failed)
    unit = events[3].data.unit_identifier
    assert unit is not None
    listed = json.loads(rehearsal.goldline("images", "list", unit, "--json", "--config", config).stdout)
    assert [one["trigger_id"] for one in listed["images"]] == [events[3].data.trigger_id]
    assert rehearsal.goldline("images", "verify", "--config", config).returncode == 0
    ref = events[3].data.image_ref
    assert ref is not None
    path = config.parent / "state" / ref
    path.write_bytes(path.read_bytes()[:-20])
    done = rehearsal.goldline("images", "verify", "--config", config)
    assert done.returncode == 1 and path.name in done.stdout


def test_an_archive_that_hangs_or_dies_costs_pictures_and_no_verdict(taught: Path, tmp_path: Path) -> None:
    config = keeping(taught, tmp_path)
    with streaming(config) as (daemon, listener):
        assert all(event.data.image_sha256 for event in trigger(config, listener, 3))
        assert written(daemon) == 3
        hanging = daemon.workers()["archive"]
        os.kill(hanging, signal.SIGSTOP)
        events = trigger(config, listener, 20)
        assert all(event.data.on_time and event.data.verdict != "ERROR" for event in events)
        named = sum(event.data.image_sha256 is not None for event in events)
        assert named < 20 and dropped(daemon, "inspection", "full") == 20 - named
        os.kill(hanging, signal.SIGKILL)
        wait_until(lambda: daemon.workers().get("archive", hanging) != hanging)
        before = daemon.total("goldline_pictures_written_total")
        wait_until(lambda: trigger(config, listener, 1)[0].data.image_sha256 is not None)
        wait_until(lambda: daemon.total("goldline_pictures_written_total") > before)
        assert daemon.total("goldline_verdicts_total", verdict="ERROR") == 0
    assert_each_answered_once(config, listener)


def test_a_disk_that_refuses_costs_pictures_and_no_verdict(taught: Path, unmounted: Path) -> None:
    needs_root()
    config = keeping(taught, unmounted)
    disk = unmounted / "state" / FOLDER
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    with streaming(config) as (daemon, listener):
        for _ in range(10):
            trigger(config, listener, 4)
            written(daemon)
        # Smaller than what the bounds allow: the oldest give way.
        assert daemon.total("goldline_pictures_pruned_total") > 0
        assert written(daemon) == 40
        assert daemon.total("goldline_archive_failing") == 0
        events: list[Event] = []
        while dropped(daemon, "archive", "disk") + dropped(daemon, "archive", "full") == 0:
            # What the pictures give way to is taken as well.
            fill(disk / "somebody else's")
            events += trigger(config, listener, 2)
            written(daemon)
        assert all(event.data.on_time and event.data.verdict != "ERROR" for event in events)
        wait_until(lambda: daemon.total("goldline_archive_failing") == 1)
        (disk / "somebody else's").unlink()
        wait_until(lambda: daemon.total("goldline_archive_failing") == 0)
        before = daemon.total("goldline_pictures_written_total")
        trigger(config, listener, 1)
        wait_until(lambda: daemon.total("goldline_pictures_written_total") > before)
        assert daemon.total("goldline_worker_restarts_total") == 0
    assert len(record(config)) == 41 + len(events)
    assert_each_answered_once(config, listener)


def fill(path: Path) -> None:
    """Until the disk takes no more."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
