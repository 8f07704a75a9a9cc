"""Every trigger closes exactly once: with what judge decided, or with an ERROR for what never arrived.

Pure: no I/O, and time is an argument. The first decision stands; what comes after it is `Late`, never a second
verdict. Nothing here makes a PASS: it can only pass one on.

    open ─▶ in flight ─┬─ decide                         the verdict given
                       ├─ expire                         ERROR(deadline)
                       ├─ lost_capture, lost_inspection   ERROR(worker_crash)
                       └─ shut_down                      ERROR(shutdown)
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping

from edge.records import FrameRef, Outcome, Provenance, Reason, Record, Timing, Trigger, Verdict, error

# Closed ids that are remembered, to tell a late result from an unknown one: the size of a camera's log, twice.
REMEMBERED = 16_384

Closing = tuple[str, Outcome, Reason | None]


class Origin(Record, frozen=True):
    """What came with a verdict from inspection: the frame it is about, what produced it, and its times."""

    frame: FrameRef
    provenance: Provenance
    timing: Timing


class Decision(Record, frozen=True):
    """A trigger and its one terminal verdict. `origin` is None for what was never judged."""

    trigger: Trigger
    verdict: Verdict
    origin: Origin | None
    decided_ns: int

    @property
    def on_time(self) -> bool:
        """Decided by its deadline."""
        return self.decided_ns <= self.trigger.deadline_ns


class Late(Record, frozen=True):
    """A result for a trigger that was closed without it. Kept to learn from; it changes nothing."""

    trigger_id: int
    verdict: Verdict
    arrived_ns: int


class UnknownTrigger(Exception):
    """A result for a trigger that was never opened, or closed too long ago to be remembered."""


class Ledger:
    """The open triggers and the count of the closed ones; `triggers == verdicts + in flight` at any time."""

    def __init__(self, counts: Mapping[Closing, int] | None = None) -> None:
        """Counts of what was closed before, by camera, outcome and reason."""
        self.closed: Counter[Closing] = Counter(counts)
        self._open: dict[int, Trigger] = {}
        self._orphans: set[int] = set()
        self._deadlines: list[tuple[int, int]] = []
        # Closed id -> whether a result for it can still be news: it was closed without one.
        self._remembered: dict[int, bool] = {}

    def open(self, trigger: Trigger) -> bool:
        """Promise a verdict. False when this trigger is known already: opened twice, it closes once."""
        if self.knows(trigger.trigger_id):
            return False
        self._open[trigger.trigger_id] = trigger
        heapq.heappush(self._deadlines, (trigger.deadline_ns, trigger.trigger_id))
        return True

    def knows(self, trigger_id: int) -> bool:
        """Whether this trigger is open, or closed and remembered."""
        return trigger_id in self._open or trigger_id in self._remembered

    def is_open(self, trigger_id: int) -> bool:
        """Whether this trigger still waits for its verdict."""
        return trigger_id in self._open

    def remember_closed(self, trigger_id: int) -> None:
        """This trigger was closed before this ledger began; it is in `counts` or of no account."""
        self._remember(trigger_id, can_be_news=False)

    def decide(
        self, trigger_id: int, verdict: Verdict, now_ns: int, origin: Origin | None = None
    ) -> Decision | Late | None:
        """Close a trigger, or say what its result was worth.

        Late: the trigger was closed without inspection's result, and here it is. None: closed, and this is nothing
        new (inspection repeats itself on a new link). Raises UnknownTrigger.
        """
        if trigger_id in self._open:
            return self._close(trigger_id, verdict, now_ns, origin)
        if trigger_id not in self._remembered:
            raise UnknownTrigger(trigger_id)
        if origin is None or not self._remembered[trigger_id]:
            return None
        self._remembered[trigger_id] = False
        return Late(trigger_id=trigger_id, verdict=verdict, arrived_ns=now_ns)

    def expire(self, now_ns: int) -> list[Decision]:
        """ERROR(deadline) for every trigger whose deadline is reached."""
        decisions: list[Decision] = []
        while (deadline_ns := self.next_deadline_ns()) is not None and deadline_ns <= now_ns:
            decisions.append(self._close(self._deadlines[0][1], error(Reason.DEADLINE), now_ns))
        return decisions

    def lost_capture(self, camera: str, handed: Iterable[int], now_ns: int) -> list[Decision]:
        """The camera's capture process died: ERROR(worker_crash) for what it held.

        Triggers in `handed` wait on: inspection has their frames, and answers for them now.
        """
        own = {trigger_id for trigger_id, trigger in self._open.items() if trigger.camera == camera}
        waiting = own.intersection(handed)
        self._orphans |= waiting
        return self._fail(sorted(own - waiting), Reason.WORKER_CRASH, now_ns)

    def lost_inspection(self, now_ns: int) -> list[Decision]:
        """Inspection died: ERROR(worker_crash) for what only it could answer for.

        That is what a dead capture process had handed over. A living one reports the frames it had lent.
        """
        return self._fail(sorted(self._orphans), Reason.WORKER_CRASH, now_ns)

    def shut_down(self, now_ns: int) -> list[Decision]:
        """ERROR(shutdown) for everything that is open."""
        return self._fail(list(self._open), Reason.SHUTDOWN, now_ns)

    def next_deadline_ns(self) -> int | None:
        """When `expire` has something to do; None while nothing is open."""
        while self._deadlines and self._deadlines[0][1] not in self._open:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def in_flight(self, camera: str | None = None) -> int:
        """Open triggers of this camera, or of all."""
        return len(self._open) if camera is None else sum(one.camera == camera for one in self._open.values())

    def open_of(self, camera: str) -> tuple[Trigger, ...]:
        """The triggers of this camera that are in flight, in the order they were opened."""
        return tuple(trigger for trigger in self._open.values() if trigger.camera == camera)

    def triggers(self, camera: str) -> int:
        """Triggers ever opened for this camera."""
        return sum(n for (of, _, _), n in self.closed.items() if of == camera) + self.in_flight(camera)

    def verdicts(self, camera: str, outcome: Outcome) -> int:
        """Triggers of this camera that were closed with this outcome."""
        return sum(n for (of, given, _), n in self.closed.items() if (of, given) == (camera, outcome))

    def _fail(self, trigger_ids: Iterable[int], reason: Reason, now_ns: int) -> list[Decision]:
        return [self._close(trigger_id, error(reason), now_ns) for trigger_id in trigger_ids]

    def _close(self, trigger_id: int, verdict: Verdict, now_ns: int, origin: Origin | None = None) -> Decision:
        trigger = self._open.pop(trigger_id)
        self._orphans.discard(trigger_id)
        self.closed[trigger.camera, verdict.outcome, verdict.reason] += 1
        self._remember(trigger_id, can_be_news=origin is None)
        return Decision(trigger=trigger, verdict=verdict, origin=origin, decided_ns=now_ns)

    def _remember(self, trigger_id: int, *, can_be_news: bool) -> None:
        self._remembered[trigger_id] = can_be_news
        if len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
