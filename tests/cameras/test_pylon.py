"""Basler cameras: the contract with pylon's own emulator, settings with read-back, and what goes wrong."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge.camera_config import PylonCamera as Config
from edge.cameras.camera import CameraAbsent, CameraConfigError
from edge.cameras.pylon import PylonCamera, discover
from tests.cameras.contract import CameraContract, MakeCamera, streaming
from tests.cameras.lending import lost_between
from tests.needs import needs_module

FIRST, SECOND = "0815-0000", "0815-0001"
SMALL = {"Width": 128, "Height": 96, "PixelFormat": "Mono8"}
RATE_HZ = 50.0


@pytest.fixture(scope="module", autouse=True)
def emulator() -> None:
    """Two devices; pylon looks at the variable when it is first asked for devices."""
    needs_module("pypylon", "pylon")
    os.environ["PYLON_CAMEMU"] = "2"


def maker(mode: str = "free", **changes: object) -> MakeCamera:
    values = {"source": "pylon", "serial": FIRST, "features": SMALL | {"AcquisitionFrameRate": RATE_HZ}} | changes
    config = Config.model_validate({"trigger": {"mode": mode}} | values)
    return lambda: PylonCamera("top", config, config.trigger)


class TestContract(CameraContract):
    """Each frame has a slot that pylon filled itself."""

    CYCLES = 30
    GROWTH_BYTES = 8 << 20

    @pytest.fixture
    def free_running(self) -> MakeCamera:
        return maker()

    @pytest.fixture
    def triggered(self) -> MakeCamera:
        return maker("software")

    def test_frames_that_find_no_buffer_are_lost_and_counted(self, free_running: MakeCamera) -> None:
        """The emulator makes no pictures while it has no buffer, so none is lost; a camera's block ids would tell."""
        with streaming(free_running) as stream:
            held = [stream.wait() for _ in stream.slots]
            before = [stream.digest(slot) for slot in range(len(stream.slots))]
            assert sorted(frame.slot for frame in held) == list(range(len(stream.slots)))
            assert stream.camera.next(10 / self.RATE_HZ) is None
            assert [stream.digest(slot) for slot in range(len(stream.slots))] == before
            for frame in held:
                stream.camera.release(frame.slot)
            after = stream.take(2)
            assert lost_between([*held, *after]) == 0

    # For the same reason nobody is too slow for it.
    test_a_slow_consumer_gets_frames_in_order_and_what_it_missed_is_counted = None


def test_devices_are_discovered_and_one_is_opened_beside_another() -> None:
    found = {device.address: device for device in discover()}
    assert {FIRST, SECOND} <= found.keys()
    assert (found[FIRST].vendor, found[FIRST].model, found[FIRST].is_busy) == ("Basler", "Emulation", False)
    with closing(maker()()) as camera:
        info = camera.open()
        assert (info.vendor, info.model, info.serial) == ("Basler", "Emulation", FIRST)
        assert info.exposure_s == pytest.approx(0.01)
        with closing(maker(serial=SECOND)()) as other:
            assert other.open().serial == SECOND


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"serial": "1"}, CameraAbsent, "no Basler camera with serial number 1 answers"),
        ({"serial": None}, CameraConfigError, f"^cameras.top.serial: must name one of {FIRST}, {SECOND}$"),
        ({"features": {"Width": 100_000}}, CameraConfigError, "features.Width = 100000: outside 1 to 4096"),
        ({"features": {"Widht": 100}}, CameraConfigError, "features.Widht: .* no feature of that name; it has Width"),
        ({"features": {"PixelFormat": "Mono9"}}, CameraConfigError, "PixelFormat = 'Mono9': not one of Mono8"),
        ({"features": {"PixelFormat": "RGB16Packed"}}, CameraConfigError, "pixel format 0x02300033 is none of"),
        ({"features": {"TriggerMode": "On"}}, CameraConfigError, "TriggerMode: trigger.mode decides it"),
        ({"features": {"ExposureAuto": "Continuous"}}, CameraConfigError, "declare allow_automatic = true"),
        ({"strobe": {"line": "Line9"}}, CameraConfigError, r"strobe.LineMode\[Line9\]: LineSelector has Line1"),
    ],
)
def test_what_the_camera_does_not_take_is_refused(
    changes: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        maker(**changes)().open()
    with closing(maker()()) as camera:
        camera.open()  # and the refusal left the camera free


def test_settings_arrive_at_the_camera() -> None:
    changes = {
        "features": SMALL | {"ExposureTime": 2500.0, "Gain": 2.0, "LineMode[Line3]": "Output"},
        "strobe": {"line": "Line2", "inverted": True},
        "trigger": {"mode": "line", "source": "Line1", "activation": "FallingEdge"},
    }
    with closing(maker(**changes)()) as camera:
        info = camera.open()
        has = {feature.name: feature.value for feature in camera.features()}
        assert (info.period_s, info.exposure_s) == (None, pytest.approx(0.0025))
        expected = {"TriggerSelector": "FrameStart", "TriggerMode": "On", "TriggerSource": "Line1"}
        expected |= {"TriggerActivation": "FallingEdge", "ExposureTime": 2500.0, "LineSelector": "Line1"}
        assert {name: has[name] for name in expected} == expected
        lines = {"LineMode[Line1]": "Input", "LineMode[Line2]": "Output", "LineMode[Line3]": "Output"}
        lines |= {"LineSource[Line2]": "ExposureActive", "LineInverter[Line2]": True}
        for key, value in lines.items():
            name, entry = key.rstrip("]").split("[")
            camera.set_feature("LineSelector", entry)
            assert {it.name: it.value for it in camera.features()}[name] == value, key


def test_an_edge_counter_is_refused() -> None:
    with pytest.raises(CameraConfigError, match=r"^cameras.top.trigger.counter: .*frame ids"):
        maker(trigger={"mode": "line", "source": "Line1", "counter": "Counter1"})().open()


def test_a_burst_that_the_camera_cannot_take_is_refused() -> None:
    shots = [{"name": name, "role": name} for name in "ab"]
    with pytest.raises(CameraConfigError, match=r"AcquisitionBurstFrameCount"):
        maker(trigger={"mode": "line", "source": "Line1"}, shot=shots)().open()


def test_an_automatic_feature_that_was_left_on_is_switched_off() -> None:
    with closing(maker(allow_automatic=True, features=SMALL | {"ExposureAuto": "Continuous"})()) as camera:
        camera.open()
        camera.set_feature("GainAuto", "Continuous")
        assert {it.name: it.value for it in camera.features()}["GainAuto"] == "Continuous"
    with closing(maker()()) as camera:
        camera.open()
        has = {it.name: it.value for it in camera.features()}
    assert (has["ExposureAuto"], has["GainAuto"]) == ("Off", "Off")


def test_features_are_described() -> None:
    with closing(maker()()) as camera:
        camera.open()
        has = {feature.name: feature for feature in camera.features()}
        width, trigger, software = has["Width"], has["TriggerMode"], has["TriggerSoftware"]
        assert (width.kind, width.value, width.lowest, width.highest, width.step) == ("integer", 128, 1, 4096, 1)
        assert width.is_writable and width.path == ("ImageFormatControl",) and width.description
        assert (trigger.kind, trigger.entries, trigger.value) == ("enumeration", ("Off", "On"), "Off")
        assert (software.kind, software.value) == ("command", None)
        assert has["ExposureTime"].unit == "us" and not has["DeviceVendorName"].is_writable
        assert camera.set_feature("Gain", 3.0).value == pytest.approx(3.0, rel=0.01)
        with pytest.raises(CameraConfigError, match=r"^camera top.Gain = 1000000.0: outside"):
            camera.set_feature("Gain", 1e6)


def test_a_failed_buffer_is_an_incomplete_frame_and_the_next_is_whole() -> None:
    with streaming(maker()) as stream:
        stream.take(2)
        stream.camera.set_feature("ForceFailedBufferCount", 2)
        stream.camera._opened().execute("ForceFailedBuffer")
        frames = stream.take(12)
        stats = stream.camera.stats()
    assert sum(not frame.complete for frame in frames) == stats.incomplete == 2
    assert frames[-1].complete and lost_between(frames) == 0


def test_shots_are_taken_under_their_own_settings() -> None:
    shots = [
        {"name": "bright", "role": "a", "features": {"ExposureTime": 20_000.0}},
        {"name": "dark", "role": "b", "features": {"ExposureTime": 500.0}},
    ]
    with streaming(maker("software", shot=shots)) as stream:
        exposures, took_us = [], []
        for shot in shots * 2:
            stream.camera.prepare(shot["features"])
            stream.camera.trigger()
            frame = stream.wait()
            took_us.append((frame.host_timestamp_ns - frame.started_ns) / 1e3)
            stream.camera.release(frame.slot)
            exposures += [it.value for it in stream.camera.features() if it.name == "ExposureTime"]
    assert exposures == took_us == [20_000.0, 500.0] * 2


@pytest.mark.parametrize("pixel_format", ["Mono8", "RGB8Packed", "BayerRG8", "Mono12"])
def test_each_pixel_format_fills_its_slot(pixel_format: str) -> None:
    with streaming(maker(features=SMALL | {"PixelFormat": pixel_format, "AcquisitionFrameRate": RATE_HZ})) as stream:
        frame = stream.wait()
        assert frame.complete and np.ptp(stream.slots[frame.slot][: stream.info.frame_bytes]) > 100


def test_without_the_library_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["pypylon"] = None
from tests.cameras.test_pylon import discover
try:
    discover()
except Exception as problem:
    print(type(problem).__name__, problem)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert ran.stdout.startswith('CameraConfigError source = "pylon": pypylon is not installed (')
    assert ran.stdout.endswith('); pip install "goldline[pylon]"\n') and ran.stdout.count("\n") == 1
