"""The journal's own protocol: a line as fields in one datagram, so that `journalctl GOLDLINE_CAMERA=left` finds it.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL. A datagram that is too large goes in a sealed memfd instead. Nothing here
waits: libsystemd's `sd_journal_send` does, for a journal that has stopped reading (docs/decisions/0046).
"""

import fcntl
import json
import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
PREFIX = "GOLDLINE_"
# syslog's severities (RFC 5424), which the journal's PRIORITY is.
PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
# The journal refuses longer names, and others than capitals, digits and _.
NAME_CHARACTERS = 64
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def fields(event: Mapping[str, object], message: str) -> dict[str, str]:
    """The journal's fields of a line: its text, its severity, and each of its keys under a name of ours."""
    level = str(event.get("level", "info"))
    own = {_name(key): _text(value) for key, value in event.items() if key not in ("level", "timestamp", "event")}
    return {
        "MESSAGE": message,
        "PRIORITY": str(PRIORITIES.get(level, PRIORITIES["info"])),
        "SYSLOG_IDENTIFIER": "goldline",
        **own,
    }


def encode(pairs: Mapping[str, str]) -> bytes:
    """One datagram: NAME=value and a newline; a value of several lines with its length before it."""
    return b"".join(_encoded(name, value.encode(errors="replace")) for name, value in pairs.items())


def is_stream(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether this descriptor is the stream that systemd has connected to the journal: `JOURNAL_STREAM` says which."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class Journal:
    """Sends datagrams to the journal; what it cannot take at once is not sent."""

    def __init__(self, path: Path) -> None:
        """Raises OSError: there is no journal."""
        self._address = str(path)
        os.stat(path)
        # Not connected: each datagram finds the socket that is there by then, should the journal be another.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def send(self, datagram: bytes) -> bool:
        """False: it could not be taken. Never waits."""
        try:
            self._socket.sendto(datagram, socket.MSG_DONTWAIT, self._address)
        except OSError as problem:
            # EMSGSIZE of the kernel; ENOBUFS where the size exceeds what may wait at all.
            return not isinstance(problem, BlockingIOError) and self._send_large(datagram)
        return True

    def _send_large(self, datagram: bytes) -> bool:
        try:
            with os.fdopen(os.memfd_create("goldline-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as file:
                file.write(datagram)
                file.flush()
                fcntl.fcntl(file.fileno(), fcntl.F_ADD_SEALS, SEALS)
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))]
                self._socket.sendmsg([], rights, socket.MSG_DONTWAIT, self._address)
        except OSError:
            return False
        return True

    def is_there(self) -> bool:
        """Whether there is a journal to send to, if one that may have stopped reading."""
        return os.path.exists(self._address)

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()


def _name(key: str) -> str:
    return (PREFIX + _NOT_IN_NAMES.sub("_", key.upper()))[:NAME_CHARACTERS]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _encoded(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(value)), value)
