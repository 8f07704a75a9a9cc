"""A reader's two sockets, and what goes over them: reads and sends what can be now, never waits."""

import os
import time
from collections.abc import Callable

import zmq

from edge import dead_peers, header, sync_protocol
from edge.catch_up import CatchUp
from edge.errors import GoldlineError
from edge.header import VERSION, Flag
from edge.heard import Cursor
from edge.keys import ClientKeys
from edge.sync_protocol import Acked, ProtocolError

Socket = zmq.Socket[bytes]

RECONNECT_MS, RECONNECT_MAX_MS = 100, 2000
# TCP alone tries for two minutes to reach an address that does not answer.
CONNECT_TIMEOUT_MS = 2000
# Events that may wait in this process; more are let go by ZeroMQ and fetched.
RECEIVE_HIGH_WATER = 10_000
# An event of a part with many views is a megabyte at most.
MAX_FRAME_BYTES = 16 << 20
# How long the last acknowledgement may take to leave.
LINGER_MS = 500
# Without a word for so long, a socket is made anew: one whose key was refused once never tries again by itself.
RENEW_NS = 15_000_000_000
# What is at hand is handed on before more is read.
ITEMS_AT_HAND = 1000
# After so long an acknowledgement without its answer is sent again.
ACKED_WITHIN_NS = 3_000_000_000


def connect(context: zmq.Context[Socket], kind: int, address: str, keys: ClientKeys | None) -> Socket:
    """A client's socket, connected again by itself whenever that is lost. Raises GoldlineError for what is no address."""
    socket = context.socket(kind)
    try:
        _connect(socket, kind, address, keys)
    except zmq.ZMQError as problem:
        socket.close(linger=0)
        raise GoldlineError(f"{address}: cannot be connected to: {os.strerror(problem.errno or 0)}") from problem
    return socket


def _connect(socket: Socket, kind: int, address: str, keys: ClientKeys | None) -> None:
    options = {
        zmq.LINGER: LINGER_MS,
        zmq.RCVHWM: RECEIVE_HIGH_WATER,
        zmq.MAXMSGSIZE: MAX_FRAME_BYTES,
        zmq.RECONNECT_IVL: RECONNECT_MS,
        zmq.RECONNECT_IVL_MAX: RECONNECT_MAX_MS,
        zmq.CONNECT_TIMEOUT: CONNECT_TIMEOUT_MS,
        **dead_peers.OPTIONS,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    # A socket in the file system asks for no key: the folder that it lies in guards it.
    if keys is not None and not address.startswith("ipc://"):
        socket.curve_serverkey = keys.server_public.encode()
        socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
    if kind == zmq.SUB:
        socket.setsockopt(zmq.SUBSCRIBE, f"goldline.v{VERSION}.".encode())
    else:
        # What nobody is there to take is not queued: it is asked again when somebody is.
        socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.connect(address)


class Wire:
    """One socket, made anew where nothing has come for long."""

    def __init__(self, context: zmq.Context[Socket], kind: int, address: str, keys: ClientKeys | None) -> None:
        self._make = lambda: connect(context, kind, address, keys)
        self.socket = self._make()
        self.heard_ns = time.monotonic_ns()

    def receive(self, now_ns: int) -> list[bytes] | None:
        """The frames of the next message; None where there is none now."""
        try:
            frames = self.socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return None
        self.heard_ns = now_ns
        return frames

    def send(self, frames: list[bytes]) -> bool:
        """Whether somebody is there to take it."""
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            return False
        return True

    def renew_if_silent(self, now_ns: int) -> None:
        """Nothing is lost with the old one: what is missing is seen by the numbers."""
        if now_ns > self.heard_ns + RENEW_NS:
            self.socket.close(linger=0)
            self.socket, self.heard_ns = self._make(), now_ns


class Session:
    """LIVE and SYNC of one station for one reader, and the reading's state. Closed by `close`."""

    def __init__(self, reading: CatchUp, sync: str, live: str | None, keys: ClientKeys | None) -> None:
        """Raises GoldlineError for what is no address."""
        self.reading = reading
        self._context: zmq.Context[Socket] = zmq.Context()
        try:
            self._sync = Wire(self._context, zmq.DEALER, sync, keys)
            self._live = Wire(self._context, zmq.SUB, live, keys) if live is not None else None
        except GoldlineError:
            self._context.destroy(linger=0)
            raise
        self.heard_ns = time.monotonic_ns()
        self.on_state: Callable[[bytes], None] | None = None
        self._acknowledged: Cursor | None = None
        # The acknowledgement whose answer is awaited, and when it was sent.
        self._acking: Cursor | None = None
        self._acking_since_ns = 0

    @property
    def sockets(self) -> list[Socket]:
        """To wait for; others after a renewal."""
        return [wire.socket for wire in (self._sync, self._live) if wire is not None]

    def acknowledge(self, cursor: Cursor) -> None:
        """Sent with the next `pump` or at the end; of several, the newest."""
        self._acknowledged = cursor

    def pump(self) -> None:
        """Read what is here, as far as there is room; send what is wanted."""
        now_ns = time.monotonic_ns()
        self._read_sync(now_ns)
        if self._live is not None:
            self._read_live(self._live, now_ns)
        self._ask(now_ns)
        self._send_acknowledgement(now_ns)

    def close(self) -> None:
        """Send what is acknowledged, and close."""
        self._send_acknowledgement(time.monotonic_ns(), is_last=True)
        if self._live is not None:
            self._live.socket.close(linger=0)
        self._sync.socket.close()
        self._context.term()

    def _read_sync(self, now_ns: int) -> None:
        while len(self.reading.items) < ITEMS_AT_HAND and (frames := self._sync.receive(now_ns)) is not None:
            self.heard_ns = now_ns
            try:
                answer, sent = sync_protocol.parse_answer(frames)
            except ProtocolError:
                continue  # of a later version, or nothing: what was asked is asked again
            if isinstance(answer, Acked):
                self._acking = None
            self.reading.answered(answer, sent, now_ns)

    def _read_live(self, live: Wire, now_ns: int) -> None:
        live.renew_if_silent(now_ns)
        while len(self.reading.items) < ITEMS_AT_HAND and (frames := live.receive(now_ns)) is not None:
            self.heard_ns = now_ns
            try:
                topic, head, body = frames
                named = header.decode(head)
            except ValueError:
                continue  # of a later version: not for us
            self.reading.live(topic, named, body, now_ns)
            if topic.endswith(b".state.") and not named.flags & Flag.DURABLE and self.on_state is not None:
                self.on_state(body)

    def _ask(self, now_ns: int) -> None:
        if len(self.reading.items) >= ITEMS_AT_HAND:
            return
        if not self.reading.is_asking:
            self._sync.heard_ns = now_ns  # nothing is asked, so silence means nothing
        self._sync.renew_if_silent(now_ns)
        request = self.reading.wanted(now_ns)
        if request is not None and not self._sync.send(sync_protocol.encode(request)):
            self.reading.unsent(now_ns)

    def _send_acknowledgement(self, now_ns: int, *, is_last: bool = False) -> None:
        """The newest; without an answer in time the one that was sent, which may have been lost, or refused for now."""
        if self._acking is not None and not is_last and now_ns < self._acking_since_ns + ACKED_WITHIN_NS:
            return
        cursor = self._acknowledged or self._acking
        request = self.reading.ack(cursor) if cursor is not None else None
        if request is None and self.reading.has_begun:
            self._acknowledged = self._acking = None
        elif request is not None and self._sync.send(sync_protocol.encode(request)):
            self._acknowledged, self._acking, self._acking_since_ns = None, cursor, now_ns
