"""A station that is kept alive as systemd keeps it, its consumer likewise, and how they fare: parts of `chaos.py`."""

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from edge import client, rehearsal
from edge.cameras.simulated import SimulatedCamera
from edge.config import load_station
from edge.errors import GoldlineError
from edge.inspector import Inspector

SIZE = (160, 120)
PICTURES = 24
REFERENCES = 12
# As in goldline.service.
RESTART_S, STOP_S = 0.5, 15.0
SAMPLE_S = 2.0
# A process that is younger has not loaded everything yet.
GROWN_UP_S = 6.0
# A start takes seconds, on a busy machine ten times that.
PATIENCE_S = 90.0


def prepare(directory, cameras, deadline_ms, lanes):
    """Teach the drawn product; returns the configuration and the truth: verdict by camera and picture."""
    rehearsal.draw_good_parts(directory / "good", REFERENCES, SIZE)
    config = rehearsal.write_config(directory, tables(cameras, deadline_ms))
    add_lanes(config, lanes)
    taught = rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
    if taught.returncode:
        raise SystemExit(taught.stderr)
    return config, truth(config)


def tables(cameras, deadline_ms):
    """Every camera shows other parts; half of them are bad, so that a PASS out of place is noticed."""
    return {
        f"camera{number}": {
            "source": "simulated", "width": SIZE[0], "height": SIZE[1], "deviation_rate": 0.5, "prerendered": PICTURES,
            "seed": number, "trigger": {"mode": "software", "deadline_ms": deadline_ms, "queue_depth": 8},
        }
        for number in range(cameras)
    }  # fmt: skip


def add_lanes(config, lanes):
    """A server for PLCs each, on a port of its own."""
    for lane, port in zip(lanes, rehearsal.free_ports(len(lanes)), strict=True):
        with config.open("a") as file:
            file.write(f'\n[lanes.{lane}]\nlisten = "127.0.0.1:{port}"\n')


def truth(config):
    """What one plain loop says about each camera's pictures."""
    station = load_station(config)
    inspector = Inspector.load(station, rehearsal.PRODUCT)
    return {name: [judged(inspector, picture) for picture in shown(name, one)] for name, one in station.cameras.items()}


def shown(name, config):
    """The pictures of a simulated camera, in order."""
    camera = SimulatedCamera(name, config, config.trigger)
    info = camera.open()
    buffer = np.zeros(info.frame_bytes, np.uint8)
    camera.start([buffer])
    for _ in range(config.prerendered):
        camera.trigger()
        frame = camera.next(1.0)
        yield buffer.reshape(info.height, info.width, 3).copy()
        camera.release(frame.slot)
    camera.stop()


def judged(inspector, picture):
    prepared = inspector.prepare(picture)
    return str(inspector.judge(prepared, inspector.score([prepared])[0], {}).outcome)


class Station:
    """`goldline run`, started again half a second after it has ended, whatever ended it."""

    def __init__(self, config, environment=None):
        self.config, self.log, self._environment = config, config.with_suffix(".log"), environment or {}
        self.starts = 0
        self._settings = rehearsal.settings(config)
        self._is_wanted = True
        self._start()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def _start(self):
        command = [sys.executable, "-m", "edge", "run", "--config", str(self.config)]
        with self.log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | self._environment)
        self.daemon = rehearsal.Daemon(self.config, process, self._settings["metrics"]["port"], self.log)
        self.starts += 1

    def _keep(self):
        while True:
            self.daemon.process.wait()
            if not self._is_wanted:
                return
            time.sleep(RESTART_S)
            self._start()

    @property
    def events(self):
        return self._settings["events"]

    def pids(self):
        """Of every process that is there now; the supervisor's by that name."""
        with contextlib.suppress(OSError, IndexError):
            return {"supervisor": self.daemon.process.pid, **self.daemon.workers()}
        return {}

    def state(self):
        """The station's own answer, or None while nobody answers."""
        with contextlib.suppress(GoldlineError):
            return client.ask(self.events["command"], {"verb": "state"}, timeout_s=1.0)

    def wait_ready(self):
        """Until every worker is warm."""
        until_s = time.monotonic() + PATIENCE_S
        while self.daemon.get("/readyz")[0] != 200:
            if time.monotonic() > until_s:
                raise SystemExit(f"not ready after {PATIENCE_S:g} s: {self.log.read_text()[-1000:]}")
            time.sleep(0.2)

    def drain(self):
        """Until no trigger is in flight: every one has its answer. Returns the newest sequence number."""
        self.wait_ready()
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            state = self.state()
            if state and not sum(camera["in_flight"] for camera in state["cameras"].values()):
                return state["head"]
            time.sleep(0.2)
        raise SystemExit(f"triggers are still in flight after {PATIENCE_S:g} s: {self.log}")

    def stop(self):
        """SIGTERM, and after a while SIGKILL, as systemd does; the exit code."""
        self._is_wanted = False
        process = self.daemon.process
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        self._keeper.join()
        return process.returncode

    def kill(self):
        self._is_wanted = False
        self.daemon.process.kill()
        self._keeper.join()


class Consumer:
    """The consumer's process, started again after its death as its own keeper would."""

    def __init__(self, station, directory):
        self._words = [
            sys.executable, Path(__file__).with_name("chaos_consumer.py"),
            station.events["live"], station.events["sync"], directory,
        ]  # fmt: skip
        self._is_wanted = True
        self._log = (directory / "consumer.log").open("ab")
        self._start()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def _start(self):
        self._process = subprocess.Popen(self._words, stderr=self._log)

    def _keep(self):
        while True:
            self._process.wait()
            if not self._is_wanted:
                return
            time.sleep(RESTART_S)
            self._start()

    @property
    def pid(self):
        return self._process.pid

    def stop(self):
        self._is_wanted = False
        self._process.kill()
        self._keeper.join()
        self._log.close()


class Vitals(threading.Thread):
    """Open descriptors and resident MiB of every process, every two seconds."""

    def __init__(self, station):
        super().__init__(daemon=True)
        self.rows, self._station, self._first_seen_s = [], station, {}
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(SAMPLE_S):
            for name, pid in self._station.pids().items():
                if time.monotonic() < self._first_seen_s.setdefault(pid, time.monotonic()) + GROWN_UP_S:
                    continue
                with contextlib.suppress(OSError):
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    row = {"fds": len(os.listdir(f"/proc/{pid}/fd")), "mib": pages * os.sysconf("SC_PAGESIZE") / 2**20}
                    self.rows.append((time.monotonic(), name.partition("@")[0], row))

    def quarters(self):
        """By role: the median of each in the first and in the last quarter of the time."""
        if not self.rows:
            return {}
        first, last = self.rows[0][0], self.rows[-1][0]
        quarter = (last - first) / 4
        return {
            role: {
                what: [
                    self._median(role, what, first, first + quarter),
                    self._median(role, what, last - quarter, last),
                ]
                for what in ("fds", "mib")
            }
            for role in sorted({role for _, role, _ in self.rows})
        }

    def _median(self, role, what, first, last):
        values = [row[what] for at, name, row in self.rows if name == role and first <= at <= last]
        return round(statistics.median(values), 1) if values else None
