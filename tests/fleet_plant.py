"""A plant for roll-outs: a hub, what an operator has, and stations with a NATS server beside each. All parts are real."""

import asyncio
import subprocess
import sys
import time

from edge.fleet import plan, rollout
from edge.fleet.buckets import OperatorBuckets, StationBuckets, connected, station_options
from edge.fleet.judged_by import Silent
from edge.fleet.plan import Wanted, WantedProduct
from edge.fleet.station import RolloutStation
from edge.fleet.tally import Tally
from edge.fleet.words import STATE, WANTED
from tests.fleet_bench import Hub, Leaf
from tests.fleet_product import PRODUCT, bundles, copy_taught, new_signer, station_of, trust
from tests.stations import CAMERA


class Plant:
    """A hub, what an operator has, and stations with a server beside each."""

    def __init__(self, folder, taught, camera=CAMERA):
        self.camera = camera
        self.folder, self.hub = folder, Hub(folder / "hub")
        self.source = station_of(folder / "source", "source", {"left": camera})
        copy_taught(taught, self.source)
        self.signer = new_signer(folder)
        self.first, self.second = bundles(self.source, folder, self.signer)
        self.leaves, self.stations = {}, {}

    def add(self, name):
        leaf = Leaf(self.folder / f"leaf-{name}", name, self.hub)
        station = station_of(self.folder / name, name, {"left": self.camera}, server=leaf.url)
        trust(station, self.folder / "plant.pub")
        self.leaves[name], self.stations[name] = leaf, station
        return station

    def start(self):
        self.hub.start()
        for leaf in self.leaves.values():
            leaf.start()
        self.fleet("init")

    def fleet(self, verb, *words, code=0):
        done = subprocess.run(self.command(verb, *words), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout + done.stderr

    def command(self, verb, *words):
        hub = ["--server", f"nats://127.0.0.1:{self.hub.port}", "--nkey", str(self.hub.folder / "operator.nk")]
        key = ["--key", str(self.folder / "plant.key"), "--config", str(self.config(self.source))]
        signs = key if verb.startswith("roll") else []
        return [sys.executable, "-m", "edge", "fleet", verb, *map(str, words), *hub, *signs]

    @staticmethod
    def config(station):
        return station.pipelines_dir.parent / "config.toml"

    def status(self):
        """How each station stands with the product, as the hub has it."""

        async def read(buckets):
            return rollout.acknowledged(await buckets.all(STATE))

        return {name: said.products.get(PRODUCT) for name, said in self.as_operator(read).items()}

    def pull(self, name, code=0):
        command = [sys.executable, "-m", "edge", "fleet", "pull", "--config", str(self.config(self.stations[name]))]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout

    def judges(self, name, manifest):
        state = self.status().get(name)
        return state is not None and state.active == manifest.archive_sha256 and state.is_judged

    def as_station(self, name, act, asked=None):
        """What this coroutine answers that is given the station's side of roll-outs, and its buckets."""
        return asyncio.run(self.act(name, act, asked))

    async def act(self, name, act, asked=None):
        station = self.stations[name]
        async with connected(self.leaves[name].url, **station_options(name)) as client:
            buckets = StationBuckets(client, name)
            tally = Tally(station.state_dir / "outbox.sqlite3")
            return await act(RolloutStation(station, buckets, asked or Silent(), tally), buckets)

    def turn(self, name, asked=None):
        return self.as_station(name, lambda rollouts, _: rollouts.turn(), asked)

    def as_operator(self, act):
        async def acted():
            async with connected(f"nats://127.0.0.1:{self.hub.port}", nkeys_seed_str=self.hub.seed) as client:
                return await act(OperatorBuckets(client))

        return asyncio.run(acted())

    def want(self, name, bundle, *, serial, signer=None, station=None):
        """A document as no operator would write it, where a test says so."""
        said = Wanted(station=station or name, serial=serial, products={PRODUCT: WantedProduct(bundle=bundle)})
        document = (signer or self.signer).sign("wanted", plan.encode(said))

        async def write(buckets):
            _, revision = await buckets.get(WANTED, name)
            assert await buckets.write(WANTED, name, document, revision) is not None

        self.as_operator(write)

    def wanted(self):
        return self.as_operator(lambda buckets: buckets.all(WANTED))

    def put(self, manifest, path=None):
        name = manifest.archive_sha256
        self.as_operator(lambda buckets: buckets.put(name, path or self.folder / name))

    def enroll(self, names):
        """Each says once that it is there."""
        for name in names:
            self.turn(name)

    def fetch_rate(self, name):
        """MB/s at which a station fetches the second bundle over its own server."""
        bundle, began = self.second.archive_sha256, time.monotonic()
        with (self.folder / "fetched").open("wb") as target:
            self.as_station(name, lambda _, buckets: buckets.fetch(bundle, target))
            return target.tell() / 1e6 / (time.monotonic() - began)
