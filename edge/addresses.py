"""ZeroMQ endpoints that nothing outside this machine can reach: the only ones a configuration may name."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

# Port numbers have 16 bits.
LAST_PORT = 65_535


def _is_local(address: str) -> str:
    """The address, if it is such an endpoint. Raises ValueError."""
    url = urlsplit(address)
    if url.scheme == "ipc" and (url.netloc or url.path):
        return address
    host, _, port = url.netloc.rpartition(":")
    if url.scheme != "tcp" or not (port == "*" or (port.isdecimal() and 1 <= int(port) <= LAST_PORT)):
        raise ValueError(f'must be "tcp://127.0.0.1:PORT" with a port from 1 to {LAST_PORT}, or "ipc://PATH"')
    if host != "localhost" and not _is_loopback(host.strip("[]")):
        raise ValueError("must be a loopback address: peers elsewhere cannot be authenticated yet")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who answers to it is not ours to say
        return False


LocalAddress = Annotated[str, AfterValidator(_is_local)]
