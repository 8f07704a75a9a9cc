"""A broker at a whole station: it gets every event of the record, byte for byte and in order, whoever dies meanwhile."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge import rehearsal
from edge.rehearsal import Daemon, free_ports
from tests.lanes.mqtt_bench import Listener, Mosquitto, killed_at_the_end, sequences
from tests.lanes.opcua_bench import until
from tests.needs import needs_module
from tests.stations import CAMERA, station

pytestmark = pytest.mark.timeout(300)
TOPIC = "plant/left/result"


def with_broker(taught: Path, directory: Path, port: int) -> Path:
    """A station whose camera runs freely, with an MQTT lane."""
    needs_module("paho.mqtt", "mqtt")
    config = station(taught, directory, {"left": CAMERA})
    with config.open("a") as file:
        file.write(f'\n[lanes.mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\ntopic = "plant"\n')
    return config


def bodies(config: Path) -> dict[int, str]:
    """What the record holds, by number."""
    database = config.parent / "state" / "outbox.sqlite3"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as outbox:
        rows = outbox.execute("SELECT sequence, body FROM events ORDER BY sequence").fetchall()
    return {sequence: body.decode() for sequence, body in rows}


def goes_on(listener: Listener, config: Path) -> None:
    """Until what has just been decided has come."""
    newest = max(bodies(config), default=0)
    until(lambda: newest + 10 in sequences(listener, TOPIC), f"event {newest + 10}")


def kill(daemon: Daemon, worker: str) -> None:
    until(lambda: worker in daemon.workers(), f"{worker} is there")
    os.kill(daemon.workers()[worker], signal.SIGKILL)


def test_every_event_comes_in_order_whoever_is_killed(taught: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    config, broker = with_broker(taught, tmp_path, port), Mosquitto(tmp_path / "broker", port, "allow_anonymous true")
    broker.start()
    listener = Listener(port, "plant/#")
    with killed_at_the_end(listener, broker), rehearsal.running(config) as daemon:
        goes_on(listener, config)
        for worker in ("lane@mqtt", "publish", "sync"):
            kill(daemon, worker)
            goes_on(listener, config)
        # What it has acknowledged it writes down before it ends.
        broker.stop()
        until(lambda: daemon.total("goldline_mqtt_connected") == 0, "the lane knows that the broker is away")
        broker.start()
        goes_on(listener, config)
        assert daemon.total("goldline_mqtt_connected") == 1
        assert daemon.total("goldline_mqtt_connections_total") >= 3
        assert daemon.total("goldline_mqtt_acknowledged_sequence") > 0
        assert daemon.stop() == 0
        assert_whole(listener, bodies(config))


def assert_whole(listener: Listener, kept: dict[int, str]) -> None:
    """Repetitions taken out, every event in order; what came is what is kept. The last may not have left before the end."""
    numbers = sequences(listener, TOPIC)
    news = [number for at, number in enumerate(numbers) if number > max(numbers[:at], default=0)]
    assert news == list(range(1, news[-1] + 1))
    told = [body for head, body in listener.heard if head.split()[0] == TOPIC]
    assert all(body == kept[number] for number, body in zip(numbers, told, strict=False))
