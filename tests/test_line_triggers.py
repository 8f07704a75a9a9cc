"""Capture of a camera that the line itself fires: every pulse has one trigger, and every trigger an answer."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.cameras.camera import CameraLost, CameraStalled
from edge.messages import Opened
from edge.records import FrameRef, Reason
from tests.capture_bench import DEADLINE_MS, SLOTS, Bench, Connect, benches

Make = Callable[..., Bench]
# Two shots for each pulse. Nothing is connected: the bench gives capture its own camera.
SHOTS = {
    "source": "gige",
    "address": "none",
    "detect_frozen": False,
    "settling_frames": 0,
    "shot": [{"name": "bright", "role": "lid"}, {"name": "dark", "role": "rim"}],
}
MS = 1_000_000


@pytest.fixture
def make(tmp_path: Path, channels: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    with benches(tmp_path, channels, monkeypatch) as made:
        yield made


@pytest.fixture
def bench(make: Make) -> Bench:
    found = make("line")
    found.give_ids()
    return found


def handed(bench: Bench, count: int) -> list[FrameRef]:
    """So many frames come to inspection."""
    found: list[FrameRef] = []
    bench.until(lambda: found.extend(bench.handed()) or len(found) >= count, f"{count} frames")
    assert len(found) == count
    return found


def answered(bench: Bench, count: int) -> list[tuple[int, str | None, Reason]]:
    """So many views are answered by capture."""
    found: list[tuple[int, str | None, Reason]] = []
    bench.until(lambda: found.extend(bench.unjudged()) or len(found) >= count, f"{count} answers")
    assert len(found) == count
    return found


def test_each_frame_opens_its_own_trigger_in_order_and_none_takes_another_s_place(bench: Bench) -> None:
    for _ in range(SLOTS):
        bench.picture()
    assert [frame.trigger_id for frame in handed(bench, SLOTS)] == [1, 2, 3, 4]
    triggers = bench.logged()
    assert [one.trigger_id for one in triggers] == [1, 2, 3, 4]
    assert {(one.camera, one.source, one.views) for one in triggers} == {("left", "line", ())}
    assert [one.trigger.trigger_id for one in bench.heard(bench.publish, Opened)] == [1, 2, 3, 4]
    assert bench.dropped() == {}


def test_the_deadline_counts_from_when_the_part_was_there(bench: Bench) -> None:
    complete_ns = time.monotonic_ns()
    bench.picture(at_ns=complete_ns, started_ns=complete_ns - 70 * MS, host_timestamp_utc_ns=500 * MS)
    (frame,) = handed(bench, 1)
    (trigger,) = bench.logged()
    assert (trigger.opened_ns, trigger.opened_utc_ns) == (complete_ns - 70 * MS, 430 * MS)
    assert trigger.deadline_ns == frame.deadline_ns == trigger.opened_ns + round(DEADLINE_MS * MS)


def test_pictures_that_never_arrived_are_answered_in_their_place(bench: Bench) -> None:
    bench.picture()
    bench.picture(lost=2)
    assert [frame.trigger_id for frame in handed(bench, 2)] == [1, 4]
    assert answered(bench, 2) == [(2, "left", Reason.INCOMPLETE), (3, "left", Reason.INCOMPLETE)]
    assert bench.dropped() == {("camera", "lost"): 2}


def test_pictures_that_found_no_slot_say_so(make: Make) -> None:
    bench = make("line")
    bench.give_ids()
    for _ in range(SLOTS):
        bench.picture()
    bench.until(lambda: bench.capture._was_full, "every slot is taken")
    # Inspection gives nothing back while three more parts pass.
    assert handed(bench, SLOTS)
    bench.until(lambda: bench.camera.free, "a slot is free again")
    bench.picture(lost=3)
    assert [frame.trigger_id for frame in handed(bench, 1)] == [8]
    assert answered(bench, 3) == [(one, "left", Reason.NO_SLOT) for one in (5, 6, 7)]


def test_edges_that_came_too_fast_are_answered(bench: Bench) -> None:
    bench.picture(trigger_count=100)
    bench.picture(trigger_count=103)
    assert [frame.trigger_id for frame in handed(bench, 2)] == [1, 4]
    assert answered(bench, 2) == [(2, "left", Reason.OVERRUN), (3, "left", Reason.OVERRUN)]


@pytest.mark.parametrize(
    ("said", "reason"), [({"complete": False}, Reason.INCOMPLETE), ({"repeats": True}, Reason.FROZEN)]
)
def test_a_frame_that_cannot_be_judged_is_its_trigger_s_error(
    bench: Bench, said: dict[str, bool], reason: Reason
) -> None:
    bench.picture(**said)
    assert answered(bench, 1) == [(1, "left", reason)]
    assert bench.frames() == [] and bench.dropped() == {("capture", reason): 1}
    assert len(bench.camera.free) == SLOTS


def test_a_frame_taken_while_the_stream_settles_is_judged_and_says_so(bench: Bench) -> None:
    bench.picture(settling=True, used_bytes=77)
    (frame,) = handed(bench, 1)
    assert (frame.settling, frame.used_bytes, frame.view) == (True, 77, "left")


def test_nothing_is_known_of_pulses_while_the_camera_was_away(bench: Bench) -> None:
    bench.picture(trigger_count=5)
    handed(bench, 1)
    bench.camera.coming.put(CameraLost("unplugged"))
    bench.until(lambda: bench.camera.starts == 2, "it streams again")
    bench.picture(lost=500, trigger_count=900)
    assert [frame.trigger_id for frame in handed(bench, 1)] == [2]
    assert bench.unjudged() == [] and len(bench.logged()) == 2
    assert reconnects(bench) == {("left", "lost"): 1}


def reconnects(bench: Bench) -> dict[tuple[str, ...], float]:
    rows = ((one, found[0]) for one, found in bench.page.read())
    return {one.labels: n for one, n in rows if n and one.metric.name == "goldline_camera_reconnects_total"}


def test_a_camera_that_stalled_is_counted_as_such(bench: Bench) -> None:
    bench.camera.coming.put(CameraStalled("silent"))
    bench.until(lambda: bench.camera.starts == 2, "it streams again")
    bench.until(lambda: reconnects(bench) == {("left", "stalled"): 1}, "it is counted")


def test_without_ids_a_part_is_counted_not_promised(make: Make) -> None:
    bench = make("line")
    bench.picture()
    bench.picture(lost=1)
    bench.until(lambda: bench.dropped().get(("capture", "overrun")) == 2, "both are dropped")
    assert bench.logged() == [] and bench.frames() == [] and len(bench.camera.free) == SLOTS
    bench.give_ids()
    bench.picture()
    assert [frame.trigger_id for frame in handed(bench, 1)] == [1]


def test_each_shot_of_a_pulse_is_a_view_of_its_trigger(make: Make) -> None:
    bench = make("line", **SHOTS)
    bench.give_ids()
    views: list[tuple[int, str]] = []
    for pulse in range(4):
        for at_ms in (0, 5):
            bench.picture(device_timestamp_ns=(1 + pulse * 100 + at_ms) * MS)
        # What shows which of the first burst's frames is the first, comes with the second.
        views += [(frame.trigger_id, frame.view) for frame in handed(bench, 1 if pulse == 0 else 2)]
    both = [(number, f"left.{shot}") for number in (2, 3, 4) for shot in ("bright", "dark")]
    assert views == [(1, "left.bright"), *both]
    assert answered(bench, 1) == [(1, "left.dark", Reason.MISSING_VIEW)]
    assert {one.views for one in bench.logged()} == {("left.bright", "left.dark")}
    assert len(bench.logged()) == 4


def test_a_lost_shot_is_that_view_s_error_and_a_camera_that_goes_answers_for_the_rest(make: Make) -> None:
    bench = make("line", **SHOTS)
    bench.give_ids()
    for at_ms in (0, 5, 100, 105):
        bench.picture(device_timestamp_ns=(1 + at_ms) * MS)
    handed(bench, 3)
    answered(bench, 1)
    bench.picture(lost=1, device_timestamp_ns=206 * MS)
    bench.picture(device_timestamp_ns=301 * MS)
    assert [(frame.trigger_id, frame.view) for frame in handed(bench, 2)] == [(3, "left.dark"), (4, "left.bright")]
    assert answered(bench, 1) == [(3, "left.bright", Reason.INCOMPLETE)]
    bench.camera.coming.put(CameraLost("unplugged"))
    assert answered(bench, 1) == [(4, "left.dark", Reason.CAMERA_DOWN)]


def test_whatever_happens_every_trigger_is_answered_once(bench: Bench) -> None:
    """Frames, gaps, edges too many, broken frames and a camera that goes away, then the end."""
    fates: list[dict[str, Any]] = [
        {}, {"lost": 3}, {"complete": False}, {"trigger_count": 50}, {"trigger_count": 53}, {"repeats": True},
    ]  # fmt: skip
    answers: list[int] = []
    for number in range(60):
        bench.until(lambda: answers.extend(bench.frames()) or bench.camera.free, "a slot is free")
        bench.picture(**fates[number % len(fates)])
        if number % 25 == 24:
            starts = bench.camera.starts
            bench.camera.coming.put(CameraLost("unplugged"))
            bench.until(
                lambda before=starts: answers.extend(bench.frames()) or bench.camera.starts > before, "it streams again"
            )
    bench.picture()
    bench.until(lambda: answers.extend(bench.frames()) or len(bench.camera.free) == SLOTS, "the last slot comes back")
    answers += [trigger_id for trigger_id, _, _ in bench.unjudged()]
    promised = [one.trigger_id for one in bench.logged()]
    assert sorted(answers) == promised == list(range(1, len(promised) + 1))
    assert len(promised) > 60


@pytest.mark.parametrize("behind_ns", [0, 39_000_000_000_000, -39_000_000_000_000])
def test_pictures_lost_about_a_frame_that_does_not_tell_its_time_are_answered_all_the_same(
    bench: Bench, behind_ns: int
) -> None:
    now_ns = time.monotonic_ns()
    bench.picture(at_ns=now_ns, device_timestamp_ns=now_ns - behind_ns)
    handed(bench, 1)
    # Its first packet was lost, and with it the device's time; then two pictures went altogether.
    bench.picture(at_ns=now_ns + 100 * MS, complete=False)
    bench.picture(at_ns=now_ns + 400 * MS, device_timestamp_ns=now_ns + 400 * MS - behind_ns, lost=2)
    assert [reason for _, _, reason in answered(bench, 3)] == [Reason.INCOMPLETE] * 3
    assert [frame.trigger_id for frame in handed(bench, 1)] == [5]
