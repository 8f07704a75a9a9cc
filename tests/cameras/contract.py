"""What every camera is held to. A camera's tests derive a class from `CameraContract` and give it two fixtures.

`free_running` and `triggered` each return a function that makes a new, closed camera of the same device: one that
runs at `RATE_HZ`, one that waits for software triggers.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest

from edge.cameras.camera import Camera, CameraError, CameraInfo, CameraLost, CapturedFrame
from edge.images import frame_bytes

MakeCamera = Callable[[], Camera]
# A slot may be larger than a frame; what lies beyond must stay as it is.
GUARD_BYTES, GUARD = 64, 0xA5
# A frame that must come is waited for this long: the machine may be busy with something else.
PATIENCE_S = 5.0


class Streaming:
    """An open camera that streams into guarded slots of this test's own."""

    def __init__(self, camera: Camera, info: CameraInfo, slots: int) -> None:
        self.camera, self.info = camera, info
        self.slots = [np.full(info.frame_bytes + GUARD_BYTES, GUARD, np.uint8) for _ in range(slots)]
        camera.start(list(self.slots))

    def wait(self) -> CapturedFrame:
        """The next frame, which must come."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if (frame := self.camera.next(0.2)) is not None:
                return frame
        raise AssertionError(f"no frame in {PATIENCE_S} s")

    def take(self, count: int) -> list[CapturedFrame]:
        """So many frames, each released at once."""
        frames = []
        for _ in range(count):
            frames.append(self.wait())
            self.camera.release(frames[-1].slot)
        return frames

    def digest(self, slot: int) -> bytes:
        return hashlib.sha256(self.slots[slot]).digest()

    def guards_are_whole(self) -> bool:
        return all((slot[self.info.frame_bytes :] == GUARD).all() for slot in self.slots)


@contextmanager
def streaming(make: MakeCamera, slots: int = 4) -> Iterator[Streaming]:
    """A new camera, open and streaming; closed afterwards, the bytes beyond its frames untouched."""
    camera = make()
    try:
        stream = Streaming(camera, camera.open(), slots)
        yield stream
        assert stream.guards_are_whole()
    finally:
        camera.close()


def lost_between(frames: list[CapturedFrame]) -> int:
    return sum(after.frame_id - before.frame_id - 1 for before, after in pairwise(frames))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class CameraContract:
    """One test for each sentence of the protocol. A subclass lowers what is expensive with its device."""

    RATE_HZ = 50.0
    # How far the rate may be off, as a share of it.
    RATE_TOLERANCE = 0.2
    FRAMES = 30
    TRIGGERS = 20
    CYCLES = 100
    # After a triggered frame nothing may follow for this long, s.
    QUIET_S = 0.04

    def test_an_open_camera_tells_what_it_delivers(self, free_running: MakeCamera, triggered: MakeCamera) -> None:
        for make, period_s in ((free_running, 1 / self.RATE_HZ), (triggered, None)):
            camera = make()
            try:
                info = camera.open()
            finally:
                camera.close()
            assert info.width > 0 and info.height > 0 and info.vendor and info.model and info.serial
            assert info.frame_bytes == frame_bytes(info.width, info.height, info.pixel_format)
            assert info.period_s == (None if period_s is None else pytest.approx(period_s, rel=0.01))

    def test_frames_come_at_the_rate_with_ids_and_times_that_only_rise(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            began_ns, began_utc_ns = time.monotonic_ns(), time.time_ns()
            frames = stream.take(self.FRAMES)
            ended_ns, ended_utc_ns = time.monotonic_ns(), time.time_ns()
        assert all(before.frame_id < after.frame_id for before, after in pairwise(frames))
        assert all(before.host_timestamp_ns <= after.host_timestamp_ns for before, after in pairwise(frames))
        # The first frame may have been complete before the first look.
        assert began_ns - 1e9 < frames[0].host_timestamp_ns and frames[-1].host_timestamp_ns <= ended_ns
        assert began_utc_ns - 1e9 < frames[0].host_timestamp_utc_ns
        assert frames[-1].host_timestamp_utc_ns <= ended_utc_ns + 1e9
        # By the ids, which a busy machine does not delay as it does the looking.
        periods = frames[-1].frame_id - frames[0].frame_id
        elapsed_s = (frames[-1].host_timestamp_ns - frames[0].host_timestamp_ns) / 1e9
        assert periods / elapsed_s == pytest.approx(self.RATE_HZ, rel=self.RATE_TOLERANCE)

    def test_what_is_counted_adds_up(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            frames = stream.take(self.FRAMES)
            stats = stream.camera.stats()
        assert stats.frames == len(frames)
        assert stats.incomplete == sum(not frame.complete for frame in frames)
        assert stats.lost >= lost_between(frames)

    def test_a_held_buffer_is_never_written(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            held = [stream.wait(), stream.wait()]
            before = [stream.digest(frame.slot) for frame in held]
            others = stream.take(self.FRAMES)
            assert not {frame.slot for frame in others} & {frame.slot for frame in held}
            assert [stream.digest(frame.slot) for frame in held] == before

    def test_frames_that_find_no_buffer_are_lost_and_counted(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            held = [stream.wait() for _ in stream.slots]
            before = [stream.digest(slot) for slot in range(len(stream.slots))]
            lost_before = stream.camera.stats().lost
            assert sorted(frame.slot for frame in held) == list(range(len(stream.slots)))
            assert stream.camera.next(10 / self.RATE_HZ) is None
            assert [stream.digest(slot) for slot in range(len(stream.slots))] == before
            for frame in held:
                stream.camera.release(frame.slot)
            after = stream.take(2)
            assert lost_between([held[-1], *after]) >= 5
            assert stream.camera.stats().lost - lost_before >= 5

    def test_each_trigger_gives_one_frame_and_nothing_else_does(self, triggered: MakeCamera) -> None:
        with streaming(triggered) as stream:
            assert stream.camera.next(0.2) is None
            frames = []
            for _ in range(self.TRIGGERS):
                asked_ns = time.monotonic_ns()
                stream.camera.trigger()
                frames.append(stream.wait())
                assert frames[-1].complete and frames[-1].host_timestamp_ns >= asked_ns
                stream.camera.release(frames[-1].slot)
                assert stream.camera.next(self.QUIET_S) is None
        assert lost_between(frames) == 0

    def test_a_trigger_from_another_thread_ends_the_waiting(self, triggered: MakeCamera) -> None:
        with streaming(triggered) as stream:
            asking = threading.Timer(0.1, stream.camera.trigger)
            began = time.monotonic()
            asking.start()
            frame = stream.camera.next(2 * PATIENCE_S)
            # Long before the timeout, however busy the machine.
            assert frame is not None and time.monotonic() - began < PATIENCE_S
            asking.join()

    def test_waiting_ends_with_the_timeout(self, triggered: MakeCamera) -> None:
        with streaming(triggered) as stream:
            for timeout_s in (0.0, 0.15):
                began = time.monotonic()
                assert stream.camera.next(timeout_s) is None
                # The camera has 0.1 s more; the rest is for a busy machine.
                assert timeout_s - 0.01 <= time.monotonic() - began < timeout_s + 0.1 + 0.5

    def test_nothing_is_written_after_stop(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            stream.take(3)
            stream.camera.stop()
            counted = stream.camera.stats()
            before = [stream.digest(slot) for slot in range(len(stream.slots))]
            time.sleep(5 / self.RATE_HZ)
            assert [stream.digest(slot) for slot in range(len(stream.slots))] == before
            assert stream.camera.stats() == counted and counted.frames == 3

    def test_stopping_and_closing_twice_changes_nothing(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            stream.take(1)
            for end in (stream.camera.stop, stream.camera.stop, stream.camera.close, stream.camera.close):
                end()
        never_opened = free_running()
        never_opened.stop()
        never_opened.close()

    def test_a_camera_that_does_not_stream_is_lost(self, free_running: MakeCamera, triggered: MakeCamera) -> None:
        with streaming(free_running) as stream:
            stream.camera.close()
            with pytest.raises(CameraLost):
                stream.camera.next(0.01)
        camera = triggered()
        with pytest.raises(CameraError):
            camera.trigger()

    def test_a_closed_camera_can_be_opened_again(self, free_running: MakeCamera) -> None:
        camera = free_running()
        try:
            for _ in range(2):
                stream = Streaming(camera, camera.open(), slots=4)
                assert camera.stats().frames == 0
                frames = stream.take(3)
                assert all(frame.complete for frame in frames) and camera.stats().frames == 3
                camera.close()
        finally:
            camera.close()

    def test_opening_and_closing_leaks_no_descriptor(self, free_running: MakeCamera) -> None:
        with streaming(free_running):
            pass
        before = descriptors()
        for _ in range(self.CYCLES):
            with streaming(free_running) as stream:
                stream.camera.next(0)
        assert descriptors() <= before

    def test_only_what_was_handed_over_can_be_released(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            frame = stream.wait()
            stream.camera.release(frame.slot)
            with pytest.raises(KeyError):
                stream.camera.release(frame.slot)
