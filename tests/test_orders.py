"""The orders, asked of a real publish: each gets one answer, and what it changes outlives whoever is killed."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import __main__, orders
from edge.messages import Announce, Fire, Run
from edge.orders import OrderError
from edge.records import Outcome
from tests import values
from tests.order_line import is_on, order, prepared, state
from tests.publish_line import PATIENCE_S, Line, camera, verdicts_of


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    made = make_line(product="trunk")
    made.start()
    made.link("inspection")
    return made


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


def test_the_refusal_of_what_is_no_order_bears_its_id_too(line: Line) -> None:
    """Several may be under way over one socket."""
    assert order(line, "dance", id="x-9") | {"error": ""} == {"accepted": False, "error": "", "id": "x-9"}
    assert order(line, "start", camera="left", id=7)["id"] == 7
    assert order(line, "start", id=[7])["id"] is None


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
