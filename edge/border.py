"""The ZeroMQ border: sockets bound with this station's options, on loopback only.

A socket beyond loopback needs authentication, which is not there yet, so it is refused.
"""

import re

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

_LOOPBACK = re.compile(r"^tcp://(127(\.\d{1,3}){3}|localhost|\[::1\]):(\d+|\*)$|^ipc://")


def bind(context: zmq.Context[zmq.Socket[bytes]], kind: int, key: str, address: str) -> zmq.Socket[bytes]:
    """A bound socket. `key` names the setting. Raises GoldlineError: beyond loopback, no address, or in use."""
    if not _LOOPBACK.match(address):
        raise GoldlineError(
            f"{key}: {address}: only tcp:// on loopback or ipc:// is allowed until subscribers can be authenticated"
        )
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
        raise GoldlineError(f"{key}: cannot listen on {address}: {problem.strerror}") from problem
    return socket
