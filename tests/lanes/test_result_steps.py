"""The handshake step by step: what each bit of the PLC, each answer and each decision makes of a channel."""

from typing import Any

import msgspec
import pytest

from edge.lanes import result_lane
from edge.lanes.codes import Refusal, ResultCode
from edge.lanes.result_lane import DEPTH, GRACE_NS, LAST_NUMBER, Controls, Early, InFlight, ResultLane
from edge.lanes.settling import SETTLED_NS, Settling
from edge.lanes.station_link import Place
from tests.lanes.handshake import DEADLINE_NS, result


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
    lane = lane.doubt().expire(10 * DEADLINE_NS, DEADLINE_NS, is_settled=False)
    lane = lane.expire(20 * DEADLINE_NS, DEADLINE_NS, is_settled=True)
    by_ns = 21 * DEADLINE_NS + GRACE_NS
    lane = lane.expire(by_ns, DEADLINE_NS, is_settled=True)
    assert lane.is_busy, "publish may have read the order when it was back"
    assert lane.expire(by_ns + 1, DEADLINE_NS, is_settled=False).is_busy
    lane = lane.expire(by_ns + 1, DEADLINE_NS, is_settled=True)
    assert (lane.is_busy, lane.is_missed, lane.refusal) == (False, True, Refusal.LOST)


def test_a_trigger_without_an_identifier_whose_answer_is_lost_may_bear_an_announced_one() -> None:
    lane = command(ResultLane(), trigger=True).doubt().take(result(9, unit="A18"), Place("log", 1))
    assert (lane.is_acked, lane.accepted, lane.is_busy) == (True, 9, False)


def test_a_trigger_is_busy_for_as_long_as_nobody_is_there_to_close_it() -> None:
    lane = command(ResultLane(), trigger=True).accept(7, by_ns=DEADLINE_NS)
    lane = lane.expire(100 * DEADLINE_NS, DEADLINE_NS, is_settled=False)
    assert (lane.is_busy, lane.room) == (True, DEPTH - 1)
    assert not lane.take(result(7), Place("log", 1)).is_busy
    # Past its deadline, and publish is there: its log was lost.
    assert not lane.expire(100 * DEADLINE_NS, DEADLINE_NS, is_settled=True).is_busy


def test_publish_is_settled_when_it_was_seen_for_long_enough_without_a_pause() -> None:
    settling = Settling()
    step_ns = SETTLED_NS // 5
    assert [settling.look(at * step_ns, is_fresh=True) for at in range(10, 17)] == [False] * 5 + [True] * 2
    assert not settling.look(17 * step_ns, is_fresh=False)
    assert [settling.look(at * step_ns, is_fresh=True) for at in range(18, 24)] == [False] * 5 + [True]
    assert not settling.look(23 * step_ns + SETTLED_NS, is_fresh=True), "nobody looked for that long"


def test_an_announcement_rises_and_falls_with_its_bit() -> None:
    lane, orders = ResultLane().command(Controls(announce=True), "A17", Refusal.NONE)
    assert orders.announce
    lane = lane.announced()
    assert lane.is_announced
    assert not command(lane, announce=False).is_announced
    assert lane.command(Controls(), None, Refusal.NONE)[0].command(Controls(announce=True), None, Refusal.NONE)[
        0
    ].refusal is (Refusal.BAD_IDENTIFIER)


def test_an_error_after_an_announcement_is_about_it() -> None:
    lane = command(ResultLane(), trigger=True).refuse(Refusal.REFUSED)
    assert command(lane, announce=True).refusal is Refusal.REFUSED, "the trigger is still missed"
    lane = command(command(lane, trigger=False), announce=True)
    assert lane.refusal is Refusal.NONE
    assert lane.announced(Refusal.LOST).refusal is Refusal.LOST


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
    early = tuple(Early(one, "W" * 32) for one in ids)
    lane = lane.but(early=early, in_flight=tuple(InFlight(one, one) for one in ids[:DEPTH]))
    assert len(result_lane.encode(lane)) < 2 * SLOT_BYTES - 64
