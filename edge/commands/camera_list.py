"""goldline camera list: the cameras of config.toml and those that answer."""

import argparse
import json
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from edge.cameras.camera import Found
    from edge.cameras.discovery import Discovery, State

EPILOG = """\
example:
  goldline camera list --json

exit code: 0, whatever answers; 2 where config.toml cannot be read
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline camera list`."""
    parser.description = "The cameras of config.toml and those that answer. Opens none, and changes none."
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Look, and print."""
    from edge.cameras.discovery import discover, state_of
    from edge.config import load_station

    cameras = load_station(arguments.config).cameras
    with Console(stderr=True).status("looking for cameras"):
        seen = discover(cameras)
        states = [state_of(name, config, seen.found) for name, config in cameras.items()]
    if arguments.json:
        print(json.dumps({"configured": msgspec.to_builtins(states), **msgspec.to_builtins(seen)}))
    else:
        _print(states, seen)
    return 0


def _print(states: "list[State]", seen: "Discovery") -> None:
    console = Console(highlight=False)
    rows = [(one.name, one.source, one.address, one.state, one.detail) for one in states]
    console.print(_table("config.toml", ("name", "source", "address", "state", ""), rows))
    console.print(
        _table("found", ("source", "address", "camera", "serial", "state"), [_row(found) for found in seen.found])
    )
    for note in seen.notes:
        print(f"not looked for: {note}")


def _row(found: "Found") -> tuple[str, ...]:
    camera = " ".join(filter(None, (found.vendor, found.model, f"({found.name})" if found.name else "")))
    return found.source, found.address, camera, found.serial, "busy" if found.is_busy else "free"


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table | str:
    if not rows:
        return f"{title}: none"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for head in heads:
        # What is copied into config.toml is never cut.
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
