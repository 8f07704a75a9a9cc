"""Every way from one state of the station to another is shown as transitions that OPC 40100-1 declares."""

import re
from itertools import pairwise, permutations
from pathlib import Path

import pytest

from edge.job import State
from edge.lanes import opcua_state
from edge.lanes.opcua_state import Move, Shown, moves, shown, transition
from edge.lanes.standing import Standing

NODES = Path(opcua_state.__file__).parent / "nodesets" / "Opc.Ua.MachineVision.NodeSet2.xml"
# What may be shown: each state of the station, and that nobody is heard.
SHOWN = {str(state): shown(Standing(state=state), is_fresh=True) for state in State}
SHOWN["silence"] = shown(None, is_fresh=False)


@pytest.fixture(scope="module")
def declared() -> frozenset[str]:
    names = re.findall(r'BrowseName="1:([A-Za-z]+To[A-Z][A-Za-z]+)"', NODES.read_text(encoding="utf-8"))
    assert "HaltedToPreoperational" in names
    return frozenset(names)


def named(before: Shown, after: Shown, declared: frozenset[str]) -> list[str | None]:
    return [transition(move, declared) for move in moves(before, after)]


@pytest.mark.parametrize(("one", "other"), list(permutations(SHOWN, 2)))
def test_every_change_is_made_of_steps_of_the_specification(one: str, other: str, declared: frozenset[str]) -> None:
    before, after = SHOWN[one], SHOWN[other]
    assert None not in named(before, after, declared)
    for machine in ("outer", "inner"):
        steps = [move for move in moves(before, after) if move.machine == machine]
        assert all(first.after == second.before for first, second in pairwise(steps))
        if steps:
            ends = steps[0].before, steps[-1].after
            assert ends == (getattr(before, machine), getattr(after, machine))


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("Halted", "Ready", ["HaltedToPreoperational", "PreoperationalToOperationalAuto"]),
        ("Halted", "Preoperational", ["HaltedToPreoperational"]),
        ("ContinuousExecution", "Halted", ["OperationalToHalted"]),
        ("Preoperational", "ContinuousExecution", ["PreoperationalToOperationalAuto"]),
        ("Ready", "ContinuousExecution", ["ReadyToContinuousExecution"]),
        ("Ready", "SingleExecution", ["ReadyToSingleExecution"]),
        ("SingleExecution", "Ready", ["SingleExecutionToReadyAuto"]),
        ("ContinuousExecution", "Ready", ["ContinuousExecutionToReadyStop"]),
        ("Ready", "Error", ["OperationalToErrorAuto"]),
        ("Error", "Ready", ["ErrorToOperationalAuto"]),
        ("Error", "Halted", ["ErrorToHalted"]),
        ("silence", "Preoperational", ["ErrorToPreoperationalAuto"]),
    ],
)
def test_what_was_ordered_is_told_from_what_comes_by_itself(
    one: str, other: str, names: list[str], declared: frozenset[str]
) -> None:
    assert named(SHOWN[one], SHOWN[other], declared) == names


def test_a_step_that_the_specification_does_not_have_is_none(declared: frozenset[str]) -> None:
    assert transition(Move("outer", "Halted", "Elsewhere"), declared) is None
