"""USB cameras: the kernel's own UVC driver, with a camera made of software. Run by `vivid.sh`, in its virtual machine."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.camera_config import TriggerConfig
from edge.camera_config import V4l2Camera as V4l2Config
from edge.cameras.camera import CameraAbsent, CameraConfigError, CapturedFrame
from edge.cameras.v4l2 import V4l2Camera
from edge.cameras.v4l2_discovery import discover
from edge.images import ImageError, as_bgr
from tests.cameras.contract import LosableContract, MakeCamera, Streaming, streaming
from tests.hardware.uvc_camera import HEIGHT, MAKER, NAME, RATE_HZ, SERIAL, WIDTH

# As udev makes it; here nobody does.
LINK = Path("/dev/v4l/by-id/usb-Goldline_Bench_camera_UVC-0001-video-index0")
STILL = {"exposure_time_absolute": 50}


class UvcDevice:
    """The camera, a process of its own, and its plug."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.hardware.uvc_camera"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._is_in = True
        self._link()

    def order(self, line: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def lose(self) -> None:
        self.order("unplug")
        self._wait(lambda: not _nodes())
        self._is_in = False

    def restore(self) -> None:
        if not self._is_in:
            self.order("plug_in")
            self._is_in = True
            self._link()

    def hang(self) -> None:
        self.order("hang")

    def resume(self) -> None:
        self.order("resume")

    def end(self) -> None:
        with self._process:
            self._process.kill()
        self._wait(lambda: not _nodes())
        LINK.unlink()

    def _link(self) -> None:
        self._wait(lambda: bool(_nodes()))
        LINK.parent.mkdir(parents=True, exist_ok=True)
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(Path("/dev") / _nodes()[0])

    @staticmethod
    def _wait(happened: object) -> None:
        until = time.monotonic() + 60  # a process starts on an emulated machine
        while not happened():
            assert time.monotonic() < until
            time.sleep(0.02)


def _nodes() -> list[str]:
    """The video nodes of the camera that deliver pictures."""
    names = []
    for node in sorted(Path("/sys/class/video4linux").iterdir()):
        with contextlib.suppress(OSError):  # it is being unplugged
            if NAME in (node / "name").read_text() and (node / "index").read_text() == "0\n":
                names.append(node.name)
    return names


@pytest.fixture(scope="module")
def plugged() -> Iterator[UvcDevice]:
    device = UvcDevice()
    yield device
    device.end()


@pytest.fixture
def device(plugged: UvcDevice) -> Iterator[UvcDevice]:
    yield plugged
    plugged.restore()
    plugged.resume()
    plugged.order("scene 128")


def camera(mode: str = "free", **changes: object) -> V4l2Camera:
    values = {"device": LINK, "width": WIDTH, "height": HEIGHT, "rate_hz": RATE_HZ, "pixel_format": "MJPEG"}
    config = V4l2Config.model_validate({"source": "v4l2"} | values | changes)
    return V4l2Camera("top", config, TriggerConfig.model_validate({"mode": mode}))


class TestMotionJpeg(LosableContract):
    """The contract, with compressed pictures."""

    RATE_HZ = float(RATE_HZ)
    CYCLES = 30

    @pytest.fixture
    def free_running(self, device: UvcDevice) -> MakeCamera:
        return camera

    @pytest.fixture
    def triggered(self, device: UvcDevice) -> MakeCamera:
        return lambda: camera("software")


def picture(stream: Streaming, frame: CapturedFrame) -> np.ndarray:
    info = stream.info
    return as_bgr(stream.slots[frame.slot], info.width, info.height, info.pixel_format, frame.used_bytes)


@pytest.mark.parametrize("pixel_format", ["MJPEG", "YUYV"])
def test_pictures_are_those_of_the_camera(device: UvcDevice, pixel_format: str) -> None:
    for grey in (20, 128, 230):
        device.order(f"scene {grey}")
        with streaming(lambda: camera(pixel_format=pixel_format)) as stream:
            frames = stream.take(6)
            image = picture(stream, frames[-1])
            assert (frames[-1].used_bytes is None) == (pixel_format == "YUYV")
        assert image.shape == (HEIGHT, WIDTH, 3) and np.abs(image[40:].astype(int) - grey).max() <= 2


def test_the_camera_is_known_by_what_usb_says(device: UvcDevice) -> None:
    with streaming(camera) as stream:
        assert (stream.info.vendor, stream.info.serial) == (MAKER, SERIAL) and NAME in stream.info.model
        found = [found for found in discover() if found.serial == SERIAL]
        assert [(found.address, found.vendor, found.is_busy) for found in found] == [(str(LINK), MAKER, True)]


def test_what_moves_by_itself_is_switched_off_and_the_exposure_known(device: UvcDevice) -> None:
    with streaming(lambda: camera(controls=STILL)) as stream:
        has = {feature.name: feature for feature in stream.camera.features()}
        assert has["auto_exposure"].value == "Manual Mode" and has["white_balance_automatic"].value is False
        assert has["auto_exposure"].entries == ("Manual Mode", "Aperture Priority Mode")
        assert (has["exposure_time_absolute"].value, has["exposure_time_absolute"].unit) == (50, "100 us")
        assert stream.info.exposure_s == pytest.approx(0.005)
        for frame in stream.take(5):
            assert frame.started_ns is not None
            assert 0.004e9 < frame.host_timestamp_ns - frame.started_ns < 1e9


def test_automatic_exposure_stays_where_it_is_allowed_and_then_decides(device: UvcDevice) -> None:
    automatic = {"auto_exposure": "Aperture Priority Mode"}
    with streaming(lambda: camera(allow_automatic=True, controls=automatic)) as stream:
        assert stream.info.exposure_s is None
    with pytest.raises(CameraConfigError, match="exposure_time_absolute = 50: an automatic control decides it"):
        camera(allow_automatic=True, controls=automatic | STILL).open()
    with pytest.raises(CameraConfigError, match=r"auto_exposure = 'Aperture Priority Mode': it moves under"):
        camera(controls=automatic).open()
    with pytest.raises(CameraConfigError, match="auto_exposure = 'Auto Mode': not one of 'Manual Mode', 'Aperture"):
        camera(controls={"auto_exposure": "Auto Mode"}).open()


@pytest.mark.parametrize("pixel_format", ["MJPEG", "YUYV"])
def test_a_software_trigger_gives_a_picture_that_began_after_it(device: UvcDevice, pixel_format: str) -> None:
    """The scene changed before the order; no picture of before is taken for the answer."""
    late_ms = []
    with streaming(lambda: camera("software", pixel_format=pixel_format, controls=STILL)) as stream:
        for number in range(30):
            grey = 230 if number % 2 else 20
            device.order(f"scene {grey}")
            asked_ns = time.monotonic_ns()
            stream.camera.trigger()
            frame = stream.wait()
            late_ms.append((frame.host_timestamp_ns - asked_ns) / 1e6)
            assert abs(picture(stream, frame)[40:].mean() - grey) < 10, number
            stream.camera.release(frame.slot)
    print(
        f"\n{pixel_format} at {RATE_HZ} Hz: trigger to complete picture {np.median(late_ms):.0f} ms, {max(late_ms):.0f} at most"
    )


@pytest.fixture
def damage(request: pytest.FixtureRequest, device: UvcDevice) -> Iterator[str]:
    """Whether the driver hands over what is damaged; it does so only with `nodrop` set when the device comes."""
    nodrop = Path("/sys/module/uvcvideo/parameters/nodrop")
    nodrop.write_text("1" if request.param == "handed over" else "0")
    device.lose()
    device.restore()
    yield request.param
    nodrop.write_text("0")
    device.lose()
    device.restore()


@pytest.mark.parametrize("damage", ["handed over", "kept back"], indirect=True)
@pytest.mark.parametrize(("pixel_format", "order"), [("MJPEG", "broken"), ("YUYV", "broken"), ("YUYV", "short")])
def test_a_damaged_picture_is_not_whole_or_lost(device: UvcDevice, pixel_format: str, order: str, damage: str) -> None:
    with streaming(lambda: camera(pixel_format=pixel_format)) as stream:
        stream.take(3)
        device.order(order)
        frames = stream.take(10)
        stats = stream.camera.stats()
    if damage == "handed over":
        assert [frame.complete for frame in frames].count(False) == 1 and stats.incomplete >= 1
    else:
        assert all(frame.complete for frame in frames) and stats.lost >= 1


def test_half_a_jpeg_cannot_be_judged(device: UvcDevice) -> None:
    """UVC does not tell how long a compressed picture should be; its end does."""
    said = []
    with streaming(camera) as stream:
        stream.take(3)
        device.order("short")
        for _ in range(10):
            frame = stream.wait()
            with contextlib.suppress(ImageError):
                picture(stream, frame)
                said.append("read")
            stream.camera.release(frame.slot)
    assert said.count("read") == 9


def test_a_size_or_rate_it_does_not_have_is_refused(device: UvcDevice) -> None:
    for changes, said in (
        ({"width": 640}, "top.width = 640: the camera took 320 instead; it has 320x180"),
        ({"rate_hz": 30}, "top.rate_hz = 30: the camera took 25 instead; at 320x180 it has 10, 25"),
        ({"pixel_format": "GREY"}, 'top.pixel_format = "GREY": the camera has YUYV, MJPEG'),
    ):
        with pytest.raises(CameraConfigError, match=said):
            camera(**changes).open()


def test_an_unplugged_camera_says_what_to_look_at(device: UvcDevice) -> None:
    device.lose()
    with pytest.raises(CameraAbsent, match=r"camera top: .*index0 is not there"):
        camera().open()
