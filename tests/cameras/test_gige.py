"""GigE Vision over real sockets: against Debian's independent fake camera and against the one of this project."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge.cameras import aravis_stream
from edge.cameras.aravis import Library
from edge.cameras.aravis_device import Device, FeatureKind
from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError, CameraLost
from edge.cameras.gige_reception import FrameIds
from edge.images import as_bgr
from tests.cameras.gige_bench import (
    OWN,
    SLOTS,
    SMALL,
    SPECIAL,
    STOCK,
    Opened,
    network,
    opened,
    own_camera,
    ramp,
    settings,
    stock_camera,
    write_pictures,
)

# The longest that any call of a camera may take, with room for a machine that is busy with something else.
LONGEST_CALL_S = 2.5 + 1.0


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Debian's fake camera, in a network of the tests' own."""
    with network(), stock_camera(STOCK, tmp_path_factory.mktemp("stock") / "stdout"):
        yield STOCK


# --- without any camera


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


# --- opening


def test_opening_tells_what_the_camera_is(stock: str) -> None:
    config = settings(stock, features=SMALL | {"AcquisitionFrameRate": 50})
    with opened(config, start=False) as bench:
        info = bench.info
    assert (info.vendor, info.model, info.serial) == ("Aravis", "Fake", "ST1")
    assert (info.width, info.height, info.pixel_format, info.frame_bytes) == (128, 96, "Mono8", 128 * 96)
    assert info.period_s == pytest.approx(0.02)


def test_a_serial_number_is_an_address_too(stock: str) -> None:
    with opened(settings("ST1"), start=False) as bench:
        assert bench.info.serial == "ST1"


def test_features_arrive_at_the_camera(stock: str) -> None:
    features = {"ExposureTimeAbs": 2500, "GainRaw": 2, "AcquisitionFrameRate": 40.0, "TestBoolean": True}
    with opened(settings(stock, features=features), start=False):
        pass
    device = Device(Library(), stock)
    try:
        assert device.get("ExposureTimeAbs", FeatureKind.FLOAT) == 2500.0
        assert device.get("GainRaw", FeatureKind.INTEGER) == 2
        assert device.get("TestBoolean", FeatureKind.BOOLEAN) is True
        assert device.get("TriggerMode", FeatureKind.ENUMERATION) == "Off"
    finally:
        device.close()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"ExposureTimeAbs": 1e12}, "trunk.features.ExposureTimeAbs = 1000000000000.0: outside 10 to 10000000"),
        ({"GainRaw": 11}, "GainRaw = 11: outside 0 to 10"),
        ({"Width": 0}, "Width = 0: outside 1 to"),
        ({"ExposureTime": 100}, "ExposureTime: the camera has no feature of that name; it has ExposureTimeAbs"),
        ({"PixelFormat": "Mono9"}, "PixelFormat = 'Mono9': not one of .*RGB8"),
        ({"PixelFormat": "Mono16"}, "pixel format 0x01100007 is none of Mono8"),
        ({"PixelFormat": 5}, "the feature is an enumeration"),
        ({"GainRaw": 2.5}, "the feature is an integer"),
        ({"GainRaw": True}, "the feature is an integer"),
        ({"TestBoolean": 1}, "the feature is a boolean"),
        ({"SensorWidth": 100}, "SensorWidth = 100: the camera has 2048, and it is read-only"),
        # 10.4 us become 10: the camera rounds without a word.
        ({"ExposureTimeAbs": 10.4}, "ExposureTimeAbs = 10.4: the camera took 10.0 instead"),
        ({"TriggerMode": "On"}, "TriggerMode: trigger.mode decides it"),
    ],
)
def test_a_setting_the_camera_does_not_take_is_refused(stock: str, features: dict[str, object], said: str) -> None:
    with pytest.raises(CameraConfigError, match=said), opened(settings(stock, features=SMALL | features)):
        pass
    with opened(settings(stock), start=False):
        pass  # and the refusal left the camera free


def test_who_is_not_there_is_absent(stock: str) -> None:
    for address in ("127.0.0.9", "NOBODY"):
        began = time.monotonic()
        with pytest.raises(CameraAbsent, match=address), opened(settings(address)):
            pass
        assert time.monotonic() - began < LONGEST_CALL_S


def test_a_camera_in_use_is_busy_until_its_dead_owner_is_forgotten(stock: str) -> None:
    hold = f"""
import sys, time
sys.path.insert(0, {str(Path.cwd())!r})
from tests.cameras.gige_bench import opened, settings
with opened(settings({stock!r})) as bench:
    bench.wait()
    print("holding", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"holding\n"
            with pytest.raises(CameraBusy, match="another program controls"), opened(settings(stock)):
                pass
        finally:
            owner.kill()
    deadline = time.monotonic() + 8  # its heartbeat ends after 3 s
    while True:
        try:
            with opened(settings(stock)) as bench:
                # The dead owner's stream still runs; only a camera that was stopped first sends to us.
                assert bench.wait().complete
        except CameraBusy:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


# --- streaming


def test_every_pixel_of_every_frame_is_in_its_slot_across_the_wrap_of_the_ids(tmp_path: Path, stock: str) -> None:
    config = settings(SPECIAL, features=SMALL | {"AcquisitionFrameRate": 200.0})
    frame_ids: list[int] = []
    # A camera of its own, because its ids must start where it starts: at 65400.
    with stock_camera(SPECIAL, tmp_path / "stdout"), opened(config) as bench:
        while len(frame_ids) < 200:
            frame = bench.wait()
            assert frame.complete
            np.testing.assert_array_equal(bench.pixels(frame).reshape(96, 128), ramp(frame.frame_id, 128, 96))
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


def test_a_frame_handed_over_is_not_touched_and_what_finds_no_slot_is_counted(stock: str) -> None:
    with opened(settings(stock, features=SMALL | {"AcquisitionFrameRate": 100.0})) as bench:
        held = [bench.wait() for _ in range(SLOTS)]
        before = [bench.pixels(frame).copy() for frame in held]
        # Silence that comes of having lent no slot is not the camera's: it is not lost after a second of it.
        assert bench.camera.next(1.3) is None
        for frame, pixels in zip(held, before, strict=True):
            np.testing.assert_array_equal(bench.pixels(frame), pixels)
            bench.camera.release(frame.slot)
        after = bench.wait()
        assert after.frame_id - held[-1].frame_id > 50
        assert bench.camera.stats().lost >= after.frame_id - held[-1].frame_id - 1


def test_nothing_is_written_once_stopped_and_it_can_be_started_again(stock: str) -> None:
    with opened(settings(stock, features=SMALL | {"AcquisitionFrameRate": 200.0})) as bench:
        bench.wait()
        bench.camera.stop()
        bench.camera.stop()
        before = [slot.copy() for slot in bench.slots]
        time.sleep(0.2)
        assert all(np.array_equal(slot, old) for slot, old in zip(bench.slots, before, strict=True))
        bench.camera.start(bench.slots)
        assert bench.camera.stats().frames == 0
        assert bench.wait().complete


def test_opening_and_closing_leaves_no_descriptor_and_no_thread(stock: str) -> None:
    def left() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def cycle() -> None:
        with opened(settings(stock, features=SMALL | {"AcquisitionFrameRate": 200.0})) as bench:
            bench.wait()

    cycle()
    before = left()
    for _ in range(5):
        cycle()
    # The library keeps a thread or two of its own; five times something would be a leak.
    assert all(after - at_first < 5 for after, at_first in zip(left(), before, strict=True))


def test_a_frame_with_lost_packets_is_never_whole(tmp_path: Path, stock: str) -> None:
    features = {"PixelFormat": "Mono8", "Width": 256, "Height": 256, "ExposureTimeAbs": 10_000, "GainRaw": 0}
    config = settings(SPECIAL, features=features | {"AcquisitionFrameRate": 50.0})
    whole = broken = 0
    with stock_camera(SPECIAL, tmp_path / "stdout", "-r", "20"), opened(config) as bench:
        while whole + broken < 80:
            frame = bench.wait()
            if frame.complete:
                np.testing.assert_array_equal(bench.pixels(frame).reshape(256, 256), ramp(frame.frame_id, 256, 256))
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
    assert warning["event"] == "receive_buffer_small"
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


def drain(bench: Opened, seconds: float) -> None:
    """Takes frames and gives them back."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        frame = bench.camera.next(0.1)
        if frame is not None:
            bench.camera.release(frame.slot)


def test_a_camera_that_dies_is_lost_and_comes_back(tmp_path: Path, stock: str) -> None:
    config = settings(SPECIAL, features=SMALL | {"AcquisitionFrameRate": 50.0})
    with stock_camera(SPECIAL, tmp_path / "first") as running, opened(config) as bench:
        bench.wait()
        running.kill()
        began = time.monotonic()
        with pytest.raises(CameraLost, match=r"^camera trunk: it sent no frame for 1\.0 s$"):
            drain(bench, seconds=4)
        assert time.monotonic() - began < 1.0 + 1.5
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
        assert time.monotonic() - began < 1.0 + 1.0
        began = time.monotonic()
        bench.camera.close()
        assert time.monotonic() - began < LONGEST_CALL_S


# --- the project's own camera


def test_own_camera_serves_colour_bit_for_bit_and_answers_200_of_200_triggers(tmp_path: Path, stock: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pictures = write_pictures(folder, count=7)
    got: list[tuple[int, int]] = []
    with own_camera(folder, OWN, tmp_path / "served"), opened(settings(OWN, features={}), "software") as bench:
        info = bench.info
        assert (info.width, info.height, info.pixel_format) == (96, 64, "RGB8")
        for index in range(200):
            bench.camera.trigger()
            frame = bench.wait()
            assert frame.complete
            picture = as_bgr(bench.pixels(frame), info.width, info.height, info.pixel_format)
            np.testing.assert_array_equal(picture, pictures[index % len(pictures)])
            got.append((frame.frame_id, index))
            bench.camera.release(frame.slot)
        assert bench.camera.next(0.1) is None
        stats = bench.camera.stats()
    assert (stats.frames, stats.incomplete, stats.lost) == (200, 0, 0)
    served = [json.loads(line) for line in (tmp_path / "served").read_text().splitlines()]
    assert [line["frame"] for line in served] == list(range(200))
    assert [line["image"] for line in served] == [str(folder / f"{index % 7:02}.png") for index in range(200)]
    assert [line["frame_id"] for line in served] == [(frame_id - 1) % 65_535 + 1 for frame_id, _index in got]


def test_own_camera_runs_freely_in_grey_and_in_parts(tmp_path: Path, stock: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_pictures(folder, count=2)
    options = ("--pixel-format", "Mono8", "--rate", "100")
    with own_camera(folder, OWN, tmp_path / "served", *options) as running:
        with opened(settings(OWN, features={})) as bench:
            assert (bench.info.width, bench.info.height, bench.info.pixel_format) == (96, 64, "Mono8")
            assert bench.info.period_s == pytest.approx(0.01)
            whole = {frame.frame_id % 2: bench.pixels(frame).copy() for frame in (bench.wait(), bench.wait())}
        with opened(settings(OWN, features={"Width": 50, "Height": 30})) as bench:
            frame = bench.wait()
            part = whole[frame.frame_id % 2].reshape(64, 96)[:30, :50]
            np.testing.assert_array_equal(bench.pixels(frame).reshape(30, 50), part)
        running.send_signal(signal.SIGTERM)
        assert running.wait(5) == 0


def test_own_camera_says_in_a_line_why_it_cannot_serve(tmp_path: Path, stock: str) -> None:
    empty, mixed = tmp_path / "empty", tmp_path / "mixed"
    for folder in (empty, mixed):
        folder.mkdir()
    write_pictures(mixed, count=2)
    write_pictures(mixed, count=1, width=20)
    command = [sys.executable, "-m", "edge.cameras.fake_gige", "--interface", STOCK, "--folder"]
    for folder, said in ((empty, "empty"), (mixed, "01.png: 96 x 64 px; a camera has one size")):
        answer = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False, timeout=15)
        assert answer.returncode == 2
        assert said in answer.stderr
        assert answer.stderr.count("\n") == 1
