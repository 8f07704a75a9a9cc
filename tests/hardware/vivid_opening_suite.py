"""Opening and setting V4L2 cameras: who is there, who may, what is refused. Run by `vivid.sh`, in its virtual machine."""

import os
import time
from collections.abc import Iterator

import pytest

from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError
from edge.cameras.v4l2_discovery import discover
from tests.cameras.contract import Streaming
from tests.hardware.vivid_bench import DIRECT, LINK, camera, opened, order, plug_in, put_back, settings, unplug


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Controls that tests move are as they should be, before and after."""
    put_back()
    yield
    put_back()


def test_nothing_is_there() -> None:
    unplug()
    try:
        assert discover() == []
        with pytest.raises(CameraAbsent, match="no video device is there: nothing in /dev/v4l/by-id"):
            camera(settings()).open()
    finally:
        plug_in()


def test_a_camera_in_use_is_busy() -> None:
    with opened() as stream:
        stream.take(1)
        with pytest.raises(CameraBusy, match="another program streams from /dev/video0"):
            camera(settings()).open()
        assert [found.is_busy for found in discover()] == [True, False]
        stream.take(3)
    with opened() as stream:
        stream.take(1)


def test_two_open_it_and_the_second_to_start_is_refused() -> None:
    second = camera(settings())
    second.open()
    with opened() as stream:
        stream.take(1)
        with pytest.raises(CameraBusy):
            Streaming(second, stream.info, 4)
    second.close()


def test_cameras_are_found() -> None:
    first, second = discover()
    assert (first.source, first.address, first.model, first.is_busy) == ("v4l2", "/dev/video0", "vivid", False)
    assert first.serial != second.serial
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(DIRECT)
    try:
        assert discover()[0].address == str(LINK)
    finally:
        LINK.unlink()


def test_a_device_that_may_not_be_opened() -> None:
    DIRECT.chmod(0o600)  # which makes it look new
    os.seteuid(65534)
    try:
        with pytest.raises(CameraAbsent, match="just plugged in"):
            camera(settings()).open()
        time.sleep(5.5)
        with pytest.raises(CameraConfigError, match=r'top.device = "/dev/video0".*denied.*group video'):
            camera(settings()).open()
        assert "group video" in discover()[0].name
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 330}, "cameras.top.width = 330: the camera took 320 instead; it has 320x180, 640x360"),
        ({"height": 190}, "cameras.top.height = 190: the camera took 180 instead; it has 320x180"),
        ({"rate_hz": 17}, "cameras.top.rate_hz = 17: the camera took .* instead; at 320x180 it has 1, 2, "),
        ({"pixel_format": "MJPEG"}, 'cameras.top.pixel_format = "MJPEG": the camera has .*YUYV.*GREY'),
        ({"controls": {"brightness": 256}}, "top.controls.brightness = 256: outside 0 to 255"),
        ({"controls": {"brightness": True}}, "brightness = True: the control is a whole number"),
        ({"controls": {"brightnes": 1}}, "brightnes: the camera has no control of that name; it has brightness"),
        ({"controls": {"test_pattern": "Plaid"}}, "test_pattern = 'Plaid': not one of '75% Colorbar'"),
        ({"controls": {"horizontal_flip": 1}}, "horizontal_flip = 1: the control is true or false"),
        ({"controls": {"gain_automatic": True}}, "gain_automatic = True: it moves under the reference set"),
        ({"controls": {"disconnect": True}}, "disconnect = True: it is a button"),
        ({"controls": {"string": "x"}}, "string = 'x': it is a text of 2 to 4 characters"),
    ],
)
def test_a_setting_the_camera_does_not_take_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(CameraConfigError, match=said), opened(settings(**changes)):
        pass
    with opened() as stream:  # and the refusal left the camera free
        stream.take(1)


def test_controls_arrive_and_are_read_back() -> None:
    controls = {
        "brightness": 77,
        "horizontal_flip": True,
        "test_pattern": "100% Red",
        "integer_64_bits": -12345678901,
        "bitmask": 0x8000_2000,
        "string": "abc",
        "integer_menu": "3",
    }
    with opened(settings(controls=controls)) as stream:
        has = {feature.name: feature for feature in stream.camera.features()}
        assert {name: has[name].value for name in controls} == controls
        assert (has["brightness"].lowest, has["brightness"].highest, has["brightness"].kind) == (0, 255, "integer")
        assert has["test_pattern"].entries[0] == "75% Colorbar" and has["brightness"].path == ("User Controls",)
        assert stream.camera.set_feature("contrast", 99).value == 99
        assert stream.camera.set_feature("button", True).kind == "command"
        with pytest.raises(CameraConfigError, match="contrast = 999"):
            stream.camera.set_feature("contrast", 999)
        stream.take(2)


def test_what_moves_by_itself_is_switched_off_unless_allowed() -> None:
    def gain_moves() -> object:
        with opened() as stream:
            return {feature.name: feature.value for feature in stream.camera.features()}["gain_automatic"]

    order("gain_automatic", True)
    with opened(settings(allow_automatic=True)) as stream:
        assert {feature.name: feature.value for feature in stream.camera.features()}["gain_automatic"] is True
    assert gain_moves() is False
    order("gain_automatic", True)
    with opened(settings(controls={"gain_automatic": False, "gain": 33})) as stream:
        assert {feature.name: feature.value for feature in stream.camera.features()}["gain"] == 33


def test_a_trigger_input_is_refused() -> None:
    with pytest.raises(CameraConfigError, match=r'top.trigger.mode = "line": a V4L2 camera has no trigger input'):
        camera(settings(), "line").open()


def test_what_is_no_camera_is_refused() -> None:
    with pytest.raises(CameraConfigError, match=r'top.device = "/dev/null": no camera to be used'):
        camera(settings(device="/dev/null")).open()
