"""A whole station that changes its product while parts go by, and whoever dies meanwhile."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge import rehearsal
from edge.client import ask
from edge.events import Event
from edge.rehearsal import Daemon
from tests.stations import (
    RECIPE,
    SIZE,
    TRIGGERED,
    Listener,
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
PRODUCTS = ("trunk", "lid")


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


def order(config: Path, verb: str, within_s: float = PATIENCE_S, **said: Any) -> dict[str, Any]:
    return ask(rehearsal.settings(config)["events"]["command"], {"verb": verb, **said}, within_s)


class Triggers:
    """Twenty a second, from a thread of its own; what each was answered, with when it was asked."""

    def __init__(self, config: Path) -> None:
        self.accepted: list[tuple[float, int]] = []
        self.refused: list[dict[str, Any]] = []
        self._config, self._is_over = config, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.wait(0.05):
            asked_s = time.monotonic()
            answer = order(self._config, "trigger", camera="left")
            if answer["accepted"]:
                self.accepted.append((asked_s, answer["trigger_id"]))
            else:
                self.refused.append(answer)

    @property
    def ids(self) -> list[int]:
        return [trigger_id for _, trigger_id in self.accepted]

    def wait_for(self, more: int) -> None:
        wanted, until = len(self.accepted) + more, time.monotonic() + PATIENCE_S
        while len(self.accepted) < wanted:
            assert time.monotonic() < until, (len(self.accepted), self.refused[-3:])
            time.sleep(0.02)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._thread.join(PATIENCE_S)


def answered(daemon: Daemon, config: Path, ids: list[int]) -> dict[int, Event]:
    """The events of these triggers, once there is one for each."""
    until = time.monotonic() + PATIENCE_S
    while daemon.total("goldline_triggers_in_flight"):
        assert time.monotonic() < until, daemon.metrics()
        time.sleep(0.05)
    assert_balanced(daemon)
    assert daemon.stop() == 0
    events = {event.data.trigger_id: event for event in record(config) if event.data.trigger_id is not None}
    assert set(ids) <= set(events)
    return events


def test_a_product_is_changed_while_parts_go_by_and_none_is_lost(two: Path, tmp_path: Path) -> None:
    config = station(two, tmp_path, {"left": TRIGGERED})
    triggers = Triggers(config)
    with running(config) as (daemon, listener):
        with triggers.running():
            triggers.wait_for(10)
            before = order(config, "state")["job"]
            answer = order(config, "prepare", product="lid")
            answered_s = time.monotonic()
            triggers.wait_for(10)
        assert answer["accepted"], answer
        assert (before["product"], before["configuration"]) == ("trunk", 1)
        assert (answer["job"]["product"], answer["job"]["configuration"]) == ("lid", 2)
        assert answer["job"]["recipe_sha256"], answer["job"]["reference_set"] != before["reference_set"]
        assert order(config, "prepare", product="nothing")["error"].startswith("product nothing: no recipe")
        assert not triggers.refused
        events = answered(daemon, config, triggers.ids)
    judged = {one: events[one].data for one in triggers.ids if events[one].data.reference_set is not None}
    assert {data.product for data in judged.values()} == set(PRODUCTS)
    after = [events[one].data for asked_s, one in triggers.accepted if asked_s > answered_s]
    # One that was not judged, for the machine was too busy, names no product.
    assert {(one.product, one.configuration) for one in after if one.reference_set} == {("lid", 2)}
    assert all(data.product == "lid" or data.reference_set == before["reference_set"] for data in judged.values())
    assert_each_answered_once(config, listener)


def test_inspection_that_is_killed_while_it_prepares_comes_back_with_what_was_in_force(
    two: Path, tmp_path: Path
) -> None:
    config = station(two, tmp_path, {"left": TRIGGERED})
    triggers = Triggers(config)
    with running(config) as (daemon, listener):
        with triggers.running():
            triggers.wait_for(5)
            preparing: list[dict[str, Any]] = []
            inspection = daemon.workers()["inspection"]
            # It hears of the order when it goes on, and dies loading.
            os.kill(inspection, signal.SIGSTOP)
            asking = threading.Thread(target=lambda: preparing.append(order(config, "prepare", product="lid")))
            asking.start()
            until = time.monotonic() + PATIENCE_S
            while json.loads((tmp_path / "state" / "run" / "job.json").read_text())["newest_generation"] != 2:
                assert time.monotonic() < until, "the order is taken"
                time.sleep(0.01)
            os.kill(inspection, signal.SIGCONT)
            time.sleep(0.1)
            os.kill(inspection, signal.SIGKILL)
            asking.join(PATIENCE_S)
            assert "inspection died" in preparing[0]["error"]
            wait_for_inspection(config)
            assert order(config, "state")["job"]["product"] == "trunk"
            assert order(config, "prepare", product="lid")["accepted"]
            os.kill(daemon.workers()["inspection"], signal.SIGKILL)
            wait_for_inspection(config)
            until = time.monotonic() + PATIENCE_S
            while not any(event.data.configuration == 3 for event in listener.events):
                assert time.monotonic() < until, "it judges by the product in force"
                time.sleep(0.05)
        assert not triggers.refused
        job = order(config, "state")["job"]
        assert (job["product"], job["configuration"]) == ("lid", 3)
        events = answered(daemon, config, triggers.ids)
    judged = [events[one].data for one in triggers.ids if events[one].data.reference_set is not None]
    assert {(one.product, one.configuration) for one in judged} == {("trunk", 1), ("lid", 3)}
    assert_each_answered_once(config, listener)


def wait_for_inspection(config: Path) -> None:
    """Until it is there again, and judges."""
    until = time.monotonic() + PATIENCE_S
    while order(config, "state")["alarms"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_units_announced_to_a_camera_that_runs_freely_are_each_on_one_event_whoever_dies(
    two: Path, tmp_path: Path
) -> None:
    free = {**TRIGGERED, "rate_hz": 10.0, "trigger": {"mode": "free", "deadline_ms": 2000.0}}
    config = station(two, tmp_path, {"left": free})
    units = [f"A{number}" for number in range(12)]
    with running(config) as (daemon, listener):
        for number, unit in enumerate(units):
            assert order(config, "announce", camera="left", unit_identifier=unit)["accepted"]
            if victim := {3: "capture@left", 7: "publish"}.get(number):
                os.kill(daemon.workers()[victim], signal.SIGKILL)
            if number % 4:
                time.sleep(0.3)
        assert order(config, "stop")["state"] == "Ready"
        # The last of them may still wait for a picture: its word is given back by the next.
        order(config, "announce", camera="left", unit_identifier="last")
        deadline_s = time.monotonic() + PATIENCE_S
        while len(named(listener)) < len(units):
            assert time.monotonic() < deadline_s, named(listener)
            time.sleep(0.05)
        count = daemon.total("goldline_frames_dropped_total", reason="halted")
        while daemon.total("goldline_frames_dropped_total", reason="halted") == count:
            assert time.monotonic() < deadline_s, "frames are counted as dropped"
            time.sleep(0.05)
        assert daemon.stop() == 0
    kept = [event.data.unit_identifier for event in record(config) if event.data.unit_identifier is not None]
    assert sorted(kept) == sorted(units)
    assert_each_answered_once(config, listener)


def named(listener: Listener) -> list[str]:
    return [event.data.unit_identifier for event in listener.events if event.data.unit_identifier is not None]
