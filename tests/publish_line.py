"""A station of which only publish is real: the test is supervisor, captures and inspection."""

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import zmq

from edge import events, header, topology
from edge.channel import Channel, ChannelFull, pair
from edge.child import Child
from edge.config import Station
from edge.events import Event
from edge.header import Header
from edge.messages import AnyMessage, Fire, Ids, Link, Opened, Prepared, Run, Stop, WantIds
from edge.metrics import State
from edge.outbox import Outbox
from edge.publish import outbox_path
from edge.records import Outcome, Trigger
from edge.topology import triggerable
from edge.trigger_log import OpenedLog, opened_path
from tests import values

# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 60.0


def until(condition: Callable[[], Any], what: str) -> Any:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if found := condition():
            return found
        time.sleep(0.002)
    raise AssertionError(f"waited in vain: {what}")


class Subscriber:
    """A plain SUB socket, as the README's twenty lines would have it."""

    def __init__(self, context: zmq.Context, address: str) -> None:
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.subscribe("goldline.v1.")
        self.socket.connect(address)
        self.head: int | None = None
        self.events: list[Event] = []
        self.states: list[bytes] = []
        self.headers: list[Header] = []

    def hear(self, timeout_ms: int = 0) -> None:
        while self.socket.poll(timeout_ms):
            topic, head, body = self.socket.recv_multipart()
            if topic.endswith(b".hb."):
                self.head = events.decode_head(body).head
            elif topic.endswith(b".state."):
                self.states.append(body)
            else:
                self.events.append(events.decode(body))
                self.headers.append(header.decode(head))

    def wait(self, count: int) -> list[Event]:
        until(lambda: self.hear(5) or len(self.events) >= count, f"{count} events, got {len(self.events)}")
        return self.events


def camera(mode: str, role: str = "main", *, deadline_ms: float = 60_000, **trigger: Any) -> dict[str, Any]:
    return {"source": "simulated", "role": role, "trigger": {"mode": mode, "deadline_ms": deadline_ms, **trigger}}


class Line:
    """The station."""

    def __init__(self, tmp_path: Path, context: zmq.Context, **settings: Any) -> None:
        """`settings` are the station's; without cameras it has one that runs freely and one that is triggered."""
        addresses = {"live": f"ipc://{tmp_path}/live", "command": f"ipc://{tmp_path}/cmd", "heartbeat_ms": 50}
        self.station = Station.model_validate(
            {
                "state_dir": tmp_path / "state",
                "runtime_dir": tmp_path / "run",
                "cameras": {"left": camera("free"), "right": camera("software")},
                "events": addresses,
                # The least there may be: stations of tests are many.
                "outbox": {"reserve_bytes": 1 << 20},
                **settings,
            }
        )
        (process,) = (one for one in topology.processes(self.station) if one.name == "publish")
        self.child = Child(process, self.station, 1)
        self.peers: dict[str, Channel] = {}
        self.logs: dict[str, OpenedLog] = {}
        self.runs: dict[str, Run] = {}
        self.subscriber = Subscriber(context, addresses["live"])

    def start(self) -> None:
        self.child.start(time.monotonic())
        self.subscriber.head = None
        self.wait_until(lambda: self.subscriber.hear(5) or self.subscriber.head is not None, "publish is up")

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        def checked() -> Any:
            assert self.child.popen is not None
            assert self.child.popen.poll() is None, f"publish died while we waited: {what}"
            return condition()

        return until(checked, what)

    def link(self, peer: str) -> Channel:
        ours, theirs = pair()
        self.child.tell(Link(peer=peer), theirs.fileno())
        theirs.close()
        self.unlink(peer)
        self.peers[peer] = Channel(ours)
        if peer == "inspection":
            self.peers[peer].send(Prepared(product="part", generation=1, provenance=values.PROVENANCE))
        return self.peers[peer]

    def unlink(self, peer: str) -> None:
        if peer in self.peers:
            self.peers.pop(peer).close()

    def hear(self, peer: str) -> AnyMessage:
        """What it is told next; whether it opens triggers is kept aside, in `runs`."""
        while isinstance(said := self.wait_until(self.peers[peer].receive, f"a message to {peer}"), Run):
            self.runs[peer] = said
        return said

    def hear_runs(self, peer: str = "capture@left") -> bool | None:
        """Whether this capture process may open triggers, as it was last told; None: it never was."""
        while (said := self.peers[peer].receive()) is not None:
            if isinstance(said, Run):
                self.runs[peer] = said
        return self.runs[peer].is_on if peer in self.runs else None

    def capture(self, camera: str = "left") -> OpenedLog:
        """A capture process comes up: links, resumes its log, asks for ids if it has none."""
        channel = self.link(f"capture@{camera}")
        log = self.logs[camera] = OpenedLog.create_or_resume(opened_path(self.station.runtime_dir, camera), camera)
        if log.wants_ids:
            channel.send(WantIds())
            while not isinstance(ids := self.hear(f"capture@{camera}"), Ids):
                assert isinstance(ids, Fire)
            log.add_ids(ids.first, ids.last)
        return log

    def open(
        self,
        camera: str = "left",
        *,
        deadline_ms: float = 60_000,
        is_told: bool = True,
        name: str | None = None,
        **fields: Any,
    ) -> Trigger:
        """That capture opens a trigger, its own or that of the group of this name."""
        log, now_ns = self.logs[camera], time.monotonic_ns()
        number = log.next_id()
        assert number is not None
        one = values.trigger(
            number,
            name or camera,
            opened_ns=now_ns,
            opened_utc_ns=time.time_ns(),
            deadline_ns=now_ns + int(deadline_ms * 1e6),
            **fields,
        )
        log.append(one)
        if is_told:
            self.send(f"capture@{camera}", Opened(trigger=one))
        return one

    def judge(self, trigger_id: int, camera: str = "left", outcome: Outcome = Outcome.PASS) -> None:
        self.send("inspection", values.judged(trigger_id, camera, outcome, at_ns=time.monotonic_ns()))

    def send(self, peer: str, message: AnyMessage) -> None:
        """Send, and wait for room where publish does not keep up."""

        def sent() -> bool:
            try:
                self.peers[peer].send(message)
            except ChannelFull:
                return False
            return True

        until(sent, f"room for a message of {peer}")

    def kill(self) -> None:
        assert self.child.popen is not None
        self.child.kill(signal.SIGKILL)
        self.child.reap(time.monotonic())

    def stop(self) -> int:
        """The supervisor's clean stop; inspection is the last to leave."""
        assert self.child.popen is not None
        for peer in set(self.peers) - {"inspection"}:
            self.unlink(peer)
        self.child.tell(Stop())
        self.wait_until(lambda: self.child.page.state is State.STOPPING, "publish is stopping")
        self.unlink("inspection")
        return self.child.popen.wait(PATIENCE_S)

    def metric(self, name: str, **labels: str) -> float:
        (value,) = (
            values[0]
            for series, values in self.child.page.read()
            if series.metric.name == name and dict(zip(series.metric.labels, series.labels, strict=True)) == labels
        )
        return value

    def assert_in_balance(self) -> None:
        """Triggers == verdicts + in flight, for every camera and group, on the metrics page."""
        for camera in triggerable(self.station):
            verdicts = sum(
                self.metric("goldline_verdicts_total", camera=camera, verdict=str(outcome)) for outcome in Outcome
            )
            in_flight = self.metric("goldline_triggers_in_flight", camera=camera)
            assert self.metric("goldline_triggers_total", camera=camera) == verdicts + in_flight

    def stored_now(self) -> list[Event]:
        """The same while publish runs."""
        with closing(sqlite3.connect(f"file:{outbox_path(self.station)}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT body FROM events ORDER BY sequence").fetchall()
        return [events.decode(body) for (body,) in rows]

    def stored(self) -> list[Event]:
        """What is in the outbox; publish must be down."""
        with Outbox(outbox_path(self.station), "reader") as outbox:
            return [events.decode(one.body) for one in outbox.read(1, 1_000_000)]


LineT = TypeVar("LineT", bound=Line)


@contextmanager
def lines(tmp_path: Path, kind: type[LineT] = Line) -> Iterator[Callable[..., LineT]]:
    """Makes such stations, with the station's settings; what is left of them is killed."""
    made: list[LineT] = []
    context = zmq.Context()

    def make(**settings: Any) -> LineT:
        made.append(kind(tmp_path, context, **settings))
        return made[-1]

    yield make
    for line in made:
        if line.child.popen is not None:
            line.kill()
        for channel in line.peers.values():
            channel.close()
    context.destroy(linger=0)


def verdicts_of(heard: list[Event]) -> dict[int | None, tuple[str, str | None]]:
    return {event.data.trigger_id: (event.data.verdict, event.data.reason) for event in heard}
