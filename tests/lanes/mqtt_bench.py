"""A real broker (mosquitto) and a real client of it (mosquitto_sub), for a lane that is a process of its own."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge import topology
from edge.channel import pair
from edge.child import Child
from edge.config import Station
from edge.messages import Link
from tests.needs import needs_program
from tests.publish_line import until
from tests.sync_line import SyncLine


class Mosquitto:
    """The broker; what it keeps for absent clients outlives it where it is given the time to write it down."""

    def __init__(self, folder: Path, port: int, *settings: str) -> None:
        self.port, self._folder = port, folder
        self._program = needs_program("mosquitto", "mosquitto")
        folder.mkdir()
        lines = [f"listener {port} 127.0.0.1", "user root", "persistence true", f"persistence_location {folder}/"]
        lines += ["autosave_on_changes true", "autosave_interval 1", "max_queued_messages 0", *settings]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(self._program), "-c", str(self._folder / "mosquitto.conf")], stderr=subprocess.DEVNULL
        )
        until(self._listens, "the broker listens")

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """It writes down what it keeps, and ends."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Listener:
    """mosquitto_sub with a session that the broker keeps; it connects again by itself."""

    def __init__(self, port: int, topic: str, *options: str) -> None:
        self.heard: list[tuple[str, str]] = []
        # When each came, seconds since 1970.
        self.at: list[float] = []
        program = needs_program("mosquitto_sub", "mosquitto-clients")
        words = [str(program), "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1", "-F", "%t %P\t%p"]
        self._process = subprocess.Popen(
            [*words, "-c", "-i", "listener", "-x", "3600", *options], stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.at.append(time.time())
            head, _, body = line.rstrip("\n").partition("\t")
            self.heard.append((head, body))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class MqttLane:
    """The lane's process; the test is its supervisor."""

    def __init__(self, station: Station) -> None:
        (process,) = (one for one in topology.processes(station) if one.name == "lane@mqtt")
        self.child = Child(process, station, 1)

    def start(self) -> None:
        self.child.start(time.monotonic())

    def link(self, publish: Child) -> None:
        ours, theirs = pair()
        publish.tell(Link(peer="lane@mqtt"), ours.fileno())
        self.child.tell(Link(peer="publish"), theirs.fileno())
        ours.close()
        theirs.close()

    def begin(self, line: SyncLine) -> None:
        """Start publish and SYNC, and the lane beside them."""
        line.start_both()
        self.start()
        self.link(line.child)

    def kill(self) -> None:
        if self.child.popen is not None:
            self.child.kill()
            self.child.reap(time.monotonic())


@contextmanager
def killed_at_the_end(*ones: Any) -> Iterator[tuple[Any, ...]]:
    """Each has a `kill`."""
    try:
        yield ones
    finally:
        for one in ones:
            one.kill()


def sequences(listener: Listener, topic: str) -> list[int]:
    """The numbers of the events heard under this topic, as they came: by their MQTT user properties alone."""
    numbers: list[int] = []
    for head, _ in list(listener.heard):
        words = head.split()
        if words[0] == topic:
            numbers.append(int(dict(word.split(":", 1) for word in words[1:])["sequence"]))
    return numbers


def in_order_once(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def wait_for(listener: Listener, topic: str, count: int) -> None:
    until(lambda: len(set(sequences(listener, topic))) >= count, f"{count} events under {topic}")
