"""An example of a program of the plant: prints each station's events, once and in order, and says what is missing.

    python reader.py nats://127.0.0.1:4222 --consumer mes --nkey mes.nk          needs: pip install 'nats-py[nkeys]'

What any reader does, in any language:
1. Read the stream PLANT by a durable consumer of its own, and acknowledge a message once its work is on the disk.
2. `Nats-Msg-Id` is `<outbox stream>:<sequence>`. Of each outbox stream keep the last sequence, on the same disk: what is
   not above it is a repetition, and dropped.
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
    """Of each outbox stream the last number that was taken. A real program keeps it beside its work."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}

    def take(self, message_id: str, body: bytes) -> Iterator[dict[str, Any]]:
        """What there is to do for one message: `event`, `gone`, `missing` (a gap without a word), or nothing."""
        stream, _, number = message_id.partition(":")
        if not number.isdecimal():
            notice = json.loads(body)
            if notice["kind"] == "gone" and notice["last"] > self.last.get(stream, 0):
                self.last[stream] = notice["last"]
            if notice["kind"] == "too_large":
                self.last[stream] = notice["sequence"]
            yield notice
            return
        sequence, last = int(number), self.last.get(stream)
        if last is not None and sequence <= last:
            return
        if sequence != (last or 0) + 1:
            yield {"kind": "missing", "stream": stream, "first": (last or 0) + 1, "last": sequence - 1}
        self.last[stream] = sequence
        yield {"kind": "event", **json.loads(body)}


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
            for told in order.take(message.headers["Nats-Msg-Id"], message.data):
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
