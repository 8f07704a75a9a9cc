"""An OPC UA lane in a process of its own, of which the test is supervisor and publish; and a client that is not ours."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from edge import events, topology
from edge.channel import Channel, ChannelClosed, pair
from edge.child import Child
from edge.config import Station
from edge.decided_log import DecidedLog, decided_path
from edge.events import Event, Result
from edge.messages import Answered, Asked, Link, News, Standing, Stop
from edge.metrics import Counter, Gauge
from edge.records import Outcome
from tests.needs import needs_node

# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 60.0
PEER = Path(__file__).parents[1] / "node" / "opcua.mjs"
CONTINUOUS = {
    "station": "cell",
    "state": "ContinuousExecution",
    "cameras": {"left": {"mode": "software", "is_linked": True}, "right": {"mode": "software", "is_linked": True}},
    "job": {"product": "lid", "configuration": 1, "recipe_sha256": "ab" * 32},
}


def accepted(_order: dict[str, Any]) -> dict[str, Any]:
    return {"accepted": True, "trigger_id": 7}


def until(condition: Callable[[], Any], what: str) -> Any:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited in vain: {what}")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def counted() -> tuple[Gauge, Counter]:
    """Connections and refusals, as a lane's page counts them."""
    values = memoryview(bytearray(16)).cast("d")
    return Gauge(values, 0), Counter(values, 1)


def decided(trigger_id: int, outcome: Outcome = Outcome.PASS, camera: str = "left", **fields: Any) -> Event:
    """An event that was just decided."""
    now = datetime.now(UTC)
    known = {
        "triggered": now - timedelta(milliseconds=40),
        "captured": now - timedelta(milliseconds=30),
        "decided": now,
        "deadline_ms": 60_000.0,
        "product": "lid",
        "configuration": 1,
        "recipe_sha256": "ab" * 32,
        "score": 0.5,
        "unit_identifier": f"U{trigger_id}",
    }
    data = Result(station="cell", camera=camera, trigger_id=trigger_id, verdict=outcome, **(known | fields))
    return Event(source="urn:goldline:-:-:cell", time=now, subject=f"U{trigger_id}", data=data)


class Publish:
    """The other end of a lane's link: writes decisions, beats, answers orders."""

    def __init__(self, tmp_path: Path, lanes: dict[str, Any]) -> None:
        camera = {"source": "simulated", "trigger": {"mode": "software"}}
        self.station = Station.model_validate(
            {
                "state_dir": tmp_path / "state",
                "runtime_dir": tmp_path / "run",
                "cameras": {"left": camera | {"role": "left"}, "right": camera | {"role": "right"}},
                "lanes": lanes,
            }
        )
        (process,) = (one for one in topology.processes(self.station) if one.role.name == "lane")
        self.child = Child(process, self.station, 1)
        self.log = DecidedLog.create_or_resume(decided_path(tmp_path / "run"), "cell")
        self.orders: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = accepted
        self.beats = True
        self._channel: Channel | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._live, daemon=True).start()

    def start(self) -> None:
        self.child.start(time.monotonic())
        self.link()

    def wait_until_up(self) -> None:
        until(lambda: self.child.is_running, "the lane is up")
        # The first start of all begins at the end of the log: its first round must be over.
        rounds = self.child.page.loop_count
        until(lambda: self.child.page.loop_count > rounds + 1, "the lane's loop comes round")

    def link(self) -> None:
        ours, theirs = pair()
        self.child.tell(Link(peer="publish"), theirs.fileno())
        theirs.close()
        self.unlink()
        with self._lock:
            self._channel = Channel(ours)
        self.stand(CONTINUOUS)

    def unlink(self) -> None:
        """Publish is dead, for the lane."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = None

    def stand(self, state: dict[str, Any]) -> None:
        self._say(Standing(state=msgspec.json.encode(state)))

    def decide(self, *made: Event) -> None:
        for event in made:
            self.log.mark_committed(self.log.append(events.encode(event)))
        self._say(News())

    def kill(self) -> None:
        self.child.kill()
        self.child.reap(time.monotonic())

    def stop(self) -> int:
        self.child.tell(Stop())
        assert self.child.popen is not None
        return self.child.popen.wait(PATIENCE_S)

    def close(self) -> None:
        self._ended.set()
        self.unlink()
        if self.child.popen is not None:
            self.kill()

    def _say(self, message: Any) -> None:
        with self._lock:
            if self._channel is not None:
                with suppress(ChannelClosed):  # the lane is dead, as the test wants it
                    self._channel.send(message)

    def _live(self) -> None:
        while not self._ended.wait(0.01):
            if self.beats:
                self.log.beat(time.monotonic_ns())
            with self._lock:
                self._hear(self._channel)

    def _hear(self, channel: Channel | None) -> None:
        try:
            for message in channel.drain() if channel is not None else ():
                assert isinstance(message, Asked)
                order = json.loads(message.order)
                self.orders.append(order)
                channel.send(Answered(token=message.token, answer=json.dumps(self.answer(order)).encode()))
        except ChannelClosed:
            assert channel is not None
            channel.close()
            self._channel = None


@contextmanager
def publishing(tmp_path: Path, lanes: dict[str, Any]) -> Iterator[Publish]:
    publish = Publish(tmp_path, lanes)
    try:
        yield publish
    finally:
        publish.close()


class Peer:
    """node-opcua: a client by other people."""

    def __init__(self, url: str, pki: Path, *, is_secure: bool = False) -> None:
        self._node, self._url, self._pki = needs_node("node-opcua-client"), url, pki
        self._secure = ["secure"] if is_secure else []

    def _command(self, *words: str) -> list[str]:
        return [str(self._node), str(PEER), self._url, str(self._pki), *words, *self._secure]

    def ask(self, *words: str) -> list[dict[str, Any]]:
        """What it prints, one line each."""
        done = subprocess.run(
            self._command(*words), capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=PEER.parent
        )
        assert done.stdout, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def call(self, path: str, *arguments: Any) -> dict[str, Any]:
        (answer,) = self.ask("call", path, *(json.dumps(argument) for argument in arguments))
        return answer

    def staying(self) -> "Staying":
        """A client that connects again by itself."""
        return Staying(self._url, self._pki)

    @contextmanager
    def watching(self) -> Iterator[list[dict[str, Any]]]:
        """The events it hears, as they come; a client that ends with its server is started anew."""
        heard: list[dict[str, Any]] = []
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(heard, ended), daemon=True)
        thread.start()
        try:
            until(lambda: any("watching" in one for one in heard), "the client watches")
            yield heard
        finally:
            ended.set()
            thread.join(PATIENCE_S)

    def _watch(self, heard: list[dict[str, Any]], ended: threading.Event) -> None:
        while not ended.wait(0.1):
            with subprocess.Popen(
                self._command("watch"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=PEER.parent
            ) as process:
                assert process.stdout is not None
                watcher = threading.Thread(target=lambda one=process: (ended.wait(), one.kill()), daemon=True)
                watcher.start()
                heard.extend(json.loads(line) for line in process.stdout if line.startswith("{"))


class Staying:
    """node-opcua as other people use it: one client that connects again by itself, and calls methods meanwhile."""

    def __init__(self, url: str, pki: Path) -> None:
        self.heard: list[dict[str, Any]] = []
        command = [str(needs_node("node-opcua-client")), str(PEER), url, str(pki), "stay"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=PEER.parent,
        )
        self._calls = 0
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self.heard.extend(json.loads(line) for line in self._process.stdout if line.startswith("{"))

    def __enter__(self) -> Self:
        until(lambda: any("watching" in one for one in self.heard), "the client watches")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._listening.join()
        with self._process:
            return

    def call(self, path: str, *arguments: Any) -> Callable[[], dict[str, Any]]:
        """Send it; the answer, or `lost`, when it is called for."""
        self._calls += 1
        number = self._calls
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, path, *arguments]) + "\n")
        self._process.stdin.flush()
        return lambda: until(
            lambda: next((one for one in list(self.heard) if one.get("answered") == number), None), f"answer to {path}"
        )


def results(heard: list[dict[str, Any]]) -> list[str]:
    """The ids of the results among what was heard, in order."""
    return [one["ResultId"]["id"] for one in heard if one.get("ResultId")]
