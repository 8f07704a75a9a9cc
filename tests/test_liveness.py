"""What stalled and frozen mean, for any sequence of frames and looks; time is an argument."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edge.camera_config import CameraConfig
from edge.cameras.camera import CameraFrozen, CameraInfo, CameraStalled, CapturedFrame
from edge.liveness import FIRST_FRAME_NS, PERIODS, SAME_IN_A_ROW, SHORTEST_NS, Liveness, Rules, rules_for

S = 1_000_000_000
MS = S // 1000
FREE = Rules(is_free_running=True, patience_ns=S, detects_frozen=True)
TRIGGERED = Rules(is_free_running=False, patience_ns=S, detects_frozen=True)


def config(source: str, mode: str = "free", **keys: Any) -> CameraConfig:
    needed = {"gige": {"address": "a"}, "folder": {"path": "p"}, "simulated": {}}[source]
    values = {"source": source, "trigger": {"mode": mode}} | needed | keys
    made: CameraConfig = TypeAdapter(CameraConfig).validate_python(values)
    return made


def info(period_s: float | None = None, exposure_s: float | None = None) -> CameraInfo:
    return CameraInfo(
        vendor="v",
        model="m",
        serial="s",
        width=4,
        height=4,
        pixel_format="Mono8",
        frame_bytes=16,
        period_s=period_s,
        exposure_s=exposure_s,
    )


def frame(number: int, at_ns: int, *, device_ns: int | None = None, repeats: bool = False) -> CapturedFrame:
    return CapturedFrame(
        slot=0,
        frame_id=number,
        host_timestamp_ns=at_ns,
        host_timestamp_utc_ns=at_ns,
        device_timestamp_ns=device_ns,
        complete=True,
        repeats=repeats,
    )


def test_only_a_camera_with_a_sensor_is_watched() -> None:
    assert rules_for(config("simulated"), info()) is None
    assert rules_for(config("folder"), info()) is None
    assert rules_for(config("gige", detect_frozen=False), info()) == Rules(
        is_free_running=True, patience_ns=S, detects_frozen=False
    )


@given(
    period_s=st.none() | st.floats(0.001, 60),
    exposure_s=st.none() | st.floats(0.00001, 60),
    mode=st.sampled_from(["free", "software", "line"]),
)
def test_patience_is_three_periods_or_exposures_and_a_second_at_least(
    period_s: float | None, exposure_s: float | None, mode: str
) -> None:
    rules = rules_for(config("gige", mode), info(None if mode != "free" else period_s, exposure_s))
    assert rules is not None and rules.is_free_running == (mode == "free")
    longest_s = max([exposure_s or 0, (period_s or 0) if mode == "free" else 0])
    assert rules.patience_ns == max(SHORTEST_NS, round(PERIODS * longest_s * 1e9))


@given(gaps_ms=st.lists(st.integers(1, 999), max_size=30), silence_ms=st.integers(0, 3000))
def test_a_free_running_camera_is_stalled_by_its_patience_and_by_nothing_shorter(
    gaps_ms: list[int], silence_ms: int
) -> None:
    liveness, now_ns = Liveness("left", FREE, 0), 0
    for number, gap_ms in enumerate(gaps_ms):
        liveness.check_silence(now_ns + gap_ms * MS, is_starved=False)
        now_ns += gap_ms * MS
        liveness.arrived(frame(number, now_ns))
    patience_ns = S if gaps_ms else FIRST_FRAME_NS
    now_ns += silence_ms * MS
    if silence_ms * MS > patience_ns:
        with pytest.raises(CameraStalled, match=r"^camera left: it sent no frame for [13]\.0 s$"):
            liveness.check_silence(now_ns, is_starved=False)
    else:
        liveness.check_silence(now_ns, is_starved=False)


@given(looks=st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_a_camera_without_a_free_slot_is_not_silent(looks: list[int]) -> None:
    liveness, now_ns = Liveness("left", FREE, 0), 5
    liveness.arrived(frame(1, now_ns))
    for look_ms in looks:
        now_ns += look_ms * MS
        liveness.check_silence(now_ns, is_starved=True)
    liveness.check_silence(now_ns + S, is_starved=False)
    with pytest.raises(CameraStalled):
        liveness.check_silence(now_ns + S + 1, is_starved=False)


def test_a_triggered_camera_is_silent_for_days_and_stalled_a_second_after_its_trigger() -> None:
    liveness, day_ns = Liveness("left", TRIGGERED, 0), 86_400 * S
    liveness.check_silence(day_ns, is_starved=False)
    liveness.asked(day_ns)
    liveness.check_silence(day_ns + S, is_starved=False)
    with pytest.raises(CameraStalled, match=r"^camera left: no picture within 1\.0 s of its trigger$"):
        liveness.check_silence(day_ns + S + 1, is_starved=False)


def test_a_long_exposure_of_a_shot_has_its_time() -> None:
    liveness = Liveness("left", TRIGGERED, 0)
    liveness.exposes(2.0)
    liveness.asked(S)
    liveness.check_silence(7 * S, is_starved=False)
    liveness.exposes(0.01)
    with pytest.raises(CameraStalled, match=r"within 1\.0 s"):
        liveness.check_silence(7 * S, is_starved=False)


def test_a_picture_of_before_the_trigger_does_not_answer_it() -> None:
    liveness = Liveness("left", TRIGGERED, 0)
    liveness.asked(5 * S)
    liveness.arrived(frame(1, 5 * S - 1))
    with pytest.raises(CameraStalled):
        liveness.check_silence(7 * S, is_starved=False)
    liveness.arrived(frame(2, 7 * S))
    liveness.check_silence(20 * S, is_starved=False)


SIGNS = {
    "picture": lambda number, at_ns: frame(number, at_ns, device_ns=at_ns, repeats=number > 0),
    "frame id": lambda _number, at_ns: frame(7, at_ns, device_ns=at_ns),
    "device time": lambda number, at_ns: frame(number, at_ns, device_ns=3),
}


@pytest.mark.parametrize("sign", SIGNS)
@given(period_ms=st.integers(5, 900))
def test_a_free_running_camera_that_stands_still_is_frozen_after_its_patience(sign: str, period_ms: int) -> None:
    liveness, at_ns, number = Liveness("left", FREE, 0), 0, 0
    while number < SAME_IN_A_ROW or at_ns - period_ms * MS < S:
        liveness.check_moving()
        liveness.arrived(SIGNS[sign](number, at_ns))
        number, at_ns = number + 1, at_ns + period_ms * MS
    with pytest.raises(CameraFrozen, match=f"^camera left: it sends the same {sign} again and again$"):
        liveness.check_moving()


@pytest.mark.parametrize("sign", SIGNS)
def test_a_triggered_camera_is_frozen_at_the_third_time(sign: str) -> None:
    liveness = Liveness("left", TRIGGERED, 0)
    for number in range(SAME_IN_A_ROW):
        liveness.check_moving()
        liveness.arrived(SIGNS[sign](number, number * 60 * S))
    with pytest.raises(CameraFrozen):
        liveness.check_moving()


@given(
    frames=st.lists(st.tuples(st.integers(1, 3000), st.booleans()), max_size=40),
    rules=st.sampled_from([FREE, TRIGGERED]),
)
def test_a_camera_that_moves_in_between_is_never_frozen(frames: list[tuple[int, bool]], rules: Rules) -> None:
    liveness, now_ns = Liveness("left", rules, 0), 0
    # Every third frame at the latest is another picture; ids and device time always move.
    for number, (gap_ms, repeats) in enumerate(frames):
        now_ns += (gap_ms if rules is TRIGGERED else gap_ms % 400 + 1) * MS
        liveness.arrived(frame(number, now_ns, device_ns=now_ns, repeats=repeats and number % 2 == 1))
        liveness.check_moving()


def test_a_picture_that_is_clipped_everywhere_says_nothing() -> None:
    liveness = Liveness("left", TRIGGERED, 0)
    for number in range(10):
        liveness.arrived(frame(number, number * S, repeats=True), is_clipped=True)
        liveness.check_moving()


def test_frames_with_missing_data_in_between_do_not_hide_a_frozen_picture() -> None:
    liveness = Liveness("left", TRIGGERED, 0)
    for number in range(5):
        broken = number % 2 == 1
        seen = frame(number, number * S, repeats=number > 0 and not broken)
        liveness.arrived(msgspec.structs.replace(seen, complete=not broken))
    with pytest.raises(CameraFrozen):
        liveness.check_moving()


def test_what_may_repeat_is_never_frozen() -> None:
    rules = Rules(is_free_running=True, patience_ns=S, detects_frozen=False)
    liveness = Liveness("left", rules, 0)
    for number in range(100):
        liveness.arrived(frame(7, number * S, device_ns=3, repeats=True))
        liveness.check_moving()
