"""A reload in the supervisor: offered to every worker, then committed by all of them or by none. Part of its pass.

1. What was read and found valid (`reload_request.py`) is compared with what runs. A key that needs the station to be
   started anew rejects it whole.
2. Every worker that is not to be started anew is offered it, makes ready, and says so; publish gives the number.
   A problem, a death or a silence rejects it: everybody lets go of it, and nothing was changed.
3. Committed: from here on whoever is started is born with it. Publish hears of it before inspection, so that a verdict
   under the new number is never news. What was not offered it, or died meanwhile, is started anew.
4. It is over when everybody has said that he goes by it, and who was started anew is warm; or after a while without.
"""

import os
import queue
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

import structlog

from edge.change import Change, Effect, difference, restarted
from edge.child import Child
from edge.config import Station
from edge.messages import Abandon, Commit, Offer, Offered, Taken
from edge.station_control import Outcome
from edge.takeover import station_file

# Without these two nothing can be taken over between two frames.
NEEDED = ("publish", "inspection")
# Loading a product: inspection refuses it itself within 120 s (840 s with TensorRT); the rest is for its answer.
OFFER_WITHIN_S = {"cpu": 130.0, "cuda": 130.0, "tensorrt": 850.0}
# One of the two was killed a moment ago: being started again takes seconds on a busy machine.
AWAY_WITHIN_S = 15.0
# After the commit nothing can be taken back; who waits for the answer is told who was not done by then.
COMMIT_WITHIN_S = 30.0


class Stage(Protocol):
    """What a reload has of the supervisor."""

    @property
    def station(self) -> Station:
        """What runs."""
        ...

    @property
    def children(self) -> dict[str, Child]:
        """The workers by name."""
        ...

    def commit(self, station: Station, generation: int) -> None:
        """This runs from now on, also in whoever is started."""
        ...


@dataclass(frozen=True)
class Request:
    """A station that was read and is valid; the answer goes into `future`."""

    station: Station
    dry_run: bool
    future: Future[Outcome] = field(default_factory=Future[Outcome])


class Reloads:
    """One at a time, in the order asked. `ask` is for any thread, the rest for the supervisor's."""

    def __init__(self, stage: Stage, notice: Callable[[bool], None] = lambda _: None) -> None:
        """`notice` hears when one begins and ends: systemd is told."""
        self._stage, self.notice = stage, notice
        self._asked: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._current: _Current | None = None
        self._number = 0
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed: str | None = None

    @property
    def is_busy(self) -> bool:
        """One is under way."""
        return self._current is not None

    def ask(self, request: Request) -> None:
        """Take this one up in its turn."""
        if self._closed is not None:
            request.future.set_result(Outcome(outcome="rejected", problem=self._closed))
            return
        self._asked.put(request)
        os.eventfd_write(self.wake, 1)

    def awake(self) -> None:
        """Take note of the wake-up."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.wake)

    def heard(self, child: Child, said: Offered | Taken) -> None:
        """A worker's word."""
        if self._current is not None:
            self._current.heard(child, said)

    def lost(self, child: Child) -> None:
        """A worker's process has ended."""
        if self._current is not None:
            self._current.lost(child)

    def turn(self, now_s: float) -> None:
        """Once each pass."""
        if self._current is None:
            self._begin(now_s)
        if self._current is not None and (outcome := self._current.turn(now_s)) is not None:
            request, self._current = self._current.request, None
            self.notice(False)
            request.future.set_result(outcome)

    def _begin(self, now_s: float) -> None:
        with suppress(queue.Empty):
            request = self._asked.get_nowait()
            self._number += 1
            self.notice(True)
            self._current = _Current(self._stage, request, self._number, now_s)

    def close(self, why: str) -> None:
        """The station stops: nobody is left waiting."""
        self._closed = why
        if self._current is not None:
            self._current.request.future.set_result(Outcome(outcome="rejected", problem=why))
            self._current = None
        with suppress(queue.Empty):
            while True:
                self._asked.get_nowait().future.set_result(Outcome(outcome="rejected", problem=why))


class _Current:
    """The one that is under way."""

    def __init__(self, stage: Stage, request: Request, number: int, now_s: float) -> None:
        self._stage, self.request, self._number, self._began_s = stage, request, number, now_s
        self._log = structlog.get_logger()
        self._changes = difference(stage.station, request.station)
        self._restarts = restarted(self._changes)
        # By process id: another incarnation was not offered it.
        self._offered: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._problem: str | None = None
        self._generation, self._is_offered, self._is_committed = 0, False, False
        if fixed := [one for one in self._changes if one.effect is Effect.STATION]:
            self._problem = "\n".join(f"{one.key}: needs a restart of the station: {one.why}" for one in fixed)

    def _offer_when_it_can_be(self, now_s: float) -> None:
        away = [name for name in NEEDED if not self._stage.children[name].is_running]
        if not away:
            self._offer(now_s)
        elif now_s - self._began_s > AWAY_WITHIN_S:
            self._problem = f"{away[0]} is being started: try again"

    def _offer(self, now_s: float) -> None:
        self._is_offered, self._offered_s = True, now_s
        with station_file(self.request.station) as descriptor:
            for name, child in self._stage.children.items():
                if child.is_running and name not in self._restarts and child.pid is not None:
                    self._offered[name] = child.pid
                    self._waiting.add(name)
                    child.tell(Offer(number=self._number), descriptor)

    # --- what workers say

    def heard(self, child: Child, said: Offered | Taken) -> None:
        if said.number != self._number or self._offered.get(child.name) != child.pid:
            return
        if isinstance(said, Taken):
            self._waiting.discard(child.name)
        elif not self._is_committed:
            self._waiting.discard(child.name)
            self._generation = max(self._generation, said.generation)
            self._changes += tuple(_found(*one) for one in said.loads)
            if said.problem is not None:
                self._problem = said.problem

    def lost(self, child: Child) -> None:
        """Its successor is born with what is in force then."""
        self._offered.pop(child.name, None)
        if not self._is_committed:
            self._waiting.discard(child.name)
        if self._is_offered and not self._is_committed and child.name in NEEDED and self._problem is None:
            self._problem = f"{child.name} died while it was made ready: try again"

    # --- the pass

    def turn(self, now_s: float) -> Outcome | None:
        """What became of it, once that is known."""
        if self._is_committed:
            return self._finish(now_s)
        if self._problem is None and not self._is_offered:
            self._offer_when_it_can_be(now_s)
            if self._problem is None:
                return None
        if self._problem is None and self._waiting:
            if now_s - self._offered_s < OFFER_WITHIN_S[self.request.station.inference.provider]:
                return None
            self._problem = f"{', '.join(sorted(self._waiting))} did not make ready in time"
        if self._problem is not None:
            return self._let_go("rejected", now_s)
        if not self._changes or self.request.dry_run:
            return self._let_go("planned" if self._changes else "unchanged", now_s)
        self._commit(now_s)
        return None

    def _let_go(self, outcome: Literal["rejected", "planned", "unchanged"], now_s: float) -> Outcome:
        self._tell(Abandon(number=self._number))
        return self._outcome(outcome, now_s)

    def _commit(self, now_s: float) -> None:
        self._is_committed, self._committed_s = True, now_s
        self._stage.commit(self.request.station, self._generation)
        self._waiting = set(self._offered)
        self._tell(Commit(number=self._number, generation=self._generation))
        for name, child in self._stage.children.items():
            if name not in self._offered:
                child.restart(now_s)
                self._waiting.add(name)

    def _tell(self, said: Commit | Abandon) -> None:
        """To everybody who was offered it, those that are needed first."""
        for name in (*NEEDED, *(name for name in self._offered if name not in NEEDED)):
            if name in self._offered:
                self._stage.children[name].tell(said)

    def _finish(self, now_s: float) -> Outcome | None:
        for name in tuple(self._waiting - set(self._offered)):
            child = self._stage.children[name]
            if child.is_running and not child.is_restarting:
                self._waiting.discard(name)
        if self._waiting and now_s - self._committed_s < COMMIT_WITHIN_S:
            return None
        return self._outcome("applied", now_s)

    def _outcome(self, outcome: Literal["applied", "rejected", "planned", "unchanged"], now_s: float) -> Outcome:
        took_ms = round((now_s - self._began_s) * 1e3, 1)
        said = {"changes": [str(change) for change in self._changes], "took_ms": took_ms}
        if outcome == "rejected":
            self._log.warning("the configuration is not reloaded", problem=self._problem, **said)
        elif outcome == "applied":
            self._log.info("the configuration is reloaded", generation=self._generation, **said)
        return Outcome(
            outcome=outcome,
            changes=self._changes,
            problem=self._problem,
            generation=self._generation if outcome == "applied" else None,
            took_ms=took_ms,
            unfinished=tuple(sorted(self._waiting)) if outcome == "applied" else (),
        )


def _found(name: str, old: str, new: str) -> Change:
    """What inspection found in the files of its product."""
    return Change(key=name, old=old, new=new, effect=Effect.LIVE, workers=("inspection",))
