"""What nobody saw or heard: decisions that were overwritten unread, answers that died with publish."""

import signal
import time

from edge import events
from edge.decided_log import DECIDED_SLOTS
from edge.lanes.channels import DECISIONS_A_TURN
from edge.lanes.codes import Refusal
from edge.lanes.result_lane import DEPTH, GRACE_NS
from tests.lanes.lane_line import DEADLINE_S, LaneLine, Make, event_of
from tests.lanes.plc import Plc, until


def fill_round(line: LaneLine) -> None:
    """More decisions than the log holds."""
    body = events.encode(event_of(2, "left", "PASS"))
    for _ in range(DECIDED_SLOTS + 100):
        line.log.mark_committed(line.log.append(body))


def test_what_was_overwritten_while_the_lane_was_away_is_flagged(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        line.decide(1)
        assert plc.take().trigger_id == 1
        line.child.kill(signal.SIGKILL)
        line.child.reap(time.monotonic())
        fill_round(line)
        line.start()
        # The oldest that are still there are shown, the others are counted, and one at least of those nobody can count.
        seen = plc.wait_for(lambda seen: seen.overruns == DECIDED_SLOTS - DEPTH + 1, "all of them to be counted")
        assert seen.overrun
        assert [plc.take().result_number for _ in range(DEPTH)] == list(range(2, DEPTH + 2))
        line.decide(3)
        assert plc.take().trigger_id == 3


def test_what_was_overwritten_while_the_lane_stood_still_is_flagged(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        line.child.kill(signal.SIGSTOP)
        fill_round(line)
        line.child.kill(signal.SIGCONT)
        plc.wait_for(lambda seen: seen.overruns == DECIDED_SLOTS - DEPTH + 1, "all of them to be counted")
        assert [plc.take().result_number for _ in range(DEPTH)] == list(range(1, DEPTH + 1))
        line.decide(3)
        assert plc.take().trigger_id == 3


def test_a_trigger_that_publish_dies_over_is_told_once_it_is_known(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        plc.identify("A1")
        plc.set("trigger", True)
        line.asked()
        line.relink()
        # Nobody knows, so the PLC is told neither: it is busy.
        seen = plc.wait("busy")
        assert not (seen.trigger_ack or seen.missed or seen.ready)
        line.decide(5, unit_identifier="A1", verdict="ERROR")
        assert plc.wait("trigger_ack").accepted_trigger_id == 5
        plc.set("trigger", False)
        assert plc.take().trigger_id == 5
        # And one that was not accepted is told as missed when that is sure.
        plc.set("trigger", True)
        line.asked()
        line.relink()
        assert plc.wait("missed").refusal == Refusal.LOST
        until(lambda: line.metric("goldline_lane_missed_triggers_total") == 1, "it to be counted")
        plc.wait("ready")


def test_a_trigger_that_another_lane_has_asked_for_is_not_its_own(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        plc.set("trigger", True)
        line.asked()
        line.relink()
        plc.wait("busy")
        # None of the three has an identifier.
        line.decide(5, trigger_lane="opcua")
        line.decide(6, trigger_lane=None, trigger_source="line")
        line.decide(7)
        assert plc.wait("trigger_ack").accepted_trigger_id == 7
        assert [plc.take().trigger_id for _ in range(3)] == [5, 6, 7]


def test_a_trigger_is_busy_until_its_result_is_there_however_long_publish_is_away(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        plc.set("trigger", True)
        line.accept(5)
        plc.wait("trigger_ack")
        line.hang()
        time.sleep((DEADLINE_S + GRACE_NS / 1e9) * 1.1)
        seen = plc.inputs()
        assert (seen.busy, seen.buffers_left, seen.valid) == (True, DEPTH - 1, False)
        line.decide(5, verdict="ERROR", on_time=False)
        assert not plc.wait("valid").busy


def test_a_trigger_is_not_given_up_while_its_decision_waits_behind_many(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        plc.identify("A1")
        plc.set("trigger", True)
        line.asked()
        line.relink()
        plc.wait("busy")
        time.sleep(0.2)
    # Dead while the time for the trigger's answer runs out, and while it is decided.
    line.child.kill(signal.SIGKILL)
    line.child.reap(time.monotonic())
    line.unlink()
    time.sleep(2 * GRACE_NS / 1e9)
    for number in range(1, 2 * DECISIONS_A_TURN):
        line.decide(number, verdict="FAIL")
    line.decide(9999, unit_identifier="A1", verdict="FAIL")
    line.start()
    with Plc(line.port) as plc:
        seen = plc.wait_for(lambda seen: not seen.busy, "the trigger's fate to be known")
        assert (seen.trigger_ack, seen.missed, seen.accepted_trigger_id) == (True, False, 9999)
