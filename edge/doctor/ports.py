"""The station's own ports: free, or held by the station that runs here."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from edge.config import Station
from edge.doctor.finding import Finding, Machine, Status, weighed


def ports(station: Station, machine: Machine, *, station_runs: bool) -> Iterator[Finding]:
    """Each can be listened on; held ports are well while the station runs."""
    held = {key: where for key, where in _endpoints(station).items() if _is_held(*where)}
    free = [str(port) for key, (_host, port) in _endpoints(station).items() if key not in held]
    if free:
        yield Finding(check="ports", status=Status.OK, seen=f"free: {', '.join(free)}")
    for key, (_host, port) in held.items():
        yield weighed(
            check="ports",
            is_well=station_runs,
            otherwise=Status.BAD,
            seen=f"{key}: {port} is held by {'the station that runs here' if station_runs else _holder(port, machine)}",
            wanted="free, or held by the station",
            mend=f"end that program (ss -ltnp 'sport = :{port}'), or set another {key}",
        )


def _endpoints(station: Station) -> dict[str, tuple[str, int]]:
    """Host and port by key; sockets of the file system and chosen ports are always free."""
    addresses = {"events.live": station.events.live, "events.command": station.events.command}
    urls = {key: urlsplit(address) for key, address in addresses.items()}
    tcp = {
        key: (url.netloc.rpartition(":")[0].strip("[]"), int(url.netloc.rpartition(":")[2]))
        for key, url in urls.items()
        if url.scheme == "tcp" and not url.netloc.endswith(":*")
    }
    return tcp | {"metrics.port": (station.metrics.host, station.metrics.port)}


def _is_held(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trying:
        # As the station does: connections that have ended do not hold a port.
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((host, port))
        except OSError as problem:
            return problem.errno == errno.EADDRINUSE
    return False


def _holder(port: int, machine: Machine) -> str:
    """The program that listens there, as far as this user may see it."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, machine)}
    for process in machine.matching("/proc/[0-9]*"):
        with suppress(OSError):  # another user's, or it has ended
            if any(os.readlink(descriptor) in sockets for descriptor in _descriptors(process)):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name}: {words[:80]}"
    return "another program"


def _descriptors(process: Path) -> list[Path]:
    return [process / "fd" / number for number in os.listdir(process / "fd")]


def _listening(port: int, machine: Machine) -> Iterator[str]:
    """Inodes of the sockets in state LISTEN (0A) on this port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in (machine.text(table) or "").splitlines()[1:]:
            words = row.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]
