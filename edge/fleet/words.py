"""What the plant's stream is made of: names, subjects, headers. Pure. `docs/fleet.md` has the same for a reader.

subject     goldline.v1.<site>.<line>.<station>.<camera>.<kind>     the event's topic without its last dot
header      Nats-Msg-Id: <outbox stream>:<sequence>                 what NATS and a reader drop repetitions by
body        the event, byte for byte as in the outbox; or, kind `notice`, what is to be known of events
"""

from typing import Any
from uuid import UUID

import msgspec

from edge.config import Station
from edge.events import NONE, Source
from edge.heard import Arrived, Cursor, Gone, Item, NewStream

# The device's stream, and the hub's that gathers all of them.
DEVICE_STREAM, PLANT_STREAM = "EVENTS", "PLANT"
# How far the hub has stored, as the device's server keeps it.
HUB_CONSUMER = "hub"
# Below it a device asks the hub for whatever it may; the hub's accounts say what stands behind each (rights.py).
AT_HUB = "goldline.hub"
# The subject of every event and notice, and of nothing else.
ANY_EVENT = "goldline.v1.*.*.*.*.*"
# JetStream's domain of the hub; a device's is its station id.
HUB_DOMAIN = "hub"
# The hub's buckets of roll-outs; what is in each says plan.py.
BUNDLES, WANTED, STATE, ROLLOUTS = "goldline-bundles", "goldline-wanted", "goldline-state", "goldline-rollouts"
MSG_ID, EXPECTED_LAST = "Nats-Msg-Id", "Nats-Expected-Last-Msg-Id"
# CloudEvents, NATS protocol binding 1.0, structured mode.
CONTENT = {"Content-Type": "application/cloudevents+json"}
NOTICE = "notice"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One to be published. `cursor`: with it, all before it in the outbox is said."""

    subject: str
    id: str
    body: bytes
    cursor: Cursor

    def headers(self, expected_last: str | None) -> dict[str, str]:
        """`expected_last`: the id before it on this connection; the server refuses it where another stands there."""
        chain = {} if expected_last is None else {EXPECTED_LAST: expected_last}
        return {MSG_ID: self.id, **CONTENT, **chain}


def source_of(station: Station) -> Source:
    """Where this station's events come from."""
    return Source(site=station.events.site, line=station.events.line, station=station.station_id)


def message_of(item: Item, source: Source) -> Message:
    """What is published for this."""
    match item:
        case Arrived():
            subject = item.topic.removesuffix(".")
            return Message(subject=subject, id=_id(item.stream, item.sequence), body=item.body, cursor=item.cursor)
        case Gone(stream=stream, first=first, last=last):
            return _notice(item.cursor, source, f"gone:{first}", stream=str(stream), first=first, last=last)
        case NewStream(before=before, heard=heard, stream=stream):
            return _notice(item.cursor, source, "new_stream", stream=str(stream), before=str(before), heard=heard)


def at_hub(subject: str) -> str:
    """Where an event of this subject is handed to the hub, which writes the station into it again."""
    site, line, _, camera, kind = subject.split(".")[2:]
    return f"{AT_HUB}.events.{site}.{line}.{camera}.{kind}"


def too_large(message: Message, source: Source, limit: int) -> Message:
    """What stands in the place of an event that the server does not take."""
    size, cursor = len(message.body), message.cursor
    told = {"stream": str(cursor.stream), "sequence": cursor.sequence, "bytes": size, "limit": limit}
    return _notice(cursor, source, f"too_large:{cursor.sequence}", **told)


def before(message_id: str) -> Cursor | None:
    """Up to where everything is said before the message of this id; None where the id does not tell."""
    stream, _, sequence = message_id.partition(":")
    try:
        return Cursor(int(sequence) - 1, UUID(stream))
    except ValueError:
        return None


def _id(stream: UUID, what: int | str) -> str:
    return f"{stream}:{what}"


def _notice(cursor: Cursor, source: Source, what: str, **told: Any) -> Message:
    assert cursor.stream is not None
    body = msgspec.json.encode({"kind": what.partition(":")[0], **told})
    subject = source.topic(NONE, NOTICE).removesuffix(".")
    return Message(subject=subject, id=_id(cursor.stream, what), body=body, cursor=cursor)
