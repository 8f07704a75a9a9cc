"""The Modbus lane as a PLC meets it: a real process, another maker's clients, and a publish that misbehaves."""

import signal
import socket
import time

import pytest

from edge.lanes.codes import Refusal
from edge.lanes.modbus_map import HOLDING
from edge.lanes.result_lane import DEPTH
from tests.lanes.lane_line import Make
from tests.lanes.plc import Plc, hung_up, until


def test_a_trigger_and_its_result(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        plc.identify("A17")
        plc.set("trigger", True)
        assert line.accept(70_001) == {"verb": "trigger", "camera": "left", "unit_identifier": "A17"}
        told = plc.wait("trigger_ack")
        assert (told.accepted_trigger_id, told.busy, told.buffers_left) == (70_001, True, DEPTH - 1)
        plc.set("trigger", False)
        line.decide(70_001, unit_identifier="A17", review=False)
        result = plc.take()
        assert result.good
        assert (result.result, result.reason, result.result_number, result.trigger_id) == (1, 0, 1, 70_001)
        assert (result.score, result.unit_identifier, result.busy) == (250, "A17", False)
        assert 5 <= result.processing_ms < 1000
        assert result.settings == plc.station().settings != 0
        gone = plc.inputs()
        assert (gone.good, gone.result, gone.trigger_id, gone.result_number) == (False, 0, 0, 0)


@pytest.mark.parametrize(("verdict", "code", "reason"), [("PASS", 1, 0), ("FAIL", 2, 0), ("ERROR", 3, 1)])
def test_only_a_fresh_pass_is_good(make: Make, verdict: str, code: int, reason: int) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        line.decide(1, verdict=verdict)
        line.decide(2, verdict=verdict, age_s=5.0)
        line.decide(3, verdict=verdict, on_time=False)
        results = [plc.take() for _ in range(3)]
        assert [(one.result, one.reason) for one in results] == [(code, reason)] * 3
        assert [one.late for one in results] == [False, True, True]
        assert [one.good for one in results] == [verdict == "PASS", False, False]


def test_results_wait_and_a_ninth_is_let_go(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        for trigger_id in range(1, DEPTH + 2):
            line.decide(trigger_id)
        full = plc.wait("overrun")
        assert (full.overruns, full.buffers_left, full.ready) == (1, 0, False)
        plc.set("trigger", True)
        assert plc.wait("missed").refusal == Refusal.NO_BUFFER
        plc.set("trigger", False)
        seen = plc.wait_for(lambda seen: not seen.missed, "the bit to fall with the trigger's")
        assert (seen.error, seen.overrun) == (True, True)
        plc.set("clear", True)
        assert not plc.wait_for(lambda seen: not seen.overrun, "the flag to fall").error
        assert [plc.take().trigger_id for _ in range(DEPTH)] == list(range(1, DEPTH + 1))
        line.decide(50)
        after = plc.take()
        assert (after.trigger_id, after.result_number) == (50, DEPTH + 1)


def test_a_killed_lane_shows_the_same_result_with_the_same_number(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        for trigger_id in (1, 2, 3):
            line.decide(trigger_id)
        before = plc.wait_for(lambda seen: seen.buffers_left == DEPTH - 3, "all three to be read")
        for _ in range(2):
            line.kill()
            after = plc.wait("valid")
            assert (after.trigger_id, after.result_number) == (before.trigger_id, before.result_number) == (1, 1)
            assert after.completed == before.completed
        plc.set("ack", True)
        plc.wait_for(lambda seen: not seen.valid, "valid to fall")
        # The acknowledgement stands; the lane comes up with it, and shows the next when it has fallen.
        line.kill()
        assert not plc.wait_for(lambda _: True, "an answer").valid
        plc.sturdily(lambda: plc.set("ack", False))
        assert plc.take().result_number == 2
        # Nor does a part get lost its name that was written before.
        plc.identify("W-17")
        line.kill()
        plc.wait("ready")
        plc.set("trigger", True)
        assert line.accept(5)["unit_identifier"] == "W-17"
        plc.set("trigger", False)
        # What is decided while it is dead is not lost.
        line.child.kill(signal.SIGKILL)
        line.decide(4)
        line.child.reap(time.monotonic())
        line.start()
        assert [plc.take().trigger_id for _ in range(2)] == [3, 4]


def test_a_plc_that_lost_its_power_goes_on_with_what_the_page_says(make: Make) -> None:
    line = make()
    with Plc(line.port) as before:
        before.wait("ready")
        before.set("trigger", True)
        line.accept(7)
        before.wait("trigger_ack")
        line.decide(7)
        before.wait("valid")
    with Plc(line.port) as plc:
        # As it was: the bit stands, and so does a result that nobody waits for any more.
        seen = plc.inputs()
        assert (seen.trigger_ack, seen.good, seen.trigger_id) == (True, True, 7)
        assert not plc._client.write_register(HOLDING, 0).isError()
        assert not plc.inputs().trigger_ack
        assert plc.take().trigger_id == 7
        assert not plc.inputs().valid
        plc.set("trigger", True)
        line.accept(8)
        assert plc.wait("trigger_ack").accepted_trigger_id == 8
        # A new connection, and what was written last once more: no second trigger.
        with Plc(line.port) as again:
            again.set("trigger", True)
            assert again.inputs().buffers_left == DEPTH - 1
        line.decide(8)
        assert plc.take().trigger_id == 8


def test_what_publish_does_not_beat_is_not_ready(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        until(lambda: plc.station().life > 1, "the life counter to run")
        line.hang()
        plc.wait_for(lambda seen: not seen.ready, "ready to fall")
        station = plc.station()
        assert not station.alive
        time.sleep(0.5)
        assert plc.station().life == station.life
        plc.set("trigger", True)
        assert plc.wait("missed").refusal == Refusal.STALE
        # What was decided before is a result all the same.
        line.decide(1)
        assert plc.take().good
        line.go_on()
        plc.wait("ready")
        until(lambda: plc.station().life > station.life, "the life counter to run again")


def test_a_station_that_does_not_execute_is_not_ready(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        for state, code in (("Halted", 2), ("Error", 6)):
            line.stand(state)
            plc.wait_for(lambda seen: not seen.ready, "ready to fall")
            assert (plc.station().state, plc.station().executes) == (code, False)
        line.stand("SingleExecution")
        plc.wait("ready")
        line.stand("ContinuousExecution", is_linked=False)
        assert not plc.wait_for(lambda seen: not seen.ready, "ready to fall").camera_up
        plc.set("trigger", True)
        assert plc.wait("missed").refusal == Refusal.CAMERA_DOWN


def test_a_refused_trigger_is_missed_and_the_log_says_why(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        plc.set("trigger", True)
        token, _ = line.asked()
        line.answer(token, accepted=False, error="the disk is full")
        missed = plc.wait("missed")
        assert (missed.refusal, missed.missed_triggers, missed.busy) == (Refusal.REFUSED, 1, False)
        assert line.stop() == 0
    assert "the disk is full" in "".join(capfd.readouterr())


def test_an_announcement(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        plc.identify("W-0099")
        plc.set("announce", True)
        token, order = line.asked()
        assert order == {"verb": "announce", "camera": "left", "unit_identifier": "W-0099"}
        assert not plc.inputs().announce_ack
        line.answer(token, accepted=True, state="ContinuousExecution")
        plc.wait("announce_ack")
        plc.set("announce", False)
        plc.wait_for(lambda seen: not seen.announce_ack, "the bit to fall")


def test_channels_have_a_block_each(make: Make) -> None:
    line = make("left", "right", channels=("right", "left"))
    with Plc(line.port, 1) as first, Plc(line.port, 2) as second:
        first.wait("ready")
        line.decide(7, "left")
        assert second.take().trigger_id == 7
        assert not first.inputs().valid
        line.decide(8, "right")
        assert first.take().result_number == 1
        assert first.station().channels == 2
        assert first.station().cameras_up == 0b11


def test_garbage_and_strangers_keep_nobody_waiting(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        for garbage in (b"\0" * 600, b"GET / HTTP/1.1\r\n\r\n", b"\0\1\0\0\0\1\1", b"\xff" * 7):
            with socket.create_connection(("127.0.0.1", line.port), timeout=30) as stranger:
                stranger.sendall(garbage)
                assert hung_up(stranger), garbage
        half = socket.create_connection(("127.0.0.1", line.port), timeout=30)
        half.sendall(b"\0\1\0\0\0\6\1\4")
        assert plc.inputs().ready
        half.sendall(b"\0\0\0\1")
        assert half.recv(100) == b"\0\1\0\0\0\5\1\4\2" + plc.read_inputs(0, 1)[0].to_bytes(2, "big")
        half.close()
