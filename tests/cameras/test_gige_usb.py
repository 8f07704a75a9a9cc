"""The way of a device that is not on a network, which is USB3 Vision's, with the device that libaravis simulates itself.

What these show is that nothing of GigE Vision is asked of a device that is none; USB itself is in `tests/hardware`.
"""

import ctypes
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from edge.cameras.aravis import Library
from edge.cameras.aravis_device import Device
from edge.cameras.camera import CameraAbsent, CameraLost, Found
from edge.cameras.gige_discovery import discover
from edge.cameras.usb_probe import UsbProbe
from tests.cameras.gige_bench import SMALL, gige, network, opened, settings

SIMULATED, SERIAL = "Fake_1", "1"
MS = 1_000_000


@pytest.fixture(scope="module", autouse=True)
def simulated() -> Iterator[None]:
    library = ctypes.CDLL("libaravis-0.8.so.0")
    # In a network without cameras, so that this one is the only device.
    with network():
        library.arv_enable_interface(b"Fake")
        yield
        library.arv_disable_interface(b"Fake")


def test_it_is_found_by_its_serial_number_and_opened_by_it() -> None:
    ids = (f"Fake_{SERIAL}",) * 2
    assert discover() == [
        Found(source="gige", address=SERIAL, vendor="Aravis", model="Fake", serial=SERIAL, aliases=ids)
    ]
    with closing(gige(settings(SERIAL, packet_size_bytes=9000, packet_delay_ns=500))) as camera:
        assert camera.open().model == "Fake"
        assert "PixelFormat" in [feature.name for feature in camera.features()]


def test_nobody_of_that_name_is_absent() -> None:
    with pytest.raises(CameraAbsent, match="no GigE Vision or USB3 Vision device answers as NOBODY"):
        gige(settings("NOBODY")).open()


def test_frames_come_whole_and_in_order() -> None:
    with opened(settings(SERIAL, features=SMALL | {"AcquisitionFrameRate": 50.0})) as stream:
        frames = stream.take(20)
        silent = stream.camera.next(0)
    assert all(frame.complete for frame in frames)
    assert np.all(np.diff([frame.frame_id for frame in frames]) == 1)
    assert silent is None or silent.frame_id > frames[-1].frame_id


def test_a_silent_device_is_asked_and_answers() -> None:
    # A picture every 10 s, and silence for most of the time.
    with opened(settings(SERIAL, features=SMALL | {"AcquisitionFrameRate": 0.1})) as stream:
        frames, until = 0, time.monotonic() + 3.0
        while time.monotonic() < until:
            if (frame := stream.camera.next(0.1)) is not None:
                stream.camera.release(frame.slot)
                frames += 1
    assert frames <= 1


def test_a_device_that_answers_no_more_is_lost() -> None:
    device = Device(Library(), SIMULATED)
    probe = UsbProbe(device)
    assert probe.look(600 * MS, 0) is None
    device.close()
    began, now = time.monotonic(), 700 * MS
    while (why := probe.look(now, 0)) is None:
        assert time.monotonic() - began < 5
        time.sleep(0.01)
        now += 50 * MS
    assert "answers no question" in why


def test_one_that_hangs_is_lost_too() -> None:
    device = Device(Library(), SIMULATED)
    with closing(device), device.holding():  # another call goes on and on, and the question waits for its turn
        probe = UsbProbe(device)
        assert probe.look(600 * MS, 0) is None
        assert probe.look(1_500 * MS, 0) is None
        assert probe.look(1_700 * MS, 0) == "it answers no question"


def test_a_camera_that_is_not_open_is_lost_to_every_call() -> None:
    camera = gige(settings(SERIAL), "software")
    for call in (camera.trigger, lambda: camera.next(0), lambda: camera.prepare({}), lambda: list(camera.features())):
        with pytest.raises(CameraLost, match="not open"):
            call()
