"""Two cameras that see one part, as a user runs them: a part has one verdict over both, whichever process dies."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from edge import client, rehearsal
from edge.rehearsal import Daemon
from tests.stations import (
    CHECKS,
    SIZE,
    Listener,
    assert_balanced,
    assert_each_answered_once,
    record,
    running,
    station,
    write_recipe,
)

pytestmark = pytest.mark.timeout(300)

VIEWS = ("top", "side")
TRIGGER = {"mode": "software", "deadline_ms": 2000.0, "queue_depth": 8}
# A station comes back in seconds; on a busy machine, ten times that.
PATIENCE_S = 120
CAMERAS = {
    name: {
        "source": "simulated", "role": name, "width": SIZE[0], "height": SIZE[1], "rate_hz": 25.0, "prerendered": 40,
        "seed": seed, "trigger": TRIGGER,
    }
    for seed, name in enumerate(VIEWS)
}  # fmt: skip
RECIPE = "".join(f'[[regions]]\nname = "{name}-part"\ncamera = "{name}"\n{CHECKS}' for name in VIEWS)
PARTS = 40


@pytest.fixture(scope="module")
def taught_box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a product of two views, taught from a dozen pictures of each."""
    directory = tmp_path_factory.mktemp("taught-box")
    for seed, name in enumerate(VIEWS, start=1):
        rehearsal.draw_good_parts(directory / "good" / name, 12, SIZE, seed)
    write_recipe(directory, RECIPE)
    config = rehearsal.write_config(directory, CAMERAS)
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
    return directory


def box(taught: Path, directory: Path, *, deadline_ms: float = 2000.0, **group: float) -> Path:
    """A station with the two cameras as group `box`."""
    trigger = TRIGGER | {"deadline_ms": deadline_ms}
    config = station(taught, directory, {name: camera | {"trigger": trigger} for name, camera in CAMERAS.items()})
    keys = "".join(f"{key} = {value}\n" for key, value in group.items())
    config.write_text(config.read_text() + f'[groups.box]\ncameras = ["top", "side"]\n{keys}')
    return config


def trigger(config: Path, count: int, victim: int | None = None) -> list[int]:
    """So many parts one after another; halfway a process is killed. Returns the ids that were promised an answer."""
    command = rehearsal.settings(config)["events"]["command"]
    accepted: list[int] = []
    for number in range(count):
        if victim is not None and number == count // 2:
            os.kill(victim, signal.SIGKILL)
        try:
            answer = client.ask(command, {"verb": "trigger", "camera": "box", "unit_identifier": f"part-{number}"})
        except client.GoldlineError:
            continue  # publish is away; what it had promised is kept
        if answer["accepted"]:
            accepted.append(answer["trigger_id"])
        # Slower than two cores can judge two views beside something else.
        time.sleep(0.08)
    return accepted


def trigger_patiently(config: Path, daemon: Daemon, listener: Listener) -> list[int]:
    """So many parts, each shown when the one before is answered: however slow the machine, nothing is late or refused."""
    until = time.monotonic() + PATIENCE_S
    while daemon.total("goldline_camera_up") < len(VIEWS):
        assert time.monotonic() < until, daemon.metrics()
        time.sleep(0.05)
    accepted: list[int] = []
    for _ in range(PARTS):
        accepted += trigger(config, 1)
        wait_until_answered(daemon, listener, accepted)
    return accepted


def wait_until_answered(daemon: Daemon, listener: Listener, accepted: list[int]) -> None:
    """Every trigger has its event, heard here or kept while publish was away."""
    until = time.monotonic() + PATIENCE_S
    while not set(accepted) <= {event.data.trigger_id for event in record(daemon.config)}:
        assert time.monotonic() < until, f"{len(listener.events)} of {len(accepted)}"
        time.sleep(0.02)


def wait_until_judged_again(config: Path, daemon: Daemon, listener: Listener) -> None:
    """Until both views of a part are judged: every process is well again."""
    until = time.monotonic() + PATIENCE_S
    while any(view.verdict == "ERROR" for view in record(config)[-1].data.views.values()):
        assert time.monotonic() < until
        wait_until_answered(daemon, listener, trigger(config, 1))


def assert_parts_are_right(config: Path) -> Counter[str]:
    """Each event has both views, and the verdict that follows from them; returns how many of each there were."""
    for event in record(config):
        data, views = event.data, event.data.views
        assert (data.camera, tuple(views)) == ("box", VIEWS)
        outcomes = {str(view.verdict) for view in views.values()}
        worst = next(outcome for outcome in ("FAIL", "ERROR", "PASS") if outcome in outcomes)
        assert data.verdict == worst, data
        assert all(view.score is not None for view in views.values() if view.verdict != "ERROR")
        assert {defect.camera for defect in data.defects} <= set(VIEWS)
        assert all(check.camera == name.partition("-")[0] for name, check in data.checks.items())
        assert data.pose is None and data.latency is None
    return Counter(str(event.data.verdict) for event in record(config))


def test_every_part_has_one_verdict_over_both_views(taught_box: Path, tmp_path: Path) -> None:
    config = box(taught_box, tmp_path, deadline_ms=30_000)
    with running(config) as (daemon, listener):
        accepted = trigger_patiently(config, daemon, listener)
        assert_balanced(daemon)
        assert daemon.total("goldline_triggers_total", camera="box") == PARTS
        assert daemon.total("goldline_frames_judged_total", camera="top") == PARTS
        command = rehearsal.settings(config)["events"]["command"]
        assert "trigger group 'box'" in client.ask(command, {"verb": "trigger", "camera": "side"})["error"]
        assert daemon.stop() == 0
    verdicts = assert_parts_are_right(config)
    assert verdicts["PASS"] > PARTS / 4 and verdicts["FAIL"] > 0 and not verdicts["ERROR"], verdicts
    assert sorted(listener.ids()) == accepted
    assert_each_answered_once(config, listener)


def test_a_killed_worker_loses_no_part_and_passes_none_unseen(taught_box: Path, tmp_path: Path) -> None:
    config = box(taught_box, tmp_path)
    with running(config) as (daemon, listener):
        for victim in ("capture@side", "inspection", "publish"):
            accepted = trigger(config, PARTS, daemon.workers()[victim])
            wait_until_answered(daemon, listener, accepted)
            assert_balanced(daemon)
            assert daemon.total("goldline_worker_restarts_total", worker=victim, cause="signal") == 1
            wait_until_judged_again(config, daemon, listener)
    verdicts = assert_parts_are_right(config)
    assert verdicts["PASS"] > 0, verdicts
    reasons = {str(event.data.reason) for event in record(config) if event.data.verdict == "ERROR"}
    # While inspection starts again the ring fills, and what waits too long misses its deadline.
    assert reasons <= {"worker_crash", "camera_down", "missing_view", "no_slot", "overrun", "deadline"}, reasons
    assert_each_answered_once(config, listener)


def test_a_group_with_a_period_runs_by_itself(taught_box: Path, tmp_path: Path) -> None:
    config = box(taught_box, tmp_path, period_ms=80)
    with running(config) as (daemon, listener):
        listener.wait_for(20)
        assert_balanced(daemon)
    verdicts = assert_parts_are_right(config)
    assert verdicts["PASS"] > 5, verdicts
    assert_each_answered_once(config, listener)
