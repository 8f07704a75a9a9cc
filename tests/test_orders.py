"""The orders, asked of a real publish: each gets one answer, and what it changes outlives whoever is killed."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import __main__, job_file, orders
from edge.books import Books
from edge.client import ask
from edge.committer import Committer
from edge.config import Station
from edge.decided_log import DecidedLog, decided_path
from edge.errors import GoldlineError
from edge.firing import Firing
from edge.job_desk import JobDesk
from edge.links import Links
from edge.messages import Announce, Fire, Prepare, Prepared, Run
from edge.metrics import Page, page_size
from edge.orders import OrderError
from edge.records import Outcome, Reason
from edge.tally import Tally
from tests import values
from tests.publish_line import PATIENCE_S, Line, camera, lines, verdicts_of

NEVER = "announced, and never triggered"


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    with lines(tmp_path) as make:
        yield make


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    made = make_line(product="trunk")
    made.start()
    made.link("inspection")
    return made


def order(line: Line, verb: str, **said: Any) -> dict[str, Any]:
    return ask(line.station.events.command, {"verb": verb, **said}, PATIENCE_S)


def state(line: Line) -> dict[str, Any]:
    return order(line, "state")


def is_on(line: Line, name: str = "left") -> bool:
    """What the camera's process was told last of whether it opens triggers."""
    peer = f"capture@{name}"

    def is_told() -> bool:
        for said in line.peers[peer].drain():
            assert isinstance(said, Run), said
            line.runs[peer] = said
        return peer in line.runs

    line.wait_until(is_told, "the camera's process is told")
    return line.runs[peer].is_on


class Asking:
    """An order that is answered later."""

    def __init__(self, line: Line, verb: str, **said: Any) -> None:
        self.answer: dict[str, Any] = {}
        self._thread = threading.Thread(target=lambda: self._ask(line, {"verb": verb, **said}))
        self._thread.start()

    def _ask(self, line: Line, asked: dict[str, Any]) -> None:
        # Nobody answers where publish is killed meanwhile.
        with contextlib.suppress(GoldlineError):
            self.answer = ask(line.station.events.command, asked, 5.0)

    def wait(self) -> dict[str, Any]:
        self._thread.join(PATIENCE_S)
        return self.answer


def prepared(line: Line, asked: Prepare, problem: str | None = None) -> None:
    """Inspection answers."""
    provenance = msgspec.structs.replace(values.PROVENANCE, product=asked.product, configuration=asked.generation)
    said = Prepared(
        product=asked.product,
        generation=asked.generation,
        variant=asked.variant,
        problem=problem,
        provenance=provenance,
    )
    line.send("inspection", said)


# --- the language


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ({"verb": "dance"}, "dance"),
        ({"verb": "start", "camera": "left"}, "unknown field"),
        ({"verb": "prepare"}, "product"),
        ({"verb": "prepare", "product": ""}, "product"),
        ({"verb": "announce", "camera": "left"}, "unit_identifier"),
        ({"verb": "announce", "camera": "left", "unit_identifier": "x" * 257}, "unit_identifier"),
        ({"verb": "start_single"}, "camera"),
    ],
)
def test_what_is_no_order_is_refused_by_name(sent: dict[str, Any], problem: str) -> None:
    with pytest.raises(OrderError, match=problem):
        orders.parse(msgspec.json.encode(sent))


@pytest.mark.parametrize("verb", ["start", "stop", "halt", "reset", "state", "prepare", "announce", "start_single"])
def test_every_order_is_answered_once_and_its_id_comes_back(line: Line, verb: str) -> None:
    line.unlink("inspection")
    line.wait_until(lambda: state(line)["alarms"], "the death of inspection is noticed")
    more: dict[str, Any] = {
        "prepare": {"product": "lid"},
        "announce": {"camera": "left", "unit_identifier": "A1"},
        "start_single": {"camera": "left"},
    }.get(verb, {})
    answer = order(line, verb, id="x-1", **more)
    assert answer["id"] == "x-1"
    assert verb == "state" or isinstance(answer["accepted"], bool)


# --- the job


def test_a_station_is_not_ready_before_inspection_says_what_it_judges_by(make_line: Callable[..., Line]) -> None:
    line = make_line(product="trunk")
    line.start()
    line.capture("right")
    assert state(line)["state"] == "Preoperational"
    refused = order(line, "trigger", camera="right")
    assert (refused["accepted"], "Preoperational" in refused["error"]) == (False, True)
    line.link("inspection")
    line.wait_until(lambda: state(line)["state"] == "ContinuousExecution", "it runs by itself")
    assert order(line, "trigger", camera="right")["accepted"]


def test_without_autostart_it_waits_for_start(make_line: Callable[..., Line]) -> None:
    line = make_line(product="trunk", orders={"autostart": False})
    line.start()
    line.link("inspection")
    line.capture("left")
    line.wait_until(lambda: state(line)["state"] == "Ready", "ready")
    assert not is_on(line)
    assert order(line, "start")["state"] == "ContinuousExecution"
    line.wait_until(lambda: is_on(line), "the camera's process is told")


def test_what_is_halted_takes_nothing_until_reset_and_answers_what_it_had(line: Line) -> None:
    line.capture("left")
    line.capture("right")
    one = line.open()
    assert order(line, "halt")["state"] == "Halted"
    line.wait_until(lambda: not is_on(line), "the camera's process is told")
    assert order(line, "trigger", camera="right")["error"] == "the station is Halted: it needs the order reset"
    for verb in ("start", "stop"):
        assert not order(line, verb)["accepted"]
    line.judge(one.trigger_id)
    assert verdicts_of(line.subscriber.wait(1)) == {one.trigger_id: ("PASS", None)}
    assert order(line, "reset")["state"] == "ContinuousExecution"
    assert order(line, "trigger", camera="right")["accepted"]


def test_what_was_ordered_outlives_publish(line: Line) -> None:
    line.capture("left")
    order(line, "stop")
    line.kill()
    line.start()
    line.link("inspection")
    line.runs.clear()
    line.capture("left")
    assert not is_on(line)
    assert state(line)["state"] == "Ready"


def test_a_running_station_runs_on_at_once_when_publish_is_killed(line: Line) -> None:
    line.wait_until(lambda: state(line)["state"] == "ContinuousExecution", "it runs")
    line.kill()
    line.start()
    line.capture("right")
    # Before inspection is linked again.
    assert order(line, "trigger", camera="right")["accepted"]


def test_a_change_is_said_to_subscribers_and_a_newcomer_hears_how_it_stands(line: Line) -> None:
    order(line, "stop")
    heard = lambda: [msgspec.json.decode(one)["state"] for one in line.subscriber.states]  # noqa: E731
    line.wait_until(lambda: line.subscriber.hear(5) or (heard() and heard()[-1] == "Ready"), "the change is said")


# --- a single execution


def test_a_single_execution_by_software_takes_one_and_is_over_with_its_answer(line: Line) -> None:
    line.capture("right")
    order(line, "stop")
    answer = order(line, "start_single", camera="right", unit_identifier="A17")
    fire = line.hear("capture@right")
    assert isinstance(fire, Fire)
    assert (fire.trigger.trigger_id, fire.trigger.unit_identifier) == (answer["trigger_id"], "A17")
    assert state(line)["state"] == "SingleExecution"
    assert "takes one trigger" in order(line, "trigger", camera="right")["error"]
    line.judge(answer["trigger_id"], "right")
    line.wait_until(lambda: state(line)["state"] == "Ready", "it is over")


def test_a_single_execution_of_what_comes_by_itself_lets_one_in(line: Line) -> None:
    line.capture("left")
    order(line, "stop")
    assert order(line, "start_single", camera="left")["state"] == "SingleExecution"
    line.wait_until(lambda: is_on(line), "the camera's process is told")
    assert line.runs["capture@left"].at_most == 1
    one = line.open()
    line.wait_until(lambda: not is_on(line), "the camera's process is told")
    # Killed in between, publish does not let another in.
    line.kill()
    line.start()
    line.link("inspection")
    line.runs.clear()
    line.link("capture@left")
    assert not is_on(line)
    line.judge(one.trigger_id)
    line.wait_until(lambda: state(line)["state"] == "Ready", "it is over")


def test_the_unit_of_a_single_execution_is_said_before_its_trigger_is_let_in(line: Line) -> None:
    line.capture("left")
    order(line, "stop")
    line.wait_until(lambda: not is_on(line), "the camera's process is told")
    order(line, "start_single", camera="left", unit_identifier="A17")
    heard: list[Any] = []
    line.wait_until(lambda: heard.extend(line.peers["capture@left"].drain()) or len(heard) == 2, "both are said")
    assert heard == [Announce(unit_identifier="A17", number=1), Run(is_on=True, at_most=1)]


# --- preparing a product


def test_a_product_is_in_force_with_the_answer(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid", variant="oak", id=3)
    asked = line.hear("inspection")
    assert asked == Prepare(product="lid", generation=2, variant="oak")
    assert state(line)["job"]["product"] == "part"
    assert "is being prepared" in order(line, "prepare", product="other")["error"]
    prepared(line, asked)
    answer = asking.wait()
    assert (answer["accepted"], answer["id"], answer["state"]) == (True, 3, "ContinuousExecution")
    job = answer["job"]
    assert (job["product"], job["variant"], job["configuration"]) == ("lid", "oak", 2)
    assert job["reference_set"] == values.PROVENANCE.reference_set
    line.capture("right")
    order(line, "trigger", camera="right")
    order(line, "trigger", camera="right", expect={"variant": "ash"})
    fired = [line.hear("capture@right") for _ in range(2)]
    assert [one.trigger.expect for one in fired] == [{"variant": "oak"}, {"variant": "ash"}]


def test_what_cannot_be_prepared_is_refused_in_one_line_and_changes_nothing(line: Line) -> None:
    before = state(line)["job"]
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"), "product lid: no recipe")
    assert asking.wait() == {"accepted": False, "error": "product lid: no recipe", "id": None}
    assert state(line)["job"] == before


def test_the_death_of_inspection_refuses_what_it_was_preparing(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid")
    line.hear("inspection")
    line.unlink("inspection")
    assert "inspection died" in asking.wait()["error"]
    assert "starting" in order(line, "prepare", product="lid")["error"]
    line.link("inspection")
    line.wait_until(lambda: not state(line)["alarms"], "inspection is back")
    assert state(line)["job"]["product"] == "part"


def test_an_inspection_that_judges_by_an_older_product_is_told_again(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"))
    assert asking.wait()["accepted"]
    # It had read which product to load before this one was ordered.
    line.link("inspection")
    assert line.hear("inspection") == Prepare(product="lid", generation=2)


def test_what_an_older_product_judged_after_the_answer_is_no_verdict(line: Line) -> None:
    line.capture("right")
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"))
    assert asking.wait()["accepted"]
    # It died with the product it had just begun with; its successor had read which to load before.
    line.link("inspection")
    line.hear("inspection")
    trigger_id = order(line, "trigger", camera="right")["trigger_id"]
    line.judge(trigger_id, "right")
    (event,) = line.subscriber.wait(1)
    assert (event.data.verdict, event.data.reason) == ("ERROR", "cannot_judge")
    # Neither does a successor of publish take it.
    line.kill()
    line.start()
    line.link("inspection")
    line.capture("right")
    trigger_id = order(line, "trigger", camera="right")["trigger_id"]
    line.judge(trigger_id, "right")
    assert verdicts_of(line.subscriber.wait(2))[trigger_id] == ("ERROR", "cannot_judge")


def test_a_product_that_was_prepared_over_the_death_of_publish_has_its_variant(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid", variant="oak")
    asked = line.hear("inspection")
    line.kill()
    asking.wait()
    line.start()
    line.link("inspection")
    prepared(line, asked)
    line.wait_until(lambda: state(line)["job"]["product"] == "lid", "taken up")
    assert state(line)["job"]["variant"] == "oak"


def test_the_product_in_force_outlives_publish_and_a_switch_without_it_is_taken_up(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid")
    asked = line.hear("inspection")
    line.kill()
    asking.wait()
    line.start()
    # Inspection finished meanwhile, and says so to the new publish.
    line.link("inspection")
    prepared(line, asked)
    line.wait_until(lambda: state(line)["job"]["product"] == "lid", "taken up")
    line.kill()
    line.start()
    assert state(line)["job"]["product"] == "lid"


def test_another_product_in_the_configuration_goes_before_what_was_prepared(
    line: Line, make_line: Callable[..., Line]
) -> None:
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"))
    asking.wait()
    line.kill()
    other = make_line(product="box")
    other.start()
    job = state(other)["job"]
    assert (job["product"], job["configuration"]) == ("box", 3)


# --- announcing units


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


def test_a_unit_that_has_its_trigger_is_written_before_that_can_close(tmp_path: Path) -> None:
    """Killed between the two, a successor would give it to the next part as well."""
    cameras = {"left": camera("free"), "right": camera("software")}
    station = Station.model_validate({"state_dir": tmp_path, "runtime_dir": tmp_path / "run", "cameras": cameras})
    page = os.memfd_create("page")
    os.posix_fallocate(page, 0, page_size("publish", station.triggered))
    decided = DecidedLog.create_or_resume(decided_path(station.runtime_dir), "s1")
    tally = Tally(Page(page, "publish", station.triggered), station.triggered)
    books = Books(station, station.runtime_dir, decided, tally)
    books.take_ids(1, 100)
    waiting: list[dict[str, Any]] = []

    def close(*_: object) -> Reason:
        kept = job_file.read(station.runtime_dir)
        waiting.append({} if kept is None else kept.announced)
        return Reason.CAMERA_DOWN

    firing = Firing(station, books, Committer.__new__(Committer), close)
    jobs = JobDesk(station, station.runtime_dir, "run", 1, books, firing, Links(close, close))
    books.tell(jobs.opened)
    books.fail = close
    jobs.prepared(Prepared(product="part", generation=1, provenance=values.PROVENANCE))
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


# --- a part between two products


@pytest.mark.parametrize("other", [{"configuration": 2}, {"reference_set": "t" * 64}])
def test_a_part_judged_by_two_products_never_passes(make_line: Callable[..., Line], other: dict[str, Any]) -> None:
    cameras = {name: camera("software", name) for name in ("top", "side")}
    line = make_line(product="trunk", cameras=cameras, groups={"box": {"cameras": ["top", "side"]}})
    line.start()
    line.link("inspection")
    for name in cameras:
        line.capture(name)
    trigger_id = order(line, "trigger", camera="box")["trigger_id"]
    line.judge(trigger_id, "top")
    provenance = msgspec.structs.replace(values.PROVENANCE, **other)
    second = msgspec.structs.replace(values.judged(trigger_id, "side", Outcome.PASS, at_ns=0), provenance=provenance)
    line.send("inspection", second)
    (event,) = line.subscriber.wait(1)
    assert (event.data.verdict, event.data.reason) == ("ERROR", "cannot_judge")


# --- the page


def test_the_client_of_the_page_runs(line: Line, tmp_path: Path) -> None:
    line.capture("right")
    page = (Path(__file__).parent.parent / "docs" / "orders.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = code.replace("tcp://127.0.0.1:5557", line.station.events.command).replace('"left"', '"right"')
    script = tmp_path / "client.py"
    script.write_text(code, encoding="utf-8")
    answering = threading.Thread(target=lambda: prepared(line, line.hear("inspection")))
    answering.start()
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    answering.join(PATIENCE_S)
    assert ran.returncode == 0, ran.stderr
    assert "ContinuousExecution" in ran.stdout


def test_the_command_prints_what_it_is_answered(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"EVENTS__COMMAND": line.station.events.command, "STATE_DIR": str(tmp_path / "state")}.items():
        monkeypatch.setenv(f"GOLDLINE_{name}", value)
    monkeypatch.chdir(tmp_path)

    def goldline(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["goldline", "order", *words])
        return __main__.main(), capsys.readouterr().out

    assert goldline("stop") == (0, "Ready: product part, configuration 1\n")
    assert goldline("announce", "nowhere", "--unit-identifier", "A")[0] == 1
    code, text = goldline("state", "--json")
    assert (code, msgspec.json.decode(text)["state"]) == (0, "Ready")
    assert "left: triggers 0" in goldline("state")[1]
