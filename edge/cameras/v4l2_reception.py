"""What comes in from a V4L2 stream: ids that do not wrap, honest times, and which picture a software trigger means.

UVC knows no trigger: the camera streams, and a picture that is asked for is the first one that **certainly began**
after it was. A driver says when a picture's data began or ended to arrive; its exposure began before that:

- the camera itself holds a picture for at most one period, while it corrects, encodes and waits for USB;
- a stamp of the end: it took at most one period more to arrive;
- the exposure; where the camera does not tell it, or it moves by itself, it is at most one period.

Everything that may have begun earlier is given back to the camera unseen. The answer is complete two to four periods
after the ask.
"""

import time

import msgspec

from edge.cameras.camera import CameraLost, CameraStalled, CameraStats, CapturedFrame
from edge.cameras.v4l2_stream import Filled, Stream

_IDS = 1 << 32
# A step forward of more than half the circle is a step back: the device began counting anew.
_LARGEST_STEP = _IDS // 2
# UVC cameras work on one picture while the next is exposed; none tells how long.
_HELD_PERIODS = 1
# A stamp further off than this is not of this picture, whatever the driver says.
_OLDEST_NS = 10_000_000_000
# A stream that sends nothing for so many periods, and not less than the hiccups of a busy machine, stands still.
_SILENT_PERIODS, _SHORTEST_SILENCE_S = 3, 1.0


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Of the pictures of one stream: seconds between two, and of the exposure where it is known."""

    period_s: float
    exposure_s: float | None

    def lead_ns(self, *, is_start: bool) -> int:
        """How long before its stamp a picture may have begun."""
        exposure_s = self.period_s if self.exposure_s is None else self.exposure_s
        periods = _HELD_PERIODS if is_start else _HELD_PERIODS + 1
        return round(1e9 * (exposure_s + periods * self.period_s))


class Reception:
    """Hands over what a stream filled. `next` is for one thread; `release` and `ask` may come from another."""

    def __init__(self, stream: Stream, timing: Timing, slots: int, *, asked_only: bool, is_compressed: bool) -> None:
        self._stream, self._timing, self._slots = stream, timing, slots
        self._asked_only, self._is_compressed = asked_only, is_compressed
        self._sequence: int | None = None
        self._frame_id = self._frames = self._incomplete = self._lost = 0
        self._asked_ns: int | None = None
        self._heard_ns = time.monotonic_ns()
        self._transfer_ns = 0
        self._refusal: OSError | None = None
        self.held: set[int] = set()

    def ask(self) -> None:
        """The next picture that begins from now on is meant."""
        self._asked_ns = time.monotonic_ns()

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next picture; None after the timeout. Raises OSError as the kernel does, CameraLost, CameraStalled."""
        if self._refusal is not None:
            raise self._refusal
        until_s = time.monotonic() + timeout_s
        while (filled := self._stream.next(max(0.0, until_s - time.monotonic()))) is not None:
            self._heard_ns = time.monotonic_ns()
            lost = self._advance(filled.sequence)
            if not self._asked_only:
                self._frame_id, self._lost = self._frame_id + 1 + lost, self._lost + lost
                return self._frame(filled)
            if self._is_asked(filled):
                self._frame_id += 1
                return self._frame(filled)
            self._stream.lend(filled.slot)
        self._check_silence()
        return None

    def release(self, slot: int) -> None:
        """Lends a slot again. Raises KeyError for one that was not handed over; `next` raises what the kernel said."""
        if len(self.held) == self._slots:  # nothing could come
            self._heard_ns = time.monotonic_ns()
        self.held.remove(slot)
        try:
            self._stream.lend(slot)
        except OSError as refusal:
            self._refusal = refusal

    def stats(self) -> CameraStats:
        """Handed over, those of them that are not whole, and those that never came."""
        return CameraStats(frames=self._frames, incomplete=self._incomplete, lost=self._lost)

    def _advance(self, sequence: int) -> int:
        """Pictures missing before this one. Raises CameraLost when the count went back.

        A driver that does not count, or gives two pictures one number when it is late, loses none.
        """
        step = 1 if self._sequence is None else max(1, (sequence - self._sequence) % _IDS)
        if step > _LARGEST_STEP:
            raise CameraLost(f"its count of pictures went from {self._sequence} to {sequence}: it began anew")
        self._sequence = sequence
        return step - 1

    def _is_asked(self, filled: Filled) -> bool:
        asked_ns = self._asked_ns
        if asked_ns is None or filled.stamp_ns is None:
            return False
        if filled.stamp_ns - self._timing.lead_ns(is_start=filled.is_start) < asked_ns:
            return False
        self._asked_ns = None
        return True

    def _check_silence(self) -> None:
        """A camera that waits for a trigger must stream all the time. Raises CameraStalled."""
        silent_s = (time.monotonic_ns() - self._heard_ns) / 1e9
        allowed_s = max(_SILENT_PERIODS * self._timing.period_s, _SHORTEST_SILENCE_S)
        if self._asked_only and silent_s > allowed_s and len(self.held) < self._slots:
            raise CameraStalled(f"it sent nothing for {silent_s:.1f} s")

    def _frame(self, filled: Filled) -> CapturedFrame:
        now_ns, now_utc_ns = time.monotonic_ns(), time.time_ns()
        complete_ns = self._completion(filled, now_ns)
        exposure_s = self._timing.exposure_s
        started_ns = None
        if filled.stamp_ns is not None and exposure_s is not None:
            started_ns = filled.stamp_ns - self._timing.lead_ns(is_start=filled.is_start)
        self.held.add(filled.slot)
        self._frames += 1
        self._incomplete += not filled.is_whole
        return CapturedFrame(
            slot=filled.slot,
            frame_id=self._frame_id,
            host_timestamp_ns=complete_ns,
            host_timestamp_utc_ns=now_utc_ns - (now_ns - complete_ns),
            device_timestamp_ns=None,
            complete=filled.is_whole,
            started_ns=started_ns,
            used_bytes=filled.used_bytes if self._is_compressed else None,
        )

    def _completion(self, filled: Filled, now_ns: int) -> int:
        """The stamp of the end; of the start, that and the last transfer seen; now, if the driver has neither.

        A picture that lay in the queue is thereby as old as it is.
        """
        if filled.stamp_ns is None or not 0 <= now_ns - filled.stamp_ns < _OLDEST_NS:
            return now_ns
        if not filled.is_start:
            return filled.stamp_ns
        if filled.waited and filled.is_whole:
            self._transfer_ns = now_ns - filled.stamp_ns
        return min(now_ns, filled.stamp_ns + self._transfer_ns)
