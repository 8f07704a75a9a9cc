"""Slots lent to a stream of GigE Vision: what is in them is the picture that was agreed on, and none is let go twice."""

from contextlib import closing

import numpy as np
import pytest

from edge.cameras.aravis import AravisError, Library
from edge.cameras.aravis_device import Device
from edge.cameras.camera import CameraConfigError, CapturedFrame
from tests.cameras.gige_bench import SLOTS, WIRE, WireCamera, gige, opened, settings
from tests.cameras.lending import Streaming, resident_bytes

PLAIN: dict[str, object] = {"features": {}}


def taken(stream: Streaming) -> CapturedFrame:
    """The picture of a trigger, its slot released."""
    stream.camera.trigger()
    frame = stream.wait()
    stream.camera.release(frame.slot)
    return frame


@pytest.mark.parametrize("height", [20, 100], ids=["too small", "too large"])
@pytest.mark.parametrize("chunks", [(), ("Timestamp",)], ids=["alone", "with chunk data"])
def test_a_picture_of_another_size_is_not_whole(wire: WireCamera, height: int, chunks: tuple[str, ...]) -> None:
    with opened(settings(WIRE, **PLAIN, chunks=chunks), "software") as stream:
        whole = [taken(stream).complete]
        stream.camera.set_feature("Height", height)  # what a camera that is told so by itself, or a line camera, does
        whole += [taken(stream).complete]
    assert whole == [True, False]


def test_a_start_that_fails_leaves_what_the_stream_before_held_alone(
    wire: WireCamera, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_device: Device) -> int:
        raise AravisError("not now", None)

    with closing(gige(settings(WIRE, **PLAIN), "software")) as camera:
        frame_bytes = camera.open().frame_bytes
        slots = [np.zeros(frame_bytes, np.uint8) for _ in range(SLOTS)]
        camera.start(slots)
        camera.trigger()
        while camera.next(0.2) is None:  # and it is held beyond the end of its stream
            pass
        camera.stop()
        monkeypatch.setattr(Device, "tick_hz", refuse)
        with pytest.raises(CameraConfigError, match="not now"):
            camera.start(slots)
    assert "CRITICAL" not in capfd.readouterr().err  # what GLib says of an object that is let go twice


def test_a_stream_that_is_refused_leaves_no_memory_behind(wire: WireCamera) -> None:
    with closing(Device(Library(), WIRE)), closing(Device(Library(), WIRE)) as second:
        before = resident_bytes()
        for _ in range(100):
            with pytest.raises(AravisError, match="privilege"):
                second.create_stream()
        # The reader of chunk data alone, which knows the camera's whole description, takes 170 kB.
        assert resident_bytes() - before < 5_000_000
