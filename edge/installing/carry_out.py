"""Carries steps out, in order. Whatever is written is there whole or not at all; a second run goes on where one ended."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.durable import sync
from edge.errors import GoldlineError
from edge.installing import observe
from edge.installing.items import Action, Command, Directory, File, Link, Placed, Step
from edge.terminal import waiting

# Where Debian and others have systemd's smaller programs.
_PROGRAMS = "/usr/sbin:/sbin:/usr/lib/systemd:/lib/systemd"
# What can be done in a file system that is not the running one.
_OF_ANOTHER_ROOT = ("systemd-sysusers", "systemctl")
# Lines of a failed command that are shown.
_SHOWN = 8


class InstallError(GoldlineError):
    """A step failed. What was done before it stays, and is known as done."""


def carry_out(steps: Sequence[Step], root: Path, tell: Callable[[Step, str], None]) -> list[str]:
    """Do what is to be done; `tell` hears of each step with what is worth knowing of it.

    Returns a line for each command that failed and was not needed. Raises InstallError at the first step that fails.
    """
    notes: list[str] = []
    for done, step in enumerate(steps):
        try:
            note = _carry_out(step, root) if step.is_work else step.note
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename else ""
            raise _failed(step, f"{where}{problem.strerror}", done, len(steps)) from None
        except _CommandFailed as problem:
            if isinstance(step.item, Command) and step.item.is_needed:
                raise _failed(step, str(problem), done, len(steps)) from None
            note = f"not done here: {problem}"
            notes.append(f"{step.name}: {note}")
        tell(step, note)
    return notes


def program(name: str) -> str | None:
    """Where this program is, or None."""
    return shutil.which(name) or shutil.which(name, path=_PROGRAMS)


class _CommandFailed(Exception):
    """A command ended badly: its last words."""


def _failed(step: Step, why: str, done: int, total: int) -> InstallError:
    return InstallError(f"{step.name}: {why} ({done} of {total} steps done; run it again to go on)")


def _carry_out(step: Step, root: Path) -> str:
    item = step.item
    if isinstance(item, Command):
        with waiting(step.name):
            _run(item, root)
        return ""
    if step.action is Action.REMOVE:
        observe.place(root, item.path).unlink(missing_ok=True)
        return ""
    if isinstance(item, Directory):
        _make_directory(item, root)
    else:
        _write(item, root)
    return step.note


def _make_directory(item: Directory, root: Path) -> None:
    path = observe.place(root, item.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(exist_ok=True)
    owner = _owner(item, root)
    # An open folder cannot be swapped for a link meanwhile: the service's user may write beside it.
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if owner is not None:
            os.fchown(handle, *owner)
        os.fchmod(handle, item.mode)
    finally:
        os.close(handle)


def _write(item: File | Link, root: Path) -> None:
    path = observe.place(root, item.path)
    owner = _owner(item, root)
    # In a folder that stands for a root nobody else is at work, and the user may not even reach it.
    with _acting_as(owner if root == Path("/") else None):
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item, Link):
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".goldline-") as folder:
                os.symlink(item.target, Path(folder, "link"))
                os.replace(Path(folder, "link"), path)
        else:
            write_file(path, item.content, item.mode, owner)
        sync(path.parent)


def write_file(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """The whole file or, after a power cut, the one before. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".goldline-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            os.fchmod(descriptor, mode)
            if owner is not None:
                os.fchown(descriptor, *owner)
            handle.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def _owner(item: Placed, root: Path) -> tuple[int, int] | None:
    """User and group number of an item that is not root's; None where this process can give files to nobody."""
    if os.geteuid() != 0 or isinstance(item, Link) or item.owner == "root":
        return None
    return observe.numbers(root, item.owner)


@contextmanager
def _acting_as(owner: tuple[int, int] | None) -> Generator[None]:
    """As this user: in its folders root follows none of its links to where it could not write itself."""
    if owner is None:
        yield
        return
    user_id, group_id = owner
    os.setegid(group_id)
    os.seteuid(user_id)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _run(command: Command, root: Path) -> None:
    """Raises _CommandFailed."""
    if command.words[0] == "chown":
        _give_away(observe.place(root, command.words[-1]), observe.numbers(root, command.words[2].rstrip(":")))
        return
    found = program(command.words[0])
    if found is None:
        raise _CommandFailed("there is no such program")
    elsewhere = [f"--root={root}"] if root != Path("/") and command.words[0] in _OF_ANOTHER_ROOT else []
    done = subprocess.run(
        [found, *elsewhere, *command.words[1:]],
        **_identity(command, root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines()[-_SHOWN:]
        raise _CommandFailed("; ".join(lines) or f"exit code {done.returncode}")


def _identity(command: Command, root: Path) -> dict[str, Any]:
    """Who runs it. What it writes is for its user alone, as with the service's UMask."""
    owner = observe.numbers(root, command.as_user) if command.as_user != "root" and os.geteuid() == 0 else None
    return {"user": owner[0], "group": owner[1], "extra_groups": [], "umask": 0o077, "cwd": "/"} if owner else {}


def _give_away(folder: Path, owner: tuple[int, int] | None) -> None:
    """Everything below `folder`, and itself, to this user; links are given, not followed."""
    if owner is None:
        return
    for _, folders, files, handle in os.fwalk(folder):
        for name in (*folders, *files):
            os.chown(name, *owner, dir_fd=handle, follow_symlinks=False)
    os.chown(folder, *owner, follow_symlinks=False)
