"""Where a frame's `trigger_count` comes from: chunk data, the counter's register at quiet moments, or nowhere."""

import time
from typing import Protocol

from edge.cameras.aravis import AravisError
from edge.cameras.aravis_device import Device
from edge.cameras.aravis_stream import Stream
from edge.cameras.bounded import Errand
from edge.cameras.camera import CameraLost
from edge.cameras.edge_count import QuietCount, Reading, Unwrapped
from edge.cameras.genicam import Target, selected

_CHUNK = "ChunkCounterValue"
# A line that is never quiet has its counter read so often all the same: at a thousand pictures a second, the most there
# are, its steps stay far below those of a counter that began anew.
_FOLLOW_NS = 2_000_000_000
# Every picture has its edge; one counter less may be its camera's way of counting, so many are another counter.
_MOST_BEHIND = 3
_WRONG_COUNTER = "its counter does not count the edges that trigger: trigger.counter is another, or not running"


class EdgeCounter(Protocol):
    """Counts the edges of the camera's input. Nothing here waits for the camera."""

    def of_frame(self, index: int, pictures: int, lost: int, complete_ns: int) -> int | None:
        """The edges up to the frame in this buffer, the `pictures`-th taken, after so many that were lost."""
        ...

    def idle(self, now_ns: int, arrived_ns: int, pictures: int) -> None:
        """No frame lies in the queue; the last came at `arrived_ns`."""
        ...


class NoCounter:
    """Of a camera whose counter is not asked for."""

    def of_frame(self, index: int, pictures: int, lost: int, complete_ns: int) -> int | None:
        """Unknown."""
        return None

    def idle(self, now_ns: int, arrived_ns: int, pictures: int) -> None:
        """Nothing to do."""


class ChunkCounter:
    """The counter comes with each frame. Of a frame that is not whole it is unknown."""

    def __init__(self, stream: Stream, pictures_for_each: int) -> None:
        self._stream = stream
        self._counter: Unwrapped | None = None
        self._most_still = _MOST_BEHIND * pictures_for_each
        # The pictures taken when the counter last moved.
        self._moved_at = 0

    def of_frame(self, index: int, pictures: int, lost: int, complete_ns: int) -> int | None:
        """Edges since the first frame that told. Raises CameraLost when the counter began anew, or stands still."""
        value = self._stream.chunk(index, _CHUNK)
        if value is None:
            return None
        if self._counter is None:
            self._counter, self._moved_at = Unwrapped(int(value)), pictures
        before = self._counter.count
        if self._counter.advance(int(value)) > before:
            self._moved_at = pictures
        elif pictures - self._moved_at > self._most_still:
            raise CameraLost(_WRONG_COUNTER)
        return self._counter.count

    def idle(self, now_ns: int, arrived_ns: int, pictures: int) -> None:
        """Nothing to do."""


class RegisterCounter:
    """The counter is read beside the frames, on a thread of its own, and counts only where the line was quiet.

    On a line that never is, no edge without a picture is found; a camera with chunk data finds each.
    """

    def __init__(self, device: Device, target: Target, picture_ns: int, pictures_for_each: int) -> None:
        """Sets the counter, whose value is `target`, to 0, where it can be. Raises AravisError."""
        self._device, self._target = device, target
        self._pictures_for_each = pictures_for_each
        self._quiet = QuietCount(picture_ns)
        with device.holding(), selected(device, self._target):
            if device.is_command("CounterReset"):
                device.execute("CounterReset")
        self._edges = Unwrapped(self._read())
        self._errand: Errand[tuple[int, int] | None] | None = None
        self._asked_ns, self._asked_at = time.monotonic_ns(), 0

    def of_frame(self, index: int, pictures: int, lost: int, complete_ns: int) -> int | None:
        """The edges that gave pictures, and those that are proven to have given none. Raises CameraLost as `idle`."""
        self._quiet.arrived(complete_ns, lost)
        self._look_in(pictures)
        if self._errand is None and complete_ns - self._asked_ns >= _FOLLOW_NS:
            self._ask(complete_ns, pictures)
        return -(-pictures // self._pictures_for_each) + self._quiet.excess

    def idle(self, now_ns: int, arrived_ns: int, pictures: int) -> None:
        """Looks in for a reading, and asks for one. Raises CameraLost when the counter began anew, or does not count."""
        self._look_in(pictures)
        self._quiet.passed(now_ns)
        if self._errand is None and self._quiet.wants_reading(now_ns, arrived_ns):
            self._ask(now_ns, pictures)

    def _ask(self, now_ns: int, pictures: int) -> None:
        self._quiet.asked(now_ns)
        self._asked_ns, self._asked_at = now_ns, pictures
        self._errand = Errand(self._timed)

    def _look_in(self, pictures: int) -> None:
        if self._errand is not None and self._errand.is_over:
            self._take(self._errand.answer(), pictures)
            self._errand = None

    def _take(self, answer: tuple[int, int] | None, pictures: int) -> None:
        if answer is None:  # the device did not answer; whether it is gone, others see
            return
        value, read_ns = answer
        edges = self._edges.advance(value)
        if edges + _MOST_BEHIND < -(-self._asked_at // self._pictures_for_each):
            raise CameraLost(_WRONG_COUNTER)
        if pictures == self._asked_at:
            self._quiet.read(Reading(read_ns=read_ns, excess=edges - -(-pictures // self._pictures_for_each)))

    def _timed(self) -> tuple[int, int] | None:
        try:
            return self._read(), time.monotonic_ns()
        except AravisError:
            return None

    def _read(self) -> int:
        with selected(self._device, self._target):
            return int(self._device.get(self._target.name, self._target.kind))
