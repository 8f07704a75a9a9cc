"""goldline doctor: what on this machine keeps cameras or the station from working well, and how to mend it."""

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.doctor.finding import Finding

EPILOG = """\
examples:
  goldline doctor
  goldline doctor receive-buffer packet-size
  sudo goldline doctor --config /etc/goldline/config.toml --json

Changes nothing. As root it checks for the service's user, goldline. docs/doctor.md explains each check.
exit code: 0 all is well, or warnings only; 1 something is bad; 2 the configuration cannot be read
"""
_MARKS = {"ok": "ok  ", "warn": "warn", "bad": "BAD ", "skipped": "-   "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline doctor`."""
    parser.description = (
        "What on this machine keeps cameras or the station from working well, with the command that mends it."
    )
    parser.epilog = EPILOG
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="these checks alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Check everything and print; 1 where something is bad."""
    import msgspec

    from edge.config import load_station
    from edge.doctor.examination import examine
    from edge.doctor.finding import Status
    from edge.terminal import stages

    station = load_station(arguments.config)
    with stages() as tell:
        findings = examine(station, arguments.checks, tell)
    is_bad = any(finding.status is Status.BAD for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": not is_bad, "findings": msgspec.to_builtins(findings)}))
    else:
        for finding in findings:
            print("\n".join(in_words(finding)))
        print(summary(findings))
    return 1 if is_bad else 0


def in_words(finding: "Finding") -> list[str]:
    """What was seen; where it is not well, also what is wanted and what mends it."""
    lines = [f"{_MARKS[finding.status]} {finding.check:15} {finding.seen}"]
    if finding.mend:
        lines += [f"     wanted: {finding.wanted}", f"     mend:   {finding.mend}"]
    return lines


def summary(findings: "list[Finding]") -> str:
    """How many there are of each kind."""
    counts = Counter(finding.status for finding in findings)
    return ", ".join(f"{count} {status}" for status, count in counts.items())
