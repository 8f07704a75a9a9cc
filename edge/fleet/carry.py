"""What waits in the device's queue to the hub, one event after the other.

The next is handed over when the hub has said that it has the one before on its disk: nothing overtakes, whoever dies in
between, and at most one comes twice. The hub answers over the device's own account there, so what a device can have
answered, and where, ends with what is its own.
"""

import asyncio

import structlog
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from edge.config import Station
from edge.fleet.answers import AWAY, Refused
from edge.fleet.leaf import ANSWER_S, Ended, Leaf, connected
from edge.fleet.words import EXPECTED_LAST, at_hub

# A hub that is away is asked again this often.
RETRY_S = 1.0


async def carry_events(station: Station) -> None:
    """Until cancelled, by a connection of its own to the device's server."""
    assert station.fleet is not None
    while True:
        try:
            async with connected(station.fleet, station.station_id) as leaf:
                # The one that fills the queue makes it.
                if await leaf.has_stream():
                    await carry_on(leaf)
        except Ended as ended:
            structlog.get_logger().debug("events are not carried to the hub", problem=str(ended))
        except NotFoundError:
            structlog.get_logger().debug("the queue is gone")
        await asyncio.sleep(RETRY_S)


async def carry_on(leaf: Leaf) -> None:
    """Until cancelled. Raises Ended: the device's server is away, or the hub refuses an event."""
    queue = await leaf.queue()
    while True:
        message = await queue.next()
        await _hand_over(leaf, message)
        await queue.is_stored(message)


async def _hand_over(leaf: Leaf, message: Msg) -> None:
    """Until the hub has it."""
    while True:
        if await _is_taken(leaf, message):
            return
        await asyncio.sleep(RETRY_S)


async def _is_taken(leaf: Leaf, message: Msg) -> bool:
    """Whether the hub has it on its disk; False for a hub that is away."""
    headers = {name: value for name, value in (message.headers or {}).items() if name != EXPECTED_LAST}
    try:
        answer = await leaf.publish(at_hub(message.subject), message.data, headers)
        await asyncio.wait_for(answer, ANSWER_S)
    except TimeoutError:
        return False
    except Refused as refused:
        if refused.code == AWAY:
            return False
        raise Ended(f"the hub refuses an event: {refused}") from refused
    return True
