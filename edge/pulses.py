"""Which pulse of a line each frame of a camera answers, and which pulses got no picture. Pure.

The camera fires from its own input; nobody tells this station of a pulse but the frame it gave, and the numbers that
the frame carries:

1. A gap in the frame ids is pictures that were taken and never arrived. Each has its place in the order.
2. Edges that the camera counted at its input beyond the pictures it took are pulses that came too fast for it.
3. Where a pulse gives a burst of shots, every so many frames are one burst. Which frame is the first is told by time, at
   the start of a stream: the pause before a burst is longer than any within it. From the first burst that lies so, the
   ids go on counting; before, and when the pauses say otherwise, no frame is taken for a shot that it may not be.

Numbers that the time since the frame before cannot hold are no count of anything: the camera began to count anew. Then
nothing is known of what was between, and nothing is invented. The same holds from one stream to the next.
"""

from typing import NamedTuple

from edge.records import Reason

# No camera here takes pictures faster than a thousand a second (`rate_hz`).
FASTEST_NS = 1_000_000
# Frames that waited for a busy machine may carry times nearer to each other than they were taken: as many as a ring
# and a socket hold while a machine hangs for a second.
MOST_AT_ONCE = 64
# An eighth of the camera's trigger log: more would not leave room for what is in flight.
MOST_LOST = 1000
# By this factor the pause before a burst must be longer than those within; a device's clock is steadier.
LONGER = 1.1
# A pause within that is by this factor longer than the one before: whatever was known of the order, it holds no more.
TOO_LONG = 2.0
# So with one that is by this factor longer than any within was: a shot that was lost and that the camera did not count
# leaves a pause twice as long behind.
GAPING = 1.5

LOST = "the camera counted a picture that never arrived"
TOO_FAST = "an edge came while the camera could not take a picture"
NOT_KNOWN_YET = "which shot it is cannot be told before a burst of this stream came after a longer pause than within"
OUT_OF_STEP = "the pause within the burst was longer than a burst's are: its pictures are of two parts"


class Look(NamedTuple):
    """One shot of one pulse, both counted from 0. Without a `reason` the frame shows it; else no picture does."""

    pulse: int
    shot: int
    reason: Reason | None = None
    detail: str = ""


class Pulses:
    """The pulses of one camera. Each gives one look for each of its `shots`, and none twice."""

    def __init__(self, shots: int = 1) -> None:
        self._shots = shots
        # The next number to give; the pulse whose burst has come as far as the next `_shot`.
        self._number = self._pulse = self._shot = 0
        # Pulses that gave pictures, and how many edges more than those the camera had counted.
        self._pictured = 0
        self._surplus: int | None = None
        self._newest: tuple[int, int] | None = None
        # Before this burst; the first of a stream has none that is known.
        self._pause_ns: int | None = None
        # The longest within the bursts of this stream, as far as they came after a longer one.
        self._within_ns = 0
        # Whether all of this burst lies as a burst does, and whether one of this stream did.
        self._fits = self._is_certain = False

    def end(self, reason: Reason, detail: str) -> list[Look]:
        """The stream is over: what is missing of a burst will not come, and the next stream counts anew."""
        self._newest = self._pause_ns = None
        self._forget_order()
        return self._close(reason, detail)

    def see(self, frame_id: int, at_ns: int, edges: int | None = None, lost: Reason = Reason.INCOMPLETE) -> list[Look]:
        """One frame: the looks it settles, in order, itself the last.

        `at_ns` is of the device's clock where it has one, else of the host's. `edges` is the camera's count of its
        input's edges up to this frame; `lost` is why frames would have been lost since the one before.
        """
        step, elapsed_ns, most = self._since_newest(frame_id, at_ns)
        looks = self.end(lost, LOST) if step is None else [self._next(lost, LOST) for _ in range(step - 1)]
        self._newest = frame_id, at_ns
        # After lost frames, how long the pause before this one alone was is not known.
        doubt = self._doubt(elapsed_ns if step == 1 else None)
        if doubt == OUT_OF_STEP:
            self._forget_order()
            looks += self._close(Reason.MISSING_VIEW, OUT_OF_STEP)
        looks += self._too_fast(edges, most)
        if self._shot == 0:
            self._pause_ns = elapsed_ns if step == 1 else None
            self._fits = True
        return [*looks, self._next(Reason.MISSING_VIEW, doubt) if self._shot and doubt else self._next()]

    def _since_newest(self, frame_id: int, at_ns: int) -> tuple[int | None, int, int]:
        """How many frames on, how long after, and how many pulses there can have been. None: nothing is known."""
        if self._newest is None:
            return None, 0, 0
        before_id, before_ns = self._newest
        step, elapsed_ns = frame_id - before_id, at_ns - before_ns
        most = min(MOST_LOST, max(MOST_AT_ONCE, elapsed_ns // FASTEST_NS))
        return (step if 0 < step <= most and elapsed_ns >= 0 else None), elapsed_ns, most

    def _doubt(self, elapsed_ns: int | None) -> str | None:
        """Why this frame may not be the shot of the burst whose turn it is."""
        if self._shot == 0:
            return None
        if self._is_certain and elapsed_ns is not None and elapsed_ns > self._within_ns * GAPING:
            return OUT_OF_STEP
        if elapsed_ns is None or self._pause_ns is None:
            return None if self._is_certain else NOT_KNOWN_YET
        if elapsed_ns > self._pause_ns * (TOO_LONG if self._is_certain else LONGER):
            return OUT_OF_STEP
        if elapsed_ns * LONGER <= self._pause_ns:
            self._within_ns = max(self._within_ns, elapsed_ns)
            return None
        return None if self._is_certain else NOT_KNOWN_YET

    def _forget_order(self) -> None:
        """Which frame a burst begins with is not known any more, nor which of them an edge gave."""
        self._is_certain, self._surplus, self._within_ns = False, None, 0

    def _too_fast(self, edges: int | None, most: int) -> list[Look]:
        """The pulses before this one, if it is a pulse's first frame, that gave no picture and are not told of yet."""
        if edges is None or self._shot > 0:
            return []
        surplus = edges - self._pictured
        missed = 0 if self._surplus is None else surplus - self._surplus
        self._surplus = surplus
        looks: list[Look] = []
        for _ in range(missed if missed <= most else 0):
            looks += [Look(self._number, shot, Reason.OVERRUN, TOO_FAST) for shot in range(self._shots)]
            self._number += 1
        return looks

    def _next(self, reason: Reason | None = None, detail: str = "") -> Look:
        """The next shot in its turn."""
        if self._shot == 0:
            self._pulse = self._number
            self._number, self._pictured = self._number + 1, self._pictured + 1
            self._pause_ns = None if reason else self._pause_ns
        look = Look(self._pulse, self._shot, reason, detail)
        self._shot = (self._shot + 1) % self._shots
        self._fits = self._fits and reason is None
        self._is_certain = self._is_certain or (self._shot == 0 and self._fits)
        return look

    def _close(self, reason: Reason, detail: str) -> list[Look]:
        """The rest of the burst, if one has begun."""
        shots = range(self._shot, self._shots) if self._shot else ()
        self._shot = 0
        return [Look(self._pulse, shot, reason, detail) for shot in shots]
