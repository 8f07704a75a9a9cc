"""Which frame of one camera shows the pulse that another camera opened a trigger for, both wired to one signal. Pure.

The first camera of a group opens the triggers; each other camera has its own frames, in order, and hears of the triggers,
in order. Which belongs to which must be proven, for a part made of two parts' views could pass:

1. Nothing is paired before a pulse that stood alone: both cameras saw none for `QUIET_NS`, then one each, at the same
   time within `ALIKE_NS`. From there on they are in step.
2. In step the next trigger and the next frame belong together, if their times are alike. One that is known to have no
   picture, or no time of its own, uses up the other.
3. Times that differ, and a trigger or frame whose counterpart does not come in time, mean that somewhere one was missed
   that nobody counted. All that waits is given up, up to the next pulse that stands alone: that begins anew.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

Trigger = TypeVar("Trigger")
Frame = TypeVar("Frame")

# A pulse before which there was none for so long stands alone: far longer than any two cameras need to tell of one.
QUIET_NS = 500_000_000
# The same pulse, as two cameras' frames tell when their exposure began: a busy machine notices a packet some
# milliseconds late. Parts of a line come several times as far apart.
ALIKE_NS = 20_000_000
# How long a frame keeps its slot until the trigger comes, which takes two sockets; and a trigger waits for its frame.
FRAME_WAITS_NS, TRIGGER_WAITS_NS = 500_000_000, 1_000_000_000


class Settled(NamedTuple, Generic[Trigger, Frame]):
    """A trigger with the frame that shows its pulse; or one alone, which has no counterpart."""

    trigger: Trigger | None
    frame: Frame | None


@dataclass(frozen=True)
class _One(Generic[Frame]):
    """A trigger or a frame that waits. `at_ns` is when its pulse was, `came_ns` when it was heard of."""

    what: Frame | None
    at_ns: int | None
    came_ns: int
    stood_alone: bool


class _Side(Generic[Frame]):
    """What was heard of the pulses from one of the two."""

    def __init__(self, began_ns: int, waits_ns: int) -> None:
        self.waiting: deque[_One[Frame]] = deque()
        self._newest_ns, self._waits_ns = began_ns, waits_ns

    def take(self, what: Frame | None, at_ns: int | None, now_ns: int, *, is_in_step: bool) -> bool:
        """The next came. False: they are out of step, and cannot come to be in step by this one or one before it."""
        stood_alone = at_ns is not None and at_ns - self._newest_ns >= QUIET_NS
        self._newest_ns = max(self._newest_ns, now_ns if at_ns is None else at_ns)
        is_awaited = is_in_step or stood_alone or bool(self.waiting)
        if is_awaited:
            self.waiting.append(_One(what, at_ns, now_ns, stood_alone))
        return is_awaited

    def is_overdue(self, now_ns: int) -> bool:
        """The counterpart of the first that waits does not come."""
        return bool(self.waiting) and now_ns - self.waiting[0].came_ns > self._waits_ns

    def drop(self) -> list[Frame]:
        """The first that waits has no counterpart."""
        what = self.waiting.popleft().what
        return [] if what is None else [what]

    def drop_company(self) -> list[Frame]:
        """Nor has any before one that stood alone."""
        found: list[Frame] = []
        while self.waiting and not self.waiting[0].stood_alone:
            found += self.drop()
        return found


class Lockstep(Generic[Trigger, Frame]):
    """One camera's frames beside another's triggers. Each is settled exactly once."""

    def __init__(self, began_ns: int) -> None:
        """Nothing is known of pulses before `began_ns`."""
        self._triggers: _Side[Trigger] = _Side(began_ns, TRIGGER_WAITS_NS)
        self._frames: _Side[Frame] = _Side(began_ns, FRAME_WAITS_NS)
        self._is_in_step = False

    def asked(self, trigger: Trigger, at_ns: int | None, now_ns: int) -> list[Settled[Trigger, Frame]]:
        """The next trigger was opened for a pulse at `at_ns`; None: the time of the pulse is not known."""
        if not self._triggers.take(trigger, at_ns, now_ns, is_in_step=self._is_in_step):
            return [Settled(trigger, None)]
        return self._settle()

    def seen(self, frame: Frame | None, at_ns: int | None, now_ns: int) -> list[Settled[Trigger, Frame]]:
        """The next frame came, of a pulse at `at_ns`; or without either it is known that one was lost."""
        if not self._frames.take(frame, at_ns, now_ns, is_in_step=self._is_in_step):
            return [] if frame is None else [Settled(None, frame)]
        return self._settle()

    def expire(self, now_ns: int) -> list[Settled[Trigger, Frame]]:
        """Give up what waits for a counterpart that does not come."""
        settled: list[Settled[Trigger, Frame]] = []
        while self._triggers.is_overdue(now_ns):
            settled += self._out_of_step(self._triggers.drop(), [])
        while self._frames.is_overdue(now_ns):
            settled += self._out_of_step([], self._frames.drop())
        return settled + self._settle()

    def give_up(self) -> list[Settled[Trigger, Frame]]:
        """Nothing that waits has a counterpart."""
        settled: list[Settled[Trigger, Frame]] = []
        while self._triggers.waiting:
            settled += self._out_of_step(self._triggers.drop(), [])
        while self._frames.waiting:
            settled += self._out_of_step([], self._frames.drop())
        self._is_in_step = False
        return settled

    def _out_of_step(self, triggers: list[Trigger], frames: list[Frame]) -> list[Settled[Trigger, Frame]]:
        """These have no counterpart, and what waits may only have one from a pulse on that stood alone."""
        self._is_in_step = False
        triggers, frames = triggers + self._triggers.drop_company(), frames + self._frames.drop_company()
        alone: list[Settled[Trigger, Frame]] = [Settled(trigger, None) for trigger in triggers]
        return alone + [Settled(None, frame) for frame in frames]

    def _settle(self) -> list[Settled[Trigger, Frame]]:
        settled: list[Settled[Trigger, Frame]] = []
        while self._triggers.waiting and self._frames.waiting:
            trigger, frame = self._triggers.waiting[0], self._frames.waiting[0]
            if not self._belong_together(trigger, frame):
                settled += self._part(trigger, frame)
                continue
            self._triggers.waiting.popleft()
            self._frames.waiting.popleft()
            if trigger.at_ns is not None and frame.at_ns is not None:
                self._is_in_step = True
                settled.append(Settled(trigger.what, frame.what))
            else:
                settled.append(Settled(trigger.what, None))
                settled += [Settled(None, frame.what)] if frame.what is not None else []
        return settled

    def _part(self, trigger: _One[Trigger], frame: _One[Frame]) -> list[Settled[Trigger, Frame]]:
        """Of two that stood alone the later one may still have its counterpart to come."""
        if trigger.stood_alone and frame.stood_alone and trigger.at_ns is not None and frame.at_ns is not None:
            if trigger.at_ns < frame.at_ns:
                return self._out_of_step(self._triggers.drop(), [])
            return self._out_of_step([], self._frames.drop())
        return self._out_of_step([], [])

    def _belong_together(self, trigger: _One[Trigger], frame: _One[Frame]) -> bool:
        if trigger.at_ns is None or frame.at_ns is None:
            return self._is_in_step
        are_alike = abs(trigger.at_ns - frame.at_ns) <= ALIKE_NS
        return are_alike and (self._is_in_step or (trigger.stood_alone and frame.stood_alone))
