"""What the tests of a whole station stand on: a taught product, a listener, and what must always hold."""

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from edge import client, events, rehearsal
from edge.events import Event
from edge.rehearsal import Daemon

SIZE = (320, 240)
CAMERA = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": 25.0, "prerendered": 40}
# Taught in 4 s of a processor, and warm 0.1 s after each start; a recipe that leaves the choice takes 7 s, and 0.5 to 2.
CHECKS = 'template = false\nanomaly = { working_px = 128, bank = "positional" }\n'
RECIPE = f'[[regions]]\nname = "part"\n{CHECKS}'
TRIGGERED = CAMERA | {"trigger": {"mode": "software", "deadline_ms": 2000.0, "queue_depth": 8}}


def station(taught: Path, directory: Path, cameras: dict[str, dict[str, object]]) -> Path:
    """Another station's configuration with the same taught product, and a history of its own."""
    config = rehearsal.write_config(directory, cameras)
    (directory / "state").mkdir()
    (directory / "state" / "references").symlink_to(taught / "state" / "references")
    (directory / "pipelines").symlink_to(taught / "pipelines")
    return config


def write_recipe(directory: Path, text: str, product: str = rehearsal.PRODUCT) -> None:
    """A product's recipe, where `directory/config.toml` looks for it."""
    path = directory / "pipelines" / product / "recipe.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def teach(config: Path, product: str, good: Path) -> None:
    """`goldline teach`. It takes seconds, so the same pictures by the same recipe are taught once in a run of the tests.

    Every further station gets a copy of what was taught, and of the recipe.
    """
    folders = [Path("pipelines", product), Path("state", "references", product)]
    digest = hashlib.sha256(product.encode())
    for folder in (config.parent / folders[0], good):
        for path in _files(folder):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}".encode() + path.read_bytes())
    kept = _kept_folder() / digest.hexdigest()
    if not kept.exists():
        rehearsal.goldline("teach", product, "--good", good, "--config", config)
    source, target = (kept, config.parent) if kept.exists() else (config.parent, kept)
    for folder in folders:
        shutil.copytree(source / folder, target / folder, symlinks=True, dirs_exist_ok=True)


def _files(folder: Path) -> list[Path]:
    """Every file below it, and below what it links to."""
    return sorted(Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names)


@functools.cache
def _kept_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="taught-"))
    atexit.register(shutil.rmtree, folder)
    return folder


class Listener:
    """Collects a station's events on a thread of its own, over restarts of the station."""

    def __init__(self, config: Path) -> None:
        self.events: list[Event] = []
        self.lost: list[tuple[int, int]] = []
        self.joined = threading.Event()
        self._over = threading.Event()
        self._addresses = rehearsal.settings(config)["events"]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        notify = client.Notify(
            begun=lambda _: self.joined.set(), gone=lambda gone: self.lost.append((gone.first, gone.last))
        )
        live, sync = self._addresses["live"], self._addresses["sync"]
        try:
            with client.Subscriber(live=live, sync=sync, silence_s=60.0, notify=notify) as events:
                for event in events:
                    if self._over.is_set():
                        return
                    self.events.append(event)
        except Exception:  # noqa: BLE001 - the station has gone, with the test
            return

    def stop(self) -> None:
        """Hear no more, from the next event on."""
        self._over.set()

    def wait_for(self, count: int, timeout_s: float = 60.0) -> None:
        """Until so many more events have come."""
        wanted, until = len(self.events) + count, time.monotonic() + timeout_s
        while len(self.events) < wanted:
            assert time.monotonic() < until, f"{len(self.events)} of {wanted} events"
            time.sleep(0.02)

    def ids(self) -> list[int]:
        return [event.data.trigger_id for event in self.events if event.data.trigger_id is not None]


def record(config: Path) -> list[Event]:
    """Every event of the outbox, in order."""
    database = config.parent / "state" / "outbox.sqlite3"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as outbox:
        rows = outbox.execute("SELECT sequence, body FROM events ORDER BY sequence").fetchall()
    assert [sequence for sequence, _ in rows] == list(range(1, len(rows) + 1)), "a number is missing"
    return [events.decode(body) for _, body in rows]


def assert_each_answered_once(config: Path, listener: Listener) -> None:
    """No trigger twice or missing, no number missing, nothing passed unjudged, and the listener heard what is kept.

    What is said while publish or the listener's connection is away is fetched afterwards.
    """
    kept = record(config)
    ids = sorted(event.data.trigger_id for event in kept if event.data.trigger_id is not None)
    assert ids == sorted(set(ids)), "a trigger was answered twice"
    assert all(event.data.score is not None for event in kept if event.data.verdict == "PASS")
    by_sequence = {int(event.sequence): event for event in kept}
    heard = [int(event.sequence) for event in listener.events]
    assert heard == sorted(set(heard))
    assert all(event == by_sequence[int(event.sequence)] for event in listener.events)
    assert not listener.lost
    assert heard == list(range(heard[0], heard[-1] + 1)), "a number went missing in silence"


class Counted(Protocol):
    """What has counters: a daemon, or a service."""

    def metrics(self) -> dict[str, float]: ...


def assert_balanced(daemon: Counted) -> None:
    """Every trigger is answered or in flight, and every frame handed over, dropped for a reason, or waiting.

    The pages are read while the station runs, so the sums are right at one of many looks.
    """
    until = time.monotonic() + 60
    while not is_balanced(daemon.metrics()):
        assert time.monotonic() < until, daemon.metrics()
        time.sleep(0.02)


def is_balanced(metrics: dict[str, float]) -> bool:
    totals: Counter[str] = Counter()
    for name, value in metrics.items():
        totals[name.partition("{")[0].removeprefix("goldline_")] += value
        if 'stage="capture"' in name:
            totals["dropped_by_capture"] += value
    slots = 8 * sum(name.startswith("goldline_camera_up") for name in metrics)
    waiting = slots - totals["ring_slots"]
    return (
        totals["triggers_total"] == totals["verdicts_total"] + totals["triggers_in_flight"]
        and totals["frames_captured_total"] == totals["frames_handed_total"] + totals["dropped_by_capture"] + waiting
    )


@contextmanager
def running(config: Path) -> Iterator[tuple[Daemon, Listener]]:
    with rehearsal.running(config) as daemon:
        listener = Listener(config)
        assert listener.joined.wait(60)
        yield daemon, listener


def leftovers() -> set[str]:
    """What a station could leave behind in the places that outlive it."""
    return {
        name for folder in ("/dev/shm", "/tmp") for name in os.listdir(folder) if "goldline" in name or "shm" in name
    }


class Manager:
    """The other end of $NOTIFY_SOCKET, as systemd would hold it."""

    def __init__(self, address: str) -> None:
        self.said: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.said += self._socket.recv(1000).splitlines()

    def wait_for(self, word: bytes, timeout_s: float = 60.0) -> None:
        """Until it is said again."""
        before, until = self.said.count(word), time.monotonic() + timeout_s
        while self.said.count(word) == before:
            assert time.monotonic() < until, (word, self.said[-5:])
            time.sleep(0.01)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
