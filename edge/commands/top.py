"""goldline top: the station, live in the terminal."""

import argparse
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config import Station
    from edge.overview.look import Look
    from edge.overview.report import Overview

EPILOG = """\
example:
  goldline top

Rates and latencies are of the last minute; counts are since the service started. Ctrl-C ends it.
"""
# Rates over this long are steady on a line that makes a part every few seconds.
WINDOW_S = 60.0
# A look is one scrape of 5 ms and two questions; who looks less often than once an hour does not watch.
SHORTEST_S, LONGEST_S = 0.2, 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = "The station live in the terminal: goldline status, every few seconds, with rates."
    parser.epilog = EPILOG
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two looks (default 2)")
    parser.add_argument("--looks", type=int, metavar="N", help="end after N looks")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each look")


def run(arguments: argparse.Namespace) -> int:
    """Look until interrupted."""
    from rich.live import Live

    from edge.config import load_station
    from edge.errors import GoldlineError
    from edge.overview.screen import console, screen

    if not SHORTEST_S <= arguments.every <= LONGEST_S or (arguments.looks is not None and arguments.looks < 1):
        raise GoldlineError(f"--every must be from {SHORTEST_S:g} to {LONGEST_S:g} s, --looks at least 1")
    overviews = _overviews(load_station(arguments.config), arguments.every, arguments.looks)
    if arguments.json:
        import msgspec

        for shown in overviews:
            print(msgspec.json.encode(shown).decode(), flush=True)
        return 0
    terminal = console()
    if not terminal.is_terminal or terminal.is_dumb_terminal:  # nothing that was written can be written over
        for shown in overviews:
            terminal.print(screen(shown))
            terminal.file.flush()
        return 0
    with Live(console=terminal, screen=True, auto_refresh=False) as live:
        for shown in overviews:
            live.update(screen(shown), refresh=True)
    return 0


def _overviews(station: "Station", every_s: float, looks: int | None) -> "Iterator[Overview]":
    """One for each look, over the looks of the last minute."""
    from edge.overview.look import look
    from edge.overview.report import overview

    kept: deque[Look] = deque()
    done = 0
    while looks is None or done < looks:
        if done:
            time.sleep(every_s)
        now = look(station)
        kept.append(now)
        while now.at_s - kept[0].at_s > WINDOW_S and len(kept) > 2:
            kept.popleft()
        # A look at a station that was only starting says nothing that a rate could count from.
        before = next((one for one in kept if one.counted is not None), now)
        yield overview(station, now, None if before is now else before)
        done += 1
