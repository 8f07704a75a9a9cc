"""Connections to the OPC UA lane: they break, they are held by strangers, and they wait for what takes long."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.lanes.opcua_door import MOST_CONNECTIONS, MOST_WITHOUT_SESSION, SESSION_WITHIN_S, Door
from tests.lanes.cable import Cable
from tests.lanes.opcua_bench import Peer, Publish, counted, decided, free_port, publishing, results, until
from tests.needs import needs_module, needs_node

CONNECTIONS = "goldline_lane_connections"
# The place in a result's content (docs/opcua.md).
GOOD = 3


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Publish, int, Path]]:
    """One for all of these: each test decides triggers of its own."""
    needs_module("asyncua", "opcua")
    needs_node("node-opcua-client")
    port, folder = free_port(), tmp_path_factory.mktemp("lane")
    with publishing(folder, {"opcua": {"listen": f"127.0.0.1:{port}"}}) as publish:
        publish.start()
        publish.wait_until_up()
        yield publish, port, folder / "pki"


def url(port: int) -> str:
    return f"opc.tcp://127.0.0.1:{port}/goldline"


def test_a_cable_that_is_cut_costs_no_event(lane):
    """The client takes its subscription over; what went into the broken connection is told again."""
    publish, port, pki = lane
    cable = Cable(port)
    with Peer(url(cable.port), pki).staying() as client:
        for first in (101, 121):
            publish.decide(*(decided(number) for number in range(first, first + 5)))
            cable.cut()
            # Some of it goes into the broken connection, the rest waits.
            for number in range(first + 5, first + 15):
                publish.decide(decided(number, deadline_ms=1000.0))
                time.sleep(0.02)
            time.sleep(1.0)
            cable.mend()
            until(lambda last=first + 14: str(last) in results(client.heard), "what was decided meanwhile")
            publish.decide(*(decided(number) for number in range(first + 15, first + 20)))
            until(lambda last=first + 19: str(last) in results(client.heard), "what comes then")
    cable.close()
    # What it had and could not acknowledge is told twice.
    assert list(dict.fromkeys(results(client.heard))) == [str(number) for number in range(101, 141)]
    assert len(results(client.heard)) < 80
    good = {int(one["ResultId"]["id"]) for one in client.heard if one.get("ResultId") and one["ResultContent"][GOOD]}
    assert good == {*range(101, 106), *range(116, 126), *range(136, 141)}, "told as good after its deadline"


def test_who_waits_for_a_result_hears_of_others_meanwhile(lane):
    publish, port, pki = lane
    with Peer(url(port), pki).staying() as client:
        answer = client.call("ResultManagement.GetResultById", {"ResultIdDataType": {"id": "999"}}, 5000)
        # More than the answers that a client leaves ready for events.
        for number in range(201, 221):
            publish.decide(decided(number))
            time.sleep(0.02)
        until(lambda: "220" in results(client.heard), "results while a call waits")
        assert not any("answered" in one for one in client.heard), "the machine was too busy to tell"
        publish.decide(decided(999))
        assert answer()["status"] == "Good"


def test_strangers_keep_no_client_out(lane):
    """They connect from many addresses, and say nothing."""
    publish, port, pki = lane
    with ExitStack() as strangers:
        for number in range(2 * MOST_CONNECTIONS):
            source = (f"127.0.1.{number // MOST_WITHOUT_SESSION + 1}", 0)
            strangers.enter_context(socket.create_connection(("127.0.0.1", port), 60, source))
        assert Peer(url(port), pki).ask("read", "Product") == [{"path": "Product", "status": "Good", "value": "lid"}]
        held = [values for series, values in publish.child.page.read() if series.metric.name == CONNECTIONS]
        assert held[0][0] <= MOST_CONNECTIONS


def test_a_message_without_end_is_not_held(lane):
    """Anybody may open a channel, and a message comes in parts: asyncua alone keeps 50 MiB of these."""
    _, port, _ = lane
    probe = Path(__file__).with_name("opcua_intruder.py")
    done = subprocess.run(
        [sys.executable, str(probe), str(port), "hoard"], capture_output=True, text=True, timeout=60, check=False
    )
    what, _, size = done.stdout.strip().partition(":")
    assert what == "hoard" and 8 <= int(size) < 40, done


@dataclass(eq=False)
class Caller:
    """A connection as the door sees it."""

    address: str = "192.0.2.1"
    has_session: bool = False
    is_open: bool = True

    def hang_up(self) -> None:
        self.is_open = False


def test_who_has_no_session_for_a_while_is_hung_up_on():
    door, client, silent = Door(*counted()), Caller(has_session=True), Caller()
    assert door.admit(client, 0) and door.admit(silent, 0)
    door.turn(SESSION_WITHIN_S)
    assert silent.is_open
    door.turn(SESSION_WITHIN_S + 0.1)
    assert client.is_open and not silent.is_open
    # One that closes its session, or whose session runs out, has as long again.
    client.has_session = False
    door.turn(2 * SESSION_WITHIN_S)
    assert client.is_open
    door.turn(2 * SESSION_WITHIN_S + 0.2)
    assert not client.is_open


def test_one_address_has_few_without_a_session_and_any_number_with():
    door = Door(*counted())
    waiting = [Caller() for _ in range(MOST_WITHOUT_SESSION)]
    assert all(door.admit(one, 0) for one in waiting)
    late = Caller()
    assert not door.admit(late, 0) and not late.is_open
    assert door.admit(Caller("192.0.2.2"), 0)
    waiting[0].has_session = True
    assert door.admit(Caller(), 0)


def test_the_one_that_is_longest_without_a_session_gives_way_and_no_client_does():
    door = Door(*counted())
    clients = [Caller(has_session=True) for _ in range(MOST_CONNECTIONS - 2)]
    older, newer = Caller("192.0.2.2"), Caller("192.0.2.3")
    for at, one in enumerate((*clients, older, newer)):
        assert door.admit(one, at)
    for at in range(2):
        comer = Caller("192.0.2.4")
        assert door.admit(comer, 100 + at)
        comer.has_session = True
    assert (older.is_open, newer.is_open) == (False, False)
    assert not door.admit(Caller("192.0.2.5"), 200)
    assert all(one.is_open for one in clients)
    door.leave(clients[0])
    assert door.admit(Caller("192.0.2.5"), 200)


class End:
    """A client's end of a connection, as subscriptions see it."""

    def __init__(self, client: str) -> None:
        self.session = SimpleNamespace(user=SimpleNamespace(name=client))
        self.is_gone = False

    async def forward(self, result: object, request: object) -> None:
        """Where messages would go to."""

    def get_publish_request(self, number: int) -> None:
        """There is none."""


def test_only_the_same_client_takes_a_subscription_over_and_those_left_make_room() -> None:
    from asyncua import ua
    from asyncua.common.utils import ServiceError

    from edge.lanes.opcua_guard import MAX_SUBSCRIPTIONS, Clients, GuardedServer

    async def tried() -> None:
        service = GuardedServer(Clients(None), Door(*counted())).subscription_service

        async def made(end: End) -> int:
            wanted = ua.CreateSubscriptionParameters(RequestedPublishingInterval=60_000)
            created = await service.create_subscription(wanted, end.forward, ua.NodeId(1), end.get_publish_request)
            return created.SubscriptionId

        owner, again, other = End("a"), End("a"), End("b")
        number = await made(owner)
        move = ua.TransferSubscriptionsParameters(SubscriptionIds=[number, 1])
        codes = ua.StatusCodes
        for end, code in ((other, codes.BadUserAccessDenied), (again, codes.Good)):
            moved = await service.transfer_subscriptions(move, ua.NodeId(2), end.forward)
            assert [one.StatusCode.value for one in moved] == [code, codes.BadSubscriptionIdInvalid]
        owner.is_gone = True
        others = [await made(other) for _ in range(MAX_SUBSCRIPTIONS - 1)]
        with pytest.raises(ServiceError):
            await made(owner)
        again.is_gone = True
        await made(owner)
        assert number not in service.subscriptions and set(others) < set(service.subscriptions)
        await service.delete_subscriptions(list(service.subscriptions))

    needs_module("asyncua", "opcua")
    asyncio.run(tried())
