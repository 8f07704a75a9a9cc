"""A device's connection to the hub without a NATS server of its own: the protocol of leaf nodes, line by line.

A device's own server keeps to what the hub has told it that it may; whoever has its key need not.
"""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import nkeys


class LeafWire:
    """Says what it likes; keeps what is said to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.heard: dict[str, bytes] = {}
        self._is_greeted = asyncio.Event()
        self._pong, self._awaited = asyncio.Event(), 2
        self.listening = asyncio.create_task(self.listen())

    async def greet(self, seed: str, name: str) -> None:
        """As a leaf node with this key."""
        hello = json.loads((await self._reader.readline()).removeprefix(b"INFO "))
        pair: Any = nkeys.from_seed(seed.encode())
        signed = base64.urlsafe_b64encode(pair.sign(hello["nonce"].encode())).decode().rstrip("=")
        told = {"nkey": pair.public_key.decode(), "sig": signed, "name": name, "headers": True, "version": "2.15.1"}
        self._writer.write(f"CONNECT {json.dumps(told)}\r\nLS+ _INBOX.{name}.>\r\nPING\r\n".encode())
        self._is_greeted.set()

    async def is_over(self) -> None:
        """Everything said so far was looked at: the hub has answered, or ended it."""
        self._writer.write(b"PING\r\n")
        await asyncio.wait([self.listening, asyncio.create_task(self._pong.wait())], return_when="FIRST_COMPLETED")

    async def listen(self) -> None:
        """Until it ends."""
        await self._is_greeted.wait()
        while line := await self._reader.readline():
            if line.startswith(b"PING"):
                self._writer.write(b"PONG\r\n")
            elif line.startswith(b"PONG"):
                self._take_pong()
            elif line.startswith((b"LMSG", b"HMSG")):
                words = line.split()
                body = await self._reader.readexactly(int(words[-1]) + 2)
                self.heard[words[1].decode()] = body

    def _take_pong(self) -> None:
        """The first answers the greeting."""
        self._awaited -= 1
        if not self._awaited:
            self._pong.set()

    async def say(self, subject: str, body: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """A message, with a reply where there is one."""
        head = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        await self.say_raw(subject, body, reply, f"NATS/1.0\r\n{head}\r\n".encode() if head else b"")

    async def say_raw(self, subject: str, body: bytes, reply: str, head: bytes) -> None:
        """With these very bytes for headers."""
        to = f"{subject} {reply}".strip()
        sizes = f"{len(head)} {len(head) + len(body)}" if head else f"{len(body)}"
        self._writer.write(f"{'HMSG' if head else 'LMSG'} {to} {sizes}\r\n".encode() + head + body + b"\r\n")
        await self._writer.drain()

    async def ask(self, subject: str, body: bytes, name: str) -> bytes:
        """What is answered."""
        inbox = f"_INBOX.{name}.{len(self.heard)}"
        while inbox not in self.heard:
            await self.say(subject, body, inbox)
            await asyncio.sleep(0.1)
        return self.heard[inbox]


@asynccontextmanager
async def leaf_wire(port: int, seed: str, name: str) -> AsyncGenerator[LeafWire]:
    """Connected to the hub's port for leaf nodes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    wire = LeafWire(reader, writer)
    await wire.greet(seed, name)
    try:
        yield wire
    finally:
        wire.listening.cancel()
        writer.close()
