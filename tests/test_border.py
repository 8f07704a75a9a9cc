"""The sockets on the border: who is let in and who is sent off, and that garbage, floods and replays change nothing."""

import ctypes
import os
import random
import resource
import socket as sockets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from zmq.utils import z85

from edge import border, doors, key_files, session
from edge.errors import GoldlineError
from edge.guard import ADMITTED, LOOK_MS, OWN, REFUSED, ZAP_VERSION, Guard, client_name, tend
from edge.keys import CLIENTS_FILE, ClientKeys, load_station_key, new_pair, own_keys
from tests.border_post import LOOPBACK, NOTHING_MS, PATIENCE_S, Post, asked, post, station, until
from tests.needs import in_ci, needs_program, needs_root
from tests.tap import Tap, played_again

# From <linux/sched.h>: this thread, and what it starts from now on, in a network of its own.
CLONE_NEWNET = 0x40000000


# --- who is let in


def test_only_a_listed_key_of_the_zone_is_let_in_and_goes_by_its_name(tmp_path):
    with post(tmp_path) as one:
        mes, tail = one.admit("mes", "orders", "events"), one.admit("tail", "events")
        stranger = _with(mes, *new_pair())
        own = own_keys(one.station, "orders")
        assert one.name_of(mes) == "mes"
        assert one.name_of(own) == "nobody", "the station itself is what it says it is"
        assert one.is_refused(tail), "its key is good for another zone"
        assert one.is_refused(stranger)
        assert one.is_refused(None), "without a key, in the clear"
        other_station = ClientKeys(server_public=new_pair()[0], public=mes.public, secret=mes.secret)
        assert one.is_refused(other_station), "to a client that expects another station it says nothing"
        assert one.name_of(mes) == "mes"


def _with(keys: ClientKeys, public: str, secret: str) -> ClientKeys:
    return ClientKeys(server_public=keys.server_public, public=public, secret=secret)


@contextmanager
def network(address: str) -> Iterator[None]:
    """A network of this thread's own, and of the threads it starts, in which the machine has this address."""
    needs_root()
    ip = needs_program("ip", "iproute2")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        os.close(before)
        (pytest.fail if in_ci() else pytest.skip)(f"needs network namespaces: {os.strerror(ctypes.get_errno())}")
    try:
        for words in (["address", "add", f"{address}/24", "dev", "lo"], ["link", "set", "lo", "up"]):
            subprocess.run([ip, *words], check=True)
        yield
    finally:
        returned = libc.setns(before, CLONE_NEWNET)
        os.close(before)
        assert returned == 0, "the tests after these would have no network"


def test_an_address_of_the_plants_network_needs_keys_by_itself(tmp_path):
    with network("10.9.8.7"), post(tmp_path, at="10.9.8.7") as one:
        assert one.address.startswith("tcp://10.9.8.7:")
        assert one.is_refused(None)
        assert one.name_of(one.admit("mes")) == "mes"


def test_a_new_client_is_let_in_at_once_and_a_denied_one_sent_off(tmp_path):
    with post(tmp_path) as one:
        kept, denied = one.admit("kept"), one.admit("denied")
        with one.client(kept) as good, one.client(denied) as bad:
            assert asked(good) == "kept"
            assert asked(bad) == "denied"
            assert one.name_of(one.admit("late")) == "late"
            key_files.deny(one.keys_dir, "denied")
            until(lambda: asked(bad, 100) is None, "the denied client is sent off")
            assert one.is_refused(denied)
            until(lambda: asked(good, 200) == "kept", "the other is back by itself")


def test_a_denied_subscriber_hears_no_more_and_the_others_hear_on(tmp_path):
    with post(tmp_path, "events", zmq.XPUB) as one:
        kept, denied = one.admit("kept"), one.admit("denied")
        with one.client(kept) as good, one.client(denied) as bad:
            assert good.poll(PATIENCE_S * 1000)
            assert bad.poll(PATIENCE_S * 1000)
            key_files.deny(one.keys_dir, "denied")
            until(lambda: _heard(bad, NOTHING_MS) == 0, "nothing more is heard")
            until(lambda: _heard(good, 100), "the other is back by itself")
            assert not bad.poll(NOTHING_MS)


def _heard(socket: zmq.Socket[bytes], timeout_ms: int) -> int:
    count = 0
    end_s = time.monotonic() + timeout_ms / 1000
    while time.monotonic() < end_s:
        if socket.poll(10):
            socket.recv()
            count += 1
    return count


def test_a_zone_taken_away_counts_as_well(tmp_path):
    with post(tmp_path) as one:
        keys = one.admit("mes", "orders", "events")
        with one.client(keys) as socket:
            assert asked(socket) == "mes"
            key_files.allow(one.keys_dir, "mes", keys.public, ("events",))
            until(lambda: asked(socket, 100) is None, "the client is sent off")


def test_a_list_that_is_wrong_changes_nothing_and_one_that_is_gone_lets_nobody_in(tmp_path):
    with post(tmp_path) as one:
        keys = one.admit("mes")
        path = one.keys_dir / CLIENTS_FILE
        good = path.read_text()
        with one.client(keys) as socket:
            assert asked(socket) == "mes"
            for text in ("[clients", "clients = 3", good.replace("orders", "all")):
                path.write_text(text)
                time.sleep(NOTHING_MS / 1000)
                assert asked(socket) == "mes"
                assert one.name_of(keys) == "mes"
            path.write_text(good)
            path.chmod(0o666)
            assert one.name_of(keys) == "mes"
            path.unlink()
            until(lambda: asked(socket, 100) is None, "the client is sent off")
            assert one.is_refused(keys)


def test_who_is_denied_while_no_file_can_be_opened_is_sent_off_when_one_can_be(tmp_path):
    """As where peers hold every descriptor that there is: the one that is denied for it, too."""
    with post(tmp_path) as one:
        kept, path = one.admit("kept"), one.keys_dir / CLIENTS_FILE
        without = one.keys_dir / "without"
        without.write_text(path.read_text())
        without.chmod(0o600)
        with one.client(kept) as good, one.client(one.admit("denied")) as bad:
            assert asked(good) == "kept"
            assert asked(bad) == "denied"
            with no_descriptor_left():
                os.replace(without, path)
                time.sleep(3 * LOOK_MS / 1000)
                assert asked(bad) == "denied", "the list before counts"
            until(lambda: asked(bad, 100) is None, "the denied client is sent off")
            until(lambda: asked(good, 200) == "kept", "the other is back by itself")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """In this process: some more than any poll of the border's looks at are taken, and there are no others."""
    most = 16
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < most:
        taken.append(os.dup(taken[0]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_with_nobody_to_ask_nobody_is_let_in(tmp_path):
    """Should the guard's thread ever die, the sockets are shut, not open."""
    one = station(tmp_path)
    key_files.new_station_key(one.keys_dir, is_replaced=False)
    with zmq.Context() as context, zmq.Context() as clients, Guard(context, one) as guard:
        guard._own = load_station_key(one.keys_dir)  # it takes its thread for running
        with border.bind(context, zmq.ROUTER, "k", LOOPBACK, security=guard, zone="orders") as door:
            keys = own_keys(one, "orders")
            assert keys is not None
            with clients.socket(zmq.DEALER) as socket:
                socket.setsockopt(zmq.LINGER, 0)
                socket.curve_serverkey = keys.server_public.encode()
                socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
                socket.connect(door.getsockopt_string(zmq.LAST_ENDPOINT))
                socket.send(b"hello?")
                assert not door.poll(NOTHING_MS)


def test_a_guard_that_dies_ends_its_process_and_lets_nobody_in_meanwhile(tmp_path):
    def broken(_zone: str) -> None:
        raise OverflowError("a guard's end")

    one = station(tmp_path)
    own = key_files.new_station_key(one.keys_dir, is_replaced=False)
    stranger = ClientKeys(server_public=own.public, public=(pair := new_pair())[0], secret=pair[1])
    with (
        zmq.Context() as context,
        zmq.Context() as clients,
        Guard(context, one, broken) as guard,
        border.bind(context, zmq.ROUTER, "k", LOOPBACK, security=guard, zone="orders") as door,
    ):
        tend(door)
        address = door.getsockopt_string(zmq.LAST_ENDPOINT)
        # What the owner of a socket calls each turn raises it: the worker leaves, and is started again.
        raised = pytest.raises(OverflowError, match="a guard's end")
        with session.connect(clients, zmq.DEALER, address, stranger), raised:
            until(lambda: tend(door), "the guard's end")
        with session.connect(clients, zmq.DEALER, address, own_keys(one, "orders")) as late:
            assert not late.poll(NOTHING_MS, zmq.POLLOUT)


def test_a_process_that_is_started_again_beside_a_wrong_list_serves_the_station_itself(tmp_path):
    """Whoever mends the list by hand may take a while; publish has to be there, should it die meanwhile."""
    one = station(tmp_path)
    key_files.new_station_key(one.keys_dir, is_replaced=False)
    (one.keys_dir / CLIENTS_FILE).write_text("[clients")
    with post(tmp_path) as again:
        assert again.name_of(own_keys(one, "orders")) == "nobody"
        (one.keys_dir / CLIENTS_FILE).unlink()
        assert again.name_of(again.admit("mes")) == "mes"


FRAMES = st.lists(st.binary(max_size=40) | st.sampled_from([b"1.0", b"orders", b"CURVE"]), max_size=9)


@given(FRAMES, st.booleans())
def test_no_request_of_another_form_is_ever_admitted(frames, is_listed):
    with Guard(zmq.Context.instance(), station(Path("nowhere"))) as guard:
        guard._own = load_own() if is_listed else None
        answer = guard._answer(frames)
    assert len(answer) == 6
    assert answer[0] == ZAP_VERSION
    assert answer[2] == REFUSED


def test_a_request_of_the_right_form_is_admitted_by_its_key():
    with Guard(zmq.Context.instance(), station(Path("nowhere"))) as guard:
        guard._own = load_own()
        key = z85.decode(guard._own.public)
        answer = guard._answer([b"1.0", b"7", b"orders", b"127.0.0.1", b"", b"CURVE", key])
    assert answer == [ZAP_VERSION, b"7", ADMITTED, b"OK", OWN.encode(), b""]


def load_own():
    from edge.keys import StationKey

    public, secret = new_pair()
    return StationKey(public=public, secret=secret)


# --- where keys are needed at all


def test_beyond_loopback_nothing_is_bound_without_a_key(tmp_path):
    one = station(tmp_path, "auto", command="tcp://0.0.0.0:*")
    with zmq.Context() as context, Guard(context, one) as guard:
        for security in (guard, None):
            with pytest.raises(GoldlineError) as refusal:
                border.bind(context, zmq.ROUTER, "events.command", "tcp://0.0.0.0:*", security=security, zone="orders")
            assert str(refusal.value) == (
                "events.command: peers at tcp://0.0.0.0:* need keys, and this station has none: goldline keys new"
            )


def test_on_loopback_and_in_the_file_system_no_key_is_asked_for(tmp_path):
    for address in (LOOPBACK, f"ipc://{tmp_path}/socket", "tcp://[::1]:*"):
        one = station(tmp_path, "auto", command=address)
        with zmq.Context() as context, Guard(context, one) as guard, context.socket(zmq.DEALER) as socket:
            with border.bind(context, zmq.ROUTER, "k", address, security=guard, zone="orders") as door:
                socket.setsockopt(zmq.IPV6, 1)
                socket.connect(door.getsockopt_string(zmq.LAST_ENDPOINT))
                socket.send(b"hello")
                assert door.poll(PATIENCE_S * 1000)
                assert client_name(door.recv_multipart(copy=False)[1]) is None
            assert guard._running is None


def test_a_name_that_a_peer_gives_itself_is_no_name(tmp_path):
    """ZMTP's properties are bytes of the peer's own choice; where no key is asked for, nobody else says one of them."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        with sockets.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
            ready = b"\x05READY" + _property(b"Socket-Type", b"DEALER") + _property(b"User-Id", b"\xff\xfe")
            peer.sendall(b"\x04%c" % len(ready) + ready)
            heard = b""
            while b"READY" not in heard:
                heard += peer.recv(1000)
            peer.sendall(b"\x00\x05HELLO")
            assert router.poll(PATIENCE_S * 1000)
            frames = router.recv_multipart(copy=False)
            assert (frames[-1].bytes, client_name(frames[-1])) == (b"HELLO", None)


def _property(name: bytes, value: bytes) -> bytes:
    return b"%c" % len(name) + name + len(value).to_bytes(4, "big") + value


def test_a_listener_whose_interface_is_away_is_opened_again_when_it_is_back(tmp_path):
    with network("10.99.0.1"), post(tmp_path, at="10.99.0.1") as one:
        mes, left = one.admit("mes"), one.admit("left")
        assert one.name_of(mes) == "mes"
        subprocess.run(["ip", "address", "del", "10.99.0.1/24", "dev", "lo"], check=True)
        key_files.deny(one.keys_dir, "left")
        time.sleep(1.5)
        subprocess.run(["ip", "address", "add", "10.99.0.1/24", "dev", "lo"], check=True)
        until(lambda: one.name_of(mes) == "mes", "it is let in again")
        assert one.is_refused(left)


def test_a_listener_whose_port_another_program_has_taken_is_said_and_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr(doors, "TELL_CLOSED_S", 0.05)
    with (
        zmq.Context() as context,
        Guard(context, station(tmp_path, "auto")) as guard,
        border.bind(context, zmq.ROUTER, "k", LOOPBACK, security=guard, zone="orders") as door,
        capture_logs() as said,
    ):
        bound = guard._doors._bound[door]
        door.unbind(bound.address)
        bound.is_open = False
        taken = until(lambda: _listening(bound.address), "the port is free")
        with taken:
            until(lambda: tend(door) or said, "somebody is told")
        assert [one["event"] for one in said] == ["nobody is let in: cannot listen again"]
        until(lambda: tend(door) or bound.is_open, "it listens again")


def _listening(address: str) -> sockets.socket | None:
    try:
        return sockets.create_server(("127.0.0.1", int(address.rpartition(":")[2])))
    except OSError:
        return None


def test_in_the_file_system_never_even_where_always(tmp_path):
    address = f"ipc://{tmp_path}/socket"
    one = station(tmp_path, "always", command=address)
    with zmq.Context() as context, Guard(context, one) as guard:
        border.bind(context, zmq.ROUTER, "k", address, security=guard, zone="orders").close()


# --- what is no peer at all


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)


def test_a_flood_of_garbage_and_silence_keeps_nobody_out_and_leaves_nothing_behind(tmp_path):
    """400 connections that talk nonsense and 300 that say nothing, or stop in the middle of the handshake."""
    noise = random.Random(1)
    with post(tmp_path) as one, one.client(one.admit("mes")) as good:
        assert asked(good) == "mes"
        before, size = descriptors(), resident_bytes()
        raw: list[sockets.socket] = []
        for number in range(700):
            raw.append(sockets.create_connection(("127.0.0.1", one.port)))
            if number % 7 < 4:
                raw[-1].sendall(noise.randbytes(noise.randrange(1, 4000)))
            elif number % 7 == 4:
                raw[-1].sendall(GREETING[: noise.randrange(64)])
            elif number % 7 == 5:
                raw[-1].sendall(GREETING)
        assert asked(good) == "mes"
        assert one.name_of(one.admit("late")) == "late"
        # Who has said nothing of use is hung up on after HANDSHAKE_IVL, without our doing anything.
        until(lambda: descriptors() <= before + len(raw) + 5, "the station has let go of its ends")
        for one_raw in raw:
            one_raw.close()
        until(lambda: descriptors() <= before + 5, "nothing is left of it")
        assert resident_bytes() - size < 32 << 20
        assert asked(good) == "mes"


def test_a_recorded_conversation_played_again_is_refused(tmp_path):
    """Somebody on the wire has every byte of a client that was let in and gave an order."""
    with post(tmp_path) as one:
        keys = one.admit("mes")
        with Tap(one.port) as tap:
            recorded = Post.__new__(Post)  # the same client, by way of the tap
            recorded.context, recorded.kind, recorded.address = one.context, one.kind, f"tcp://127.0.0.1:{tap.port}"
            with recorded.client(keys) as socket:
                assert asked(socket) == "mes"
        assert sum(map(len, tap.sent)) > 200
        for _ in range(3):
            heard = played_again(one.port, tap.sent, b"WELCOME")
            assert b"mes" not in heard
            # The greeting and the WELCOME of any handshake, and the end: no READY, no answer.
            assert b"WELCOME" in heard
            assert b"READY" not in heard
        assert one.name_of(keys) == "mes"
