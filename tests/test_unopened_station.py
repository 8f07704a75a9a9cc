"""A whole station whose state directory cannot be written when it starts: it runs, says why, and takes parts by itself later."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from edge import client, rehearsal
from edge.rehearsal import free_ports
from tests.lanes.plc import Plc, until
from tests.small_disk import read_only
from tests.stations import CAMERA, TRIGGERED, record, station

pytestmark = pytest.mark.timeout(300)


def test_it_starts_on_a_read_only_disk_and_goes_on_by_itself_when_it_is_not(taught: Path, tmp_path: Path) -> None:
    config = station(taught, tmp_path, {"left": TRIGGERED, "right": CAMERA})
    (port,) = free_ports(1)
    text = config.read_text().replace('state_dir = "state"', 'state_dir = "state"\nruntime_dir = "run"')
    config.write_text(f'{text}\n[lanes.modbus]\nlisten = "127.0.0.1:{port}"\nchannels = ["left"]\n')
    command = rehearsal.settings(config)["events"]["command"]

    def state() -> dict:
        return client.ask(command, {"verb": "state"}, 20.0)

    with ExitStack() as protection:
        protection.enter_context(read_only(tmp_path / "state"))
        with rehearsal.running(config) as daemon, Plc(port) as plc:
            until(lambda: all(camera["is_up"] for camera in state()["cameras"].values()), "cameras stream")
            stands = state()
            (alarm,) = (one for one in stands["alarms"] if one["name"] == "disk_failed")
            assert stands["state"] == "Error"
            assert f"{tmp_path / 'state'} is on a file system that is mounted read-only" in alarm["text"]
            assert client.ask(command, {"verb": "trigger", "camera": "left"}, 20.0)["error"] == alarm["text"]
            assert not plc.inputs().ready
            taken = daemon.total("goldline_frames_captured_total", camera="right")
            until(lambda: daemon.total("goldline_frames_captured_total", camera="right") > taken + 20, "pictures")
            assert daemon.total("goldline_worker_restarts_total") == 0
            protection.close()
            assert plc.trigger("PART-1").accepted_trigger_id
            assert plc.take().unit_identifier == "PART-1"
            assert daemon.total("goldline_worker_restarts_total", worker="publish", cause="exit") == 1
            until(lambda: any(event.data.unit_identifier == "PART-1" for event in record(config)), "it is on disk")
            until(lambda: not state()["alarms"], "nothing is wrong any more")
            assert daemon.stop() == 0
