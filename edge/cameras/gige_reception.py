"""What comes in from a GigE Vision stream: frames with ids that do not wrap, honest timestamps, and silence noticed."""

import math
import time

from edge.cameras.aravis_stream import FilledBuffer, Stream
from edge.cameras.camera import CameraLost, CameraStats, CapturedFrame

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
        self._frame_id = 0
        self.lost = 0

    def advance(self, device_id: int | None) -> int | None:
        """The frame's count. The first frame keeps the device's own id; one without an id follows the one before it.

        None for a frame without an id before any that has one. Raises CameraLost when the ids went back.
        """
        if self._device_id is None:
            self._device_id, self._frame_id = device_id, device_id or 0
            return device_id
        step = 1 if device_id is None else self._step(self._device_id, device_id)
        if not 0 < step <= _LARGEST_STEP:
            raise CameraLost(f"its frame ids went from {self._device_id} back to {device_id}: it began anew")
        self._device_id = self._device_id % _IDS + 1 if device_id is None else device_id
        self._frame_id += step
        self.lost += step - 1
        return self._frame_id

    @staticmethod
    def _step(before: int, after: int) -> int:
        return after - before if max(before, after) > _IDS else (after - before) % _IDS


class Reception:
    """Hands over what a stream filled. `next` is for one thread; `release` may come from another.

    `silence_s` is how long a running camera may send nothing before it is lost; infinite while it waits for
    triggers.
    """

    def __init__(self, stream: Stream, slots: int, silence_s: float) -> None:
        self._stream = stream
        self._slots = slots
        self._silence_s = silence_s
        self._ids = FrameIds()
        self.held: set[int] = set()
        self._frames = self._incomplete = self._nameless = 0
        self._heard_ns = time.monotonic_ns()
        self._transfer_ns = 0

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame; None after `timeout_s`. Raises CameraLost after too long a silence."""
        buffer = self._stream.pop(0)
        waited = buffer is None
        if buffer is None:
            buffer = self._stream.pop(min(timeout_s, self._patience_s()))
        if buffer is None:
            if self._patience_s() == 0:
                raise CameraLost(f"it sent no frame for {self._silence_s} s")
            return None
        return self._frame(buffer, waited=waited)

    def release(self, slot: int) -> None:
        """Lends the slot's buffer to the stream again. Raises KeyError for one that was not handed over."""
        if self._is_starved():
            self._heard_ns = time.monotonic_ns()
        self.held.remove(slot)
        self._stream.push(slot)

    def stats(self) -> CameraStats:
        """Frames handed over, those of them that are not whole, and those that never came."""
        return CameraStats(frames=self._frames, incomplete=self._incomplete, lost=self._ids.lost + self._nameless)

    def _is_starved(self) -> bool:
        # Without a buffer to fill, the stream drops what comes: that silence is not the camera's.
        return len(self.held) == self._slots

    def _patience_s(self) -> float:
        if self._is_starved():
            return math.inf
        return max(0.0, self._silence_s - (time.monotonic_ns() - self._heard_ns) / 1e9)

    def _frame(self, buffer: FilledBuffer, *, waited: bool) -> CapturedFrame | None:
        now_ns, now_utc_ns = time.monotonic_ns(), time.time_ns()
        self._heard_ns = now_ns
        frame_id = self._ids.advance(buffer.frame_id)
        if frame_id is None:
            self._nameless += 1
            self._stream.push(buffer.index)
            return None
        complete_ns = self._completion(buffer, now_ns, now_utc_ns, waited=waited)
        self.held.add(buffer.index)
        self._frames += 1
        self._incomplete += not buffer.is_whole
        return CapturedFrame(
            slot=buffer.index,
            frame_id=frame_id,
            host_timestamp_ns=complete_ns,
            host_timestamp_utc_ns=now_utc_ns - (now_ns - complete_ns),
            device_timestamp_ns=buffer.device_timestamp_ns or None,
            complete=buffer.is_whole,
        )

    def _completion(self, buffer: FilledBuffer, now_ns: int, now_utc_ns: int, *, waited: bool) -> int:
        """When the frame was complete: now if it was waited for, else its arrival plus the last transfer seen.

        A frame that lay in the queue is thereby as old as it is, and never younger.
        """
        age_ns = 0 if buffer.arrival_utc_ns is None else now_utc_ns - buffer.arrival_utc_ns
        if not 0 <= age_ns < _OLDEST_NS:
            return now_ns
        if waited and buffer.is_whole:
            self._transfer_ns = age_ns
        return min(now_ns, now_ns - age_ns + self._transfer_ns)
