"""A station's border with one socket, served by a thread of the test's, and clients of it as any program would be one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import zmq

from edge import border, key_files
from edge.config import Station
from edge.guard import Guard, client_name, tend
from edge.keys import ClientKeys, Zone, load_station_key, new_pair

# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 60.0
# A refused peer's message would have come by then: what is let in takes some milliseconds.
NOTHING_MS = 600
LOOPBACK = "tcp://127.0.0.1:*"


def until(condition: Callable[[], Any], what: str) -> Any:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited in vain: {what}")


def station(folder: Path, curve: str = "always", **events: str) -> Station:
    addresses = {"live": LOOPBACK, "sync": LOOPBACK, "command": LOOPBACK} | events
    return Station.model_validate({"state_dir": folder, "security": {"curve": curve}, "events": addresses})


class Post:
    """A station's border of one socket, on a thread: a ROUTER answers with its client's name, an XPUB counts up."""

    def __init__(self, folder: Path, zone: Zone, kind: int, at: str | None = None) -> None:
        """`at`: an address of this machine to listen at, which needs keys by itself; None: loopback, with keys always."""
        address = LOOPBACK if at is None else f"tcp://{at}:*"
        self.station = station(folder, "always" if at is None else "auto", command=address)
        self.keys_dir, self.zone, self.kind = self.station.keys_dir, zone, kind
        if load_station_key(self.keys_dir) is None:
            key_files.new_station_key(self.keys_dir, is_replaced=False)
        self._stack = ExitStack()
        self.server = self._stack.enter_context(zmq.Context[zmq.Socket[bytes]]())
        guard = self._stack.enter_context(Guard(self.server, self.station))
        door = border.bind(self.server, kind, "events.command", address, security=guard, zone=zone)
        self._door = self._stack.enter_context(door)
        self.address = door.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(self.address.rpartition(":")[2])
        # A context of the clients' own: in the station's, its own guard would be asked about them.
        self.context = zmq.Context[zmq.Socket[bytes]]()
        self._is_over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        count = 0
        while not self._is_over:
            tend(self._door)
            if self.kind == zmq.XPUB:
                count += 1
                self._door.send(b"%d" % count)
                while self._door.poll(5):
                    self._door.recv()
            elif self._door.poll(20):
                envelope, body = self._door.recv_multipart(copy=False)
                self._door.send_multipart([envelope, (client_name(body) or "nobody").encode(), body])

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        self.context.destroy(linger=0)
        self._stack.close()

    def admit(self, name: str, *zones: Zone) -> ClientKeys:
        """A client of this name, on the list."""
        own = load_station_key(self.keys_dir)
        assert own is not None
        public, secret = new_pair()
        key_files.allow(self.keys_dir, name, public, zones or (self.zone,))
        return ClientKeys(server_public=own.public, public=public, secret=secret)

    def client(self, keys: ClientKeys | None, kind: int | None = None) -> zmq.Socket[bytes]:
        """Connected as any program would be, with the options of none of ours."""
        socket = self.context.socket(kind or {zmq.ROUTER: zmq.DEALER, zmq.XPUB: zmq.SUB}[self.kind])
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.LINGER, 0)
        if keys is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public.encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
        if self.kind == zmq.XPUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(self.address)
        return socket

    def name_of(self, keys: ClientKeys | None) -> str | None:
        """What a new connection with this key is called by the station, which lets it in."""
        with self.client(keys) as socket:
            return asked(socket)

    def is_refused(self, keys: ClientKeys | None) -> bool:
        """Whether a new connection with this key gets no answer."""
        with self.client(keys) as socket:
            return asked(socket, NOTHING_MS) is None


def asked(socket: zmq.Socket[bytes], timeout_ms: int = int(PATIENCE_S * 1000)) -> str | None:
    """None where nobody answers; a connection that was refused already takes nothing to send."""
    if not socket.poll(timeout_ms, zmq.POLLOUT):
        return None
    with suppress(zmq.Again):
        socket.send(b"who am I?", zmq.DONTWAIT)
    return socket.recv_multipart()[0].decode() if socket.poll(timeout_ms) else None


@contextmanager
def post(folder: Path, zone: Zone = "orders", kind: int = zmq.ROUTER, at: str | None = None) -> Iterator[Post]:
    made = Post(folder, zone, kind, at)
    try:
        yield made
    finally:
        made.close()
