"""V4L2 cameras: the contract, and what goes wrong with real ones. Run by `vivid.sh`, in its virtual machine."""

import os
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge import ring
from edge.cameras.camera import (
    CameraAbsent,
    CameraLost,
    CameraStalled,
    CapturedFrame,
)
from edge.cameras.v4l2_stream import CopyingStream, DirectStream
from edge.images import as_bgr
from tests.cameras.contract import LosableContract, MakeCamera, Streaming
from tests.cameras.lending import lost_between
from tests.hardware.vivid_bench import (
    COPIED,
    DIRECT,
    LINK,
    RATE_HZ,
    SMALL,
    Vivid,
    camera,
    opened,
    order,
    plug_in,
    put_back,
    settings,
    unplug,
)

LONGEST_CALL_S = 2.5
# Pictures of which the figures are.
COUNTED = 25


class TestDirect(LosableContract):
    """The contract, pictures straight into the slots."""

    @pytest.fixture
    def device(self) -> Iterator[Vivid]:
        device = Vivid(DIRECT)
        yield device
        device.restore()

    @pytest.fixture
    def free_running(self) -> MakeCamera:
        return lambda: camera(settings())

    @pytest.fixture
    def triggered(self) -> MakeCamera:
        return lambda: camera(settings(), "software")

    def test_slots_are_filled_by_the_kernel(self) -> None:
        with opened() as stream:
            assert isinstance(stream.camera._stream, DirectStream)


class TestCopied(LosableContract):
    """The contract with a driver that has only memory of its own."""

    @pytest.fixture
    def device(self) -> Iterator[Vivid]:
        device = Vivid(COPIED)
        yield device
        device.restore()

    @pytest.fixture
    def free_running(self) -> MakeCamera:
        return lambda: camera(settings(device=COPIED))

    @pytest.fixture
    def triggered(self) -> MakeCamera:
        return lambda: camera(settings(device=COPIED), "software")

    def test_slots_are_filled_by_copying(self) -> None:
        with opened(settings(device=COPIED)) as stream:
            assert isinstance(stream.camera._stream, CopyingStream)


def test_pictures_land_in_the_ring_where_another_process_sees_them() -> None:
    """The real ring, whose pages no copy goes through; a second mapping stands for the process that judges."""
    slot_bytes = SMALL["width"] * SMALL["height"]
    descriptor = ring.create("ring", 4, slot_bytes)
    ours, theirs = (ring.Ring(descriptor, 4, slot_bytes) for _ in range(2))
    os.close(descriptor)
    top = camera(settings())
    info = top.open()
    top.start(ours.buffers)
    try:
        assert isinstance(top._stream, DirectStream)
        for _ in range(12):
            frame = top.next(5)
            assert frame is not None and frame.complete
            image = as_bgr(theirs.buffers[frame.slot], info.width, info.height, info.pixel_format)
            assert image[90, 5].mean() > 150 and image[90, -5].mean() < 60, "the first bar is light, the last is black"
            theirs.buffers[frame.slot][:] = 0
            top.release(frame.slot)
    finally:
        top.close()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Controls that tests move are as they should be, before and after."""
    put_back()
    yield
    put_back()


def picture(stream: Streaming, frame: CapturedFrame) -> np.ndarray:
    info = stream.info
    return as_bgr(stream.slots[frame.slot], info.width, info.height, info.pixel_format, frame.used_bytes)


# The first bars of the kernel's test pattern, left to right, as strong (1) or weak (0) blue, green, red.
BARS = [(1, 1, 1), (0, 1, 1), (1, 1, 0), (0, 1, 0), (1, 0, 1), (0, 0, 1), (1, 0, 0), (0, 0, 0)]


@pytest.mark.parametrize("device", [DIRECT, COPIED], ids=["direct", "copied"])
@pytest.mark.parametrize("pixel_format", ["YUYV", "RGGB", "BGGR", "GRBG", "GBRG"])
def test_colours_are_where_they_should_be(pixel_format: str, device: Path) -> None:
    order("osd_text_mode", 2, device)
    with opened(settings(device=device, pixel_format=pixel_format)) as stream:
        image = picture(stream, stream.wait())
    width = image.shape[1] / len(BARS)
    for number, bar in enumerate(BARS):
        middle = image[20:160, round((number + 0.3) * width) : round((number + 0.7) * width)].reshape(-1, 3)
        assert np.all((middle > 120) == np.array(bar, bool)), (number, middle.mean(axis=0))


def test_the_kernel_tells_when_a_picture_was_taken() -> None:
    for source, is_start in ((0, False), (1, True)):
        order("timestamp_source", source)
        with opened() as stream:
            frames = stream.take(30)
        steps = [after.host_timestamp_ns - before.host_timestamp_ns for before, after in pairwise(frames)]
        assert np.median(steps) == pytest.approx(1e9 / RATE_HZ, rel=0.1), is_start


def test_a_picture_is_as_old_as_it_is_when_it_lay_in_the_queue() -> None:
    with opened() as stream:
        stream.take(5)
        time.sleep(0.5)
        looked_ns = time.monotonic_ns()
        assert looked_ns - stream.wait().host_timestamp_ns > 0.3e9


def test_a_software_trigger_gives_a_picture_that_began_after_it() -> None:
    """What changed before the order shows in the picture, every time: here white and black patterns in turn."""
    order("osd_text_mode", 2)
    late_ms = []
    with opened(mode="software") as stream:
        for number in range(30):
            white = number % 2 == 0
            order("test_pattern", "100% White" if white else "100% Black")
            asked_ns = time.monotonic_ns()
            stream.camera.trigger()
            frame = stream.wait()
            late_ms.append((frame.host_timestamp_ns - asked_ns) / 1e6)
            assert bool(picture(stream, frame).mean() > 128) is white, number
            stream.camera.release(frame.slot)
    print(
        f"\nsoftware trigger to complete picture at {RATE_HZ:g} Hz: {np.median(late_ms):.0f} ms, {max(late_ms):.0f} at most"
    )


def test_pictures_that_the_device_drops_are_counted() -> None:
    with opened(slots=8) as stream:
        order("percentage_of_dropped_buffers", 20)
        frames = stream.take(100)
        stats = stream.camera.stats()
    assert 5 <= lost_between(frames) == stats.lost <= 60
    print(f"\n20 % dropped: 100 pictures came, {stats.lost} were found lost")


def test_a_picture_that_is_not_whole_is_marked() -> None:
    with opened() as stream:
        stream.take(3)
        order("inject_v4l2_buf_flag_error")
        frames = stream.take(20)
        stats = stream.camera.stats()
    assert [frame.complete for frame in frames].count(False) == stats.incomplete == 1
    assert frames[-1].complete


def lost(stream: Streaming) -> float:
    """Seconds until the camera is lost; pictures before that are released."""
    began = time.monotonic()
    try:
        while time.monotonic() < began + 5:
            if (frame := stream.camera.next(0.5)) is not None:
                stream.camera.release(frame.slot)
    except CameraLost:
        return time.monotonic() - began
    raise AssertionError("it was not lost")


@pytest.mark.parametrize("device", [DIRECT, COPIED], ids=["direct", "copied"])
@pytest.mark.parametrize("mode", ["free", "software"])
def test_a_device_that_fails_is_lost_at_once_and_works_again_opened_anew(mode: str, device: Path) -> None:
    with opened(settings(device=device), mode) as stream:
        order("inject_fatal_streaming_error", path=device)
        print(f"\nfailure noticed after {lost(stream) * 1000:.0f} ms")
    with opened(settings(device=device)) as stream:
        assert all(frame.complete for frame in stream.take(5))


def test_a_buffer_that_the_kernel_does_not_take_back_ends_the_stream() -> None:
    with opened() as stream:
        frame = stream.wait()
        order("inject_vidioc_qbuf_error")
        stream.camera.release(frame.slot)
        assert lost(stream) < 1


def test_a_triggered_camera_that_sends_nothing_is_stalled() -> None:
    with opened(mode="software") as stream:
        assert stream.camera.next(1.5) is None
        order("percentage_of_dropped_buffers", 100)
        stream.camera.next(0.9)
        with pytest.raises(CameraStalled, match="top: it sent nothing for"):
            stream.camera.next(2)


@pytest.mark.parametrize("mode", ["free", "software"])
def test_unplugging_is_noticed_at_once(mode: str) -> None:
    device = Vivid(DIRECT)
    with opened(mode=mode) as stream:
        stream.camera.next(0.2)
        threading.Timer(0.3, device.lose).start()
        assert stream.camera.next(0.1) is None or mode == "free"
        left_s = lost(stream)
        began = time.monotonic()
        stream.camera.close()
        print(
            f"\nunplugged after 300 ms: lost after {left_s * 1000:.0f}, closed in {(time.monotonic() - began) * 1e3:.0f}"
        )
    device.restore()


def test_a_camera_comes_back_by_its_path() -> None:
    """Lost, absent while its path is away, and there again; meanwhile it is told what to look at."""
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(DIRECT)
    config = settings(device=LINK)
    try:
        with opened(config) as stream:
            stream.take(3)
        unplug()
        with pytest.raises(CameraAbsent, match=f"{LINK} is not there; there are {LINK}"):
            camera(config).open()
        plug_in()
        with opened(config) as stream:
            assert all(frame.complete for frame in stream.take(5))
    finally:
        LINK.unlink()


def test_a_thread_that_looks_late_still_gets_every_buffer_in_order() -> None:
    with opened(slots=8) as stream:
        stream.take(3)
        time.sleep(0.5)
        frames = stream.take(20)
    assert all(before.frame_id < after.frame_id for before, after in pairwise(frames))
    assert stream.camera.stats().lost == lost_between(frames) > 5


@pytest.mark.parametrize("device", [DIRECT, COPIED], ids=["direct", "copied"])
def test_how_fast(device: Path) -> None:
    for width, height, rate_hz in ((640, 360, 40), (1280, 720, 12.5)):
        with opened(settings(device=device, width=width, height=height, rate_hz=rate_hz), slots=8) as stream:
            stream.take(5)
            began, cpu, ages = time.monotonic(), time.process_time(), []
            for _ in range(COUNTED):
                frame = stream.wait()
                ages.append((time.monotonic_ns() - frame.host_timestamp_ns) / 1e6)
                stream.camera.release(frame.slot)
            elapsed = time.monotonic() - began
            stats = stream.camera.stats()
            share = (time.process_time() - cpu) / elapsed
        print(
            f"\n{width}x{height} GREY at {rate_hz:g} Hz: {COUNTED / elapsed:.1f} a second, {stats.lost} lost, "
            f"{np.median(ages):.2f} ms old when handed over, {100 * share:.0f} % of a core"
        )
        assert stats.frames > 0
