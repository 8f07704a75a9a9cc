"""What comes in from a stream of libaravis: frames with ids that do not wrap, and honest timestamps."""

import time

import msgspec

from edge.cameras.aravis_stream import FilledBuffer, Stream
from edge.cameras.camera import CameraLost, CameraStats, CapturedFrame
from edge.cameras.gige_counter import EdgeCounter

# 16-bit frame ids run from 1 to 65535; 0 is skipped (GigE Vision 2.0, block_id). Larger ones are the 64-bit kind.
_IDS = 65_535
# A step forward of more than half the circle is a step back: the device began counting anew.
_LARGEST_STEP = _IDS // 2
# A wall clock set between a frame's arrival and now would make the frame this old or of the future: then it is new.
_OLDEST_NS = 10_000_000_000


class FrameIds:
    """Turns a device's frame ids into a count that never wraps, and counts the ids that are missing."""

    def __init__(self) -> None:
        self._device_id: int | None = None
        self._frame_id = self._first = 0
        # Frames without an id since the last that had one.
        self._nameless = 0
        self.lost = 0

    @property
    def pictures(self) -> int:
        """Ids from the first up to the last, those that are missing included."""
        return 0 if self._device_id is None else self._frame_id - self._first + 1

    def advance(self, device_id: int | None) -> int | None:
        """The frame's count. The first frame keeps the device's own id; one without an id follows the one before it.

        None for a frame without an id before any that has one. Raises CameraLost when the ids went back.
        """
        if self._device_id is None:
            self._device_id, self._frame_id = device_id, device_id or 0
            self._first = self._frame_id
            return device_id
        if device_id is None:
            self._nameless += 1
            self._frame_id += 1
            return self._frame_id
        step = self._step(self._device_id, device_id)
        if not self._nameless < step <= _LARGEST_STEP:
            raise CameraLost(f"its frame ids went from {self._device_id} back to {device_id}: it began anew")
        step, self._device_id, self._nameless = step - self._nameless, device_id, 0
        self._frame_id += step
        self.lost += step - 1
        return self._frame_id

    @staticmethod
    def _step(before: int, after: int) -> int:
        return after - before if max(before, after) > _IDS else (after - before) % _IDS


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """When a frame was complete, by both clocks, and when its first packet came, None where that was lost."""

    complete_ns: int
    complete_utc_ns: int
    arrival_ns: int | None


class Reception:
    """Hands over what a stream filled. `next` is for one thread; `release` may come from another.

    `exposure_s` is that of the frames to come, `delay_s` from a trigger to its exposure; `tick_hz` is what the device's
    time in chunk data counts, 0 for ns.
    """

    def __init__(
        self, stream: Stream, counter: EdgeCounter, exposure_s: float | None, delay_s: float, tick_hz: int
    ) -> None:
        self._stream = stream
        self._counter = counter
        self._tick_hz = tick_hz
        self.exposure_s, self._delay_s = exposure_s, delay_s
        self._ids = FrameIds()
        self.held: set[int] = set()
        self._frames = self._incomplete = self._nameless = 0
        self._transfer_ns = 0
        # When the last frame came, or was waited for first.
        self.heard_ns = time.monotonic_ns()

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame; None after `timeout_s`. Raises CameraLost when ids or the edge counter went back."""
        buffer = self._stream.pop(0)
        waited = buffer is None
        if buffer is None:
            buffer = self._stream.pop(timeout_s)
        if buffer is not None:
            return self._frame(buffer, waited=waited)
        self._counter.idle(time.monotonic_ns(), self.heard_ns, self._ids.pictures)
        return None

    def release(self, slot: int) -> None:
        """Lends the slot's buffer to the stream again. Raises KeyError for one that was not handed over."""
        self.held.remove(slot)
        self._stream.push(slot)

    def stats(self) -> CameraStats:
        """Frames handed over, those of them that are not whole, and those that never came."""
        return CameraStats(frames=self._frames, incomplete=self._incomplete, lost=self._ids.lost + self._nameless)

    def _frame(self, buffer: FilledBuffer, *, waited: bool) -> CapturedFrame | None:
        times = self._times(buffer, waited=waited)
        self.heard_ns = time.monotonic_ns()
        lost_before = self._ids.lost
        frame_id = self._ids.advance(buffer.frame_id)
        if frame_id is None:
            self._nameless += 1
            self._stream.push(buffer.index)
            return None
        self.held.add(buffer.index)
        self._frames += 1
        self._incomplete += not buffer.is_whole
        lost = self._ids.lost - lost_before
        return CapturedFrame(
            slot=buffer.index,
            frame_id=frame_id,
            host_timestamp_ns=times.complete_ns,
            host_timestamp_utc_ns=times.complete_utc_ns,
            device_timestamp_ns=self._device_ns(buffer),
            complete=buffer.is_whole,
            started_ns=self._started_ns(buffer, times),
            trigger_count=self._counter.of_frame(buffer.index, self._ids.pictures, lost, times.complete_ns),
        )

    def _times(self, buffer: FilledBuffer, *, waited: bool) -> Times:
        """When the frame was complete: now if it was waited for, else its arrival plus the last transfer seen.

        A frame that lay in the queue is thereby as old as it is, and never younger.
        """
        now_ns, now_utc_ns = time.monotonic_ns(), time.time_ns()
        age_ns = 0 if buffer.arrival_utc_ns is None else now_utc_ns - buffer.arrival_utc_ns
        if buffer.arrival_utc_ns is None or not 0 <= age_ns < _OLDEST_NS:
            return Times(complete_ns=now_ns, complete_utc_ns=now_utc_ns, arrival_ns=None)
        if waited and buffer.is_whole:
            self._transfer_ns = age_ns
        complete_ns = min(now_ns, now_ns - age_ns + self._transfer_ns)
        complete_utc_ns = now_utc_ns - (now_ns - complete_ns)
        return Times(complete_ns=complete_ns, complete_utc_ns=complete_utc_ns, arrival_ns=now_ns - age_ns)

    def _started_ns(self, buffer: FilledBuffer, times: Times) -> int | None:
        """When its trigger came: a camera sends a picture's first packet when its exposure is over."""
        told_us = self._stream.chunk(buffer.index, "ChunkExposureTime")
        exposure_s = self.exposure_s if told_us is None else told_us / 1e6
        if exposure_s is None or times.arrival_ns is None:
            return None
        return times.arrival_ns - round((exposure_s + self._delay_s) * 1e9)

    def _device_ns(self, buffer: FilledBuffer) -> int | None:
        ticks = self._stream.chunk(buffer.index, "ChunkTimestamp")
        if ticks is None:
            return buffer.device_timestamp_ns or None
        # Whole numbers: a float has not the digits.
        return int(ticks) * 1_000_000_000 // self._tick_hz if self._tick_hz else int(ticks)
