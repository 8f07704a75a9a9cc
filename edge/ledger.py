"""Every trigger closes exactly once: with what judge decided, or with an ERROR for what never arrived.

Pure: no I/O, and time is an argument. The first decision stands; what comes after it is `Late`, never a second
verdict. Nothing here makes a PASS: it can only pass one on. A trigger of several views waits until each has its
verdict, and closes with all of them folded into one (`docs/decisions/0013-one-trigger-many-views.md`).

    open ─▶ in flight ─┬─ decide                         the verdict given, once every view has one
                       ├─ expire                         ERROR(deadline); of several views: ERROR(missing_view)
                       ├─ lost_capture, lost_inspection   ERROR(worker_crash) for the views that went with it
                       └─ shut_down                      ERROR(shutdown)
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from edge import judge
from edge.records import (
    FrameRef,
    Image,
    Outcome,
    Provenance,
    Reason,
    Record,
    Timing,
    Trigger,
    Verdict,
    camera_of,
    error,
)

# Closed ids that are remembered, to tell a late result from an unknown one: the size of a camera's log, twice.
REMEMBERED = 16_384

# What must never be (`goldline_invariant_violations_total`).
UNBALANCED, UNKNOWN_TRIGGER, PASS_WITHOUT_FRAME = "unbalanced", "unknown_trigger", "pass_without_frame"

Closing = tuple[str, Outcome, Reason | None]


class Origin(Record, frozen=True):
    """What came with a verdict from inspection: the frame, what produced it, its times, and its picture if one is kept."""

    frame: FrameRef
    provenance: Provenance
    timing: Timing
    image: Image | None = None


class View(Record, frozen=True):
    """What one look at a part came to. `origin` is None for what was never judged."""

    verdict: Verdict
    origin: Origin | None = None


class Decision(Record, frozen=True):
    """A trigger, its one terminal verdict, and the views that were folded into it, by their names."""

    trigger: Trigger
    verdict: Verdict
    views: dict[str, View]
    decided_ns: int

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where the views that were judged came from."""
        return tuple(view.origin for view in self.views.values() if view.origin is not None)

    @property
    def on_time(self) -> bool:
        """Decided by its deadline."""
        return self.decided_ns <= self.trigger.deadline_ns


class Late(Record, frozen=True):
    """A result for a view that was closed without it. Kept to learn from; it changes nothing."""

    trigger_id: int
    view: str
    verdict: Verdict
    arrived_ns: int


class UnknownTrigger(Exception):
    """A result for a trigger that was never opened, has no such view, or closed too long ago to be remembered."""


@dataclass
class _Part:
    """An open trigger, the views that are in, and those whose result would be news."""

    trigger: Trigger
    news: set[str]
    views: dict[str, View] = field(default_factory=dict[str, View])

    @property
    def missing(self) -> list[str]:
        return [name for name in self.trigger.every_view if name not in self.views]


class Ledger:
    """The open triggers and the count of the closed ones; `triggers == verdicts + in flight` at any time.

    Counted by the trigger's `camera`: for several views that is the name of their group.
    """

    def __init__(
        self, counts: Mapping[Closing, int] | None = None, violated: Callable[[str], None] = lambda _: None
    ) -> None:
        """Counts of what was closed before, by camera, outcome and reason. `violated` hears of what must never be."""
        self._violated = violated
        self.closed: Counter[Closing] = Counter(counts)
        # Counted apart from what is open and closed, to be held against them.
        self._opened: Counter[str] = Counter()
        for (camera, _, _), number in self.closed.items():
            self._opened[camera] += number
        self._open: dict[int, _Part] = {}
        # Views whose frames a dead capture process had handed over: only inspection can answer for them.
        self._orphans: set[tuple[int, str]] = set()
        self._deadlines: list[tuple[int, int]] = []
        # Closed id -> the views whose result can still be news: they were closed without one.
        self._remembered: dict[int, set[str]] = {}

    def open(self, trigger: Trigger) -> bool:
        """Promise a verdict. False when this trigger is known already: opened twice, it closes once."""
        if self.knows(trigger.trigger_id):
            return False
        self._open[trigger.trigger_id] = _Part(trigger, set(trigger.every_view))
        self._opened[trigger.camera] += 1
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
        self._remember(trigger_id, set())

    def decide(self, trigger_id: int, name: str, view: View, now_ns: int) -> Decision | Late | None:
        """Take in what one view came to, and close the trigger if it was the last that was missing.

        Late: the view was closed without inspection's result, and here it is. None: others are missing, or this is
        nothing new (inspection repeats itself on a new link). Raises UnknownTrigger.
        """
        part = self._open.get(trigger_id)
        if not self.knows(trigger_id) or (part is not None and name not in part.trigger.every_view):
            self._violated(UNKNOWN_TRIGGER)
            raise UnknownTrigger(trigger_id)
        news = self._remembered[trigger_id] if part is None else part.news
        is_news = view.origin is not None and name in news
        if is_news:
            news.remove(name)
        if part is not None and name not in part.views:
            return self._take(part, [name], view, now_ns)
        return Late(trigger_id=trigger_id, view=name, verdict=view.verdict, arrived_ns=now_ns) if is_news else None

    def expire(self, now_ns: int) -> list[Decision]:
        """Close every trigger whose deadline is reached."""
        decisions: list[Decision] = []
        while (deadline_ns := self.next_deadline_ns()) is not None and deadline_ns <= now_ns:
            part = self._open[self._deadlines[0][1]]
            overdue = error(Reason.MISSING_VIEW, "no view by the deadline")
            verdict = overdue if part.trigger.views else error(Reason.DEADLINE)
            decisions += self._without(part, part.missing, verdict, now_ns)
        return decisions

    def lost_capture(self, camera: str, handed: Iterable[tuple[int, str]], now_ns: int) -> list[Decision]:
        """The camera's capture process died: ERROR(worker_crash) for the views it held.

        Those in `handed`, by trigger and name, wait on: inspection has their frames, and answers for them now.
        """
        own = {(trigger.trigger_id, view) for trigger, view in self.missing(camera)}
        waiting = own.intersection(handed)
        self._orphans |= waiting
        return self._crashed(sorted(own - waiting), now_ns)

    def lost_inspection(self, now_ns: int) -> list[Decision]:
        """Inspection died: ERROR(worker_crash) for what only it could answer for.

        That is what a dead capture process had handed over. A living one reports the frames it had lent.
        """
        return self._crashed(sorted(self._orphans), now_ns)

    def shut_down(self, now_ns: int) -> list[Decision]:
        """Close everything that is open; ERROR(shutdown) for every view that is missing."""
        parts = list(self._open.values())
        return [one for part in parts for one in self._without(part, part.missing, error(Reason.SHUTDOWN), now_ns)]

    def next_deadline_ns(self) -> int | None:
        """When `expire` has something to do; None while nothing is open."""
        while self._deadlines and self._deadlines[0][1] not in self._open:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def in_flight(self, camera: str | None = None) -> int:
        """Open triggers of this camera or group, or of all."""
        return len(self._open) if camera is None else sum(one.trigger.camera == camera for one in self._open.values())

    def missing(self, camera: str) -> tuple[tuple[Trigger, str], ...]:
        """The views by this camera that triggers in flight wait for, in the order they were opened."""
        return tuple(
            (part.trigger, view) for part in self._open.values() for view in part.missing if camera_of(view) == camera
        )

    def missing_of(self, trigger_id: int, camera: str) -> tuple[str, ...]:
        """The views by this camera that this trigger waits for; none once it is closed."""
        part = self._open.get(trigger_id)
        return () if part is None else tuple(view for view in part.missing if camera_of(view) == camera)

    def triggers(self, camera: str) -> int:
        """Triggers ever opened for this camera or group."""
        return sum(n for (of, _, _), n in self.closed.items() if of == camera) + self.in_flight(camera)

    def verdicts(self, camera: str, outcome: Outcome) -> int:
        """Triggers of this camera or group that were closed with this outcome."""
        return sum(n for (of, given, _), n in self.closed.items() if (of, given) == (camera, outcome))

    # --- what must never be

    def unbalanced(self) -> list[str]:
        """Cameras and groups whose triggers are not their verdicts and what is in flight, counted anew."""
        return [name for name, number in self._opened.items() if number != self.triggers(name)]

    # --- inside

    def _crashed(self, views: Iterable[tuple[int, str]], now_ns: int) -> list[Decision]:
        crash = error(Reason.WORKER_CRASH)
        return [
            decision
            for trigger_id, name in views
            for decision in self._without(self._open[trigger_id], [name], crash, now_ns)
        ]

    def _without(self, part: _Part, names: Iterable[str], verdict: Verdict, now_ns: int) -> list[Decision]:
        """These views will not come."""
        decision = self._take(part, names, View(verdict=verdict), now_ns)
        return [] if decision is None else [decision]

    def _take(self, part: _Part, names: Iterable[str], view: View, now_ns: int) -> Decision | None:
        for name in names:
            part.views[name] = view
            self._orphans.discard((part.trigger.trigger_id, name))
        return None if part.missing else self._close(part, now_ns)

    def _close(self, part: _Part, now_ns: int) -> Decision:
        trigger = part.trigger
        del self._open[trigger.trigger_id]
        # In the order of the trigger, whatever came first: the same views fold into the same verdict.
        views = {name: part.views[name] for name in trigger.every_view}
        verdict = of_part(trigger, {name: view.verdict for name, view in views.items()})
        if verdict.outcome is Outcome.PASS and any(view.origin is None for view in views.values()):
            self._violated(PASS_WITHOUT_FRAME)
            verdict = error(Reason.CANNOT_JUDGE, "a PASS came without the frame that it was judged from")
        if verdict.outcome is Outcome.PASS and _is_of_two_products(views):
            verdict = error(Reason.CANNOT_JUDGE, "another product, or another configuration, came between its views")
        self.closed[trigger.camera, verdict.outcome, verdict.reason] += 1
        self._remember(trigger.trigger_id, part.news)
        return Decision(trigger=trigger, verdict=verdict, views=views, decided_ns=now_ns)

    def _remember(self, trigger_id: int, news: set[str]) -> None:
        self._remembered[trigger_id] = news
        if len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]


def _is_of_two_products(views: Mapping[str, View]) -> bool:
    """Whether a product, or its references, changed between two looks at one part."""
    # All of it: an inspection that was started anew may have found other references under the same number.
    found = [view.origin.provenance for view in views.values() if view.origin is not None]
    return any(one != found[0] for one in found)


def of_part(trigger: Trigger, views: Mapping[str, Verdict]) -> Verdict:
    """The verdict on a part: its only view's, or all views folded and held against what the order expects.

    `detail` names every view that was not judged. A missing one is the reason of an ERROR before any other.
    """
    if not trigger.views:
        return views[trigger.camera]
    part = judge.answer(judge.fold(tuple(views.values())), trigger.expect)
    unjudged = {name: view for name, view in views.items() if view.reason is not None}
    if not unjudged:
        return part
    is_missing = any(view.reason is Reason.MISSING_VIEW for view in unjudged.values())
    return msgspec.structs.replace(
        part,
        reason=Reason.MISSING_VIEW if is_missing and part.outcome is Outcome.ERROR else part.reason,
        detail="; ".join(f"{name}: {view.detail or view.reason}" for name, view in unjudged.items()),
    )
