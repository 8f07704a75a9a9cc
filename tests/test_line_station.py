"""The station on a camera that the line fires by wire, and on one that takes each part in two lights, as a user runs it."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge import client, rehearsal
from edge.events import Event
from edge.rehearsal import Daemon
from tests.cameras.fake_bench import ToldCamera, told_camera
from tests.cameras.gige_bench import OWN, SPECIAL, network
from tests.stations import (
    CHECKS,
    RECIPE,
    Listener,
    assert_balanced,
    assert_each_answered_once,
    record,
    teach,
    write_recipe,
)

pytestmark = pytest.mark.timeout(300)
# Whatever happens takes seconds; a busy machine, ten times that.
PATIENCE_S = 120
SIZE = (160, 120)
CAMERA = {
    "source": "gige",
    "address": OWN,
    "packet_size_bytes": 9000,
    "receive_buffer_bytes": 4 << 20,
    "detect_frozen": False,
    "settling_frames": 0,
    "features": {"PixelFormat": "RGB8", "ExposureTime": 5000.0},
}
# Pulses 100 ms apart come from the line: later than that, and one deadline, they are answered whatever happened.
LINE = {"mode": "line", "counter": "Counter0", "deadline_ms": 5000.0}
# With a light, which the station switches between them; a line's burst, only the camera itself could.
SHOT = '[[cameras.left.shot]]\nname = "{}"\nrole = "{}"\n'
LIGHT = 'features = {{ "UserOutputValue[UserOutput0]" = {} }}\n'
VIEWS = ("left.bright", "left.dark")


@contextmanager
def station(
    directory: Path, trigger: dict[str, Any], roles: tuple[str, ...] = (), options: tuple[str, ...] = ()
) -> Iterator[tuple[Daemon, Listener, ToldCamera]]:
    """A station taught by good parts, judging the same ones; with roles, in two shots, by command in two lights."""
    shown = directory / "shown"
    rehearsal.draw_good_parts(shown, 12, SIZE)
    if not roles:
        write_recipe(directory, RECIPE, "part")
    else:
        rehearsal.draw_good_parts(directory / "dark", 12, SIZE, seed=2)
        write_recipe(directory, recipe(roles), "part")
        (directory / "good").mkdir()
        is_told = trigger["mode"] == "software"
        for role, pictures in zip(roles, ("shown", "dark" if is_told else "shown"), strict=True):
            (directory / "good" / role).symlink_to(directory / pictures)
        shots = zip(("bright", "dark"), roles, ("true", "false"), strict=True)
        tables = [SHOT.format(name, role) + LIGHT.format(light) * is_told for name, role, light in shots]
        options = ("--dark-folder", str(directory / "dark"), *options)
    config = rehearsal.write_config(directory, {"left": CAMERA | {"trigger": trigger}}, product="part")
    if roles:
        config.write_text(config.read_text() + "".join(tables))
    teach(config, "part", directory / ("good" if roles else "shown"))
    with (
        network(),
        told_camera(shown, OWN, directory / "served", *options) as camera,
        rehearsal.running(config) as daemon,
    ):
        listener = Listener(config)
        assert listener.joined.wait(PATIENCE_S)
        until(lambda: daemon.total("goldline_camera_up") == 1, daemon)
        yield daemon, listener, camera


def recipe(roles: tuple[str, ...]) -> str:
    """A region for each role, of the whole picture."""
    return "".join(f'[[regions]]\nname = "{role}-part"\ncamera = "{role}"\n{CHECKS}' for role in roles)


def until(condition: Callable[[], Any], daemon: Daemon) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, daemon.log.read_text()[-3000:]
        time.sleep(0.05)


def answered(listener: Listener, daemon: Daemon, count: int) -> list[Event]:
    """The first so many events; there are no more."""
    until(lambda: len(listener.events) >= count, daemon)
    assert_balanced(daemon)
    assert len(listener.events) == count, Counter(str(event.data.reason) for event in listener.events)
    return listener.events


def test_every_pulse_of_the_line_has_one_event_whatever_becomes_of_its_picture(tmp_path: Path) -> None:
    with station(tmp_path, LINE) as (daemon, listener, camera):
        camera.order("pulse 10 5")
        for event in answered(listener, daemon, 10):
            assert (event.data.trigger_source, str(event.data.verdict)) == ("line", "PASS")
            assert event.data.captured is not None and event.data.triggered is not None
            assert event.data.triggered < event.data.captured, "the part was there before its picture was"
        # Pictures that the network loses: the next that arrives tells of them.
        camera.order("lose 1000")
        camera.order("pulse 3 5")
        camera.order("lose 0")
        camera.order("pulse")
        reasons = [str(event.data.reason) for event in answered(listener, daemon, 14)]
        assert reasons[10:] == ["incomplete"] * 3 + ["None"]
        # Pulses faster than the camera: they are counted where the line is quiet, and told with the next picture.
        train = camera.order("pulse 12 500")
        assert train["missed"] > 0, train
        time.sleep(2.0)
        camera.order("pulse")
        told = [str(event.data.reason) for event in answered(listener, daemon, 27)[14:]]
        assert Counter(told) == {"None": 13 - train["missed"], "overrun": train["missed"]}
        assert daemon.total("goldline_triggers_total", camera="left") == 27
        assert daemon.stop() == 0
    assert_each_answered_once(tmp_path / "config.toml", listener)


@pytest.mark.parametrize("victim", ["capture@left", "inspection", "publish"])
def test_a_killed_worker_loses_no_pulse_that_was_promised(victim: str, tmp_path: Path) -> None:
    with station(tmp_path, LINE) as (daemon, listener, camera):
        camera.tell("pulse 60 12")
        until(lambda: len(listener.events) > 10, daemon)
        os.kill(daemon.workers()[victim], signal.SIGKILL)
        until(lambda: daemon.total("goldline_worker_restarts_total", worker=victim) == 1, daemon)
        until(camera.answers, daemon)
        until(lambda: daemon.total("goldline_camera_up") == 1, daemon)
        until(lambda: camera.order("pulse") and listener_passes(listener), daemon)
        until(lambda: daemon.total("goldline_triggers_in_flight") == 0, daemon)
        assert_balanced(daemon)
        opened = daemon.total("goldline_triggers_total", camera="left")
        if victim != "capture@left":
            sent = sum(answer["taken"] for answer in camera.answers())
            assert opened == sent, "the camera's process was there all the time"
        assert daemon.stop() == 0
    kept = record(tmp_path / "config.toml")
    assert len(kept) == opened
    reasons = {str(event.data.reason) for event in kept if event.data.verdict == "ERROR"}
    assert reasons <= {"worker_crash", "no_slot", "incomplete", "deadline"}, reasons
    assert_each_answered_once(tmp_path / "config.toml", listener)


def listener_passes(listener: Listener) -> bool:
    """Whether the newest event is a PASS."""
    time.sleep(0.5)
    return listener.events[-1].data.verdict == "PASS"


def test_a_part_is_seen_in_two_lights_by_one_trigger(tmp_path: Path) -> None:
    trigger = {"mode": "software", "deadline_ms": 5000.0}
    with station(tmp_path, trigger, ("lid", "rim"), ("--views", "2")) as (daemon, listener, camera):
        command = rehearsal.settings(daemon.config)["events"]["command"]
        for count in range(1, 13):
            assert client.ask(command, {"verb": "trigger", "camera": "left"})["accepted"]
            answered(listener, daemon, count)
        assert daemon.total("goldline_frames_judged_total", camera="left.dark") == 12
        assert daemon.stop() == 0
        assert [frame["light"] for frame in camera.served()] == [True, False] * 12
    for event in listener.events:
        assert (event.data.camera, list(event.data.views)) == ("left", list(VIEWS))
        assert str(event.data.verdict) == "PASS", event.data
        assert {name: check.camera for name, check in event.data.checks.items()} == {
            "lid-part.anomaly": "left.bright",
            "rim-part.anomaly": "left.dark",
        }
    assert_each_answered_once(tmp_path / "config.toml", listener)


def frames_of(event: Event) -> list[int | None]:
    return [view.frame_id for view in event.data.views.values()]


def test_a_pulse_gives_two_shots_once_it_is_known_which_is_the_first(tmp_path: Path) -> None:
    with station(tmp_path, LINE, ("lid", "rim"), ("--views", "2")) as (daemon, listener, camera):
        camera.order("pulse 8 2")
        until(lambda: len(listener.events) >= 8, daemon)
        assert_balanced(daemon)
        events = list(listener.events)
        assert [tuple(event.data.views) for event in events] == [VIEWS] * len(events)
        # Where the machine stands still between two shots they are not taken for those of one part, and it begins anew.
        reasons = [str(event.data.reason) for event in events]
        # A part that fails in one view is FAIL, whatever becomes of the other.
        assert set(reasons) == {"missing_view", "None"} and "PASS" not in {
            event.data.verdict for event in events if None in frames_of(event)
        }
        assert None in frames_of(events[0])
        frames = [frames_of(event) for event in events if None not in frames_of(event)]
        assert len(frames) >= 3
        assert all(dark == bright + 1 for bright, dark in frames), frames
        assert len({bright % 2 for bright, _ in frames}) == 1, frames
        assert daemon.stop() == 0
    assert_each_answered_once(tmp_path / "config.toml", listener)


def test_a_signal_to_two_cameras_makes_one_part_of_their_pictures_whoever_dies(tmp_path: Path) -> None:
    """Both cameras hear each pulse within milliseconds, or, where the machine is busy, are known not to have."""
    roles = ("top", "side")
    for seed, role in enumerate(roles, start=1):
        rehearsal.draw_good_parts(tmp_path / "good" / role, 12, SIZE, seed)
    write_recipe(tmp_path, recipe(roles), "part")
    cameras = {
        role: CAMERA | {"role": role, "address": address, "trigger": LINE}
        for role, address in zip(roles, (OWN, SPECIAL), strict=True)
    }
    config = rehearsal.write_config(tmp_path, cameras, product="part")
    config.write_text(config.read_text() + '[groups.box]\ncameras = ["top", "side"]\n')
    teach(config, "part", tmp_path / "good")
    with (
        network(),
        told_camera(tmp_path / "good" / "top", OWN, tmp_path / "top") as top,
        told_camera(tmp_path / "good" / "side", SPECIAL, tmp_path / "side") as side,
        rehearsal.running(config) as daemon,
    ):
        listener = Listener(config)
        assert listener.joined.wait(PATIENCE_S)
        until(lambda: daemon.total("goldline_camera_up") == 2, daemon)
        pulses = 0
        for victim in ("", "capture@side", "publish", "capture@top", "inspection"):
            if victim:
                os.kill(daemon.workers()[victim], signal.SIGKILL)
                until(lambda name=victim: daemon.total("goldline_worker_restarts_total", worker=name) == 1, daemon)
                until(lambda: daemon.get("/readyz")[0] == 200, daemon)
                until(lambda: daemon.total("goldline_camera_up") == 2, daemon)
            wanted = len(passed(config)) + 3
            while len(passed(config)) < wanted:
                # Each stands alone, so that a pulse that the two were told of too far apart costs no other.
                time.sleep(0.7)
                for wire in (top, side):
                    wire.tell("pulse")
                pulses += 1
                until(lambda count=pulses: len(record(config)) >= count, daemon)
                assert pulses < 80, Counter(str(event.data.reason) for event in record(config))
        assert_balanced(daemon)
        assert daemon.total("goldline_triggers_total", camera="box") == pulses
        assert daemon.stop() == 0
    for event in record(config):
        assert (event.data.camera, event.data.trigger_source, tuple(event.data.views)) == ("box", "line", roles)
        assert event.data.views["top"].verdict == "PASS"
    for event in passed(config):
        # Both cameras took one picture for each pulse: they are of one part where they have the same number.
        assert len({view.frame_id for view in event.data.views.values()}) == 1
    assert {str(event.data.reason) for event in record(config)} <= {"None", "missing_view"}
    assert_each_answered_once(config, listener)


def passed(config: Path) -> list[Event]:
    return [event for event in record(config) if event.data.verdict == "PASS"]
