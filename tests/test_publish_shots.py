"""Publish with a camera that takes several shots: one trigger, each shot a view, whoever is killed between two."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.client import ask
from edge.messages import Fire, Unjudged
from edge.records import Outcome, Reason, Trigger
from tests.publish_line import PATIENCE_S, Line, camera, lines, until, verdicts_of

SHOTS = ("top.bright", "top.dark")
TOP = {
    "source": "gige",
    "address": "none",
    "trigger": {"mode": "software", "deadline_ms": 60_000},
    "shot": [{"name": "bright", "role": "lid"}, {"name": "dark", "role": "rim"}],
}


class Shots(Line):
    """A station with camera top, which takes two shots, and, in a group with it or alone, camera side."""

    def order(self, name: str = "top") -> int:
        answer = ask(self.station.events.command, {"verb": "trigger", "camera": name}, PATIENCE_S)
        return answer["trigger_id"]

    def fired(self, name: str) -> Trigger:
        """That camera's process is told to fire, and writes the trigger down."""
        fire = self.hear(f"capture@{name}")
        assert isinstance(fire, Fire)
        self.logs[name].append(fire.trigger)
        return fire.trigger


Make = Callable[..., Shots]


@pytest.fixture
def make(tmp_path) -> Iterator[Make]:
    with lines(tmp_path, Shots) as make_line:

        def make_with(**groups: Any) -> Shots:
            line = make_line(cameras={"top": TOP, "side": camera("software", "side")}, groups=groups)
            line.start()
            line.link("inspection")
            for name in ("top", "side"):
                line.capture(name)
            return line

        yield make_with


def test_a_camera_with_shots_is_fired_once_and_answers_with_each_as_a_view(make: Make) -> None:
    line = make()
    trigger_id = line.order()
    trigger = line.fired("top")
    assert (trigger.trigger_id, trigger.camera, trigger.views) == (trigger_id, "top", SHOTS)
    line.judge(trigger_id, "top.dark", Outcome.FAIL)
    line.judge(trigger_id, "top.bright")
    data = line.subscriber.wait(1)[0].data
    assert (data.camera, data.verdict, list(data.views)) == ("top", "FAIL", list(SHOTS))
    assert [str(view.verdict) for view in data.views.values()] == ["PASS", "FAIL"]
    until(lambda: line.logs["top"].read_unclosed() == [], "closed in the camera's log")
    assert line.peers["capture@top"].receive() is None, "told once"
    line.assert_in_balance()


def test_shots_and_a_camera_beside_make_one_part(make: Make) -> None:
    line = make(box={"cameras": ("side", "top")})
    trigger_id = line.order("box")
    assert line.fired("top").views == line.fired("side").views == ("side", *SHOTS)
    for view in ("side", *SHOTS):
        line.judge(trigger_id, view)
    data = line.subscriber.wait(1)[0].data
    assert (data.camera, data.verdict, list(data.views)) == ("box", "PASS", ["side", *SHOTS])


def test_a_word_without_a_view_answers_for_all_that_the_camera_still_owes(make: Make) -> None:
    line = make(box={"cameras": ("side", "top")})
    trigger_id = line.order("box")
    line.judge(trigger_id, "top.bright")
    line.wait_until(lambda: line.metric("goldline_triggers_in_flight", camera="box") == 1, "open")
    lost = Unjudged(trigger_id=trigger_id, reason=Reason.CAMERA_DOWN, detail="it is away")
    line.send("capture@top", lost)
    line.judge(trigger_id, "side")
    data = line.subscriber.wait(1)[0].data
    assert (data.verdict, data.reason, data.detail) == ("ERROR", "camera_down", "top.dark: it is away")
    assert data.views["top.bright"].verdict == data.views["side"].verdict == "PASS"


def test_one_shot_that_came_to_nothing_leaves_the_other_its_verdict(make: Make) -> None:
    line = make()
    trigger_id = line.order()
    failed = Unjudged(trigger_id=trigger_id, reason=Reason.NO_SLOT, detail="full", view="top.bright")
    line.send("capture@top", failed)
    line.judge(trigger_id, "top.dark")
    data = line.subscriber.wait(1)[0].data
    assert (data.verdict, data.reason, data.views["top.dark"].verdict) == ("ERROR", "no_slot", "PASS")


def test_a_process_that_dies_between_two_shots_leaves_to_inspection_what_it_had_handed_over(make: Make) -> None:
    line = make()
    trigger_id = line.order()
    trigger = line.fired("top")
    line.logs["top"].mark_handed(trigger.trigger_id, SHOTS.index("top.dark"))
    line.unlink("capture@top")
    line.judge(trigger_id, "top.dark")
    data = line.subscriber.wait(1)[0].data
    assert verdicts_of(line.subscriber.events) == {trigger_id: ("ERROR", "worker_crash")}
    assert data.detail == "top.bright: worker_crash"
    assert data.views["top.dark"].verdict == "PASS"


def test_a_trigger_that_the_line_opened_is_closed_with_its_shots(make: Make) -> None:
    line = make()
    for number in range(3):
        trigger = line.open("top", source="line", views=SHOTS, is_told=number != 1)
        assert trigger.source == "line"
        for view in SHOTS:
            line.judge(trigger.trigger_id, view)
    events = line.subscriber.wait(3)
    assert [(event.data.trigger_source, event.data.verdict) for event in events] == [("line", "PASS")] * 3
    line.assert_in_balance()


@pytest.mark.parametrize("is_inspected", [True, False])
def test_a_new_publish_takes_up_what_the_line_opened(make: Make, is_inspected: bool) -> None:
    line = make()
    trigger = line.open("top", source="line", views=SHOTS)
    line.kill()
    line.start()
    line.link("inspection")
    line.capture("top")
    if is_inspected:
        line.judge(trigger.trigger_id, "top.bright")
        line.judge(trigger.trigger_id, "top.dark")
    else:
        line.unlink("capture@top")
    expected = ("PASS", None) if is_inspected else ("ERROR", "worker_crash")
    assert verdicts_of(line.subscriber.wait(1)) == {trigger.trigger_id: expected}
