"""Somebody on the wire between a client and the station, who passes everything on and writes it down, or alters it."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

PATIENCE_S = 20.0
# What is answered at all is answered in a millisecond; and most of what was recorded has no answer of its own.
WAITS_S = (0.1, 0.5, 3.0)


class Tap:
    """Listens for one client at `port` and connects to the station's port. Closed once both have hung up."""

    def __init__(self, port: int, alter: Callable[[bytes], bytes] = bytes) -> None:
        """`alter`: what becomes of a chunk that the client sent."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        # Each as it came off the wire.
        self.sent: list[bytes] = []
        self.answered: list[bytes] = []
        self._to, self._alter = port, alter
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._server.close()

    @property
    def is_over(self) -> bool:
        """Both sides have hung up."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        client, _ = self._server.accept()
        with client, connected(self._to) as station:
            station.settimeout(None)
            back = threading.Thread(target=self._pass, args=(station, client, self.answered, bytes))
            back.start()
            self._pass(client, station, self.sent, self._alter)
            back.join()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, log: list[bytes], alter: Callable[[bytes], bytes]) -> None:
        try:
            while chunk := received(source):
                log.append(chunk)
                sink.sendall(alter(chunk))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


def connected(port: int) -> socket.socket:
    """To a process that may be starting still."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.02)


def received(raw: socket.socket) -> bytes:
    """What is here next; b"" at the end, however that comes."""
    try:
        return raw.recv(65536)
    except ConnectionResetError:
        return b""


def played_again(port: int, chunks: Iterable[bytes], expected: bytes | None = None) -> bytes:
    """What the station says to a recorded client, until it hangs up or says no more.

    A peer says nothing before the other's part of the handshake is there, so that each chunk waits for a word; where the
    `expected` one does not come because the machine is busy, all is said again with more patience.
    """
    heard = b""
    for wait_s in WAITS_S if expected is not None else WAITS_S[:1]:
        heard = _said(port, chunks, wait_s)
        if expected is not None and expected in heard:
            break
    return heard


def _said(port: int, chunks: Iterable[bytes], wait_s: float) -> bytes:
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as raw, contextlib.suppress(OSError):
        raw.settimeout(wait_s)
        for chunk in chunks:
            raw.sendall(chunk)
            with contextlib.suppress(TimeoutError):
                heard += received(raw)
        while word := received(raw):
            heard += word
    return bytes(heard)
