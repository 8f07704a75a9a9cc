"""goldline reload: the running station takes over its configuration as it stands now, or says why not."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.station_control import Outcome

EPILOG = """\
examples:
  goldline reload --dry-run        what differs, and whether it could be taken over; nothing is changed
  goldline reload                  take it over, or reject it whole

What each key does is in docs/reload.md. SIGHUP to the service does the same, with the outcome in its log.
exit code: 0 taken over, or nothing differs; 1 rejected, nothing was changed; 2 no station answers
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = (
        "Have the running station take over its configuration, the recipe of its product and the active reference set "
        "as they stand now: validated whole, made ready beside what runs, and taken over between two frames."
    )
    parser.epilog = EPILOG
    parser.add_argument("--dry-run", action="store_true", help="make everything ready, say what would change, let go")
    parser.add_argument("--json", action="store_true", help="print the outcome as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """0 when it is taken over, 1 when it is rejected."""
    import msgspec

    from edge import station_control, terminal
    from edge.running import runtime_of

    with terminal.waiting("the station makes ready"):
        outcome = station_control.reload(runtime_of(arguments.config), dry_run=arguments.dry_run)
    print(msgspec.json.encode(outcome).decode() if arguments.json else in_words(outcome))
    return 1 if outcome.outcome == "rejected" else 0


def in_words(outcome: "Outcome") -> str:
    """A line for each key that differs, and one for what became of it."""
    lines = [str(change) for change in outcome.changes]
    if outcome.unfinished:
        lines.append(f"not done yet: {', '.join(outcome.unfinished)}")
    took = f"in {outcome.took_ms / 1e3:.1f} s"
    match outcome.outcome:
        case "applied":
            lines.append(f"applied {took}: events name it as configuration {outcome.generation}")
        case "unchanged":
            lines.append("nothing differs from what runs")
        case "planned":
            lines.append(f"it could be taken over, as was made ready {took}; nothing is changed")
        case "rejected":
            lines += ["rejected, nothing is changed:", *f"{outcome.problem}".splitlines()]
    return "\n".join(lines)
