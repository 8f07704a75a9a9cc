"""The contract of a camera that cannot be triggered: where the contract asks for triggers, it must refuse them by name."""

import time
from contextlib import closing

import pytest

from edge.cameras.camera import CameraConfigError, CameraError, CameraLost
from edge.images import frame_bytes
from tests.cameras.lending import LATENESS_S, MakeCamera, streaming


class Untriggered:
    """Stands before `CameraContract` in a class; its `triggered` makes a camera that is configured for triggers."""

    RATE_HZ: float
    # None where a stream does not tell its rate.
    PERIOD_S: float | None = None

    def test_an_open_camera_tells_what_it_delivers(self, free_running: MakeCamera) -> None:
        with closing(free_running()) as camera:
            info = camera.open()
        assert info.width > 0 and info.height > 0 and info.vendor and info.model and info.serial
        assert info.frame_bytes == frame_bytes(info.width, info.height, info.pixel_format)
        assert info.period_s == (None if self.PERIOD_S is None else pytest.approx(self.PERIOD_S, rel=0.01))

    def test_triggers_are_refused_by_name(self, triggered: MakeCamera) -> None:
        with closing(triggered()) as camera, pytest.raises(CameraConfigError, match="trigger"):
            camera.open()

    def test_waiting_ends_with_the_timeout(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            for _ in stream.slots:
                stream.wait()
            for timeout_s in (0.0, 0.15):
                began = time.monotonic()
                assert stream.camera.next(timeout_s) is None
                assert timeout_s - 0.01 <= time.monotonic() - began < timeout_s + LATENESS_S

    def test_a_camera_that_does_not_stream_is_lost(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            stream.camera.close()
            with pytest.raises(CameraLost):
                stream.camera.next(0.01)
        with pytest.raises(CameraError):
            free_running().trigger()

    # Of triggers nothing else can be held against it.
    test_each_trigger_gives_one_frame_and_nothing_else_does = None
    test_a_trigger_from_another_thread_ends_the_waiting = None
    test_a_trigger_of_a_lost_device_fails_or_gives_nothing = None
