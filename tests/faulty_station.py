"""A station that has bad parts, late answers, a camera that goes away and a worker that dies: what boards are for."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge import rehearsal
from edge.rehearsal import Daemon, free_ports
from tests.needs import needs_module
from tests.watched_station import Prometheus, eventually, prometheus, write_station

# Of camera `side`: less than any picture takes to be judged.
SHORT_DEADLINE_MS = 5.0


@dataclass(frozen=True)
class Faulty:
    """A station that runs, and the Prometheus that watches it. `parts`: the folder that is camera `right`."""

    daemon: Daemon
    prometheus: Prometheus
    parts: Path

    def kill(self, worker: str) -> None:
        """SIGKILL, and the station has started another."""
        pid = self.daemon.workers()[worker]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.daemon.workers().get(worker, pid) != pid, f"another {worker}")

    def take_camera_away(self, for_s: float) -> None:
        """`right` is not there, until it has noticed and so long after."""
        away = self.parts.with_name("away")
        self.parts.rename(away)
        eventually(lambda: not self.daemon.total("goldline_camera_up", camera="right"), "right is away")
        time.sleep(for_s)
        away.rename(self.parts)
        eventually(lambda: self.daemon.total("goldline_camera_up", camera="right"), "right is back")

    def change_deadline(self, to_ms: float) -> None:
        """Of camera `top`, while the station runs."""
        before = self.daemon.total("goldline_configuration_generation")
        text = self.daemon.config.read_text()
        self.daemon.config.write_text(text.replace("deadline_ms = 2000.0", f"deadline_ms = {to_ms}"))
        os.kill(self.daemon.process.pid, signal.SIGHUP)
        eventually(lambda: self.daemon.total("goldline_configuration_generation") > before, "it is in force")


@contextmanager
def faulty(
    taught: Path, directory: Path, *, hastens: bool = True, deadline_ms: float = SHORT_DEADLINE_MS
) -> Iterator[Faulty]:
    """Running, ready and watched. `hastens`: scraped each second, and no alert waits. Broker and hub are never there."""
    needs_module("nats", "fleet")
    config = write_station(taught, directory)
    (server,) = free_ports(1)
    text = config.read_text() + f'\n[fleet]\nserver = "nats://127.0.0.1:{server}"\n\n[archive]\nshare_of_pass = 0.5\n'
    config.write_text(text.replace("deadline_ms = 2500.0", f"deadline_ms = {deadline_ms}"))
    port = rehearsal.settings(config)["metrics"]["port"]
    (alerts,) = free_ports(1)
    with (
        rehearsal.running(config) as daemon,
        prometheus(directory / "prometheus", port, alerts, hastens=hastens) as watching,
    ):
        eventually(lambda: watching.query('up{job="goldline"} == 1'), "the station is scraped")
        yield Faulty(daemon, watching, directory / "parts")
