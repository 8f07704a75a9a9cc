"""Writes `docs/schema/goldline-asyncapi-v1.json` (AsyncAPI 3.0) from the messages' definitions; a test checks that it is current.

The application that it describes is the station: it sends LIVE, and answers on SYNC and on the socket for orders.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from edge import orders, sync_protocol
from edge.events import Event, Head
from edge.header import VERSION

TARGET = Path(__file__).parent.parent / "docs" / "schema" / "goldline-asyncapi-v1.json"
REFERENCE = "#/components/schemas/{name}"
TOPIC = f"goldline.v{VERSION}.{{site}}.{{line}}.{{station}}.{{camera}}.{{kind}}."
REQUESTS = (sync_protocol.Hello, sync_protocol.Fetch, sync_protocol.Ack)
ANSWERS = (sync_protocol.Welcome, sync_protocol.Batch, sync_protocol.Gone, sync_protocol.Acked, sync_protocol.Err)
HEADER_FIELDS = {
    "version": ("u8 at 0", 1),
    "flags": ("u8 at 1: 1 durable, 2 replay, 4 simulated", 1),
    "codec": ("u8 at 2: 1 JSON", 1),
    "stream": ("16 bytes at 3", 16),
    "sequence": ("u64 at 19", 8),
    "previous": ("u64 at 27", 8),
    "verdict_utc_ns": ("i64 at 35", 8),
}


def document() -> dict[str, Any]:
    """The whole of it. What is JSON is a schema; what is binary, or a frame, is said in words."""
    live = (("result", Event), ("hb", Head), ("state", orders.StationState))
    words = (*REQUESTS, *ANSWERS)
    payloads = (*(kind for _, kind in live), *words, orders.AnyOrder, *orders.Answer.__args__)
    (_, schemas) = msgspec.json.schema_components(payloads, ref_template=REFERENCE)
    messages = {name: _message(name, kind, "the third frame", has_header=True) for name, kind in live}
    messages |= {_verb(kind): _message(_verb(kind), kind, "the second frame") for kind in words}
    messages |= {"order": _union("order", orders.AnyOrder), "answer": _union("answer", orders.Answer)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Goldline station",
            "version": f"{VERSION}.0.0",
            "description": "Frames, guarantees and the reader's algorithm: docs/events.md; orders: docs/orders.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            name: {"host": f"127.0.0.1:{port}", "protocol": "zmq", "description": text}
            for name, port, text in (
                ("live", 5556, "XPUB: connect a SUB. ZMTP 3.1; beyond loopback with CURVE."),
                ("sync", 5558, "ROUTER: connect a DEALER or a REQ. ZMTP 3.1; beyond loopback with CURVE."),
                ("command", 5557, "ROUTER: connect a DEALER or a REQ. ZMTP 3.1; beyond loopback with CURVE."),
            )
        },
        "channels": _channels([name for name, _ in live], words),
        "operations": _operations(),
        "components": {"schemas": schemas, "messages": messages},
    }


def _verb(kind: type) -> str:
    return kind.__name__.upper()


def _message(name: str, kind: type, where: str, *, has_header: bool = False) -> dict[str, Any]:
    (doc, *_) = (kind.__doc__ or name).splitlines()
    message = {
        "name": name,
        "summary": doc,
        "description": f"The payload is {where}.",
        "contentType": "application/json",
        "payload": {"$ref": REFERENCE.format(name=kind.__name__)},
    }
    return message | ({"headers": _header()} if has_header else {})


def _union(name: str, kind: Any) -> dict[str, Any]:
    members = [{"$ref": REFERENCE.format(name=one.__name__)} for one in kind.__args__]
    return {"name": name, "contentType": "application/json", "payload": {"oneOf": members}}


def _header() -> dict[str, Any]:
    """The binary header, as if it were an object."""
    return {
        "type": "object",
        "description": "The second frame: 43 bytes, big-endian.",
        "properties": {
            name: {"type": "string" if name == "stream" else "integer", "description": text}
            for name, (text, _) in HEADER_FIELDS.items()
        },
        "required": list(HEADER_FIELDS),
    }


def _channels(live: list[str], words: tuple[type, ...]) -> dict[str, Any]:
    parameters = {
        "site": "events.site, or -",
        "line": "events.line, or -",
        "station": "station_id",
        "camera": "a camera or group, or -",
        "kind": "result, hb or state",
    }
    return {
        "live": {
            "address": TOPIC,
            "title": "LIVE",
            "description": "Three frames: topic, header, body. The address is the topic.",
            "servers": [{"$ref": "#/servers/live"}],
            "parameters": {name: {"description": text} for name, text in parameters.items()},
            "messages": _named(live),
        },
        "sync": {
            "address": None,
            "title": "SYNC",
            "description": "Verb and JSON; a BATCH has topic, header and body of each event behind them, as on LIVE.",
            "servers": [{"$ref": "#/servers/sync"}],
            "messages": _named([_verb(kind) for kind in words]),
        },
        "command": {
            "address": None,
            "title": "Orders",
            "description": "One JSON object each way.",
            "servers": [{"$ref": "#/servers/command"}],
            "messages": _named(["order", "answer"]),
        },
    }


def _named(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _operations() -> dict[str, Any]:
    answered = {"HELLO": "WELCOME ERR", "FETCH": "BATCH GONE ERR", "ACK": "ACKED ERR"}
    say = {"action": "send", "channel": {"$ref": "#/channels/live"}, "summary": "What happens now."}
    operations: dict[str, Any] = {"say": say}
    for verb, answers in answered.items():
        operations[verb.lower()] = _exchange("sync", verb, answers.split())
    operations["order"] = _exchange("command", "order", ["answer"])
    return operations


def _exchange(channel: str, request: str, answers: list[str]) -> dict[str, Any]:
    here = f"#/channels/{channel}"
    return {
        "action": "receive",
        "channel": {"$ref": here},
        "messages": [{"$ref": f"{here}/messages/{request}"}],
        "reply": {"channel": {"$ref": here}, "messages": [{"$ref": f"{here}/messages/{name}"} for name in answers]},
    }


def text() -> str:
    """As it is written."""
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(TARGET)
