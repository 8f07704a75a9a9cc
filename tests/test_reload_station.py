"""A whole station whose configuration changes in flight, and whoever dies meanwhile."""

import itertools
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edge import rehearsal, station_control
from edge.client import ask
from edge.errors import GoldlineError
from edge.events import Event
from edge.rehearsal import Daemon
from edge.station_control import Outcome
from tests.stations import (
    CAMERA,
    RECIPE,
    SIZE,
    TRIGGERED,
    Manager,
    assert_balanced,
    assert_each_answered_once,
    record,
    running,
    station,
    teach,
    write_recipe,
)

# Loading a product takes seconds; a busy machine, ten times that.
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def two(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two products taught for the same camera."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("pipelines", "state"):
        shutil.copytree(taught / name, folder / name, symlinks=True)
    config = rehearsal.write_config(folder, {"left": TRIGGERED})
    rehearsal.draw_good_parts(folder / "good", 12, SIZE, seed=5)
    write_recipe(folder, RECIPE, "lid")
    teach(config, "lid", folder / "good")
    return folder


def runtime(config: Path) -> Path:
    return config.parent / "state" / "run"


def write(config: Path, text: str) -> None:
    """Replaced whole, as an editor does."""
    partial = config.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(config)


def change(config: Path, *pairs: tuple[str, str]) -> None:
    """In the file."""
    text = config.read_text()
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    write(config, text)


def reload(config: Path, *, dry_run: bool = False) -> Outcome:
    return station_control.reload(runtime(config), dry_run=dry_run, within_s=PATIENCE_S)


def order(config: Path, verb: str, **said: Any) -> dict[str, Any]:
    return ask(rehearsal.settings(config)["events"]["command"], {"verb": verb, **said}, PATIENCE_S)


# An order that a killed publish had read is never answered: far less than what waits for the next.
ANSWER_S = 10.0


class Triggers:
    """To each camera in turn, from a thread of its own, and what was accepted."""

    def __init__(self, config: Path, cameras: tuple[str, ...], period_s: float) -> None:
        self.accepted: list[tuple[float, str, int]] = []
        self.errors: list[str] = []
        self._address, self._cameras = rehearsal.settings(config)["events"]["command"], itertools.cycle(cameras)
        self._period_s = period_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.wait(self._period_s):
            camera, asked_s = next(self._cameras), time.monotonic()
            try:
                answer = ask(self._address, {"verb": "trigger", "camera": camera}, ANSWER_S)
            except GoldlineError as problem:  # publish was killed over it: nobody knows whether it was taken
                self.errors.append(str(problem))
                continue
            if answer["accepted"]:
                self.accepted.append((asked_s, camera, answer["trigger_id"]))

    def wait_for(self, more: int) -> None:
        wanted, until = len(self.accepted) + more, time.monotonic() + PATIENCE_S
        while len(self.accepted) < wanted:
            assert time.monotonic() < until, (len(self.accepted), self.errors[-3:])
            time.sleep(0.02)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._thread.join(PATIENCE_S)


def until(holds: Callable[[], object], what: str) -> None:
    by_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < by_s, what
        time.sleep(0.02)


def answered(daemon: Daemon, config: Path) -> dict[int, Event]:
    """Every event by its trigger, once none is in flight and the station has stopped."""
    until(lambda: not daemon.total("goldline_triggers_in_flight"), "every trigger is answered")
    assert_balanced(daemon)
    assert daemon.stop() == 0
    return {event.data.trigger_id: event for event in record(config) if event.data.trigger_id is not None}


def words(config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "reload", "--config", str(config), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_a_station_takes_over_what_stands_in_its_file_or_goes_on_as_it_was(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("GOLDLINE_CAMERAS__RIGHT__SEED", "3")
    config = station(two, tmp_path / "station", {"left": TRIGGERED, "right": CAMERA | {"rate_hz": 10.0}})
    triggers = Triggers(config, ("left",), 0.03)
    with running(config) as (daemon, listener):
        monkeypatch.delenv("GOLDLINE_CAMERAS__RIGHT__SEED")
        assert stat.S_IMODE((runtime(config) / station_control.SOCKET).stat().st_mode) == 0o600
        with triggers.running():
            triggers.wait_for(5)
            assert reload(config).outcome == "unchanged", "what the service's environment sets lies over the file"
            pids = daemon.workers()
            deadline_s = take_over_live(config, manager)
            triggers.wait_for(5)
            assert daemon.workers() == pids, "nobody was started anew"
            reject_whole(config)
            restart_a_worker(config, daemon, pids)
            triggers.wait_for(5)
            product_s = change_the_product(config, daemon)
            triggers.wait_for(5)
            look_at_the_recipe(config)
            triggers.wait_for(3)
        page = daemon.metrics()
        assert page['goldline_reload_total{outcome="applied"}'] == 5
        assert page['goldline_reload_total{outcome="rejected"}'] == 4
        assert page["goldline_configuration_generation"] == 5
        assert daemon.total("goldline_deadline_seconds", camera="left") == 1.7
        events = answered(daemon, config)
    manager.close()
    assert {one for _, _, one in triggers.accepted} <= set(events)
    mine = [(asked, events[one].data) for asked, _, one in triggers.accepted]
    assert {round(one.deadline_ms or 0, 3) for asked, one in mine if asked > deadline_s} == {1700.0}
    assert {one.product for asked, one in mine if asked > product_s and one.reference_set} == {"lid"}
    assert_one_number_is_one_product(events)
    frames = [event.data.frame_id for event in events.values() if event.data.camera == "right" and event.data.frame_id]
    assert len(frames) == len(set(frames)), "the other camera was never started anew"
    assert_each_answered_once(config, listener)


def take_over_live(config: Path, manager: Manager) -> float:
    """Keys that nobody is started anew for; returns when they held."""
    change(config, ("deadline_ms = 2000.0", "deadline_ms = 1700.0"), ("[log]", '[log]\nlevel = "debug"'))
    assert reload(config, dry_run=True).outcome == "planned"
    assert station_control.status(runtime(config)).differs == 2
    manager.said.clear()
    outcome = reload(config)
    assert (outcome.outcome, outcome.generation) == ("applied", 2)
    live = [(one.key, one.effect) for one in outcome.changes]
    assert live == [("cameras.left.trigger.deadline_ms", "live"), ("log.level", "live")]
    until(lambda: b"READY=1" in manager.said, "systemd is told when it is over")
    said = [word for word in manager.said if not word.startswith((b"WATCHDOG", b"STATUS", b"MONOTONIC"))]
    assert said == [b"RELOADING=1", b"READY=1"]
    assert any(word.startswith(b"MONOTONIC_USEC=") for word in manager.said)
    return time.monotonic()


def reject_whole(config: Path) -> None:
    """A value out of bounds, a key that needs a restart, a product that is not there: beside one that would be live."""
    whole = config.read_text()
    for before, after, why in (
        ("queue_depth = 8", "queue_depth = 800", "at most 64"),
        ("rehearsal", "other", "restart"),
        ('"trunk"', '"lost"', "no recipe"),
    ):
        change(config, (before, after), ('"debug"', '"warning"'))
        rejected = reload(config)
        assert (rejected.outcome, rejected.generation) == ("rejected", None)
        assert why in str(rejected.problem)
        write(config, whole)
    assert station_control.status(runtime(config)).generation == 2
    assert json.loads((runtime(config) / station_control.OUTCOME_FILE).read_text())["outcome"] == "rejected"


def restart_a_worker(config: Path, daemon: Daemon, pids: dict[str, int]) -> None:
    """One camera's process, in order; the others go on."""
    change(config, ("prerendered = 40\n\n[cameras.left.trigger]", "prerendered = 30\n\n[cameras.left.trigger]"))
    assert [one.meaning for one in reload(config).changes] == ["restarts capture@left"]
    now = daemon.workers()
    assert {name for name in now if now[name] != pids[name]} == {"capture@left"}
    assert daemon.total("goldline_worker_restarts_total") == 0, "that is no death"
    said = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
    debugged = {one["event"] for one in said if (one["worker"], one["level"]) == ("supervisor", "debug")}
    assert "started" in debugged, "the level is the supervisor's, too"


def change_the_product(config: Path, daemon: Daemon) -> float:
    """By a signal; returns when it held."""
    change(config, ('product = "trunk"', 'product = "lid"'))
    os.kill(daemon.process.pid, signal.SIGHUP)
    until(lambda: station_control.status(runtime(config)).product == "lid", "SIGHUP changes the product")
    until(lambda: not station_control.status(runtime(config)).is_reloading, "and is over")
    return time.monotonic()


def look_at_the_recipe(config: Path) -> None:
    """What has become of it goes live with a reload, too; one that is refused does not."""
    recipe = config.parent / "pipelines" / "lid" / "recipe.toml"
    text = recipe.read_text()
    recipe.write_text(text + "\n# looked at again\n")
    done = words(config, "--json")
    recipe.write_text("regions = 3\n")
    refused = words(config)
    recipe.write_text(text)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["changes"]
    assert found["key"] == "recipe of lid"
    assert refused.returncode == 1
    assert "rejected, nothing is changed" in refused.stdout
    assert "recipe.toml" in refused.stdout


def assert_one_number_is_one_product(events: dict[int, Event]) -> None:
    """And one recipe, one set, one model: nothing is judged by the hashes of another configuration."""
    hashes: dict[int, set[tuple[Any, ...]]] = {}
    for one in (event.data for event in events.values()):
        if one.reference_set is not None:
            named = (one.product, one.recipe_sha256, one.reference_set, one.model_sha256)
            hashes.setdefault(one.configuration or 0, set()).add(named)
    assert {len(one) for one in hashes.values()} == {1}, hashes


def test_no_trigger_is_lost_or_judged_by_halves_whatever_is_reloaded_and_whoever_is_killed(
    two: Path, tmp_path: Path
) -> None:
    cameras = ("left", "right", "top")
    config = station(two, tmp_path, dict.fromkeys(cameras, TRIGGERED))
    triggers, chance = Triggers(config, cameras, 0.03), random.Random(7)
    outcomes: list[Outcome] = []
    with running(config) as (daemon, listener):
        with triggers.running():
            triggers.wait_for(5)
            for number in range(8):
                text = config.read_text()
                edited(config, number, chance)
                victim = chance.choice(["capture@right", "inspection", "publish"]) if number % 3 == 0 else None
                outcomes.append(reload_over(daemon, config, victim, chance.uniform(0, 0.15)))
                if outcomes[-1].outcome == "rejected":
                    write(config, text)
                triggers.wait_for(2)
            until(lambda: not order(config, "state")["alarms"], "inspection is back")
            write(config, re.sub('product = "[a-z]+"', 'product = "lid"', config.read_text()))
            assert reload(config).outcome != "rejected", "it can be reloaded still"
            asked_s = time.monotonic()
            triggers.wait_for(6)
        events = answered(daemon, config)
    assert {one for _, _, one in triggers.accepted} <= set(events), "every trigger has its verdict"
    # A killed publish or inspection rejects what it was to take part in; the file that is invalid is always rejected.
    assert {"applied", "rejected"} <= {one.outcome for one in outcomes}
    assert_one_number_is_one_product(events)
    last = [events[one].data for asked, _, one in triggers.accepted if asked > asked_s]
    assert {one.product for one in last if one.reference_set} == {"lid"}
    passed = [event.data for event in events.values() if event.data.verdict == "PASS"]
    assert passed
    assert all(one.score is not None for one in passed)
    assert_each_answered_once(config, listener)


def edited(config: Path, number: int, chance: random.Random) -> None:
    """One of the ways in which a file changes: live, of a worker, of the product, or for the worse."""
    text = config.read_text()
    match number % 4:
        case 0:
            text = re.sub(r"deadline_ms = [0-9.]+", f"deadline_ms = {chance.randint(1500, 2500)}.0", text)
        case 1:
            other = "lid" if 'product = "trunk"' in text else "trunk"
            text = re.sub('product = "[a-z]+"', f'product = "{other}"', text)
        case 2:
            text = re.sub(r"prerendered = [0-9]+", f"prerendered = {chance.randint(20, 40)}", text, count=1)
        case _:
            text = text.replace("queue_depth = 8", "queue_depth = -8")
    write(config, text)


def reload_over(daemon: Daemon, config: Path, victim: str | None, after_s: float) -> Outcome:
    """Reload, and kill this worker meanwhile."""
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(reload(config)))
    pid = daemon.workers().get(victim or "")
    thread.start()
    time.sleep(after_s)
    if pid is not None:
        with suppress(ProcessLookupError):  # it was started anew meanwhile
            os.kill(pid, signal.SIGKILL)
    thread.join(PATIENCE_S)
    return outcomes[0]


def test_who_asks_where_no_station_runs_is_told_so(tmp_path: Path) -> None:
    config = rehearsal.write_config(tmp_path, {"left": TRIGGERED})
    done = words(config)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no station is running here" in done.stderr
