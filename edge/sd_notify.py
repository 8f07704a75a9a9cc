"""Telling systemd how the service is: https://www.freedesktop.org/software/systemd/man/sd_notify.html."""

import os
import socket
from collections.abc import Generator
from contextlib import closing, contextmanager

from edge.errors import GoldlineError


class Notifier:
    """Sends to $NOTIFY_SOCKET; says nothing where there is none."""

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        # An abstract socket is written with @ for its leading NUL.
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def send(self, *states: str) -> None:
        """Send e.g. `READY=1`. A manager that does not listen is no reason to stop inspecting."""
        if self._address:
            try:
                self._socket.sendto("\n".join(states).encode(), socket.MSG_DONTWAIT, self._address)
            except OSError:
                return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextmanager
def saying_why_not() -> Generator[None]:
    """Around what may raise GoldlineError: its first line is what `systemctl status` shows until the next start."""
    try:
        yield
    except GoldlineError as problem:
        with closing(Notifier()) as notifier:
            notifier.send(f"STATUS=cannot run: {str(problem).partition(chr(10))[0]}")
        raise
