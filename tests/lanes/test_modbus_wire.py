"""Modbus over a real socket: any bytes get an answer or an end, and what is written is what is read."""

import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import lane
from edge.errors import GoldlineError
from edge.lanes.modbus_guests import MOST_CONNECTIONS
from edge.worker import WorkerContext
from tests.lanes.modbus_memory import SIZE, Memory, Serving, ask, framed, frames_of, serving
from tests.lanes.plc import until


@pytest.fixture(scope="module")
def table() -> Iterator[Serving]:
    """One server for every example; each example writes what it reads."""
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def peer(table: Serving) -> Iterator[socket.socket]:
    with table.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def visited() -> Iterator[Serving]:
    """One server for those that connect for each example."""
    with serving() as served:
        yield served


# --- requests


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 125)), max_size=20), st.integers(1, 50))
def test_requests_are_answered_in_order_however_they_are_cut(
    visited: Serving, asked: list[tuple[int, int]], step: int
) -> None:
    stream = b"".join(framed(struct.pack(">BHH", 4, *one), at, at) for at, one in enumerate(asked))
    answers = frames_of(visited.exchange(stream, step))
    assert [struct.unpack_from(">HHHB", one)[::3] for one in answers] == [(at, at) for at in range(len(asked))]


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.sampled_from([1, 2, 3, 4]))
def test_what_is_read_is_what_is_there_or_an_exception(
    peer: socket.socket, start: int, count: int, function: int
) -> None:
    replied = ask(peer, struct.pack(">BHH", function, start, count))
    most = 2000 if function < 3 else 125
    if not 1 <= count <= most:
        assert replied == bytes((function | 0x80, 3))
    elif start + count > SIZE:
        assert replied == bytes((function | 0x80, 2))
    else:
        assert replied[1] == len(replied) - 2 == (-(-count // 8) if function < 3 else 2 * count)


@given(st.integers(0, SIZE - 1), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=SIZE))
def test_written_registers_are_read_again(table: Serving, peer: socket.socket, start: int, values: list[int]) -> None:
    before, packed = list(table.bank.words["holding_registers"]), struct.pack(f">{len(values)}H", *values)
    written = ask(peer, struct.pack(">BHHB", 16, start, len(values), len(packed)) + packed)
    if start + len(values) > SIZE:
        assert written == bytes((0x90, 2))
        assert table.bank.words["holding_registers"] == before, "written in part"
    else:
        assert written == struct.pack(">BHH", 16, start, len(values))
        assert ask(peer, struct.pack(">BHH", 3, start, len(values)))[2:] == packed


@given(st.integers(0, SIZE - 1), st.lists(st.booleans(), min_size=1, max_size=SIZE))
def test_written_coils_are_read_again(table: Serving, peer: socket.socket, start: int, values: list[bool]) -> None:
    packed = bytes(
        sum(bit << at for at, bit in enumerate(values[begin : begin + 8])) for begin in range(0, len(values), 8)
    )
    written = ask(peer, struct.pack(">BHHB", 15, start, len(values), len(packed)) + packed)
    if start + len(values) > SIZE:
        assert written == bytes((0x8F, 2))
    else:
        assert table.bank.bits["coils"][start : start + len(values)] == values
        assert ask(peer, struct.pack(">BHH", 1, start, len(values)))[2:] == packed


@pytest.mark.parametrize(
    ("pdu", "said"),
    [
        (b"\x05\0\1\xff\0", b"\x05\0\1\xff\0"),
        (b"\x05\0\1\0\0", b"\x05\0\1\0\0"),
        (b"\x05\0\1\0\1", b"\x85\3"),
        (b"\x06\0\2\x12\x34", b"\x06\0\2\x12\x34"),
        (b"\x10\0\0\0\1\2\0", b"\x90\3"),
        (b"\x0f\0\0\0\1\0\1", b"\x8f\3"),
        (b"\x17\0\0\0\1\0\0\0\1\2\x12\x34", b"\x17\2\x12\x34"),
        (b"\x17\0\x64\0\1\0\0\0\1\2\x12\x34", b"\x97\2"),
        (b"\x17\0\0\0\1\0\x64\0\1\2\x12\x34", b"\x97\2"),
        (b"\x16\0\1\0\0\0\0", b"\x96\1"),
        (b"\x2b\x0d\1\0", b"\xab\1"),
    ],
)
def test_single_requests(peer: socket.socket, pdu: bytes, said: bytes) -> None:
    assert ask(peer, pdu) == said


@pytest.mark.parametrize("pdu", [b"\7", b"\x06\0\2\x12", b"\x04\0", b"\x84\0\0\0\1"])
def test_what_is_cut_short_or_no_request_ends_the_connection(visited: Serving, pdu: bytes) -> None:
    assert visited.exchange(framed(pdu)) == b""
    visited.turn()


def test_what_cannot_be_read_or_is_no_state_changes_nothing() -> None:
    with serving() as served, served.connect() as peer:
        ask(peer, b"\x05\0\1\xff\0")
        ask(peer, b"\x05\0\1\0\1")
        assert served.bank.bits["coils"][1]
        ask(peer, b"\x17\0\x64\0\1\0\0\0\1\2\x12\x34")
        assert served.bank.words["holding_registers"][0] == 0


# --- the library


def test_a_lane_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyModbusTCP", None)
    for name in ("modbus", "modbus_server", "modbus_tables"):
        monkeypatch.delitem(sys.modules, f"edge.lanes.{name}", raising=False)
    context = SimpleNamespace(name="lane@modbus")
    with pytest.raises(GoldlineError, match=r"\[lanes.modbus\] needs pyModbusTCP, .* 'goldline\[modbus\]'"):
        lane.run(cast("WorkerContext", context))


# --- threads


class TwoAlike(Memory):
    """Its loop and its clients set all registers to one value, one after the other."""

    def fill(self, value: int) -> None:
        for at in range(SIZE):
            self.words["input_registers"][at] = value


def test_no_request_sees_half_of_a_turn() -> None:
    with serving(TwoAlike()) as served:
        ended = threading.Event()
        seen: list[bytes] = []

        def read() -> None:
            with served.connect() as peer:
                while not ended.is_set():
                    seen.append(ask(peer, struct.pack(">BHH", 4, 0, SIZE))[2:])

        readers = [threading.Thread(target=read) for _ in range(4)]
        bank = served.bank
        assert isinstance(bank, TwoAlike)
        with served.server.lock:
            bank.fill(0)
        for reader in readers:
            reader.start()
        value = 0
        end_s = time.monotonic() + 30
        while (len(set(seen)) < 20 or value < 200) and time.monotonic() < end_s:
            value += 1
            with served.server.lock:
                bank.fill(value)
        ended.set()
        for reader in readers:
            reader.join()
    assert len(set(seen)) >= 20
    assert all(one == one[:2] * SIZE for one in seen)


def test_the_loop_has_its_turns_while_every_place_is_taken_by_a_hurry() -> None:
    with serving() as served:
        ended = threading.Event()
        answers = [0] * MOST_CONNECTIONS

        def hurry(at: int) -> None:
            with served.connect() as peer:
                while not ended.is_set():
                    ask(peer, b"\x06\0\2\x12\x34")
                    answers[at] += 1

        clients = [threading.Thread(target=hurry, args=(at,)) for at in range(MOST_CONNECTIONS)]
        for client in clients:
            client.start()
        until(lambda: all(answers), "all of them to be answered")
        for _ in range(20):
            with served.server.lock:
                served.turn()
        ended.set()
        for client in clients:
            client.join()


@pytest.mark.parametrize(
    "error", [KeyError("no such"), TypeError("no such"), OSError("no such"), ValueError("no such")]
)
def test_what_breaks_for_a_client_breaks_the_lane(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(Memory):
        def write_words(self, start: int, values: Sequence[int]) -> None:
            raise error

    with serving(Broken()) as served:
        served.exchange(framed(b"\x06\0\2\x12\x34"))
        with pytest.raises(RuntimeError, match="request") as raised:
            served.turn()
        assert raised.value.__cause__ is error
