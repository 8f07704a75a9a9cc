"""Pictures by an input of the camera, several for each trigger, and edges that gave none."""

import time
from itertools import pairwise

import numpy as np
import pytest

from edge.cameras import edge_count, gige_counter
from edge.cameras.camera import CameraConfigError, CameraLost, CapturedFrame
from tests.cameras.gige_bench import WIRE, WireCamera, opened, settings
from tests.cameras.lending import LONGEST_CALL_S, Streaming

SHOTS = [{"name": "bright", "role": "bright"}, {"name": "dark", "role": "dark"}]
# A reading of the counter counts once the line was quiet for exposure, transfer and a slack of 0.2 s; the rest is for a
# busy machine.
PROVEN_S = 1.5


def frames_of(stream: Streaming, count: int) -> list[CapturedFrame]:
    """So many whole frames, and none after them for a while."""
    frames = stream.take(count)
    assert all(frame.complete for frame in frames)
    idle(stream, 0.1)
    return frames


def idle(stream: Streaming, seconds: float) -> None:
    """Nothing comes for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert stream.camera.next(0.05) is None


def unpictured(frames: list[CapturedFrame]) -> int:
    """Edges between the first and last of these frames that gave no picture, by what the camera counted."""
    counts = [(frame.frame_id, frame.trigger_count) for frame in frames if frame.trigger_count is not None]
    return sum(after[1] - before[1] - (after[0] - before[0]) for before, after in pairwise(counts))


# --- by the input


def test_each_pulse_gives_one_picture(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={}), "line", activation="FallingEdge") as stream:
        assert stream.info.period_s is None
        idle(stream, 0.2)
        wire.order("pulse 20")
        frames = frames_of(stream, 20)
    assert [after.frame_id - before.frame_id for before, after in pairwise(frames)] == [1] * 19
    state = wire.order("report")
    assert (state["TriggerMode[FrameStart]"], state["TriggerSource[FrameStart]"]) == ("On", "Line0")
    assert (state["TriggerActivation[FrameStart]"], state["LineMode[Line0]"]) == ("FallingEdge", "Input")
    # Its maker had left it waiting for these.
    assert (state["TriggerMode[AcquisitionStart]"], state["TriggerMode[FrameBurstStart]"]) == ("Off", "Off")


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({"source": "Line3"}, "cameras.trunk.trigger.TriggerSource = 'Line3': not one of Software, Line0"),
        ({"counter": "Counter5"}, r"trigger.counter.CounterEventSource\[Counter5\]: CounterSelector has Counter0"),
        ({"counter": "Counter0", "activation": "AnyEdge"}, "'AnyEdge': not one of RisingEdge, FallingEdge"),
    ],
)
def test_a_trigger_it_has_not_is_refused(wire: WireCamera, trigger: dict[str, object], said: str) -> None:
    with pytest.raises(CameraConfigError, match=said), opened(settings(WIRE, features={}), "line", **trigger):
        pass


# --- edges without a picture


def test_the_counter_in_the_chunks_tells_of_each_edge_without_a_picture(wire: WireCamera) -> None:
    config = settings(WIRE, features={}, chunks=("CounterValue",))
    with opened(config, "line", counter="Counter0") as stream:
        wire.order("pulse 3")
        frames = frames_of(stream, 3)
        wire.order("rush 4")  # one is taken, three come while it is busy
        frames += frames_of(stream, 1)
        wire.order("pulse 2")
        frames += frames_of(stream, 2)
    assert unpictured(frames) == 3
    # The exposure is no chunk of theirs; then it is the one that was set.
    assert all(frame.started_ns and frame.host_timestamp_ns - frame.started_ns >= 2_000_000 for frame in frames)
    assert wire.order("report")["CounterEventSource[Counter0]"] == "Line0"


def test_the_counters_register_tells_of_them_where_the_line_was_quiet(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={}), "line", counter="Counter0") as stream:
        wire.order("pulse 2")
        frames = frames_of(stream, 2)
        wire.order("rush 4")
        frames += frames_of(stream, 1)
        idle(stream, PROVEN_S)
        wire.order("pulse 2")
        frames += frames_of(stream, 2)
    assert [frame.trigger_count for frame in frames] == [1, 2, 3, 7, 8]
    assert unpictured(frames) == 3


def test_a_busy_line_never_makes_up_an_edge(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={"ExposureTime": 20_000.0}), "line", counter="Counter0") as stream:
        frames: list[CapturedFrame] = []
        for burst in (1, 5, 1, 2, 10, 1):
            wire.order(f"pulse {burst}")
            frames += stream.take(burst)
            idle(stream, 0.06)  # the counter is read, and at times a picture comes before that counts
    assert [frame.trigger_count for frame in frames] == list(range(1, len(frames) + 1))


def test_a_picture_that_never_arrived_is_not_told_as_an_edge_without_one(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={}), "line", counter="Counter0") as stream:
        wire.order("pulse 1")
        frames = frames_of(stream, 1)
        wire.order("swallow 2")
        wire.order("pulse 2")
        idle(stream, PROVEN_S)  # the counter says 3 by now
        wire.order("pulse 1")
        frames += frames_of(stream, 1)
    assert [frame.trigger_count for frame in frames] == [1, 4]
    assert frames[1].frame_id - frames[0].frame_id == 3
    assert unpictured(frames) == 0


def test_a_counter_of_something_else_is_not_trusted(wire: WireCamera) -> None:
    # This camera's chunk data has its first counter, whichever was set up.
    config = settings(WIRE, features={}, chunks=("CounterValue",))
    with opened(config, "line", counter="Counter1") as stream:
        wire.order("pulse 6")
        with pytest.raises(CameraLost, match="its counter does not count the edges that trigger"):
            stream.take(6)


def test_a_counter_that_does_not_run_is_not_trusted(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={}), "line", counter="Counter0") as stream:
        stream.camera.set_feature("CounterEventSource[Counter0]", "Off")
        wire.order("pulse 6")
        stream.take(6)
        with pytest.raises(CameraLost, match="its counter does not count the edges that trigger"):
            idle(stream, 3.0)


def test_a_picture_that_is_delayed_is_no_edge_without_one(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={"TriggerDelay": 900_000.0}), "line", counter="Counter0") as stream:
        frames = []
        for _ in range(3):
            wire.order("pulse 1")
            # The counter is read, and the picture comes long after exposure, transfer and slack.
            frames += stream.take(1)
    assert [frame.trigger_count for frame in frames] == [1, 2, 3]
    # Its time is that of the edge: the line waits for its answer from there on.
    for frame in frames:
        assert frame.started_ns is not None and frame.host_timestamp_ns - frame.started_ns >= 900_000_000


def test_the_counter_is_followed_on_a_line_that_is_never_quiet(
    wire: WireCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if 60 edges were ten thousand, and 0.2 s were 2 s.
    monkeypatch.setattr(edge_count, "_LARGEST_STEP", 60)
    monkeypatch.setattr(gige_counter, "_FOLLOW_NS", 200_000_000)
    with opened(settings(WIRE, features={}), "line", counter="Counter0") as stream:
        wire.order("pulse 100")
        frames = stream.take(100)  # no wait for one of them is over without it
        idle(stream, 0.5)
    assert [frame.trigger_count for frame in frames] == list(range(1, 101))


# --- several pictures for each trigger


def test_one_edge_gives_a_burst(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={}, shot=SHOTS), "line", counter="Counter0") as stream:
        wire.order("pulse 1")
        frames = frames_of(stream, 2)
        idle(stream, PROVEN_S)
        wire.order("pulse 2")
        frames += frames_of(stream, 4)
    assert [frame.trigger_count for frame in frames] == [1, 1, 2, 2, 3, 3]
    state = wire.order("report")
    assert (state["TriggerMode[FrameBurstStart]"], state["TriggerMode[FrameStart]"]) == ("On", "Off")
    assert state["AcquisitionBurstFrameCount"] == 2


def test_a_camera_without_bursts_is_refused_for_shots_by_line(stock: str) -> None:
    said = 'cameras.trunk.shot: the camera has no TriggerSelector = FrameBurstStart, .* use trigger.mode = "software"'
    with pytest.raises(CameraConfigError, match=said), opened(settings(stock, shot=SHOTS), "line"):
        pass


def test_each_shot_has_its_own_features(wire: WireCamera) -> None:
    bright, dark = {"ExposureTime": 9_000.0, "LineInverter[Line1]": True}, {"ExposureTime": 500.0}
    shots = [dict(SHOTS[0], features=bright), dict(SHOTS[1], features=dark | {"LineInverter[Line1]": False})]
    config = settings(WIRE, features={"ExposureTime": 2_000.0}, shot=shots, chunks=("ExposureTime",))
    with opened(config, "software") as stream:
        assert stream.info.exposure_s == pytest.approx(0.009)  # the first shot is set
        for number in (1, 3):
            for shot, exposure_us in ((shots[0], 9_000), (shots[1], 500)):
                stream.camera.prepare(shot["features"])
                stream.camera.trigger()
                frame = stream.wait()
                state = wire.order("report")
                assert state["ExposureTime"] == exposure_us
                assert state["LineInverter[Line1]"] == (exposure_us == 9_000)
                assert frame.started_ns is not None
                assert frame.host_timestamp_ns - frame.started_ns >= exposure_us * 1000
                stream.camera.release(frame.slot)
            assert wire.order("report")["pictures"] == number + 1


@pytest.mark.parametrize(
    ("mode", "features", "said"),
    [
        ("software", {"Width": 32}, r"shot.dark.features.Width: every picture of a camera has one size"),
        ("line", {"ExposureTime": 50.0}, r"shot.dark.features.ExposureTime: with trigger.mode = \"line\" the camera"),
        ("software", {"TriggerSource": "Line0"}, r"shot.dark.features.TriggerSource: trigger.mode"),
    ],
)
def test_a_shot_that_cannot_be_is_refused_when_opened(
    wire: WireCamera, mode: str, features: dict[str, object], said: str
) -> None:
    config = settings(WIRE, features={}, shot=[SHOTS[0], dict(SHOTS[1], features=features)])
    with pytest.raises(CameraConfigError, match=said), opened(config, mode):
        pass


def test_a_shot_that_the_camera_does_not_take_is_refused_when_opened(wire: WireCamera) -> None:
    shots = [dict(shot, features={"ExposureTime": us}) for shot, us in zip(SHOTS, (100.0, 5.0), strict=True)]
    said = r"cameras.trunk.shot.dark.features.ExposureTime = 5.0: outside 10 to"
    with pytest.raises(CameraConfigError, match=said), opened(settings(WIRE, features={}, shot=shots), "software"):
        pass


def test_a_shot_that_would_be_taken_as_another_was_is_refused(wire: WireCamera) -> None:
    # Nothing would bring the camera's own 2 ms back.
    config = settings(
        WIRE, features={"ExposureTime": 2_000.0}, shot=[SHOTS[0], dict(SHOTS[1], features={"ExposureTime": 500.0})]
    )
    said = "cameras.trunk.shot.bright.features: ExposureTime is missing; shot dark sets it, and it would stay so"
    with pytest.raises(CameraConfigError, match=said), opened(config, "software"):
        pass


def test_a_dead_camera_that_is_told_a_shot_is_lost(wire: WireCamera) -> None:
    shots = [dict(SHOTS[0], features={"ExposureTime": 700.0}), dict(SHOTS[1], features={"ExposureTime": 900.0})]
    with opened(settings(WIRE, features={}, shot=shots), "software") as stream:
        wire.running.kill()
        wire.running.wait()
        began = time.monotonic()
        with pytest.raises(CameraLost, match=r"it did not acknowledge a shot's features within 1\.0 s"):
            stream.camera.prepare({"ExposureTime": 700.0})
        assert time.monotonic() - began < LONGEST_CALL_S
        with pytest.raises(CameraLost):
            stream.camera.next(0)


def test_preparing_a_shot_takes_milliseconds(wire: WireCamera) -> None:
    features = {"ExposureTime": 700.0}
    shots = [dict(SHOTS[0], features=features), dict(SHOTS[1], features={"ExposureTime": 900.0})]
    with opened(settings(WIRE, features={}, shot=shots), "software") as stream:
        took = []
        for _ in range(10):
            began = time.monotonic()
            stream.camera.prepare(features)
            took.append(time.monotonic() - began)
    assert float(np.median(took)) < 0.1  # 1 ms on a quiet machine
