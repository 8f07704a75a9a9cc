"""Triggers told to fire, and the pictures they get: one at a time, so a frame belongs to the one outstanding.

A trigger may take several shots, one behind the other: before each, the camera is set as it needs. A shot that comes to
nothing answers for its own view; the others are taken all the same.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.camera_config import CameraConfig, Features, FeatureValue, TriggerConfig
from edge.cameras.camera import CameraError, CapturedFrame
from edge.promises import Promises
from edge.records import Reason, Trigger, view_of


@dataclass(frozen=True)
class Shot:
    """A view that a camera takes for a trigger, and what is set before it. Nothing is where there is one alone."""

    view: str
    features: Features | None = None


def shots_of(camera: str, config: CameraConfig) -> tuple[Shot, ...]:
    """What this camera takes for each trigger, in order."""
    return tuple(Shot(view_of(camera, shot.name), shot.features) for shot in config.shots) or (Shot(camera),)


@dataclass(frozen=True)
class Exposure:
    """One picture for one trigger."""

    trigger: Trigger
    shot: Shot
    is_first: bool = True

    @property
    def view(self) -> str:
        """What it shows of the part."""
        return self.shot.view


class Shutter(Protocol):
    """What takes the pictures. Both raise CameraError."""

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """Set what the next shot needs."""
        ...

    def trigger(self) -> None:
        """Take one picture."""
        ...


class Exposures:
    """The queue before one camera; every trigger that it cannot serve is answered."""

    def __init__(self, promises: Promises, config: TriggerConfig, shots: Sequence[Shot], shutter: Shutter) -> None:
        self._promises, self._shots, self._shutter = promises, shots, shutter
        self.take_over(config)
        # Why triggers that come are not taken any more; None: they are.
        self._closed: str | None = None
        self._waiting: deque[Exposure] = deque()
        self._outstanding: Exposure | None = None
        # Answered for, since the camera said that it took no picture; it may have taken one all the same.
        self._doubtful: Exposure | None = None
        self._fired_ns = 0

    def take_over(self, config: TriggerConfig) -> None:
        """How many triggers may wait, and how long for, from now on."""
        self._depth, self._within_ns = config.queue_depth, round(config.deadline_ms * 1e6)

    def close(self, why: str) -> None:
        """What waits is still fired; what comes from now on is answered as camera_down at once."""
        self._closed = why

    @property
    def are_waiting(self) -> bool:
        """Pictures are still to be taken, or on their way."""
        return bool(self._waiting) or self._outstanding is not None

    def accept(self, trigger: Trigger, *, is_streaming: bool) -> None:
        """Queue a trigger for the camera, or say at once why there will be no picture."""
        if not is_streaming or self._closed is not None:
            why = self._closed or "the camera is not streaming"
            self._promises.unjudged(trigger.trigger_id, Reason.CAMERA_DOWN, why)
        elif self._triggers_waiting() >= self._depth or not self._promises.write(trigger):
            detail = "triggers come faster than the camera takes pictures"
            self._promises.unjudged(trigger.trigger_id, Reason.OVERRUN, detail)
        else:
            for number, shot in enumerate(self._shots):
                self._waiting.append(Exposure(trigger, shot, is_first=number == 0))

    def _triggers_waiting(self) -> int:
        return sum(exposure.is_first for exposure in self._waiting)

    def fire(self, *, has_slot: bool) -> None:
        """Take the next picture, if none is outstanding."""
        while self._waiting and self._outstanding is None and self._doubtful is None:
            exposure = self._waiting.popleft()
            if exposure.trigger.deadline_ns <= time.monotonic_ns():
                self._unjudged(exposure, Reason.DEADLINE, "its turn came after its deadline")
            elif not has_slot:
                self._unjudged(exposure, Reason.NO_SLOT, "every slot of the ring is in use")
            else:
                self._expose(exposure)

    def _expose(self, exposure: Exposure) -> None:
        try:
            if exposure.shot.features is not None:
                self._shutter.prepare(exposure.shot.features)
        except CameraError as problem:
            self._unjudged(exposure, Reason.CAMERA_DOWN, str(problem))
            return
        self._fired_ns = time.monotonic_ns()
        try:
            self._shutter.trigger()
            self._outstanding = exposure
        except CameraError as problem:
            self._unjudged(exposure, Reason.CAMERA_DOWN, str(problem))
            self._doubtful = exposure

    def claim(self, captured: CapturedFrame) -> Exposure | None:
        """What this frame is the picture of. One that was complete before it was fired is nobody's."""
        if self._outstanding is None or captured.host_timestamp_ns < self._fired_ns:
            return None
        exposure, self._outstanding = self._outstanding, None
        return exposure

    def give_up(self, now_ns: int) -> Exposure | None:
        """The outstanding exposure when its picture is overdue: its trigger's deadline has passed, and answers for it.

        Or one that the camera seemed not to take. A picture may still come: nothing may be fired before the stream was
        started afresh, or it would be taken for the next one's.
        """
        if self._doubtful is not None:
            exposure, self._doubtful = self._doubtful, None
            return exposure
        if self._outstanding is None or now_ns - self._fired_ns <= self._within_ns:
            return None
        exposure, self._outstanding = self._outstanding, None
        return exposure

    def drop(self, reason: Reason) -> None:
        """Answer for every picture that was not taken."""
        outstanding = [] if self._outstanding is None else [self._outstanding]
        for exposure in (*outstanding, *self._waiting):
            self._unjudged(exposure, reason, "no picture was taken")
        self._outstanding = self._doubtful = None
        self._waiting.clear()

    def _unjudged(self, exposure: Exposure, reason: Reason, detail: str) -> None:
        self._promises.unjudged(exposure.trigger.trigger_id, reason, detail, exposure.view)
