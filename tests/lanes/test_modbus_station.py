"""A PLC at a whole station: every trigger it gives has one result, that of its own part, whoever dies meanwhile."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge.lanes.codes import Refusal
from edge.rehearsal import Daemon, free_ports
from tests.lanes.opcua_bench import Peer
from tests.lanes.plc import Inputs, Plc, until
from tests.stations import TRIGGERED, assert_each_answered_once, record, running, station

pytestmark = pytest.mark.timeout(300)
CYCLES = 200
# Parts while the record cannot be written.
DURING = 6
VICTIMS = ("lane@modbus", "publish", "inspection", "capture@left")
CODES = {"PASS": 1, "FAIL": 2, "ERROR": 3}


def with_plc(taught: Path, directory: Path) -> tuple[Path, int]:
    """A station with a Modbus lane, and the lane's port."""
    config = station(taught, directory, {"left": TRIGGERED})
    (port,) = free_ports(1)
    with config.open("a") as file:
        file.write(f'\n[lanes.modbus]\nlisten = "127.0.0.1:{port}"\n')
    return config, port


class Program:
    """What runs in the PLC: one part after the other."""

    def __init__(self, plc: Plc) -> None:
        self.plc = plc
        # Accepted trigger ids with their unit identifiers, and the result that was taken for each.
        self.accepted: dict[int, str] = {}
        self.results: list[Inputs] = []
        self.missed = 0

    def cycle(self, number: int) -> None:
        unit = f"PART-{number:05}"
        told = self.plc.trigger(unit)
        if told.missed:
            self.missed += 1
            return
        self.accepted[told.accepted_trigger_id] = unit
        result = self.plc.take()
        assert result.trigger_id == told.accepted_trigger_id, "a result of another part"
        assert result.unit_identifier == unit
        self.results.append(result)


@contextmanager
def disk_that_hangs(config: Path) -> Iterator[None]:
    """Nothing can be written to the record: somebody else has locked it. What was on its way is there first."""
    path = config.parent / "state" / "outbox.sqlite3"
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def compare(program: Program, config: Path) -> None:
    """What the PLC was told is what the record says: of each accepted trigger, once, and of no other."""
    taken = {one.trigger_id: one for one in program.results}
    assert len(taken) == len(program.results) == len(program.accepted)
    kept = {event.data.trigger_id: event.data for event in record(config)}
    assert set(kept) == set(taken), "a trigger without a result, or a result nobody asked for"
    for trigger_id, shown in taken.items():
        data = kept[trigger_id]
        assert shown.result == CODES[data.verdict]
        assert data.unit_identifier == program.accepted[trigger_id]
        assert data.trigger_source == "plc"
        assert shown.good <= (data.verdict == "PASS" and data.on_time)
    numbers = [one.result_number for one in program.results]
    assert numbers == list(range(1, len(numbers) + 1))


def kill_soon(daemon: Daemon, victim: str, after_s: float) -> threading.Timer:
    """Kill this process in a moment, once it is there."""
    until(lambda: victim in daemon.workers(), f"{victim} to be there")
    timer = threading.Timer(after_s, lambda: os.kill(daemon.workers()[victim], signal.SIGKILL))
    timer.start()
    return timer


def test_two_hundred_parts(taught: Path, tmp_path: Path) -> None:
    config, port = with_plc(taught, tmp_path)
    with running(config) as (daemon, listener):
        with Plc(port) as plc:
            program = Program(plc)
            for number in range(CYCLES - DURING):
                program.cycle(number)
            with disk_that_hangs(config):
                before = len(record(config))
                for number in range(CYCLES - DURING, CYCLES):
                    program.cycle(number)
                assert len(record(config)) == before, "the record was not held up"
            assert program.missed == 0
            listener.wait_for(CYCLES - len(listener.events))
        assert daemon.total("goldline_lane_results_total", lane="modbus") == CYCLES
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 10
    compare(program, config)
    assert {one.result for one in program.results} >= {1, 2}
    assert_each_answered_once(config, listener)


def test_kills_lose_no_result_and_mix_up_none(taught: Path, tmp_path: Path) -> None:
    config, port = with_plc(taught, tmp_path)
    with running(config) as (daemon, _), Plc(port) as plc:
        program = Program(plc)
        for number in range(40):
            if number % 4 == 2:
                # In the middle of a trigger, at a different point of it each time.
                victim = VICTIMS[number // 4 % len(VICTIMS)]
                timer = kill_soon(daemon, victim, after_s=0.01 + 0.002 * (number // 4))
                program.cycle(number)
                timer.join()
            else:
                program.cycle(number)
        for victim in VICTIMS:
            assert daemon.total("goldline_worker_restarts_total", worker=victim, cause="signal") >= 2
        assert len(program.results) >= 30
    compare(program, config)


def test_a_stopped_process_is_seen(taught: Path, tmp_path: Path) -> None:
    config, port = with_plc(taught, tmp_path)
    with running(config) as (daemon, _), Plc(port) as plc:
        program = Program(plc)
        program.cycle(0)
        stopped = daemon.workers()["publish"]
        os.kill(stopped, signal.SIGSTOP)
        plc.wait_for(lambda seen: not seen.ready, "ready to fall")
        life = plc.station().life
        time.sleep(0.3)
        assert (plc.station().life, plc.station().alive) == (life, False)
        os.kill(stopped, signal.SIGCONT)
        plc.wait("ready", "camera_up")
        until(lambda: plc.station().life != life, "the life counter to run again")
        program.cycle(1)
        # A camera's process that hangs is replaced; until its camera streams again, nothing is ready.
        os.kill(daemon.workers()["capture@left"], signal.SIGSTOP)
        plc.wait_for(lambda seen: not seen.camera_up and not seen.ready, "the camera to be gone")
        plc.wait("ready", "camera_up")
        program.cycle(2)
        assert program.results[2].result in (1, 2)
    compare(program, config)


def test_a_plc_is_not_told_of_the_trigger_that_another_lane_asked_for(taught: Path, tmp_path: Path) -> None:
    config, port = with_plc(taught, tmp_path)
    (other_port,) = free_ports(1)
    with config.open("a") as file:
        file.write(f'\n[lanes.opcua]\nlisten = "127.0.0.1:{other_port}"\n')
    other = Peer(f"opc.tcp://127.0.0.1:{other_port}/goldline", tmp_path / "pki")
    with running(config) as (daemon, _), Plc(port) as plc:
        ask_over_a_standstill(plc, daemon)
        plc.wait_for(lambda seen: not seen.camera_up, "publish to be missed")
        os.kill(daemon.workers()["publish"], signal.SIGKILL)
        plc.wait("camera_up")
        asked = until(lambda: trigger_id_of(other), "a publish that takes triggers")
        # Both without an identifier; what this PLC asked for died with the publish that had not read it.
        told = plc.wait_for(lambda seen: seen.trigger_ack or seen.missed, "the trigger's fate")
        assert (told.trigger_ack, told.refusal, told.accepted_trigger_id) == (False, Refusal.LOST, 0)
        plc.take()
    lanes = {event.data.trigger_id: event.data.trigger_lane for event in record(config)}
    # More than one where an answer came too late for the client.
    assert asked in lanes
    assert set(lanes.values()) == {"opcua"}


def ask_over_a_standstill(plc: Plc, daemon: Daemon) -> None:
    """Publish stands still with a trigger's order before it. On a busy machine the lane may see that before the order."""

    def asked() -> bool:
        plc.wait("ready")
        os.kill(daemon.workers()["publish"], signal.SIGSTOP)
        plc.set("trigger", True)
        if plc.wait_for(lambda seen: seen.busy or seen.missed, "the order to be sent").busy:
            return True
        plc.set("trigger", False)
        os.kill(daemon.workers()["publish"], signal.SIGCONT)
        return False

    until(asked, "an order that publish does not read")


def trigger_id_of(other: Peer) -> int:
    """Of a trigger that this client of another lane asks for; 0: it was refused."""
    said = other.call("Trigger", "left", "", "")
    return int(said["outputs"][0][1]) if said["status"] == "Good" else 0
