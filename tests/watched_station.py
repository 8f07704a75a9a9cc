"""A station with four cameras, every lane and an archive, and a Prometheus and an Alertmanager as they are shipped."""

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

from edge.rehearsal import free_ports
from tests.needs import needs_module, needs_program
from tests.stations import SIZE, station

Found = TypeVar("Found")

DEPLOY = Path(__file__).parents[1] / "deploy" / "prometheus"
# Eleven processes that start at once take ten seconds of two processors; on a machine that others share, many times that.
PATIENCE_S = 180.0
_DRAWN = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": 5.0, "prerendered": 40}
# Two that are triggered, one that runs freely, and one whose pictures lie in a folder, which can be taken away. None is
# in a group: then each has triggers of its own, and a station of four cameras the most series that it can have.
CAMERAS: dict[str, dict[str, object]] = {
    "top": _DRAWN | {"trigger": {"mode": "software", "deadline_ms": 2000.0, "period_ms": 250.0}},
    "side": _DRAWN | {"seed": 2, "trigger": {"mode": "software", "deadline_ms": 2500.0, "period_ms": 250.0}},
    "left": _DRAWN | {"seed": 3, "trigger": {"mode": "free"}},
    "right": {"source": "folder", "rate_hz": 5.0, "trigger": {"mode": "free", "deadline_ms": 1500.0}},
}
DEADLINES_S = {"top": 2.0, "side": 2.5, "left": 1.0, "right": 1.5}


def write_station(taught: Path, directory: Path) -> Path:
    """The configuration of one that inspects the taught product; its folder of pictures is `parts`."""
    for name, extra in (("pyModbusTCP", "modbus"), ("asyncua", "opcua"), ("paho.mqtt", "mqtt")):
        needs_module(name, extra)
    shutil.copytree(taught / "good", directory / "parts")
    right = CAMERAS["right"] | {"path": str(directory / "parts")}
    config = station(taught, directory, CAMERAS | {"right": right})
    modbus, opcua, broker = free_ports(3)
    config.write_text(
        config.read_text()
        + f'\n[lanes.modbus]\nlisten = "127.0.0.1:{modbus}"\n'
        + f'\n[lanes.opcua]\nlisten = "127.0.0.1:{opcua}"\n'
        + f'\n[lanes.mqtt]\nbroker = "mqtt://127.0.0.1:{broker}"\ntopic = "plant"\n'
    )
    return config


def get_json(url: str) -> Any:
    """What is answered there; None while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def eventually(look: Callable[[], Found], what: str) -> Found:
    """What `look` finds once it finds something."""
    until = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < until, what
        time.sleep(0.1)
    return found


class Prometheus:
    """A running one."""

    def __init__(self, port: int, log: Path) -> None:
        self.url, self.log = f"http://127.0.0.1:{port}", log

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that the expression has now."""
        words = urllib.parse.urlencode({"query": expression})
        answer = get_json(f"{self.url}/api/v1/query?{words}")
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]] if answer else []

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with how its evaluation went."""
        answer = get_json(f"{self.url}/api/v1/rules")
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]] if answer else []

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped, and how that went."""
        answer = get_json(f"{self.url}/api/v1/targets")
        return answer["data"]["activeTargets"] if answer else []


@contextmanager
def _process(log: Path, *words: object) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen([str(word) for word in words], stdout=output, stderr=output)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def prometheus(directory: Path, port: int, alertmanager: int, *, hastens: bool = True) -> Iterator[Prometheus]:
    """By the shipped configuration, but for the addresses. `hastens`: scrapes each second, and no alert waits."""
    program = needs_program("prometheus", "prometheus")
    directory.mkdir(parents=True)
    config = (DEPLOY / "prometheus.yml").read_text()
    rules = (DEPLOY / "goldline.rules.yml").read_text()
    config = config.replace("127.0.0.1:9464", f"127.0.0.1:{port}").replace(
        "127.0.0.1:9093", f"127.0.0.1:{alertmanager}"
    )
    if hastens:
        config = config.replace("interval: 5s", "interval: 1s")
        rules = re.sub(r"for: \w+", "for: 1s", rules)
    (directory / "prometheus.yml").write_text(config)
    (directory / "goldline.rules.yml").write_text(rules)
    (own,) = free_ports(1)
    log = directory / "prometheus.log"
    words = (
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    )
    with _process(log, program, *words):
        running = Prometheus(own, log)
        eventually(running.targets, f"Prometheus does not answer: {log.read_text()}")
        yield running


class Receiver:
    """The other end of a webhook: every alert that was told, as often as it was."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        told = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend(alert | {"receiver": body["receiver"]} for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """No news."""

        self._http = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def heard(self, name: str, status: str, **labels: str) -> list[dict[str, Any]]:
        """Of this alert, in this status, with these labels."""
        wanted = {"alertname": name, **labels}.items()
        return [one for one in self.alerts if one["status"] == status and wanted <= one["labels"].items()]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def alertmanager(directory: Path, port: int, receiver: Receiver) -> Iterator[None]:
    """By the shipped configuration, but for the addresses and how long it gathers before it tells."""
    program = needs_program("prometheus-alertmanager", "prometheus-alertmanager")
    directory.mkdir(parents=True)
    config = (DEPLOY / "alertmanager.yml").read_text()
    # Nobody takes its mail.
    config = config.replace("127.0.0.1:9099", f"127.0.0.1:{receiver.port}").replace(
        "mail.example.com:587", "127.0.0.1:1"
    )
    config = config.replace("group_wait: 10s", "group_wait: 1s").replace("group_interval: 1m", "group_interval: 1s")
    (directory / "alertmanager.yml").write_text(config)
    words = (
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    log = directory / "alertmanager.log"
    with _process(log, program, *words):
        eventually(lambda: get_json(f"http://127.0.0.1:{port}/api/v2/status"), f"no Alertmanager: {log.read_text()}")
        yield
