"""What was recorded on the wire, played again, cut, doubled and spliced: with real bytes of real conversations."""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge.client import Subscriber
from edge.errors import GoldlineError
from edge.rehearsal import free_ports
from tests.border_post import NOTHING_MS, asked, post
from tests.publish_line import PATIENCE_S, until
from tests.sync_line import SyncLine, keyed, sync_lines
from tests.tap import Tap, played_again, received

# How CURVE's traffic looks on the wire: RFC 26, `MESSAGE`, a nonce of 8 bytes that only counts up, and the box.
MESSAGE = b"\x07MESSAGE"


@pytest.fixture
def line(tmp_path) -> Iterator[SyncLine]:
    with sync_lines(tmp_path, addresses={"sync": f"tcp://127.0.0.1:{free_ports(1)[0]}"}) as made:
        yield made


def port_of(line: SyncLine) -> int:
    return int(line.addresses["sync"].rpartition(":")[2])


def test_in_the_clear_a_conversation_played_again_or_cut_or_spliced_changes_no_record(line):
    """Whoever reaches loopback may read anyway; what it acknowledges again is old, and nobody's place goes back."""
    line.fill(20)
    line.start_both()
    with (
        Tap(port_of(line)) as tap,
        line.subscriber_of(sync=f"tcp://127.0.0.1:{tap.port}", consumer="mes", after=0) as mes,
    ):
        events = [next(mes) for _ in range(20)]
        mes.acknowledge(events[9])
        until(lambda: mes.take(0.05) or line.acknowledged() == {"mes": 10}, "it is on disk")
    with line.subscriber_of(consumer="mes", after=10) as mes:
        mes.acknowledge([next(mes) for _ in range(10)][-1])
    until(lambda: line.acknowledged() == {"mes": 20}, "it is on disk")
    heard, noise = played_again(port_of(line), tap.sent, b"ACKED"), random.Random(4)
    assert (heard.count(b"WELCOME"), b"ACKED" in heard, events[0].id.encode() in heard) == (1, True, True)
    said = b"".join(tap.sent)
    at = said.index(b"\x01\x05HELLO")
    greeting, words = [said[:at]], said[at:]
    for _ in range(5):
        at, other = noise.randrange(len(words)), noise.randrange(len(words))
        for altered in (words[:at], words[:at] + words[other:], words + words):
            played_again(port_of(line), [*greeting, altered])
    assert line.acknowledged() == {"mes": 20}
    with line.subscriber_of(after=0) as reader:
        assert [next(reader).id for _ in range(20)] == [event.id for event in events]
    assert line.sync.popen is not None
    assert line.sync.popen.poll() is None


def test_with_keys_a_message_said_twice_on_the_wire_is_heard_once(tmp_path):
    """A MESSAGE that is doubled within its own conversation: its number was had, and the connection ends."""
    is_doubling = False

    def alter(chunk: bytes) -> bytes:
        return chunk * 2 if is_doubling and MESSAGE in chunk else chunk

    with post(tmp_path) as one:
        keys = one.admit("mes")
        with Tap(one.port, alter) as tap:
            one.address = f"tcp://127.0.0.1:{tap.port}"
            with one.client(keys) as client:
                assert asked(client) == "mes"
                is_doubling = True
                client.send(b"once")
                until(lambda: tap.is_over, "the station hangs up")
                heard = 0
                while client.poll(NOTHING_MS):
                    heard += client.recv_multipart()[1] == b"once"
                assert heard <= 1


def test_with_keys_words_of_another_conversation_end_this_one(tmp_path):
    recorded = b""

    def alter(chunk: bytes) -> bytes:
        return recorded if recorded and MESSAGE in chunk else chunk

    with post(tmp_path) as one:
        keys, address = one.admit("mes"), f"tcp://127.0.0.1:{one.port}"
        with Tap(one.port) as tap:
            one.address = f"tcp://127.0.0.1:{tap.port}"
            with one.client(keys) as client:
                assert asked(client) == "mes"
        with Tap(one.port, alter) as spliced:
            one.address = f"tcp://127.0.0.1:{spliced.port}"
            with one.client(keys) as client:
                assert asked(client) == "mes"
                recorded = next(chunk for chunk in tap.sent if MESSAGE in chunk)
                assert asked(client, NOTHING_MS) is None
                until(lambda: spliced.is_over, "the station hangs up")
        one.address = address
        assert one.name_of(keys) == "mes"


def test_with_keys_the_stations_own_words_played_to_a_client_tell_it_nothing(tmp_path):
    """Who has recorded LIVE or SYNC cannot be the station to anybody."""
    with keyed(tmp_path) as line:
        keys = line.admit("mes")
        line.listen_with(keys)
        line.fill(5)
        line.start_both()
        with Tap(port_of(line)) as tap:
            sync = f"tcp://127.0.0.1:{tap.port}"
            with Subscriber(sync=sync, keys=keys, after=0, silence_s=PATIENCE_S) as mes:
                assert len([next(mes) for _ in range(5)]) == 5
    silence = pytest.raises(GoldlineError, match=r"nothing heard for 1.5 s")
    with (
        pretender(b"".join(tap.answered)) as address,
        Subscriber(sync=address, keys=keys, after=0, silence_s=1.5) as mes,
        silence,
    ):
        next(mes)


@contextmanager
def pretender(answers: bytes) -> Iterator[str]:
    """Says the same to everybody who connects."""
    server, is_over = socket.create_server(("127.0.0.1", 0)), threading.Event()
    server.settimeout(0.05)

    def serve() -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError):
                one, _ = server.accept()
                with one:
                    one.sendall(answers)
                    received(one)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    finally:
        is_over.set()
        thread.join()
        server.close()
