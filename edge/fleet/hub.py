"""The hub's half of the events: the plant's stream, and a reader's place in it.

Devices hand their events in one by one, as a service of the plant's account: the hub writes the station's id into the
subject, and answers when the event is on its disk. Stations are told apart by their ids, which are therefore different
in the whole fleet.
"""

from dataclasses import replace
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from edge.fleet.words import ANY_EVENT, PLANT_STREAM

DAY_S = 86_400


async def make_plant(jetstream: Any, *, max_bytes: int, max_days: float, replicas: int = 1) -> None:
    """The plant's stream, or its limits where it is there. Beyond them the oldest events go: the hub's readers see it."""
    # What came goes by these limits alone: no request takes it away.
    kept: dict[str, Any] = {"deny_delete": True, "deny_purge": True, "subjects": [ANY_EVENT], "sources": None}
    limits: dict[str, Any] = {"max_bytes": max_bytes, "max_age": max_days * DAY_S, "num_replicas": replicas, **kept}
    try:
        config: StreamConfig = (await jetstream.stream_info(PLANT_STREAM)).config
    except NotFoundError:
        await jetstream.add_stream(
            StreamConfig(name=PLANT_STREAM, storage=StorageType.FILE, allow_direct=True, **limits)
        )
    else:
        await jetstream.update_stream(replace(config, **limits))


async def add_reader(jetstream: Any, name: str) -> None:
    """A place in the plant's stream for a program that reads it; the hub keeps it. One that is there stays as it is."""
    consumer = ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT, filter_subject=ANY_EVENT)
    await jetstream.add_consumer(PLANT_STREAM, consumer)
