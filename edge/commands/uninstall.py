"""goldline uninstall: take the service off this device; what it learned and kept stays, unless it is to go."""

import argparse
import json
import os
from pathlib import Path

from edge.commands.install import folder_of, line
from edge.errors import GoldlineError

EPILOG = """\
examples:
  goldline uninstall --dry-run
  goldline uninstall                    configuration, products, reference sets and events stay
  goldline uninstall --purge            these, too; not what lies elsewhere because config.toml says so

As root. What you changed of what install laid out stays, and is named. The program itself is removed with its folder:
rm -r /opt/goldline
exit code: 0 it is gone, 2 it is not
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline uninstall`."""
    parser.description = "Stop the service and remove what `goldline install` laid out and nobody changed."
    parser.epilog = EPILOG
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--purge", action="store_true", help="/etc/goldline and the state of every station below /var/lib go, too"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="a file system (default: /)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Plan, and carry out unless it is a dry run. 0 when it is gone."""
    from edge.installing.device import Removal
    from edge.installing.lock import alone

    root = folder_of(arguments.root)
    if root == Path("/") and os.geteuid() != 0 and not arguments.dry_run:
        raise GoldlineError("uninstall: only root can: sudo goldline uninstall; or --dry-run")
    removal = Removal(root, is_purged=arguments.purge)
    told = [(step, step.note) for step in removal.steps]
    if not arguments.dry_run:
        told.clear()
        with alone(root):
            removal = Removal(root, is_purged=arguments.purge)
            removal.carry_out(lambda step, note: told.append((step, note)))
    trees = [str(tree) for tree in removal.trees]
    if arguments.json:
        steps = [{"action": step.action.value, "name": step.name, "note": note} for step, note in told]
        print(json.dumps({"steps": steps, "purged": trees}))
        return 0
    lines = [line(step, note) for step, note in told] + [
        f"remove    {tree}  (with all that is in it)" for tree in trees
    ]
    print("\n".join(lines))
    print(
        "nothing was done" if arguments.dry_run else "Goldline is off this device; the program: rm -r its environment"
    )
    return 0
