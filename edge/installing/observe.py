"""What a device has: reads only. `root` is the folder that stands for its root."""

import hashlib
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from edge.installing.items import Found


def place(root: Path, path: str) -> Path:
    """Where a path of the device is for us."""
    return root / path.lstrip("/")


def look(root: Path, paths: Iterable[str]) -> dict[str, Found]:
    """What is at each of these, links not followed. Raises OSError for what may not be looked at."""
    names = users(root)
    found = ((path, _at(place(root, path), names)) for path in paths)
    return {path: there for path, there in found if there is not None}


def users(root: Path) -> dict[int, str]:
    """Names of the device's users by number."""
    try:
        lines = place(root, "/etc/passwd").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    return {0: "root"} | {user_id: name for name, user_id, _ in _accounts(lines)}


def numbers(root: Path, user: str) -> tuple[int, int] | None:
    """User and group number of one of the device's users, or None."""
    if root == Path("/"):  # a directory service may know the user
        with suppress(KeyError):
            account = pwd.getpwnam(user)
            return account.pw_uid, account.pw_gid
        return None
    try:
        lines = place(root, "/etc/passwd").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next(((user_id, group_id) for name, user_id, group_id in _accounts(lines) if name == user), None)


def _accounts(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """Name, user and group number; not of the lines that lead to a directory service (`+::::::`), or are none."""
    for line in lines:
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdecimal() and fields[3].isdecimal():
            yield fields[0], int(fields[2]), int(fields[3])


def foreign_owners(folder: Path, user_id: int) -> int:
    """How many files and folders below `folder`, and itself, are not this user's: commands that root gave."""
    if not folder.is_dir():
        return 0
    names = (os.path.join(at, name) for at, folders, files in os.walk(folder) for name in (*folders, *files))
    return sum(os.lstat(name).st_uid != user_id for name in (str(folder), *names))


def _at(path: Path, names: dict[int, str]) -> Found | None:
    try:
        state = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner, mode = names.get(state.st_uid, str(state.st_uid)), stat.S_IMODE(state.st_mode)
    if stat.S_ISLNK(state.st_mode):
        return Found(kind="link", says=os.readlink(path), mode=mode, owner=owner)
    if stat.S_ISDIR(state.st_mode):
        return Found(kind="directory", mode=mode, owner=owner)
    if not stat.S_ISREG(state.st_mode):
        return Found(kind="other", mode=mode, owner=owner)
    return Found(kind="file", says=hashlib.sha256(path.read_bytes()).hexdigest(), mode=mode, owner=owner)
