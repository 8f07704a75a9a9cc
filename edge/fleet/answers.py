"""What JetStream answers to messages that are published one behind another, each as a future.

The library's own `publish_async` (nats-py 2.16) leaves a future open for ever where the server refuses the message.
"""

import asyncio
from itertools import count
from typing import Any, Self

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

# The server's status where no stream takes a subject (ADR-22).
NO_RESPONDERS = "503"
# Ours for it: nobody is there to take it.
AWAY = -1
# JetStream's code where a stream that discards nothing is full.
FULL = 10077


class Refused(Exception):
    """The server does not take a message; `code` is JetStream's, 0 where it gave none."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Problem(msgspec.Struct, frozen=True):
    """Of an answer: why not."""

    description: str = "refused"
    err_code: int = 0


class Answer(msgspec.Struct, frozen=True):
    """To one message: the number that it stands under, or why it does not."""

    seq: int = 0
    error: Problem | None = None


class Answers:
    """One inbox for all of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._numbers = count()
        self._open: dict[str, asyncio.Future[int]] = {}

    @classmethod
    async def listening(cls, client: Client) -> Self:
        """Ready for the first message."""
        made = cls(client)
        untyped: Any = client
        await untyped.subscribe(f"{made._inbox}.*", cb=made._take)
        return made

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> asyncio.Future[int]:
        """Give it to the server. The future has its number in the stream, or raises Refused."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._open[reply] = future
        await self._client.publish(subject, body, reply=reply, headers=headers)
        return future

    async def _take(self, message: Msg) -> None:
        future = self._open.pop(message.subject, None)
        if future is None or future.done():
            return
        try:
            future.set_result(number_of(message.data, _status(message)))
        except Refused as refused:
            future.set_exception(refused)


def number_of(body: bytes, status: str | None) -> int:
    """The message's number in the stream. Raises Refused."""
    if status == NO_RESPONDERS:
        raise Refused("no stream takes it", AWAY)
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except msgspec.DecodeError as problem:
        raise Refused(f"an answer that is none: {problem}") from problem
    if answer.error is not None:
        raise Refused(answer.error.description, answer.error.err_code)
    return answer.seq


def _status(message: Msg) -> str | None:
    headers: dict[str, str] = message.headers or {}
    return headers.get("Status")
