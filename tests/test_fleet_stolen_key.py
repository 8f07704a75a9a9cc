"""With the key of one device nothing at the hub is destroyed or falsified, by real NATS servers.

NATS sends an answer where the asking message says, and an answer may itself be a request. So whatever a device may send
is sent here with every reply that would do harm; what the hub holds is the same afterwards but for what is the thief's.
"""

import asyncio
import io
from dataclasses import dataclass, replace
from itertools import product

import pytest

from tests.needs import needs_module

needs_module("nats", "fleet")

import nats  # noqa: E402

from edge.fleet import hub as hub_side  # noqa: E402
from edge.fleet import rights, servers  # noqa: E402
from edge.fleet.buckets import OperatorBuckets, StationBuckets, station_options  # noqa: E402
from edge.fleet.words import BUNDLES, PLANT_STREAM, ROLLOUTS, STATE, WANTED, at_hub  # noqa: E402
from tests.fleet_bench import Hub, Leaf, killed  # noqa: E402
from tests.fleet_leaf_wire import leaf_wire  # noqa: E402

pytestmark = pytest.mark.timeout(300)
EVENT = "goldline.v1.-.-.{}.left.result"
KEYS = tuple(f"KV_{name}" for name in (WANTED, STATE, ROLLOUTS))
STREAMS = (PLANT_STREAM, *KEYS, f"OBJ_{BUNDLES}")
# What would do harm in the plant's account, as a subject of a message with any body or none.
VERBS = ("STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE", "STREAM.UPDATE", "STREAM.SNAPSHOT")
HARM = (
    *(
        f"{api}.{verb}.{stream}"
        for api in ("$JS.API", "$JS.hub.API", rights.API)
        for verb in VERBS
        for stream in STREAMS
    ),
    *(f"{api}.CONSUMER.DELETE.{PLANT_STREAM}.mes" for api in ("$JS.API", "$JS.hub.API", rights.API)),
    *(f"$KV.{bucket}.victim" for bucket in (WANTED, STATE, ROLLOUTS)),
    *(f"{rights.API}.$KV.{bucket}.victim" for bucket in (WANTED, STATE, ROLLOUTS)),
    *(f"$JS.hub.API.$KV.{bucket}.victim" for bucket in (WANTED, STATE, ROLLOUTS)),
    f"$KV.{WANTED}.thief",
    f"$O.{BUNDLES}.C.x",
    f"$O.{BUNDLES}.M.x",
    EVENT.format("victim"),
    "goldline.hub.events.-.-.victim.left.result",
    f"$JS.ACK.{PLANT_STREAM}.mes.1.1.1.0.0",
    f"$JS.ACK.{PLANT_STREAM}.mes.1.2.2.0.0",
    "_INBOX.victim.1",
    "_R_.victim",
    "$SYS.REQ.SERVER.PING",
)
# As a consumer asks its reader for flow control; what rolls a stream up, and what sets it to a number.
HEADERS = (None, {"Nats-Rollup": "all"}, {"Nats-Expected-Last-Sequence": "0"}, {"Nats-TTL": "1s"})
FLOW_CONTROL = b"NATS/1.0 100 FlowControl Request\r\n\r\n"


@dataclass(frozen=True)
class Held:
    """What is at the hub, without what is the thief's own."""

    events: list[tuple[int, str, bytes]]
    keys: dict[str, dict[str, bytes]]
    streams: list[tuple[str, object]]
    reader: tuple[int, int, int]
    bundle: bytes


async def held(client) -> Held:
    js, buckets = client.jetstream(), OperatorBuckets(client)
    found = {name: await buckets.all(name) for name in (WANTED, STATE, ROLLOUTS)}
    found[STATE].pop("thief", None)
    reader = await js.consumer_info(PLANT_STREAM, "mes")
    store = await js.object_store(BUNDLES)
    return Held(
        events=[one for one in await events(js) if ".thief." not in one[1]],
        keys=found,
        streams=sorted((info.config.name, info.config.as_dict()) for info in await js.streams_info()),
        reader=(reader.ack_floor.stream_seq, reader.num_ack_pending, reader.delivered.stream_seq),
        bundle=(await store.get("bundle")).data,
    )


async def events(js) -> list[tuple[int, str, bytes]]:
    state = (await js.stream_info(PLANT_STREAM)).state
    found = [await js.get_msg(PLANT_STREAM, seq=number) for number in range(state.first_seq, state.last_seq + 1)]
    return [(one.seq, one.subject, one.data) for one in found]


async def fill(client) -> None:
    """Two events that a reader has and has not acknowledged, a document, a state, a roll-out, a bundle."""
    js, buckets = client.jetstream(), OperatorBuckets(client)
    await hub_side.make_plant(js, max_bytes=1 << 24, max_days=1)
    await hub_side.add_reader(js, "mes")
    await buckets.make()
    for bucket in (WANTED, STATE, ROLLOUTS):
        assert await buckets.write(bucket, "victim", b"theirs", 0)
    assert await buckets.write(WANTED, "thief", b"signed", 0)
    await (await js.object_store(BUNDLES)).put("bundle", io.BytesIO(b"b" * 300_000))
    reader = await js.pull_subscribe_bind(consumer="mes", stream=PLANT_STREAM)
    for number in range(2):
        await js.publish(EVENT.format("victim"), b'{"n":%d}' % number)
    assert len(await reader.fetch(2)) == 2


def requests(station: str) -> tuple[str, ...]:
    """Every subject on which the hub answers a device."""
    patterned = rights.device_rights(station).publish
    named = (one.replace(">", f"$O.{BUNDLES}.M.x").replace("*.*.*.*", "-.-.left.result") for one in patterned)
    # As a device of an earlier version, and as one that tries: where the plant's stream was handed its events.
    return (*named, f"goldline.deliver.{station}", f"$JS.hub.API.DIRECT.GET.KV_{WANTED}.$KV.{WANTED}.{station}")


async def attack(client, station: str) -> None:
    """All that there is, by this connection: straight, and as the answer to every question."""
    for subject in HARM:
        for body in (b"", b"{}", b'{"seq":1,"no_erase":true}'):
            await client.publish(subject, body)
    for question, harm in product(requests(station), HARM):
        for headers in HEADERS:
            await client.publish(question, b"", reply=harm, headers=headers)
        await client.publish(question, b'{"seq":1}', reply=harm)
    await client.flush()
    await flow_control(client, station)
    # Behind all of these on the same connection, so they were all looked at.
    await StationBuckets(client, station).acknowledge(b"last")


async def flow_control(client, station: str) -> None:
    """With the status line that a server writes, which no client's library does."""
    for question, harm in product(requests(station), HARM):
        head = f"HPUB {question} {harm} {len(FLOW_CONTROL)} {len(FLOW_CONTROL)}\r\n".encode()
        client._transport.write(head + FLOW_CONTROL + b"\r\n")
    await client._transport.drain()
    await client.flush()


async def attack_by_wire(hub, seed: str) -> None:
    """As above, and with nobody on the device's side who keeps to what the hub allows it."""
    allowed = requests("thief")[:5]
    async with leaf_wire(hub.leaf_port, seed, "thief") as wire:
        for question, harm in product(allowed, HARM):
            await wire.say(question, b"", harm)
            await wire.say_raw(question, b"", harm, FLOW_CONTROL)
        assert b"PLANT" in await wire.ask(allowed[0], b"{}", "thief")
    # What is on no list ends the connection: each has one of its own.
    for subject in {*requests("thief")[5:], *HARM}:
        async with leaf_wire(hub.leaf_port, seed, "thief") as wire:
            await wire.say(subject, b"", HARM[0])
            await wire.say(allowed[0], b"{}", f"_INBOX.thief.{subject}")
            await wire.is_over()


@pytest.fixture(params=["accounts and permissions", "accounts alone"])
def plant(tmp_path, monkeypatch, request):
    """A hub and two devices; also as if permissions did not hold, for they do not look at replies."""
    if request.param == "accounts alone":
        monkeypatch.setattr(servers, "device_rights", lambda _: rights.OPERATOR)
    hub = Hub(tmp_path / "hub")
    leaves = {name: Leaf(tmp_path / name, name, hub) for name in ("thief", "victim")}
    with killed(*leaves.values(), hub):
        hub.start()
        for leaf in leaves.values():
            leaf.start()
        yield hub, leaves


def test_a_stolen_key_destroys_and_falsifies_nothing(plant):
    hub, leaves = plant
    asyncio.run(steal(hub, leaves))


async def steal(hub, leaves) -> None:
    async with await nats.connect(f"nats://127.0.0.1:{hub.port}", nkeys_seed_str=hub.seed) as operator:
        await fill(operator)
        before, overheard = await held(operator), []
        victim = await nats.connect(leaves["victim"].url, **station_options("victim"))

        async def hear(message):
            overheard.append(message.subject)

        await victim.subscribe(">", cb=hear)
        await victim.flush()
        # By the device's own server, and without it: the key lets a client in as well, where it reaches the hub's port.
        thief = await nats.connect(leaves["thief"].url, **station_options("thief"))
        direct = await nats.connect(
            f"nats://127.0.0.1:{hub.port}", nkeys_seed_str=leaves["thief"].seed, **station_options("thief")
        )
        await asked(thief, "thief")
        for client in (thief, direct):
            await attack(client, "thief")
            assert await held(operator) == before
            await client.close()
        leaves["thief"].kill()
        await attack_by_wire(hub, leaves["thief"].seed)
        after = await held(operator)
        # Of a leaf node NATS leaves replies below $JS.ACK as they are: a message that a reader has can be acknowledged
        # in its name. All of them are in the stream as before.
        assert replace(after, reader=before.reader) == before
        assert not [subject for subject in overheard if not subject.startswith(("$SYS", "$JS.EVENT"))]
        # The others go on as before, and the thief's own events bear its name whatever it wrote.
        await asked(victim, "victim")
        said = {subject for _, subject, _ in await events(operator.jetstream())}
        assert {subject.split(".")[4] for subject in said} == {"thief", "victim"}
        await victim.close()
        # So that this can fail: the same, given by somebody of the plant's account, does all the harm.
        await operator.publish(f"$JS.API.DIRECT.GET.KV_{WANTED}.$KV.{WANTED}.x", b"", reply=HARM[0])
        await operator.flush()
        named = {PLANT_STREAM}
        while PLANT_STREAM in named:
            await asyncio.sleep(0.05)
            named = {info.config.name for info in await operator.jetstream().streams_info()}


async def asked(client, station: str) -> None:
    """All that a device may do, is done: an event, its document, its state, a bundle."""
    stations, subject = StationBuckets(client, station), at_hub(EVENT.format("-"))
    # The hub's services are known to the device's server a moment after both have met.
    while True:
        try:
            answer = await client.request(subject, b"{}", timeout=5)
            break
        except (nats.errors.NoRespondersError, TimeoutError):
            await asyncio.sleep(0.1)
    assert b'"stream":"PLANT"' in answer.data
    assert await stations.wanted()
    await stations.acknowledge(b"own")
    assert await stations.size("bundle") == 300_000
    fetched = io.BytesIO()
    await stations.fetch("bundle", fetched)
    assert fetched.getvalue() == b"b" * 300_000


def test_an_account_of_a_device_reaches_its_own_alone():
    """Of the subjects that it imports none leads to another's, and it has neither streams nor a way to any."""
    text = servers.devices_conf({"cell7": "U" + "A" * 55})
    device = text.partition('"device-cell7" {')[2]
    assert "jetstream" not in device
    for one in rights.services("cell7"):
        assert "cell7" in one.plant or f"OBJ_{BUNDLES}" in one.plant
