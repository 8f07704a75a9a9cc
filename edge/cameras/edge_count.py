"""The camera's count of its input's edges, held against its pictures: which edges gave none.

A counter that comes with each picture (chunk data) is exact. One that is read from a register beside the pictures says
how many edges there were by then, and pictures of some of them may still be on their way: it counts only where the line
was quiet, that is where no picture was in the making when it was read.
"""

import msgspec

from edge.cameras.camera import CameraLost

# Counters have 16 or 32 bits; one that went back by almost all of them has wrapped, else it began anew.
_WRAPS = (1 << 16, 1 << 32)
# More edges than that between two readings are no line's, but a counter that began anew.
_LARGEST_STEP = 10_000
# What a picture may need to arrive beyond exposure and transfer: readout, the camera's own queue, a busy network.
_SLACK_NS = 200_000_000
# A line that stays quiet is asked again this often: an edge that gives no picture is told with the next that does.
_AGAIN_NS = 1_000_000_000


class Unwrapped:
    """A counter as a count that never wraps. Raises CameraLost when it went back."""

    def __init__(self, first: int) -> None:
        self._raw = first
        self.count = 0

    def advance(self, raw: int) -> int:
        """Edges since the first value."""
        steps = [raw - self._raw, *(raw + wrap - self._raw for wrap in _WRAPS)]
        step = next((step for step in steps if 0 <= step <= _LARGEST_STEP), None)
        if step is None:
            raise CameraLost(f"its edge counter went from {self._raw} to {raw}: it began anew")
        self._raw = raw
        self.count += step
        return self.count


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A counter read from its register, at the latest at `read_ns`; `excess`: edges more than pictures."""

    read_ns: int
    excess: int


class QuietCount:
    """Edges without a picture, proven by readings at quiet moments. Time is an argument; nothing here waits.

    `picture_ns` is exposure and transfer of one picture. `excess` never falls, and is never more than there are.
    """

    def __init__(self, picture_ns: int) -> None:
        self._window_ns = picture_ns + _SLACK_NS
        self._pending: Reading | None = None
        self._proven = 0
        self._asked_ns = 0
        self.excess = 0

    def wants_reading(self, now_ns: int, arrived_ns: int) -> bool:
        """Whether to read the counter: nothing waits to be proven, and something may have happened since.

        `arrived_ns` is when the last picture came. Only to be asked when no picture lies in the queue.
        """
        is_new = arrived_ns > self._asked_ns or now_ns - self._asked_ns >= _AGAIN_NS
        return self._pending is None and is_new

    def asked(self, now_ns: int) -> None:
        """The counter is being read from now on."""
        self._asked_ns = now_ns

    def read(self, reading: Reading) -> None:
        """What the counter said, no picture having come since it was asked.

        Unproven until the window after it has passed without a picture.
        """
        self._pending = reading

    def passed(self, now_ns: int) -> None:
        """Time goes on, and no picture lies in the queue."""
        reading = self._pending
        if reading is not None and now_ns - reading.read_ns >= self._window_ns:
            self._proven, self._pending = max(self._proven, reading.excess), None

    def arrived(self, complete_ns: int, lost: int) -> None:
        """A picture came, and by its id so many before it were taken and never arrived.

        One that was in the making when the counter was read makes that reading worthless; lost ones were edges too,
        and are not to be told twice.
        """
        self.passed(complete_ns)
        self.excess = max(self.excess, self._proven - lost)
        self._proven, self._pending = 0, None
