"""Triggers told to fire, and the pictures they get: one at a time, so a frame belongs to the one outstanding."""

import time
from collections import deque
from collections.abc import Callable

from edge.camera_config import TriggerConfig
from edge.cameras.camera import CameraError, CapturedFrame
from edge.promises import Promises
from edge.records import Reason, Trigger


class Exposures:
    """The queue before one camera. `take_picture` triggers it; every trigger it cannot serve is answered."""

    def __init__(self, promises: Promises, config: TriggerConfig, take_picture: Callable[[], None]) -> None:
        self._promises, self._take_picture = promises, take_picture
        self._depth, self._within_ns = config.queue_depth, round(config.deadline_ms * 1e6)
        self._waiting: deque[Trigger] = deque()
        self._outstanding: Trigger | None = None
        self._fired_ns = 0

    def accept(self, trigger: Trigger, *, is_streaming: bool) -> None:
        """Queue a trigger for the camera, or say at once why there will be no picture."""
        if not is_streaming:
            self._promises.unjudged(trigger.trigger_id, Reason.CAMERA_DOWN, "the camera is not streaming")
        elif len(self._waiting) >= self._depth or not self._promises.write(trigger):
            detail = "triggers come faster than the camera takes pictures"
            self._promises.unjudged(trigger.trigger_id, Reason.OVERRUN, detail)
        else:
            self._waiting.append(trigger)

    def fire(self, *, has_slot: bool) -> None:
        """Take the next picture, if none is outstanding."""
        while self._waiting and self._outstanding is None:
            trigger = self._waiting.popleft()
            if trigger.deadline_ns <= time.monotonic_ns():
                self._promises.unjudged(trigger.trigger_id, Reason.DEADLINE, "its turn came after its deadline")
            elif not has_slot:
                self._promises.unjudged(trigger.trigger_id, Reason.NO_SLOT, "every slot of the ring is in use")
            else:
                self._expose(trigger)

    def _expose(self, trigger: Trigger) -> None:
        self._fired_ns = time.monotonic_ns()
        try:
            self._take_picture()
            self._outstanding = trigger
        except CameraError as problem:
            self._promises.unjudged(trigger.trigger_id, Reason.CAMERA_DOWN, str(problem))

    def claim(self, captured: CapturedFrame) -> Trigger | None:
        """The trigger this frame answers. One that was complete before it was fired is not its picture."""
        if self._outstanding is None or captured.host_timestamp_ns < self._fired_ns:
            return None
        trigger, self._outstanding = self._outstanding, None
        return trigger

    def give_up(self, now_ns: int) -> Trigger | None:
        """The outstanding trigger when its picture is overdue.

        It may still come: nothing may be fired before the stream was started afresh, or it would be taken for the
        next trigger's.
        """
        if self._outstanding is None or now_ns - self._fired_ns <= self._within_ns:
            return None
        trigger, self._outstanding = self._outstanding, None
        return trigger

    def drop(self, reason: Reason) -> None:
        """Answer for every trigger that has no picture yet."""
        outstanding = [] if self._outstanding is None else [self._outstanding]
        for trigger in (*outstanding, *self._waiting):
            self._promises.unjudged(trigger.trigger_id, reason, "no picture was taken")
        self._outstanding = None
        self._waiting.clear()
