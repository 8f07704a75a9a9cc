"""Products rolled out to stations, by real NATS servers, real stations and the command that an operator types."""

import json
import shutil
import subprocess

import pytest

from edge import rehearsal
from edge.errors import GoldlineError
from tests.needs import needs_module
from tests.stations import record, running

needs_module("nats", "fleet")
needs_module("cryptography", "fleet")

from edge.fleet import product_files, rollout  # noqa: E402
from edge.fleet.judged_by import CommandSocket  # noqa: E402
from edge.fleet.plan import ProductState, Rules, WantedProduct  # noqa: E402
from edge.fleet.rights import API, state_of  # noqa: E402
from edge.fleet.rollout import Conductor, Taken  # noqa: E402
from edge.fleet.words import ROLLOUTS, STATE, WANTED  # noqa: E402
from tests.fleet_bench import killed  # noqa: E402
from tests.fleet_plant import Plant  # noqa: E402
from tests.fleet_product import PRODUCT, new_signer, pair_of  # noqa: E402
from tests.publish_line import until  # noqa: E402

pytestmark = pytest.mark.timeout(300)
NOTHING = ProductState()


class Operator:
    """A command that goes on for a while."""

    def __init__(self, command):
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def done(self):
        out, _ = self._process.communicate(timeout=200)
        return self._process.returncode, out

    def kill(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def plant(tmp_path, taught):
    made = Plant(tmp_path, taught)
    with killed(made.hub):
        try:
            yield made
        finally:
            for leaf in made.leaves.values():
                leaf.kill()


def test_a_running_station_judges_by_what_is_rolled_out_and_by_what_was_before(plant):
    """Stage by stage, with the hub killed in between, and a new device in place of one that was lost."""
    runs, waits = plant.add("runs"), plant.add("waits")
    second = plant.second.archive_sha256
    plant.start()
    plant.enroll(plant.stations)
    plant.want("runs", plant.first.archive_sha256, serial=1)
    plant.put(plant.first)
    plant.pull("runs")
    with running(plant.config(runs)) as (daemon, listener):
        # A machine that does much else may judge some late: that is another test's to stop for.
        rules = ("--then", "100%", "--parts", "10", "--margin", "100%")
        with killed(Operator(plant.command("roll-out", PRODUCT, "--stations", "runs", *rules, "--json"))):
            until(lambda: plant.judges("runs", plant.second), "it judges by what was rolled out")
        # The command died; so does the hub. Another goes on with the stage that is next.
        plant.hub.kill()
        plant.hub.start()
        until(lambda: plant.status()["runs"].counts, "the hub hears of parts")
        with killed(Operator(plant.command("roll-out", PRODUCT, "--resume", "--json"))) as (resumed,):
            until(lambda: plant.turn("waits").products.get(PRODUCT, NOTHING).active == second, "the second stage")
            code, out = resumed.done()
        assert (code, json.loads(out)["state"]) == (0, "done")
        # Of the station that runs, its own events say what it judged by; none is by half of one and half of the other.
        told = plant.fleet("roll-back", PRODUCT, "--stations", "runs")
        assert "1 station(s) judge by what they judged by before" in told
        listener.wait_for(20)
        assert daemon.process.poll() is None
    pairs = [(event.data.recipe_sha256, event.data.reference_set) for event in record(plant.config(runs))]
    kinds = [pair for at, pair in enumerate(pairs) if not at or pairs[at - 1] != pair]
    assert kinds == [pair_of(plant.first), pair_of(plant.second), pair_of(plant.first)]
    assert plant.status()["runs"].active == plant.first.archive_sha256
    assert product_files.on_disk(waits, PRODUCT) == pair_of(plant.second)
    # A new device in the place of the other: nothing on its disk but its configuration, its key and whom it trusts.
    for folder in (waits.state_dir / "references", waits.state_dir / "fleet", waits.pipelines_dir):
        shutil.rmtree(folder)
    plant.pull("waits")
    assert product_files.on_disk(waits, PRODUCT) == pair_of(plant.second)


def test_what_is_wrong_is_refused_in_one_line_that_status_shows(plant):
    station = plant.add("s1")
    plant.start()
    plant.put(plant.first)
    plant.put(plant.second)
    stranger = new_signer(plant.folder, "stranger")
    first, second = plant.first.archive_sha256, plant.second.archive_sha256

    def problem():
        said = plant.turn("s1")
        text = said.problem or said.products[PRODUCT].problem
        assert len(text.splitlines()) == 1, text
        return text

    plant.want("s1", first, serial=5, signer=stranger)
    # As the two commands have it; below, what they print.
    printed = plant.pull("s1", 1)
    assert len(printed.splitlines()) == 1, printed
    assert json.loads(plant.fleet("status", "--json"))["stations"][0]["problem"] in printed
    assert f"signed by key {stranger.id}, which is not trusted here" in problem()
    plant.want("s1", first, serial=5, station="s2")
    assert "was signed for station s2" in problem()
    # A bundle that a stranger has signed, under the name of one that is wanted.
    name = "0" * 64
    product_files.write_bundle(plant.source, PRODUCT, plant.folder / "strange", plant.first.made, stranger)
    plant.as_operator(lambda buckets: buckets.put(name, plant.folder / "strange"))
    plant.want("s1", name, serial=6)
    assert "not trusted here" in problem()
    (plant.folder / "cut").write_bytes((plant.folder / first).read_bytes()[:-100])
    plant.as_operator(lambda buckets: buckets.put("1" * 64, plant.folder / "cut"))
    plant.want("s1", "1" * 64, serial=7)
    assert "holds" in problem()
    plant.want("s1", "2" * 64, serial=8)
    assert "the hub does not have this bundle any more" in problem()
    assert product_files.on_disk(station, PRODUCT) is None
    # Both are taken in their order; the first document again is a replay.
    plant.want("s1", first, serial=20)
    plant.turn("s1")
    plant.want("s1", second, serial=21)
    plant.turn("s1")
    plant.want("s1", first, serial=20)
    assert "an older document (serial 20) than what was taken (21): refused" in problem()
    assert plant.status()["s1"].active == second
    # Whose key is trusted no more changes nothing any more, and what is judged by stays.
    plant.want("s1", first, serial=30)
    (station.keys_dir / "fleet" / "plant.pub").unlink()
    assert "no key is" in problem()
    assert plant.status()["s1"].active == second


def test_of_two_operators_the_second_is_refused_and_a_dead_one_is_followed(plant):
    plant.add("s1")
    plant.start()
    plant.turn("s1")
    with killed(Operator(plant.command("roll-out", PRODUCT, "--all"))):
        until(lambda: "s1" in plant.wanted(), "the first operator has begun")
        told = plant.fleet("roll-out", PRODUCT, "--all", code=2)
        assert f"another command rolls out {plant.second.archive_sha256[:12]}: stage 1 of 1" in told
    told = plant.fleet("roll-out", PRODUCT, "--all", code=2)
    assert "has died: stage 1 of 1" in told and "--resume" in told
    # Taking it back ends it, whoever drives it.
    assert "has anything to go back to" in plant.fleet("roll-back", PRODUCT, code=2)


def test_a_roll_out_that_was_ended_by_another_writes_nothing_more(plant):
    plant.add("s1")
    plant.start()
    name = plant.first.archive_sha256

    def conductor(buckets):
        return Conductor(buckets, PRODUCT, plant.signer, {}, lambda _: None)

    async def taken_back(buckets):
        first, second = conductor(buckets), conductor(buckets)
        begun = await first.begin(name, (("s1",),), Rules(), replaces_local=False)
        await second.roll_back({}, Rules())
        with pytest.raises(Taken, match="another command has changed this roll-out"):
            await first.drive(begun)
        assert await buckets.all(WANTED) == {}
        # Removed by other hands, and written again: neither command waits for what is not there.
        await first.want("s1", WantedProduct(bundle=name), 0)
        await (await buckets._bucket(WANTED)).delete("s1")
        assert (await second.want("s1", WantedProduct(bundle=name), 0)).bundle == name

    plant.as_operator(taken_back)


def test_a_stations_key_takes_nothing_away_from_others(plant):
    """By the headers and the answers that NATS would act upon: `Nats-Rollup`, and a reply that is a request itself."""
    plant.add("s1")
    plant.add("s2")
    plant.start()
    plant.hub.init()
    plant.enroll(["s1", "s2"])
    plant.want("s1", plant.first.archive_sha256, serial=1)

    async def tries(_, buckets):
        client = buckets._js._nc
        for stream in ("PLANT", f"KV_{STATE}", f"KV_{WANTED}", f"KV_{ROLLOUTS}"):
            question = f"{API}.DIRECT.GET.KV_{WANTED}.$KV.{WANTED}.s1"
            await client.publish(question, b"", reply=f"$JS.API.STREAM.PURGE.{stream}")
        await client.publish(state_of("s1"), b"{}", headers={"Nats-Rollup": "all"})
        await client.flush()
        # Behind all of these on the same connection.
        await buckets.acknowledge(b"last")

    plant.as_station("s1", tries)
    states = plant.as_operator(lambda buckets: buckets.all(STATE))
    assert states["s1"] == b"last" and set(states) == {"s1", "s2"}
    assert set(plant.wanted()) == {"s1"}


def test_a_station_reads_its_own_document_and_writes_its_own_key_alone(plant):
    plant.add("s1")
    plant.add("s2")
    plant.start()
    plant.put(plant.first)
    plant.want("s1", plant.first.archive_sha256, serial=1)
    plant.want("s2", plant.first.archive_sha256, serial=1)

    async def tries(rollouts, buckets):
        await rollouts.turn()
        api, client = API, buckets._js._nc
        refused = []
        for subject in (
            f"{api}.$KV.{STATE}.s2",
            f"{api}.$KV.{WANTED}.s1",
            f"{api}.$KV.{ROLLOUTS}.{PRODUCT}",
            f"$KV.{STATE}.s2",
            f"{api}.$O.goldline-bundles.C.x",
            f"{api}.DIRECT.GET.KV_{WANTED}.$KV.{WANTED}.s2",
            f"{api}.STREAM.PURGE.KV_{WANTED}",
            f"{api}.STREAM.DELETE.OBJ_goldline-bundles",
            f"{api}.CONSUMER.CREATE.KV_{WANTED}",
        ):
            try:
                await client.request(subject, b"{}", timeout=0.5)
            except Exception:  # noqa: BLE001 - nobody answers, in whatever way the client says so
                refused.append(subject)
        return refused, 9

    refused, tried = plant.as_station("s1", tries)
    assert len(refused) == tried
    states = plant.as_operator(lambda buckets: buckets.all(STATE))
    assert set(states) == {"s1"}
    assert rollout.acknowledged(states)["s1"].products[PRODUCT].active == plant.first.archive_sha256
    # One that says it is another is not believed.
    assert not rollout.acknowledged({"s2": states["s1"]})


class Refusing(CommandSocket):
    """A running station whose order to prepare comes to nothing, as with a model that its accelerator cannot load."""

    def prepare(self, product, variant):
        raise GoldlineError("this model cannot be loaded")


def test_what_the_station_cannot_judge_by_makes_room_for_what_was_there(plant):
    station = plant.add("s1")
    plant.start()
    for one in (plant.first, plant.second):
        plant.put(one)
    plant.want("s1", plant.first.archive_sha256, serial=1)
    plant.turn("s1")
    # Its own uplink would bring the same products: here the test is that.
    config = plant.config(station)
    config.write_text(config.read_text().partition("[fleet]")[0])
    with rehearsal.running(config):
        plant.want("s1", plant.second.archive_sha256, serial=2)
        said = plant.turn("s1", Refusing(station))
        state = said.products[PRODUCT]
        assert (state.active, state.is_refused, state.problem) == (
            plant.first.archive_sha256, True, "this model cannot be loaded",
        )  # fmt: skip
        assert state.is_judged
        # It is not tried again, until it is rolled out again.
        assert plant.turn("s1", CommandSocket(station)).products[PRODUCT].is_refused
        plant.want("s1", plant.second.archive_sha256, serial=3)
        until(lambda: plant.turn("s1", CommandSocket(station)).products[PRODUCT].is_judged, "judged")
