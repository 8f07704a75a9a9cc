"""Streaming from GigE Vision cameras over real sockets: every pixel, lost packets, lost cameras."""

import ctypes
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge.cameras import aravis_stream
from edge.cameras.aravis import Library
from edge.cameras.camera import CameraConfigError, CameraLost
from edge.cameras.gige_reception import FrameIds
from tests.cameras.gige_bench import (
    LONGEST_CALL_S,
    SLOTS,
    SMALL,
    SPECIAL,
    opened,
    pixels,
    ramp,
    settings,
    stock_camera,
)
from tests.cameras.lending import LATENESS_S


def test_a_missing_library_is_one_line_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(CameraConfigError, match=r"Debian package libaravis-0\.8-0$"):
        Library()


@given(first=st.integers(1, 65_535), steps=st.lists(st.integers(1, 32_767), min_size=1, max_size=50))
def test_16_bit_frame_ids_skip_zero_and_count_on(first: int, steps: list[int]) -> None:
    ids = FrameIds()
    position, counted = first - 1, [ids.advance(first)]
    for step in steps:
        position += step
        counted.append(ids.advance(position % 65_535 + 1))
    assert counted[0] == first
    assert [after - before for before, after in pairwise(counted)] == steps
    assert ids.lost == sum(steps) - len(steps)


@given(
    first=st.one_of(st.integers(1, 65_535), st.integers(65_536, 1 << 40)),
    named=st.lists(st.booleans(), min_size=1, max_size=50),
)
def test_frames_without_an_id_keep_their_places(first: int, named: list[bool]) -> None:
    ids, bits_16 = FrameIds(), first < 65_536
    ids.advance(first)
    for count, has_id in enumerate([*named, True], 1):
        device_id = (first - 1 + count) % 65_535 + 1 if bits_16 else first + count
        assert ids.advance(device_id if has_id else None) == first + count
    assert ids.lost == 0


@given(first=st.integers(1, 1 << 40), steps=st.lists(st.integers(1, 30_000), min_size=1))
def test_64_bit_frame_ids_are_taken_as_they_are(first: int, steps: list[int]) -> None:
    ids = FrameIds()
    device_ids = [first]
    for step in steps:
        device_ids.append(device_ids[-1] + step)
    assert [ids.advance(device_id) for device_id in device_ids] == device_ids


@pytest.mark.parametrize(("before", "after"), [(20_000, 1), (66, 65_400), (7, 7), (1 << 33, 5)])
def test_frame_ids_that_go_back_mean_that_the_camera_began_anew(before: int, after: int) -> None:
    ids = FrameIds()
    ids.advance(before)
    with pytest.raises(CameraLost, match=f"from {before} back to {after}"):
        ids.advance(after)


def test_a_frame_without_an_id_follows_the_one_before_it() -> None:
    ids = FrameIds()
    assert [ids.advance(device_id) for device_id in (None, 65_534, None, None, 3)] == [
        None,
        65_534,
        65_535,
        65_536,
        65_538,
    ]
    assert ids.lost == 1


def test_every_pixel_of_every_frame_is_in_its_slot_across_the_wrap_of_the_ids(tmp_path: Path, stock: str) -> None:
    config = settings(SPECIAL, features=SMALL | {"AcquisitionFrameRate": 200.0})
    frame_ids: list[int] = []
    # A camera of its own, because its ids must start where it starts: at 65400.
    with stock_camera(SPECIAL, tmp_path / "stdout"), opened(config) as bench:
        while len(frame_ids) < 200:
            frame = bench.wait()
            assert frame.complete
            np.testing.assert_array_equal(pixels(bench, frame).reshape(96, 128), ramp(frame.frame_id, 128, 96))
            frame_ids.append(frame.frame_id)
            bench.camera.release(frame.slot)
        stats = bench.camera.stats()
    assert frame_ids[0] <= 65_535 < frame_ids[-1]
    steps = [after - before for before, after in pairwise(frame_ids)]
    assert all(step > 0 for step in steps)
    assert (stats.frames, stats.incomplete, stats.lost) == (200, 0, sum(steps) - len(steps))


def test_timestamps_are_of_the_frame(stock: str) -> None:
    before_ns = time.monotonic_ns()
    with opened(settings(stock, features=SMALL | {"AcquisitionFrameRate": 50.0})) as bench:
        first = bench.wait()
        time.sleep(0.3)  # the next two wait in the stream meanwhile, and must not look younger for it
        late = [bench.wait(), bench.wait()]
    now_ns, now_utc_ns = time.monotonic_ns(), time.time_ns()
    stamps = [frame.host_timestamp_ns for frame in (first, *late)]
    assert before_ns < stamps[0] < stamps[1] < stamps[2] < now_ns
    assert now_ns - stamps[1] > 0.2e9
    for frame in (first, *late):
        assert frame.device_timestamp_ns is not None
        # The fake camera's clock is this machine's, so both say when the frame was.
        assert abs(frame.host_timestamp_utc_ns - frame.device_timestamp_ns) < 0.1e9
        age_ns, age_utc_ns = now_ns - frame.host_timestamp_ns, now_utc_ns - frame.host_timestamp_utc_ns
        assert abs(age_ns - age_utc_ns) < 0.05e9


def test_silence_for_want_of_slots_is_not_a_lost_camera(stock: str) -> None:
    with opened(settings(stock, features=SMALL | {"AcquisitionFrameRate": 100.0})) as bench:
        held = [bench.wait() for _ in range(SLOTS)]
        assert bench.camera.next(1.3) is None  # a camera that had slots would be lost after 1 s
        for frame in held:
            bench.camera.release(frame.slot)
        assert bench.camera.next(0.0) is None
        assert bench.wait().frame_id - held[-1].frame_id > 50


def test_a_frame_with_lost_packets_is_never_whole(tmp_path: Path, stock: str) -> None:
    features = {"PixelFormat": "Mono8", "Width": 256, "Height": 256, "ExposureTimeAbs": 10_000, "GainRaw": 0}
    config = settings(SPECIAL, features=features | {"AcquisitionFrameRate": 50.0})
    whole = broken = 0
    with stock_camera(SPECIAL, tmp_path / "stdout", "-r", "20"), opened(config) as bench:
        while whole + broken < 80:
            frame = bench.wait()
            if frame.complete:
                np.testing.assert_array_equal(pixels(bench, frame).reshape(256, 256), ramp(frame.frame_id, 256, 256))
            whole, broken = whole + frame.complete, broken + (not frame.complete)
            bench.camera.release(frame.slot)
        stats = bench.camera.stats()
    # 50 packets a frame, each lost with probability 0.02: a third of the frames survives.
    assert whole > 0
    assert broken > whole / 2
    assert (stats.frames, stats.incomplete) == (80, broken)


def test_a_receive_buffer_that_the_kernel_refuses_is_said(stock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aravis_stream, "_force", lambda own, size_bytes: None)
    with capture_logs() as lines, opened(settings(stock, receive_buffer_bytes=1 << 30)) as bench:
        bench.wait()
    (warning,) = lines
    assert warning["event"] == "the receive buffer is smaller than asked for"
    assert warning["camera"] == "trunk"
    assert warning["granted_bytes"] < warning["asked_bytes"] == 1 << 30
    assert warning["remedy"] == f"sysctl -w net.core.rmem_max={1 << 30}"


def test_a_receive_buffer_is_as_large_as_asked(stock: str) -> None:
    with capture_logs() as lines, opened(settings(stock, receive_buffer_bytes=4 << 20)) as bench:
        bench.wait()
    assert lines == []


def test_the_independent_camera_answers_software_triggers_only(stock: str) -> None:
    with opened(settings(stock), "software") as bench:
        assert bench.info.period_s is None
        assert bench.camera.next(0.3) is None
        frame_ids: list[int] = []
        for _ in range(5):
            bench.camera.trigger()
            frame = bench.wait()
            frame_ids.append(frame.frame_id)
            bench.camera.release(frame.slot)
    assert frame_ids == list(range(frame_ids[0], frame_ids[0] + 5))


# --- losing the camera


def test_a_camera_that_dies_is_lost_and_comes_back(tmp_path: Path, stock: str) -> None:
    config = settings(SPECIAL, features=SMALL | {"AcquisitionFrameRate": 50.0})
    with stock_camera(SPECIAL, tmp_path / "first") as running, opened(config) as bench:
        bench.wait()
        running.kill()
        began = time.monotonic()
        with pytest.raises(CameraLost, match=r"^camera trunk: it answers no question, 5 in a row$"):
            bench.take(1_000)
        assert time.monotonic() - began < 1.0 + LATENESS_S
        began = time.monotonic()
        bench.camera.close()
        assert time.monotonic() - began < LONGEST_CALL_S
    with stock_camera(SPECIAL, tmp_path / "second"), opened(config) as bench:
        assert bench.wait().complete


def test_a_triggered_camera_that_dies_is_lost_at_the_next_trigger(tmp_path: Path, stock: str) -> None:
    with stock_camera(SPECIAL, tmp_path / "stdout") as running, opened(settings(SPECIAL), "software") as bench:
        bench.camera.trigger()
        bench.wait()
        running.kill()
        running.wait()
        began = time.monotonic()
        with pytest.raises(CameraLost, match="did not acknowledge a trigger"):
            bench.camera.trigger()
        with pytest.raises(CameraLost):
            bench.camera.next(1.0)
        assert time.monotonic() - began < 1.0 + LATENESS_S
        began = time.monotonic()
        bench.camera.close()
        assert time.monotonic() - began < LONGEST_CALL_S
