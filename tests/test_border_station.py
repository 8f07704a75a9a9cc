"""A whole station that asks for keys: who has one is served, and what strangers send changes nothing."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from edge import key_files, rehearsal
from edge.border import MAX_COMMAND_BYTES
from edge.client import Subscriber, ask
from edge.config import load_station
from edge.errors import GoldlineError
from edge.keys import ClientKeys, Zone, load_client_keys, load_station_public, new_pair
from edge.rehearsal import Daemon
from tests.stations import CAMERA, TRIGGERED, assert_balanced, station

pytestmark = pytest.mark.timeout(300)
# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 60.0
# RFC 37: the greeting of ZMTP 3.
GREETING_BYTES = 64
TRIGGER = {"verb": "trigger", "camera": "right"}


class Site:
    """The station, and the files of its clients."""

    def __init__(self, config: Path, daemon: Daemon) -> None:
        self.config, self.daemon = config, daemon
        self.events = rehearsal.settings(config)["events"]
        self.folder = config.parent

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def keys(self, name: str) -> ClientKeys:
        return load_client_keys(self.file(name))

    def subscriber(self, name: str, consumer: str | None = None, after: int | None = None) -> Subscriber:
        return Subscriber(
            sync=self.events["sync"],
            live=self.events["live"],
            consumer=consumer,
            keys=self.keys(name),
            after=after,
            silence_s=PATIENCE_S,
        )

    def ask(self, name: str) -> dict[str, object]:
        return ask(self.events["command"], TRIGGER, timeout_s=PATIENCE_S, keys=self.keys(name))

    def ports(self) -> list[int]:
        return [int(self.events[key].rpartition(":")[2]) for key in ("live", "sync", "command")]


def make_keys(config: Path) -> None:
    folder = load_station(config).keys_dir
    key_files.new_station_key(folder, is_replaced=False)
    admit(config, "mes", "events", "orders")
    admit(config, "scada", "events")


def admit(config: Path, name: str, *zones: Zone) -> None:
    """What `goldline keys client` does."""
    folder = load_station(config).keys_dir
    server, (public, secret) = load_station_public(folder), new_pair()
    assert server is not None
    keys = ClientKeys(server_public=server, public=public, secret=secret)
    key_files.write_client_file(config.parent / f"{name}.key", name, keys)
    key_files.allow(folder, name, public, zones)


@pytest.fixture(scope="module")
def site(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    config = station(
        taught, tmp_path_factory.mktemp("border"), {"left": CAMERA | {"rate_hz": 10.0}, "right": TRIGGERED}
    )
    with config.open("a") as file:
        file.write('\n[security]\ncurve = "always"\n')
    make_keys(config)
    with rehearsal.running(config) as daemon:
        yield Site(config, daemon)


def test_who_has_a_key_hears_and_orders_and_nobody_else(site):
    with site.subscriber("scada", after=0) as scada:
        assert [int(next(scada).sequence) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert site.ask("mes")["accepted"] is True
    with pytest.raises(GoldlineError, match="no answer"):
        ask(site.events["command"], TRIGGER, timeout_s=1.0, keys=site.keys("scada"))
    assert site.daemon.total("goldline_peers_refused_total", zone="orders") >= 1
    with pytest.raises(GoldlineError, match="no answer"):
        ask(site.events["command"], TRIGGER, timeout_s=1.0)


def test_a_consumer_goes_by_the_name_of_its_key(site):
    with (
        site.subscriber("scada", consumer="mes") as pretender,
        pytest.raises(GoldlineError, match="the key of scada speaks for"),
    ):
        next(pretender)
    with site.subscriber("mes", consumer="mes") as mes:
        mes.acknowledge(next(mes))


def test_the_stations_own_commands_need_no_file_and_others_have_theirs(site):
    done = rehearsal.goldline("tail", "--json", "--count", "2", "--config", site.config)
    assert len([json.loads(line)["data"]["verdict"] for line in done.stdout.splitlines()]) == 2
    for words in ([], ["--keys", site.file("mes")]):
        done = rehearsal.goldline("trigger", "right", *words, "--config", site.config)
        assert json.loads(done.stdout)["accepted"] is True


def test_a_denied_client_hears_no_more_and_the_other_misses_nothing(site):
    admit(site.config, "guest", "events")
    with site.subscriber("guest") as guest, site.subscriber("scada") as scada:
        next(guest)
        first = int(next(scada).sequence)
        rehearsal.goldline("keys", "deny", "guest", "--config", site.config)
        until = time.monotonic() + PATIENCE_S
        # Every half second something is said: silence for four of them means that it was sent off.
        while guest.take(2.0):
            assert time.monotonic() < until, "it hears on"
        heard = [int(next(scada).sequence) for _ in range(40)]
        assert heard == list(range(first + 1, first + 41))


# --- strangers


class Strangers(threading.Thread):
    """They connect, talk nonsense of every kind at every port, and hang up or do not."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__()
        self._ports, self.count, self.is_over = ports, 0, threading.Event()
        self._noise = random.Random(2)

    def run(self) -> None:
        kept: list[socket.socket] = []
        late: list[tuple[socket.socket, bytes]] = []
        while not self.is_over.is_set():
            with contextlib.suppress(OSError):  # the other side may hang up first
                one = socket.create_connection(("127.0.0.1", self._noise.choice(self._ports)))
                kept.append(one)
                words = self._words()
                # What goes beyond the greeting is heard at all where it comes after the station's own.
                one.sendall(words[:GREETING_BYTES])
                late.append((one, words[GREETING_BYTES:]))
                if len(late) > 2:
                    before, rest = late.pop(0)
                    before.sendall(rest)
            self.count += 1
            while len(kept) > 300:
                kept.pop(self._noise.randrange(len(kept))).close()
            time.sleep(0.002)
        for one in kept:
            one.close()

    def _words(self) -> bytes:
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00"
        mechanism = self._noise.choice([b"CURVE", b"NULL", b"PLAIN"]).ljust(20, b"\0")
        whole = greeting + mechanism + bytes(32)
        hello = b"\x04\xc8\x05HELLO\x01\x00" + bytes(72) + self._noise.randbytes(120)
        ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x04REQ"
        huge = b"\x02" + (1 << 40).to_bytes(8, "big") + bytes(2000)
        return self._noise.choice(
            [
                self._noise.randbytes(self._noise.randrange(1, 5000)),
                whole[: self._noise.randrange(64)],
                whole,
                whole + hello,
                whole + ready + huge,
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                b"",
            ]
        )


def sizes(daemon: Daemon) -> dict[str, tuple[int, int]]:
    """Open descriptors and resident bytes of each process that listens."""
    page = os.sysconf("SC_PAGE_SIZE")
    workers = daemon.workers()
    return {
        name: (
            len(os.listdir(f"/proc/{workers[name]}/fd")),
            int(Path(f"/proc/{workers[name]}/statm").read_text().split()[1]) * page,
        )
        for name in ("publish", "sync")
    }


def test_strangers_keep_nobody_out_and_leave_nothing_behind(site):
    assert site.ask("mes")["accepted"] is True
    pids, before, late = site.daemon.workers(), sizes(site.daemon), site.daemon.total("goldline_deadline_missed_total")
    strangers = Strangers(site.ports())
    strangers.start()
    try:
        with site.subscriber("scada") as scada:
            for _ in range(10):
                assert site.ask("mes")["accepted"] is True
                next(scada)
            until = time.monotonic() + PATIENCE_S
            while strangers.count < 1500 and time.monotonic() < until:
                next(scada)
    finally:
        strangers.is_over.set()
        strangers.join()
    until = time.monotonic() + PATIENCE_S
    while any(now[0] > was[0] + 4 for now, was in zip(sizes(site.daemon).values(), before.values(), strict=True)):
        assert time.monotonic() < until, (before, sizes(site.daemon))
        time.sleep(0.2)
    for name, (_, resident) in sizes(site.daemon).items():
        assert resident - before[name][1] < 32 << 20, name
    assert site.daemon.workers() == pids, "a process died"
    assert site.daemon.total("goldline_deadline_missed_total") - late <= 2
    assert_balanced(site.daemon)


ODD_ORDERS = [
    [b""],
    [b"\xff" * 1000],
    [b"{" * 60_000],
    [b'{"verb":"trigger","camera":"right","id":' + b"9" * 400 + b"}"],
    [b'{"verb":"trigger"}', b"another frame", b""],
    [b'{"verb":"trigger","camera":"' + b"a" * 20_000 + b'"}'],
]


def test_nonsense_of_a_client_gets_an_answer_and_too_much_of_it_a_closed_connection(site):
    keys, noise = site.keys("mes"), random.Random(3)
    with zmq.Context() as context:
        for frames in [*ODD_ORDERS, *([noise.randbytes(noise.randrange(1, 3000))] for _ in range(30))]:
            with orders_socket(context, site, keys) as dealer:
                dealer.send_multipart([b"", *frames])
                assert dealer.poll(PATIENCE_S * 1000), frames
                answer = msgspec.json.decode(dealer.recv_multipart()[-1])
                assert answer["accepted"] is False
                assert answer["error"]
        with orders_socket(context, site, keys) as dealer:
            monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            dealer.send_multipart([b"", bytes(MAX_COMMAND_BYTES + 1)])
            assert monitor.poll(PATIENCE_S * 1000), "the connection is closed"
            dealer.disable_monitor()
            monitor.close()
    assert site.ask("mes")["accepted"] is True


def orders_socket(context: zmq.Context, site: Site, keys: ClientKeys) -> zmq.Socket:
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.curve_serverkey = keys.server_public.encode()
    dealer.curve_publickey, dealer.curve_secretkey = keys.public.encode(), keys.secret.encode()
    dealer.connect(site.events["command"])
    return dealer


# --- before it starts


def test_a_station_beyond_this_machine_does_not_start_without_a_key(taught, tmp_path):
    config = station(taught, tmp_path, {"left": CAMERA})
    port = rehearsal.free_ports(1)[0]
    text = config.read_text().replace(rehearsal.settings(config)["events"]["command"], f"tcp://0.0.0.0:{port}")
    config.write_text(text)
    command = [sys.executable, "-m", "edge", "run", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"goldline: [events] command: peers at tcp://0.0.0.0:{port} need keys, and this station has none: goldline keys new"
    )
    assert load_station(config).events.command == f"tcp://0.0.0.0:{port}"
