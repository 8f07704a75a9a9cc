"""A broker that takes one message at a time and is slow to acknowledge it; what it hears is counted."""

import socket
import threading

CONNECT, PUBLISH, DISCONNECT = 1, 3, 14
# A farewell after which the broker publishes the will all the same.
WITH_WILL = 4
# Session not there, success; properties: Receive Maximum 1.
CONNACK = bytes((0x20, 6, 0, 0, 3, 0x21, 0, 1))
# The end of the connection: packet too large.
TOO_LARGE = bytes((0xE0, 1, 0x95))
# How long another message may take to come that must not.
SLOW_S = 0.05


class NarrowBroker:
    """Serves one client after another until `close`. `refusal`: the reason code of every PUBACK from 0x80 on.

    `most`: on a PUBLISH whose variable part is larger it ends the connection. It has not said so before.
    """

    def __init__(self, refusal: int = 0, most: int = 1 << 28) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.topics: list[str] = []
        self.most = 0
        # The reason codes of the clients' farewells.
        self.farewells: list[int] = []
        self._refusal, self._most = refusal, most
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def kill(self) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._hear(client)

    def _hear(self, client: socket.socket) -> None:
        open_ones: list[int] = []
        rest = b""
        while True:
            client.settimeout(SLOW_S if open_ones else None)
            try:
                received = client.recv(65_536)
            except TimeoutError:
                number = open_ones.pop(0).to_bytes(2, "big")
                client.sendall(bytes((0x40, 3)) + number + bytes((self._refusal,)))
                continue
            except OSError:
                return
            if not received:
                return
            packets, rest = _packets(rest + received)
            for kind, body in packets:
                if kind == CONNECT:
                    client.sendall(CONNACK)
                elif kind == PUBLISH and len(body) > self._most:
                    client.sendall(TOO_LARGE)
                    return
                elif kind == PUBLISH:
                    end = 2 + int.from_bytes(body[:2], "big")
                    self.topics.append(body[2:end].decode())
                    open_ones.append(int.from_bytes(body[end : end + 2], "big"))
                    self.most = max(self.most, len(open_ones))
                elif kind == DISCONNECT:
                    self.farewells.append(body[0] if body else 0)


def _packets(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole packets at the beginning, by kind, and the rest."""
    found: list[tuple[int, bytes]] = []
    while True:
        length, at = 0, 1
        while at < len(buffer) and at < 5:
            length |= (buffer[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if not buffer[at - 1] & 0x80:
                break
        else:
            return found, buffer
        if len(buffer) < at + length:
            return found, buffer
        found.append((buffer[0] >> 4, buffer[at : at + length]))
        buffer = buffer[at + length :]
