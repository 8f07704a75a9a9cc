"""Have a camera in software mode, or a group of them, take a picture of a part and judge it."""

import argparse
import time
from pathlib import Path

EXAMPLE = "example: goldline trigger left --unit-identifier A17 --expect variant=oak --count 3 --period-ms 500"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = "Send a trigger to the running station and print its answer; the verdict comes as an event."
    parser.epilog = EXAMPLE
    parser.add_argument("camera", help="a camera whose trigger.mode is software, or a group of such cameras")
    parser.add_argument("--unit-identifier", metavar="X", help="the part's serial number, repeated in the event")
    parser.add_argument(
        "--expect", action="append", default=[], metavar="KEY=VALUE", help="what the order expects, as variant=oak"
    )
    parser.add_argument("--count", type=int, default=1, metavar="N", help="triggers to send (default 1)")
    parser.add_argument("--period-ms", type=float, default=1000.0, metavar="M", help="time between them (default 1000)")
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="the file of `goldline keys client` (default: the station's own)"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 when every trigger was accepted, 1 when the station refused one."""
    import msgspec

    from edge.addresses import reached
    from edge.client import ask
    from edge.config import load_station
    from edge.errors import GoldlineError
    from edge.keys import keys_for

    if arguments.count < 1 or not arguments.period_ms >= 0:
        raise GoldlineError("--count must be at least 1, --period-ms at least 0")
    station = load_station(arguments.config)
    address, keys = reached(station.events.command), keys_for(station, "orders", arguments.keys)
    order = {
        "verb": "trigger",
        "camera": arguments.camera,
        "unit_identifier": arguments.unit_identifier,
        "expect": expectations(arguments.expect),
    }
    is_refused = False
    for number in range(arguments.count):
        if number:
            time.sleep(arguments.period_ms / 1000)
        answer = ask(address, order, keys=keys)
        print(msgspec.json.encode(answer).decode(), flush=True)
        is_refused |= not answer["accepted"]
    return 1 if is_refused else 0


def expectations(pairs: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a table; several in one text are separated by commas. Raises GoldlineError."""
    from edge.errors import GoldlineError

    given: dict[str, str] = {}
    for pair in (part for text in pairs for part in text.split(",")):
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise GoldlineError(f"--expect {pair}: expected KEY=VALUE")
        given[key] = value
    return given
