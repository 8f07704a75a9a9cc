"""The Modbus lane as a PLC meets it: a real process, another maker's clients, and a publish that misbehaves."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge import events
from edge.lanes import modbus_map as layout
from edge.lanes.channels import DECISIONS_A_TURN
from edge.lanes.codes import Refusal
from edge.lanes.modbus_guests import MOST_CONNECTIONS
from edge.lanes.modbus_map import BITS, HOLDING, INPUTS, MIRROR
from edge.lanes.result_lane import DEPTH, GRACE_NS
from edge.messages import Failed
from edge.trigger_log import DECIDED_SLOTS
from edge.worker import EXIT_CANNOT_RUN
from tests.lanes.lane_line import LaneLine, event_of, lane_lines
from tests.lanes.plc import PATIENCE_S, Plc, until
from tests.needs import needs_program

Make = Callable[..., LaneLine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with lane_lines(tmp_path) as making:
        yield making


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
        plc.wait("ready")


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


# --- the wire


def test_a_plc_that_has_holding_registers_alone(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        line.decide(9)
        plc.wait("valid")
        block = plc.read_holding(HOLDING + MIRROR, INPUTS)
        assert block == plc.read_inputs(INPUTS, INPUTS)
        client = plc._client
        # Acknowledge and read in one exchange: the answer shows it gone already.
        answer = client.readwrite_registers(
            read_address=HOLDING + MIRROR, read_count=2, write_address=HOLDING, values=[0b10]
        )
        assert answer.registers[1] == 0
        assert client.read_coils(BITS, count=4).bits[:4] == [False, True, False, False]
        assert not plc.status("valid")


def test_what_is_not_there_is_refused(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        client = plc._client
        plc.wait("ready")
        asked = [
            client.read_input_registers(2 * INPUTS - 1, count=2),
            client.read_holding_registers(2 * HOLDING, count=1),
            client.read_discrete_inputs(2 * BITS, count=1),
            client.write_coil(0, True),
            client.write_coil(BITS + len(layout.CHANNEL_CONTROLS), True),
            client.write_coils(BITS, [True] * BITS),
            client.write_register(HOLDING + MIRROR, 1),
            client.write_registers(HOLDING + layout.IDENTIFIER_AT, [0] * 17),
        ]
        assert [answer.exception_code for answer in asked] == [2] * len(asked)
        assert client.mask_write_register(address=HOLDING).exception_code == 1
        assert plc.inputs().ready


def test_trigger_and_identifier_in_one_write(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        words = [1, *[7] * (layout.IDENTIFIER_AT - 1), *layout.words_of(b"A-1".ljust(32, b"\0"))]
        assert not plc._client.write_registers(HOLDING, words).isError()
        assert line.accept(5)["unit_identifier"] == "A-1"
        assert plc.read_holding(HOLDING, layout.IDENTIFIER_AT) == [1] + [0] * (layout.IDENTIFIER_AT - 1)


def test_mbpoll_reads_and_writes(make: Make) -> None:
    mbpoll = str(needs_program("mbpoll", "mbpoll"))
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        line.decide(77_777, verdict="FAIL")
        plc.wait("valid")
        base = [mbpoll, "-m", "tcp", "-p", str(line.port), "-0", "-1", "-q"]
        read = [*base, "-t", "3", "-r", str(INPUTS), "-c", "6", "127.0.0.1"]
        said = subprocess.run(read, capture_output=True, text=True, timeout=60, check=True).stdout
        words = [int(row.split()[1]) for row in said.splitlines() if row.startswith("[")]
        assert words[1:4] == [2, 0, 1]
        assert words[4] << 16 | words[5] == 77_777
        write = [*base[:-2], "-t", "0", "-r", str(BITS + 1), "127.0.0.1", "1"]
        subprocess.run(write, capture_output=True, text=True, timeout=60, check=True)
        plc.wait_for(lambda seen: not seen.valid, "valid to fall")


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


def test_as_many_connect_as_may(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        others = [socket.create_connection(("127.0.0.1", line.port), timeout=30) for _ in range(MOST_CONNECTIONS - 1)]
        with socket.create_connection(("127.0.0.1", line.port), timeout=30) as one_too_many:
            assert hung_up(one_too_many)
        assert plc.inputs().ready
        for other in others:
            other.close()


def test_only_who_is_on_the_list_is_answered(make: Make) -> None:
    line = make(allow=["127.0.0.2/32"])
    until(lambda: reaches(line.port, "127.0.0.2"), "the lane to answer who is on its list")
    assert not reaches(line.port, "127.0.0.1")


def test_an_address_that_is_taken_is_named(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        line = make(listen=listen)
        assert line.child.popen is not None
        assert line.child.popen.wait(PATIENCE_S) == EXIT_CANNOT_RUN
    assert line.child.control is not None
    assert line.child.control.receive() == Failed(problem=f"[lanes.modbus] listen = {listen}: Address already in use")


def reaches(port: int, source: str) -> bool:
    """Whether a request from this address is answered."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0)) as peer:
            peer.sendall(b"\0\1\0\0\0\6\1\4\0\0\0\1")
            return len(peer.recv(100)) == 11
    except OSError:
        return False


def hung_up(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True
