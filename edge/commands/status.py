"""goldline status: one screen of the station's truth."""

import argparse

EPILOG = """\
examples:
  goldline status
  goldline status --json | jq .attention

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
