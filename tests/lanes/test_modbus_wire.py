"""Modbus on the wire: any bytes get an answer or an end, and what is written is what is read."""

import struct
from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lanes import modbus_wire
from edge.lanes.modbus_wire import BitTable, Failure, NotModbus, Refused, WordTable, answer, split

SIZE = 64
Value = TypeVar("Value")


class Memory:
    """Plain tables, all of the same size."""

    def __init__(self) -> None:
        self.bits = {"coils": [False] * SIZE, "discrete_inputs": [at % 3 == 0 for at in range(SIZE)]}
        self.words = {"holding_registers": [0] * SIZE, "input_registers": list(range(SIZE))}

    def read_bits(self, table: BitTable, start: int, count: int) -> Sequence[bool]:
        return self._part(self.bits[table], start, count)

    def read_words(self, table: WordTable, start: int, count: int) -> Sequence[int]:
        return self._part(self.words[table], start, count)

    def write_bits(self, start: int, values: Sequence[bool]) -> None:
        self._part(self.bits["coils"], start, len(values))
        self.bits["coils"][start : start + len(values)] = values

    def write_words(self, start: int, values: Sequence[int]) -> None:
        self._part(self.words["holding_registers"], start, len(values))
        self.words["holding_registers"][start : start + len(values)] = values

    @staticmethod
    def _part(table: list[Value], start: int, count: int) -> list[Value]:
        if start + count > SIZE:
            raise Refused(Failure.ADDRESS)
        return table[start : start + count]


def framed(pdu: bytes, transaction: int = 1, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def ask(memory: Memory, pdu: bytes) -> bytes:
    return answer(framed(pdu), memory)[7:]


@given(st.lists(st.binary(min_size=1, max_size=253), max_size=6), st.integers(1, 20), st.binary(max_size=6))
def test_frames_are_found_however_they_are_cut(pdus: list[bytes], cut: int, rest: bytes) -> None:
    sent = b"".join(framed(pdu, at) for at, pdu in enumerate(pdus)) + b"\0" * len(rest[:4])
    found: list[bytes] = []
    buffer = b""
    for at in range(0, len(sent), cut):
        frames, buffer = split(buffer + sent[at : at + cut])
        found += frames
    assert found == [framed(pdu, at) for at, pdu in enumerate(pdus)]
    assert len(buffer) < 260


@given(st.binary(min_size=7, max_size=600))
def test_any_bytes_are_frames_or_refused(received: bytes) -> None:
    memory = Memory()
    try:
        frames, rest = split(received)
    except NotModbus:
        return
    assert b"".join(frames) + rest == received
    for frame in frames:
        answer(frame, memory)


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=252))
def test_any_request_gets_one_answer_of_its_own(transaction: int, unit: int, function: int, data: bytes) -> None:
    replied = answer(framed(bytes((function,)) + data, transaction, unit), Memory())
    assert struct.unpack_from(">HHHB", replied) == (transaction, 0, len(replied) - 6, unit)
    assert replied[7] & 0x7F == function & 0x7F
    assert 8 < len(replied) <= 260
    if replied[7] != function:
        assert replied[8] in (1, 2, 3)
        assert len(replied) == 9


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.sampled_from([1, 2, 3, 4]))
def test_what_is_read_is_what_is_there_or_an_exception(start: int, count: int, function: int) -> None:
    replied = ask(Memory(), struct.pack(">BHH", function, start, count))
    most = 2000 if function < 3 else 125
    if not 1 <= count <= most:
        assert replied == bytes((function | 0x80, 3))
    elif start + count > SIZE:
        assert replied == bytes((function | 0x80, 2))
    else:
        assert replied[1] == len(replied) - 2 == (-(-count // 8) if function < 3 else 2 * count)


@given(st.integers(0, SIZE - 1), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=SIZE))
def test_written_registers_are_read_again(start: int, values: list[int]) -> None:
    memory, packed = Memory(), struct.pack(f">{len(values)}H", *values)
    written = ask(memory, struct.pack(">BHHB", 16, start, len(values), len(packed)) + packed)
    if start + len(values) > SIZE:
        assert written == bytes((0x90, 2))
        assert memory.words["holding_registers"] == [0] * SIZE, "written in part"
    else:
        assert written == struct.pack(">BHH", 16, start, len(values))
        assert ask(memory, struct.pack(">BHH", 3, start, len(values)))[2:] == packed


@given(st.integers(0, SIZE - 1), st.lists(st.booleans(), min_size=1, max_size=SIZE))
def test_written_coils_are_read_again(start: int, values: list[bool]) -> None:
    memory = Memory()
    packed = bytes(
        sum(bit << at for at, bit in enumerate(values[begin : begin + 8])) for begin in range(0, len(values), 8)
    )
    written = ask(memory, struct.pack(">BHHB", 15, start, len(values), len(packed)) + packed)
    if start + len(values) > SIZE:
        assert written == bytes((0x8F, 2))
    else:
        assert memory.bits["coils"][start : start + len(values)] == values
        assert ask(memory, struct.pack(">BHH", 1, start, len(values)))[2:] == packed


@pytest.mark.parametrize(
    ("pdu", "said"),
    [
        (b"\x05\0\1\xff\0", b"\x05\0\1\xff\0"),
        (b"\x05\0\1\0\0", b"\x05\0\1\0\0"),
        (b"\x05\0\1\0\1", b"\x85\3"),
        (b"\x06\0\2\x12\x34", b"\x06\0\2\x12\x34"),
        (b"\x06\0\2\x12", b"\x86\3"),
        (b"\x10\0\0\0\1\2\0", b"\x90\3"),
        (b"\x0f\0\0\0\1\2\1\1", b"\x8f\3"),
        (b"\x17\0\0\0\1\0\0\0\1\2\x12\x34", b"\x17\2\x12\x34"),
        (b"\x17\0\x40\0\1\0\0\0\1\2\x12\x34", b"\x97\2"),
        (b"\x2b\x0e\1\0", b"\xab\1"),
    ],
)
def test_single_requests(pdu: bytes, said: bytes) -> None:
    assert ask(Memory(), pdu) == said


def test_what_cannot_be_read_is_not_written_either() -> None:
    memory = Memory()
    ask(memory, b"\x17\0\x40\0\1\0\0\0\1\2\x12\x34")
    assert memory.words["holding_registers"][0] == 0
    assert modbus_wire.SWAP_WORDS < modbus_wire.WRITE_WORDS
