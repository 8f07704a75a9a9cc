"""A whole station with every fault that is quickly made: what its log tells, what it names, and what nothing tells."""

import contextlib
import http.server
import json
import os
import signal
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge import key_files, rehearsal
from edge.client import ask
from edge.config import load_station
from edge.errors import GoldlineError
from edge.keys import ClientKeys, load_client_keys, load_station_public, new_pair
from edge.logs.codes import BY_KEY, CODES
from edge.rehearsal import Daemon
from tests.needs import needs_module
from tests.stations import TRIGGERED, record, station

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 60.0
# In places that hold one: a camera's URL, a broker's password, the environment. Keys are made, and read from their files.
USER, PASSWORD, TOKEN, BROKER, ENVIRONMENT = "viewer-7f3a", "hunter2-9c41", "token-5e1d", "broker-b28e", "shell-64aa"


class _Refusing(http.server.BaseHTTPRequestHandler):
    """A camera's web server that knows another password."""

    def do_GET(self) -> None:
        self.send_error(401, "Unauthorized")

    def log_message(self, *_: object) -> None:
        """Say nothing on the test's stderr."""


@contextlib.contextmanager
def refusing_camera() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Refusing) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def wait_for(condition: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def make_keys(config: Path) -> list[str]:
    """The station's key and a client's; returns their secrets."""
    folder = load_station(config).keys_dir
    key_files.new_station_key(folder, is_replaced=False)
    server, pair = load_station_public(folder), new_pair()
    assert server is not None
    key_files.allow(folder, "mes", pair[0], ("events", "orders"))
    mine = ClientKeys(server_public=server, public=pair[0], secret=pair[1])
    key_files.write_client_file(config.parent / "mes.key", "mes", mine)
    stranger = new_pair()
    wrong = ClientKeys(server_public=server, public=stranger[0], secret=stranger[1])
    key_files.write_client_file(config.parent / "stranger.key", "stranger", wrong)
    said = "\n".join(path.read_text() for path in folder.iterdir() if path.is_file())
    own = [line.split('"')[1] for line in said.splitlines() if line.startswith("secret")]
    assert own
    return [*own, pair[1], stranger[1]]


class Site:
    """The station with a camera that is triggered, one that refuses, a broker that is away, and keys for all."""

    def __init__(self, config: Path, daemon: Daemon) -> None:
        self.config, self.daemon = config, daemon
        self.command = rehearsal.settings(config)["events"]["command"]

    def order(self, verb: str, name: str = "mes", timeout_s: float = PATIENCE_S, **said: object) -> dict[str, Any]:
        keys = load_client_keys(self.config.parent / f"{name}.key")
        return ask(self.command, {"verb": verb, **said}, timeout_s=timeout_s, keys=keys)

    def kill(self, worker: str) -> None:
        self.daemon.wait_ready()
        wait_for(lambda: worker in self.daemon.workers(), f"{worker} is there")
        os.kill(self.daemon.workers()[worker], signal.SIGKILL)

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for text in self.daemon.log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(text))
        return found

    def said(self, sentence: str, **about: object) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines()
            if line.get("event") == sentence and all(line.get(key) == value for key, value in about.items())
        ]


@pytest.fixture(scope="module")
def told(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str, list[str]]]:
    """A station that has met its faults and ended; all it has said, and every secret it knew."""
    needs_module("paho.mqtt", "mqtt")
    directory = tmp_path_factory.mktemp("told")
    (away,) = rehearsal.free_ports(1)
    with refusing_camera() as port:
        config = configured(taught, directory, port, away)
        secrets = [PASSWORD, TOKEN, BROKER, ENVIRONMENT, USER, *make_keys(config)]
        variables = {
            "GOLDLINE_CAMERAS__EYE__URL": f"http://{USER}:{PASSWORD}@127.0.0.1:{port}/video?auth={TOKEN}",
            "OTHER_TOKEN": ENVIRONMENT,
        }
        with pytest.MonkeyPatch.context() as environment:
            for name, value in variables.items():
                environment.setenv(name, value)
            with rehearsal.running(config, "--json") as daemon:
                site = Site(config, daemon)
                pages = meet_faults(site)
                daemon.stop()
        said = [*pages, daemon.log.read_text(), *(event.decode() for event in bodies(config))]
        yield site, "\n".join(said), secrets


def configured(taught: Path, directory: Path, camera_port: int, broker_port: int) -> Path:
    cameras = {"left": TRIGGERED, "eye": {"source": "stream", "url": f"http://127.0.0.1:{camera_port}/video"}}
    config = station(taught, directory, cameras)
    (directory / "password").write_text(BROKER)
    (directory / "password").chmod(0o600)
    with config.open("a") as file:
        file.write(f'\n[lanes.mqtt]\nbroker = "mqtt://127.0.0.1:{broker_port}"\nusername = "{USER}"\n')
        file.write('password_file = "password"\n[security]\ncurve = "always"\n')
    config.write_text(config.read_text().replace('format = "json"', 'format = "json"\nlevel = "debug"'))
    return config


def meet_faults(site: Site) -> list[str]:
    """What can go wrong within seconds. Returns what the station's pages and answers said meanwhile."""
    site.order("trigger", camera="left", unit_identifier="UNIT-4711")
    with pytest.raises(GoldlineError):
        site.order("state", name="stranger", timeout_s=0.5)
    wait_for(lambda: site.said("camera down", camera="eye"), "the stream is refused")
    site.kill("inspection")
    for _ in range(3):
        site.order("trigger", camera="left")
        time.sleep(0.1)
    wait_for(lambda: site.said("worker died", child="inspection"), "inspection's death is told")
    for worker in ("capture@left", "publish"):
        site.kill(worker)
        wait_for(lambda worker=worker: site.said("worker died", child=worker), f"the death of {worker} is told")
    site.daemon.wait_ready()
    wait_for(lambda: judged(site), "a verdict is told")
    wait_for(lambda: len(site.said("the broker is away")) > 2, "the broker is asked for again")
    clients = load_station(site.config).keys_dir / "clients.toml"
    kept = clients.read_text()
    clients.write_text(kept + "spoilt")
    wait_for(lambda: site.said("the list of clients is refused; the one before counts"), "the list is refused")
    clients.write_text(kept)
    wait_for(lambda: site.said("refused: a key that is not listed"), "the stranger is told of")
    pages = [site.daemon.get(page)[1] for page in ("/metrics", "/readyz", "/healthz")]
    return [*pages, json.dumps(site.order("state"))]


def judged(site: Site) -> list[dict[str, Any]]:
    """A part that was looked at, in the end."""
    with contextlib.suppress(GoldlineError):
        site.order("trigger", camera="left")
    time.sleep(0.2)
    return site.said("verdict", camera="left")


def bodies(config: Path) -> list[bytes]:
    import msgspec

    return [msgspec.json.encode(event) for event in record(config)]


def test_every_line_is_json_and_says_when_who_and_how_bad(told):
    site, _, _ = told
    # The last line is the summary that was asked for, on stdout.
    *log, summary = site.daemon.log.read_text().splitlines()
    assert "verdicts" in json.loads(summary)
    for text in log:
        line = json.loads(text)
        assert {"event", "level", "timestamp", "worker"} <= set(line), text
        assert line["level"] in ("debug", "info", "warning", "error")
        assert line["timestamp"].endswith("Z")


def test_every_line_that_asks_somebody_to_act_has_its_code(told):
    site, _, _ = told
    asking = [line for line in site.lines() if line.get("level") in ("warning", "error")]
    assert {line["code"] for line in asking} >= {"GL-CAM-001", "GL-WRK-001", "GL-MQT-001", "GL-NET-002", "GL-NET-003"}
    for line in asking:
        assert line["event"] in {*CODES, *BY_KEY, "repeats were held back"}, line
        assert line["code"].startswith("GL-"), line


def test_lines_about_a_part_name_its_trigger_frame_and_event(told):
    site, _, _ = told
    by_id = {event.id: event.data for event in record(site.config)}
    verdicts = [*site.said("verdict"), *site.said("a part has no verdict")]
    assert {line["event_id"] for line in verdicts} <= set(by_id)
    assert {line["camera"] for line in verdicts} == {"left"}
    for line in verdicts:
        result = by_id[line["event_id"]]
        assert line["trigger_id"] == result.trigger_id
        assert line.get("frame_id") == result.frame_id
        assert line.get("reason") == result.reason
    assert any("frame_id" in line for line in site.said("verdict"))
    lost = site.said("a part has no verdict")
    assert lost
    assert {line["code"] for line in lost} <= set(BY_KEY["a part has no verdict"][1].values())
    # At this level nothing is passed over but what repeats itself: that is said.
    held = sum(line["repeats"] for line in site.said("repeats were held back", message="a part has no verdict"))
    assert len(verdicts) + held == len(by_id)


def test_lines_about_a_camera_name_it(told):
    site, _, _ = told
    about = [line for line in site.lines() if "@" in str(line.get("child", line.get("worker")))]
    assert {line["camera"] for line in about if "capture@" in str(line)} >= {"left", "eye"}
    assert site.said("worker died", child="capture@left")[0]["camera"] == "left"


def test_nothing_that_the_station_says_has_a_secret(told):
    _, said, secrets = told
    for secret in secrets:
        assert secret not in said
    assert "127.0.0.1" in said


def test_no_line_names_a_unit(told):
    """What a part is called is the plant's; its trigger id is enough to find its event."""
    site, said, _ = told
    assert "UNIT-4711" not in site.daemon.log.read_text()
    assert "UNIT-4711" in said
