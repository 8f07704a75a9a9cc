"""The fake camera's lines, light and faults, seen through the station's own GigE Vision camera."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge.camera_config import TriggerConfig
from edge.cameras.camera import CapturedFrame
from edge.cameras.gige import GigeCamera
from edge.cameras.gige_discovery import discover
from edge.images import as_bgr
from tests.cameras.fake_bench import PATIENCE_S, ToldCamera, told_camera
from tests.cameras.gige_bench import SPECIAL, gige, network, pixels, settings, write_pictures
from tests.cameras.lending import Streaming, streaming

LINE = {"mode": "line", "source": "Line0"}
# The exposure of every test that is not about it: short, so that the rate of pulses is what counts.
SHORT = {"ExposureTime": 500.0}


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    with network():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    write_pictures(tmp_path / "pictures", count=4)
    return tmp_path / "pictures"


@pytest.fixture
def told(namespace: None, folder: Path, tmp_path: Path) -> Iterator[ToldCamera]:
    with told_camera(folder, SPECIAL, tmp_path / "said", "--rate", "100") as camera:
        yield camera


def in_line(**features) -> GigeCamera:
    return GigeCamera("line", settings(SPECIAL, features=SHORT | features), TriggerConfig.model_validate(LINE))


def picture(stream: Streaming, frame: CapturedFrame) -> np.ndarray:
    info = stream.info
    return as_bgr(pixels(stream, frame), info.width, info.height, info.pixel_format)


def rest(stream: Streaming, quiet_s: float = 0.3) -> list[CapturedFrame]:
    """What still comes, until it is quiet."""
    frames = []
    while (frame := stream.camera.next(quiet_s)) is not None:
        frames.append(frame)
        stream.camera.release(frame.slot)
    return frames


def test_200_pulses_are_200_frames(told: ToldCamera) -> None:
    frames = []
    with streaming(in_line, 8) as stream:
        assert stream.camera.next(0.3) is None, "nothing comes by itself"
        for _ in range(200):
            told.tell("pulse")
            frames += stream.take(1)
        assert rest(stream) == []
    assert [(answer["taken"], answer["missed"]) for answer in told.answers()] == [(1, 0)] * 200
    assert [after.frame_id - before.frame_id for before, after in pairwise(frames)] == [1] * 199


def test_a_train_of_pulses_comes_at_its_rate_and_each_is_taken_or_missed(told: ToldCamera) -> None:
    with streaming(in_line, 8) as stream:
        begun_s = time.monotonic()
        told.tell("pulse 50 50")
        frames = stream.take(1) + rest(stream, 1.0)
        answer = told.order("pulse 3 1000")
        frames += rest(stream)
    assert time.monotonic() - begun_s >= 49 / 50
    train = told.answers()[0]
    assert train["pulses"] == train["taken"] + train["missed"] == 50
    assert len(frames) == train["taken"] + answer["taken"]
    # On a machine that is not busy none is missed; a sensible share comes through on any.
    assert train["taken"] > 10


def test_pulses_while_it_exposes_are_missed_and_counted(told: ToldCamera) -> None:
    counting = {"CounterEventSource": "Line0"}
    with streaming(lambda: in_line(ExposureTime=300_000.0, **counting), 8) as stream:
        answer = told.order("pulse 5 1000")
        frames = stream.take(1) + rest(stream, 0.6)
        counted = next(feature for feature in stream.camera.features() if feature.name == "CounterValue")
    assert (answer["taken"], answer["missed"], len(frames)) == (1, 4, 1)
    assert counted.value == 5


def test_a_pulse_is_nothing_to_a_camera_that_waits_for_software(told: ToldCamera) -> None:
    with streaming(lambda: gige(settings(SPECIAL, features=SHORT), "software"), 8) as stream:
        assert told.order("pulse 3 100")["taken"] == 0
        assert stream.camera.next(0.2) is None
        stream.camera.trigger()
        assert stream.take(1)


def test_the_light_changes_the_picture(told: ToldCamera) -> None:
    with streaming(in_line, 8) as stream:
        means = []
        for state in ("on", "off", "on"):
            told.order(f"light {state}")
            told.tell("pulse")
            frame = stream.wait()
            means.append(picture(stream, frame).mean())
            stream.camera.release(frame.slot)
        assert means[0] > 3 * means[1] and means[2] > 3 * means[1]
    assert [line["light"] for line in told.served()] == [True, False, True]


def test_a_frozen_camera_serves_the_same_picture_until_it_thaws(told: ToldCamera) -> None:
    with streaming(lambda: gige(settings(SPECIAL, features={})), 8) as stream:
        stream.take(3)
        told.order("freeze")
        rest_of_queue = len(told.served())
        stream.take(12)
        frozen = [line["image"] for line in told.served()[rest_of_queue + 1 :]]
        told.order("thaw")
        stream.take(12)
    assert len(frozen) > 2 and len(set(frozen)) == 1
    assert len({line["image"] for line in told.served()[-8:]}) == 4


def test_a_silent_camera_sends_nothing_and_then_goes_on(told: ToldCamera) -> None:
    with streaming(lambda: gige(settings(SPECIAL, features={})), 8) as stream:
        before = stream.take(3)
        told.order("stop")
        before += rest(stream, 0.5)
        told.order("go")
        after = stream.take(3)
    assert after[0].frame_id == before[-1].frame_id + 1, "it stood still"


def test_lost_packets_make_incomplete_frames_and_none_at_all(told: ToldCamera) -> None:
    small_packets = settings(SPECIAL, features={}, packet_size_bytes=576)
    with streaming(lambda: gige(small_packets), 8) as stream:
        assert all(frame.complete for frame in stream.take(10))
        told.order("lose 50")
        until_s = time.monotonic() + PATIENCE_S
        while not stream.camera.stats().incomplete:
            assert time.monotonic() < until_s, "no frame was hurt"
            stream.take(1)
        told.order("lose 1000")
        rest(stream, 0.5)
        told.order("lose 0")
        stream.take(2)
        assert all(frame.complete for frame in stream.take(10))
        assert stream.camera.stats().lost > 5, "the ids went on"


def test_what_it_does_not_understand_it_says(told: ToldCamera) -> None:
    for order, said in (
        ("freese", "not one of: pulse [N [HZ]], freeze"),
        ("lose", "not one of"),
        ("lose many", "many is not a number"),
        ("lose 2000", "2000 is outside 0 to 1000"),
        ("pulse 0", "0 is outside 1 to 1e+06"),
        ("light blue", "not one of"),
    ):
        answer = told.order(order)
        assert answer["order"] == order and said in answer["error"]
    assert told.process.poll() is None


def test_after_its_time_it_freezes_and_falls_silent(namespace: None, folder: Path, tmp_path: Path) -> None:
    options = ("--rate", "50", "--freeze-after", "0.01", "--stop-after", "2")
    with (
        told_camera(folder, SPECIAL, tmp_path / "said", *options) as told,
        streaming(lambda: gige(settings(SPECIAL, features={})), 8) as stream,
    ):
        stream.take(5)
        rest(stream, 1.0)
        assert len({line["image"] for line in told.served()[1:]}) == 1


def test_so_many_frames_show_the_same_part(namespace: None, folder: Path, tmp_path: Path) -> None:
    with (
        told_camera(folder, SPECIAL, tmp_path / "said", "--views", "2", "--pulse-hz", "50") as told,
        streaming(in_line, 8) as stream,
    ):
        stream.take(8)
    served = [Path(line["image"]).name for line in told.served()[:8]]
    assert served == ["00.png", "00.png", "01.png", "01.png", "02.png", "02.png", "03.png", "03.png"]


def test_a_pulse_gives_a_burst_whose_pictures_change_the_light(namespace: None, folder: Path, tmp_path: Path) -> None:
    shots = [{"name": "bright", "role": "lid"}, {"name": "dark", "role": "rim"}]
    config = settings(SPECIAL, features=SHORT, shot=shots)
    with (
        told_camera(folder, SPECIAL, tmp_path / "said", "--views", "2") as told,
        streaming(lambda: GigeCamera("line", config, TriggerConfig.model_validate(LINE)), 8) as stream,
    ):
        for count in range(1, 6):
            assert told.order("pulse")["taken"] == 1
            frames = stream.take(2)
            assert frames[1].frame_id == frames[0].frame_id + 1
            assert len(told.served()) == 2 * count, "and no more"
        assert rest(stream) == []
    served = [(Path(line["image"]).name, line["light"]) for line in told.served()]
    assert served[:4] == [("00.png", True), ("00.png", False), ("01.png", True), ("01.png", False)]


def test_it_is_found_by_its_serial_and_its_name(namespace: None, folder: Path, tmp_path: Path) -> None:
    with told_camera(folder, SPECIAL, tmp_path / "said", "--name", "lid camera"):
        found = [device for device in discover() if device.serial == f"GL{SPECIAL[-1]}"]
    assert [(device.vendor, device.model, device.name) for device in found] == [("Goldline", "Fake", "lid camera")]
