"""goldline install: lay the service out on this device, or bring what is there up to this program."""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.installing.items import Step

EPILOG = """\
examples:
  python3 -m venv /opt/goldline
  /opt/goldline/bin/pip install 'goldline[cpu] @ file:///root/goldline-0.2.0-py3-none-any.whl'
  /opt/goldline/bin/goldline install --dry-run
  /opt/goldline/bin/goldline install
  goldline install --rollback           back to the environment that was installed before

As root. What is there already and right is left; what you changed is never overwritten: ours is put beside it, with .new
at its end. docs/install.md has upgrades, rollback, several stations, and devices without a network.
exit code: 0 it is installed, 2 it is not: the line says which step failed, and it may be run again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline install`."""
    parser.description = (
        "Lay out the service: its user, folders, units, kernel settings, a first configuration with a taught demo; then "
        "start it. Run again, it changes what has changed."
    )
    parser.epilog = EPILOG
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--rollback", action="store_true", help="install the environment that was installed before this"
    )
    parser.add_argument("--no-start", action="store_true", help="neither start nor restart the service")
    parser.add_argument("--user", help="the service's user (default: the one it has; at first goldline)")
    parser.add_argument("--station-id", metavar="ID", help="the first station's id (default: from the host's name)")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="a file system to prepare (default: /)"
    )
    parser.add_argument(
        "--program", type=Path, metavar="FILE", help="the goldline that the units start (default: this one)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Plan, and carry out unless it is a dry run. 0 when it is installed."""
    from edge.installing.device import Installation
    from edge.installing.lock import alone

    if arguments.rollback:
        return _roll_back(arguments)
    root = folder_of(arguments.root)
    if root == Path("/") and os.geteuid() != 0 and not arguments.dry_run:
        raise GoldlineError("install: only root can: sudo goldline install; or --dry-run")
    options = _options(arguments, root)
    planned = [(step, step.note) for step in Installation(options).steps]
    if arguments.dry_run:
        _say(arguments, planned, [], {})
        return 0
    told: list[tuple[Step, str]] = []
    with alone(root):
        notes = Installation(options).carry_out(lambda step, note: _heard(arguments, told, step, note))
    _say(arguments, told, notes, _examined(root, arguments))
    return 0


def _options(arguments: argparse.Namespace, root: Path) -> Any:
    from edge.installing import device, layout

    return device.Options(
        root=root,
        program=arguments.program or device.default_program(),
        station_id=layout.station_id(arguments.station_id or socket.gethostname()),
        user=arguments.user,
        is_started=not arguments.no_start,
    )


def folder_of(folder: Path) -> Path:
    """What stands for the device's root. Raises GoldlineError where there is none."""
    if not folder.is_dir():
        raise GoldlineError(f"--root {folder}: no such folder")
    return folder.resolve()


def _heard(arguments: argparse.Namespace, told: "list[tuple[Step, str]]", step: "Step", note: str) -> None:
    """A line as it happens: the demo is taught for some seconds."""
    told.append((step, note))
    if not arguments.json and step.action.value != "unchanged":
        print(line(step, note), flush=True)


def line(step: "Step", note: str) -> str:
    """One step, for a person."""
    return f"{step.action.value:9} {step.name}" + (f"  ({note})" if note else "")


def _say(
    arguments: argparse.Namespace, told: "list[tuple[Step, str]]", notes: list[str], examined: dict[str, Any]
) -> None:
    changed = sum(step.is_work for step, _ in told)
    if arguments.json:
        steps = [{"action": step.action.value, "name": step.name, "note": note} for step, note in told]
        print(json.dumps({"changed": changed, "steps": steps, "notes": notes, **examined}))
        return
    if arguments.dry_run:
        print("\n".join(line(step, note) for step, note in told))
        print(f"{changed} of {len(told)} steps would change something; nothing was done")
        return
    print(f"{changed} of {len(told)} steps changed something" if changed else "everything is as it should be")
    for name, output in examined.items():
        print(f"\ngoldline {name}:\n{output}".rstrip())
    if examined:
        print(NEXT)


NEXT = """
Next:  goldline status          how the station is
       goldline tail            its verdicts, as they come
       goldline camera list     the cameras of this device; then [cameras] in /etc/goldline/config.toml, and
       goldline reload          to take the change over"""


def _examined(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """What `goldline check` and `goldline doctor` say of the device as it is now; they decide nothing here."""
    from edge.installing import layout
    from edge.terminal import waiting

    if root != Path("/"):
        return {}
    words = ["--config", layout.CONFIG, *(["--json"] if arguments.json else [])]
    said: dict[str, Any] = {}
    for name in ("check", "doctor"):
        command = [sys.executable, "-m", "edge", name, *words]
        with waiting(f"goldline {name}"):
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        text = done.stdout or done.stderr
        said[name] = json.loads(text) if arguments.json and done.returncode < 2 else text
    return said


def _roll_back(arguments: argparse.Namespace) -> int:
    """Have the program that was installed before install itself."""
    from edge.installing import manifest, observe

    root = folder_of(arguments.root)
    before = manifest.load(observe.place(root, manifest.PATH))
    if before is None or not before.previous:
        raise GoldlineError("install --rollback: no other environment was installed before; install the older wheel")
    previous = observe.place(root, before.previous)
    if not previous.exists():
        raise GoldlineError(f"install --rollback: {previous} is gone; install the older wheel")
    words = ["--root", str(root), "--program", before.previous, *_flags(arguments)]
    try:
        return subprocess.run([str(previous), "install", *words], check=False).returncode
    except OSError as problem:
        raise GoldlineError(f"install --rollback: {previous}: {problem.strerror}; install the older wheel") from None


def _flags(arguments: argparse.Namespace) -> list[str]:
    """As the program before is to be told them: how much to do, and in which words to say it."""
    given = {"--dry-run": arguments.dry_run, "--no-start": arguments.no_start, "--json": arguments.json}
    user = ["--user", arguments.user] if arguments.user else []
    return [flag for flag, is_given in given.items() if is_given] + user
