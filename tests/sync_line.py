"""A station of which publish and SYNC are real: `publish_line.Line`, with the process that says again what was said."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import zmq

from edge import announce, key_files, session, topology
from edge.channel import pair
from edge.child import Child
from edge.client import Subscriber
from edge.events import Source
from edge.header import Flag
from edge.keys import ClientKeys, load_station_key, new_pair
from edge.ledger import Decision, Origin, View
from edge.messages import Ids, Link, Stop, WantIds
from edge.outbox import Draft, Outbox
from edge.publish import outbox_path
from edge.rehearsal import free_ports
from tests import values
from tests.publish_line import PATIENCE_S, Line, lines, until


class SyncLine(Line):
    """Two real processes, and the link between them. `live_at` and `sync_at`: where they listen, ipc unless given."""

    def __init__(self, tmp_path: Path, context: zmq.Context, **settings: Any) -> None:
        self.addresses = {"live": f"ipc://{tmp_path}/live", "sync": f"ipc://{tmp_path}/sync"}
        self.addresses |= settings.pop("addresses", {})
        events = {**self.addresses, "command": f"ipc://{tmp_path}/cmd", "heartbeat_ms": 50}
        super().__init__(tmp_path, context, **{"events": events, **settings})
        self._context = context
        (process,) = (one for one in topology.processes(self.station) if one.name == "sync")
        self.sync = Child(process, self.station, 1)

    def admit(self, name: str) -> ClientKeys:
        """Keys of this client, which is let in from now on. The station's own are made with the first."""
        folder = self.station.keys_dir
        own = load_station_key(folder) or key_files.new_station_key(folder, is_replaced=False)
        public, secret = new_pair()
        key_files.allow(folder, name, public, ("events",), is_replaced=True)
        return ClientKeys(server_public=own.public, public=public, secret=secret)

    def listen_with(self, keys: ClientKeys) -> None:
        """`subscriber` has these keys; before `start`."""
        self.subscriber.socket.close()
        self.subscriber.socket = session.connect(self._context, zmq.SUB, self.addresses["live"], keys)

    def start_sync(self) -> None:
        """And link it to publish, where that runs."""
        self.sync.start(time.monotonic())
        if self.child.popen is not None:
            self.link_both()

    def start_both(self) -> None:
        self.sync.start(time.monotonic())
        self.start()
        self.link_both()

    def link_both(self) -> None:
        """As the supervisor does at each start of either."""
        publish, sync = pair()
        self.child.tell(Link(peer="sync"), publish.fileno())
        self.sync.tell(Link(peer="publish"), sync.fileno())
        publish.close()
        sync.close()

    def kill_sync(self) -> None:
        assert self.sync.popen is not None
        self.sync.kill()
        self.sync.reap(time.monotonic())

    def stop_sync(self) -> int:
        assert self.sync.popen is not None
        self.sync.tell(Stop())
        return self.sync.popen.wait(PATIENCE_S)

    def say(self, count: int, **fields: Any) -> None:
        """So many triggers, each judged at once."""
        if "left" not in self.logs or "inspection" not in self.peers:
            self.capture("left")
            self.link("inspection")
        for _ in range(count):
            if self.logs["left"].wants_ids:
                self._fetch_ids()
            self.judge(self.open(**fields).trigger_id)

    def _fetch_ids(self) -> None:
        self.send("capture@left", WantIds())
        while not isinstance(said := self.hear("capture@left"), Ids):
            continue
        self.logs["left"].add_ids(said.first, said.last)

    def subscriber_of(self, **options: Any) -> Subscriber:
        return Subscriber(**{**self.addresses, "silence_s": PATIENCE_S, **options})

    def fill(self, count: int) -> None:
        """So many more events in the outbox; publish must be down."""
        with Outbox(outbox_path(self.station), "filler") as outbox:
            first = outbox.head + 1_000_000
            for start in range(0, count, 256):
                outbox.commit([draft(first + number) for number in range(start, min(start + 256, count))])

    def bodies(self) -> list[bytes]:
        """What is in the outbox; publish must be down."""
        with Outbox(outbox_path(self.station), "reader") as outbox:
            return [one.body for one in outbox.read(1, 1_000_000)]

    def replace_outbox(self) -> None:
        """Set aside, as a broken one is; publish must be down."""
        path = outbox_path(self.station)
        for suffix in ("", "-wal", "-shm"):
            beside = Path(f"{path}{suffix}")
            if beside.exists():
                beside.rename(f"{path}.aside-{uuid4()}{suffix}")

    def query(self, question: str) -> list[tuple[Any, ...]]:
        """What the outbox's tables hold; publish may be up."""
        with closing(sqlite3.connect(f"file:{outbox_path(self.station)}?mode=ro", uri=True)) as outbox:
            return outbox.execute(question).fetchall()

    def prune(self, upto: int) -> None:
        """Let go of the events up to this one; publish must be down."""
        with closing(sqlite3.connect(outbox_path(self.station), isolation_level=None)) as outbox:
            outbox.execute("DELETE FROM events WHERE sequence <= ?", (upto,))

    def acknowledged(self) -> dict[str, int]:
        """By consumer, as publish has written it down."""
        return dict(self.query("SELECT name, upto FROM consumers"))

    def kill_all(self) -> None:
        for child in (self.child, self.sync):
            if child.popen is not None:
                child.kill()
                child.reap(time.monotonic())


SOURCE = Source(site="-", line="-", station="s")


def draft(trigger_id: int) -> Draft:
    """A verdict of usual size and of now, so that it is not let go for its age; ready to be committed."""
    now_utc_ns = time.time_ns()
    judged = values.judged(trigger_id)
    view = View(verdict=judged.verdict, origin=Origin(judged.frame, judged.provenance, judged.timing))
    decision = Decision(
        trigger=values.trigger(trigger_id, opened_utc_ns=now_utc_ns),
        verdict=judged.verdict,
        decided_ns=values.OPENED_NS + 12_000_000,
        views={"left": view},
    )
    event = announce.result_event(SOURCE, decision, is_simulated=True)
    return Draft(
        topic=SOURCE.topic("left", "result"),
        flags=Flag.DURABLE | Flag.SIMULATED,
        verdict_utc_ns=now_utc_ns,
        event=event,
    )


@contextmanager
def sync_lines(tmp_path: Path, **settings: Any) -> Iterator[SyncLine]:
    """One such station, not started; what is left of it is killed."""
    with lines(tmp_path, SyncLine) as make:
        line = make(**settings)
        try:
            yield line
        finally:
            line.kill_all()


def keyed(tmp_path: Path) -> AbstractContextManager[SyncLine]:
    """One whose sockets ask for keys."""
    live, sync = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    return sync_lines(tmp_path, addresses={"live": live, "sync": sync}, security={"curve": "always"})


class Dealer:
    """A DEALER socket, as any language has it."""

    def __init__(self, address: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def ask(self, *frames: bytes) -> list[bytes]:
        self.socket.send_multipart(frames)
        return self.hear()

    def hear(self) -> list[bytes]:
        until(lambda: self.socket.poll(20), "an answer of SYNC")
        return self.socket.recv_multipart()

    def close(self) -> None:
        self.socket.close()
        self.context.term()
