"""What every camera is held to. A camera's tests derive a class from `CameraContract` and give it two fixtures.

`free_running` and `triggered` each return a function that makes a new, closed camera of the same device: one that
runs at `RATE_HZ`, one that waits for software triggers. A device that a test can take away derives from
`LosableContract` and gives a third fixture, `device`.
"""

import contextlib
import threading
import time
from contextlib import closing
from itertools import pairwise
from typing import Protocol

import pytest

from edge.cameras.camera import Camera, CameraAbsent, CameraBusy, CameraError, CameraLost, CapturedFrame
from edge.images import frame_bytes
from tests.cameras.lending import (
    LATENESS_S,
    LONGEST_CALL_S,
    PATIENCE_S,
    MakeCamera,
    Streaming,
    descriptors,
    lost_between,
    resident_bytes,
    streaming,
    threads,
    wait_until,
)

__all__ = ["CameraContract", "Losable", "LosableContract", "MakeCamera", "Streaming", "streaming"]


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
    # What `CYCLES` openings may add to the memory in use: the allocator's own pieces, not a frame each.
    GROWTH_BYTES = 4 << 20

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
            # A machine that stands still at an end of a stretch makes its rate another one, but not each time.
            assert any(self._is_at_the_rate(stream) for _ in range(4))

    def _is_at_the_rate(self, stream: Streaming) -> bool:
        """Whether the next frames come at the rate; their ids and times are as they have to be."""
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
        return periods / elapsed_s == pytest.approx(self.RATE_HZ, rel=self.RATE_TOLERANCE)

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
                assert timeout_s - 0.01 <= time.monotonic() - began < timeout_s + LATENESS_S

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

    def test_opening_and_closing_leaks_nothing(self, free_running: MakeCamera) -> None:
        for _ in range(3):
            self._open_and_close(free_running)
        descriptors_before, threads_before, memory_before = descriptors(), threads(), resident_bytes()
        for _ in range(self.CYCLES):
            self._open_and_close(free_running)
        wait_until(lambda: descriptors() <= descriptors_before, "descriptors are left open")
        wait_until(lambda: threads() <= threads_before, "threads are left running")
        assert resident_bytes() - memory_before <= self.GROWTH_BYTES

    def _open_and_close(self, make: MakeCamera) -> None:
        with streaming(make) as stream:
            stream.camera.next(0)

    def test_a_slow_consumer_gets_frames_in_order_and_what_it_missed_is_counted(self, free_running: MakeCamera) -> None:
        pause_s = 3 / self.RATE_HZ
        with streaming(free_running) as stream:
            frames, ages_s = [], []
            for _ in range(self.FRAMES // 2):
                frame = stream.wait()
                ages_s.append(time.monotonic() - frame.host_timestamp_ns / 1e9)
                before = stream.digest(frame.slot)
                time.sleep(pause_s)
                assert stream.digest(frame.slot) == before
                frames.append(frame)
                stream.camera.release(frame.slot)
            stats = stream.camera.stats()
        assert all(before.frame_id < after.frame_id for before, after in pairwise(frames))
        assert stats.lost >= lost_between(frames) > 0
        # A frame waits for those before it in the slots and for nothing else; a sleep may last twice as long.
        assert min(ages_s) >= 0 and sorted(ages_s)[len(ages_s) // 2] < len(stream.slots) * 2 * pause_s

    def test_only_what_was_handed_over_can_be_released(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            frame = stream.wait()
            stream.camera.release(frame.slot)
            with pytest.raises(KeyError):
                stream.camera.release(frame.slot)


class Losable(Protocol):
    """The device behind the cameras of a `LosableContract`, as the test can treat it. It starts out there and well.

    `lose` takes it away at once (killed, unplugged) and `restore` brings it back, both returning when that is so;
    `hang` leaves it there and silent (stopped, its cable pulled) until `resume`.
    """

    def lose(self) -> None: ...
    def restore(self) -> None: ...
    def hang(self) -> None: ...
    def resume(self) -> None: ...


class LosableContract(CameraContract):
    """What a camera does while its device is away, and after. The fixture `device` gives a `Losable`."""

    # From the loss of a free-running device to CameraLost, or to the silence that the station takes for one.
    LOSS_S = 2.0
    # How long a device may refuse to be opened after it came back or was let go: a GigE camera belongs to a dead owner
    # for 3 s.
    RECONNECT_S = 10.0

    def test_a_lost_device_is_told_or_silent_and_is_let_go_in_time(
        self, free_running: MakeCamera, device: Losable
    ) -> None:
        with streaming(free_running) as stream:
            stream.take(3)
            device.lose()
            self._expect_loss(stream)
            self._expect_quick_close(stream.camera)

    def test_a_device_that_is_away_is_absent_at_once(self, free_running: MakeCamera, device: Losable) -> None:
        device.lose()
        for _ in range(2):
            began = time.monotonic()
            with closing(free_running()) as camera, pytest.raises(CameraAbsent):
                camera.open()
            assert time.monotonic() - began < LONGEST_CALL_S
        device.restore()
        self._reconnect(free_running)

    def test_a_lost_device_that_is_back_streams_again(self, free_running: MakeCamera, device: Losable) -> None:
        for _ in range(2):
            with streaming(free_running) as stream:
                stream.take(3)
                device.lose()
                self._expect_loss(stream)
            device.restore()
            self._reconnect(free_running)

    def test_a_trigger_of_a_lost_device_fails_or_gives_nothing(self, triggered: MakeCamera, device: Losable) -> None:
        with streaming(triggered) as stream:
            stream.camera.trigger()
            stream.camera.release(stream.wait().slot)
            device.lose()
            began = time.monotonic()
            with contextlib.suppress(CameraLost):
                stream.camera.trigger()
            assert time.monotonic() - began < LONGEST_CALL_S
            assert self._expect_loss(stream) == 0, "a picture of a device that is away"
            self._expect_quick_close(stream.camera)

    def test_waiting_for_a_hanging_device_ends_with_the_timeout(
        self, free_running: MakeCamera, device: Losable
    ) -> None:
        with streaming(free_running) as stream:
            stream.take(3)
            device.hang()
            try:
                self._expect_loss(stream)
                self._expect_quick_close(stream.camera)
            finally:
                device.resume()
        self._reconnect(free_running)

    def test_losing_a_device_again_and_again_leaks_nothing(self, free_running: MakeCamera, device: Losable) -> None:
        self._lose_and_restore(free_running, device)
        descriptors_before, threads_before, memory_before = descriptors(), threads(), resident_bytes()
        for _ in range(2):
            self._lose_and_restore(free_running, device)
        wait_until(lambda: descriptors() <= descriptors_before, "descriptors are left open")
        wait_until(lambda: threads() <= threads_before, "threads are left running")
        assert resident_bytes() - memory_before <= self.GROWTH_BYTES

    # --- what these tests say

    def _lose_and_restore(self, make: MakeCamera, device: Losable) -> None:
        with streaming(make) as stream:
            stream.take(1)
            device.lose()
            self._expect_loss(stream)
        device.restore()
        self._reconnect(make)

    def _next(self, stream: Streaming, timeout_s: float = 0.1) -> CapturedFrame | None:
        """One wait, which must end in time. Raises CameraLost."""
        began = time.monotonic()
        try:
            frame = stream.camera.next(timeout_s)
        finally:
            took_s = time.monotonic() - began
        assert took_s < timeout_s + LATENESS_S, f"it waited {took_s:.2f} s"
        if frame is not None:
            stream.camera.release(frame.slot)
        return frame

    def _expect_loss(self, stream: Streaming) -> int:
        """CameraLost, or a second without a frame, soon enough. Returns how many frames that had arrived still came."""
        until = time.monotonic() + self.LOSS_S + PATIENCE_S
        silent_since, frames = time.monotonic(), 0
        while time.monotonic() - silent_since < 1.0:
            assert time.monotonic() < until, "frames go on"
            try:
                frame = self._next(stream)
            except CameraLost:
                break
            if frame is not None:
                silent_since, frames = time.monotonic(), frames + 1
        return frames

    def _expect_quick_close(self, camera: Camera) -> None:
        began = time.monotonic()
        camera.stop()
        camera.close()
        assert time.monotonic() - began < LONGEST_CALL_S

    def _reconnect(self, make: MakeCamera) -> None:
        """A new camera of the device opens and streams; it is asked for again as the station asks."""
        until = time.monotonic() + self.RECONNECT_S + PATIENCE_S
        while True:
            try:
                with streaming(make) as stream:
                    assert [frame.complete for frame in stream.take(3)] == [True] * 3
            except (CameraAbsent, CameraBusy, CameraLost):
                assert time.monotonic() < until, "it does not come back"
                time.sleep(0.2)
            else:
                return
