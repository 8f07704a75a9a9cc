"""The ledger: every trigger closes exactly once, nothing is lost, and no PASS comes from nowhere."""

from collections.abc import Sequence

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge import ledger as ledgers
from edge.ledger import Decision, Late, Ledger, Origin, UnknownTrigger, View
from edge.records import Outcome, Reason, Trigger, Verdict, camera_of, error
from tests import values

ORIGIN = Origin(frame=values.frame(1), provenance=values.PROVENANCE, timing=values.TIMING)
# What a trigger can be for, and the views of the part that then are taken: a camera alone, one that takes two shots, and
# three together, of which one takes two.
VIEWS = {
    "left": (),
    "right": ("right.bright", "right.dark"),
    "box": ("top", "side.bright", "side.dark", "back"),
}
CAMERAS = ("left", "right", "top", "side", "back")
PASS, FAIL = Verdict(outcome=Outcome.PASS, score=0.5), Verdict(outcome=Outcome.FAIL, score=7.0)
OUTCOMES = st.sampled_from([PASS, FAIL, error(Reason.CANNOT_JUDGE)])


def judged(verdict: Verdict) -> View:
    return View(verdict=verdict, origin=ORIGIN)


def unjudged(reason: Reason, detail: str | None = None) -> View:
    return View(verdict=error(reason, detail))


class Line(RuleBasedStateMachine):
    """Triggers, results, deaths and time in any order; results may come twice, late, or for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now_ns = 0
        self.opened: dict[int, Trigger] = {}
        self.decisions: dict[int, Decision] = {}
        # What was said first of each view, by a result; and every view that inspection gave a result for.
        self.given: dict[tuple[int, str], View] = {}
        self.judged: set[tuple[int, str]] = set()
        self.orphans: set[tuple[int, str]] = set()
        self.crashed: set[tuple[int, str]] = set()
        self.late: list[tuple[int, str]] = []

    def _record(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            trigger_id = decision.trigger.trigger_id
            assert trigger_id not in self.decisions, "closed twice"
            self.decisions[trigger_id] = decision

    def _missing(self, camera: str) -> set[tuple[int, str]]:
        """The views of open triggers that this camera has not answered for."""
        return {
            (one, view)
            for one, trigger in self.opened.items()
            for view in trigger.every_view
            if camera_of(view) == camera and one not in self.decisions and not self._is_in(one, view)
        }

    def _is_in(self, trigger_id: int, view: str) -> bool:
        return (trigger_id, view) in self.given or (trigger_id, view) in self.crashed

    @rule(name=st.sampled_from(sorted(VIEWS)), patience_ns=st.integers(0, 50))
    def open(self, name: str, patience_ns: int) -> None:
        one = values.trigger(
            len(self.opened) + 1, name, opened_ns=self.now_ns, deadline_ns=self.now_ns + patience_ns, views=VIEWS[name]
        )
        self.opened[one.trigger_id] = one
        assert self.ledger.open(one)
        assert not self.ledger.open(one)

    @precondition(lambda self: self.opened)
    @rule(data=st.data(), verdict=OUTCOMES, is_judged=st.booleans())
    def result(self, data: st.DataObject, verdict: Verdict, is_judged: bool) -> None:
        trigger = self.opened[data.draw(st.sampled_from(sorted(self.opened)))]
        view = trigger.trigger_id, data.draw(st.sampled_from(trigger.every_view))
        said = judged(verdict) if is_judged else unjudged(Reason.NO_SLOT)
        was_closed, was_in = trigger.trigger_id in self.decisions, self._is_in(*view)
        outcome = self.ledger.decide(*view, said, self.now_ns)
        if not was_closed and not was_in:
            self.given[view] = said
        if isinstance(outcome, Decision):
            assert not was_closed and not was_in
            self._record([outcome])
        elif isinstance(outcome, Late):
            assert (was_closed or was_in) and is_judged and view not in self.judged
            self.late.append(view)
        else:
            # Others are missing, or it was heard before, or has nothing to say.
            assert self._others_miss(trigger) if not (was_closed or was_in) else not is_judged or view in self.judged
        if is_judged:
            self.judged.add(view)

    def _others_miss(self, trigger: Trigger) -> bool:
        return any(not self._is_in(trigger.trigger_id, view) for view in trigger.every_view)

    @rule(step_ns=st.integers(1, 30))
    def time_passes(self, step_ns: int) -> None:
        self.now_ns += step_ns
        self._record(self.ledger.expire(self.now_ns))

    @rule(camera=st.sampled_from(CAMERAS), data=st.data())
    def capture_dies(self, camera: str, data: st.DataObject) -> None:
        own = self._missing(camera)
        handed = set(data.draw(st.lists(st.sampled_from(sorted(own))))) if own else set()
        closed = self.ledger.lost_capture(camera, handed, self.now_ns)
        self._crash(own - handed, closed)
        self.orphans |= handed

    @rule()
    def inspection_dies(self) -> None:
        orphans = {view for view in self.orphans if view in self._missing(camera_of(view[1]))}
        closed = self.ledger.lost_inspection(self.now_ns)
        self._crash(orphans, closed)

    def _crash(self, views: set[tuple[int, str]], closed: list[Decision]) -> None:
        """These views went with a process: their triggers close if nothing else is missing."""
        self.crashed |= views
        complete = {one for one, _ in views if not self._others_miss(self.opened[one])}
        assert {one.trigger.trigger_id for one in closed} == complete
        self._record(closed)

    @rule()
    def shut_down(self) -> None:
        self._record(self.ledger.shut_down(self.now_ns))
        assert self.ledger.in_flight() == 0

    @rule()
    def unknown(self) -> None:
        with pytest.raises(UnknownTrigger):
            self.ledger.decide(10_000, "left", unjudged(Reason.TORN), self.now_ns)

    @invariant()
    def nothing_is_lost(self) -> None:
        for name in VIEWS:
            own = [one for one, trigger in self.opened.items() if trigger.camera == name]
            verdicts = sum(self.ledger.verdicts(name, outcome) for outcome in Outcome)
            assert self.ledger.triggers(name) == len(own) == verdicts + self.ledger.in_flight(name)
            assert self.ledger.in_flight(name) == len([one for one in own if one not in self.decisions])

    @invariant()
    def what_is_missing_is_known(self) -> None:
        for camera in CAMERAS:
            missing = {(one.trigger_id, view) for one, view in self.ledger.missing(camera)}
            assert missing == self._missing(camera)
            assert missing == {(one, view) for one in self.opened for view in self.ledger.missing_of(one, camera)}

    @invariant()
    def nothing_waits_past_its_deadline(self) -> None:
        waiting = [one for one in self.opened if one not in self.decisions]
        assert (self.ledger.next_deadline_ns() is None) == (not waiting)

    @invariant()
    def a_verdict_rests_on_what_was_said_of_every_view(self) -> None:
        for trigger_id, decision in self.decisions.items():
            assert tuple(decision.views) == decision.trigger.every_view
            outcomes = {view.verdict.outcome for view in decision.views.values()}
            worst = next(one for one in (Outcome.FAIL, Outcome.ERROR, Outcome.PASS) if one in outcomes)
            assert decision.verdict.outcome is worst
            assert (decision.verdict.reason is None) == (worst is not Outcome.ERROR)
            for name, view in decision.views.items():
                said = self.given.get((trigger_id, name))
                assert view == said if said is not None else view.origin is None and view.verdict.reason is not None

    @invariant()
    def late_results_are_kept_once_and_only_where_none_was(self) -> None:
        assert len(set(self.late)) == len(self.late)
        closed = [(self.decisions[one], view) for one, view in self.late if one in self.decisions]
        assert all(decision.views[view].origin is None for decision, view in closed)


TestLine = Line.TestCase


def test_a_decision_at_the_deadline_is_on_time_and_one_after_it_is_not():
    ledger = Ledger()
    ledger.open(values.trigger(1, deadline_ns=100))
    ledger.open(values.trigger(2, deadline_ns=100))
    first = ledger.decide(1, "left", judged(PASS), 100)
    assert isinstance(first, Decision)
    assert first.on_time
    (second,) = ledger.expire(101)
    assert (second.verdict.reason, second.on_time) == (Reason.DEADLINE, False)


def test_the_counts_of_an_earlier_life_are_taken_up():
    ledger = Ledger({("left", Outcome.ERROR, Reason.DEADLINE): 3, ("left", Outcome.PASS, None): 4})
    ledger.remember_closed(7)
    assert not ledger.open(values.trigger(7))
    assert ledger.decide(7, "left", judged(PASS), 1) is None
    ledger.open(values.trigger(8))
    assert ledger.triggers("left") == 8
    assert ledger.verdicts("left", Outcome.ERROR) == 3


def box(**fields: object) -> Ledger:
    ledger = Ledger()
    ledger.open(values.trigger(1, "box", deadline_ns=100, views=("top", "side"), **fields))
    return ledger


def closed(outcome: Decision | Late | None) -> Decision:
    assert isinstance(outcome, Decision)
    return outcome


def test_a_part_closes_with_its_last_view_and_holds_the_evidence_of_all():
    ledger = box()
    assert ledger.decide(1, "side", judged(FAIL), 10) is None
    assert ledger.in_flight("box") == 1
    decision = closed(ledger.decide(1, "top", judged(PASS), 20))
    assert (decision.verdict.outcome, decision.verdict.detail) == (Outcome.FAIL, None)
    assert decision.views == {"top": judged(PASS), "side": judged(FAIL)}
    assert ledger.verdicts("box", Outcome.FAIL) == 1
    assert ledger.triggers("top") == 0


@pytest.mark.parametrize(
    ("came", "verdict", "reason", "detail"),
    [
        ({}, Outcome.ERROR, Reason.MISSING_VIEW, "top: no view by the deadline; side: no view by the deadline"),
        ({"top": judged(PASS)}, Outcome.ERROR, Reason.MISSING_VIEW, "side: no view by the deadline"),
        ({"side": judged(FAIL)}, Outcome.FAIL, None, "top: no view by the deadline"),
        (
            {"top": unjudged(Reason.TORN, "overwritten")},
            Outcome.ERROR,
            Reason.MISSING_VIEW,
            "top: overwritten; side: no view by the deadline",
        ),
    ],
)
def test_a_part_that_misses_a_view_at_its_deadline_never_passes(came, verdict, reason, detail):
    ledger = box()
    for camera, view in came.items():
        assert ledger.decide(1, camera, view, 10) is None
    (decision,) = ledger.expire(100)
    given = decision.verdict
    assert (given.outcome, given.reason, given.detail) == (verdict, reason, detail)
    assert decision.views.keys() == {"top", "side"}


@pytest.mark.parametrize(("other", "verdict"), [(PASS, Outcome.ERROR), (FAIL, Outcome.FAIL)])
def test_a_view_that_could_not_be_judged_is_the_parts_error_unless_another_failed(other, verdict):
    ledger = box()
    ledger.decide(1, "top", unjudged(Reason.CAMERA_DOWN), 10)
    given = closed(ledger.decide(1, "side", judged(other), 20)).verdict
    assert (given.outcome, given.detail) == (verdict, "top: camera_down")
    assert given.reason is (Reason.CAMERA_DOWN if verdict is Outcome.ERROR else None)


def test_a_view_that_comes_after_its_part_is_late_once_and_one_that_was_in_is_no_news():
    ledger = box()
    ledger.decide(1, "top", judged(PASS), 10)
    ledger.expire(100)
    late = ledger.decide(1, "side", judged(PASS), 110)
    assert isinstance(late, Late)
    assert (late.trigger_id, late.view) == (1, "side")
    assert ledger.decide(1, "side", judged(PASS), 120) is None
    assert ledger.decide(1, "top", judged(FAIL), 120) is None


def test_what_inspection_says_of_a_view_that_was_given_up_is_late_and_the_part_still_an_error():
    ledger = box()
    ledger.decide(1, "top", unjudged(Reason.WORKER_CRASH), 10)
    assert isinstance(ledger.decide(1, "top", judged(PASS), 20), Late)
    assert closed(ledger.decide(1, "side", judged(PASS), 30)).verdict.reason is Reason.WORKER_CRASH


def test_the_death_of_every_process_that_held_a_view_closes_the_part_once():
    ledger = box()
    assert ledger.lost_capture("top", {(1, "top")}, 10) == []
    assert ledger.lost_capture("side", {(1, "side")}, 10) == []
    (decision,) = ledger.lost_inspection(20)
    assert decision.verdict.reason is Reason.WORKER_CRASH
    assert ledger.lost_inspection(30) == ledger.expire(1000) == []


def test_a_camera_that_was_not_asked_has_no_say():
    ledger = box()
    for camera in ("box", "back"):
        with pytest.raises(UnknownTrigger):
            ledger.decide(1, camera, judged(PASS), 10)
    assert ledger.in_flight("box") == 1


@pytest.mark.parametrize(("expect", "outcome"), [("variant code", "PASS"), ("variant code colour", "ERROR")])
def test_an_order_is_answered_by_the_views_together(expect, outcome):
    views = {
        "top": Verdict(outcome=Outcome.PASS, score=0.5, answers=("variant",)),
        "side": Verdict(outcome=Outcome.PASS, score=0.1, answers=("code",)),
    }
    trigger = values.trigger(1, "box", views=("top", "side"), expect=dict.fromkeys(expect.split(), "x"))
    part = ledgers.of_part(trigger, views)
    assert part.outcome == outcome
    assert part.reason is (None if outcome == "PASS" else Reason.CANNOT_JUDGE)
    assert "colour=x" in (part.detail or "colour=x")


def test_a_camera_that_dies_between_its_shots_answers_for_the_one_it_had_not_handed_over():
    ledger = Ledger()
    ledger.open(values.trigger(1, "top", deadline_ns=100, views=("top.bright", "top.dark")))
    assert ledger.lost_capture("top", {(1, "top.bright")}, 10) == []
    assert [view for _, view in ledger.missing("top")] == ["top.bright"]
    decision = closed(ledger.decide(1, "top.bright", judged(PASS), 20))
    assert (decision.verdict.outcome, decision.verdict.detail) == (Outcome.ERROR, "top.dark: worker_crash")
    assert decision.views["top.bright"] == judged(PASS)
