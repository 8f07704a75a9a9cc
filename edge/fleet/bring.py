"""The uplink's job of bringing products: one connection to the device's own server after another, and a turn every few seconds."""

import asyncio

import structlog

from edge.config import Station
from edge.errors import GoldlineError
from edge.fleet.buckets import HubError, StationBuckets, connected, station_options
from edge.fleet.judged_by import CommandSocket
from edge.fleet.station import POLL_S, RolloutStation
from edge.fleet.tally import Tally
from edge.worker import WorkerContext

# A server that is away is tried again this often.
RETRY_S = 5.0


async def bring_products(context: WorkerContext) -> None:
    """Until cancelled."""
    tally = Tally(context.station.state_dir / "outbox.sqlite3")
    while True:
        try:
            await _follow(context.station, tally)
        except (GoldlineError, OSError) as problem:
            structlog.get_logger().warning("roll-outs wait", problem=str(problem), retry_s=RETRY_S)
        await asyncio.sleep(RETRY_S)


async def _follow(station: Station, tally: Tally) -> None:
    """As long as the connection lasts. Raises GoldlineError or OSError."""
    assert station.fleet is not None
    async with connected(station.fleet.server, **station_options(station.station_id)) as client:
        rollouts = RolloutStation(station, StationBuckets(client, station.station_id), CommandSocket(station), tally)
        is_away = False
        while client.is_connected:
            try:
                await rollouts.turn()
                is_away = False
            except HubError as problem:
                if not is_away:
                    structlog.get_logger().warning("the fleet's hub is away", problem=str(problem))
                is_away = True
            await asyncio.sleep(POLL_S)
