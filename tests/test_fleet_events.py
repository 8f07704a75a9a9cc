"""Events of stations at the hub, by real NATS servers: complete and in order whoever is killed, and nobody else's."""

import asyncio
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge.__main__
from edge.border_config import FleetConfig
from edge.config import Station
from edge.events import Source
from edge.heard import Arrived, Cursor, Gone, NewStream
from edge.rehearsal import free_ports
from tests.needs import needs_module

needs_module("nats", "fleet")

import nats  # noqa: E402

from edge.fleet import words  # noqa: E402
from edge.fleet.answers import Answers  # noqa: E402
from edge.fleet.hub import remove_station  # noqa: E402
from edge.fleet.leaf import Leaf as LeafEnd  # noqa: E402
from edge.fleet.leaf import connected  # noqa: E402
from edge.fleet.rights import delivery  # noqa: E402
from edge.fleet.words import DEVICE_STREAM  # noqa: E402
from tests.fleet_bench import MIB, Hub, Leaf, NatsServer, Uplink, events_of, killed, once  # noqa: E402
from tests.publish_line import until  # noqa: E402
from tests.sync_line import sync_lines  # noqa: E402

pytestmark = pytest.mark.timeout(300)
READER = Path(__file__).parents[1] / "deploy" / "nats" / "reader.py"


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


def heard(hub: Hub, count: int, nkey: Path | None = None, consumer: str = "reader") -> list[dict]:
    """What the example prints that is shipped, of so many messages."""
    words = [str(READER), f"nats://127.0.0.1:{hub.port}", "--nkey", str(nkey or hub.folder / "operator.nk")]
    done = subprocess.run(
        [sys.executable, *words, "--consumer", consumer, "--count", str(count)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


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


SOURCE = Source(site="-", line="l1", station="cell")
STREAMS = st.uuids()


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=30), STREAMS, st.data())
def test_a_reader_takes_each_once_and_says_what_is_missing(steps, stream, data):
    """Any history with repetitions, gaps that are told and gaps that are not."""
    order, sent, number = reader().Order(), [], 0
    for length, is_told in steps:
        if is_told:
            gone = Gone(stream=stream, first=number + 1, last=number + length)
            sent.append((words.message_of(gone, SOURCE), None))
        else:
            sent += [(event(stream, number + 1 + at), number + 1 + at) for at in range(length)]
        number += length
    repeated = [one for one in sent for _ in range(data.draw(st.integers(1, 2)))]
    told = [what for message, _ in repeated for what in order.take(message.id, message.body)]
    assert [what["n"] for what in told if what["kind"] == "event"] == [n for _, n in sent if n is not None]
    assert not [what for what in told if what["kind"] == "missing"]


def test_a_gap_without_a_word_is_missing(tmp_path):
    stream, order = uuid4(), reader().Order()
    told = [what for n in (1, 2, 5) for what in order.take(event(stream, n).id, event(stream, n).body)]
    assert [what["kind"] for what in told] == ["event", "event", "missing", "event"]
    assert (told[2]["first"], told[2]["last"]) == (3, 4)


def event(stream, number: int) -> words.Message:
    topic = SOURCE.topic("left", "result")
    body = json.dumps({"n": number}).encode()
    return words.message_of(Arrived(stream=stream, sequence=number, topic=topic, body=body, is_replay=False), SOURCE)


def reader():
    spec = importlib.util.spec_from_file_location("reader", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(STREAMS, st.integers(1, 1 << 40))
def test_an_id_tells_where_it_stands(stream, number):
    message = event(stream, number)
    assert message.subject == "goldline.v1.-.l1.cell.left.result"
    assert words.before(message.id) == Cursor(number - 1, stream)
    assert message.cursor == Cursor(number, stream)
    for notice in (Gone(stream=stream, first=1, last=number), NewStream(before=stream, heard=number, stream=stream)):
        told = words.message_of(notice, SOURCE)
        assert told.subject == "goldline.v1.-.l1.cell.-.notice"
        assert words.before(told.id) is None
        assert told.cursor == notice.cursor


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def goldline(config: Path, *words: object) -> Done:
    """`goldline fleet`, in the folder of this configuration."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(config.parent), redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["goldline", "fleet", *map(str, words)])
        code = edge.__main__.main()
    return Done(code, out.getvalue(), err.getvalue())


def test_a_device_joins_by_two_commands(tmp_path):
    """On the device, at the hub, and its events come; a reader with a key of its own reads them and nothing else."""
    (port,) = free_ports(1)
    config = tmp_path / "config.toml"
    config.write_text(f'station_id = "cell"\n[fleet]\nserver = "nats://127.0.0.1:{port}"\n')
    hub = Hub(tmp_path / "hub")
    at_hub = ("--server", f"nats://127.0.0.1:{hub.port}", "--devices", hub.folder / "devices.toml")
    operator = (*at_hub, "--nkey", tmp_path / "operator.nk")
    assert goldline(config, "hub", "new", "operator", "--operator", *at_hub).returncode == 0
    hub.seed = (tmp_path / "operator.nk").read_text()
    with killed(hub):
        hub.start()
        assert goldline(config, "hub", "init", "--max-gb", "0.1", *operator).returncode == 0
        url = f"nats-leaf://127.0.0.1:{hub.leaf_port}"
        joined = goldline(config, "join", url, "--store", tmp_path / "store")
        assert joined.returncode == 0, joined.stderr
        assert (tmp_path / "leaf.conf").stat().st_mode & 0o777 == 0o640
        again = goldline(config, "join", url, "--store", tmp_path / "store")
        assert again.returncode == 2
        assert "is there already" in again.stderr
        added = joined.stdout.splitlines()[-1].split()[2:]
        assert goldline(config, *added, *operator).returncode == 0
        assert goldline(config, "hub", "new", "mes", *operator).returncode == 0
        hub.reload()
        listed = json.loads(goldline(config, "hub", "list", "--json", *operator).stdout)
        assert listed["taken"] == ["cell"]
        leaf = NatsServer(tmp_path / "leaf", port, (tmp_path / "leaf.conf").read_text())
        with killed(leaf):
            leaf.start()
            asyncio.run(say_one(f"nats://127.0.0.1:{port}"))
            # By itself the hub looks again for a device that was not there within half a minute.
            hub.ask(lambda js: remove_station(js, "cell"))
            hub.add("cell")
            until(lambda: hub.count() == 1, "it is at the hub")
        assert [event["n"] for event in heard(hub, 1, tmp_path / "mes.nk", "mes")] == [1]
        with pytest.raises((nats.errors.Error, TimeoutError)):
            hub.ask(lambda js: js.purge_stream("PLANT"), (tmp_path / "mes.nk").read_text())
        assert goldline(config, "hub", "remove", "cell", *operator).returncode == 0
        assert json.loads(goldline(config, "hub", "list", "--json", *operator).stdout)["devices"] == {}


async def say_one(url: str) -> None:
    async with connected(FleetConfig(server=url), "test") as leaf:
        await leaf.keep_stream(MIB, is_there=False)
        await leaf.keep_hub(delivery("cell"))
        one = event(uuid4(), 1)
        await (await leaf.publish(one.subject, one.body, one.headers(None)))


@pytest.mark.parametrize(
    "words",
    [
        ("join", "http://hub"),
        ("join", "nats-leaf://user:pass@hub"),
        ("hub", "add", "Cell", "U"),
        ("hub", "add", "cell", "SUAHZIRV5P3GT4J3JLX2B4WRJC4FKTLWT34IKE2GAKASX56QRR6HBZJD6I"),
        ("hub", "list"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, words):
    config = tmp_path / "config.toml"
    config.write_text('station_id = "cell"\n[fleet]\n')
    done = goldline(config, *words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*.conf"))


def test_a_station_without_the_library_says_so_and_goes_on(tmp_path, monkeypatch, capfd):
    missing = tmp_path / "missing" / "nats"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ModuleNotFoundError('No module named nats', name='nats')\n")
    monkeypatch.setenv("PYTHONPATH", str(missing.parent))
    station = Station.model_validate({"state_dir": tmp_path / "state", "fleet": {}})
    with killed(Uplink(station)) as (uplink,):
        uplink.start()
        until(lambda: "pip install 'goldline[fleet]'" in capfd.readouterr().err, "it says what is missing")
        beats = uplink.child.page.loop_count
        until(lambda: uplink.child.page.loop_count > beats + 2, "and beats on")
