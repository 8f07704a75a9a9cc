"""Who answers at this address: Modbus function 43/14, Read Device Identification. Pure.

As the Modbus application protocol V1.1b3 has it, 6.21:
1. Codes 1, 2 and 3 read objects from the one that is named on; from the first, where there is none such. A level beyond
   the one that is served here is answered as the highest that is.
2. Code 4 reads one object; one that is not there is exception 2.
3. Another code is exception 3. What is no identification at all is exception 1.
"""

import struct
from collections.abc import Mapping

from edge import __version__

FUNCTION, READ_DEVICE_ID = 0x2B, 0x0E
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3
# The regular objects are served, as a stream and one by one.
_CONFORMITY = 0x82
_BASIC, _REGULAR, _EXTENDED, _SINGLE = 1, 2, 3, 4
_LAST_BASIC = 2

# Object ids. Vendor, product and revision are those that must be there; all of them fit into one answer of 253 bytes.
Objects = Mapping[int, bytes]


def objects_of(station_id: str) -> Objects:
    """What this station says of itself."""
    return {
        0x00: b"Goldline",  # VendorName
        0x01: b"goldline",  # ProductCode
        0x02: __version__.encode(),  # MajorMinorRevision
        0x04: b"Goldline inspection station",  # ProductName
        0x06: station_id.encode(),  # UserApplicationName
    }


def identify(request: bytes, objects: Objects) -> bytes:
    """The answer's PDU to a request's PDU of function 43. Raises ValueError: it is cut short."""
    if len(request) < 2:
        raise ValueError("function 43 without its type")
    if request[1] != READ_DEVICE_ID:
        return _exception(_ILLEGAL_FUNCTION)
    if len(request) < 4:
        raise ValueError("function 43/14 without its object")
    code, first = request[2], request[3]
    if code not in (_BASIC, _REGULAR, _EXTENDED, _SINGLE):
        return _exception(_ILLEGAL_VALUE)
    if code == _SINGLE and first not in objects:
        return _exception(_ILLEGAL_ADDRESS)
    return _answer(code, {first: objects[first]} if code == _SINGLE else _from(code, first, objects))


def _from(code: int, first: int, objects: Objects) -> Objects:
    known = {one: text for one, text in objects.items() if code != _BASIC or one <= _LAST_BASIC}
    return {one: text for one, text in known.items() if first not in known or one >= first}


def _answer(code: int, chosen: Objects) -> bytes:
    # Nothing follows, so there is no next object.
    head = bytes((FUNCTION, READ_DEVICE_ID, code, _CONFORMITY, 0, 0, len(chosen)))
    return head + b"".join(struct.pack("BB", one, len(text)) + text for one, text in sorted(chosen.items()))


def _exception(code: int) -> bytes:
    return bytes((FUNCTION | 0x80, code))
