"""Several pictures for one trigger: each is a view, set and taken in turn, and each that fails answers for itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.cameras.camera import CameraConfigError, CameraLost
from edge.messages import Frame, Release
from edge.records import FrameRef, Reason
from tests.capture_bench import SLOTS, Bench, Connect, benches

VIEWS = ("left.bright", "left.dark", "left.side")
BRIGHT, DARK, SIDE = {"ExposureTime": 100}, {"ExposureTime": 900, "Gain": 2}, {"LineSelector": "Line1"}
# Nothing is connected: the bench gives capture its own camera.
CAMERA = {
    "source": "gige",
    "address": "none",
    "detect_frozen": False,
    "settling_frames": 1,
    "shot": [
        {"name": "bright", "role": "lid", "features": BRIGHT},
        {"name": "dark", "role": "rim", "features": DARK},
        {"name": "side", "role": "label", "features": SIDE},
    ],
}


@pytest.fixture
def bench(tmp_path: Path, channels: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with benches(tmp_path, channels, monkeypatch) as make:
        yield make("software", **CAMERA)


def take(bench: Bench, count: int) -> None:
    """The camera takes so many of the pictures that it is asked for, one after another."""
    for _ in range(count):
        asked = bench.camera.triggered
        bench.picture()
        bench.until(lambda before=asked: bench.camera.triggered > before or not bench.capture._exposures._waiting, "on")


def handed(bench: Bench, count: int) -> list[FrameRef]:
    found: list[FrameRef] = []
    bench.until(lambda: found.extend(bench.handed()) or len(found) >= count, f"{count} frames")
    return found


def test_the_shots_of_a_trigger_are_set_and_taken_one_after_another(bench: Bench) -> None:
    bench.fire(1, views=VIEWS)
    bench.fire(2, views=VIEWS)
    assert (bench.camera.triggered, bench.camera.prepared) == (1, [BRIGHT]), "one outstanding"
    frames = []
    for number in range(6):
        take(bench, 1)
        frames += handed(bench, 1)
        assert len(bench.camera.prepared) == min(number + 2, 6)
    assert [(one.trigger_id, one.camera, one.view) for one in frames] == [
        (trigger_id, "left", view) for trigger_id in (1, 2) for view in VIEWS
    ]
    assert bench.camera.prepared == [BRIGHT, DARK, SIDE] * 2
    assert not any(one.is_part for one in frames) and bench.unjudged() == []
    assert [one.settling for one in frames] == [True, False, False, False, False, False], "it is judged, and says so"


def test_a_shot_that_the_camera_refuses_fails_alone(bench: Bench) -> None:
    bench.camera.refuses["Gain"] = CameraConfigError("Gain: read back 1")
    bench.fire(1, views=VIEWS)
    take(bench, 2)
    assert [one.view for one in handed(bench, 2)] == ["left.bright", "left.side"]
    assert bench.unjudged() == [(1, "left.dark", Reason.CAMERA_DOWN)]


def test_shots_that_find_no_slot_fail_alone(bench: Bench) -> None:
    for number in (1, 2):
        bench.fire(number, views=VIEWS)
    take(bench, SLOTS)
    expected = [(2, "left.dark", Reason.NO_SLOT), (2, "left.side", Reason.NO_SLOT)]
    found: list[tuple[int, str | None, Reason]] = []
    bench.until(lambda: found.extend(bench.unjudged()) or len(found) == 2, "answered")
    assert found == expected


def test_the_shots_left_when_the_deadline_has_passed_are_not_taken(bench: Bench) -> None:
    bench.fire(1, views=VIEWS, within_ms=150)
    bench.until(lambda: bench.promised_deadline_passed(1), "late")
    bench.picture()
    assert [one.view for one in handed(bench, 1)] == ["left.bright"], "it was asked for in time"
    found: list[tuple[int, str | None, Reason]] = []
    bench.until(lambda: found.extend(bench.unjudged()) or len(found) == 2, "answered")
    assert found == [(1, "left.dark", Reason.DEADLINE), (1, "left.side", Reason.DEADLINE)]
    assert bench.camera.triggered == 1


def test_a_camera_that_goes_answers_for_every_shot_that_was_not_taken(bench: Bench) -> None:
    bench.fire(1, views=VIEWS)
    bench.fire(2, views=VIEWS)
    take(bench, 1)
    assert [one.view for one in handed(bench, 1)] == ["left.bright"]
    bench.camera.coming.put(CameraLost("unplugged"))
    found: list[tuple[int, str | None, Reason]] = []
    bench.until(lambda: found.extend(bench.unjudged()) or len(found) == 5, "answered")
    missing = [(1, "left.dark"), (1, "left.side"), *((2, view) for view in VIEWS)]
    assert found == [(trigger_id, view, Reason.CAMERA_DOWN) for trigger_id, view in missing]
    bench.until(lambda: bench.camera.starts == 2 and bench.capture._is_streaming, "it streams again")
    bench.fire(3, views=VIEWS)
    take(bench, 3)
    assert [one.view for one in handed(bench, 3)] == list(VIEWS)


def test_a_camera_that_is_away_answers_at_once_for_all_views(bench: Bench) -> None:
    bench.capture._is_streaming = False
    bench.fire(1, views=VIEWS)
    assert bench.unjudged() == [(1, None, Reason.CAMERA_DOWN)]


def test_the_queue_counts_triggers_not_shots(bench: Bench) -> None:
    for number in range(1, 6):
        bench.fire(number, views=VIEWS)
    assert bench.unjudged() == [(5, None, Reason.OVERRUN)], "one is exposing, three may wait"


def test_the_log_knows_which_shots_inspection_answers_for(bench: Bench) -> None:
    bench.fire(1, views=VIEWS)
    take(bench, 2)
    handed(bench, 2)
    assert bench.handed_views(1) == ["left.bright", "left.dark"]


def test_inspection_s_death_is_answered_for_by_shot(bench: Bench) -> None:
    bench.fire(1, views=VIEWS)
    take(bench, 1)
    frame = bench.until(lambda: bench.heard(bench.inspection, Frame), "handed over")[0].frame
    assert frame.view == "left.bright"
    take(bench, 1)
    frame = bench.until(lambda: bench.heard(bench.inspection, Frame), "handed over")[0].frame
    bench.inspection.send(Release(slot=frame.slot, generation=frame.generation))
    bench.turn()
    bench.inspection.close()
    found: list[tuple[int, str | None, Reason]] = []
    bench.until(lambda: found.extend(bench.unjudged()) or found, "answered")
    assert found == [(1, "left.bright", Reason.WORKER_CRASH)]
