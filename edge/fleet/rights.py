"""What each may say and hear at the hub, as NATS's accounts and permissions. Pure.

NATS sends an answer wherever the asking message says, and an answer may itself be a request. So every device has an
account of its own, which holds nothing: what it may ask for are services of the plant's account, each a subject of its
own, and what is answered to them stays among the device's own subjects. What is on no list is refused.
"""

from typing import NamedTuple

from edge.fleet.words import ANY_EVENT, AT_HUB, BUNDLES, STATE, WANTED


class Rights(NamedTuple):
    """Subjects as the hub sees them: what may be published into it, and what may be heard from it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


class Service(NamedTuple):
    """What a device may ask of the plant: the subject that it asks, and the plant's that stands behind it."""

    asked: str
    plant: str


# Whoever runs the plant: everything.
OPERATOR = Rights((">",), (">",))
# The API of the hub's buckets, as a device names it.
API = f"{AT_HUB}.api"
_DIRECT = "DIRECT.GET"
# What the plant's account lets other accounts ask for; which of it each may is in its own.
EXPORTS = (
    ANY_EVENT,
    f"$JS.API.{_DIRECT}.KV_{WANTED}.$KV.{WANTED}.*",
    f"$JS.API.{_DIRECT}.OBJ_{BUNDLES}",
    f"$JS.API.{_DIRECT}.OBJ_{BUNDLES}.>",
    f"$KV.{STATE}.*",
)


def inbox(station: str) -> str:
    """Below it this station hears the hub's answers."""
    return f"_INBOX.{station}"


def state_of(station: str) -> str:
    """Here this station says how it stands."""
    return f"{API}.$KV.{STATE}.{station}"


def services(station: str) -> tuple[Service, ...]:
    """Of the account of this station's device. The plant's side has the station's id, whatever the device says."""
    wanted, bundles = f"{_DIRECT}.KV_{WANTED}.$KV.{WANTED}.{station}", f"{_DIRECT}.OBJ_{BUNDLES}"
    return (
        Service(f"{AT_HUB}.events.$1.$2.$3.$4", f"goldline.v1.*.*.{station}.*.*"),
        Service(f"{API}.{wanted}", f"$JS.API.{wanted}"),
        Service(f"{API}.{bundles}", f"$JS.API.{bundles}"),
        Service(f"{API}.{bundles}.>", f"$JS.API.{bundles}.>"),
        Service(state_of(station), f"$KV.{STATE}.{station}"),
    )


def device_rights(station: str) -> Rights:
    """Of the leaf connection of this station's device, within its account."""
    asked = (service.asked for service in services(station)[1:])
    return Rights((f"{AT_HUB}.events.*.*.*.*", *asked), (f"{inbox(station)}.>",))


def reader_rights(stream: str, consumer: str) -> Rights:
    """Of a program that reads the plant's events by a consumer made for it, and changes nothing."""
    asked = (f"$JS.API.CONSUMER.{verb}.{stream}.{consumer}" for verb in ("MSG.NEXT", "INFO"))
    return Rights((*asked, f"$JS.ACK.{stream}.{consumer}.>"), ("_INBOX.>",))
