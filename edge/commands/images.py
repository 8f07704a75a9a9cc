"""goldline images: find, export and verify the pictures that are kept as evidence."""

import argparse
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config import load_station
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.archive_index import Row, Wanted

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
# `list` shows a screen of them unless more are asked for.
LISTED = 50
# The latest time that there is in nanoseconds of 63 bits, in the year 2262.
LAST_NS = 2**63 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline images`."""
    parser.description = (
        "Find, export and verify the pictures that the station keeps as evidence: every FAIL, every ERROR that shows the "
        "part, and a share of PASS. WHAT is a trigger id, a unit identifier, or the first eight digits or more of an "
        "image_sha256; without it, all that the other arguments leave."
    )
    parser.epilog = (
        "examples:\n  goldline images list --verdict FAIL --since 2d\n"
        "  goldline images export SN-004711 --out evidence/\n"
        "  goldline images export --verdict FAIL --since 2026-11-20 --out false-calls/\n"
        "  goldline images verify"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, line in (
        ("list", "one line each, the newest first"),
        ("export", "picture, anomaly map and what was said about it"),
        ("verify", "hold the pixels against their SHA-256"),
    ):
        action = actions.add_parser(name, help=line)
        action.add_argument("what", nargs="?", metavar="WHAT", help="trigger id, unit identifier or SHA-256")
        action.add_argument("--verdict", choices=("PASS", "FAIL", "ERROR"))
        action.add_argument("--since", type=since, metavar="WHEN", help="2026-11-20, 2026-11-20T06:00, 30m, 12h or 2d")
        action.add_argument("--json", action="store_true", help="print one JSON object")
        # Wherever it is given, it is the same.
        action.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        _own_arguments(name, action)


def _own_arguments(name: str, action: argparse.ArgumentParser) -> None:
    if name == "list":
        action.add_argument(
            "--count", type=at_least_one, default=LISTED, metavar="N", help=f"at most so many (default: {LISTED})"
        )
    if name == "export":
        action.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write to")
        action.add_argument(
            "--only-kept", action="store_true", help="the kept pixels alone, not in their place in a black frame"
        )


def at_least_one(text: str) -> int:
    """A number of pictures."""
    if not text.isdecimal() or not 0 < int(text) <= LAST_NS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pictures: 1 or more")
    return int(text)


def since(text: str) -> datetime:
    """A date, a date with a time of day (local unless it says otherwise), or so long ago."""
    try:
        if ago := re.fullmatch(r"(\d{1,6})([mhd])", text):
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a date nor a time like 12h") from None


def run(arguments: argparse.Namespace) -> int:
    """List, export or verify. 1: something is damaged, or not there."""
    from edge.archive_reader import find

    state_dir = load_station(arguments.config).state_dir
    rows = find(state_dir, _wanted(arguments))
    if arguments.what is not None and not rows:
        raise GoldlineError(f"images: nothing is kept of {arguments.what}")
    return {"list": _list, "export": _export, "verify": _verify}[arguments.action](arguments, state_dir, rows)


def _wanted(arguments: argparse.Namespace) -> "Wanted":
    from edge.archive_index import Wanted

    return Wanted(
        text=arguments.what,
        verdict=arguments.verdict,
        since_utc_ns=None if arguments.since is None else min(int(arguments.since.timestamp() * 1e9), LAST_NS),
        most=arguments.count if arguments.action == "list" else None,
    )


def _list(arguments: argparse.Namespace, _state_dir: Path, rows: list["Row"]) -> int:
    if arguments.json:
        print(json.dumps({"images": [_told(row) for row in rows]}))
        return 0
    for row in rows:
        # As in `tail`: a terminal is to show what stands on a part, not to obey it.
        unit = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in row.unit_identifier or "-")
        print(f"{_taken(row)}  {row.verdict:<5}  {row.view:<10}  {row.trigger_id:>8}  {unit:<16}  {row.sha256[:16]}")
    return 0


def _taken(row: "Row") -> str:
    return f"{datetime.fromtimestamp(row.taken_utc_ns / 1e9, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def _told(row: "Row") -> dict[str, Any]:
    return {
        "trigger_id": row.trigger_id,
        "view": row.view,
        "verdict": row.verdict,
        "unit_identifier": row.unit_identifier,
        "product": row.product,
        "taken": _taken(row),
        "image_sha256": row.sha256,
    }


def _export(arguments: argparse.Namespace, state_dir: Path, rows: list["Row"]) -> int:
    from edge.archive_reader import Damaged, export, read
    from edge.terminal import stages

    written: list[str] = []
    problems: list[str] = []
    with stages() as tell:
        for number, row in enumerate(rows, start=1):
            try:
                written.append(str(export(read(state_dir, row), arguments.out, only_kept=arguments.only_kept)))
            except Damaged as problem:
                problems.append(str(problem))
            except FileNotFoundError as problem:
                problems.append(f"{problem.filename}: is gone")
            tell("exporting", number, len(rows))
    return _report(arguments, "written", written, problems)


def _verify(arguments: argparse.Namespace, state_dir: Path, rows: list["Row"]) -> int:
    from edge.archive_reader import problem_with
    from edge.terminal import stages

    problems: list[str] = []
    with stages() as tell:
        for number, row in enumerate(rows, start=1):
            if problem := problem_with(state_dir, row):
                problems.append(problem)
            tell("verifying", number, len(rows))
    if not arguments.json:
        print(f"{len(rows)} pictures, {len(problems)} damaged")
    return _report(arguments, "verified", len(rows), problems)


def _report(arguments: argparse.Namespace, word: str, done: list[str] | int, problems: list[str]) -> int:
    if arguments.json:
        print(json.dumps({word: done, "problems": problems}))
    else:
        for line in (*(done if isinstance(done, list) else []), *problems):
            print(line)
    return 1 if problems else 0
