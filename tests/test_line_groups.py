"""Cameras of a group that one signal of the line fires: the first opens the trigger, the others' frames answer it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.cameras.camera import CameraLost
from edge.channel import Channel, pair
from edge.lockstep import QUIET_NS
from edge.messages import Fire, Link
from edge.records import FrameRef, Reason, Trigger
from tests.capture_bench import DEADLINE_MS, SLOTS, Bench, Connect, benches

Make = Callable[..., Bench]
Answer = tuple[int, str | None, Reason]
VIEWS = ("top", "left")
MS = 1_000_000


@pytest.fixture
def make(tmp_path: Path, channels: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    with benches(tmp_path, channels, monkeypatch) as made:
        yield made


def handed(bench: Bench, count: int) -> list[FrameRef]:
    found: list[FrameRef] = []
    bench.until(lambda: found.extend(bench.handed()) or len(found) >= count, f"{count} frames")
    return found


def answered(bench: Bench, count: int) -> list[Answer]:
    found: list[Answer] = []
    bench.until(lambda: found.extend(bench.unjudged()) or len(found) >= count, f"{count} answers")
    return found


def test_the_first_camera_opens_the_group_s_triggers_within_its_shortest_deadline(make: Make) -> None:
    bench = make("line", group=("left", "top"))
    bench.give_ids()
    bench.picture()
    bench.picture(lost=1)
    frames = handed(bench, 2)
    assert [(one.trigger_id, one.view, one.is_part) for one in frames] == [(1, "left", False), (3, "left", False)]
    assert answered(bench, 1) == [(2, "left", Reason.INCOMPLETE)]
    triggers = bench.logged()
    assert {(one.camera, one.views, one.source) for one in triggers} == {("box", ("left", "top"), "line")}
    assert [one.is_timed for one in triggers] == [True, False, True]
    assert {one.deadline_ns - one.opened_ns for one in triggers} == {round(DEADLINE_MS / 2 * MS)}


class Second:
    """The second camera of a group: what the first opened comes from publish, when the test says so."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        # Both have been quiet for long enough that the next pulse stands alone.
        self.now_ns = time.monotonic_ns() + QUIET_NS
        self.number = 0

    def trigger(self, *, is_timed: bool = True) -> None:
        """The first camera's trigger for a pulse now."""
        self.number += 1
        trigger = Trigger(
            trigger_id=self.number,
            camera="box",
            source="line",
            opened_ns=self.now_ns,
            opened_utc_ns=0,
            deadline_ns=self.now_ns + 60_000 * MS,
            views=VIEWS,
            is_timed=is_timed,
        )
        self.bench.publish.send(Fire(trigger=trigger))
        self.bench.turn()

    def frame(self, lost: int = 0, **said: bool) -> None:
        """This camera's frame of a pulse now."""
        at_ns = self.now_ns + 7 * MS
        self.bench.picture(at_ns=at_ns, started_ns=self.now_ns + 2 * MS, lost=lost, **said)

    def pulse(self) -> None:
        self.trigger()
        self.frame()

    def wait(self, ms: int) -> None:
        self.now_ns += ms * MS


@pytest.fixture
def second(make: Make) -> Second:
    return Second(make("line", group=VIEWS))


def test_frames_are_paired_with_the_triggers_of_their_pulses_whichever_comes_first(second: Second) -> None:
    for number in range(12):
        for one in (second.trigger, second.frame) if number % 2 else (second.frame, second.trigger):
            one()
        second.wait(80)
        (frame,) = handed(second.bench, 1)
        assert (frame.trigger_id, frame.view, frame.is_part) == (number + 1, "left", False)
    assert second.bench.unjudged() == [] and second.bench.dropped() == {}
    assert second.bench.handed_views(12) == ["left"]


def test_several_may_wait_for_their_triggers(second: Second) -> None:
    for _ in range(3):
        second.frame()
        second.wait(80)
    second.wait(-240)
    for _ in range(3):
        second.trigger()
        second.wait(80)
    assert [one.trigger_id for one in handed(second.bench, 3)] == [1, 2, 3]


def test_a_picture_that_was_lost_is_its_own_view_s_error_only(second: Second) -> None:
    second.pulse()
    second.wait(100)
    second.trigger()
    second.wait(100)
    second.trigger()
    second.frame(lost=1)
    assert [one.trigger_id for one in handed(second.bench, 2)] == [1, 3]
    assert answered(second.bench, 1) == [(2, "left", Reason.MISSING_VIEW)]


def test_a_pulse_that_the_first_camera_got_no_picture_of_is_not_paired(second: Second) -> None:
    second.pulse()
    second.wait(100)
    second.frame()
    second.wait(100)
    second.frame()
    second.trigger(is_timed=False)
    second.trigger()
    assert [one.trigger_id for one in handed(second.bench, 2)] == [1, 3]
    assert answered(second.bench, 1) == [(2, "left", Reason.MISSING_VIEW)]
    assert second.bench.dropped() == {("capture", "stale"): 1}


def test_a_frame_that_cannot_be_judged_is_its_view_s_error(second: Second) -> None:
    second.trigger()
    second.frame(complete=False)
    assert answered(second.bench, 1) == [(1, "left", Reason.INCOMPLETE)]


def test_out_of_step_nothing_is_paired_until_a_pulse_stands_alone(second: Second) -> None:
    second.pulse()
    second.wait(100)
    second.frame()  # the first camera missed it, and nobody counted
    second.wait(100)
    second.trigger()
    second.frame()
    second.wait(100)
    second.pulse()
    second.wait(QUIET_NS // MS)
    second.pulse()
    assert [one.trigger_id for one in handed(second.bench, 2)] == [1, 4]
    assert answered(second.bench, 2) == [(2, "left", Reason.MISSING_VIEW), (3, "left", Reason.MISSING_VIEW)]
    assert second.bench.dropped() == {("capture", "stale"): 3} and len(second.bench.camera.free) >= SLOTS - 1


def test_what_has_no_counterpart_is_given_up_in_time(second: Second) -> None:
    second.frame()
    second.bench.until(lambda: second.bench.dropped() == {("capture", "stale"): 1}, "its slot is free again")
    second.wait(3000)
    second.trigger()
    assert answered(second.bench, 1) == [(1, "left", Reason.MISSING_VIEW)]


def test_a_camera_that_goes_answers_for_what_waits_and_begins_anew(second: Second) -> None:
    second.trigger()
    second.bench.camera.coming.put(CameraLost("unplugged"))
    assert answered(second.bench, 1) == [(1, "left", Reason.CAMERA_DOWN)]
    second.bench.until(
        lambda: second.bench.camera.starts == 2 and second.bench.capture._is_streaming, "it streams again"
    )
    # What passed meanwhile nobody knows: the line was not quiet for all that is known.
    second.now_ns = time.monotonic_ns() + 100 * MS
    second.pulse()
    assert answered(second.bench, 1) == [(2, "left", Reason.MISSING_VIEW)]
    second.wait(QUIET_NS // MS)
    second.pulse()
    assert [one.trigger_id for one in handed(second.bench, 1)] == [3]


def test_another_publish_may_not_have_told_of_every_trigger(second: Second) -> None:
    second.pulse()
    assert handed(second.bench, 1)
    ours, theirs = pair()
    second.bench.control.send(Link(peer="publish"), descriptor=theirs.fileno())
    theirs.close()
    second.bench.publish.close()
    second.bench.publish = Channel(ours)
    second.bench.turn()
    second.now_ns = time.monotonic_ns() + 100 * MS
    second.pulse()
    assert answered(second.bench, 1) == [(2, "left", Reason.MISSING_VIEW)]


def test_while_the_camera_is_away_its_view_is_answered_at_once(second: Second) -> None:
    second.bench.capture._is_streaming = False
    second.trigger()
    assert second.bench.unjudged() == [(1, None, Reason.CAMERA_DOWN)]
