"""Publish with cameras that see one part together: one trigger, one event, whoever is killed when."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.channel import ChannelClosed
from edge.client import ask
from edge.messages import Fire, Run, Unjudged
from edge.outbox import Outbox
from edge.publish import outbox_path
from edge.records import Outcome, Reason, Trigger
from edge.trigger_log import OpenedLog, opened_path
from tests.publish_line import PATIENCE_S, Line, camera, lines, until, verdicts_of

VIEWS = ("top", "side")


class Box(Line):
    """A station with a group `box` of the cameras top and side, and camera left for itself."""

    def order(self, **fields: Any) -> dict[str, Any]:
        return ask(self.station.events.command, {"verb": "trigger", "camera": "box", **fields}, PATIENCE_S)

    def fired(self, name: str) -> Trigger:
        """That camera's process is told to fire; it writes the trigger down and hands the frame to inspection."""
        fire = self.hear(f"capture@{name}")
        assert isinstance(fire, Fire)
        self.logs[name].append(fire.trigger)
        self.logs[name].mark_handed(fire.trigger.trigger_id)
        return fire.trigger

    def captures(self) -> None:
        for name in VIEWS:
            self.capture(name)


@pytest.fixture
def make_box(tmp_path) -> Iterator[Callable[..., Box]]:
    with lines(tmp_path, Box) as make:

        def make_with(*, deadline_ms: float = 60_000, **group: Any) -> Box:
            cameras = {name: camera("software", name, deadline_ms=deadline_ms) for name in VIEWS}
            groups = {"box": {"cameras": VIEWS, **group}}
            return make(cameras=cameras | {"left": camera("free")}, groups=groups)

        yield make_with


@pytest.fixture
def box(make_box) -> Box:
    made = make_box()
    made.start()
    made.link("inspection")
    made.captures()
    return made


def test_one_trigger_fires_every_camera_and_closes_with_the_last_view(box):
    answer = box.order(unit_identifier="A17", expect={}, id=1)
    top, side = (box.fired(name) for name in VIEWS)
    assert top == side
    assert (top.trigger_id, top.camera, top.views) == (answer["trigger_id"], "box", VIEWS)
    box.judge(top.trigger_id, "side", Outcome.PASS)
    box.wait_until(lambda: box.metric("goldline_triggers_in_flight", camera="box") == 1, "the trigger waits")
    box.judge(top.trigger_id, "side", Outcome.PASS)
    box.capture("left")
    box.judge(box.open("left").trigger_id)
    # What left's camera saw later is answered; the part still waits for its other view.
    (other,) = box.subscriber.wait(1)
    assert other.data.camera == "left"
    box.judge(top.trigger_id, "top", Outcome.PASS)
    data = box.subscriber.wait(2)[1].data
    assert (data.camera, data.verdict, data.unit_identifier) == ("box", "PASS", "A17")
    assert {name: view.verdict for name, view in data.views.items()} == {"top": "PASS", "side": "PASS"}
    assert all(view.frame_id == top.trigger_id and view.latency is not None for view in data.views.values())
    for name in VIEWS:
        reader = OpenedLog.attach(opened_path(box.station.runtime_dir, name))
        assert reader is not None
        until(lambda reader=reader: reader.read_unclosed() == [], "closed in the cameras' logs")
    box.assert_in_balance()
    assert box.metric("goldline_verdicts_total", camera="box", verdict="PASS") == 1
    assert not any("top" in series.labels for series, _ in box.child.page.read()), "the group counts for its cameras"
    box.wait_until(lambda: box.metric("goldline_events_written_total") == 2, "counted")


@pytest.mark.parametrize("first", VIEWS)
def test_one_failed_view_fails_the_part_and_the_event_holds_them_all(box, first):
    trigger_id = box.order()["trigger_id"]
    box.judge(trigger_id, first, Outcome.FAIL if first == "side" else Outcome.PASS)
    second = "top" if first == "side" else "side"
    box.judge(trigger_id, second, Outcome.FAIL if second == "side" else Outcome.PASS)
    (event,) = box.subscriber.wait(1)
    assert (event.data.verdict, event.data.detail) == ("FAIL", None)
    assert {name: view.verdict for name, view in event.data.views.items()} == {"top": "PASS", "side": "FAIL"}


def test_a_camera_of_a_group_cannot_be_triggered_alone(box):
    answer = ask(box.station.events.command, {"verb": "trigger", "camera": "top", "id": 4}, PATIENCE_S)
    problem = "camera 'top' sees a part together with others: trigger group 'box'"
    assert answer == {"accepted": False, "error": problem, "id": 4}
    answer = ask(box.station.events.command, {"verb": "trigger", "camera": "crate"}, PATIENCE_S)
    assert answer["error"] == "unknown camera 'crate': known are box, left, side, top"


def test_the_state_names_the_groups(box):
    trigger_id = box.order()["trigger_id"]
    for name in VIEWS:
        box.judge(trigger_id, name)
    box.subscriber.wait(1)
    box.order()
    state = ask(box.station.events.command, {"verb": "state"}, PATIENCE_S)
    verdicts = {"PASS": 1, "FAIL": 0, "ERROR": 0}
    assert state["groups"] == {"box": {"cameras": ["top", "side"], "triggers": 2, "in_flight": 1, "verdicts": verdicts}}
    assert (state["cameras"]["top"]["is_linked"], state["cameras"]["top"]["triggers"]) == (True, 0)


@pytest.mark.parametrize(("came", "verdict"), [(Outcome.PASS, "ERROR"), (Outcome.FAIL, "FAIL")])
def test_the_deadline_closes_a_part_without_its_missing_view_and_that_comes_late(make_box, came, verdict):
    box = make_box(deadline_ms=1_500)
    box.start()
    box.link("inspection")
    box.captures()
    trigger_id = box.order()["trigger_id"]
    box.judge(trigger_id, "top", came)
    (event,) = box.subscriber.wait(1)
    assert (event.data.verdict, event.data.detail) == (verdict, "side: no view by the deadline")
    assert event.data.reason == ("missing_view" if verdict == "ERROR" else None)
    assert event.data.views["top"].verdict == came
    assert (event.data.views["side"].reason, event.data.deadline_ms) == ("missing_view", 1_500)
    assert not event.data.on_time
    box.judge(trigger_id, "side")
    box.assert_in_balance()
    assert box.stop() == 0
    with Outbox(outbox_path(box.station), "reader") as outbox:
        assert outbox._db.execute("SELECT trigger_id FROM late").fetchall() == [(trigger_id,)]
    assert len(box.stored()) == 1


@pytest.mark.parametrize(
    ("other", "verdict"), [(Outcome.PASS, ("ERROR", "worker_crash")), (Outcome.FAIL, ("FAIL", None))]
)
def test_a_view_that_died_with_its_camera_s_process_is_that_view_s_error(box, other, verdict):
    trigger_id = box.order()["trigger_id"]
    box.fired("top")
    box.unlink("capture@side")
    box.judge(trigger_id, "top", other)
    (event,) = box.subscriber.wait(1)
    assert verdicts_of([event]) == {trigger_id: verdict}
    assert event.data.views["side"].reason == "worker_crash"
    # Its successor finds the trigger in the log, closed.
    box.capture("side")
    trigger_id = box.order()["trigger_id"]
    for name in VIEWS:
        box.judge(trigger_id, name)
    assert box.subscriber.wait(2)[1].data.verdict == "PASS"


def test_a_view_handed_over_before_its_camera_s_process_died_still_counts(box):
    trigger_id = box.order()["trigger_id"]
    for name in VIEWS:
        box.fired(name)
        box.unlink(f"capture@{name}")
    for name in VIEWS:
        box.judge(trigger_id, name)
    assert verdicts_of(box.subscriber.wait(1)) == {trigger_id: ("PASS", None)}


def test_with_captures_and_inspection_dead_the_part_does_not_wait(box):
    trigger_id = box.order()["trigger_id"]
    for name in VIEWS:
        box.fired(name)
        box.unlink(f"capture@{name}")
    box.unlink("inspection")
    assert verdicts_of(box.subscriber.wait(1)) == {trigger_id: ("ERROR", "worker_crash")}


def test_a_view_that_inspection_died_with_is_answered_by_its_camera_s_process(box):
    trigger_id = box.order()["trigger_id"]
    box.judge(trigger_id, "top")
    box.unlink("inspection")
    lost = Unjudged(trigger_id=trigger_id, reason=Reason.WORKER_CRASH, detail="inspection died holding the frame")
    box.send("capture@side", lost)
    (event,) = box.subscriber.wait(1)
    assert verdicts_of([event]) == {trigger_id: ("ERROR", "worker_crash")}
    assert event.data.detail == "side: inspection died holding the frame"
    assert event.data.views["top"].verdict == "PASS"


def test_without_one_camera_s_process_the_others_are_still_fired(box):
    box.unlink("capture@top")
    trigger_id = box.order()["trigger_id"]
    box.fired("side")
    box.judge(trigger_id, "side")
    (event,) = box.subscriber.wait(1)
    assert verdicts_of([event]) == {trigger_id: ("ERROR", "camera_down")}
    assert event.data.views["side"].verdict == "PASS"


@pytest.mark.parametrize("is_repeated", [True, False])
def test_publish_is_killed_with_one_view_in(make_box, is_repeated):
    """Inspection says it again on the new link; if it cannot, the part ends as an error and never as a PASS."""
    box = make_box(deadline_ms=60_000 if is_repeated else 2_000)
    box.start()
    box.link("inspection")
    box.captures()
    trigger_id = box.order()["trigger_id"]
    for name in VIEWS:
        box.fired(name)
    box.judge(trigger_id, "top")
    # Read and taken in: an order that comes after it is answered.
    ask(box.station.events.command, {"verb": "state"}, PATIENCE_S)
    box.kill()
    box.start()
    box.link("inspection")
    for name in VIEWS:
        box.link(f"capture@{name}")
    if is_repeated:
        box.judge(trigger_id, "top")
    box.judge(trigger_id, "side")
    (event,) = box.subscriber.wait(1)
    expected = ("PASS", None) if is_repeated else ("ERROR", "missing_view")
    assert verdicts_of([event]) == {trigger_id: expected}
    if not is_repeated:
        assert "top: no view by the deadline" in event.data.detail
        # Late now, and no second event.
        box.judge(trigger_id, "top")
    box.assert_in_balance()
    assert box.stop() == 0
    assert verdicts_of(box.stored()) == {trigger_id: expected}
    assert len(box.stored()) == 1


def test_publish_is_killed_anywhere_and_every_part_has_one_event(make_box):
    """SIGKILL at random instants while views come in any order: one event each, PASS only where all views are."""
    box = make_box()
    accepted: dict[int, str] = {}
    said: list[tuple[int, str, Outcome]] = []
    for life in range(5):
        box.start()
        box.link("inspection")
        box.captures() if life == 0 else [box.link(f"capture@{name}") for name in VIEWS]
        # Inspection repeats its recent verdicts on a new link: what lay in the old socket is gone.
        for view in said:
            box.judge(*view)
        for _ in range(random.randint(1, 40)):
            trigger_id = box.order()["trigger_id"]
            outcomes = {name: random.choice([Outcome.PASS, Outcome.FAIL]) for name in VIEWS}
            accepted[trigger_id] = "FAIL" if Outcome.FAIL in outcomes.values() else "PASS"
            views = [(trigger_id, name, outcome) for name, outcome in outcomes.items()]
            random.shuffle(views)
            said += views
            try:
                for view in views:
                    box.judge(*view)
            except ChannelClosed:
                break
        if life < 4:
            # One more, killed with one of its views in, on its way, or gone.
            trigger_id = box.order()["trigger_id"]
            accepted[trigger_id] = "PASS"
            said += [(trigger_id, name, Outcome.PASS) for name in VIEWS]
            box.judge(trigger_id, random.choice(VIEWS))
            time.sleep(random.uniform(0, 0.002))
            box.kill()
    until(lambda: box.metric("goldline_triggers_in_flight", camera="box") == 0, "everything closed")
    assert box.metric("goldline_triggers_total", camera="box") == len(accepted)
    box.assert_in_balance()
    assert box.stop() == 0
    stored = box.stored()
    assert sorted(event.data.trigger_id for event in stored) == sorted(accepted)
    assert {event.data.trigger_id: event.data.verdict for event in stored} == accepted


def test_a_clean_stop_says_so_of_the_views_that_are_missing(box):
    trigger_id = box.order()["trigger_id"]
    for name in VIEWS:
        box.fired(name)
    box.judge(trigger_id, "top")
    ask(box.station.events.command, {"verb": "state"}, PATIENCE_S)
    assert box.stop() == 0
    (event,) = box.stored()
    assert verdicts_of([event]) == {trigger_id: ("ERROR", "shutdown")}
    assert (event.data.detail, event.data.views["top"].verdict) == ("side: shutdown", "PASS")


def test_a_group_with_a_period_triggers_itself(make_box):
    box = make_box(period_ms=20)
    box.start()
    box.captures()
    # Nothing is triggered before.
    box.link("inspection")
    fired: list[list[int]] = [[] for _ in VIEWS]
    # On a busy machine one of them may be linked some periods after the other.
    while min(map(len, fired)) < 3 or not set.intersection(*map(set, fired)):
        for name, ids in zip(VIEWS, fired, strict=True):
            ids.append(box.fired(name).trigger_id)
        assert len(fired[0]) < 100, "both cameras are fired by the same triggers"
    assert all(ids == sorted(set(ids)) for ids in fired)


@pytest.fixture
def wired(tmp_path) -> Iterator[Box]:
    """The line fires both cameras of the group; top, the first, opens its triggers."""
    with lines(tmp_path, Box) as make:
        made = make(cameras={name: camera("line", name) for name in VIEWS}, groups={"box": {"cameras": VIEWS}})
        made.start()
        made.link("inspection")
        made.captures()
        yield made


def open_for_the_group(box: Box, *, is_told: bool = True) -> Trigger:
    """Top's process opens a trigger of the group."""
    return box.open("top", is_told=is_told, name="box", source="line", views=VIEWS)


@pytest.mark.parametrize("is_told", [True, False])
def test_what_the_first_camera_opens_for_the_line_is_told_to_the_others_once(wired, is_told):
    trigger = open_for_the_group(wired, is_told=is_told)
    assert wired.fired("side") == trigger
    for name in VIEWS:
        wired.judge(trigger.trigger_id, name)
    data = wired.subscriber.wait(1)[0].data
    assert (data.camera, data.verdict, data.trigger_source, tuple(data.views)) == ("box", "PASS", "line", VIEWS)
    assert wired.peers["capture@top"].receive() is None, "who opened it need not be told"
    assert wired.peers["capture@side"].receive() is None
    for name in VIEWS:
        until(lambda name=name: wired.logs[name].read_unclosed() == [], "closed in the cameras' logs")
    wired.assert_in_balance()
    assert wired.metric("goldline_triggers_total", camera="box") == 1


def test_a_camera_that_cannot_be_told_is_its_view_s_error(wired):
    wired.unlink("capture@side")
    trigger = open_for_the_group(wired)
    wired.judge(trigger.trigger_id, "top")
    (event,) = wired.subscriber.wait(1)
    assert verdicts_of([event]) == {trigger.trigger_id: ("ERROR", "camera_down")}
    assert event.data.views["top"].verdict == "PASS"


def test_the_death_of_the_first_camera_s_process_leaves_the_others_their_views(wired):
    trigger = open_for_the_group(wired, is_told=False)
    wired.unlink("capture@top")
    wired.fired("side")
    wired.judge(trigger.trigger_id, "side")
    (event,) = wired.subscriber.wait(1)
    assert verdicts_of([event]) == {trigger.trigger_id: ("ERROR", "worker_crash")}
    assert event.data.views["side"].verdict == "PASS"


def test_what_was_opened_before_publish_died_is_not_told_again(wired):
    trigger = open_for_the_group(wired)
    wired.fired("side")
    wired.kill()
    wired.start()
    wired.link("inspection")
    wired.captures()
    for name in VIEWS:
        wired.judge(trigger.trigger_id, name)
    assert verdicts_of(wired.subscriber.wait(1)) == {trigger.trigger_id: ("PASS", None)}
    assert [type(said) for said in wired.peers["capture@side"].drain()] == [Run]


def test_a_group_on_the_line_cannot_be_triggered_by_command(wired):
    assert wired.order()["error"] == "group 'box' has trigger mode 'line', not 'software'"
