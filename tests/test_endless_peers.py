"""Peers that say more than anybody may: what they take is bounded, they are sent off, and nobody else is kept waiting."""

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import zmq

from edge import border, doors
from edge.committer import TEND_S
from edge.guard import Guard, tend
from edge.inbox import FRAMES_AT_ONCE, MOST_FRAMES, Inbox
from edge.live import SUBSCRIPTIONS_A_TURN
from edge.rehearsal import free_ports
from tests import raw_peer
from tests.border_post import LOOPBACK, PATIENCE_S, asked, station, until
from tests.publish_line import Line, lines
from tests.raw_peer import LAST, MORE, frame

ROOT = Path(__file__).parent.parent


class Flood:
    """A raw peer that says the same over and over until it is hung up on, or `close`."""

    def __init__(self, port: int, words: bytes, kind: bytes = b"DEALER") -> None:
        self._peer, self._words = raw_peer.shaken_hands(port, kind), words
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._peer.sendall(self._words)

    @property
    def is_hung_up_on(self) -> bool:
        return not self._thread.is_alive()


class Echo(threading.Thread):
    """A station's socket without keys, that says back what it hears."""

    def __init__(self, folder) -> None:
        super().__init__()
        self._folder, self.port, self.is_over = folder, 0, threading.Event()

    def run(self) -> None:
        with (
            zmq.Context() as context,
            Guard(context, station(self._folder, "auto")) as guard,
            border.bind(context, zmq.ROUTER, "k", LOOPBACK, security=guard, zone="orders") as door,
        ):
            self.port = int(door.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
            inbox = Inbox(door)
            while not self.is_over.is_set():
                tend(door)
                door.poll(20)
                while (frames := inbox.receive()) is not None:
                    door.send_multipart([one.bytes for one in frames], zmq.DONTWAIT)


@contextlib.contextmanager
def echoing(folder: Path) -> Iterator[Echo]:
    thread = Echo(folder)
    thread.start()
    until(lambda: thread.port, "it listens")
    try:
        yield thread
    finally:
        thread.is_over.set()
        thread.join()


PIECES = {"frames": frame(MORE, b"") * 20_000, "bodies": b"\x03" + (50_000).to_bytes(8, "big") + bytes(50_000)}


def flooded(folder: Path, piece: str) -> None:
    """Raises AssertionError where memory stays, or who behaves is not served on."""
    doors.MOST_HELD_BYTES = 48 << 20
    with echoing(folder) as echo, zmq.Context() as context, context.socket(zmq.DEALER) as good:
        good.setsockopt(zmq.LINGER, 0)
        good.connect(f"tcp://127.0.0.1:{echo.port}")
        assert asked(good) == "who am I?"
        before = held_bytes()
        with Flood(echo.port, PIECES[piece]) as flood:
            until(lambda: flood.is_hung_up_on, "it is sent off")
        until(lambda: held_bytes() - before < 32 << 20, "its memory is free")
        until(lambda: asked(good, 200) == "who am I?", "the other is back by itself")


@pytest.mark.parametrize("piece", PIECES)
def test_a_message_that_never_ends_is_hung_up_on_and_what_it_took_is_free_again(tmp_path, piece):
    """In a process of its own: what other tests left behind in this one moves as well."""
    words = f"flooded(Path({str(tmp_path)!r}), {piece!r})"
    code = f"from pathlib import Path; from tests.test_endless_peers import flooded; {words}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def held_bytes() -> int:
    """Without what is free and was not given back yet."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", "rb") as statm:
        return doors.private_bytes(statm.fileno())


def test_what_peers_took_once_and_gave_back_leaves_them_no_more_room_the_next_time(monkeypatch):
    monkeypatch.setattr(doors, "MOST_HELD_BYTES", 64 << 20)
    held = doors.Held()
    try:
        taken = b"x" * (160 << 20)
        assert held.is_too_much(1.0)
        assert not held.is_too_much(2.0)  # it could not be let go: it counts as the process's own
        del taken
        assert not held.is_too_much(3.0)
        again = b"x" * (96 << 20)
        assert held.is_too_much(4.0), len(again)
    finally:
        held.close()


def test_a_message_of_many_frames_is_read_a_little_at_a_time():
    many = 10 * FRAMES_AT_ONCE
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        inbox, port = Inbox(router), router.bind_to_random_port("tcp://127.0.0.1")
        with raw_peer.shaken_hands(port) as peer:
            peer.sendall(frame(MORE, b"") * many + frame(LAST, b"") + frame(LAST, b"next"))
            assert router.poll(PATIENCE_S * 1000)
            calls, frames = 1, inbox.receive()
            while frames is None:
                calls, frames = calls + 1, inbox.receive()
            assert (calls, len(frames)) == (many // FRAMES_AT_ONCE + 1, MOST_FRAMES)
            found = until(inbox.receive, "the message after it")
            assert [one.bytes for one in found[1:]] == [b"next"]
            assert inbox.receive() is None


@pytest.fixture
def line(tmp_path) -> Iterator[Line]:
    live, command = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    with lines(tmp_path) as make:
        made = make(events={"live": live, "command": command, "heartbeat_ms": 50})
        made.subscriber.socket.connect(live)
        yield made


def port_of(line: Line, key: str) -> int:
    return int(getattr(line.station.events, key).rpartition(":")[2])


def test_subscriptions_without_end_are_hung_up_on_and_no_event_waits_for_them(line):
    line.start()
    line.capture("left")
    line.link("inspection")
    words = (frame(LAST, b"\x01goldline") + frame(LAST, b"\x00goldline")) * SUBSCRIPTIONS_A_TURN
    with Flood(port_of(line, "live"), words, b"SUB") as flood:
        line.wait_until(lambda: flood.is_hung_up_on, "it is sent off")
        line.judge(line.open().trigger_id)
        line.wait_until(lambda: len(line.stored_now()) == 1, "the event is on disk")
    line.subscriber.head = None
    line.wait_until(lambda: line.subscriber.hear(5) or line.subscriber.head is not None, "the other hears again")
    line.judge(line.open().trigger_id)
    line.wait_until(lambda: line.subscriber.hear(5) or line.subscriber.head == 2, "and of what was said since")


def test_with_every_descriptor_taken_publish_goes_on(line):
    """What is looked at on every turn is open already."""
    line.start()
    line.capture("left")
    line.link("inspection")
    line.judge(line.open().trigger_id)
    line.wait_until(lambda: len(line.stored_now()) == 1, "the event is on disk")
    taken = [int(number) for number in os.listdir(f"/proc/{line.child.pid}/fd")]
    most = max(taken) + 9
    _, hard = resource.prlimit(line.child.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(line.child.pid, resource.RLIMIT_NOFILE, (most, hard))
    with contextlib.ExitStack() as peers:
        for _ in range(most - len(taken)):
            peers.enter_context(raw_peer.shaken_hands(port_of(line, "command")))
        # Longer than between two looks at memory, and at what the outbox keeps.
        later_ns = time.monotonic_ns() + int(3 * TEND_S * 1e9)
        line.wait_until(lambda: line.child.page.beat_ns > later_ns, "its loop comes round")
        assert len(os.listdir(f"/proc/{line.child.pid}/fd")) == most
        line.judge(line.open().trigger_id)
        line.wait_until(lambda: len(line.stored_now()) == 2, "the next is, too")


def test_an_order_in_too_many_frames_is_refused_and_the_next_carried_out(line):
    line.start()
    with raw_peer.shaken_hands(port_of(line, "command")) as peer:
        order = frame(LAST, b'{"verb":"state","id":7}')
        peer.sendall(frame(MORE, b"") * 100_000 + order + frame(MORE, b"") + order)
        heard = b""
        while b'"id":7' not in heard:
            heard += peer.recv(65536)
    assert heard.count(b'"accepted":false') == 1
    assert heard.count(b'"id":7') == 1


UNREAD = """
import socket, struct, sys, time
import zmq
from edge import border, session
from tests import raw_peer
from tests.raw_peer import LAST, frame

context = zmq.Context()
if sys.argv[1] == "reader":
    # Its queue is full, and it is busy with something else for longer than any heartbeat is waited for.
    session.RECEIVE_HIGH_WATER = 10
    live = border.bind(context, zmq.XPUB, "k", "tcp://127.0.0.1:*")
    reader = session.connect(context, zmq.SUB, live.getsockopt_string(zmq.LAST_ENDPOINT), None)
    live.recv()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        live.send(b"goldline.v1." + bytes(3000))
        time.sleep(0.005)
    while reader.poll(200):
        reader.recv()
else:
    # A client that has sent all that may wait unread is killed.
    router = border.bind(context, zmq.ROUTER, "k", "tcp://127.0.0.1:*")
    peer = raw_peer.shaken_hands(int(router.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]))
    peer.setblocking(False)
    try:
        while True:
            peer.send(frame(LAST, b"who am I?") * 1000)
    except BlockingIOError:
        time.sleep(0.1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    time.sleep(1.2)
    while router.poll(200):
        router.recv_multipart()
print("it lives")
context.destroy(linger=0)
"""


@pytest.mark.parametrize("who", ["reader", "station"])
def test_what_is_read_too_slowly_ends_no_process(who):
    """With ZMTP's heartbeats libzmq aborts: the station's process, or the MES that the subscriber is part of."""
    done = subprocess.run([sys.executable, "-c", UNREAD, who], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "it lives\n"), done.stderr
