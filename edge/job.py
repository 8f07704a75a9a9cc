"""Whether the station takes triggers now: the states of OPC 40100, what orders change in them and what changes by itself. Pure.

What was ordered (`mode`) is kept apart from what stands in its way. So whatever passes, passes into what was ordered:

    state                  mode         not warm   fault
    Halted                 halted       -          -          only `reset` leads out
    Error                  any other    -          yes        nothing may be accepted; over by itself with its cause
    Preoperational         any other    yes        no         inspection has not said yet what it judges by
    Ready                  idle         no         no
    SingleExecution        single       no         no         one trigger is taken, then it is idle
    ContinuousExecution    continuous   no         no

Triggers are taken in the two execution states alone. What was accepted before is answered in every state.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from edge.orders import OrderError
from edge.records import Record


class State(StrEnum):
    """By its name in OPC 40100-1, 8.2 and 8.3; what lies between Preoperational and Ready there takes no time here."""

    PREOPERATIONAL = "Preoperational"
    HALTED = "Halted"
    ERROR = "Error"
    READY = "Ready"
    SINGLE_EXECUTION = "SingleExecution"
    CONTINUOUS_EXECUTION = "ContinuousExecution"


class Mode(StrEnum):
    """What was ordered last, or what the station begins with."""

    HALTED = "halted"
    IDLE = "idle"
    SINGLE = "single"
    CONTINUOUS = "continuous"


class Command(StrEnum):
    """What may be ordered of the station as a whole: the order's verb."""

    PREPARE = "prepare"
    START = "start"
    START_SINGLE = "start_single"
    STOP = "stop"
    HALT = "halt"
    RESET = "reset"


class Single(Record, frozen=True):
    """The one trigger of a single execution: whose it is to be, whether it was opened, and what is expected of the part."""

    name: str
    is_taken: bool = False
    expect: dict[str, str] = {}


class Job(Record, frozen=True):
    """How the station stands. `fault`: why nothing may be accepted; None: it may."""

    mode: Mode
    single: Single | None = None
    is_warm: bool = False
    fault: str | None = None

    @property
    def state(self) -> State:
        """The first of the table above that fits."""
        if self.mode is Mode.HALTED:
            return State.HALTED
        if self.fault is not None:
            return State.ERROR
        return _WHEN_WARM[self.mode] if self.is_warm else State.PREOPERATIONAL

    def takes(self, name: str) -> bool:
        """Whether a trigger of this camera or group may be opened now."""
        if self.state is State.SINGLE_EXECUTION and self.single is not None:
            return self.single.name == name and not self.single.is_taken
        return self.state is State.CONTINUOUS_EXECUTION

    def refusal(self, name: str) -> str:
        """Why none may."""
        if self.state is State.ERROR:
            return str(self.fault)
        if self.state is State.SINGLE_EXECUTION and self.single is not None:
            return f"the station is in SingleExecution: it takes one trigger, of {self.single.name!r}"
        return f"the station is {self.state.value}: {_WAY_OUT[self.state]}"


_WHEN_WARM = {
    Mode.IDLE: State.READY,
    Mode.SINGLE: State.SINGLE_EXECUTION,
    Mode.CONTINUOUS: State.CONTINUOUS_EXECUTION,
}
_WAY_OUT = {
    State.PREOPERATIONAL: "inspection is starting, try again",
    State.HALTED: "it needs the order reset",
    State.READY: "it needs the order start",
}
# Where a command is carried out, in every other state it is refused. `stop` is taken where nothing runs, too: it keeps
# the station from going on by itself. A product may be prepared while another is judged.
_NOT_HALTED = frozenset(State) - {State.HALTED}
ALLOWED: Mapping[Command, frozenset[State]] = {
    Command.PREPARE: frozenset({State.READY, State.CONTINUOUS_EXECUTION, State.ERROR}),
    Command.START: frozenset({State.READY, State.CONTINUOUS_EXECUTION}),
    Command.START_SINGLE: frozenset({State.READY}),
    Command.STOP: _NOT_HALTED,
    Command.HALT: frozenset(State),
    Command.RESET: frozenset(State),
}


def first_mode(*, autostart: bool) -> Mode:
    """What the station begins with, and begins again with after `reset`."""
    return Mode.CONTINUOUS if autostart else Mode.IDLE


def check(job: Job, command: Command) -> None:
    """Raises OrderError where this state does not carry the command out."""
    if job.state in ALLOWED[command]:
        return
    if job.state is State.ERROR:
        raise OrderError(f"{command} is not possible in Error: {job.fault}")
    needed = ", ".join(state.value for state in State if state in ALLOWED[command])
    raise OrderError(f"{command} is not possible in {job.state.value}; it is in {needed}")


def ordered(
    job: Job, command: Command, *, autostart: bool, name: str = "", expect: Mapping[str, str] = MappingProxyType({})
) -> Job:
    """What the command makes of it. `name`, `expect`: of the trigger that a single execution takes. Raises OrderError."""
    check(job, command)
    if command is Command.PREPARE:
        return job
    mode = {
        Command.START: Mode.CONTINUOUS,
        Command.START_SINGLE: Mode.SINGLE,
        Command.STOP: Mode.IDLE,
        Command.HALT: Mode.HALTED,
        Command.RESET: first_mode(autostart=autostart),
    }[command]
    single = Single(name=name, expect=dict(expect)) if mode is Mode.SINGLE else None
    return msgspec.structs.replace(job, mode=mode, single=single)


def warm(job: Job) -> Job:
    """Inspection has a product and judges. That it dies and is started again does not make the station cold."""
    return msgspec.structs.replace(job, is_warm=True)


def with_fault(job: Job, fault: str | None) -> Job:
    """Nothing may be accepted, and why; None: the cause has gone."""
    return msgspec.structs.replace(job, fault=fault)


def taken(job: Job, name: str) -> Job:
    """A trigger of this camera or group was opened: the one of a single execution, if it is its."""
    if job.single is None or job.single.name != name or job.single.is_taken:
        return job
    return msgspec.structs.replace(job, single=msgspec.structs.replace(job.single, is_taken=True))


def answered(job: Job, name: str) -> Job:
    """No trigger of this camera or group is in flight: a single execution that had its trigger is over."""
    if job.single is None or job.single.name != name or not job.single.is_taken:
        return job
    return msgspec.structs.replace(job, mode=Mode.IDLE, single=None)
