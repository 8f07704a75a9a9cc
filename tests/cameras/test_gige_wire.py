"""What libaravis' simulation cannot show, with a camera written from the standard: packets, chunks, probes, names."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from msgspec import structs

from edge.camera_config import GigeCamera as GigeConfig
from edge.cameras.camera import CameraBusy, CameraConfigError, CameraLost, CapturedFrame, Found
from edge.cameras.discovery import state_of
from edge.cameras.gige_discovery import discover
from tests.cameras.contract import lost_between
from tests.cameras.gige_bench import (
    SPECIAL,
    WIRE,
    WireCamera,
    gige,
    opened,
    pixels,
    settings,
    wire_camera,
)
from tests.cameras.lending import Streaming
from tests.cameras.wire_camera import pixels as pixels_of

PLAIN: dict[str, object] = {"features": {}}
# 64 x 48 Mono8 in packets of 576 bytes: leader, 6 payload packets, trailer.
PACKETS: dict[str, object] = {"features": {}, "packet_size_bytes": 576}


@pytest.fixture
def wire(loopback: None) -> Iterator[WireCamera]:
    with wire_camera(WIRE, "--name", "left door") as camera:
        yield camera


def take(stream: Streaming, count: int) -> list[np.ndarray]:
    """So many whole frames' bytes, copied."""
    taken = []
    for _ in range(count):
        frame = stream.wait()
        assert frame.complete
        taken.append(pixels(stream, frame).copy())
        stream.camera.release(frame.slot)
    return taken


def next_frames(stream: Streaming, count: int) -> list[CapturedFrame]:
    """So many frames, whole or not, each released."""
    frames = []
    for _ in range(count):
        frames.append(stream.wait())
        stream.camera.release(frames[-1].slot)
    return frames


def quiet(stream: Streaming, seconds: float) -> None:
    """Nothing comes for so long, looked for as the station does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert stream.camera.next(0.05) is None


# --- packets


@pytest.mark.parametrize("packet", [0, 3, 7], ids=["leader", "payload", "trailer"])
@pytest.mark.parametrize("ids", ["16 bits", "64 bits"])
def test_a_lost_packet_is_asked_for_again_and_its_frame_is_whole(loopback: None, packet: int, ids: str) -> None:
    options = ["--extended-ids"] if ids == "64 bits" else []
    with wire_camera(WIRE, *options) as wire, opened(settings(WIRE, **PACKETS), "software") as stream:
        for number in range(1, 6):
            wire.order(f"lose {packet}" if number == 3 else "report")
            stream.camera.trigger()
            (seen,) = take(stream, 1)
            np.testing.assert_array_equal(seen, pixels_of(number, seen.size))
        told = wire.order("report")
    assert told["resent"] == 1


def test_a_packet_that_never_comes_breaks_its_frame_alone(wire: WireCamera) -> None:
    with opened(settings(WIRE, **PACKETS, frame_retention_ms=50), "software") as stream:
        whole = []
        for order in ("report", "lose-ever 2", "report"):
            wire.order(order)
            stream.camera.trigger()
            whole += [frame.complete for frame in next_frames(stream, 1)]
        stats = stream.camera.stats()
    assert whole == [True, False, True]
    assert (stats.frames, stats.incomplete, stats.lost) == (3, 1, 0)


@pytest.mark.parametrize("ids", ["16 bits", "64 bits"])
def test_a_frame_whose_first_packet_never_comes_has_its_place_all_the_same(loopback: None, ids: str) -> None:
    options = ["--extended-ids"] if ids == "64 bits" else []
    config = settings(WIRE, **PACKETS, frame_retention_ms=50)
    with wire_camera(WIRE, *options) as wire, opened(config, "software") as stream:
        frames = []
        for order in ("report", "lose-ever 0", "report"):
            wire.order(order)
            stream.camera.trigger()
            frames += next_frames(stream, 1)
        stats = stream.camera.stats()
    assert [frame.complete for frame in frames] == [True, False, True]
    assert [frame.frame_id - frames[0].frame_id for frame in frames] == [0, 1, 2]
    assert (stats.incomplete, stats.lost) == (1, 0)


def test_without_resend_nothing_is_asked_for(wire: WireCamera) -> None:
    with opened(settings(WIRE, **PACKETS, packet_resend=False, frame_retention_ms=50), "software") as stream:
        wire.order("lose 3")
        stream.camera.trigger()
        (frame,) = next_frames(stream, 1)
    assert not frame.complete
    assert wire.order("report")["resend_requests"] == 0


def test_a_camera_that_cannot_send_again_is_not_asked(loopback: None) -> None:
    config = settings(WIRE, features={"AcquisitionFrameRate": 50.0}, packet_size_bytes=576, frame_retention_ms=2_000)
    with wire_camera(WIRE, "--no-resend") as wire, opened(config) as stream:
        stream.take(3)
        wire.order("lose 3")
        frames = stream.take(20)
        told = wire.order("report")
    assert [frame.complete for frame in frames].count(False) == 1
    # The frames after the broken one did not wait until its retention was over.
    assert max(after.host_timestamp_ns - before.host_timestamp_ns for before, after in pairwise(frames)) < 1.5e9
    assert told["resend_requests"] == 0


def test_frames_that_never_left_are_a_gap_in_the_ids(wire: WireCamera) -> None:
    with opened(settings(WIRE, **PLAIN), "software") as stream:
        stream.camera.trigger()
        (before,) = next_frames(stream, 1)
        wire.order("swallow 2")
        for _ in range(3):
            stream.camera.trigger()
            time.sleep(0.1)
        (after,) = next_frames(stream, 1)
        assert stream.camera.stats().lost == 2
    assert after.frame_id - before.frame_id == 3


def test_ids_of_64_bits_count_on_beyond_32(loopback: None) -> None:
    config = settings(WIRE, features={"AcquisitionFrameRate": 100})
    with wire_camera(WIRE, "--extended-ids"), opened(config) as stream:
        frames = stream.take(40)
    assert frames[0].frame_id < 1 << 32 < frames[-1].frame_id
    assert lost_between(frames) == 0


def test_the_packet_delay_is_in_the_devices_ticks(wire: WireCamera) -> None:
    with closing(gige(settings(WIRE, **PLAIN, packet_delay_ns=10_000))) as camera:
        camera.open()
    assert wire.order("report")["packet_delay"] == 1250  # of 8 ns
    with closing(gige(settings(WIRE, **PLAIN))) as camera:
        camera.open()
    assert wire.order("report")["packet_delay"] == 0


@pytest.mark.parametrize(
    ("packets", "said"),
    [
        ({"packet_delay_ns": 1_000_000}, "packet_delay_ns = 1000000: the camera took 100000 ticks of 1/125000000 s"),
        ({"packet_size_bytes": 9000}, "packet_size_bytes = 9000: the camera took 8000 instead"),
    ],
)
def test_packets_it_cannot_send_are_refused(wire: WireCamera, packets: dict[str, object], said: str) -> None:
    with pytest.raises(CameraConfigError, match=said), opened(settings(WIRE, **PLAIN, **packets)):
        pass


# --- what a frame is


@pytest.mark.parametrize(("pixel_format", "bits"), [("Mono12", 16), ("BayerRG12p", 12), ("Mono10p", 10)])
def test_deep_pixels_arrive_as_they_are(wire: WireCamera, pixel_format: str, bits: int) -> None:
    with opened(settings(WIRE, features={"PixelFormat": pixel_format}), "software") as stream:
        assert (stream.info.pixel_format, stream.info.frame_bytes) == (pixel_format, 64 * 48 * bits // 8)
        stream.camera.trigger()
        (seen,) = take(stream, 1)
        np.testing.assert_array_equal(seen, pixels_of(1, seen.size))


def test_chunk_data_lies_behind_the_picture_and_tells_of_it(wire: WireCamera) -> None:
    config = settings(WIRE, features={"ExposureTime": 5_000}, chunks=("Timestamp", "ExposureTime"))
    with opened(config, "software") as stream:
        # 64 x 48 pixels, 8 bytes of time, 4 of exposure, and for each of the three its id and length.
        assert stream.info.frame_bytes == 64 * 48 + 8 + 4 + 3 * 8
        stream.camera.trigger()
        frame = stream.wait()
        picture = pixels(stream, frame)[: 64 * 48]
        np.testing.assert_array_equal(picture, pixels_of(1, picture.size))
    # This camera's clock is the machine's, in ticks of 8 ns.
    assert frame.device_timestamp_ns is not None
    assert abs(frame.host_timestamp_ns - frame.device_timestamp_ns) < 0.1e9
    with closing(gige(settings(WIRE, **PLAIN))) as camera:
        assert camera.open().frame_bytes == 64 * 48  # switched off again


def test_a_frame_began_an_exposure_before_its_first_packet(wire: WireCamera) -> None:
    with opened(settings(WIRE, features={"ExposureTime": 50_000}), "software") as stream:
        assert stream.info.exposure_s == pytest.approx(0.05)
        asked_ns = time.monotonic_ns()
        stream.camera.trigger()
        frame = stream.wait()
    assert frame.started_ns is not None
    # From asking to the exposure, and from its end to the first packet, a busy machine may take a while.
    assert asked_ns - 1_000_000 <= frame.started_ns <= frame.host_timestamp_ns - 50_000_000
    assert frame.started_ns < asked_ns + 100_000_000


# --- an idle camera that goes


def test_an_idle_triggered_camera_that_hangs_is_lost_without_a_trigger(wire: WireCamera) -> None:
    with opened(settings(WIRE, **PLAIN), "software") as stream:
        quiet(stream, 1.0)  # it is asked, and answers
        wire.running.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(CameraLost, match="answers no question"):
            quiet(stream, 10)
        # 0.3 s between questions, 5 of them; long before the library's own notice, however busy the machine.
        assert time.monotonic() - began < 5.0
        wire.running.send_signal(signal.SIGCONT)


def test_a_camera_that_began_anew_is_lost_at_once(loopback: None) -> None:
    with wire_camera(WIRE) as first, opened(settings(WIRE, **PLAIN), "line") as stream:
        quiet(stream, 0.5)
        first.running.kill()
        first.running.wait()
        with wire_camera(WIRE), pytest.raises(CameraLost, match="nobody controls it"):
            quiet(stream, 10)


def test_a_camera_that_answers_its_owner_alone_is_busy_and_alive(loopback: None) -> None:
    with wire_camera(WIRE, "--exclusive"):
        with opened(settings(WIRE, **PLAIN), "software") as stream:
            quiet(stream, 2.0)  # it refuses each question, and so is there
            with pytest.raises(CameraBusy, match="another program controls"):
                gige(settings(WIRE, **PLAIN)).open()
        with closing(gige(settings(WIRE, **PLAIN))) as camera:
            camera.open()


# --- names


def test_every_name_of_a_camera_opens_it(wire: WireCamera) -> None:
    for address in (WIRE, "WC4", "left door", "02:47:4c:00:00:04", "Wire-WireCam-WC4", "wire-wirecam-wc4"):
        with closing(gige(settings(address, **PLAIN))) as camera:
            assert camera.open().serial == "WC4", address


def test_a_name_that_two_cameras_have_opens_neither(wire: WireCamera) -> None:
    said = r"cameras.trunk.address = 'left door': several devices answer as that: .*WC3.*WC4|WC4.*WC3"
    with wire_camera(SPECIAL, "--name", "left door"), pytest.raises(CameraConfigError, match=said):
        gige(settings("left door", **PLAIN)).open()
    with closing(gige(settings("left door", **PLAIN))) as camera:
        assert camera.open().serial == "WC4"


def test_discovery_tells_names_and_who_is_busy(wire: WireCamera) -> None:
    found = next(found for found in discover() if found.serial == "WC4")
    told = Found(source="gige", address=WIRE, vendor="Wire", model="WireCam", serial="WC4", name="left door")
    assert found == structs.replace(told, aliases=("Wire-WireCam-WC4", "02:47:4c:00:00:04"))
    # Whatever opens it finds it, as `find` has it.
    for address in (WIRE, "wc4", "02:47:4C:00:00:04", "wire-wirecam-wc4", "left door"):
        config = GigeConfig(source="gige", address=address)
        assert state_of("top", config, [found]).state == "reachable", address
    assert state_of("top", GigeConfig(source="gige", address="Left door"), [found]).state == "absent"
    with closing(gige(settings(WIRE, **PLAIN))) as camera:
        camera.open()
        assert [found.is_busy for found in discover() if found.serial == "WC4"] == [True]
