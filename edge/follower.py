"""The frames of a camera in a group on the line: another camera opens the group's triggers, and this one's frames answer.

Which frame belongs to which trigger is `lockstep.py`'s to prove. Until that is settled a frame keeps its slot.
"""

import time
from collections.abc import Iterable
from dataclasses import replace

from edge.admission import HALTED
from edge.arrivals import FrameClock
from edge.cameras.camera import CapturedFrame
from edge.handover import Handover, Waiting
from edge.lockstep import TRIGGER_WAITS_NS, Lockstep, Settled
from edge.promises import Promises
from edge.pulses import Pulses
from edge.records import Reason, Trigger

OUT_OF_STEP = "no picture is known to be of this pulse; the camera is in step again once the line has paused for 0.5 s"


class Follower:
    """One camera's view of its group's triggers, each answered once. What is returned is to go before inspection."""

    def __init__(self, promises: Promises, view: str) -> None:
        self._promises, self._view = promises, view
        self._pulses, self._clock = Pulses(), FrameClock()
        self._lockstep: Lockstep[Trigger, Waiting] = Lockstep(time.monotonic_ns())
        # Since when no triggers are opened; None: they are.
        self._halted_ns: int | None = None

    def run(self, handover: Handover | None, *, is_on: bool) -> None:
        """Whether the group's triggers are opened. What was opened before is answered; later pulses are nobody's."""
        if not is_on:
            self._halted_ns = self._halted_ns or time.monotonic_ns()
            return
        if self._is_deaf:
            self.begin(handover)
        self._halted_ns = None

    @property
    def _is_deaf(self) -> bool:
        """No trigger waits for a picture any more, and none will come."""
        return self._halted_ns is not None and time.monotonic_ns() - self._halted_ns > TRIGGER_WAITS_NS

    def accept(self, trigger: Trigger, handover: Handover) -> list[Waiting]:
        """The group's next trigger."""
        at_ns = trigger.opened_ns if trigger.is_timed else None
        return self._settle(self._lockstep.asked(trigger, at_ns, time.monotonic_ns()), handover)

    def take(self, captured: CapturedFrame, handover: Handover) -> list[Waiting]:
        """The camera's next frame, and with it what is known of those that were lost before it."""
        if self._is_deaf:
            handover.drop(handover.take(captured), HALTED)
            return []
        waiting, now_ns = handover.keep(captured), time.monotonic_ns()
        settled: list[Settled[Trigger, Waiting]] = []
        for look in self._pulses.see(captured.frame_id, self._clock.at_ns(captured), captured.trigger_count):
            if look.reason is not None:
                settled += self._lockstep.seen(None, None, now_ns)
        at_ns = captured.host_timestamp_ns if captured.started_ns is None else captured.started_ns
        return self._settle([*settled, *self._lockstep.seen(waiting, at_ns, now_ns)], handover)

    def expire(self, now_ns: int, handover: Handover) -> None:
        """Give up what waited too long."""
        self._settle(self._lockstep.expire(now_ns), handover)

    def begin(self, handover: Handover | None) -> None:
        """Pulses may have passed unseen: a stream began, or another publish tells of the triggers."""
        self.drop(Reason.MISSING_VIEW, OUT_OF_STEP, handover)
        self._lockstep = Lockstep(time.monotonic_ns())

    def drop(self, reason: Reason, detail: str, handover: Handover | None) -> None:
        """Answer for all that waits."""
        self._pulses.end(reason, detail)
        self._settle(self._lockstep.give_up(), handover, reason, detail)

    def _settle(
        self,
        settled: Iterable[Settled[Trigger, Waiting]],
        handover: Handover | None,
        reason: Reason = Reason.MISSING_VIEW,
        detail: str = OUT_OF_STEP,
    ) -> list[Waiting]:
        pairs: list[Waiting] = []
        for trigger, waiting in settled:
            if trigger is not None and waiting is not None and self._promises.write(trigger):
                pairs.append(replace(waiting, trigger=trigger))
                continue
            if trigger is not None:
                self._promises.unjudged(trigger.trigger_id, reason, detail, self._view)
            if waiting is not None and handover is not None:
                handover.drop(waiting, Reason.STALE)
        return pairs
