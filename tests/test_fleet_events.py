"""Events of stations at the hub, by real NATS servers: complete and in order whoever is killed."""

import shutil

import pytest

from tests.needs import needs_module

needs_module("nats", "fleet")

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
        leaf.start()
        line.start_both()
        up.start()
        until(lambda: up.figure("refused_total") >= 1, "the server is full")
        assert 100 < up.figure("published_sequence") < small
        assert up.figure("acknowledged_sequence") == 0
        assert line.acknowledged().get("uplink", 0) == 0
        hub.init()
        has(up, "acknowledged", small)
        until(lambda: line.acknowledged().get("uplink") == small, "the station knows")
        told = heard(hub, small - 100 + 1)
        assert told[0]["kind"] == "gone"
        assert (told[0]["first"], told[0]["last"]) == (1, 100)
        assert [int(event["sequence"]) for event in told[1:]] == list(range(101, small + 1))
