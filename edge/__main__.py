"""The command line: parses, calls, exits. Each command is a module of `edge.commands`, loaded only when called."""

import argparse
import importlib
import sys
from pathlib import Path

from edge import __version__
from edge.errors import GoldlineError

# In the order a new user meets them.
COMMANDS = {
    "install": "lay the service out on this device, and start it; or go back to the one before",
    "check": "validate the configuration, the recipes and the reference sets; needs no hardware",
    "teach": "build a product's reference set from photographs of good parts",
    "inspect": "judge images, and show why",
    "evaluate": "measure false calls and escapes on labelled images",
    "learn": "add good images to a reference set, or known bad ones, as a new version",
    "limits": "see what other limits would do to known images, and accept them",
    "replay": "judge stored frames by another reference set or other limits, before they go live",
    "camera": "find cameras, see their features and pictures, mount them, or play one",
    "doctor": "what on this machine keeps cameras or the station from working well, and how to mend it",
    "run": "run the station",
    "reload": "have the running station take over its configuration as it stands now",
    "status": "how the station is: what needs attention, answers, cameras, processes, the record",
    "top": "the same, live in the terminal",
    "tail": "print the station's events as they come",
    "outbox": "see what is kept of what the station said, and for whom",
    "images": "find, export and verify the pictures that are kept as evidence",
    "mirror": "keep a copy of the station's events in a database",
    "trigger": "ask a software-triggered camera for a picture",
    "order": "prepare a product, announce a part, start, stop, halt or reset the running station",
    "opcua": "make the certificate that the OPC UA server shows its clients",
    "fleet": "products on many stations at once: roll-out, roll-back, status",
    "keys": "make the station's key, and say whose keys are let in",
    "logs": "what a line of the log means and what to do about it; the service's own lines",
    "uninstall": "take the service off this device; what it learned stays",
    "bench": "measure this machine: the graph alone, the plain loop, the running station",
}
EXIT_CANNOT_RUN = 2
EXIT_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The whole command line; a command's own arguments come from its module."""
    top = argparse.ArgumentParser(
        prog="goldline",
        description="Visual inspection at the edge: compares every part with what good parts look like.",
        epilog="Example: goldline teach trunk --good photographs/ && goldline run",
    )
    top.add_argument("--version", action="version", version=f"goldline {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.add_argument(
            "--config", type=Path, help="the station's config.toml (default: the one in this folder, or /etc/goldline)"
        )
        if name == chosen:
            importlib.import_module(f"edge.commands.{name}").add_arguments(command)
    return top


def main() -> int:
    """Run one command; a user's mistake is one line on stderr and exit code 2."""
    arguments = parser().parse_args()
    try:
        return importlib.import_module(f"edge.commands.{arguments.command}").run(arguments)
    except GoldlineError as problem:
        print(f"goldline: {problem}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    except BrokenPipeError:  # the reader of our output has gone
        return EXIT_CANNOT_RUN
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
