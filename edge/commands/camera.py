"""goldline camera: find cameras, look at their features and pictures, mount them, and play one."""

import argparse
import importlib
import sys
from pathlib import Path

# In the order of getting a camera to work. Each is a module `edge.commands.camera_<verb>`.
VERBS = {
    "list": "the cameras of config.toml and those that answer, and whether they are free",
    "info": "what a camera is, what it delivers, and every feature it has",
    "watch": "live readings for mounting: focus, brightness, clipping, frame rate",
    "set": "write features, read them back, and print the line for config.toml",
    "snap": "save a picture",
    "fake": "be a GigE Vision camera that serves the images of a folder",
}
EPILOG = """\
A CAMERA is a name of config.toml, an IP address, serial number or name (GigE, USB3 Vision), /dev/video0, rtsp://...,
or a folder.

examples:
  goldline camera list
  goldline camera watch trunk --seconds 10
  goldline camera snap 192.168.1.20 --out part.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline camera`; a verb's own come from its module."""
    parser.description, parser.epilog = (
        "Find cameras, see their features and pictures, mount them, or play one.",
        EPILOG,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    chosen = next((word for word in sys.argv[1:] if word in VERBS), None)
    for verb, line in VERBS.items():
        # The fake camera parses its own words: to this parser none of them is an option.
        is_forwarded = verb == "fake"
        sub = verbs.add_parser(
            verb,
            help=line,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            prefix_chars="\0" if is_forwarded else "-",
            add_help=not is_forwarded,
        )
        if not is_forwarded:
            sub.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if verb == chosen:
            importlib.import_module(f"edge.commands.camera_{verb}").add_arguments(sub)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says. Raises GoldlineError."""
    return importlib.import_module(f"edge.commands.camera_{arguments.verb}").run(arguments)
