"""Pictures that the line asked for by itself: each pulse at the camera's input opens its trigger here.

What the frames' numbers say is in `pulses.py`; here it becomes promises. A pulse without a picture is promised and
answered in one. Its time is that of the frame that told of it, for nothing else is known.
"""

from collections.abc import Sequence

import structlog

from edge.admission import HALTED
from edge.cameras.camera import CapturedFrame
from edge.exposures import Exposure, Shot
from edge.promises import Promises
from edge.pulses import Look, Pulses
from edge.records import Reason, Trigger


class FrameClock:
    """One time for the frames of a camera, in ns from the first: by the device's clock, which is steadier, where it tells.

    A frame whose first packet was lost does not say when it was; to it and from it the host's clock counts.
    """

    def __init__(self) -> None:
        self._newest: CapturedFrame | None = None
        self._now_ns = 0

    def at_ns(self, captured: CapturedFrame) -> int:
        """When the next frame was."""
        before, self._newest = self._newest or captured, captured
        if before.device_timestamp_ns is None or captured.device_timestamp_ns is None:
            self._now_ns += captured.host_timestamp_ns - before.host_timestamp_ns
        else:
            self._now_ns += captured.device_timestamp_ns - before.device_timestamp_ns
        return self._now_ns


class Arrivals:
    """The pulses of one camera, each answered once."""

    def __init__(self, promises: Promises, shots: Sequence[Shot], views: tuple[str, ...]) -> None:
        """`views` are what each trigger asks for: the shots, and where it is a group's, what its other cameras take."""
        self._promises, self._shots = promises, shots
        self._pulses, self._clock = Pulses(len(shots)), FrameClock()
        # The newest pulse that has a trigger, and the one whose burst may still miss shots.
        self._triggers: dict[int, Trigger | None] = {}
        self._views = views if len(views) > 1 else ()
        self._log = structlog.get_logger()

    def claim(self, captured: CapturedFrame, lost: Reason) -> Exposure | str:
        """What this frame is the picture of, with its trigger open; the pulses before it that gave none are answered.

        A reason where it is nobody's: the station takes none now, its shot is not known for sure, or no id is left for a
        trigger.
        """
        found: Exposure | str = Reason.STALE
        at_ns = self._clock.at_ns(captured)
        for look in self._pulses.see(captured.frame_id, at_ns, captured.trigger_count, lost):
            trigger = self._trigger_of(look, captured)
            if trigger is None:
                found = Reason.OVERRUN if self._promises.is_on else HALTED
            elif look.reason is None:
                found = Exposure(trigger, self._shots[look.shot])
            else:
                found = look.reason
                self._refuse(look, trigger)
        return found

    def drop(self, reason: Reason) -> None:
        """The stream is over: answer for what is missing of a burst."""
        for look in self._pulses.end(reason, "no picture was taken"):
            if (trigger := self._triggers.get(look.pulse)) is not None:
                self._refuse(look, trigger)
        self._triggers.clear()

    def _refuse(self, look: Look, trigger: Trigger) -> None:
        assert look.reason is not None
        self._promises.unjudged(trigger.trigger_id, look.reason, look.detail, self._shots[look.shot].view)

    def _trigger_of(self, look: Look, captured: CapturedFrame) -> Trigger | None:
        if look.pulse not in self._triggers:
            trigger = self._promises.open(captured, "line", self._views, is_timed=look.reason is None)
            if trigger is None and self._promises.is_on:
                # Only while publish is away for long, or its disk: there is no id that an answer could be given under.
                self._log.error("a part goes without an answer: no trigger id is left", frame_id=captured.frame_id)
            elif trigger is not None:
                self._promises.opened(trigger)
            self._triggers[look.pulse] = trigger
        trigger = self._triggers[look.pulse]
        if look.shot == len(self._shots) - 1:
            del self._triggers[look.pulse]
        return trigger
