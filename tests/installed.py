"""Goldline installed on a booted device as its units expect it, with simulated cameras and a product taught before."""

import copy
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edge import client, rehearsal
from edge.errors import GoldlineError
from edge.rehearsal import Pages
from tests.booted import Device
from tests.debian_root import ROOT
from tests.stations import Listener, assert_balanced, assert_each_answered_once

SYSTEMD = ROOT / "systemd"
# For a machine that is busy with something else.
WITHIN_S = 120.0


def lay_out(device: Device) -> None:
    """The units and the system user, from this tree, as `goldline install` puts them."""
    for unit in SYSTEMD.glob("*.service"):
        shutil.copyfile(unit, device.path(f"/etc/systemd/system/{unit.name}"))
    shutil.copyfile(SYSTEMD / "sysusers.d" / "goldline.conf", device.path("/usr/lib/sysusers.d/goldline.conf"))
    device.run("systemd-sysusers")
    device.run("systemctl", "daemon-reload")


@dataclass(frozen=True)
class Installed:
    """One station of a device. `config` is a copy outside it, for the tests' listeners."""

    device: Device
    unit: str
    name: str
    config: Path

    @property
    def file(self) -> str:
        """Its configuration, as the device names it."""
        return f"/etc/goldline/{self.name}/config.toml" if self.name else "/etc/goldline/config.toml"

    @property
    def state(self) -> str:
        """Its state directory, as the device names it."""
        return f"/var/lib/goldline-{self.name}" if self.name else "/var/lib/goldline"

    def start(self) -> None:
        self.device.run("systemctl", "start", self.unit)

    def stop(self) -> None:
        self.device.run("systemctl", "stop", self.unit)

    def show(self, property_: str) -> str:
        return self.device.unit(self.unit, property_)

    @property
    def is_active(self) -> bool:
        return self.show("ActiveState") == "active"

    @property
    def pid(self) -> int:
        """Of the supervisor, as the device counts; 0 while it is down."""
        return int(self.show("MainPID") or 0)

    @property
    def restarts(self) -> int:
        """How often systemd restarted it."""
        return int(self.show("NRestarts"))

    def signal(self, name: str, pid: int) -> None:
        self.device.run("kill", f"-{name}", str(pid))

    def workers(self) -> dict[str, int]:
        """Process ids of its workers, as the device counts, by name."""
        out = self.device.run("ps", "--ppid", str(self.pid), "-o", "pid=,args=", "-ww", code=None)
        lines = (line.split() for line in out.splitlines() if "edge.worker" in line)
        return {words[words.index("edge.worker") + 1]: int(words[0]) for words in lines}

    def get(self, page: str) -> tuple[int, str]:
        """Status and body of a page of its metrics server."""
        return self.device.in_its_network(lambda: self._pages.get(page))

    def metrics(self) -> dict[str, float]:
        """Every sample, by its name with labels."""
        return self.device.in_its_network(self._pages.metrics)

    @property
    def _pages(self) -> Pages:
        return Pages(rehearsal.settings(self.config)["metrics"]["port"])

    def wait_ready(self) -> float:
        """Seconds until every worker is warm."""
        return self.device.wait(lambda: self.get("/readyz")[0] == 200, f"{self.unit} is ready", WITHIN_S)

    def listen(self) -> Listener:
        """Hears every event that it says from now on, over its restarts, until the device is gone."""
        listener = self.device.in_its_network(lambda: Listener(self.config))
        assert listener.joined.wait(WITHIN_S)
        return listener

    def fetch_record(self) -> None:
        """A copy of its outbox as it stands, to where the tests' own stations have theirs."""
        copy = f"/run/record-{self.name}.sqlite3"
        self.device.path(copy).unlink(missing_ok=True)
        vacuum = f"import sqlite3; sqlite3.connect('{self.state}/outbox.sqlite3').execute(\"VACUUM INTO '{copy}'\")"
        self.device.run("/opt/goldline/bin/python", "-c", vacuum)
        shutil.copyfile(self.device.path(copy), self.config.parent / "state" / "outbox.sqlite3")

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        address = rehearsal.settings(self.config)["events"]["command"]
        return self.device.in_its_network(lambda: client.ask(address, dict(order)))


def add_station(
    device: Device, folder: Path, taught: Path, cameras: Mapping[str, Mapping[str, Any]], name: str = ""
) -> Installed:
    """Configuration, recipe and reference set of one more station, which is not started. `name`: of an instance."""
    config = rehearsal.write_config(folder, cameras)
    runtime = f"/run/goldline-{name}" if name else "/run/goldline"
    station = Installed(device, f"goldline@{name}.service" if name else "goldline.service", name, config)
    text = config.read_text().replace(
        'state_dir = "state"', f'state_dir = "{station.state}"\nruntime_dir = "{runtime}"'
    )
    text = text.replace('"rehearsal"', f'"{name or "rehearsal"}"')
    config.write_text(text)
    place = device.path(station.file)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    shutil.copytree(taught / "pipelines", place.parent / "pipelines", dirs_exist_ok=True)
    shutil.copytree(taught / "state" / "references", device.path(station.state) / "references", symlinks=True)
    device.run("chown", "-R", "goldline:goldline", station.state)
    (folder / "state").mkdir()
    return station


class Orders:
    """Triggers a camera at a steady rate from a thread, whatever the answer, and keeps the ids that were accepted."""

    def __init__(self, station: Installed, camera: str, every_s: float) -> None:
        self.accepted: list[int] = []
        self.refusals: Counter[str] = Counter()
        self._station, self._camera, self._every_s = station, camera, every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._order, daemon=True)

    def _order(self) -> None:
        number = 0
        while not self._over.wait(self._every_s):
            number += 1
            order = {"verb": "trigger", "camera": self._camera, "unit_identifier": f"part-{number}"}
            try:
                answer = self._station.ask(order)
            except GoldlineError as problem:
                self.refusals[str(problem)[:80]] += 1
                continue
            if answer["accepted"]:
                self.accepted.append(answer["trigger_id"])
            else:
                self.refusals[str(answer)[:80]] += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def wait_for(self, count: int) -> None:
        """Until so many more were accepted."""
        wanted, until = len(self.accepted) + count, time.monotonic() + WITHIN_S
        while len(self.accepted) < wanted:
            assert time.monotonic() < until, (len(self.accepted), wanted, self.refusals)
            time.sleep(0.02)


def assert_heard_as_recorded(station: Installed, listener: Listener) -> None:
    """Up to now, for the station goes on."""
    heard = copy.copy(listener)
    heard.events = list(listener.events)
    station.fetch_record()
    assert_each_answered_once(station.config, heard)


def assert_nothing_lost(station: Installed, listener: Listener, orders: Orders) -> None:
    """Every order that was accepted has one answer, and so has every trigger whose acceptance nobody heard of."""
    station.device.wait(lambda: set(orders.accepted) <= set(listener.ids()), "every order is answered")
    assert_heard_as_recorded(station, listener)
    if station.is_active:
        assert_balanced(station)
    units = [event.data.unit_identifier for event in listener.events if event.data.camera == "left"]
    assert len(units) == len(set(units))
