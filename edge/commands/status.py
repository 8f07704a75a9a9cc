"""goldline status: one screen of the station's truth."""

import argparse

EPILOG = """\
examples:
  goldline status
  goldline status --json | jq .attention

answers     since the start: review = FAIL between the two limits, late = after the deadline, in hand = not answered yet;
            p50, p99 = from trigger to verdict
cameras     lost = the camera counted more frames than came, reopened = times it was away, ring free = slots not in use,
            not judged = frames that were dropped, by the reason
processes   silent s = since its loop last came round, died = times it was started again, by cause
record      events that are kept, and who has not acknowledged all of them

exit code: 0 all is well, 1 somebody has to see to something (the lines that begin with "!"), or the station does not
run; 2 cannot look: the configuration is wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = (
        "What the station does and how it is: what needs attention, answers, cameras, processes, the record."
    )
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """0 when nobody has to see to anything, else 1."""
    from edge.config import load_station
    from edge.overview.look import look
    from edge.overview.report import overview

    station = load_station(arguments.config)
    shown = overview(station, look(station))
    if arguments.json:
        import msgspec

        print(msgspec.json.encode(shown).decode())
    else:
        from edge.overview.screen import console, screen

        console().print(screen(shown))
    return 1 if shown.attention else 0
