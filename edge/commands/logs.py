"""goldline logs: what a line of the log means and what to do about it."""

import argparse
import json
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.logs.catalogue import Entry

EPILOG = """\
Every line of the log that asks somebody to act has a code; `explain` says why it comes, what it means for the verdicts, and
what to do. It also takes the reason of an ERROR, the name of an alarm, and a line as it was printed. docs/logs.md has them all.

examples:
  goldline logs explain GL-CAM-001
  goldline logs explain deadline
  goldline logs explain "goldline: /run/goldline: another goldline run uses this runtime directory"
  goldline logs explain                      every code, one a line
  goldline logs show --camera left --level warning --since 1h
"""
# Where the service's lines are.
UNIT = "goldline.service"
LEVELS = ("debug", "info", "warning", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline logs`."""
    parser.description, parser.epilog = "What a line of the log means, and what to do about it.", EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    # Accepted as by every command; what a line means is the same for every station.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    explain = verbs.add_parser("explain", parents=[common], help="why a line comes, what it means, what to do")
    explain.add_argument("words", nargs="*", metavar="CODE", help="a code, a name, or the line itself; none: list them")
    explain.add_argument("--json", action="store_true", help="print JSON: one object, or a list of them")
    show = verbs.add_parser("show", parents=[common], help="the service's own lines, from the journal")
    show.add_argument("--unit", default=UNIT, help=f"of another instance: goldline@NAME (default: {UNIT})")
    show.add_argument("--camera", help="about this camera only")
    show.add_argument("--code", help="with this code only")
    show.add_argument("--trigger", type=int, metavar="ID", help="about this trigger only")
    show.add_argument("--level", choices=LEVELS, default="debug", help="this severe, or more")
    show.add_argument("--since", metavar="WHEN", help="1h, 2d, or as journalctl takes it: today, '2026-01-31 06:00'")
    show.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    show.add_argument("--json", action="store_true", help="print one JSON object a line, with every field")


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says. Raises GoldlineError."""
    if arguments.verb == "show":
        return _show(arguments)
    if arguments.words:
        return _explain(" ".join(arguments.words), as_json=arguments.json)
    return _list(as_json=arguments.json)


def _explain(words: str, *, as_json: bool) -> int:
    from edge.errors import GoldlineError
    from edge.logs import catalogue

    found = catalogue.find(words)
    if not found:
        close = get_close_matches(words, catalogue.names(), n=3) or get_close_matches(
            words.upper(), catalogue.names(), n=3
        )
        hint = f"; did you mean {', '.join(close)}?" if close else "; `goldline logs explain` lists what there is"
        raise GoldlineError(f"{words}: no such code, name or line{hint}")
    if as_json:
        print(json.dumps(found[0].as_json() if len(found) == 1 else [one.as_json() for one in found], indent=2))
    else:
        print("\n\n".join(_text(entry) for entry in found))
    return 0


def _list(*, as_json: bool) -> int:
    from edge.logs import catalogue

    known = catalogue.entries().values()
    if as_json:
        print(json.dumps([entry.as_json() for entry in known], indent=2))
    else:
        print("\n".join(f"{entry.code}  {entry.title}" for entry in known))
    return 0


def _text(entry: "Entry") -> str:
    """As it is read on a terminal."""
    steps = [f"  {number}. {step}" for number, step in enumerate(entry.do, 1)]
    see = [
        f"{kind}: {', '.join(names)}"
        for kind, names in (("metrics", entry.metrics), ("alerts", entry.alerts), ("page", (entry.page,)))
        if names
    ]
    level = f" ({entry.level})" if entry.level else ""
    head = f"{entry.code}  {entry.title}{level}"
    return "\n".join([head, "", entry.why, "", f"Verdicts: {entry.verdicts}", "", "What to do:", *steps, "", *see])


def _show(arguments: argparse.Namespace) -> int:
    """Hand over to journalctl, which knows the fields of our lines. Raises GoldlineError: there is none."""
    import os

    from edge.errors import GoldlineError

    sys.stdout.flush()
    try:
        os.execvp("journalctl", journalctl(arguments))  # noqa: S606 - it is another program; no shell is wanted
    except OSError as problem:
        raise GoldlineError(f"journalctl: {problem.strerror}; without a journal the lines are on stderr") from problem


def journalctl(arguments: argparse.Namespace) -> list[str]:
    """The command that shows what was asked for."""
    from edge.logs.journal import PREFIX, PRIORITIES

    fields = {"CAMERA": arguments.camera, "CODE": arguments.code, "TRIGGER_ID": arguments.trigger}
    return [
        "journalctl",
        f"--unit={arguments.unit}",
        f"--priority={PRIORITIES[arguments.level]}",
        *([f"--since={_since(arguments.since)}"] if arguments.since else []),
        *(["--follow"] if arguments.follow else []),
        *(["--output=json"] if arguments.json else []),
        *(f"{PREFIX}{name}={value}" for name, value in fields.items() if value is not None),
    ]


def _since(when: str) -> str:
    """`2d` as journalctl says it: `-2d`."""
    return f"-{when}" if re.fullmatch(r"\d+[smhdw]", when) else when
