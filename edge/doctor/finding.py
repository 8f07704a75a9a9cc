"""What a check found, in words for whoever has to mend it."""

import os
import pwd
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec


class Status(StrEnum):
    """`bad` keeps the station from working as configured; `warn` will, one day or under load."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One check of one thing. `mend` is a command, or what to change in `config.toml`."""

    check: str
    status: Status
    seen: str
    wanted: str = ""
    mend: str = ""


def weighed(*, check: str, is_well: bool, otherwise: Status, seen: str, wanted: str, mend: str) -> Finding:
    """What was seen beside what is wanted: there is something to mend only where it is not well."""
    status, mend = (Status.OK, "") if is_well else (otherwise, mend)
    return Finding(check=check, status=status, seen=seen, wanted=wanted, mend=mend)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Whose access counts: the user that the station runs as."""

    name: str
    uid: int
    groups: frozenset[int]

    def may(self, path: Path, wanted: int) -> bool:
        """Whether this file's mode, and those of the folders above it, give `wanted` (os.R_OK | os.W_OK | os.X_OK).

        Access lists beside the mode are not read.
        """
        is_reached = all(self._may_by_mode(folder, os.X_OK) for folder in path.absolute().parents)
        return self.uid == 0 or (is_reached and self._may_by_mode(path, wanted))

    def _may_by_mode(self, path: Path, wanted: int) -> bool:
        info = path.stat()
        shift = 6 if info.st_uid == self.uid else 3 if info.st_gid in self.groups else 0
        return (info.st_mode >> shift) & wanted == wanted


# The user of systemd/goldline.service.
SERVICE_USER = "goldline"


def whoever_runs_the_station() -> Person:
    """The service's user where root asks and there is one; else who asks."""
    if os.geteuid() == 0:
        try:
            account = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            return Person(name="root", uid=0, groups=frozenset({0}))
        groups = frozenset(os.getgrouplist(SERVICE_USER, account.pw_gid))
        return Person(name=SERVICE_USER, uid=account.pw_uid, groups=groups)
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Person(name=name, uid=uid, groups=frozenset({*os.getgroups(), os.getegid()}))


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's files below `root`, and who the station is to it."""

    root: Path = Path("/")
    person: Person = msgspec.field(default_factory=whoever_runs_the_station)

    def path(self, absolute: str) -> Path:
        """Where a file of the machine lies."""
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str | None:
        """What a file of the kernel says, without white space around it; None where it is not there or not readable."""
        try:
            return self.path(absolute).read_text(errors="replace").strip().strip("\0")
        except OSError:
            return None

    def number(self, absolute: str) -> int | None:
        """The number a file holds; None where it holds none."""
        text = self.text(absolute)
        return int(text) if text is not None and text.lstrip("-").isdecimal() else None

    def matching(self, pattern: str) -> Iterator[Path]:
        """Files by an absolute glob pattern, by name."""
        return iter(sorted(self.root.glob(pattern.lstrip("/"))))


def in_bytes(count: float) -> str:
    """For reading: 16 MiB, 208 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
