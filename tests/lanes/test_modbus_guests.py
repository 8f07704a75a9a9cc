"""Who is connected to the Modbus server: whom it lets in, and whom it lets go."""

import socket
import struct
from ipaddress import ip_network

import pytest

from edge.lanes.modbus_guests import GIVE_WAY_S, IDLE_S, MOST_CONNECTIONS, Guests
from edge.metrics import Counter, Gauge
from tests.lanes.modbus_memory import SIZE, ask, framed, serving
from tests.lanes.plc import until


def test_who_is_silent_is_let_go() -> None:
    with serving() as served, served.connect() as silent, served.connect() as half:
        assert ask(silent, b"\4\0\0\0\1") == b"\4\2\0\0"
        half.sendall(b"\0\1\0\0\0\6\1\4")
        until(lambda: served.connections == 2, "both to be let in")
        served.turn(IDLE_S - 5)
        assert served.connections == 2
        served.turn(IDLE_S + 5)
        assert (silent.recv(1), half.recv(1)) == (b"", b"")
        until(lambda: served.connections == 0, "both to be gone")


def test_who_does_not_read_its_answers_is_hung_up_on() -> None:
    with serving() as served, served.connect() as deaf, served.connect() as other:
        requests = framed(struct.pack(">BHH", 4, 0, SIZE)) * 100

        def ask_and_ask() -> None:
            for _ in range(20_000):
                deaf.sendall(requests)
                assert ask(other, b"\4\0\1\0\1") == b"\4\2\0\1"

        with pytest.raises(ConnectionError):
            ask_and_ask()
        until(lambda: served.connections == 1, "the deaf one to be gone")


def test_the_quietest_gives_way_and_nobody_who_has_just_spoken() -> None:
    values = memoryview(bytearray(16)).cast("d")
    guests = Guests([], Gauge(values, 0), Counter(values, 1))
    pairs = [socket.socketpair() for _ in range(MOST_CONNECTIONS + 1)]
    for at, (ours, _) in enumerate(pairs[:-1]):
        assert guests.admit(ours, ("127.0.0.1", at), now_s=100.0)
    late = pairs[-1][0]
    assert guests.admit(late, ("127.0.0.1", 99), now_s=100.0 + GIVE_WAY_S - 1) is None
    for at in range(1, MOST_CONNECTIONS):
        guests.heard(("127.0.0.1", at), now_s=101.0)
    assert guests.admit(late, ("127.0.0.1", 99), now_s=100.0 + GIVE_WAY_S) is not None
    assert pairs[0][1].recv(1) == b""
    assert list(values) == [MOST_CONNECTIONS, 1]
    guests.close()
    assert all(theirs.recv(1) == b"" for _, theirs in pairs)
    for both in pairs:
        for one in both:
            one.close()


@pytest.mark.parametrize(
    ("address", "allow", "is_let_in"),
    [
        ("192.168.0.10", "192.168.0.0/24", True),
        ("192.168.1.10", "192.168.0.0/24", False),
        ("::ffff:192.168.0.10", "192.168.0.10/32", True),
        ("::ffff:192.168.0.11", "192.168.0.10/32", False),
        ("fe80::1%eth0", "fe80::/10", True),
        ("2001:db8::1", "192.168.0.0/16", False),
    ],
)
def test_who_is_on_the_list(address: str, allow: str, is_let_in: bool) -> None:
    values = memoryview(bytearray(16)).cast("d")
    guests = Guests([ip_network(allow)], Gauge(values, 0), Counter(values, 1))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert (guests.admit(ours, (address, 1), now_s=0.0) is not None) == is_let_in
    assert values[1] == (not is_let_in)


def test_ipv6_and_ipv4_over_it() -> None:
    with serving(host="::", allow=["::1/128"]) as served:
        with served.connect("::1") as peer:
            assert ask(peer, b"\4\0\1\0\1") == b"\4\2\0\1"
        with served.connect("127.0.0.1") as stranger:
            assert stranger.recv(1) == b""
        assert served.refused == 1
    with serving(host="::", allow=["127.0.0.1/32"]) as served, served.connect("127.0.0.1") as peer:
        assert ask(peer, b"\4\0\1\0\1") == b"\4\2\0\1"


def test_a_server_that_is_closed_lets_everybody_go() -> None:
    with serving() as served:
        peer = served.connect()
        assert ask(peer, b"\4\0\1\0\1") == b"\4\2\0\1"
    with peer:
        assert peer.recv(1) == b""
    with pytest.raises(OSError, match="refused"):
        served.connect()
