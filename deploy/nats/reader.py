"""An example of a program of the plant: prints each station's events, once and in order, and says what is missing.

    python reader.py nats://127.0.0.1:4222 --consumer mes --nkey mes.nk          needs: pip install 'nats-py[nkeys]'

What any reader does, in any language:
1. Read the stream PLANT by a durable consumer of its own, and acknowledge a message once its work is on the disk.
2. `Nats-Msg-Id` is `<outbox stream>:<sequence>`. Of each station (as the subject has it) and outbox stream keep the last
   sequence, on the same disk: what is not above it is a repetition, and dropped.
3. A sequence that is not the next is a gap. The notice before it says that these cannot be had any more; without one,
   the hub's own limits took them, and they are in the station's outbox as long as that keeps them.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from typing import Any

import nats

STREAM, SUBJECTS = "PLANT", "goldline.v1.*.*.*.*.*"


class Order:
    """Of each station and outbox stream the last number that was taken. A real program keeps it beside its work."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], int] = {}

    def take(self, subject: str, message_id: str | None, body: bytes) -> Iterator[dict[str, Any]]:
        """What there is to do for one message: `event`, `gone`, `missing` (a gap without a word), or nothing.

        What a station did not make as it should is `unreadable`, and passed over: no device stops a reader.
        """
        stream, _, number = (message_id or "").partition(":")
        # The hub has written the station into the subject; the id is the device's own word.
        own = subject.split(".")[4], stream
        try:
            said = json.loads(body)
            told = list(self._notice(own, said) if not number.isdecimal() else self._event(own, int(number), said))
        except (ValueError, KeyError, TypeError, RecursionError):
            told = [{"kind": "unreadable", "subject": subject, "id": message_id}]
        yield from told

    def _notice(self, own: tuple[str, str], notice: dict[str, Any]) -> Iterator[dict[str, Any]]:
        upto = {"gone": "last", "too_large": "sequence"}.get(notice["kind"])
        if upto is not None:
            self.last[own] = max(self.last.get(own, 0), int(notice[upto]))
        yield notice

    def _event(self, own: tuple[str, str], sequence: int, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        last = self.last.get(own, 0)
        if sequence <= last:
            return
        if sequence != last + 1:
            yield {"kind": "missing", "stream": own[1], "first": last + 1, "last": sequence - 1}
        told = {"kind": "event", **event}
        self.last[own] = sequence
        yield told


async def read(arguments: argparse.Namespace) -> None:
    """Until Ctrl-C, or for `--count` messages."""
    options = {"nkeys_seed": arguments.nkey} if arguments.nkey else {}
    client = await nats.connect(arguments.hub, max_reconnect_attempts=-1, reconnect_time_wait=1, **options)
    subscription = await client.jetstream().pull_subscribe(SUBJECTS, durable=arguments.consumer, stream=STREAM)
    order, count = Order(), 0
    while arguments.count is None or count < arguments.count:
        try:
            messages = await subscription.fetch(100, timeout=5)
        except TimeoutError:
            continue
        for message in messages:
            for told in order.take(message.subject, (message.headers or {}).get("Nats-Msg-Id"), message.data):
                print(json.dumps(told), flush=True)
            await message.ack()
            count += 1
    await client.close()


def main() -> None:
    """Parse, read."""
    parser = argparse.ArgumentParser(description="Print the plant's events, once and in order.")
    parser.add_argument("hub", help="nats://HOST:4222")
    parser.add_argument("--consumer", default="reader", help="the name that the hub keeps this reader's place under")
    parser.add_argument("--nkey", help="the file with this reader's seed")
    parser.add_argument("--count", type=int, help="end after so many messages")
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    asyncio.run(read(parser.parse_args()))


if __name__ == "__main__":
    main()
