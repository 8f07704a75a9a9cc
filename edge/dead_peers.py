"""How either end of a ZeroMQ connection notices that the other is gone without a word: by TCP itself, within some 2 s.

ZeroMQ's own heartbeats (ZMTP PING) are not used. Where a peer has sent as much as its reader may leave unread, libzmq
4.3.5 reads no PONG either, takes the peer for dead, and ends the whole process at the next look at that connection
(`Assertion failed: _input_stopped`, or `!_io_error` where the peer is dead indeed).
"""

import zmq

# A silent peer is asked after the first second and, at the second, given up; so is one that does not confirm what it
# was sent. Shorter would take a busy switch for a death; TCP by itself waits for two hours and a quarter of one.
IDLE_S, INTERVAL_S, PROBES, UNCONFIRMED_MS = 1, 1, 2, 2000
OPTIONS: dict[int, int] = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: IDLE_S,
    zmq.TCP_KEEPALIVE_INTVL: INTERVAL_S,
    zmq.TCP_KEEPALIVE_CNT: PROBES,
    zmq.TCP_MAXRT: UNCONFIRMED_MS,
}
