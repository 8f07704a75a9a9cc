"""goldline fleet pull: on a station that does not run, take what it is wanted to have: on a new disk, or after a long absence."""

import argparse
import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config import Station
    from edge.fleet.plan import Acknowledged

# A server beside the station may have been started with it, a moment ago.
RETRY_S = 1.0


def run(arguments: argparse.Namespace) -> int:
    """0: all that is wanted is in force on the disk, or nothing is wanted. Raises GoldlineError."""
    import msgspec

    from edge import log
    from edge.commands.fleet_words import seconds
    from edge.commands.run import only_one
    from edge.config import load_station, runtime_directory
    from edge.errors import GoldlineError

    station = load_station(arguments.config)
    if station.fleet is None:
        raise GoldlineError("configuration: [fleet]: this station belongs to no fleet")
    log.setup(station.log, "fleet")
    with only_one(runtime_directory(station)):
        said = asyncio.run(_pull(station, seconds(arguments.wait)))
    if arguments.json:
        print(msgspec.json.encode(said).decode())
    else:
        print("\n".join(_words(said)))
    return (
        0 if all(state.wanted in (None, state.active) for state in said.products.values()) and not said.problem else 1
    )


async def _pull(station: "Station", wait_s: float) -> "Acknowledged":
    """Until the hub has answered once. Raises HubError when it has not in time."""
    from edge.fleet.buckets import HubError, StationBuckets, connected, station_options
    from edge.fleet.judged_by import Silent
    from edge.fleet.station import RolloutStation
    from edge.fleet.tally import Tally

    assert station.fleet is not None
    until = time.monotonic() + wait_s
    while True:
        try:
            async with connected(station.fleet.server, **station_options(station.station_id)) as client:
                buckets, tally = StationBuckets(client, station.station_id), Tally(station.state_dir / "outbox.sqlite3")
                return await RolloutStation(station, buckets, Silent(), tally).turn()
        except HubError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(RETRY_S)


def _words(said: "Acknowledged") -> list[str]:
    if said.problem:
        return [f"{said.station}: {said.problem}"]
    rows = [
        f"{product}: {(state.active or '-')[:12]}, reference set {state.reference_set or '-'}"
        + (f": {state.problem}" if state.problem else "")
        for product, state in said.products.items()
    ]
    return rows or [f"{said.station}: nothing is wanted here"]
