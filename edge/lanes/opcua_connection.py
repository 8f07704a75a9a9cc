"""One connection to the OPC UA server: asyncua's, with bounds, and serving on while a method is carried out."""

import asyncio
import socket
import time
from contextlib import suppress
from typing import Any, cast

import structlog
from asyncua.server import binary_server_asyncio
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import nodeid_from_binary

from edge.lanes.opcua_door import Door
from edge.lanes.opcua_types import words

# Of an unfinished message, and of answers that nobody reads. The largest answer is a page of results, about 1 MiB.
MAX_BUFFER_BYTES = 8 << 20
# A machine that was switched off says nothing of it: asked from 10 s of silence on, every 5 s, it is given up after
# 30 s at most, with what was sent to it and not confirmed.
KEEPALIVE_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
# Methods that one client has under way. More wait their turn, and what the client sends behind them waits as well.
MOST_CALLS = 8


def install() -> None:
    """Have asyncua make connections of these classes: it offers no parameter for them."""
    binary_server_asyncio.OPCUAProtocol = Bounded
    binary_server_asyncio.UaProcessor = Processor  # pyright: ignore[reportPrivateImportUsage]


class Processor(UaProcessor):
    """What answers a connection's messages. asyncua's would take the next only when the one before is answered.

    A product takes seconds to prepare, and a client may wait for a result: meanwhile it must hear of others, and its
    session must not run out.
    """

    def __init__(self, server: Any, transport: asyncio.Transport, limits: Any) -> None:
        # What has no types there.
        self._asyncua, self._way = cast("Any", super()), transport
        self._asyncua.__init__(server, transport, limits)
        self._calls: set[asyncio.Task[Any]] = set()

    @property
    def is_gone(self) -> bool:
        """Whether its connection has ended."""
        return self._way.is_closing()

    @property
    def has_session(self) -> bool:
        """Whether it has a session that was activated."""
        return self.session is not None and self.session.is_activated()

    async def process_message(self, seqhdr: Any, body: Any) -> Any:
        """Answer a message. A method is begun in the order of the messages; its answer comes when it is done."""
        is_call = nodeid_from_binary(body.copy()) == words.NodeId(words.ObjectIds.CallRequest_Encoding_DefaultBinary)
        if not is_call or len(self._calls) >= MOST_CALLS:
            return await self._asyncua.process_message(seqhdr, body)
        task: asyncio.Task[Any] = asyncio.create_task(self._asyncua.process_message(seqhdr, body))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return True


class Bounded(binary_server_asyncio.OPCUAProtocol):
    """A connection that cannot make this process hold more than a few megabytes, nor serve it alone."""

    @property
    def address(self) -> str:
        """Where it comes from; empty where it was gone before anybody looked."""
        return str(self.peer_name[0]) if self.peer_name else ""

    @property
    def has_session(self) -> bool:
        """Whether it has a session that was activated."""
        return self.processor is not None and cast("Processor", self.processor).has_session

    @property
    def _door(self) -> Door:
        return cast("Any", self.iserver).door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody comes: refused where there is no place."""
        self.transport = cast("asyncio.Transport", transport)
        self.peer_name = transport.get_extra_info("peername")
        if not self._door.admit(self, time.monotonic()):
            # asyncua knows nothing of it, and has nothing to take back.
            self.transport = None
            return
        with suppress(OSError):  # it has left already
            for level, option, value in KEEPALIVE_OPTIONS:
                transport.get_extra_info("socket").setsockopt(level, option, value)
        super().connection_made(transport)

    def connection_lost(self, ex: BaseException | None) -> None:
        """It is gone."""
        self._door.leave(self)
        super().connection_lost(ex)

    def hang_up(self) -> None:
        """End it, whatever was still to be said."""
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """More came; a client that sends without end, or asks without reading, is cut off."""
        transport = self.transport
        if transport is None:
            return
        if max(len(self._buffer) + len(data), transport.get_write_buffer_size()) > MAX_BUFFER_BYTES:
            structlog.get_logger().warning("a client is cut off: it holds too much", client=str(self.peer_name))
            transport.abort()
            return
        super().data_received(data)

    async def _process_one_msg(self, header: Any, buf: Any) -> bool:
        # asyncua answers all that waits of one client without a pause: hundreds of messages, while nobody else is
        # served and this process's own beat stands still.
        await asyncio.sleep(0)
        return await super()._process_one_msg(header, buf)
