"""The hub's half of the events: the plant's stream, which takes from every device's as it comes.

A device is added by naming it as a source; what it has kept meanwhile comes then. Of one that is removed, what came
stays. Stations are told apart by their ids, which are therefore different in the whole fleet.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ExternalStream,
    StorageType,
    StreamConfig,
    StreamConsumerSource,
    StreamSource,
    SubjectTransform,
)
from nats.js.errors import NotFoundError

from edge.errors import GoldlineError
from edge.fleet.rights import delivery
from edge.fleet.words import ANY_EVENT, DEVICE_STREAM, HUB_CONSUMER, PLANT_STREAM

DAY_S = 86_400


async def make_plant(jetstream: Any, *, max_bytes: int, max_days: float, replicas: int = 1) -> None:
    """The plant's stream, or its limits where it is there. Beyond them the oldest events go: the hub's readers see it."""
    # What came goes by these limits alone: no request takes it away.
    kept: dict[str, Any] = {"deny_delete": True, "deny_purge": True}
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


async def stations(jetstream: Any) -> list[str]:
    """Whose events are taken. Raises GoldlineError where there is no stream."""
    return [_station(source) for source in await _sources(jetstream)]


async def add_station(jetstream: Any, station: str) -> None:
    """Take this station's events from now on, and what its device has kept. Raises GoldlineError."""
    sources = await _sources(jetstream)
    if station in map(_station, sources):
        raise GoldlineError(f"{station}: its events are taken already")
    await _put(jetstream, [*sources, source_of(station)])


async def remove_station(jetstream: Any, station: str) -> None:
    """Take no more of this station's events; those that came stay. Raises GoldlineError."""
    sources = await _sources(jetstream)
    if station not in map(_station, sources):
        raise GoldlineError(f"{station}: its events are not taken")
    await _put(jetstream, [source for source in sources if _station(source) != station])


def source_of(station: str) -> StreamSource:
    """This station's stream, by the domain of its device and the consumer that the device keeps for the hub.

    Whatever a device puts into its stream, the hub writes the station's own id into the subject: nobody speaks in the
    name of another. What is no subject of an event stays as it is, and no reader asks for it (`ANY_EVENT`).
    """
    own = f"goldline.v1.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{station}.{{{{wildcard(4)}}}}.{{{{wildcard(5)}}}}"
    return StreamSource(
        name=DEVICE_STREAM,
        external=ExternalStream(api=f"$JS.{station}.API"),
        consumer=StreamConsumerSource(name=HUB_CONSUMER, deliver_subject=delivery(station)),
        subject_transforms=[SubjectTransform(src=ANY_EVENT, dest=own)],
    )


def _station(source: StreamSource) -> str:
    assert source.external is not None
    return source.external.api.split(".")[1]


async def _sources(jetstream: Any) -> list[StreamSource]:
    try:
        return list((await jetstream.stream_info(PLANT_STREAM)).config.sources or [])
    except NotFoundError:
        raise GoldlineError(f"the hub has no stream {PLANT_STREAM} yet: goldline fleet hub init") from None


async def _put(jetstream: Any, sources: Sequence[StreamSource]) -> None:
    config: StreamConfig = (await jetstream.stream_info(PLANT_STREAM)).config
    await jetstream.update_stream(replace(config, sources=list(sources)))
