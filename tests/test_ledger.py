"""The ledger: every trigger closes exactly once, nothing is lost, and no PASS comes from nowhere."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.ledger import Decision, Late, Ledger, Origin, UnknownTrigger
from edge.records import Outcome, Reason, Verdict, error
from tests import values

ORIGIN = Origin(frame=values.frame(1), provenance=values.PROVENANCE, timing=values.TIMING)
CAMERAS = ("left", "right")
OUTCOMES = st.sampled_from([Verdict(outcome=Outcome.PASS), Verdict(outcome=Outcome.FAIL), error(Reason.CANNOT_JUDGE)])


class Line(RuleBasedStateMachine):
    """Triggers, results, deaths and time in any order; results may come twice, late, or for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now_ns = 0
        self.opened: dict[int, str] = {}
        self.decisions: dict[int, Decision] = {}
        self.given: dict[int, list[Verdict]] = {}
        self.orphans: set[int] = set()
        self.late: list[int] = []

    def _record(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            trigger_id = decision.trigger.trigger_id
            assert trigger_id not in self.decisions, "closed twice"
            self.decisions[trigger_id] = decision

    @rule(camera=st.sampled_from(CAMERAS), patience_ns=st.integers(0, 50))
    def open(self, camera: str, patience_ns: int) -> None:
        trigger_id = len(self.opened) + 1
        self.opened[trigger_id] = camera
        one = values.trigger(trigger_id, camera, opened_ns=self.now_ns, deadline_ns=self.now_ns + patience_ns)
        assert self.ledger.open(one)
        assert not self.ledger.open(one)

    @precondition(lambda self: self.opened)
    @rule(data=st.data(), verdict=OUTCOMES, is_judged=st.booleans())
    def result(self, data: st.DataObject, verdict: Verdict, is_judged: bool) -> None:
        trigger_id = data.draw(st.sampled_from(sorted(self.opened)))
        if not is_judged:
            verdict = error(Reason.NO_SLOT)
        was_closed = trigger_id in self.decisions
        outcome = self.ledger.decide(trigger_id, verdict, self.now_ns, ORIGIN if is_judged else None)
        if isinstance(outcome, Decision):
            self.given.setdefault(trigger_id, []).append(verdict)
            self._record([outcome])
        elif isinstance(outcome, Late):
            assert was_closed
            self.late.append(trigger_id)
        else:
            assert was_closed

    @rule(step_ns=st.integers(1, 30))
    def time_passes(self, step_ns: int) -> None:
        self.now_ns += step_ns
        self._record(self.ledger.expire(self.now_ns))

    @rule(camera=st.sampled_from(CAMERAS), data=st.data())
    def capture_dies(self, camera: str, data: st.DataObject) -> None:
        own = [one for one, of in self.opened.items() if of == camera and one not in self.decisions]
        handed = set(data.draw(st.lists(st.sampled_from(own)))) if own else set()
        closed = self.ledger.lost_capture(camera, handed, self.now_ns)
        assert {one.trigger.trigger_id for one in closed} == set(own) - handed
        self.orphans |= handed
        self._record(closed)

    @rule()
    def inspection_dies(self) -> None:
        closed = self.ledger.lost_inspection(self.now_ns)
        assert {one.trigger.trigger_id for one in closed} == self.orphans - set(self.decisions)
        self._record(closed)

    @rule()
    def shut_down(self) -> None:
        self._record(self.ledger.shut_down(self.now_ns))
        assert self.ledger.in_flight() == 0

    @rule()
    def unknown(self) -> None:
        with pytest.raises(UnknownTrigger):
            self.ledger.decide(10_000, error(Reason.TORN), self.now_ns)

    @invariant()
    def nothing_is_lost(self) -> None:
        for camera in CAMERAS:
            own = [one for one, of in self.opened.items() if of == camera]
            verdicts = sum(self.ledger.verdicts(camera, outcome) for outcome in Outcome)
            assert self.ledger.triggers(camera) == len(own) == verdicts + self.ledger.in_flight(camera)
            assert self.ledger.in_flight(camera) == len([one for one in own if one not in self.decisions])

    @invariant()
    def nothing_waits_past_its_deadline(self) -> None:
        waiting = [one for one in self.opened if one not in self.decisions]
        assert (self.ledger.next_deadline_ns() is None) == (not waiting)

    @invariant()
    def a_pass_was_judged(self) -> None:
        for trigger_id, decision in self.decisions.items():
            if decision.origin is None:
                assert decision.verdict.outcome is Outcome.ERROR
            else:
                assert self.given[trigger_id] == [decision.verdict]

    @invariant()
    def late_results_are_kept_once_and_only_where_none_was(self) -> None:
        assert len(set(self.late)) == len(self.late)
        assert all(self.decisions[one].origin is None for one in self.late)


TestLine = Line.TestCase


def test_a_decision_at_the_deadline_is_on_time_and_one_after_it_is_not():
    ledger = Ledger()
    ledger.open(values.trigger(1, deadline_ns=100))
    ledger.open(values.trigger(2, deadline_ns=100))
    first = ledger.decide(1, Verdict(outcome=Outcome.PASS), 100, ORIGIN)
    assert isinstance(first, Decision)
    assert first.on_time
    (second,) = ledger.expire(101)
    assert (second.verdict.reason, second.on_time) == (Reason.DEADLINE, False)


def test_the_counts_of_an_earlier_life_are_taken_up():
    ledger = Ledger({("left", Outcome.ERROR, Reason.DEADLINE): 3, ("left", Outcome.PASS, None): 4})
    ledger.remember_closed(7)
    assert not ledger.open(values.trigger(7))
    assert ledger.decide(7, Verdict(outcome=Outcome.PASS), 1, ORIGIN) is None
    ledger.open(values.trigger(8))
    assert ledger.triggers("left") == 8
    assert ledger.verdicts("left", Outcome.ERROR) == 3
