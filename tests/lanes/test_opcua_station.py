"""An OPC UA client at a whole station: each job it starts has one result, that of its own part, whoever dies meanwhile."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edge import rehearsal
from edge.events import Event
from edge.rehearsal import PRODUCT, Daemon, free_ports
from tests.lanes.opcua_bench import Peer, Staying, until
from tests.needs import needs_module, needs_node
from tests.stations import TRIGGERED, record, station

pytestmark = pytest.mark.timeout(300)
START = "VisionStateMachine.AutomaticModeStateMachine.StartSingleJob"
# The station says no, and nothing was done: ask again. What else is no Good may have been done.
REFUSED = ("BadInvalidState", "BadResourceUnavailable")
# ResultReadyEventType. Others have a result's fields too, empty.
RESULT_READY = ";i=1024"
VERDICT, GOOD = 0, 3


def with_server(taught: Path, directory: Path) -> tuple[Path, int]:
    """A station that waits for jobs, and its lane's port."""
    config = station(taught, directory, {"left": TRIGGERED})
    (port,) = free_ports(1)
    with config.open("a") as file:
        file.write(f'\n[orders]\nautostart = false\n\n[lanes.opcua]\nlisten = "127.0.0.1:{port}"\n')
    return config, port


class Program:
    """What runs in the PLC: one job after the other, each for a part of its own."""

    def __init__(self, client: Staying) -> None:
        self.client = client
        # By unit identifier: the trigger that was accepted; None: nobody knows whether one was.
        self.started: dict[str, str | None] = {}

    def job(self) -> None:
        """Start one, and wait for its result. What may have been started is not started again."""
        unit = f"PART-{len(self.started):03}"
        while (answer := self._start(unit)).get("status") in REFUSED:
            time.sleep(0.1)
        self.started[unit] = answer["outputs"][0]["id"] if answer.get("status") == "Good" else None
        if trigger_id := self.started[unit]:
            until(lambda: trigger_id in self.results(), f"the result of {unit}")

    def _start(self, unit: str) -> dict[str, Any]:
        return self.client.call(START, None, {"PartIdDataType": {"id": unit}}, None, None, ["channel=left"])()

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """What was told, by trigger."""
        told: dict[str, list[dict[str, Any]]] = {}
        for event in [one for one in list(self.client.heard) if one.get("EventType", "").endswith(RESULT_READY)]:
            told.setdefault(event["ResultId"]["id"], []).append(event)
        return told


def while_dying(program: Program, daemon: Daemon, victim: str, after_s: float) -> None:
    """A job over which this process dies."""
    process = daemon.process.pid if victim == "supervisor" else daemon.workers()[victim]
    timer = threading.Timer(after_s, lambda: os.kill(process, signal.SIGKILL))
    timer.start()
    program.job()
    timer.join()


def untold(program: Program, config: Path) -> set[str]:
    """Triggers whose result is in the record, and was not told."""
    return {str(event.data.trigger_id) for event in record(config)} - set(program.results())


def compare(program: Program, kept: list[Event]) -> None:
    """What was started is what the record has, once each; what the record has was told, as it is."""
    by_unit: dict[str | None, list[str]] = {}
    for event in kept:
        by_unit.setdefault(event.data.unit_identifier, []).append(str(event.data.trigger_id))
    for unit, trigger_id in program.started.items():
        found = by_unit.pop(unit, [])
        assert found == [trigger_id] if trigger_id else len(found) <= 1
    assert not by_unit, "a result that nobody asked for"
    told = program.results()
    assert set(told) == {str(event.data.trigger_id) for event in kept}
    for event in kept:
        for one in told[str(event.data.trigger_id)]:
            assert one["PartId"]["id"] == event.data.unit_identifier
            assert one["ResultContent"][VERDICT] == event.data.verdict
            assert one["ResultContent"][GOOD] <= (event.data.verdict == "PASS" and event.data.on_time)


def test_each_job_has_its_result_whoever_is_killed(taught: Path, tmp_path: Path) -> None:
    needs_module("asyncua", "opcua")
    needs_node("node-opcua-client")
    config, port = with_server(taught, tmp_path)
    peer = Peer(f"opc.tcp://127.0.0.1:{port}/goldline", tmp_path / "pki")
    with rehearsal.running(config) as daemon, peer.staying() as client:
        program = Program(client)
        program.job()
        prepared = client.call("RecipeManagement.PrepareRecipe", {"RecipeIdExternalDataType": {"id": PRODUCT}}, None)()
        assert (prepared["status"], prepared["outputs"][0]["id"]) == ("Good", PRODUCT)
        # In the middle of an order, and while its part is judged.
        for victim, after_s in (("publish", 0.02), ("lane@opcua", 0.05), ("publish", 0.08)):
            while_dying(program, daemon, victim, after_s)
            program.job()
        assert daemon.total("goldline_worker_restarts_total", worker="publish", cause="signal") == 2
        assert daemon.total("goldline_worker_restarts_total", worker="lane@opcua", cause="signal") == 1
        killed = threading.Thread(target=while_dying, args=(program, daemon, "supervisor", 0.05))
        killed.start()
        daemon.process.wait()
        with rehearsal.running(config) as again:
            killed.join()
            program.job()
            until(lambda: not untold(program, config), "all that was decided is told")
            for trigger_id in program.results():
                one = client.call("ResultManagement.GetResultById", {"ResultIdDataType": {"id": trigger_id}}, 0)()
                assert one.get("status") == "Good", (trigger_id, one, program.started)
                assert one["outputs"][1]["resultId"]["id"] == trigger_id
            assert again.total("goldline_lane_orders_total", outcome="accepted") >= 1
            assert again.stop() == 0
        compare(program, record(config))
        assert sum(trigger_id is not None for trigger_id in program.started.values()) >= 5
