"""goldline.service under a systemd of its own as PID 1: what the unit promises, shown on the installed thing."""

import contextlib
import json
import os
import re
import resource
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import client, key_files, rehearsal
from edge.errors import GoldlineError
from edge.keys import ClientKeys
from tests import service_faults
from tests.booted import Device, booted
from tests.debian_root import debian, dependencies, wheel
from tests.installed import (
    SYSTEMD,
    WITHIN_S,
    Installed,
    Orders,
    add_station,
    assert_heard_as_recorded,
    assert_nothing_lost,
    lay_out,
)
from tests.stations import CAMERA, TRIGGERED, Listener, record

pytestmark = pytest.mark.timeout(300)
# A free-running one beside the one that is triggered, at a rate that leaves the machine to the faults.
CAMERAS = {"left": TRIGGERED, "right": CAMERA | {"rate_hz": 5.0}}
EXPOSURE = 1.5
PROBE = Path(__file__).with_name("sandbox_probe.py")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """With Goldline installed, on a private network as cameras are on, and a way into the world."""
    with booted(dependencies(), debian()) as device:
        device.install(wheel(tmp_path_factory.mktemp("wheel")))
        lay_out(device)
        device.run("ip", "link", "add", "cameras", "type", "veth", "peer", "name", "other-end")
        for end in ("cameras", "other-end"):
            device.run("ip", "link", "set", end, "up")
        device.run("ip", "address", "add", "192.168.77.1/24", "dev", "cameras")
        device.run("ip", "route", "add", "default", "dev", "cameras")
        yield device


@pytest.fixture(scope="module")
def station(device: Device, taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The device's first station, started."""
    station = add_station(device, tmp_path_factory.mktemp("station"), taught, CAMERAS)
    station.start()
    return station


@pytest.fixture
def listener(station: Installed) -> Iterator[Listener]:
    station.start()
    listener = station.listen()
    yield listener
    listener.stop()


def exposure(device: Device, unit: str) -> float:
    """What systemd says of the unit as it runs: 0 is closed, 10 is open."""
    seen = device.run("systemd-analyze", "security", "--no-pager", unit)
    return float(seen.rpartition(f"level for {unit}: ")[2].split()[0])


def test_it_is_started_when_it_has_said_that_it_is_ready(station: Installed, listener: Listener) -> None:
    listener.wait_for(5)
    assert station.is_active
    assert station.show("StatusText").startswith("inspecting trunk")
    assert station.show("NRestarts") == "0"
    said = station.device.run("journalctl", "--unit=goldline", "--output=json", "--no-pager").splitlines()
    assert {json.loads(line)["SYSLOG_IDENTIFIER"] for line in said} <= {"goldline", "systemd"}
    assert "Traceback" not in station.device.journal(station.unit)


def test_it_is_closed_as_far_as_the_unit_says(station: Installed) -> None:
    assert exposure(station.device, station.unit) <= EXPOSURE


def test_the_nats_server_beside_it_runs_as_closed(device: Device) -> None:
    config = device.path("/etc/goldline-nats/leaf.conf")
    config.parent.mkdir()
    config.write_text('listen: "127.0.0.1:4222"\njetstream { store_dir: "/var/lib/goldline-nats" }\n')
    device.run("systemctl", "start", "goldline-nats")

    def greeting() -> bytes:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 4222)) as server:
            return server.recv(1000)
        return b""

    device.wait(lambda: b'"jetstream":true' in device.in_its_network(greeting), "it answers with its store", WITHIN_S)
    assert exposure(device, "goldline-nats.service") <= EXPOSURE
    device.run("systemctl", "stop", "goldline-nats")
    assert device.unit("goldline-nats", "Result") == "success"


def test_what_cameras_and_accelerators_need_is_open_and_the_rest_is_closed(device: Device) -> None:
    shutil.copyfile(PROBE, device.path("/opt/probe.py"))
    # This machine has neither cameras nor an accelerator: input devices stand in for them.
    device.run("mknod", "-m", "660", "/dev/camera", "c", "13", "1000")
    device.run("chgrp", "video", "/dev/camera")
    device.run("mknod", "-m", "666", "/dev/other", "c", "10", "200")
    for folder in ("/etc/goldline/probe", "/etc/systemd/system/goldline@probe.service.d"):
        device.run("mkdir", "-p", folder)
    device.path("/etc/systemd/system/goldline@probe.service.d/probe.conf").write_text(
        "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nDeviceAllow=char-input rw\n"
        "ExecStart=\nExecStart=/opt/goldline/bin/python /opt/probe.py\nStandardOutput=file:/run/probe.json\n"
    )
    device.run("systemctl", "daemon-reload")
    device.run("systemctl", "start", "goldline@probe")
    found = json.loads(device.path("/run/probe.json").read_text())
    assert found.pop("user") > 0
    assert found.pop("capabilities") == "0000000000000000"
    assert found.pop("states it sees") == ["goldline-probe"]
    # All that the unit asks for, or that this machine has to give.
    assert found.pop("descriptors") in (65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    # The device is let through, and has no driver.
    assert found.pop("open a camera") in ("ENODEV", "ENXIO", "yes")
    is_open = {name for name, answer in found.items() if answer == "yes"}
    assert is_open == {
        "write its state", "write its runtime", "read the processor's description", "sealed memory", "locked memory",
        "executable memory", "lower its limits", "be nicer", "be idle at the disk",
        "choose processors", "keep its policy", "netlink", "send to itself", "send to a private network",
        "send to a camera without address", "look for cameras",
    }  # fmt: skip
    assert found["send to the world"] == found["open another device"] == found["real time"] == "EPERM"
    assert found["write /etc"] == found["write its program"] == "EROFS"


def test_a_worker_that_hangs_is_replaced_and_the_service_stays(station: Installed, listener: Listener) -> None:
    before = station.pid
    with Orders(station, "left", 0.1) as orders:
        orders.wait_for(5)
        service_faults.hang_worker(station)
        orders.wait_for(5)
    assert station.pid == before
    assert_nothing_lost(station, listener, orders)


def test_a_killed_service_is_ready_again_and_no_trigger_is_lost_or_answered_twice(
    station: Installed, listener: Listener
) -> None:
    with Orders(station, "left", 0.05) as orders:
        orders.wait_for(10)
        service_faults.kill_supervisor(station)
        orders.wait_for(10)
    assert_nothing_lost(station, listener, orders)


def test_a_supervisor_that_hangs_is_restarted_by_the_watchdog(station: Installed, listener: Listener) -> None:
    with Orders(station, "left", 0.1) as orders:
        orders.wait_for(5)
        took_s = service_faults.hang_supervisor(station)
        orders.wait_for(5)
    # It was fed less than a second before, and is killed two seconds after.
    assert took_s > 9
    said = station.device.journal(station.unit)
    assert "Watchdog timeout" in said and "in turn" in said, "it did not say where it hung"
    assert_nothing_lost(station, listener, orders)


def test_a_reload_is_over_when_systemctl_returns_and_fails_visibly_when_it_is_rejected(
    station: Installed, listener: Listener
) -> None:
    file, before = station.device.path(station.file), station.pid
    text = file.read_text()
    with Orders(station, "left", 0.05) as orders:
        file.write_text(text.replace("deadline_ms = 2000.0", "deadline_ms = 1900.0"))
        station.device.run("systemctl", "reload", station.unit)
        assert "trigger.deadline_ms" in station.device.journal(station.unit)
        file.write_text(text.replace('source = "simulated"', 'source = "imagined"'))
        assert "failed" in station.device.run("systemctl", "reload", station.unit, code=1)
        assert "imagined" in station.device.journal(station.unit)
        file.write_text(text)
        station.device.run("systemctl", "reload", station.unit)
        orders.wait_for(5)
    assert station.is_active and station.pid == before
    assert station.show("StatusText").startswith("inspecting trunk")
    assert_nothing_lost(station, listener, orders)


def test_a_stop_takes_less_than_ten_seconds_and_a_start_that_cannot_be_is_tried_again_until_it_is_mended(
    station: Installed, listener: Listener
) -> None:
    with Orders(station, "left", 0.02) as orders:
        orders.wait_for(20)
        took_s = service_faults.stop(station)
    assert took_s < 10
    assert station.show("ActiveState") == "inactive" and station.show("Result") == "success"
    station.fetch_record()
    kept = {event.data.trigger_id for event in record(station.config)}
    assert set(orders.accepted) <= kept
    # Who stops a station has no use for the triggers of before; who restarts it has.
    assert not station.device.path("/run/goldline").exists()
    file = station.device.path(station.file)
    text = file.read_text()
    file.write_text(text.replace('product = "trunk"', 'product = "trunck"'))
    station.device.run("systemctl", "start", station.unit, code=1)
    assert "cannot run: " in station.show("StatusText") and "trunck" in station.show("StatusText")
    file.write_text(text)
    station.device.wait(lambda: station.is_active, "it is started by itself")
    assert_nothing_lost(station, listener, orders)


@pytest.fixture(scope="module")
def left(device: Device, taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The device's second station: an instance of the template. Not started."""
    return add_station(device, tmp_path_factory.mktemp("left"), taught, {"left": TRIGGERED}, "left")


def test_a_second_station_has_its_own_everything(
    station: Installed, left: Installed, device: Device, listener: Listener
) -> None:
    left.start()
    other = left.listen()
    with Orders(left, "left", 0.1) as orders:
        orders.wait_for(5)
        listener.wait_for(2)
        assert left.get("/readyz")[0] == station.get("/readyz")[0] == 200
        before = station.pid
        service_faults.kill_supervisor(left)
        orders.wait_for(2)
    assert_nothing_lost(left, other, orders)
    other.stop()
    left.stop()
    # The other one never noticed, and its triggers' logs are where they were.
    listener.wait_for(2)
    assert station.pid == before
    assert device.path("/run/goldline/triggers").exists()
    assert not device.path("/run/goldline-left").exists()
    assert_heard_as_recorded(station, listener)
    assert exposure(device, left.unit) <= EXPOSURE


def drop_in(station: Installed, lines: str) -> None:
    """`systemctl edit`, and a restart with it."""
    folder = station.device.path(f"/etc/systemd/system/{station.unit}.d")
    folder.mkdir(exist_ok=True)
    (folder / "override.conf").write_text(f"[Service]\n{lines}\n")
    station.device.run("systemctl", "daemon-reload")
    station.device.run("systemctl", "restart", station.unit)


def test_a_station_can_run_in_real_time_on_processors_of_its_own(left: Installed) -> None:
    example = (SYSTEMD / "goldline.service.d" / "realtime.conf.example").read_text()
    processor = min(os.sched_getaffinity(0))
    lines = example.partition("[Service]")[2].replace("CPUAffinity=1-3", f"CPUAffinity={processor}")
    drop_in(left, re.sub(r"^# (\w+=)", r"\1", lines, flags=re.MULTILINE))
    folder = left.device.path("/proc")
    threads = [thread for pid in left.workers().values() for thread in (folder / str(pid) / "task").iterdir()]
    fields = [thread.joinpath("stat").read_text().rpartition(")")[2].split() for thread in threads]
    # proc(5): nice is the 19th field, the policy the 41st (2: SCHED_RR); the archive's writer has the least of all.
    policies = Counter((int(each[38]), int(each[16])) for each in fields)
    assert set(policies) == {(2, -10), (0, 19)} and policies[0, 19] == 1
    assert {
        thread.joinpath("status").read_text().partition("Cpus_allowed_list:\t")[2].split()[0] for thread in threads
    } == {str(processor)}
    left.stop()


def test_the_stations_key_can_be_a_credential_encrypted_or_not(left: Installed, tmp_path: Path) -> None:
    device, file = left.device, left.device.path(left.file)
    own = key_files.new_station_key(tmp_path / "keys", is_replaced=False)
    keys = ClientKeys(server_public=own.public, public=own.public, secret=own.secret)
    shutil.copyfile(tmp_path / "keys" / "station.key", device.path("/root/station.key"))
    # Its state has no key: what the station proves itself with can only come from systemd.
    file.write_text(file.read_text() + '\n[security]\ncurve = "always"\n')
    address = rehearsal.settings(left.config)["events"]["command"]
    order = {"verb": "trigger", "camera": "left"}
    drop_in(left, "LoadCredential=goldline-curve:/root/station.key")
    assert device.in_its_network(lambda: client.ask(address, order, WITHIN_S, keys))["accepted"]
    encrypted = "/etc/goldline/left/curve.cred"
    device.run("systemd-creds", "encrypt", "--with-key=host", "--name=goldline-curve", "/root/station.key", encrypted)
    device.run("shred", "-u", "/root/station.key")
    assert own.secret not in device.path(encrypted).read_text()
    drop_in(left, f"LoadCredentialEncrypted=goldline-curve:{encrypted}")
    assert device.in_its_network(lambda: client.ask(address, order, WITHIN_S, keys))["accepted"]
    with pytest.raises(GoldlineError, match="no answer"):
        device.in_its_network(lambda: client.ask(address, order, 1.0))
