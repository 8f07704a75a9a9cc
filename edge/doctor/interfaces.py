"""What the kernel says about a network interface: which one leads to an address, its MTU, its ring. By netlink and ioctl."""

import array
import fcntl
import socket
import struct

import msgspec

# <linux/rtnetlink.h>, <linux/netlink.h>: ask for the route to one address, and the attributes of the answer.
_RTM_NEWROUTE, _RTM_GETROUTE, _NLM_F_REQUEST = 24, 26, 1
_RTA_DST, _RTA_OIF = 1, 4
_HEADER, _ROUTE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBBBBBI"), struct.Struct("=HH")
# <linux/sockios.h>, <linux/ethtool.h>.
_SIOCGIFMTU, _SIOCETHTOOL, _ETHTOOL_GRINGPARAM = 0x8921, 0x8946, 0x10
_INTERFACE_NAME_BYTES = 16
_WAIT_S = 1.0


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """Packets that the network card holds for the kernel: as it is set, and the most it can."""

    now: int
    most: int


def toward(address: str) -> str | None:
    """The interface that packets to this IPv4 address leave by; None where there is no route."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_WAIT_S)
        kernel.send(_question(socket.inet_aton(address)))
        answer = kernel.recv(65_536)
    length, kind, *_rest = _HEADER.unpack_from(answer)
    if kind != _RTM_NEWROUTE:
        return None
    position = _HEADER.size + _ROUTE.size
    while position + _ATTRIBUTE.size <= length:
        size, attribute = _ATTRIBUTE.unpack_from(answer, position)
        if attribute == _RTA_OIF:
            return socket.if_indextoname(struct.unpack_from("=I", answer, position + _ATTRIBUTE.size)[0])
        position += (size + 3) & ~3
    return None


def _question(address: bytes) -> bytes:
    route = _ROUTE.pack(socket.AF_INET, 8 * len(address), 0, 0, 0, 0, 0, 0, 0)
    route += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address), _RTA_DST) + address
    return _HEADER.pack(_HEADER.size + len(route), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + route


def mtu(interface: str) -> int:
    """Bytes of the largest packet it sends or takes. Raises OSError."""
    request = struct.pack(f"{_INTERFACE_NAME_BYTES}si12x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFMTU, request)
    return struct.unpack_from("i", answer, _INTERFACE_NAME_BYTES)[0]


def ring(interface: str) -> Ring | None:
    """Its receive ring; None where it has none, as virtual ones, or does not tell."""
    # struct ethtool_ringparam: the command, then the most of four rings, then the four as they are.
    told = array.array("I", [_ETHTOOL_GRINGPARAM] + [0] * 8)
    request = struct.pack(f"{_INTERFACE_NAME_BYTES}sP8x", interface.encode(), told.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError:
            return None
    return Ring(now=told[5], most=told[1]) if told[1] else None
