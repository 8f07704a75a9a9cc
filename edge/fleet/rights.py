"""What each may say and hear at the hub, as NATS's permissions: allow lists; what is not on them is refused. Pure."""

from typing import NamedTuple

from edge.fleet.words import BUNDLES, DEVICE_STREAM, HUB_DOMAIN, STATE, WANTED


class Rights(NamedTuple):
    """Subjects as the hub sees them: what may be published into it, and what may be heard from it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


# Whoever runs the plant: everything.
OPERATOR = Rights((">",), (">",))


def delivery(station: str) -> str:
    """Here the device hands its events to the hub, and nobody else's."""
    return f"goldline.deliver.{station}"


def inbox(station: str) -> str:
    """Below it this station hears the hub's answers, and no other's."""
    return f"_INBOX.{station}"


def _rollout_questions(station: str) -> tuple[str, ...]:
    """What a station asks of the hub's buckets: what it is wanted to have, and bundles; and the one key it writes."""
    # Keys of another domain are written below its API: plain $KV.> is kept from crossing domains.
    api = f"$JS.{HUB_DOMAIN}.API"
    ask = f"{api}.DIRECT.GET"
    return (
        f"{ask}.KV_{WANTED}.$KV.{WANTED}.{station}",
        f"{ask}.OBJ_{BUNDLES}",
        f"{ask}.OBJ_{BUNDLES}.>",
        f"{api}.$KV.{STATE}.{station}",
    )


def device_rights(station: str) -> Rights:
    """Of the leaf connection of this station's device."""
    return Rights(
        # Its events, where the hub asked for them; and its answers to the hub's questions about its stream.
        publish=(delivery(station), "$JSC.R.>", *_rollout_questions(station)),
        # The hub's questions about its stream, and what the hub has stored.
        subscribe=(f"$JS.{station}.API.CONSUMER.>", f"$JS.FC.{DEVICE_STREAM}.>", f"{inbox(station)}.>"),
    )


def reader_rights(stream: str, consumer: str) -> Rights:
    """Of a program that reads the plant's events by a consumer made for it, and changes nothing."""
    asked = (f"$JS.API.CONSUMER.{verb}.{stream}.{consumer}" for verb in ("MSG.NEXT", "INFO"))
    return Rights((*asked, f"$JS.ACK.{stream}.{consumer}.>"), ("_INBOX.>",))
