"""The ZeroMQ border: sockets bound with this station's options. Who is let in, `guard.py` says."""

import os
from collections.abc import Mapping
from typing import cast

import zmq

from edge import dead_peers
from edge.addresses import host_and_port, is_remote
from edge.errors import GoldlineError
from edge.guard import Door, Guard, no_key

# Who connects and says nothing, or nothing that makes sense, has its place for this long; libzmq gives it 30 s.
HANDSHAKE_MS = 3000
# A subscriber may be this many events behind before its own are dropped; it sees that by the numbers.
SEND_HIGH_WATER = 10_000
# What one peer has sent and was not read yet; it waits beyond that.
RECEIVE_HIGH_WATER = 1000
# A command is a few hundred bytes; larger is a mistake.
MAX_COMMAND_BYTES = 65_536
# Connections that wait to be accepted: a plant's clients all come back at once when the station was away.
BACKLOG = 512
# How long the last events may take to leave at a clean stop.
LINGER_MS = 500
OPTIONS: dict[int, int] = {
    zmq.LINGER: LINGER_MS,
    zmq.SNDHWM: SEND_HIGH_WATER,
    zmq.RCVHWM: RECEIVE_HIGH_WATER,
    zmq.MAXMSGSIZE: MAX_COMMAND_BYTES,
    zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
    zmq.BACKLOG: BACKLOG,
    **dead_peers.OPTIONS,
}

Context = zmq.Context[zmq.Socket[bytes]]


def bind(
    context: Context,
    kind: int,
    key: str,
    address: str,
    *,
    security: Guard | None = None,
    zone: str = "",
    options: Mapping[int, int] | None = None,
) -> Door:
    """A bound socket. `key` names the setting, `zone` what peers' keys have to be good for.

    `options` are its own: those that count for connections have to be known before it is bound.
    Raises GoldlineError: no such address here, it is in use, or it needs keys and there are none.
    """
    if is_remote(address) and security is None:
        raise GoldlineError(no_key(key, address))
    socket = cast("Door", context.socket(kind, socket_class=Door))
    try:
        _set(socket, address, {**OPTIONS, **(options or {})})
        if security is not None and security.secures(address):
            security.arm(socket, key, address, zone)
        socket.bind(address)
        if security is not None and address.startswith("tcp://"):
            security.keep(socket, zone)
    except zmq.ZMQError as problem:
        socket.close()
        raise GoldlineError(f"{key}: cannot listen on {address}: {os.strerror(problem.errno or 0)}") from problem
    except GoldlineError:
        socket.close()
        raise
    return socket


def _set(socket: zmq.Socket[bytes], address: str, options: Mapping[int, int]) -> None:
    for option, value in options.items():
        socket.setsockopt(option, value)
    if address.startswith("tcp://") and ":" in host_and_port(address)[0]:
        socket.setsockopt(zmq.IPV6, 1)
