"""Announced units, asked of a real publish: each is on one event, whoever is killed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge import job_file, orders
from edge.books import Books
from edge.committer import Committer
from edge.config import Station
from edge.decided_log import DecidedLog, decided_path
from edge.firing import Firing
from edge.job_desk import JobDesk
from edge.links import Links
from edge.messages import Announce, Fire, Prepared, Run
from edge.metrics import Page, page_size
from edge.records import Reason
from edge.tally import Tally
from tests import values
from tests.order_line import is_on, order, state
from tests.publish_line import Line, camera

NEVER = "announced, and never triggered"


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    made = make_line(product="trunk")
    made.start()
    made.link("inspection")
    return made


def test_an_announced_unit_is_on_the_next_trigger_by_software(line: Line) -> None:
    line.capture("right")
    assert order(line, "announce", camera="right", unit_identifier="A1", expect={"code": "1"})["accepted"]
    order(line, "trigger", camera="right", unit_identifier="B7")
    order(line, "trigger", camera="right")
    order(line, "trigger", camera="right")
    fired = [line.hear("capture@right").trigger for _ in range(3)]
    assert [one.unit_identifier for one in fired] == ["B7", "A1", None]
    assert fired[1].expect == {"code": "1"}


def test_a_unit_that_no_trigger_came_for_has_an_event_of_its_own(line: Line) -> None:
    line.capture("right")
    order(line, "announce", camera="right", unit_identifier="A1")
    order(line, "announce", camera="right", unit_identifier="A2")
    (event,) = line.subscriber.wait(1)
    data = event.data
    assert (data.unit_identifier, data.verdict, data.reason, data.detail) == ("A1", "ERROR", "missing_view", NEVER)
    order(line, "announce", camera="right", unit_identifier=None)
    order(line, "trigger", camera="right")
    assert line.hear("capture@right").trigger.unit_identifier is None
    line.assert_in_balance()


def test_capture_hears_of_a_unit_and_a_new_one_again_until_a_trigger_bears_it(line: Line) -> None:
    line.capture("left")
    order(line, "announce", camera="left", unit_identifier="A1")
    assert line.hear("capture@left") == Announce(unit_identifier="A1", number=1)
    line.capture("left")
    assert line.hear("capture@left") == Announce(unit_identifier="A1", number=1)
    line.kill()
    line.start()
    line.link("inspection")
    line.capture("left")
    assert line.hear("capture@left") == Announce(unit_identifier="A1", number=1)
    one = line.open(unit_identifier="A1", announced=1)
    line.judge(one.trigger_id)
    (event,) = line.subscriber.wait(1)
    assert event.data.unit_identifier == "A1"
    line.capture("left")
    # A process that has not heard that A1 has its trigger would give it another.
    assert line.hear("capture@left") == Announce(unit_identifier=None, number=1)
    order(line, "announce", camera="left", unit_identifier="A2")
    assert line.hear("capture@left") == Announce(unit_identifier="A2", number=2)


def test_a_unit_that_was_taken_back_stays_so_when_publish_died_before_it_said_so(line: Line) -> None:
    line.capture("left")
    order(line, "announce", camera="left", unit_identifier="A1")
    order(line, "announce", camera="left", unit_identifier=None)
    line.kill()
    line.start()
    line.link("inspection")
    line.capture("left")
    assert line.hear("capture@left") == Announce(unit_identifier=None, number=2)


def test_the_process_of_a_camera_triggered_by_software_hears_of_no_unit(line: Line) -> None:
    line.capture("right")
    order(line, "announce", camera="right", unit_identifier="A1")
    # Of one that it heard before it would make a trigger of its own: the unit would have two.
    line.capture("right")
    order(line, "trigger", camera="right")
    fired = line.hear("capture@right")
    assert isinstance(fired, Fire)
    assert fired.trigger.unit_identifier == "A1"


def desk(tmp_path: Path, send: Callable[..., Reason]) -> tuple[Station, Books, JobDesk]:
    """In this process, judging by a product. `send`: what becomes of everything that is said to other processes."""
    cameras = {"left": camera("free"), "right": camera("software")}
    station = Station.model_validate({"state_dir": tmp_path, "runtime_dir": tmp_path / "run", "cameras": cameras})
    page = os.memfd_create("page")
    os.posix_fallocate(page, 0, page_size("publish", station.triggered))
    decided = DecidedLog.create_or_resume(decided_path(station.runtime_dir), "s1")
    tally = Tally(Page(page, "publish", station.triggered), station.triggered)
    books = Books(station, station.runtime_dir, decided, tally)
    books.take_ids(1, 100)
    firing = Firing(station, books, Committer.__new__(Committer), send)
    jobs = JobDesk(station, station.runtime_dir, "run", 1, books, firing, Links(send, send))
    books.tell(jobs.opened)
    jobs.prepared(Prepared(product="part", generation=1, provenance=values.PROVENANCE))
    return station, books, jobs


def test_where_nothing_may_be_accepted_no_unit_is_given_a_trigger(tmp_path: Path) -> None:
    _, books, jobs = desk(tmp_path, lambda *_: Reason.CAMERA_DOWN)
    jobs.turn("the disk is full")
    jobs.announce(orders.AnnounceOrder(camera="right", unit_identifier="A1"))
    with pytest.raises(orders.OrderError, match="the disk is full"):
        jobs.announce(orders.AnnounceOrder(camera="right", unit_identifier="A2"))
    assert books.ledger.triggers("right") == 0
    jobs.announce(orders.AnnounceOrder(camera="right", unit_identifier=None))
    jobs.announce(orders.AnnounceOrder(camera="right", unit_identifier="A2"))
    jobs.turn(None)
    jobs.announce(orders.AnnounceOrder(camera="right", unit_identifier="A3"))
    assert books.ledger.triggers("right") == 1


def test_a_unit_that_has_its_trigger_is_written_before_that_can_close(tmp_path: Path) -> None:
    """Killed between the two, a successor would give it to the next part as well."""
    waiting: list[dict[str, Any]] = []

    def close(*_: object) -> Reason:
        kept = job_file.read(tmp_path / "run")
        waiting.append({} if kept is None else kept.announced)
        return Reason.CAMERA_DOWN

    _, books, jobs = desk(tmp_path, close)
    books.fail = close
    for number in (1, 2):
        jobs.announce(orders.AnnounceOrder(camera="right", unit_identifier=f"A{number}"))
    jobs.announce(orders.AnnounceOrder(camera="left", unit_identifier="A3"))
    assert waiting == [{}], "the first has its trigger, which is closed at once"
    jobs.trigger("right", None, {})
    jobs.opened(values.trigger(200, "left", source="announced", announced=3))
    (three,) = waiting[1]["left"]
    # The camera's process is away: fired, and closed.
    assert waiting[1:3] == [{"left": (three,)}] * 2
    assert waiting[3:] == [{}]


def test_what_capture_opened_for_a_unit_that_never_came_is_closed_at_once(line: Line) -> None:
    line.capture("left")
    line.open(source="announced", unit_identifier="A1", announced=1)
    (event,) = line.subscriber.wait(1)
    data = event.data
    assert (data.unit_identifier, data.reason, data.detail) == ("A1", "missing_view", NEVER)
    assert data.trigger_source == "announced"
    line.assert_in_balance()


def test_nothing_is_announced_for_what_is_no_camera(line: Line) -> None:
    assert "unknown camera" in order(line, "announce", camera="nowhere", unit_identifier="A1")["error"]


def test_too_many_units_for_a_camera_that_is_away_are_refused(line: Line) -> None:
    answers = [order(line, "announce", camera="left", unit_identifier=f"A{number}") for number in range(33)]
    assert [one["accepted"] for one in answers] == [True] * 32 + [False]


def test_a_unit_that_is_announced_again_while_it_waits_is_one(line: Line) -> None:
    line.capture("right")
    for _ in range(3):
        # The answer to the first was lost.
        assert order(line, "announce", camera="right", unit_identifier="A1", expect={"code": "1"})["accepted"]
    order(line, "trigger", camera="right")
    assert line.hear("capture@right").trigger.unit_identifier == "A1"
    assert state(line)["cameras"]["right"]["triggers"] == 1


@pytest.mark.parametrize("name", ["left", "right"])
def test_nothing_is_expected_of_no_unit(line: Line, name: str) -> None:
    answer = order(line, "announce", camera=name, unit_identifier=None, expect={"variant": "oak"})
    assert (answer["accepted"], "null takes a unit back" in answer["error"]) == (False, True)


def test_a_single_execution_without_a_unit_leaves_the_announced_one_to_its_trigger(line: Line) -> None:
    line.capture("left")
    order(line, "stop")
    order(line, "announce", camera="left", unit_identifier="A1")
    assert line.hear("capture@left") == Announce(unit_identifier="A1", number=1)
    order(line, "start_single", camera="left", expect={"variant": "oak"})
    line.wait_until(lambda: is_on(line), "the camera's process is told")
    # What is expected comes with the word that lets one in, and the unit stays.
    assert line.runs["capture@left"] == Run(is_on=True, at_most=1, expect={"variant": "oak"})
    line.link("capture@left")
    assert line.hear("capture@left") == Announce(unit_identifier="A1", number=1)
