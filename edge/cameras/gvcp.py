"""One question to a GigE Vision device before libaravis opens it: are you there, and does a program control you.

libaravis itself waits 2.5 s on an absent device and 5 s on one that another program controls. This is the READMEM
command of GVCP (GigE Vision 2.0, section 16) on the control channel privilege register. READMEM and not READREG:
devices count a READREG of that register as the heartbeat of whoever controls them, and would never let a dead owner go.
"""

import socket
import struct

_PORT = 3956
_PRIVILEGE_REGISTER = 0x0A00
# Bits 0 and 1: exclusive access, control access.
_CONTROLLED = 0x3
# Key, "acknowledge", READMEM_CMD, 8 bytes of payload, request id 1; address; two reserved bytes, 4 bytes wanted.
_QUESTION = struct.pack(">BBHHHIHH", 0x42, 0x01, 0x0084, 8, 1, _PRIVILEGE_REGISTER, 0, 4)
# Status, READMEM_ACK, payload size, request id; address; the value.
_ANSWER = struct.Struct(">HHHHII")
_READMEM_ACK = 0x0085
# A datagram may be lost; a device answers within milliseconds.
_TRIES, _WAIT_S = 3, 0.3


def is_controlled(address: str) -> bool | None:
    """Whether some program controls the device at this IP address; None when nothing answers within 0.9 s."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_WAIT_S)
        for _ in range(_TRIES):
            try:
                asking.connect((address, _PORT))  # so that a host where nothing listens says so at once
                asking.send(_QUESTION)
                answer = asking.recv(_ANSWER.size)
            except OSError:  # no answer, no route, or nothing listens there
                continue
            if len(answer) == _ANSWER.size and _ANSWER.unpack(answer)[1] == _READMEM_ACK:
                return bool(_ANSWER.unpack(answer)[5] & _CONTROLLED)
    return None
