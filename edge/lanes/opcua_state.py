"""The station's state as OPC 40100-1 shows it: two state machines, one inside the other, and SEMI E10's sum of them. Pure.

The outer machine knows Preoperational, Halted, Error and Operational; only in Operational has the inner one a state:
Initialized, Ready, SingleExecution, ContinuousExecution. When publish has not been heard for a moment, nobody knows how
the station stands: that is shown as Error with an alarm of its own, so that no PLC sees a Ready that is none.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from edge.lanes.standing import Alarm, Job, Standing

OPERATIONAL = "Operational"
ERROR = "Error"
OUTER = ("Preoperational", "Halted", ERROR)
INNER = ("Initialized", "Ready", "SingleExecution", "ContinuousExecution")
SILENCE = Alarm(name="publish", text="the station's heart has stopped: nothing is decided and no order is taken")

# Where the specification has no step from one state to another, the way it has: its Reset ends in Preoperational, which
# the station leaves at once. Two quick orders are seen as one change.
_BY_WAY_OF = {
    ("Halted", OPERATIONAL): "Preoperational",
    ("Halted", ERROR): "Preoperational",
    ("SingleExecution", "ContinuousExecution"): "Ready",
    ("ContinuousExecution", "SingleExecution"): "Ready",
}


class SystemState(IntEnum):
    """OPC 40100-1, SystemStateDataType: the basic states of SEMI E10."""

    PRODUCTION = 1
    STAND_BY = 2
    SCHEDULED_DOWNTIME = 4
    UNSCHEDULED_DOWNTIME = 5


_SYSTEM = {
    "Preoperational": SystemState.SCHEDULED_DOWNTIME,
    "Halted": SystemState.SCHEDULED_DOWNTIME,
    ERROR: SystemState.UNSCHEDULED_DOWNTIME,
    "Initialized": SystemState.STAND_BY,
    "Ready": SystemState.STAND_BY,
    "SingleExecution": SystemState.PRODUCTION,
    "ContinuousExecution": SystemState.PRODUCTION,
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the address space says of the station. `inner` is None while the outer machine is not in Operational."""

    outer: str
    inner: str | None
    system: SystemState
    alarms: tuple[str, ...]
    job: Job


@dataclass(frozen=True)
class Move:
    """A state machine went from one state to another; `machine` is `outer` or `inner`."""

    machine: str
    before: str
    after: str


def shown(standing: Standing | None, *, is_fresh: bool) -> Shown:
    """What to show. A state that this version does not know is an Error by its name."""
    job = standing.job or Job() if standing is not None else Job()
    if not is_fresh:
        return _outer(ERROR, (SILENCE,), job)
    if standing is None:
        return _outer("Preoperational", (), job)
    if standing.state in INNER:
        return Shown(
            outer=OPERATIONAL,
            inner=standing.state,
            system=_SYSTEM[standing.state],
            alarms=_texts(standing.alarms),
            job=job,
        )
    if standing.state in OUTER:
        return _outer(standing.state, standing.alarms, job)
    return _outer(ERROR, (*standing.alarms, Alarm(name="state", text=f"unknown state {standing.state!r}")), job)


def moves(before: Shown, after: Shown) -> tuple[Move, ...]:
    """The transitions between the two, the outer machine's first; each is one that the specification has."""
    found: list[Move] = []
    if before.outer != after.outer:
        found += _steps("outer", before.outer, after.outer)
    if before.inner != after.inner and before.inner is not None and after.inner is not None:
        found += _steps("inner", before.inner, after.inner)
    return tuple(found)


def _steps(machine: str, before: str, after: str) -> list[Move]:
    ways = [before, *([_BY_WAY_OF[before, after]] if (before, after) in _BY_WAY_OF else []), after]
    return [Move(machine, one, other) for one, other in pairwise(ways)]


def transition(move: Move, known: frozenset[str]) -> str | None:
    """The name of this move among the transitions of the specification; None: it knows no such step.

    It tells what was ordered from what comes by itself (`Auto`). Here nothing leads into or out of Halted but an order,
    out of Ready but one, nor out of ContinuousExecution but `stop`.
    """
    plain = f"{move.before}To{move.after}"
    is_ordered = "Halted" in (move.before, move.after) or move.before == "Ready"
    names = (plain, f"{plain}Auto") if is_ordered else (f"{plain}Stop", f"{plain}Auto", plain)
    if move.before == "SingleExecution":
        names = (f"{plain}Auto",)
    return next((name for name in names if name in known), None)


def _outer(state: str, alarms: tuple[Alarm, ...], job: Job) -> Shown:
    return Shown(outer=state, inner=None, system=_SYSTEM[state], alarms=_texts(alarms), job=job)


def _texts(alarms: tuple[Alarm, ...]) -> tuple[str, ...]:
    return tuple(f"{alarm.name}: {alarm.text}" if alarm.text else alarm.name for alarm in alarms)
