"""The ZeroMQ border: sockets bound with this station's options. That they are on loopback, `config.py` sees to."""

import os

import zmq

from edge.errors import GoldlineError

# A dead peer is noticed after 1.5 s; TCP alone takes minutes.
HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS, HEARTBEAT_TTL_MS = 500, 1500, 2000
# A subscriber may be this many events behind before its own are dropped; it sees that by the numbers.
SEND_HIGH_WATER = 10_000
# A command is a few hundred bytes; larger is a mistake.
MAX_COMMAND_BYTES = 65_536
# How long the last events may take to leave at a clean stop.
LINGER_MS = 500


def bind(context: zmq.Context[zmq.Socket[bytes]], kind: int, key: str, address: str) -> zmq.Socket[bytes]:
    """A bound socket. `key` names the setting. Raises GoldlineError: no address, or in use."""
    socket = context.socket(kind)
    options = {
        zmq.LINGER: LINGER_MS,
        zmq.SNDHWM: SEND_HIGH_WATER,
        zmq.MAXMSGSIZE: MAX_COMMAND_BYTES,
        zmq.HEARTBEAT_IVL: HEARTBEAT_INTERVAL_MS,
        zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
        zmq.HEARTBEAT_TTL: HEARTBEAT_TTL_MS,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    try:
        socket.bind(address)
    except zmq.ZMQError as problem:
        socket.close()
        raise GoldlineError(f"{key}: cannot listen on {address}: {os.strerror(problem.errno or 0)}") from problem
    return socket
