"""Capture of a software-triggered camera: a picture belongs to the trigger it was taken for, and each is answered."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from edge.cameras.camera import CameraLost, CameraStalled
from edge.channel import Channel, ChannelClosed, pair
from edge.messages import Commit, Link, Offer, Stop, Taken, Unjudged, WantRing
from edge.records import Reason
from edge.takeover import station_file
from tests.capture_bench import DEADLINE_MS, FRAME_BYTES, INFO, SLOTS, Bench, Connect, TinyCamera, benches

Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path, channels: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    with benches(tmp_path, channels, monkeypatch) as made:
        yield made


@pytest.fixture
def bench(make: Make) -> Bench:
    return make()


def test_a_picture_belongs_to_the_trigger_it_was_taken_for(bench: Bench) -> None:
    bench.fire(1)
    bench.fire(2)
    assert bench.camera.triggered == 1, "one at a time"
    bench.camera.picture()
    bench.until(lambda: bench.camera.triggered == 2, "the next is fired")
    bench.camera.picture()
    handed = bench.frames()
    bench.until(lambda: handed.extend(bench.frames()) or len(handed) == 2, "both are handed over")
    assert handed == [1, 2] and bench.answers() == {}


def test_a_trigger_that_a_dead_publish_had_sent_is_fired_although_its_successor_is_linked_first(bench: Bench) -> None:
    bench.send_trigger(7)
    bench.publish.close()
    ours, theirs = pair()
    bench.publish = Channel(ours)
    bench.control.send(Link(peer="publish"), descriptor=theirs.fileno())
    theirs.close()
    bench.capture._hear_supervisor()
    bench.until(lambda: bench.camera.triggered == 1, "the camera is triggered")
    bench.camera.picture()
    handed: list[int] = []
    bench.until(lambda: handed.extend(bench.frames()) or handed, "the frame is handed over")
    assert handed == [7] and bench.answers() == {}


def test_a_picture_older_than_its_trigger_is_nobodys(bench: Bench) -> None:
    before_ns = time.monotonic_ns()
    bench.fire(1)
    bench.camera.picture(at_ns=before_ns)
    bench.until(lambda: len(bench.camera.free) == SLOTS, "the stray is given back")
    assert bench.frames() == []
    bench.camera.picture()
    assert bench.until(bench.frames, "its own picture is handed over") == [1]


def test_a_picture_nobody_asked_for_is_dropped(bench: Bench) -> None:
    bench.camera.picture()
    bench.until(lambda: len(bench.camera.free) == SLOTS, "it is given back")
    assert bench.frames() == []


def test_a_trigger_that_is_late_already_is_not_fired_and_disturbs_no_stream(bench: Bench) -> None:
    bench.fire(1, within_ms=0)
    bench.fire(2)
    assert bench.camera.triggered == 1
    bench.camera.picture()
    assert bench.until(bench.frames, "the trigger behind it has its picture") == [2]
    assert bench.answers() == {1: Reason.DEADLINE} and bench.camera.starts == 1


def test_a_picture_that_comes_after_the_deadline_is_still_its_triggers(bench: Bench) -> None:
    bench.fire(1, within_ms=50)
    end_s = time.monotonic() + 0.1
    while time.monotonic() < end_s:
        bench.turn()
    bench.camera.picture()
    assert bench.until(bench.frames, "it is handed over") == [1]
    assert bench.camera.starts == 1, "the stream goes on"


def test_a_picture_that_never_comes_starts_the_stream_afresh(bench: Bench) -> None:
    bench.fire(1)
    bench.until(lambda: bench.camera.starts == 2, "the stream starts again")
    bench.until(lambda: bench.capture._is_streaming, "capture knows")
    bench.fire(2)
    bench.camera.picture()
    assert bench.until(bench.frames, "the next trigger has its own picture") == [2]


def test_a_picture_of_a_trigger_that_seemed_to_fail_is_not_the_next_one_s(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The camera took it, and its word of that was lost."""
    bench.send_trigger(1)
    bench.send_trigger(2)
    with monkeypatch.context() as unanswered:
        unanswered.setattr(bench.camera, "trigger", seems_to_fail(bench.camera))
        bench.turn()
        bench.camera.picture()
        bench.until(lambda: bench.camera.starts == 2 and bench.capture._is_streaming, "the stream starts afresh")
    assert bench.frames() == []
    assert bench.answers() == {1: Reason.CAMERA_DOWN, 2: Reason.CAMERA_DOWN}
    bench.fire(3)
    bench.camera.picture()
    assert bench.until(bench.frames, "the next has its own") == [3]


def seems_to_fail(camera: TinyCamera) -> Callable[[], None]:
    """Takes each picture, but says of the first that it did not."""

    def trigger() -> None:
        camera.triggered += 1
        if camera.triggered == 1:
            raise CameraLost("no answer to a trigger")

    return trigger


def test_a_camera_that_is_lost_is_answered_for(bench: Bench) -> None:
    bench.fire(1)
    bench.fire(2)
    bench.camera.coming.put(CameraLost("unplugged"))
    answered: dict[int, Reason] = {}
    bench.until(lambda: answered.update(bench.answers()) or len(answered) == 2, "both are answered")
    assert set(answered.values()) == {Reason.CAMERA_DOWN}


def test_a_camera_that_stalls_is_answered_for_once(bench: Bench) -> None:
    bench.fire(1)
    bench.fire(2)
    bench.camera.coming.put(CameraStalled("no picture within 1.0 s of its trigger"))
    answered: list[tuple[int, str | None, Reason]] = []
    bench.until(lambda: answered.extend(bench.unjudged()) or bench.camera.starts == 2, "it streams again")
    end_s = time.monotonic() + 2 * DEADLINE_MS / 1000
    while time.monotonic() < end_s:
        bench.turn()
    answered += bench.unjudged()
    assert answered == [(1, "left", Reason.CAMERA_DOWN), (2, "left", Reason.CAMERA_DOWN)]
    assert bench.camera.starts == 2, "what was given up once is not given up again"


def test_a_frame_that_waits_for_inspection_is_answered_for_when_its_ring_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The camera comes back with larger frames while inspection is dead."""
    bench.inspection.close()
    bench.fire(1)
    bench.camera.picture()
    bench.until(lambda: bench.capture._handover and bench.capture._handover.taken, "it waits")
    larger = msgspec.structs.replace(INFO, frame_bytes=2 * FRAME_BYTES)
    monkeypatch.setattr(bench.camera, "open", lambda: larger)
    bench.camera.coming.put(CameraLost("unplugged"))
    bench.until(lambda: bench.heard(bench.control, WantRing), "it asks for a larger ring")
    bench.grant(2 * FRAME_BYTES)
    assert bench.until(bench.unjudged, "it is answered") == [(1, "left", Reason.CAMERA_DOWN)]
    assert bench.dropped() == {("capture", Reason.CAMERA_DOWN): 1}
    bench.until(lambda: bench.camera.starts == 2, "it streams into the larger one")


def test_free_running_frames_of_a_stream_that_settles_are_dropped_before_anything_is_promised(make: Make) -> None:
    bench = make("free")
    bench.give_ids()
    bench.picture(settling=True)
    bench.picture(settling=True)
    bench.picture()
    (frame,) = bench.until(bench.handed, "the first that is settled")
    assert (frame.trigger_id, frame.frame_id, frame.settling) == (1, 3, False)
    assert bench.dropped() == {("capture", "settling"): 2} and bench.unjudged() == []
    assert len(bench.logged()) == 1


@pytest.mark.parametrize(
    ("said", "reason"), [({"complete": False}, Reason.INCOMPLETE), ({"repeats": True}, Reason.FROZEN)]
)
def test_a_free_running_frame_that_cannot_be_judged_is_an_error(
    make: Make, said: dict[str, bool], reason: Reason
) -> None:
    bench = make("free")
    bench.give_ids()
    bench.picture(**said)
    assert bench.until(bench.unjudged, "it is answered") == [(1, "left", reason)]
    assert bench.dropped() == {("capture", reason): 1} and bench.frames() == []
    bench.picture(repeats=True, settling=True)
    bench.until(lambda: bench.dropped().get(("capture", "settling")), "what settles is no error")
    assert bench.unjudged() == []


def test_a_picture_that_repeats_is_its_trigger_s_error(bench: Bench) -> None:
    bench.fire(1)
    bench.picture(repeats=True)
    assert bench.until(bench.unjudged, "it is answered") == [(1, "left", Reason.FROZEN)]


def test_more_triggers_than_may_wait_are_answered_at_once(bench: Bench) -> None:
    for number in range(1, 6):
        bench.fire(number)
    assert bench.answers() == {5: Reason.OVERRUN}, "one is exposing, three may wait"


def test_one_that_makes_room_for_another_takes_the_pictures_that_were_asked_for_and_no_more(bench: Bench) -> None:
    """The next incarnation has another configuration (`leaving.py`)."""
    bench.fire(1)
    bench.fire(2)
    bench.control.send(Stop(is_restart=True))
    bench.turn()
    bench.fire(3)
    assert bench.answers() == {3: Reason.CAMERA_DOWN}, "at once"
    leaving, exposures = bench.capture._leaving, bench.capture._exposures
    assert not leaving.is_due(exposures, time.monotonic() - 1), "pictures are still to come"
    handed: list[int] = []
    for number in (1, 2):
        bench.picture()
        bench.until(lambda number=number: handed.extend(bench.frames()) or number in handed, "it is handed over")
    assert handed == [1, 2]
    assert leaving.is_due(exposures, time.monotonic() - 1)


def test_one_that_makes_room_for_another_does_not_wait_for_pictures_that_never_come(bench: Bench) -> None:
    bench.fire(1)
    bench.fire(2)
    bench.control.send(Stop(is_restart=True))
    bench.turn()
    bench.until(lambda: bench.capture._leaving.is_due(bench.capture._exposures, time.monotonic()), "it leaves")
    assert bench.camera.triggered == 1
    assert bench.capture._leaving.reason is Reason.CAMERA_DOWN, "as which the rest is answered"


def test_what_is_asked_of_one_that_lets_its_camera_go_for_another_is_no_crash(bench: Bench) -> None:
    bench.control.send(Stop(is_restart=True))
    bench.turn()
    bench.send_trigger(2)
    bench.finish()
    said: list[Unjudged] = []
    with contextlib.suppress(ChannelClosed):  # once all that it said is read
        said.extend(one for one in bench.publish.drain() if isinstance(one, Unjudged))
    assert [(one.trigger_id, one.reason) for one in said] == [(2, Reason.CAMERA_DOWN)]


def test_another_deadline_and_another_depth_hold_for_triggers_from_then_on(make: Make) -> None:
    bench = make("software", trigger={"mode": "software", "deadline_ms": DEADLINE_MS, "queue_depth": 1})
    station = bench.station.model_copy(deep=True)
    trigger = station.cameras["left"].trigger.model_copy(update={"deadline_ms": 9_000.0, "queue_depth": 2})
    left = station.cameras["left"].model_copy(update={"trigger": trigger})
    changed = station.model_copy(update={"cameras": {"left": left}})
    for number in (1, 2, 3):
        bench.fire(number)
    assert bench.answers() == {3: Reason.OVERRUN}, "one is exposing, one may wait"
    with station_file(changed) as descriptor:
        bench.control.send(Offer(number=1), descriptor=descriptor)
    bench.fire(4)
    assert bench.answers() == {4: Reason.OVERRUN}, "offered only"
    bench.control.send(Commit(number=1, generation=2))
    bench.until(lambda: bench.heard(bench.control, Taken), "it is taken over")
    bench.fire(5)
    bench.fire(6)
    assert bench.answers() == {6: Reason.OVERRUN}
