"""PROCESS: an OPC UA server with the companion specification for machine vision (OPC 40100-1). `docs/opcua.md`.

One asyncio loop: asyncua serves the clients, and a task of ours follows the station: what is decided becomes a
result and an event, how the station stands becomes the state machines, a method that is called becomes an order.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import structlog
from asyncua import ua
from asyncua.common.callback import CallbackType
from asyncua.common.connection import TransportLimits
from asyncua.server.server import Server

from edge.addresses import host_and_port
from edge.border_config import OpcUaConfig
from edge.config import Station, runtime_directory
from edge.decided_log import DecidedLog, decided_path
from edge.errors import GoldlineError
from edge.events import Event, decode
from edge.lanes.kept import Kept, kept_path
from edge.lanes.opcua_connection import MAX_BUFFER_BYTES
from edge.lanes.opcua_door import Door
from edge.lanes.opcua_guard import Clients, GuardedServer, application_uri, own_files
from edge.lanes.opcua_memory import KEPT, Memory
from edge.lanes.opcua_methods import Methods
from edge.lanes.opcua_orders import LANE, Orders
from edge.lanes.opcua_result import describe
from edge.lanes.opcua_show import Show
from edge.lanes.opcua_space import Space
from edge.lanes.opcua_types import words
from edge.lanes.station_link import POLL_S, Decision, Place, StationLink
from edge.metrics import Page, State
from edge.orders import AnyOrder
from edge.worker import WorkerContext

# A client is told that it is subscribed, and takes a moment to know: what comes before that it throws away.
SETTLED_S = 0.5
# After an absence thousands may wait, and one for many clients takes some ms: what is more goes on with the next turn,
# so that the supervisor and clients hear of this process meanwhile.
DECISIONS_A_TURN = 16
POLICIES = (
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
)

_encode_place = msgspec.msgpack.Encoder().encode
_decode_place = msgspec.msgpack.Decoder(Place).decode


def run(context: WorkerContext) -> None:
    """Until told to stop."""
    # What it has to say of a client's mistakes is a traceback each; ours are said in words of ours.
    for library in ("asyncua", "asyncio"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    asyncio.run(_serve(context))


async def _serve(context: WorkerContext) -> None:
    station = context.station
    config = station.lanes.opcua
    assert config is not None
    channels = channels_of(station, config)

    def alive() -> None:
        context.page.beat(State.WARMUP, time.monotonic_ns())

    alive()
    door = Door(
        context.page.gauge("goldline_lane_connections", lane=LANE),
        context.page.counter("goldline_lane_connections_refused_total", lane=LANE),
    )
    server = await _server(station, config, door)
    alive()
    space = await Space.build(server, station.station_id, channels, alive)
    runtime = runtime_directory(station)
    kept = Kept(kept_path(runtime, LANE, "all"), LANE)
    since = _decode_place(kept.at_start) if kept.at_start else None
    with StationLink(context, since) as link:
        lane = Lane(link, channels, await Show.of(space), Memory(time.monotonic_ns(), since), kept, context.page)
        lane.recall(DecidedLog.attach(decided_path(runtime)))
        await Methods(lane).link(space)
        server.subscribe_server_callback(CallbackType.ItemSubscriptionCreated, lane.subscribed)
        async with _listening(server, config):
            await lane.follow(door)
    kept.close()


def channels_of(station: Station, config: OpcUaConfig) -> tuple[str, ...]:
    """The channels this lane speaks of. Raises GoldlineError: one is none of the station's."""
    known = tuple(name for name in station.triggered if station.group_of(name) is None)
    if unknown := sorted(set(config.channels) - set(known)):
        raise GoldlineError(f"[lanes.opcua] channels: unknown {unknown[0]!r}: known are {', '.join(known)}")
    return config.channels or known


async def _server(station: Station, config: OpcUaConfig, door: Door) -> Server:
    """Set up, and not yet listening. Raises GoldlineError: a certificate cannot be read."""
    folder = config.certificates
    clients = Clients(None if folder is None else folder / "trusted")
    server = Server(iserver=GuardedServer(clients, door))
    # A message is held until it is whole, whoever sends it.
    server.limits = TransportLimits(max_message_size=MAX_BUFFER_BYTES)
    await server.init()
    server.set_endpoint(f"opc.tcp://{config.listen}/goldline")
    server.set_server_name(f"Goldline {station.station_id}")
    server.product_uri, server.manufacturer_name = "urn:goldline", "Goldline"
    server.application_type = ua.ApplicationType.Server
    if folder is None:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        return server
    clients.read()
    certificate, key = own_files(folder)
    server.set_security_policy(list(POLICIES))
    await server.set_application_uri(application_uri(certificate))
    try:
        await server.load_certificate(certificate)
        await server.load_private_key(key)
    except ValueError as problem:
        raise GoldlineError(f"[lanes.opcua] certificates: {folder / 'own'}: {problem}") from problem
    return server


class _listening:  # noqa: N801 - reads as the statement it is in
    """The server while it listens. Raises GoldlineError: it cannot."""

    def __init__(self, server: Server, config: OpcUaConfig) -> None:
        host, port = host_and_port(config.listen)
        self._server, self._address = server, (host, int(port))

    async def __aenter__(self) -> None:
        self._server.socket_address = self._address
        try:
            await self._server.start()
        except OSError as failure:
            address = "{}:{}".format(*self._address)
            raise GoldlineError(f"[lanes.opcua] listen: {address}: {failure.strerror or failure}") from failure

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()


class Lane:
    """Between the station and the address space."""

    def __init__(
        self, link: StationLink, channels: tuple[str, ...], show: Show, memory: Memory, kept: Kept, page: Page
    ) -> None:
        """Nothing is heard before `follow`."""
        self._orders = Orders(link, page)
        self._results = page.counter("goldline_lane_results_total", lane=LANE)
        self._repeats = page.counter("goldline_lane_repeated_results_total", lane=LANE)
        self._subscriptions = page.gauge("goldline_lane_subscriptions", lane=LANE)
        self.channels = channels
        self._link, self._show, self._memory, self._kept = link, show, memory, kept
        self._written: Place | None = None
        self._repeating: set[asyncio.Task[None]] = set()

    def recall(self, log: DecidedLog | None) -> None:
        """Take up what was decided before this process, for those who ask for it."""
        if log is None:
            return
        for decided in deque(log.read_all(), KEPT):
            self._memory.recall(decode(decided.event))
        log.close()

    async def follow(self, door: Door) -> None:
        """Until told to stop."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._link.fileno(), heard.set)
        try:
            while not self._link.is_stopping:
                now_ns = time.monotonic_ns()
                has_more = await self._turn(now_ns)
                door.turn(now_ns / 1e9)
                self._subscriptions.set(self._show.announcer.subscriptions)
                await (asyncio.sleep(0) if has_more else _either(heard, POLL_S))
        finally:
            loop.remove_reader(self._link.fileno())

    async def _turn(self, now_ns: int) -> bool:
        """Whether more is decided than was told."""
        self._link.hear(now_ns)
        self._orders.hear()
        self._memory.begin(self._link.place)
        decisions = list(islice(self._link.decisions(), DECISIONS_A_TURN))
        for decision in decisions:
            await self._tell(decision, now_ns)
        await self._show.standing(self._link.standing, now_ns, is_fresh=self._link.is_fresh(now_ns))
        self._keep(self._memory.place(now_ns))
        return len(decisions) == DECISIONS_A_TURN

    async def _tell(self, decision: Decision, now_ns: int) -> None:
        data = decision.event.data
        if data.trigger_id is not None and data.camera in self.channels:
            await self._show.result(describe(decision.event, datetime.now(UTC)))
            self._results.inc()
        self._memory.sent(decision, now_ns)

    def _keep(self, place: Place | None) -> None:
        if place is not None and place != self._written:
            self._kept.write(_encode_place(place))
            self._written = place

    async def subscribed(self, made: Any, _service: Any) -> None:
        """A hook of asyncua: a client has begun to watch something."""
        items = frozenset(
            result.MonitoredItemId
            for asked, result in zip(made.request_params.ItemsToCreate, made.response_params, strict=True)
            if asked.ItemToMonitor.AttributeId == words.AttributeIds.EventNotifier and result.StatusCode.is_good()
        )
        if items and self._memory.repeats(time.monotonic_ns()):
            task = asyncio.create_task(self._repeat(made.request_params.SubscriptionId, items))
            self._repeating.add(task)
            task.add_done_callback(self._repeating.discard)

    async def _repeat(self, subscription: int, items: frozenset[int]) -> None:
        await asyncio.sleep(SETTLED_S)
        now = datetime.now(UTC)
        repeats = self._memory.repeats(time.monotonic_ns())
        told = [describe(event, now) for event in repeats if event.data.camera in self.channels]
        structlog.get_logger().info("results are repeated to a new subscription", results=len(told))
        await self._show.announcer.repeat(told, subscription, items)
        self._repeats.inc(len(told))

    # --- what the methods need

    @property
    def job(self) -> str:
        """What is judged by."""
        return self._show.job

    @property
    def variant(self) -> str:
        """What is expected of parts, if anything."""
        return self._show.variant

    def find(self, trigger_id: int) -> Event | None:
        """The result of a trigger."""
        return self._memory.find(trigger_id)

    def newest_first(self) -> Iterator[Event]:
        """The results that are kept."""
        return (event for event in self._memory.newest_first() if event.data.camera in self.channels)

    async def refused(self, text: str) -> None:
        """Tell why a method was not carried out."""
        await self._show.refused(text)

    async def order(self, order: AnyOrder) -> dict[str, Any]:
        """Have it carried out, and return the answer. Raises Refusal."""
        return await self._orders.give(order)


async def _either(heard: asyncio.Event, timeout_s: float) -> None:
    """Until something is there to hear, or for so long."""
    try:
        await asyncio.wait_for(heard.wait(), timeout_s)
    except TimeoutError:
        return
    heard.clear()
