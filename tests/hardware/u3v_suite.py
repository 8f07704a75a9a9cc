"""USB3 Vision cameras: libaravis and libusb as they are, with a camera made of software. Run by `vivid.sh`, in its
virtual machine, where libusb hears of plugs from udev, as anywhere.
"""

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError, CameraLost, CapturedFrame
from edge.cameras.gige import GigeCamera
from edge.cameras.gige_discovery import discover
from tests.cameras.contract import LosableContract, MakeCamera, Streaming, streaming
from tests.cameras.gige_bench import gige, settings
from tests.cameras.lending import LATENESS_S, LONGEST_CALL_S, PATIENCE_S, wait_until
from tests.hardware.deploy_suite import udev_daemon
from tests.hardware.u3v_camera import GUID, MAKER, MODEL, SERIAL, pixels

RATE_HZ = 20.0
STILL = {"ExposureTime": 2_000.0}
# The kernel enumerates a device, and udev reads its rules, on a processor that is emulated.
PLUG_S = 30.0


class U3vDevice:
    """The camera, a process of its own, and its plug."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.hardware.u3v_camera"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._is_in = True
        self._wait(is_there=True)

    def order(self, line: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def lose(self) -> None:
        self.order("unplug")
        self._is_in = False
        self._wait(is_there=False)

    def restore(self) -> None:
        if not self._is_in:
            self.order("plug_in")
            self._is_in = True
            self._wait(is_there=True)

    def hang(self) -> None:
        self.order("hang")

    def resume(self) -> None:
        self.order("resume")

    def end(self) -> None:
        with self._process:
            self._process.kill()
        self._wait(is_there=False)

    @staticmethod
    def _wait(*, is_there: bool) -> None:
        until = time.monotonic() + PLUG_S
        while bool(discover()) != is_there:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture(scope="module")
def plugged() -> Iterator[U3vDevice]:
    library = ctypes.CDLL("libaravis-0.8.so.0")
    # Each search would wait a second for what answers on networks that are not there.
    library.arv_disable_interface(b"GigEVision")
    with udev_daemon():
        device = U3vDevice()
        yield device
        device.end()
    library.arv_enable_interface(b"GigEVision")


@pytest.fixture
def device(plugged: U3vDevice) -> Iterator[U3vDevice]:
    yield plugged
    plugged.resume()
    plugged.restore()


def camera(mode: str = "free", address: str = SERIAL, **changes: object) -> GigeCamera:
    trigger = {"counter": changes.pop("counter")} if "counter" in changes else {}
    return gige(settings(address, **{"features": STILL, **changes}), mode, **trigger)


def is_as_taken(stream: Streaming, frame: CapturedFrame) -> bool:
    size = stream.info.width * stream.info.height
    return frame.complete and np.array_equal(stream.slots[frame.slot][:size], pixels(frame.frame_id, size))


class TestUsb3Vision(LosableContract):
    """The contract, with loss."""

    RATE_HZ = RATE_HZ
    FRAMES = 12
    # The device is a program beside us on an emulated processor: a pause of 0.2 s is a third of what it sends here.
    RATE_TOLERANCE = 0.6
    TRIGGERS = 10
    CYCLES = 2  # of more than a second each: some hundred commands on an emulated processor

    test_waiting_for_a_hanging_device_ends_with_the_timeout = None  # below, when nothing is asked of it

    @pytest.fixture
    def free_running(self, device: U3vDevice) -> MakeCamera:
        return camera

    @pytest.fixture
    def triggered(self, device: U3vDevice) -> MakeCamera:
        return lambda: camera("software")


def test_it_is_found_and_opened_by_serial_number_or_guid(device: U3vDevice) -> None:
    (found,) = discover()
    assert not found.is_busy
    assert (found.source, found.address, found.vendor, found.model) == ("gige", SERIAL, MAKER, MODEL)
    for address in (SERIAL.lower(), GUID):
        one = camera(address=address)
        assert one.open().serial == SERIAL
        one.close()
    with pytest.raises(CameraAbsent, match="no GigE Vision or USB3 Vision device answers as U3V-0002"):
        camera(address="U3V-0002").open()


def test_one_that_is_in_use_is_busy_and_found(device: U3vDevice) -> None:
    first = camera()
    first.open()
    with pytest.raises(CameraBusy, match="camera trunk: another program"):
        camera().open()
    assert [(found.serial, found.is_busy) for found in discover()] == [(SERIAL, True)]
    first.close()
    second = camera()
    assert second.open().serial == SERIAL
    second.close()


def test_features_are_set_and_read_back(device: U3vDevice) -> None:
    with streaming(lambda: camera(features={"Width": 96, "Height": 64, "ExposureTime": 3_000.0})) as stream:
        assert (stream.info.width, stream.info.height, stream.info.exposure_s) == (96, 64, pytest.approx(0.003))
        has = {feature.name: feature for feature in stream.camera.features()}
        assert (has["ExposureTime"].value, has["ExposureTime"].unit) == (3_000.0, "us")
        # What its maker left on is off.
        assert (has["ExposureAuto"].value, has["TriggerMode"].value) == ("Off", "Off")
        assert stream.camera.set_feature("ExposureTime", 4_000.0).value == 4_000.0
        assert all(frame.complete for frame in stream.take(3))
    with pytest.raises(CameraConfigError, match=r"features.Width = 1000: .*256"):
        camera(features={"Width": 1000}).open()
    with pytest.raises(CameraConfigError, match=r"ExposureTime"):
        camera(allow_automatic=True, features={"ExposureAuto": "Continuous", "ExposureTime": 50.0}).open()


def test_pictures_are_those_of_the_camera_to_the_last_bit(device: U3vDevice) -> None:
    with streaming(lambda: camera(features={"Width": 256, "Height": 200})) as stream:
        for number in range(20):
            frame = stream.wait()
            assert is_as_taken(stream, frame)
            assert number > 0 or frame.frame_id < 3  # it counts from the start of the stream
            assert frame.device_timestamp_ns is not None
            stream.camera.release(frame.slot)


def test_software_triggers_each_give_their_picture(device: U3vDevice) -> None:
    late_ms: list[float] = []
    with streaming(lambda: camera("software")) as stream:
        for number in range(20):
            asked_ns = time.monotonic_ns()
            stream.camera.trigger()
            frame = stream.wait()
            late_ms.append((frame.host_timestamp_ns - asked_ns) / 1e6)
            assert frame.frame_id == number and is_as_taken(stream, frame)
            stream.camera.release(frame.slot)
    print(f"\nUSB3 Vision: trigger to complete picture {np.median(late_ms):.0f} ms, {max(late_ms):.0f} at most")


def test_edges_of_its_input_give_pictures(device: U3vDevice) -> None:
    with streaming(lambda: camera("line")) as stream:
        assert stream.camera.next(0.1) is None
        device.order("pulse 4")
        frames = [stream.wait() for _ in range(4)]
        assert [frame.frame_id for frame in frames] == [0, 1, 2, 3]
        assert all(is_as_taken(stream, frame) for frame in frames)


def test_the_counter_in_the_chunks_tells_of_edges_without_a_picture(device: U3vDevice) -> None:
    chunks = ("CounterValue", "ExposureTime")
    features = {"ExposureTime": 100_000.0}  # so long it is busy
    with streaming(lambda: camera("line", counter="Counter0", chunks=chunks, features=features)) as stream:
        frames = []
        for orders in (["pulse 1"], ["pulse 1", "rush 3"], ["pulse 1"]):
            for order in orders:
                device.order(order)
            frames += stream.take(1)
    assert [frame.frame_id for frame in frames] == [0, 1, 2]
    counts = [frame.trigger_count or 0 for frame in frames]
    assert np.diff(counts).tolist() == [4, 1]


def test_pictures_that_never_come_are_gaps_of_the_ids(device: U3vDevice) -> None:
    with streaming(camera) as stream:
        before = stream.take(3)[-1].frame_id
        device.order("swallow 3")
        frames = stream.take(8)
        assert frames[-1].frame_id - before == 8 + 3 == 8 + stream.camera.stats().lost


def test_half_a_picture_is_not_whole(device: U3vDevice) -> None:
    with streaming(camera) as stream:
        stream.take(3)
        device.order("short")
        frames = [stream.wait() for _ in range(4)]
        assert [is_as_taken(stream, frame) for frame in frames].count(False) == 1
        assert [frame.complete for frame in frames].count(False) == 1 == stream.camera.stats().incomplete


def test_an_unplugged_camera_is_lost_at_once_and_found_again(device: U3vDevice) -> None:
    with streaming(lambda: camera("line")) as stream:
        stream.camera.next(0.1)
        device.order("unplug")
        told_ms = 1e3 * seconds_until_lost(stream)
        closed_ms = 1e3 * seconds_of(stream.camera.close)
    print(f"\nUSB3 Vision, line: told {told_ms:.0f} ms after the plug, closed in {closed_ms:.0f} ms")
    device.lose()
    with pytest.raises(CameraAbsent):
        camera().open()
    device.restore()
    assert opens()


def test_one_that_hangs_unasked_is_lost_within_two_seconds(device: U3vDevice) -> None:
    with streaming(lambda: camera("line")) as stream:
        stream.camera.next(0.2)
        device.hang()
        told_s = seconds_until_lost(stream, "answers no question")
        closed_s = seconds_of(stream.camera.close)
    print(f"\nUSB3 Vision, line: hangs, told after {told_s:.1f} s, closed in {closed_s:.1f} s")
    assert told_s < 2.0 + LATENESS_S and closed_s < LONGEST_CALL_S
    device.resume()
    wait_until(opens, "it does not come back")


def seconds_until_lost(stream: Streaming, why: str = "camera trunk") -> float:
    def watch() -> None:
        while time.monotonic() - began < PATIENCE_S:
            stream.camera.next(0.05)

    began = time.monotonic()
    with pytest.raises(CameraLost, match=why):
        watch()
    return time.monotonic() - began


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def opens() -> bool:
    try:
        with streaming(camera) as stream:
            return stream.wait().complete
    except (CameraAbsent, CameraBusy, CameraLost):
        return False
