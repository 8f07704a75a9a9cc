"""A fleet of real parts: NATS servers from their wheel, with the configurations that a technician gets, and uplinks."""

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats

from edge import topology
from edge.child import Child
from edge.config import Station
from edge.events import Source
from edge.fleet import hub, servers, words
from edge.fleet.rights import OPERATOR, Rights
from edge.fleet.words import ANY_EVENT, PLANT_STREAM
from edge.heard import Arrived
from tests.publish_line import until

HUB_CONF = Path(__file__).parents[1] / "deploy" / "nats" / "hub.conf"
READER = HUB_CONF.with_name("reader.py")
MIB = 1 << 20
RELOADED = "Reloaded server configuration"
SOURCE = Source(site="-", line="l1", station="cell")


def nats_server() -> str:
    """The program of the wheel, beside this Python."""
    found = Path(sys.executable).with_name("nats-server")
    return str(found) if found.exists() else str(shutil.which("nats-server"))


def held_ports(count: int) -> list[int]:
    """Ports of loopback that are nobody else's until this process ends.

    A socket that is bound and does not listen: the kernel gives its port to no connection and to no other process that
    asks for any, and lets a server have it that names it (`SO_REUSEADDR`, which programs in Go and Python's servers set).
    """
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.detach()  # open as long as this process
    return ports


class NatsServer:
    """One server: killed and started again on the same ports, with the same store or none."""

    def __init__(self, folder: Path, port: int, conf: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.store = folder, port, folder / "store"
        self.conf = folder / "server.conf"
        self.conf.write_text(conf)
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.popen = subprocess.Popen([nats_server(), "-c", str(self.conf)], stdout=log, stderr=log)
        until(self._listens, f"{self.folder.name} listens")

    def _listens(self) -> bool:
        assert self.popen is not None and self.popen.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()
            self.popen = None

    def wipe(self) -> None:
        """Another disk; it must be down."""
        shutil.rmtree(self.store, ignore_errors=True)

    def reload(self) -> None:
        """As `systemctl reload goldline-hub`: twice, each to its end."""
        assert self.popen is not None
        for _ in range(2):
            done = self._log().count(RELOADED)
            self.popen.send_signal(signal.SIGHUP)
            until(lambda done=done: self._log().count(RELOADED) > done, "reloaded")

    def _log(self) -> str:
        return (self.folder / "server.log").read_text()


class Hub(NatsServer):
    """The hub as `deploy/nats/hub.conf` has it, on ports and a store of its own."""

    def __init__(self, folder: Path) -> None:
        port, self.leaf_port, self.monitor_port = held_ports(3)
        self.seed, operator = servers.new_seed()
        self.devices: dict[str, str] = {}
        self.others: dict[str, tuple[str, Rights]] = {"operator": (operator, OPERATOR)}
        conf = HUB_CONF.read_text().replace("127.0.0.1:4222", f"127.0.0.1:{port}")
        conf = conf.replace("127.0.0.1:7422", f"127.0.0.1:{self.leaf_port}").replace(
            "127.0.0.1:8222", f"127.0.0.1:{self.monitor_port}"
        )
        conf = conf.replace("/var/lib/goldline-hub", f'"{folder / "store"}"')
        super().__init__(folder, port, conf)
        (folder / "operator.nk").write_text(self.seed)
        self.write_devices()

    def write_devices(self) -> None:
        (self.folder / "devices.conf").write_text(servers.devices_conf(self.devices, self.others))

    def ask(self, question: Callable[[Any], Awaitable[Any]], seed: str | None = None, within_s: float = 30) -> Any:
        """What this coroutine answers that is given the hub's JetStream."""

        async def asked() -> Any:
            client = await nats.connect(f"nats://127.0.0.1:{self.port}", nkeys_seed_str=seed or self.seed)
            try:
                return await question(client.jetstream(timeout=within_s))
            finally:
                await client.close()

        return asyncio.run(asked())

    def init(self) -> None:
        self.ask(lambda js: hub.make_plant(js, max_bytes=256 * MIB, max_days=30))

    def has_said(self, text: str, times: int) -> bool:
        """In its log, so often at least."""
        return self._log().count(text) >= times

    def devices_connected(self) -> int:
        """How many devices' servers are let in at this moment."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/leafz", timeout=30) as answer:
            return json.load(answer)["leafnodes"]

    def count(self) -> int:
        """Messages of the plant's stream; -1 while the hub cannot say."""
        try:
            return self.ask(lambda js: js.stream_info(PLANT_STREAM)).state.messages
        except Exception:  # noqa: BLE001 - away, or on its way up
            return -1

    def read(self, consumer: str = "reader") -> list[tuple[str, dict[str, str], bytes]]:
        """All that is there: subject, headers and body of each message, in order."""

        async def all_of(js: Any) -> list[tuple[str, dict[str, str], bytes]]:
            subscription = await js.pull_subscribe(ANY_EVENT, durable=consumer, stream=PLANT_STREAM)
            found: list[tuple[str, dict[str, str], bytes]] = []
            while True:
                try:
                    messages = await subscription.fetch(500, timeout=1)
                except TimeoutError:
                    await js.delete_consumer(PLANT_STREAM, consumer)
                    return found
                for message in messages:
                    found.append((message.subject, dict(message.headers or {}), message.data))
                    await message.ack()

        return self.ask(all_of)


class Leaf(NatsServer):
    """A device's server, with a key that the hub knows."""

    def __init__(self, folder: Path, station: str, hub_server: Hub, *, max_file_store: int = 512 * MIB) -> None:
        (port,) = held_ports(1)
        self.station = station
        self.seed, public = servers.new_seed()
        hub_server.devices[station] = public
        hub_server.write_devices()
        conf = servers.leaf_conf(
            station=station,
            hub=f"nats-leaf://127.0.0.1:{hub_server.leaf_port}",
            seed=self.seed,
            store_dir=folder / "store",
            ca_file=None,
            port=port,
            max_file_store=max_file_store,
        )
        super().__init__(folder, port, conf)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


class Uplink:
    """The process; the test is its supervisor."""

    def __init__(self, station: Station) -> None:
        (process,) = (one for one in topology.processes(station) if one.name == "uplink")
        self.child = Child(process, station, 1)

    def start(self) -> None:
        self.child.start(time.monotonic())

    def figure(self, name: str) -> float:
        """A figure of its page."""
        return next(
            values[0] for series, values in self.child.page.read() if series.metric.name == f"goldline_fleet_{name}"
        )

    def kill(self) -> None:
        if self.child.popen is not None:
            self.child.kill()
            self.child.reap(time.monotonic())


@contextmanager
def killed(*ones: Any) -> Iterator[tuple[Any, ...]]:
    """Each has a `kill`."""
    try:
        yield ones
    finally:
        for one in ones:
            one.kill()


ID = re.compile(r"(?P<stream>[0-9a-f-]{36}):(?P<sequence>\d+)")


def events_of(read: list[tuple[str, dict[str, str], bytes]], station: str) -> dict[str, list[int]]:
    """The numbers of this station's events as they stand at the hub, by outbox stream, repetitions included."""
    found: dict[str, list[int]] = {}
    for subject, headers, body in read:
        if subject.split(".")[4] == station and (one := ID.fullmatch(headers["Nats-Msg-Id"])):
            assert json.loads(body)["id"] == f"{one['stream']}/{one['sequence']}"
            found.setdefault(one["stream"], []).append(int(one["sequence"]))
    return found


def once(numbers: list[int]) -> list[int]:
    """As a reader takes them: what is not above the last is a repetition."""
    return [number for at, number in enumerate(numbers) if number > max(numbers[:at], default=0)]


def event(stream, number: int) -> words.Message:
    topic = SOURCE.topic("left", "result")
    body = json.dumps({"n": number}).encode()
    return words.message_of(Arrived(stream=stream, sequence=number, topic=topic, body=body, is_replay=False), SOURCE)


def heard(hub_server: Hub, count: int, nkey: Path | None = None, consumer: str = "reader") -> list[dict]:
    """What the example prints that is shipped, of so many messages."""
    options = [
        str(READER),
        f"nats://127.0.0.1:{hub_server.port}",
        "--nkey",
        str(nkey or hub_server.folder / "operator.nk"),
    ]
    done = subprocess.run(
        [sys.executable, *options, "--consumer", consumer, "--count", str(count)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
