"""What of V4L2 needs no device: the kernel's numbers, what pictures mean, and what a person is told.

With cameras: `tests/hardware`.
"""

import errno
from pathlib import Path

import numpy as np
import pytest

from edge.camera_config import TriggerConfig
from edge.camera_config import V4l2Camera as V4l2Config
from edge.cameras.camera import (
    CameraAbsent,
    CameraBusy,
    CameraConfigError,
    CameraError,
    CameraLost,
    CapturedFrame,
)
from edge.cameras.factory import make_camera
from edge.cameras.v4l2_controls import slug
from edge.cameras.v4l2_device import Layout
from edge.cameras.v4l2_errors import losing, meaning
from edge.cameras.v4l2_kernel import Request, fourcc, fourcc_text
from edge.cameras.v4l2_opening import FORMATS
from edge.cameras.v4l2_reception import Reception, Timing
from edge.cameras.v4l2_stream import Filled, copy_picture
from edge.images import PIXEL_FORMATS

# As <linux/videodev2.h> has them on 64-bit Linux: direction, size of the structure, 'V', number.
NUMBERS = {
    "QUERYCAP": 0x80685600,
    "ENUM_FMT": 0xC0405602,
    "G_FMT": 0xC0D05604,
    "S_FMT": 0xC0D05605,
    "REQBUFS": 0xC0145608,
    "QUERYBUF": 0xC0585609,
    "QBUF": 0xC058560F,
    "DQBUF": 0xC0585611,
    "STREAMON": 0x40045612,
    "STREAMOFF": 0x40045613,
    "G_PARM": 0xC0CC5615,
    "S_PARM": 0xC0CC5616,
    "QUERYMENU": 0xC02C5625,
    "G_EXT_CTRLS": 0xC0205647,
    "S_EXT_CTRLS": 0xC0205648,
    "ENUM_FRAMESIZES": 0xC02C564A,
    "ENUM_FRAMEINTERVALS": 0xC034564B,
    "QUERY_EXT_CTRL": 0xC0E85667,
}


def test_the_kernel_is_asked_by_its_numbers():
    assert {request.name: request.value for request in Request} == NUMBERS


@pytest.mark.parametrize("code", ["YUYV", "MJPG", "GREY", "Y8"])
def test_codes_of_four_characters(code: str):
    assert fourcc_text(fourcc(code.ljust(4))) == code
    assert fourcc("YUYV") == 0x56595559  # V4L2_PIX_FMT_YUYV


def test_every_format_of_the_configuration_can_be_read():
    names = V4l2Config.model_fields["pixel_format"].annotation.__args__
    assert set(FORMATS) == set(names) and {known for _code, known in FORMATS.values()} <= set(PIXEL_FORMATS)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Exposure Time, Absolute", "exposure_time_absolute"),
        ("White Balance, Automatic", "white_balance_automatic"),
        ("Exposure, Dynamic Framerate", "exposure_dynamic_framerate"),
        ("Inject V4L2_BUF_FLAG_ERROR", "inject_v4l2_buf_flag_error"),
        ("Integer 64 Bits", "integer_64_bits"),
    ],
)
def test_controls_have_the_names_that_v4l2_ctl_prints(label: str, name: str):
    assert slug(label) == name


# --- which picture is meant


class Script:
    """A stream that has filled these, and remembers what was lent to it again."""

    def __init__(self, *filled: Filled) -> None:
        self._filled = iter(filled)
        self.lent: list[int] = []

    def next(self, timeout_s: float) -> Filled | None:
        return next(self._filled, None)

    def lend(self, slot: int) -> None:
        self.lent.append(slot)


NOW_NS = 1_000_000_000_000
MS = 1_000_000
# 20 Hz, exposed for 10 of 50 ms.
TIMING = Timing(period_s=0.05, exposure_s=0.01)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands still at `NOW_NS`."""
    monkeypatch.setattr("edge.cameras.v4l2_reception.time.monotonic_ns", lambda: NOW_NS)


def filled(slot: int = 0, sequence: int = 0, age_ms: float | None = 5, **changes: object) -> Filled:
    values = {"is_start": False, "used_bytes": 100, "is_whole": True, "waited": True} | changes
    stamp_ns = None if age_ms is None else NOW_NS - round(age_ms * MS)
    return Filled(slot=slot, sequence=sequence, stamp_ns=stamp_ns, **values)


def reception(*script: Filled, asked_only: bool = False, timing: Timing = TIMING) -> tuple[Reception, Script]:
    stream = Script(*script)
    return Reception(stream, timing, 4, asked_only=asked_only, is_compressed=False), stream


def frames(received: Reception) -> list[CapturedFrame]:
    return [frame for _ in range(9) if (frame := received.next(0)) is not None]


def test_ids_count_on_over_the_wrap_and_gaps_are_lost():
    last = (1 << 32) - 1
    received, _stream = reception(filled(0, last - 1), filled(1, last), filled(2, 2), filled(3, 3, is_whole=False))
    assert np.diff([frame.frame_id for frame in frames(received)]).tolist() == [1, 3, 1]
    stats = received.stats()
    assert (stats.frames, stats.lost, stats.incomplete) == (4, 2, 1)


def test_a_driver_that_counts_a_picture_twice_loses_none():
    received, _stream = reception(filled(0, 1), filled(1, 1), filled(2, 2), filled(3, 3))
    assert np.diff([frame.frame_id for frame in frames(received)]).tolist() == [1, 1, 1] and received.stats().lost == 0


@pytest.mark.parametrize("second", [3, 0])
def test_a_count_that_goes_back_is_a_device_that_began_anew(second: int):
    received, _stream = reception(filled(0, 7), filled(1, second))
    received.next(0)
    with pytest.raises(CameraLost, match=f"went from 7 to {second}"):
        received.next(0)


@pytest.mark.parametrize(
    ("is_start", "timing", "lead_ms"),
    [
        (True, TIMING, 60),  # the stamp is of the first data: the exposure, and one period in the camera
        (False, TIMING, 110),  # of the last: and the way here
        (True, Timing(period_s=0.05, exposure_s=None), 100),
        (False, Timing(period_s=0.05, exposure_s=None), 150),
    ],
)
def test_the_picture_that_is_asked_for_began_after_the_ask(is_start: bool, timing: Timing, lead_ms: int):
    """The ask is now; stamps are of the future, as the camera's are when they come."""
    before, at = (filled(slot, slot, age_ms=-lead_ms + early, is_start=is_start) for slot, early in ((0, 1), (1, 0)))
    after = filled(2, 2, age_ms=-lead_ms - 50, is_start=is_start)
    received, stream = reception(before, at, after, asked_only=True, timing=timing)
    received.ask()
    taken = frames(received)
    assert [(frame.slot, frame.frame_id) for frame in taken] == [(1, 1)]
    assert stream.lent == [0, 2], "what nobody asked for goes back"
    assert taken[0].started_ns == (None if timing.exposure_s is None else NOW_NS)


def test_nothing_comes_that_was_not_asked_for():
    received, stream = reception(*(filled(number % 4, number, age_ms=-500) for number in range(8)), asked_only=True)
    assert frames(received) == [] and len(stream.lent) == 8 and received.stats().frames == 0


def test_a_picture_without_a_time_is_not_taken_for_an_answer():
    received, _stream = reception(filled(age_ms=None), asked_only=True)
    received.ask()
    assert frames(received) == []


def test_a_picture_is_complete_when_the_kernel_says():
    received, _stream = reception(
        filled(0, 0, age_ms=5),
        filled(1, 1, age_ms=None),
        filled(2, 2, age_ms=20_000),  # of another clock
        filled(3, 3, age_ms=-1),
    )
    ages_ms = [(NOW_NS - frame.host_timestamp_ns) / MS for frame in frames(received)]
    assert ages_ms == [5, 0, 0, 0]


def test_of_a_stamp_of_the_start_the_last_transfer_seen_tells_the_end():
    received, _stream = reception(
        filled(0, 0, age_ms=30, is_start=True),  # it was waited for: its transfer took 30 ms
        filled(1, 1, age_ms=130, is_start=True, waited=False),  # it lay there for 100
        filled(2, 2, age_ms=10, is_start=True, waited=False),
    )
    assert [(NOW_NS - frame.host_timestamp_ns) / MS for frame in frames(received)] == [0, 100, 0]


# --- lines longer than the picture's


def test_what_a_driver_adds_to_lines_is_left_out():
    layout = Layout(width=5, height=3, fourcc="GREY", line_bytes=8, picture_bytes=4096)
    picture = np.full(4096, 255, np.uint8)
    picture[:24].reshape(3, 8)[:, :5] = np.arange(15).reshape(3, 5)
    slot = np.full(20, 7, np.uint8)
    copy_picture(layout, picture[:24], slot[:15])
    assert slot.tolist() == [*range(15), 7, 7, 7, 7, 7]
    slot[:] = 7
    copy_picture(layout, picture[:17], slot[:15])  # a picture that broke off in its third line
    assert slot.tolist() == [*range(10), *[7] * 10]


def test_a_compressed_picture_is_copied_as_it_is():
    layout = Layout(width=5, height=3, fourcc="MJPG", line_bytes=0, picture_bytes=4096)
    slot = np.zeros(20, np.uint8)
    copy_picture(layout, np.arange(1, 12, dtype=np.uint8), slot)
    assert slot.tolist() == [*range(1, 12), *[0] * 9]


# --- what a person is told


def opening(device: Path) -> str:
    config = V4l2Config(source="v4l2", device=device, width=640, height=480)
    camera = make_camera("top", config)
    with pytest.raises(CameraError) as refused:
        camera.open()
    camera.close()
    assert "\n" not in str(refused.value)
    return f"{type(refused.value).__name__} {refused.value}"


def test_who_is_not_there_is_absent(tmp_path: Path):
    said = opening(tmp_path / "usb-Nobody")
    assert said.startswith(f"CameraAbsent camera top: {tmp_path}/usb-Nobody is not there; ")
    assert "/dev/v4l/by-id" in said or "/dev/video" in said


def test_what_is_no_camera_is_refused_by_its_key(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", Path("/dev/null")):
        assert opening(path).startswith(f'CameraConfigError cameras.top.device = "{path}": no camera to be used: ')


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENODEV, CameraAbsent, "is not there"),
        (errno.EBUSY, CameraBusy, "another program streams from /dev/null"),
        (errno.ENOSPC, CameraBusy, "USB has no bandwidth left"),
        (errno.EIO, CameraAbsent, "does not answer"),
        (errno.EPROTO, CameraAbsent, "does not answer"),
        (errno.EACCES, CameraConfigError, 'top.device = "/dev/null".*group video'),
    ],
)
def test_the_kernels_errors_say_what_can_be_done(number: int, kind: type[CameraError], said: str):
    with pytest.raises(kind, match=said), meaning("top", Path("/dev/null")):
        raise OSError(number, "why")


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EIO, errno.EINVAL])
def test_any_error_of_a_stream_is_a_loss(number: int):
    with pytest.raises(CameraLost, match="/dev/video7 is gone or failed"), losing(Path("/dev/video7")):
        raise OSError(number, "why")


def test_a_closed_camera_is_lost_and_cannot_be_triggered():
    config = V4l2Config(source="v4l2", device=Path("/dev/null"), width=640, height=480)
    camera = make_camera("top", config.model_copy(update={"trigger": TriggerConfig(mode="software")}))
    for call in (camera.trigger, lambda: camera.next(0)):
        with pytest.raises(CameraLost, match="camera top: it is not streaming"):
            call()
    with pytest.raises(CameraConfigError, match="cannot change between pictures"):
        camera.prepare({"gain": 1})
    camera.stop()
    camera.close()
