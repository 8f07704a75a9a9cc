"""Cameras by a GenTL producer: the contract with the one that the genicam wheel brings, settings, and what goes wrong."""

import importlib.util
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from edge.camera_config import GentlCamera as Config
from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError, CameraLost
from edge.cameras.discovery import state_of
from edge.cameras.gentl import GentlCamera, discover, without_padding
from tests.cameras.contract import CameraContract, MakeCamera, streaming
from tests.cameras.untriggered import Untriggered
from tests.needs import needs_module

SMALL = {"PixelFormat": "Mono8", "Width": 128, "Height": 100}
RATE_HZ = 50.0
RED = "VikyTL_DEV_red"


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    needs_module("harvesters", "gentl")
    needs_module("genicam", "gentl")


def producer() -> Path:
    """MVTec's simulated camera, in which a ball bounces."""
    spec = importlib.util.find_spec("genicam")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).with_name("viky.cti")


def maker(mode: str = "free", **changes: object) -> MakeCamera:
    values = {"source": "gentl", "producer": producer(), "device": RED, "trigger": {"mode": mode}}
    config = Config.model_validate(values | {"features": SMALL | {"AcquisitionFrameRate": RATE_HZ}} | changes)
    return lambda: GentlCamera("top", config, config.trigger)


class TestContract(Untriggered, CameraContract):
    """This producer's devices only run freely."""

    PERIOD_S = 1 / RATE_HZ
    CYCLES = 30
    # The genicam library keeps the description of each device it ever opened: 0.4 MB each time.
    GROWTH_BYTES = 20 << 20

    @pytest.fixture
    def free_running(self) -> MakeCamera:
        return maker()

    @pytest.fixture
    def triggered(self) -> MakeCamera:
        return maker("software")


def test_devices_are_discovered_and_opened_by_serial_number_or_id() -> None:
    found = discover(producer())
    assert [(it.serial, it.vendor, it.model) for it in found] == [
        (serial, "Machine Vision Games Ltd.", "Viky") for serial in "012"
    ]
    for device, serial in ((RED, "0"), ("1", "1")):
        config = Config(source="gentl", producer=producer(), device=device)
        assert state_of("top", config, found).state == "reachable"
        with closing(maker(device=device)()) as camera:
            info = camera.open()
        assert (info.vendor, info.model, info.serial) == ("Machine Vision Games Ltd.", "Viky", serial)


def test_a_device_in_use_is_not_to_be_had_until_it_is_let_go() -> None:
    """This producer shows its devices to one user only; others say of a device that it is busy."""
    with closing(maker()()) as camera:
        camera.open()
        with pytest.raises((CameraAbsent, CameraBusy), match=rf"^camera top: .*{RED}"):
            maker()().open()
    with closing(maker()()) as camera:
        camera.open()


def test_pictures_are_what_the_producer_made() -> None:
    with streaming(maker()) as stream:
        assert (stream.info.width, stream.info.height, stream.info.pixel_format) == (128, 100, "Mono8")
        frames = [stream.wait() for _ in stream.slots]
        pictures = [stream.slots[frame.slot][: stream.info.frame_bytes].reshape(100, 128) for frame in frames]
        # A ball on a ground of one colour, which moves.
        for picture in pictures:
            values, counts = np.unique(picture, return_counts=True)
            assert len(values) > 1 and counts.max() > picture.size / 2
        assert any((picture != pictures[0]).any() for picture in pictures[1:])


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"producer": Path("/nowhere/x.cti")},
            CameraConfigError,
            r"^cameras.top.producer = /nowhere/x.cti: no such file",
        ),
        ({"producer": Path(__file__)}, CameraConfigError, r"^cameras.top.producer = .*test_gentl.py: it does not load"),
        ({"device": "9"}, CameraAbsent, "no device 9 answers to viky.cti"),
        ({"device": None}, CameraConfigError, "^cameras.top.device: must name one of 0, 1, 2$"),
        ({"features": {"Width": 5000}}, CameraConfigError, "features.Width = 5000: outside 100 to 800"),
        ({"features": {"ExposureTime": 10.0}}, CameraConfigError, "ExposureTime: .* no feature of that name"),
        ({"features": {}}, CameraConfigError, "pixel format 0x02200016 is none of"),
        ({"trigger": {"mode": "line"}}, CameraConfigError, 'trigger.mode = "line": the camera has no TriggerMode'),
        ({"trigger": {"mode": "software"}}, CameraConfigError, 'trigger.mode = "software": the camera has no'),
        ({"strobe": {}}, CameraConfigError, r"strobe.LineMode\[Line1\]: the camera has no feature of that name"),
    ],
)
def test_what_the_camera_does_not_take_is_refused(
    changes: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        maker(**changes)().open()
    with closing(maker()()) as camera:
        camera.open()  # and the refusal left the camera free


def test_features_are_described_and_set() -> None:
    with closing(maker()()) as camera:
        camera.open()
        has = {feature.name: feature for feature in camera.features()}
        rate = has["AcquisitionFrameRate"]
        assert (rate.kind, rate.value, rate.lowest, rate.highest, rate.unit) == ("float", RATE_HZ, 1.0, 200.0, "Hz")
        assert rate.path == ("AcquisitionControl",) and rate.is_writable
        assert has["PixelFormat"].entries == ("RGBa8", "Mono8") and has["AcquisitionStart"].kind == "command"
        assert camera.set_feature("BouncingBallSize", 30).value == 30
        with pytest.raises(CameraConfigError, match=r"^camera top.BouncingBallSize = 10000: outside"):
            camera.set_feature("BouncingBallSize", 10_000)


def test_frames_that_harvesters_throws_away_are_handed_over_as_incomplete() -> None:
    """The producer never loses a packet, so what harvesters calls then is called here."""
    with streaming(maker()) as stream:
        before = stream.take(1)[0]
        held = [stream.wait() for _ in stream.slots]
        stream.camera._note_miss()
        for frame in held:
            stream.camera.release(frame.slot)
        assert stream.camera._taken(None).complete is False
        stats = stream.camera.stats()
    assert (stats.frames, stats.incomplete) == (len(held) + 2, 1) and before.complete


def test_padding_is_left_out_and_what_is_too_short_is_no_picture() -> None:
    sent = np.arange(3 * 5, dtype=np.uint8)
    assert without_padding(sent, 3, 15, 0).tolist() == sent.tolist()
    assert without_padding(sent, 3, 12, 1).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]
    assert without_padding(sent, 2, 12, 0).tolist() == list(range(12))
    assert without_padding(sent, 4, 16, 0) is without_padding(sent, 3, 15, 1) is without_padding(sent, 2, 7, 1) is None


class Padded(NamedTuple):
    """What a producer says of where a picture lies in its buffer."""

    width: int = 128
    height: int = 100
    data_offset: int = 4
    x_padding: int = 2


def test_a_picture_is_its_bytes_as_they_came() -> None:
    with streaming(maker()) as stream:
        needed = stream.info.frame_bytes
        lines = np.random.default_rng(1).integers(0, 256, (100, 130), np.uint8)
        buffer = SimpleNamespace(raw_buffer=bytes(4) + lines.tobytes() + bytes(100))
        picture = stream.camera._picture(buffer, Padded())
        assert picture.size == needed and (picture.reshape(100, 128) == lines[:, :128]).all()
        assert stream.camera._picture(buffer, Padded(width=64)) is None
        assert stream.camera._picture(SimpleNamespace(raw_buffer=bytes(needed - 1)), Padded(x_padding=0)) is None


def test_frames_that_are_thrown_away_before_the_first_whole_one_cost_no_slot() -> None:
    """They have no id yet to follow, so they are only counted."""
    with streaming(maker()) as stream:
        for missed in range(1, len(stream.slots) + 1):
            stream.camera._note_miss()
            assert stream.camera._taken(None) is None
            assert stream.camera.stats().lost == missed
        assert sorted(stream.wait().slot for _ in stream.slots) == list(range(len(stream.slots)))


def test_a_device_that_goes_away_is_lost_and_comes_back() -> None:
    """The producer's device is closed under the camera: every handle to it is void from then on."""
    with streaming(maker()) as stream:
        stream.take(3)
        stream.camera._acquirer.device.module.close()
        with pytest.raises(CameraLost, match=r"^camera top: "):
            stream.take(20)
        with pytest.raises(CameraLost, match=r"^camera top: it does not answer: "):
            stream.camera.set_feature("BouncingBallSize", 30)
        stream.camera.stop()
        stream.camera.close()
    with streaming(maker()) as stream:
        assert stream.take(3)[-1].complete


def test_a_device_that_goes_away_while_it_is_opened_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = maker()()
    connect = camera._connect

    def connect_and_lose() -> object:
        connected = connect()
        camera._acquirer.device.module.close()
        return connected

    monkeypatch.setattr(camera, "_connect", connect_and_lose)
    with pytest.raises(CameraAbsent, match=r"^camera top: it does not answer: "):
        camera.open()
    with closing(maker()()) as again:
        again.open()
