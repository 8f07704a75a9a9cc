"""A station made for measuring and testing: the drawn demo product, taught, and run as the real daemon.

Used by `goldline bench`, the benchmarks and the tests; nothing here runs on a line.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import scene
from edge.errors import GoldlineError

PRODUCT = "trunk"
# Loading onnxruntime, OpenCV and the graph takes one to three seconds; a machine that is busy, many times that.
READY_WITHIN_S = 120.0
# A stop is held to 10 s by the station itself; the rest is for a busy machine.
STOP_WITHIN_S = 60.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def draw_good_parts(directory: Path, count: int, size: tuple[int, int], seed: int = 1) -> None:
    """Write `count` pictures of good parts, `size` (width, height)."""
    directory.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for index in range(count):
        write_picture(directory / f"{index:04}.png", scene.render("good", generator, size)[0])


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write one picture, BGR. Raises OSError."""
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"{path}: cannot write")


def goldline(*words: str | Path, timeout_s: float = 900.0) -> subprocess.CompletedProcess[str]:
    """Run one `goldline` command to its end. Raises GoldlineError with its last line when it cannot run."""
    command = [sys.executable, "-m", "edge", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode == 2:
        raise GoldlineError(f"goldline {words[0]}: {done.stderr.strip().rpartition(chr(10))[2]}")
    return done


def write_config(directory: Path, cameras: Mapping[str, Mapping[str, Any]], *, product: str = PRODUCT) -> Path:
    """Write `directory/config.toml` for these cameras, on free ports."""
    live, command, sync, metrics = free_ports(4)
    tables: dict[str, Mapping[str, Any]] = {
        "events": {
            "live": f"tcp://127.0.0.1:{live}",
            "command": f"tcp://127.0.0.1:{command}",
            "sync": f"tcp://127.0.0.1:{sync}",
        },
        "metrics": {"port": metrics},
        # The least there may be: rehearsals are many and short.
        "outbox": {"reserve_bytes": 1 << 20},
        "log": {"format": "json"},
    }
    lines = ['station_id = "rehearsal"', f'product = "{product}"', 'state_dir = "state"', 'pipelines_dir = "pipelines"']
    for name, camera in cameras.items():
        flat = {key: value for key, value in camera.items() if not isinstance(value, Mapping)}
        tables[f"cameras.{name}"] = flat
        tables |= {f"cameras.{name}.{key}": value for key, value in camera.items() if isinstance(value, Mapping)}
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


class Pages:
    """What a running station shows over HTTP."""

    def __init__(self, metrics_port: int) -> None:
        self._metrics = f"http://127.0.0.1:{metrics_port}"

    def get(self, page: str) -> tuple[int, str]:
        """Status and body of `/metrics`, `/healthz` or `/readyz`; status 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"{self._metrics}{page}", timeout=5) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Every sample, by its name with labels as Prometheus writes it."""
        rows = (line.rpartition(" ") for line in self.get("/metrics")[1].splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    def total(self, name: str, **labels: str) -> float:
        """The sum over every series of `name` with these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        rows = self.metrics().items()
        return sum(v for k, v in rows if k.partition("{")[0] == name and all(label in k for label in wanted))


class Daemon(Pages):
    """A running `goldline run`."""

    def __init__(self, config: Path, process: subprocess.Popen[bytes], metrics_port: int, log: Path) -> None:
        super().__init__(metrics_port)
        self.config, self.process, self.log = config, process, log

    def wait_ready(self) -> None:
        """Until /readyz says so. Raises GoldlineError when the daemon ends or takes too long."""
        until = time.monotonic() + READY_WITHIN_S
        while self.get("/readyz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > until:
                raise GoldlineError(f"goldline run did not get ready: {self.log.read_text()[-500:]}")
            time.sleep(0.05)

    def workers(self) -> dict[str, int]:
        """Process ids by worker name."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        words = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
        return {line[3].decode(): pid for pid, line in words.items() if b"edge.worker" in line}

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_WITHIN_S)


@contextmanager
def running(config: Path, *words: str) -> Generator[Daemon]:
    """`goldline run` on this configuration, ready; stopped, or killed with every worker, at the end."""
    station = settings(config)
    log = config.with_suffix(".log")
    with log.open("ab") as output:
        command = [sys.executable, "-m", "edge", "run", "--config", str(config), *words]
        # Without the terminal of whoever measures: with it SIGHUP would be that terminal's end.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(os.environ)
        )
    daemon = Daemon(config, process, station["metrics"]["port"], log)
    try:
        daemon.wait_ready()
        yield daemon
        if process.poll() is None:
            daemon.stop()
    finally:
        process.kill()
        process.wait()


def settings(config: Path) -> dict[str, Any]:
    """The tables of a configuration that `write_config` wrote."""
    return tomllib.loads(config.read_text())
