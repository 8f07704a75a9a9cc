"""Print the station's events as they happen."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.events import Check, Defect, Event, Offset
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

    live, sync, keys = border(arguments)
    after = "0" if arguments.from_start else arguments.after
    notify = Notify(gone=report_gone, new_stream=report_new_stream)
    subscriber = Subscriber(
        live=live, sync=sync, consumer=arguments.consumer, after=after, keys=keys, silence_s=SILENCE_S, notify=notify
    )
    with subscriber:
        for number, event in enumerate(subscriber, start=1):
            print(events.encode(event).decode() if arguments.json else line(event), flush=True)
            if arguments.consumer is not None:
                subscriber.acknowledge(event)
            if number == arguments.count:
                break
    return 0


def line(event: "Event") -> str:
    """An event for reading: time, camera, verdict and why, unit, score, what was found and where, each view, latency."""
    result = event.data
    verdict = str(result.verdict) + ("?" if result.review else "")
    parts = [f"{event.time:%H:%M:%S.%f}"[:-3], f"{result.camera:<10}", f"{verdict:<5}"]
    if result.reason is not None:
        parts.append(f"{result.reason}" + (f": {result.detail}" if result.detail else ""))
    if result.unit_identifier is not None:
        parts.append(result.unit_identifier)
    if result.score is not None:
        limit = "" if result.limits is None or result.limits.review is None else f" / {result.limits.review:.2f}"
        parts.append(f"score {result.score:.2f}{limit}")
    parts += [told for name, check in result.checks.items() if (told := _finding(name, check))]
    parts += [_place(defect, is_one_of_several=bool(result.views)) for defect in result.defects[:3]]
    parts += [f"{camera} {view.verdict}" for camera, view in result.views.items()]
    # Of several views, from the first frame on.
    latencies = [one.latency for one in (result, *result.views.values()) if one.latency is not None]
    if latencies:
        parts.append(f"{max(latency.capture_to_verdict_ms for latency in latencies):.1f} ms")
    parts += [f"trigger ids {gap.first}-{gap.last} of {gap.camera}" for gap in result.interrupted]
    told = "  ".join([*parts, *([] if result.on_time else ["late"])]).rstrip()
    # Codes on parts, and what orders name them, may hold what a terminal obeys.
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in told)


def _finding(name: str, check: "Check") -> str | None:
    """What a check found or how far off something lies, and where it should be another, what it expected."""
    found = check.found if check.offset is None else _off(check.offset)
    if found is None and check.expected is None:
        return None
    is_wrong = check.score is None or check.limits.review is None or check.score >= check.limits.review
    expected = f" (expected {check.expected})" if is_wrong and check.expected is not None else ""
    return f"{name} {found or 'nothing'}{expected}"


def _off(offset: "Offset") -> str:
    """How far, in mm where the scale is known; and how it is turned, where that can be seen."""
    told = f"{math.hypot(offset.dx_px or 0, offset.dy_px or 0):.1f} px off"
    if offset.dx_mm is not None and offset.dy_mm is not None:
        told = f"{math.hypot(offset.dx_mm, offset.dy_mm):.2f} mm off"
    turn = round(offset.angle_deg or 0)
    return f"{told}, turned {turn}°" if turn else told


def _place(defect: "Defect", *, is_one_of_several: bool) -> str:
    where = f"{defect.check} at {','.join(map(str, defect.bbox))}"
    return f"{defect.camera} {where}" if is_one_of_several else where


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
