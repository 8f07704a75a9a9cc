"""The supervisor's control socket: each connection is served on a thread of its own, so no disk keeps the pass waiting."""

import os
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
import structlog

from edge.errors import GoldlineError
from edge.station_control import SOCKET, AnyControl, Outcome, ReloadOrder, Status, addressed

# An order is a line of a few dozen bytes; who sends none for this long is cut off.
MAX_ORDER_BYTES, ORDER_WITHIN_S = 4096, 5.0
# Who asks is this station's own user: more than wait to be taken in at once there are none.
WAITING = 16


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = WAITING

    def handle_error(self, request: object, client_address: object) -> None:
        """A failing answer ends that connection, and the log says why."""
        structlog.get_logger().exception("control answer failed")


class ControlDesk:
    """Owns the socket. `reload` and `status` are called on the connections' threads, and may take long."""

    def __init__(self, runtime: Path, reload: Callable[[bool], Outcome], status: Callable[[], Status]) -> None:
        """Answers from now on. Raises GoldlineError."""
        self._path = runtime / SOCKET
        try:
            # What a station that was killed has left; the lock of the directory says that none is running.
            self._path.unlink(missing_ok=True)
            with addressed(runtime) as address:
                self._server = _Server(address, _handler(reload, status), bind_and_activate=False)
                before = os.umask(0o177)
                try:
                    self._server.server_bind()
                finally:
                    os.umask(before)
                self._server.server_activate()
        except OSError as problem:
            raise GoldlineError(f"{self._path}: cannot be listened on: {problem.strerror}") from problem
        # Polling only bounds how long close() takes.
        kwargs = {"poll_interval": 0.2}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=kwargs, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _handler(
    reload: Callable[[bool], Outcome], status: Callable[[], Status]
) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        timeout = ORDER_WITHIN_S

        def handle(self) -> None:
            try:
                order = msgspec.json.decode(self.rfile.readline(MAX_ORDER_BYTES), type=AnyControl)
            except (OSError, ValueError, RecursionError):  # of msgspec: DecodeError, and UnicodeDecodeError
                return
            answer = reload(order.dry_run) if isinstance(order, ReloadOrder) else status()
            self.connection.settimeout(ORDER_WITHIN_S)
            with suppress(ConnectionError, TimeoutError):  # who asked has gone, or does not read
                self.wfile.write(msgspec.json.encode(answer) + b"\n")

    return Handler
