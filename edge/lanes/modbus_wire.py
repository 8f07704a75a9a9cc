"""Modbus TCP on the wire: requests from bytes, answers to bytes (MODBUS Application Protocol 1.1b3, TCP guide 1.0b). Pure.

    7 bytes   transaction id u16, protocol u16 = 0, length u16 of what follows it, unit u8; then the PDU
    PDU       function u8 and its data; in an answer, an exception is function | 0x80 and its code

Big-endian throughout, bits from the lowest of each byte on.
"""

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Literal, Protocol

from edge.errors import GoldlineError

_HEADER = struct.Struct(">HHHB")
# Behind the length field: the unit and a PDU of 1 to 253 bytes.
_SHORTEST, _LONGEST = 2, 254
# The most that one request may carry, as the protocol has it.
READ_BITS, READ_WORDS, WRITE_BITS, WRITE_WORDS, SWAP_WORDS = 2000, 125, 1968, 123, 121
_COIL_STATES = {0xFF00: True, 0x0000: False}

BitTable = Literal["coils", "discrete_inputs"]
WordTable = Literal["holding_registers", "input_registers"]


class Failure(IntEnum):
    """Why a request is not carried out: the exception codes."""

    FUNCTION = 1
    ADDRESS = 2
    VALUE = 3


class Refused(Exception):
    """This request is answered with an exception."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.name)
        self.failure = failure


class NotModbus(GoldlineError):
    """These bytes are nothing that a Modbus client sends; where the next request begins nobody can tell."""


class Bank(Protocol):
    """What can be read and written. Each raises `Refused` for an address that it does not have."""

    def read_bits(self, table: BitTable, start: int, count: int) -> Sequence[bool]:
        """These bits."""
        ...

    def read_words(self, table: WordTable, start: int, count: int) -> Sequence[int]:
        """These registers."""
        ...

    def write_bits(self, start: int, values: Sequence[bool]) -> None:
        """Write coils, all or none."""
        ...

    def write_words(self, start: int, values: Sequence[int]) -> None:
        """Write holding registers, all or none."""
        ...


def split(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames at the beginning of `buffer`, and the rest of it. Raises NotModbus."""
    frames: list[bytes] = []
    while len(buffer) >= _HEADER.size:
        _, protocol, length, _ = _HEADER.unpack_from(buffer)
        if protocol != 0 or not _SHORTEST <= length <= _LONGEST:
            raise NotModbus(f"protocol {protocol}, length {length}")
        end = _HEADER.size - 1 + length
        if len(buffer) < end:
            break
        frames.append(buffer[:end])
        buffer = buffer[end:]
    return frames, buffer


def answer(frame: bytes, bank: Bank) -> bytes:
    """Carry out the request in a whole frame; the whole frame that answers it."""
    transaction, protocol, _, unit = _HEADER.unpack_from(frame)
    pdu = _carried_out(frame[_HEADER.size :], bank)
    return _HEADER.pack(transaction, protocol, len(pdu) + 1, unit) + pdu


def _carried_out(pdu: bytes, bank: Bank) -> bytes:
    function = pdu[0]
    carry_out = _FUNCTIONS.get(function, _unknown)
    try:
        return pdu[:1] + carry_out(pdu[1:], bank)
    except Refused as refused:
        return bytes((function | 0x80, refused.failure))


def _unknown(_data: bytes, _bank: Bank) -> bytes:
    raise Refused(Failure.FUNCTION)


def _unpack(layout: str, data: bytes, *, is_whole: bool = True) -> tuple[int, ...]:
    size = struct.calcsize(layout)
    if len(data) != size if is_whole else len(data) < size:
        raise Refused(Failure.VALUE)
    return struct.unpack_from(layout, data)


def _bounded(count: int, most: int) -> int:
    if not 1 <= count <= most:
        raise Refused(Failure.VALUE)
    return count


# --- bits


def _read_bits(table: BitTable) -> Callable[[bytes, Bank], bytes]:
    def read(data: bytes, bank: Bank) -> bytes:
        start, count = _unpack(">HH", data)
        packed = _pack_bits(bank.read_bits(table, start, _bounded(count, READ_BITS)))
        return bytes((len(packed),)) + packed

    return read


def _write_coil(data: bytes, bank: Bank) -> bytes:
    start, value = _unpack(">HH", data)
    if value not in _COIL_STATES:
        raise Refused(Failure.VALUE)
    bank.write_bits(start, [_COIL_STATES[value]])
    return data


def _write_coils(data: bytes, bank: Bank) -> bytes:
    start, count, length = _unpack(">HHB", data, is_whole=False)
    packed = data[5:]
    if length != -(-_bounded(count, WRITE_BITS) // 8) or len(packed) != length:
        raise Refused(Failure.VALUE)
    bank.write_bits(start, [bool(packed[at // 8] >> at % 8 & 1) for at in range(count)])
    return data[:4]


def _pack_bits(bits: Sequence[bool]) -> bytes:
    packed = bytearray(-(-len(bits) // 8))
    for at, bit in enumerate(bits):
        packed[at // 8] |= bit << at % 8
    return bytes(packed)


# --- registers


def _read_words(table: WordTable) -> Callable[[bytes, Bank], bytes]:
    def read(data: bytes, bank: Bank) -> bytes:
        start, count = _unpack(">HH", data)
        return _packed_words(bank.read_words(table, start, _bounded(count, READ_WORDS)))

    return read


def _write_word(data: bytes, bank: Bank) -> bytes:
    start, value = _unpack(">HH", data)
    bank.write_words(start, [value])
    return data


def _write_words(data: bytes, bank: Bank) -> bytes:
    start, count, length = _unpack(">HHB", data, is_whole=False)
    bank.write_words(start, _words(data[5:], _bounded(count, WRITE_WORDS), length))
    return data[:4]


def _swap_words(data: bytes, bank: Bank) -> bytes:
    """Write, then read, with nothing in between: an acknowledgement and what it changes in one exchange."""
    read_start, read_count, start, count, length = _unpack(">HHHHB", data, is_whole=False)
    _bounded(read_count, READ_WORDS)
    # What cannot be read is not written either.
    bank.read_words("holding_registers", read_start, read_count)
    bank.write_words(start, _words(data[9:], _bounded(count, SWAP_WORDS), length))
    return _packed_words(bank.read_words("holding_registers", read_start, read_count))


def _words(packed: bytes, count: int, length: int) -> list[int]:
    if length != count * 2 or len(packed) != length:
        raise Refused(Failure.VALUE)
    return list(struct.unpack(f">{count}H", packed))


def _packed_words(words: Sequence[int]) -> bytes:
    return struct.pack(f">B{len(words)}H", len(words) * 2, *words)


_FUNCTIONS: dict[int, Callable[[bytes, Bank], bytes]] = {
    1: _read_bits("coils"),
    2: _read_bits("discrete_inputs"),
    3: _read_words("holding_registers"),
    4: _read_words("input_registers"),
    5: _write_coil,
    6: _write_word,
    15: _write_coils,
    16: _write_words,
    23: _swap_words,
}
