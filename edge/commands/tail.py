"""Print the station's events as they happen."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.heard import Gone, NewStream
    from edge.keys import ClientKeys

EXAMPLE = "example: goldline tail --json --count 10 --from-start | jq .data.verdict"
# A station's heart beats every 10 s at the slowest.
SILENCE_S = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = "Print the station's events as they happen: one line each."
    parser.epilog = EXAMPLE
    parser.add_argument("--json", action="store_true", help="print each event as one JSON object")
    parser.add_argument("--count", type=int, metavar="N", help="leave after N events")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--after", metavar="N", help="begin behind this event: its number, or its id")
    where.add_argument("--from-start", action="store_true", help="begin with the oldest event that is kept")
    parser.add_argument("--consumer", metavar="NAME", help="acknowledge what is printed, in this consumer's name")
    parser.add_argument(
        "--silence",
        type=float,
        default=SILENCE_S,
        metavar="SECONDS",
        help="give up when nothing is heard for so long (default: %(default)g)",
    )
    add_border(parser)


def add_border(parser: argparse.ArgumentParser) -> None:
    """Which station, and the keys to it."""
    parser.add_argument("--address", help="where the station publishes (default: events.live of the configuration)")
    parser.add_argument("--sync", help="where it says again what it said (default: events.sync of the configuration)")
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="a client's keys, as `goldline keys client` made them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print until interrupted, or until the count is reached."""
    from edge import events
    from edge.client import Notify, Subscriber
    from edge.event_line import line

    live, sync, keys = border(arguments)
    after = "0" if arguments.from_start else arguments.after
    notify = Notify(gone=report_gone, new_stream=report_new_stream)
    subscriber = Subscriber(
        live=live,
        sync=sync,
        consumer=arguments.consumer,
        after=after,
        keys=keys,
        silence_s=arguments.silence,
        notify=notify,
    )
    with subscriber:
        for number, event in enumerate(subscriber, start=1):
            print(events.encode(event).decode() if arguments.json else line(event), flush=True)
            if arguments.consumer is not None:
                subscriber.acknowledge(event)
            if number == arguments.count:
                break
    return 0


def report_gone(gone: "Gone") -> None:
    """Say what cannot be had any more."""
    print(f"goldline: events {gone.first} to {gone.last} are not kept any more", file=sys.stderr)


def report_new_stream(new: "NewStream") -> None:
    """Say that numbers begin at 1 again."""
    told = f"the station has a new outbox, {new.stream}; of the one before, event {new.heard} was the last heard"
    print(f"goldline: {told}", file=sys.stderr)


def border(arguments: argparse.Namespace) -> "tuple[str, str, ClientKeys | None]":
    """Both addresses and what opens them: what was given, else what this machine's station is configured with."""
    from edge.addresses import reached
    from edge.config import load_station
    from edge.errors import GoldlineError
    from edge.keys import load_client_keys, own_keys

    given = load_client_keys(arguments.keys) if arguments.keys is not None else None
    if (arguments.address is None) != (arguments.sync is None):
        raise GoldlineError("--address and --sync: give both, or neither")
    if arguments.address is not None:
        return arguments.address, arguments.sync, given
    station = load_station(arguments.config)
    return reached(station.events.live), reached(station.events.sync), given or own_keys(station, "events")
