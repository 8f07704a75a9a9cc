"""Opening GigE Vision cameras, with Debian's independent fake camera."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from edge.cameras.aravis import Library
from edge.cameras.aravis_device import Device, FeatureKind
from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError
from tests.cameras.gige_bench import (
    LONGEST_CALL_S,
    SMALL,
    gige,
    opened,
    settings,
)


def test_opening_tells_what_the_camera_is(stock: str) -> None:
    config = settings(stock, features=SMALL | {"AcquisitionFrameRate": 50})
    with closing(gige(config)) as camera:
        info = camera.open()
    assert (info.vendor, info.model, info.serial) == ("Aravis", "Fake", "ST1")
    assert (info.width, info.height, info.pixel_format, info.frame_bytes) == (128, 96, "Mono8", 128 * 96)
    assert info.period_s == pytest.approx(0.02)


def test_a_serial_number_is_an_address_too(stock: str) -> None:
    with closing(gige(settings("ST1"))) as camera:
        assert camera.open().serial == "ST1"


def test_features_arrive_at_the_camera(stock: str) -> None:
    features = {"ExposureTimeAbs": 2500, "GainRaw": 2, "AcquisitionFrameRate": 40.0, "TestBoolean": True}
    with closing(gige(settings(stock, features=features))) as camera:
        camera.open()
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
    with closing(gige(settings(stock))) as camera:
        camera.open()  # and the refusal left the camera free


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
    deadline = time.monotonic() + 60  # its heartbeat ends after 3 s
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
