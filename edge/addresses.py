"""Addresses that the station listens on: ZeroMQ endpoints and `HOST:PORT`, and whether others can reach them."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

# Port numbers have 16 bits.
LAST_PORT = 65_535
# ZeroMQ's name for every interface.
EVERY_INTERFACE = "*"


def is_remote(address: str) -> bool:
    """Whether anything outside this machine can reach this (valid) address."""
    if address.startswith("ipc://"):
        return False
    host, _ = host_and_port(address)
    return host == EVERY_INTERFACE or not ipaddress.ip_address(host).is_loopback


def host_and_port(address: str) -> tuple[str, str]:
    """Of `tcp://HOST:PORT` or `HOST:PORT`, the host as an IP address or `*`."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return "127.0.0.1" if host == "localhost" else host.strip("[]"), port


def reached(address: str) -> str:
    """Where this machine itself reaches what listens at this (valid) address."""
    host, port = host_and_port(address)
    if address.startswith("ipc://") or not (host == EVERY_INTERFACE or ipaddress.ip_address(host).is_unspecified):
        return address
    return f"tcp://[::1]:{port}" if ":" in host else f"tcp://127.0.0.1:{port}"


def _endpoint(address: str) -> str:
    """The address, if it is a ZeroMQ endpoint to listen on. Raises ValueError."""
    url = urlsplit(address)
    if address.startswith("ipc://") and (url.netloc or url.path):
        return address
    host, port = host_and_port(url.netloc)
    if not address.startswith("tcp://") or not (port == "*" or _is_port(port)):
        raise ValueError(f'must be "tcp://127.0.0.1:PORT" with a port from 1 to {LAST_PORT}, or "ipc://PATH"')
    if host != EVERY_INTERFACE and not _is_ip(host):
        raise ValueError(
            "must name an IP address of this machine, or * for all: who answers to a name is not ours to say"
        )
    return address


def _host_port(address: str) -> str:
    """The address, if it is HOST:PORT with the host as an IP address. Raises ValueError."""
    host, port = host_and_port(address)
    if not _is_port(port) or not _is_ip(host):
        raise ValueError(f'must be "127.0.0.1:PORT": an IP address of this machine, and a port from 1 to {LAST_PORT}')
    return address


def _is_port(port: str) -> bool:
    # Other scripts' digits are numbers to Python, and where they begin the number ends to ZeroMQ.
    return port.isascii() and port.isdecimal() and 1 <= int(port) <= LAST_PORT


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


ListenAddress = Annotated[str, AfterValidator(_endpoint)]
TcpAddress = Annotated[str, AfterValidator(_host_port)]
