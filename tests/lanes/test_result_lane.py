"""The handshake: whatever PLC, station and death do, each result is shown once, in order, or counted as let go."""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.lanes import result_lane
from edge.lanes.codes import Refusal, ResultCode
from edge.lanes.result_lane import DEPTH, GRACE_NS, LAST_NUMBER, SETTLED_NS, Controls, ResultLane
from edge.lanes.shown import Shown
from edge.lanes.station_link import Place

DEADLINE_NS = 1_000_000_000
IDENTIFIERS = st.sampled_from(["", "A17", "B2"])


def result(trigger_id: int, *, is_ours: bool = True, unit: str = "", code: ResultCode = ResultCode.FAIL) -> Shown:
    return Shown(
        trigger_id=trigger_id,
        result=code,
        reason=0,
        is_good=code is ResultCode.PASS,
        is_late=False,
        review=False,
        score=0,
        processing_ms=5,
        checksum=1,
        unit_identifier=unit,
        is_ours=is_ours,
    )


class Handshake(RuleBasedStateMachine):
    """A station that is known to the last bit, a PLC that does as it likes, and deaths of both processes at any point."""

    @initialize()
    def begin(self) -> None:
        self.lane = ResultLane()
        self.now_ns = 0
        self.is_fresh = True
        self.next_id = 1
        # The decisions as the log has them, and how far the lane has read.
        self.log: list[Shown] = []
        self.read = 0
        # Accepted by the station, not decided: id, unit identifier and deadline.
        self.open: list[tuple[int, str, int]] = []
        # An order on its way to the station; its answer on its way back.
        self.order: str | None = None
        self.answer: int | None = None
        self.asked = self.accepted = self.refused = 0
        # How often the trigger's bit has risen, and at which of them a trigger was asked for last.
        self.rises = self.asked_at = 0
        self.taken: list[Shown] = []

    # --- the PLC

    @rule(controls=st.builds(Controls, st.booleans(), st.booleans(), st.booleans(), st.booleans()), unit=IDENTIFIERS)
    def command(self, controls: Controls, unit: str) -> None:
        before, shown, missed = self.lane.controls, self.lane.shown, self.lane.missed
        station = Refusal.NONE if self.is_fresh else Refusal.STALE
        could = self.lane.hindrance(station) is Refusal.NONE
        self.lane, orders = self.lane.command(controls, unit, station)
        is_edge = controls.trigger and not before.trigger
        assert orders.trigger == (is_edge and could)
        assert self.lane.missed - missed == (is_edge and not could), "a trigger was neither asked for nor missed"
        if shown is not None and controls.ack:
            self.taken.append(shown)
            assert not self.lane.is_valid, "what is acknowledged is still shown"
        self.rises += is_edge
        if orders.trigger:
            self.order, self.answer = unit, None
            self.asked += 1
            self.asked_at = self.rises
        if orders.announce:
            self.lane = self.lane.announced()

    @rule()
    def cycle(self) -> None:
        """A PLC as it should be takes one result."""
        self.command(msgspec.structs.replace(self.lane.controls, ack=False), "")
        self.command(msgspec.structs.replace(self.lane.controls, ack=True), "")
        self.command(msgspec.structs.replace(self.lane.controls, ack=False), "")

    # --- the station

    @precondition(lambda self: self.order is not None and self.is_fresh)
    @rule(is_accepted=st.booleans())
    def carry_out(self, is_accepted: bool) -> None:
        assert self.order is not None
        if is_accepted:
            self.open.append((self.next_id, self.order, self.now_ns + DEADLINE_NS))
            self.answer = self.next_id
            self.next_id += 1
            self.accepted += 1
        else:
            self.answer = 0
        self.order = None

    @precondition(lambda self: self.answer is not None)
    @rule()
    def hear(self) -> None:
        assert self.answer is not None
        if self.answer:
            self.lane = self.lane.accept(self.answer, self.now_ns + DEADLINE_NS + GRACE_NS)
        else:
            self.lane = self.lane.refuse(Refusal.REFUSED)
            self.refused += 1
        self.answer = None

    @precondition(lambda self: self.open and self.is_fresh)
    @rule(which=st.integers(0, 7), code=st.sampled_from([ResultCode.PASS, ResultCode.FAIL, ResultCode.ERROR]))
    def decide(self, which: int, code: ResultCode) -> None:
        trigger_id, unit, _ = self.open.pop(which % len(self.open))
        self.log.append(result(trigger_id, unit=unit, code=code))

    @precondition(lambda self: self.is_fresh)
    @rule()
    def decide_of_the_line(self) -> None:
        self.log.append(result(self.next_id, is_ours=False))
        self.next_id += 1

    @rule()
    def look(self) -> None:
        for place, one in enumerate(self.log[self.read :], self.read):
            self.lane = self.lane.take(one, Place("log", place + 1))
        self.read = len(self.log)

    @rule(ns=st.sampled_from([10_000_000, DEADLINE_NS, 3 * DEADLINE_NS]))
    def wait(self, ns: int) -> None:
        """Whatever publish has accepted it closes by its deadline, while it lives; and the lane looks at its log first."""
        self.now_ns += ns
        if self.is_fresh:
            while self.open and self.open[0][2] <= self.now_ns:
                self.decide(0, ResultCode.ERROR)
            self.look()
        was_unsure = self.lane.wanted is not None and self.lane.wanted.is_unsure
        missed = self.lane.missed
        self.lane = self.lane.expire(self.now_ns, DEADLINE_NS, is_fresh=self.is_fresh)
        if self.lane.missed > missed:
            assert was_unsure
            self.refused += 1

    # --- deaths

    @precondition(lambda self: self.is_fresh)
    @rule()
    def publish_dies(self) -> None:
        """What it has accepted stands in its log; an answer on its way is lost, and so is an order."""
        self.is_fresh = False
        if self.order is not None or self.answer is not None:
            self.lane = self.lane.doubt()
        self.order = self.answer = None
        self.lane = self.lane.expire(self.now_ns, DEADLINE_NS, is_fresh=False)

    @precondition(lambda self: not self.is_fresh)
    @rule()
    def publish_is_back(self) -> None:
        self.is_fresh = True

    @rule()
    def lane_dies(self) -> None:
        """What it had asked may or may not have arrived."""
        self.lane = result_lane.decode(result_lane.encode(self.lane)).revive()
        if self.order is not None and self.is_fresh:
            self.carry_out(is_accepted=True)
        self.order = self.answer = None

    # --- what always holds

    @invariant()
    def each_once_in_order_or_let_go(self) -> None:
        shown = [msgspec.structs.replace(one, number=0) for one in (*self.taken, *self.lane.queue)]
        seen = self.log[: self.read]
        rest = iter(seen)
        assert all(one in rest for one in shown), "shown out of order, twice, or never decided"
        assert len(shown) + self.lane.overruns == len(seen) == self.lane.completed

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        numbers = [one.number for one in (*self.taken, *self.lane.queue)]
        assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def no_rise_of_the_bit_is_told_of_another_ones_trigger(self) -> None:
        assert not self.lane.is_acked or self.asked_at == self.rises

    @invariant()
    def only_a_pass_is_good(self) -> None:
        shown = self.lane.shown
        assert shown is None or shown.is_good == (shown.result is ResultCode.PASS)

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.lane.queue) <= DEPTH
        assert 0 <= self.lane.room <= DEPTH

    def teardown(self) -> None:
        """Nothing wedges it: with the bits released and the station back, it is ready again, and every trigger is told."""
        if not hasattr(self, "lane"):
            return
        self.is_fresh = True
        if self.order is not None:
            self.carry_out(is_accepted=False)
        if self.answer is not None:
            self.hear()
        self.command(Controls(), "")
        for _ in range(3):
            self.wait(3 * DEADLINE_NS)
        while self.lane.queue:
            self.cycle()
        assert self.lane.room == DEPTH
        assert self.lane.hindrance(Refusal.NONE) is Refusal.NONE
        assert self.asked == self.accepted + self.refused, "a trigger's fate was never told"
        self.each_once_in_order_or_let_go()


TestHandshake = Handshake.TestCase
TestHandshake.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def command(lane: ResultLane, **bits: Any) -> ResultLane:
    return lane.command(msgspec.structs.replace(lane.controls, **bits), "", Refusal.NONE)[0]


def test_a_cycle() -> None:
    lane, orders = ResultLane().command(Controls(trigger=True), "A17", Refusal.NONE)
    assert orders.trigger
    assert lane.is_busy
    assert not lane.is_acked
    lane = lane.accept(7, DEADLINE_NS)
    assert lane.is_acked
    assert lane.accepted == 7
    lane = command(lane, trigger=False)
    assert not lane.is_acked
    lane = lane.take(result(7, code=ResultCode.PASS), Place("log", 1))
    assert not lane.is_busy
    shown = lane.shown
    assert shown is not None
    assert (shown.trigger_id, shown.number, shown.is_good) == (7, 1, True)
    lane = command(lane, ack=True)
    assert lane.shown is None
    assert lane.room == DEPTH


def test_a_stuck_acknowledgement_takes_nothing_that_was_not_shown() -> None:
    lane = command(ResultLane(), ack=True).take(result(1), Place("log", 1))
    assert not lane.is_valid
    lane = command(lane, ack=False)
    assert lane.is_valid
    assert lane.shown is not None
    assert lane.shown.number == 1


def test_a_ninth_result_is_let_go_and_flagged_until_cleared() -> None:
    lane = ResultLane()
    for trigger_id in range(1, DEPTH + 2):
        lane = lane.take(result(trigger_id), Place("log", trigger_id))
    assert (len(lane.queue), lane.overruns, lane.is_overrun) == (DEPTH, 1, True)
    assert [one.trigger_id for one in lane.queue] == list(range(1, DEPTH + 1)), "the newest is let go"
    lane = command(lane, clear=True)
    assert (lane.overruns, lane.is_overrun) == (1, False)


def test_without_a_buffer_a_trigger_is_missed() -> None:
    lane = ResultLane()
    for trigger_id in range(1, DEPTH + 1):
        lane, orders = lane.command(Controls(trigger=True), "", Refusal.NONE)
        assert orders.trigger
        lane = command(lane.accept(trigger_id, DEADLINE_NS), trigger=False)
    lane, orders = lane.command(Controls(trigger=True), "", Refusal.NONE)
    assert not orders.trigger
    assert (lane.is_missed, lane.missed, lane.refusal) == (True, 1, Refusal.NO_BUFFER)


def test_the_number_goes_round_past_zero() -> None:
    lane = ResultLane(number=LAST_NUMBER).take(result(1), Place("log", 1))
    assert lane.shown is not None
    assert lane.shown.number == 1


@pytest.mark.parametrize("is_read_first", [True, False])
def test_the_decision_may_be_read_before_the_answer(is_read_first: bool) -> None:
    lane = command(ResultLane(), trigger=True)
    for is_decision in (is_read_first, not is_read_first):
        lane = lane.take(result(4), Place("log", 1)) if is_decision else lane.accept(4, DEADLINE_NS)
    assert lane.is_acked
    assert lane.in_flight == ()
    assert lane.room == DEPTH - 1


def test_a_trigger_whose_answer_is_lost_is_found_by_its_decision() -> None:
    lane, _ = ResultLane().command(Controls(trigger=True), "A17", Refusal.NONE)
    lane = lane.doubt().take(result(9, unit="other"), Place("log", 1))
    assert not lane.is_acked
    lane = lane.take(result(10, unit="A17"), Place("log", 2))
    assert lane.is_acked
    assert lane.accepted == 10
    assert not lane.is_busy


def test_a_trigger_whose_answer_is_lost_is_given_up_once_the_station_was_back_for_its_deadline() -> None:
    lane, _ = ResultLane().command(Controls(trigger=True), "A17", Refusal.NONE)
    lane = lane.doubt().expire(10 * DEADLINE_NS, DEADLINE_NS, is_fresh=False)
    lane = lane.expire(20 * DEADLINE_NS, DEADLINE_NS, is_fresh=True)
    lane = lane.expire(20 * DEADLINE_NS + SETTLED_NS - 1, DEADLINE_NS, is_fresh=True)
    assert lane.is_busy, "publish has only just come back"
    lane = lane.expire(20 * DEADLINE_NS + SETTLED_NS, DEADLINE_NS, is_fresh=True)
    assert (lane.is_busy, lane.is_missed, lane.refusal) == (False, True, Refusal.LOST)


def test_an_announcement_rises_and_falls_with_its_bit() -> None:
    lane, orders = ResultLane().command(Controls(announce=True), "A17", Refusal.NONE)
    assert orders.announce
    lane = lane.announced()
    assert lane.is_announced
    assert not command(lane, announce=False).is_announced
    assert lane.command(Controls(), None, Refusal.NONE)[0].command(Controls(announce=True), None, Refusal.NONE)[
        0
    ].refusal is (Refusal.BAD_IDENTIFIER)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_second_part_is_not_told_of_the_first_ones_trigger(is_lost: bool) -> None:
    lane = command(command(ResultLane(), trigger=True), trigger=False)
    lane = lane.doubt() if is_lost else lane
    lane = command(lane, trigger=True)
    assert (lane.is_missed, lane.refusal) == (True, Refusal.BUSY)
    lane = lane.take(result(7), Place("log", 1)) if is_lost else lane.accept(7, DEADLINE_NS)
    assert lane.accepted == 7
    assert (lane.is_acked, lane.is_missed, lane.refusal) == (False, True, Refusal.BUSY)


def test_a_second_announcement_is_not_told_of_the_first_ones_answer() -> None:
    lane = command(command(command(ResultLane(), announce=True), announce=False), announce=True)
    assert lane.refusal is Refusal.BUSY
    lane = lane.announced()
    assert not lane.is_announced
    lane, orders = command(lane, announce=False).command(Controls(announce=True), "A18", Refusal.NONE)
    assert orders.announce
    assert lane.announced().is_announced


def test_a_lane_that_is_full_fits_into_what_keeps_it() -> None:
    from edge.lanes.kept import SLOT_BYTES

    lane = ResultLane(seen=Place("f" * 32, 2**60))
    for trigger_id in range(1, DEPTH + 1):
        lane = lane.take(result(2**60 + trigger_id, unit="W" * 32), Place("f" * 32, 2**60))
    ids = tuple(range(2**60, 2**60 + result_lane.REMEMBERED))
    early = tuple(result_lane.Early(one, "W" * 32) for one in ids)
    lane = lane.but(early=early, in_flight=tuple(result_lane.InFlight(one, one) for one in ids[:DEPTH]))
    assert len(result_lane.encode(lane)) < 2 * SLOT_BYTES - 64
