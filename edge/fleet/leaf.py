"""The device's own NATS server, from connecting to the end of the connection.

It is never connected again by the library: after an end, all that was not acknowledged is published anew from the
outbox, in order. The stream is a queue: the hub stores a message on its disk, says so, and only then it goes from here.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, NoServersError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)
from nats.js.errors import NotFoundError

from edge.border_config import FleetConfig
from edge.fleet.answers import Answers
from edge.fleet.rights import inbox
from edge.fleet.words import ANY_EVENT, DEVICE_STREAM, HUB_CONSUMER, MSG_ID

CONNECT_S = 2.0
# Who hangs is noticed within two of these.
PING_S = 5
# How long the server may take to answer a question, or to write an event to a disk that is busy.
ANSWER_S = 10.0
# What NATS forgets a message's id after. A longer one costs the server some 150 bytes for each message in it.
DUPLICATES_S = 600.0
# The hub may be away for weeks; what was handed over and not acknowledged is handed over again by the next connection.
ANSWER_FROM_HUB_S = 86_400.0


class Ended(Exception):
    """The connection is over, and why."""


class Leaf:
    """An open connection, and the device's stream behind it."""

    def __init__(self, client: Client, answers: Answers) -> None:
        self._client, self._answers = client, answers
        # The library's own types are open in places; what is read of them is named here.
        self._jetstream: Any = _untyped(client).jetstream(timeout=ANSWER_S)

    @property
    def most_bytes(self) -> int:
        """Of one message, its headers included."""
        return self._client.max_payload

    @property
    def is_open(self) -> bool:
        """The server is there as far as is known."""
        return self._client.is_connected

    async def state(self) -> StreamInfo:
        """How the stream stands. Raises Ended."""
        with ending("the stream cannot be read"):
            return await self._jetstream.stream_info(DEVICE_STREAM)

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> asyncio.Future[int]:
        """Given to the server; its number in the stream comes with the future, or Refused. Raises Ended."""
        with ending("connection lost"):
            return await self._answers.publish(subject, body, headers)

    async def first_id(self, sequence: int) -> str | None:
        """The id of the message at this number of the stream; None where the hub has taken it meanwhile."""
        with ending("the stream cannot be read"), suppress(NotFoundError):
            message: Any = await self._jetstream.get_msg(DEVICE_STREAM, seq=sequence)
            headers: dict[str, str] = message.headers or {}
            return headers.get(MSG_ID)
        return None

    async def has_stream(self) -> bool:
        """Whether there is one already. Raises Ended."""
        with ending("the server cannot be asked"), suppress(NotFoundError):
            await self._jetstream.stream_info(DEVICE_STREAM)
            return True
        return False

    async def queue(self) -> "Queue":
        """What waits for the hub, from the oldest on; it ends the one before. Raises Ended."""
        inbox: str = self._client.new_inbox()
        consumer = ConsumerConfig(
            durable_name=HUB_CONSUMER,
            deliver_subject=inbox,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ANSWER_FROM_HUB_S,
            # The next comes when the one before is acknowledged: nothing overtakes.
            max_ack_pending=1,
            max_deliver=-1,
        )
        with ending("what waits for the hub cannot be read"):
            messages = await _untyped(self._client).subscribe(inbox)
            with suppress(NotFoundError):
                await self._jetstream.delete_consumer(DEVICE_STREAM, HUB_CONSUMER)
            await self._jetstream.add_consumer(DEVICE_STREAM, consumer)
        return Queue(messages)

    async def keep_stream(self, max_bytes: int, *, is_there: bool) -> None:
        """Make the stream, or have it as the configuration says. Raises Ended."""
        config = _stream(max_bytes)
        with ending("the stream cannot be made"):
            if is_there:
                await self._jetstream.update_stream(config)
            else:
                # What the hub has heard of is below any number of a stream that is made later: one that is made anew
                # goes on above the one before, in milliseconds since 1970, as long as fewer than 1000 events a second
                # were said.
                await self._jetstream.add_stream(_untyped(config).evolve(first_seq=time.time_ns() // 1_000_000))


class Queue:
    """The device's stream, one message after the other."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages

    async def next(self) -> Msg:
        """The oldest that the hub does not have. Raises Ended."""
        while True:
            with ending("connection lost"), suppress(TimeoutError):
                return await self._messages.next_msg(timeout=ANSWER_S)

    @staticmethod
    async def is_stored(message: Msg) -> None:
        """The hub has it: it goes from here. Raises Ended."""
        with ending("connection lost"):
            await message.ack()


def _stream(max_bytes: int) -> StreamConfig:
    return StreamConfig(
        name=DEVICE_STREAM,
        # Of whichever place in the plant: what was said before the station got another is said on.
        subjects=[ANY_EVENT],
        storage=StorageType.FILE,
        retention=RetentionPolicy.WORK_QUEUE,
        # Full: what comes is refused, and waits in the outbox. Nothing that was taken is let go of.
        discard=DiscardPolicy.NEW,
        max_bytes=max_bytes,
        duplicate_window=DUPLICATES_S,
    )


@asynccontextmanager
async def connected(config: FleetConfig, station: str) -> AsyncGenerator[Leaf]:
    """Raises Ended where the server is not there."""
    try:
        client = await _untyped(nats).connect(
            config.server,
            name=f"goldline-{station}",
            inbox_prefix=inbox(station),
            allow_reconnect=False,
            connect_timeout=CONNECT_S,
            ping_interval=PING_S,
            max_reconnect_attempts=0,
            error_cb=_on_error,
        )
    except (Error, OSError, TimeoutError, NoServersError) as problem:
        raise Ended(f"cannot be reached: {problem or type(problem).__name__}") from problem
    try:
        with ending("connection lost"):
            leaf = Leaf(client, await Answers.listening(client))
        yield leaf
    finally:
        with suppress(Error, OSError, TimeoutError):
            await client.close()


def _untyped(library: Any) -> Any:
    return library


async def _on_error(problem: Exception) -> None:
    structlog.get_logger().debug("the client of NATS said", problem=str(problem) or type(problem).__name__)


class ending:  # noqa: N801 - used as a function
    """A context that turns what NATS refuses into Ended; `what` is said before it. Not found is the caller's."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, NotFoundError) or not isinstance(problem, (Error, OSError, TimeoutError)):
            return
        raise Ended(f"{self._what}: {problem or type(problem).__name__}") from problem
