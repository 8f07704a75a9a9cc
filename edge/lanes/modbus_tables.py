"""The Modbus tables as pyModbusTCP's server asks for them: one request at a time, between two turns of the lane's loop.

1. Each client has a thread. Its request waits for the lock, is carried out whole, and only then is answered: who has
   read the answer to `ack` never sees `valid` any more.
2. The loop holds the same lock for each of its turns: nobody reads half of what a turn changes, and where the loop
   hangs nobody is told that all is well.
3. What breaks in a client's thread breaks the lane: the loop raises it, and the lane is started anew.
"""

import time
from collections.abc import Callable, Sequence
from threading import Lock
from types import TracebackType
from typing import Any, Literal, Protocol

from pyModbusTCP import constants  # pyright: ignore[reportMissingTypeStubs] - it has none
from pyModbusTCP.server import (  # pyright: ignore[reportMissingTypeStubs]
    DataBank,
    DataHandler,
    ModbusServer,
)

from edge.lanes.modbus_guests import Guests

BitTable = Literal["coils", "discrete_inputs"]
WordTable = Literal["holding_registers", "input_registers"]
# What function 5 may carry. The library takes any other value for "off".
_COIL_STATES = (b"\xff\x00", b"\x00\x00")
_SERVED, _NO_SUCH_ADDRESS, _NO_SUCH_VALUE = constants.EXP_NONE, constants.EXP_DATA_ADDRESS, constants.EXP_DATA_VALUE


class NoSuchAddress(Exception):
    """It is not there, or is not for writing: exception 2."""


class Bank(Protocol):
    """What can be read and written. Each raises NoSuchAddress, and has changed nothing then."""

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


class RequestLock:
    """Held by the loop's turn, or by one request. It keeps the first error that came up while it was held."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.broken: Exception | None = None

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.broken is None and isinstance(error, Exception) and not isinstance(error, NoSuchAddress):
            self.broken = error
        self._lock.release()


class Tables(DataHandler):
    """A bank, for the threads of clients."""

    def __init__(self, bank: Bank, guests: Guests) -> None:
        """Own nothing: the library's own tables stay empty."""
        super().__init__(DataBank(virtual_mode=True))  # pyright: ignore[reportUnknownMemberType]
        self.lock = RequestLock()
        self._bank, self._guests = bank, guests
        self._is_open = True

    def close(self) -> None:
        """From here on the bank is not asked any more."""
        with self.lock:
            self._is_open = False

    def read_coils(self, address: int, count: int, srv_info: Any) -> DataHandler.Return:
        """Function 1."""
        return self._carried_out(srv_info, lambda: self._bank.read_bits("coils", address, count))

    def read_d_inputs(self, address: int, count: int, srv_info: Any) -> DataHandler.Return:
        """Function 2."""
        return self._carried_out(srv_info, lambda: self._bank.read_bits("discrete_inputs", address, count))

    def read_h_regs(self, address: int, count: int, srv_info: Any) -> DataHandler.Return:
        """Functions 3 and 23."""
        return self._carried_out(srv_info, lambda: self._bank.read_words("holding_registers", address, count))

    def read_i_regs(self, address: int, count: int, srv_info: Any) -> DataHandler.Return:
        """Function 4."""
        return self._carried_out(srv_info, lambda: self._bank.read_words("input_registers", address, count))

    def write_coils(self, address: int, bits_l: list[bool], srv_info: Any) -> DataHandler.Return:
        """Functions 5 and 15."""
        request = srv_info.recv_frame.pdu
        if request.func_code == constants.WRITE_SINGLE_COIL and request.raw[3:5] not in _COIL_STATES:
            return DataHandler.Return(_NO_SUCH_VALUE)
        return self._carried_out(srv_info, lambda: self._bank.write_bits(address, bits_l))

    def write_h_regs(self, address: int, words_l: list[int], srv_info: Any) -> DataHandler.Return:
        """Functions 6, 16 and 23. Of 23 the library writes first: what could not be read is not written either."""
        request = srv_info.recv_frame.pdu

        def write() -> None:
            if request.func_code == constants.WRITE_READ_MULTIPLE_REGISTERS:
                start, count = request.unpack(">HH", from_byte=1, to_byte=5)
                self._bank.read_words("holding_registers", start, count)
            self._bank.write_words(address, words_l)

        return self._carried_out(srv_info, write)

    def _carried_out(self, srv_info: Any, do: Callable[[], Sequence[int] | None]) -> DataHandler.Return:
        self._guests.heard((srv_info.client.address, srv_info.client.port), time.monotonic())
        try:
            with self.lock:
                if not self._is_open:
                    raise ModbusServer.NetworkError("the station stops")
                return DataHandler.Return(_SERVED, do())
        except NoSuchAddress:
            return DataHandler.Return(_NO_SUCH_ADDRESS)
