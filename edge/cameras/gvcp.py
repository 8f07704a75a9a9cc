"""Questions to a GigE Vision device beside libaravis: are you there, does a program control you, what are you called.

libaravis itself waits 2.5 s on an absent device and 5 s on one that another program controls. These are READMEM commands
of GVCP (GigE Vision 2.0, section 16) on bootstrap registers. READMEM and not READREG: devices count a READREG of the
control channel privilege register as the heartbeat of whoever controls them, and would never let a dead owner go.
"""

import socket
import struct

_PORT = 3956
_PRIVILEGE_REGISTER, _NAME_REGISTER, _NAME_BYTES = 0x0A00, 0x00E8, 16
# Bits 0 and 1: exclusive access, control access.
_CONTROLLED = 0x3
# Key, "acknowledge", READMEM_CMD, 8 bytes of payload, request id; address; two reserved bytes, how many are wanted.
_QUESTION = struct.Struct(">BBHHHIHH")
_READMEM_CMD, _READMEM_ACK = 0x0084, 0x0085
# Status, READMEM_ACK, payload size, request id; then the address, 4 bytes, and what is there.
_ANSWER = struct.Struct(">HHHH")
_ADDRESS_BYTES = 4
# A datagram may be lost; a device answers within milliseconds.
_TRIES, _WAIT_S = 3, 0.3
# A probe asks after this much silence and then so often; after so many questions in a row without an answer the device
# is gone: 1.8 s in all, far more than a busy network loses.
_PROBE_NS, _PROBES = 300_000_000, 5


def is_controlled(address: str) -> bool | None:
    """Whether some program controls the device at this IP address; None when nothing answers within 0.9 s."""
    value = _read_memory(address, _PRIVILEGE_REGISTER, 4)
    return None if value is None else _says_controlled(value)


def user_defined_name(address: str) -> str:
    """The name that somebody gave the device at this IP address; empty where it has none or does not answer."""
    return (_read_memory(address, _NAME_REGISTER, _NAME_BYTES) or b"").partition(b"\0")[0].decode(errors="replace")


def _says_controlled(privilege: bytes) -> bool:
    # A device that a program controls exclusively refuses the question of another, with an answer of no content.
    return not privilege or bool(int.from_bytes(privilege, "big") & _CONTROLLED)


def _content(answer: bytes) -> bytes | None:
    """What was read; empty where the device refused; None when this is no answer to a READMEM_CMD."""
    if len(answer) < _ANSWER.size or _ANSWER.unpack_from(answer)[1] != _READMEM_ACK:
        return None
    return answer[_ANSWER.size + _ADDRESS_BYTES :]


def _question(register: int, length: int, request: int) -> bytes:
    return _QUESTION.pack(0x42, 0x01, _READMEM_CMD, 8, request, register, 0, length)


def _read_memory(address: str, register: int, length: int) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_WAIT_S)
        for _ in range(_TRIES):
            try:
                asking.connect((address, _PORT))  # so that a host where nothing listens says so at once
                asking.send(_question(register, length, 1))
                content = _content(asking.recv(_ANSWER.size + _ADDRESS_BYTES + length))
            except OSError:  # no answer, no route, or nothing listens there
                continue
            if content is not None:
                return content
    return None


class Probe:
    """Asks a silent device whether it is there, without ever waiting for the answer."""

    def __init__(self, address: str) -> None:
        self._asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._asking.setblocking(False)
        self._address = address
        self._asked_ns = 0
        self._unanswered = 0

    def close(self) -> None:
        """Safe to call twice."""
        self._asking.close()

    def look(self, now_ns: int, heard_ns: int) -> str | None:
        """Why the device is lost, or None. To be called again and again; `heard_ns` is when a frame last came."""
        controlled = self._answer()
        if controlled is False:
            return "nobody controls it: it began anew, or gave us up"
        if controlled or now_ns - heard_ns < _PROBE_NS:
            self._unanswered = 0
        if now_ns - max(heard_ns, self._asked_ns) < _PROBE_NS:
            return None
        if self._unanswered >= _PROBES:
            return f"it answers no question, {self._unanswered} in a row"
        self._ask(now_ns)
        return None

    def _ask(self, now_ns: int) -> None:
        self._unanswered += 1
        self._asked_ns = now_ns
        try:
            self._asking.connect((self._address, _PORT))
            self._asking.send(_question(_PRIVILEGE_REGISTER, 4, self._unanswered))
        except OSError:
            return  # no route now: a question without an answer

    def _answer(self) -> bool | None:
        """Whether a program controls it, by the newest answer that came; None where none did."""
        controlled = None
        while True:
            try:
                content = _content(self._asking.recv(_ANSWER.size + _ADDRESS_BYTES + 4))
            except OSError:  # none (more), or nothing listens there
                return controlled
            if content is not None:
                controlled = _says_controlled(content)
