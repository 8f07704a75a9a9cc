"""Events of stations at the hub, by real NATS servers: complete and in order whoever is killed, and nobody else's."""

import asyncio
import shutil

import pytest

from tests.needs import needs_module

needs_module("nats", "fleet")

import nats  # noqa: E402

from edge.fleet.answers import Answers  # noqa: E402
from edge.fleet.leaf import Leaf as LeafEnd  # noqa: E402
from edge.fleet.rights import delivery  # noqa: E402
from edge.fleet.words import DEVICE_STREAM  # noqa: E402
from tests.fleet_bench import MIB, Hub, Leaf, Uplink, events_of, heard, killed, once  # noqa: E402
from tests.publish_line import until  # noqa: E402
from tests.sync_line import sync_lines  # noqa: E402

pytestmark = pytest.mark.timeout(300)


def fleet(leaf: Leaf, **settings: int) -> dict[str, object]:
    return {"station_id": leaf.station, "fleet": {"server": leaf.url, "max_bytes": 64 * MIB, **settings}}


def has(uplink: Uplink, name: str, number: int) -> None:
    until(lambda: uplink.figure(f"{name}_sequence") == number, f"{name} up to {number}")


def test_no_event_is_lost_whoever_is_killed_or_replaced(tmp_path):
    """One device loses uplink, server and at last its server's disk; another is replaced whole, the hub being away."""
    hub = Hub(tmp_path / "hub")
    kept, replaced = (Leaf(tmp_path / name, name, hub) for name in ("kept", "replaced"))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        sync_lines(tmp_path / "one", **fleet(kept)) as one,
        sync_lines(tmp_path / "two", **fleet(replaced)) as two,
        killed(hub, kept, replaced, Uplink(one.station), Uplink(two.station)) as (*_, first, second),
    ):
        hub.start()
        hub.init()
        for leaf, line, uplink in ((kept, one, first), (replaced, two, second)):
            leaf.start()
            line.start_both()
            uplink.start()
            line.say(20)
            has(uplink, "published", 20)
            hub.add(leaf.station)
        for line, uplink in ((one, first), (two, second)):
            has(uplink, "acknowledged", 20)
            until(lambda line=line: line.acknowledged().get("uplink") == 20, "the station knows")
        hub.kill()
        one.say(20)
        has(first, "published", 40)
        first.kill()
        one.say(10)
        first.start()
        has(first, "published", 50)
        # 30 events that the hub has not got are gone with the disk: they come from the outbox again.
        kept.kill()
        kept.wipe()
        one.say(10)
        kept.start()
        has(first, "published", 60)
        replace(two, replaced, second)
        two.say(35)
        has(second, "published", 35)
        hub.start()
        has(first, "acknowledged", 60)
        has(second, "acknowledged", 35)
        assert_complete(hub)


def replace(line, leaf: Leaf, uplink: Uplink) -> None:
    """Another device in its place: nothing is left of what this one knew."""
    uplink.kill()
    leaf.kill()
    leaf.wipe()
    line.kill_all()
    for channel in list(line.peers):
        line.unlink(channel)
    line.logs.clear()
    shutil.rmtree(line.station.state_dir)
    shutil.rmtree(line.station.runtime_dir)
    leaf.start()
    line.start_both()
    uplink.start()


def assert_complete(hub: Hub) -> None:
    read = hub.read()
    (numbers,) = events_of(read, "kept").values()
    assert once(numbers) == list(range(1, 61))
    # What the hub has of the device before, and all of the new one; in whichever order the two came.
    assert {len(once(told)): once(told)[-1] for told in events_of(read, "replaced").values()} == {20: 20, 35: 35}


def test_a_server_that_is_full_is_waited_for_and_a_reader_hears_what_is_gone(tmp_path):
    hub, small = Hub(tmp_path / "hub"), 1200
    leaf = Leaf(tmp_path / "leaf", "cell", hub)
    with (
        sync_lines(tmp_path, **fleet(leaf, max_bytes=MIB)) as line,
        killed(Uplink(line.station), leaf, hub) as (up, *_),
    ):
        line.fill(small)
        line.prune(100)
        hub.start()
        hub.init()
        leaf.start()
        line.start_both()
        up.start()
        until(lambda: up.figure("refused_total") >= 1, "the server is full")
        assert 100 < up.figure("published_sequence") < small
        assert up.figure("acknowledged_sequence") == 0
        assert line.acknowledged().get("uplink", 0) == 0
        hub.add("cell")
        has(up, "acknowledged", small)
        until(lambda: line.acknowledged().get("uplink") == small, "the station knows")
        told = heard(hub, small - 100 + 1)
        assert told[0]["kind"] == "gone"
        assert (told[0]["first"], told[0]["last"]) == (1, 100)
        assert [int(event["sequence"]) for event in told[1:]] == list(range(101, small + 1))


def test_a_device_can_say_nothing_in_the_name_of_another(tmp_path):
    hub = Hub(tmp_path / "hub")
    leaf = Leaf(tmp_path / "leaf", "thief", hub)
    with killed(leaf, hub):
        hub.start()
        hub.init()
        leaf.start()
        hub.add("thief")
        asyncio.run(forge(leaf))
        until(lambda: hub.count() >= 41, "what it says comes")
        read = hub.read()
        # In whose name ever it was said: the hub has written the thief's over it.
        assert {subject for subject, *_ in read} == {"goldline.v1.-.-.thief.left.result"}
        assert len(read) == 41
        assert hub.ask(streams_of) == ["PLANT"]


async def streams_of(js) -> list[str]:
    return [info.config.name for info in await js.streams_info()]


async def forge(leaf: Leaf) -> None:
    """What whoever has taken a device over can do with its own server and its own key."""
    client = await nats.connect(leaf.url)
    js = client.jetstream()
    await js.add_stream(name=DEVICE_STREAM, subjects=["goldline.v1.>"], retention="workqueue")
    await LeafEnd(client, await Answers.listening(client)).keep_hub(delivery("thief"))
    for number in range(20):
        for station in ("victim", "thief"):
            await js.publish(
                f"goldline.v1.-.-.{station}.left.result", b"{}", headers={"Nats-Msg-Id": f"{station}{number}"}
            )
    # Straight into the hub: another's delivery, its stream's subjects, its API.
    await client.publish(delivery("victim"), b"{}", headers={"Nats-Msg-Id": "x"})
    await client.publish("goldline.v1.-.-.victim.left.result", b"{}")
    with pytest.raises((nats.errors.Error, TimeoutError)):
        await client.jetstream(domain="hub", timeout=1).add_stream(name="MINE", subjects=["mine"])
    await client.close()
