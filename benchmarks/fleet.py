"""Ten stations, ten devices' NATS servers and one hub on this machine: what comes, how soon, and at what cost.

    python benchmarks/fleet.py [--stations 10] [--whole 2] [--rate 2] [--seconds 20] [--backlog 3600] [--json]

`--whole` of the stations are whole (`goldline run` with a simulated camera of 320 x 240 that runs at `--rate`); of the
others publish, SYNC and the uplink are real processes and this program plays camera and inspection, which a machine with
two cores has no room for ten times. Servers are those of the wheel with the configurations that a technician gets, each
event flushed to the disk on the device and at the hub. Steps, and a reader at the hub all the while:
1. `--seconds` undisturbed: the time from a verdict to the reader;
2. the hub is killed for as long, and started again;
3. of three stations the server is killed, of three others the uplink;
4. one device is replaced from nothing; another loses its server's disk while the hub is away;
5. one station has said `--backlog` events while its uplink was away.
At the end every outbox is held against what the reader got: all of it, in order, each once.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

from command_line import Parser, above_zero, at_least, need, run, without_module, without_tests

need(without_tests(), without_module("nats", "fleet"))

import nats  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' fleet, and their station of which publish is real

from edge import rehearsal  # noqa: E402
from edge.fleet.words import ANY_EVENT, PLANT_STREAM  # noqa: E402
from tests.fleet_bench import ID, MIB, Hub, Leaf, Uplink  # noqa: E402
from tests.stations import CAMERA, RECIPE, write_recipe  # noqa: E402
from tests.sync_line import SyncLine, sync_lines  # noqa: E402

WITHIN_S = 300.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Reader:
    """A program of the plant, on a thread; it survives the hub."""

    def __init__(self, hub: Hub) -> None:
        self.got: dict[tuple[str, str], list[int]] = {}
        self.delays: list[tuple[float, float]] = []
        self.repeated = 0
        self._hub, self._is_over = hub, False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._read()), daemon=True)
        self._thread.start()

    async def _read(self) -> None:
        while not self._is_over:
            try:
                client = await nats.connect(
                    f"nats://127.0.0.1:{self._hub.port}", nkeys_seed_str=self._hub.seed, allow_reconnect=False
                )
                async with client:
                    js = client.jetstream()
                    source = await js.pull_subscribe(ANY_EVENT, durable="bench", stream=PLANT_STREAM)
                    while client.is_connected and not self._is_over:
                        try:
                            messages = await source.fetch(200, timeout=0.5)
                        except TimeoutError:
                            continue
                        for message in messages:
                            self._take(message)
                            await message.ack()
            except (nats.errors.Error, nats.js.errors.Error, OSError):
                await asyncio.sleep(0.3)

    def _take(self, message: Any) -> None:
        now_s = time.time()
        found = ID.fullmatch(message.headers["Nats-Msg-Id"])
        if found is None:
            return
        numbers = self.got.setdefault((message.subject.split(".")[4], found["stream"]), [])
        if numbers and int(found["sequence"]) <= numbers[-1]:
            self.repeated += 1
            return
        numbers.append(int(found["sequence"]))
        self.delays.append((now_s, now_s - datetime.fromisoformat(json.loads(message.data)["time"]).timestamp()))

    def close(self) -> None:
        self._is_over = True
        self._thread.join(10)

    @property
    def count(self) -> int:
        return sum(map(len, list(self.got.values())))


class Part:
    """A station whose camera and inspection this program plays."""

    def __init__(self, folder: Path, leaf: Leaf, stack: ExitStack) -> None:
        folder.mkdir()
        self.name, self.leaf, self.is_whole = leaf.station, leaf, False
        fleet = {"server": leaf.url, "max_bytes": 256 * MIB}
        self.line: SyncLine = stack.enter_context(sync_lines(folder, station_id=leaf.station, fleet=fleet))
        self.uplink = Uplink(self.line.station)
        stack.callback(self.uplink.kill)
        self.line.start_both()
        self.uplink.start()
        self.earlier: dict[str, list[int]] = {}

    @property
    def outbox(self) -> Path:
        return self.line.station.state_dir / "outbox.sqlite3"

    def pids(self) -> list[int]:
        return [self.uplink.child.pid or 0]

    def kill_uplink(self) -> None:
        self.uplink.kill()
        self.uplink.start()

    def renew(self) -> None:
        """Another device with the same name: nothing is left."""
        self.uplink.kill()
        self.leaf.kill()
        self.earlier = record(self.outbox)
        self.leaf.wipe()
        self.line.kill_all()
        for peer in list(self.line.peers):
            self.line.unlink(peer)
        self.line.logs.clear()
        shutil.rmtree(self.line.station.state_dir)
        shutil.rmtree(self.line.station.runtime_dir)
        self.leaf.start()
        self.line.start_both()
        self.uplink.start()


class Whole:
    """`goldline run`."""

    def __init__(self, folder: Path, leaf: Leaf, stack: ExitStack, taught: Path, rate_hz: float) -> None:
        self.name, self.leaf, self.is_whole = leaf.station, leaf, True
        self.config = rehearsal.write_config(folder, {"left": {**CAMERA, "rate_hz": rate_hz}})
        (folder / "state").mkdir()
        (folder / "state" / "references").symlink_to(taught / "state" / "references")
        (folder / "pipelines").symlink_to(taught / "pipelines")
        text = self.config.read_text().replace('station_id = "rehearsal"', f'station_id = "{leaf.station}"')
        self.config.write_text(f'{text}\n[fleet]\nserver = "{leaf.url}"\nmax_bytes = {256 * MIB}\n')
        self.daemon = stack.enter_context(rehearsal.running(self.config))
        self.outbox = folder / "state" / "outbox.sqlite3"
        self.earlier: dict[str, list[int]] = {}

    def pids(self) -> list[int]:
        return [self.daemon.workers().get("uplink", 0)]

    def kill_uplink(self) -> None:
        os.kill(self.pids()[0], 9)


def record(outbox: Path) -> dict[str, list[int]]:
    """The numbers in an outbox, by its stream."""
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as db:
        (stream,) = db.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()
        return {stream: [number for (number,) in db.execute("SELECT sequence FROM events ORDER BY sequence")]}


class Plant:
    """All of it."""

    def __init__(self, folder: Path, stack: ExitStack, stations: int, whole: int, rate_hz: float) -> None:
        self.hub, self.rate_hz = Hub(folder / "hub"), rate_hz
        leaves = [Leaf(folder / f"leaf{at}", f"cell{at}", self.hub) for at in range(stations)]
        for server in (self.hub, *leaves):
            stack.callback(server.kill)
            server.start()
        self.hub.init()
        for leaf in leaves:
            self.hub.add(leaf.station)
        taught = folder / "taught"
        if whole:
            teach(taught)
        self.stations: list[Part | Whole] = [
            Whole(folder / leaf.station, leaf, stack, taught, rate_hz)
            if at < whole
            else Part(folder / leaf.station, leaf, stack)
            for at, leaf in enumerate(leaves)
        ]
        self.parts = [one for one in self.stations if isinstance(one, Part)]
        self.reader = Reader(self.hub)
        stack.callback(self.reader.close)

    def speak(self, seconds: float) -> None:
        """Every station says what it decides, for so long."""
        until_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < until_s:
            for part in self.parts:
                part.line.say(1)
            time.sleep(max(0.0, now_s + 1 / self.rate_hz - time.monotonic()))

    def said(self) -> int:
        return sum(len(numbers) for one in self.stations for numbers in record(one.outbox).values())

    def wait_level(self) -> float:
        """Until the reader has what was said by now; how long that took, s."""
        began_s = time.monotonic()
        wanted = {one.name: record(one.outbox) for one in self.stations}

        def is_level() -> bool:
            return all(
                numbers[-1:] <= self.reader.got.get((name, stream), [])[-1:]
                for name, streams in wanted.items()
                for stream, numbers in streams.items()
            )

        while not is_level():
            if time.monotonic() - began_s > WITHIN_S:
                raise SystemExit("the reader did not get everything")
            time.sleep(0.05)
        return time.monotonic() - began_s


def teach(folder: Path) -> None:
    """A product that whole stations inspect."""
    config = rehearsal.write_config(folder, {"left": CAMERA})
    write_recipe(folder, RECIPE)
    rehearsal.draw_good_parts(folder / "good", 20, (CAMERA["width"], CAMERA["height"]))
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", folder / "good", "--config", config)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far; 0 for one that is not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 for one that is not there."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def store_bytes(folder: Path) -> int:
    """On the disk, in blocks."""
    return sum(os.stat(Path(place, name)).st_blocks * 512 for place, _, names in os.walk(folder) for name in names)


def quantiles_ms(delays: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(delays, n=100)
    return {"p50": round(cut[49] * 1e3, 1), "p99": round(cut[98] * 1e3, 1), "most": round(max(delays) * 1e3, 1)}


def undisturbed(plant: Plant, seconds: float) -> dict[str, Any]:
    plant.speak(3)
    plant.wait_level()
    before_n, began_s = plant.reader.count, time.time()
    pids = {
        "hub": [plant.hub.popen.pid] if plant.hub.popen else [],
        "device_server": [one.leaf.popen.pid for one in plant.stations if one.leaf.popen],
        "uplink": [pid for one in plant.stations for pid in one.pids()],
    }
    used = {name: sum(map(cpu_s, ones)) for name, ones in pids.items()}
    plant.speak(seconds)
    plant.wait_level()
    events = plant.reader.count - before_n
    return {
        "events": events,
        "verdict_to_reader_ms": quantiles_ms([delay for at, delay in plant.reader.delays if at >= began_s]),
        "cpu_ms_per_event": {k: round((sum(map(cpu_s, v)) - used[k]) / events * 1e3, 2) for k, v in pids.items()},
        "resident_mib": {k: round(max(map(resident_bytes, v)) / MIB, 1) for k, v in pids.items()},
    }


def hub_away(plant: Plant, seconds: float) -> dict[str, Any]:
    """Killed; one device loses its server's disk meanwhile, which its outbox makes good."""
    lost = plant.parts[-1]
    kept = plant.parts[0]
    bytes_before, said_before = store_bytes(kept.leaf.store), len(next(iter(record(kept.outbox).values())))
    plant.hub.kill()
    plant.speak(seconds)
    time.sleep(1)
    held = len(next(iter(record(kept.outbox).values()))) - said_before
    grown = store_bytes(kept.leaf.store) - bytes_before
    lost.leaf.kill()
    lost.leaf.wipe()
    lost.leaf.start()
    before_n = plant.reader.count
    plant.hub.start()
    took_s = plant.wait_level()
    events = plant.reader.count - before_n
    return {"events": events, "level_after_s": round(took_s, 1), "device_bytes_per_event": round(grown / max(1, held))}


def kills(plant: Plant) -> dict[str, Any]:
    for one in plant.stations[:3]:
        one.leaf.kill()
        plant.speak(1)
        one.leaf.start()
    for one in plant.stations[-3:]:
        one.kill_uplink()
        plant.speak(1)
    return {"level_after_s": round(plant.wait_level(), 1)}


def replaced(plant: Plant) -> dict[str, Any]:
    plant.parts[1].renew()
    plant.speak(5)
    return {"level_after_s": round(plant.wait_level(), 1)}


def backlog(plant: Plant, events: int) -> dict[str, Any]:
    part = plant.parts[2]
    part.uplink.kill()
    part.line.kill_all()
    part.line.fill(events)
    for peer in list(part.line.peers):
        part.line.unlink(peer)
    part.line.start_both()
    part.uplink.start()
    took_s = plant.wait_level()
    return {"events": events, "took_s": round(took_s, 1), "events_per_s": round(events / took_s)}


def verdict(plant: Plant) -> dict[str, Any]:
    """Every outbox against what the reader got."""
    wrong: list[str] = []
    for one in plant.stations:
        # `is_whole` stations go on meanwhile: what the reader has is a beginning of it.
        for stream, numbers in record(one.outbox).items():
            got = plant.reader.got.get((one.name, stream), [])
            if got != numbers[: len(got)] or len(got) < len(numbers) - 20 * one.is_whole:
                wrong.append(f"{one.name} {stream}: {len(got)} of {len(numbers)}")
        for stream, numbers in one.earlier.items():
            got = plant.reader.got.get((one.name, stream), [])
            if got != numbers[: len(got)]:
                wrong.append(f"{one.name}, before it was replaced: {len(got)} of {len(numbers)}, not in order")
    hub_bytes = store_bytes(plant.hub.store)
    return {
        "stations": len(plant.stations),
        "events_at_reader": plant.reader.count,
        "repetitions_at_hub": plant.reader.repeated,
        "hub_bytes_per_event": round(hub_bytes / max(1, plant.hub.count())),
        "wrong": wrong,
    }


def measure(stations: int, whole: int, rate_hz: float, seconds: float, events: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plant = Plant(Path(folder), stack, stations, whole, rate_hz)
        found: dict[str, Any] = {}
        for name, step in {
            "undisturbed": lambda: undisturbed(plant, seconds),
            "hub_killed": lambda: hub_away(plant, seconds),
            "kills": lambda: kills(plant),
            "replaced": lambda: replaced(plant),
            "backlog": lambda: backlog(plant, events),
            "all": lambda: verdict(plant),
        }.items():
            found[name] = step()
            print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
        return found


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--stations", type=at_least(4), default=10)
    parser.add_argument("--whole", type=at_least(0), default=2)
    parser.add_argument("--rate", type=above_zero, default=2.0, help="verdicts a second of each station")
    parser.add_argument("--seconds", type=above_zero, default=20.0)
    parser.add_argument("--backlog", type=at_least(1), default=3600)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.stations, arguments.whole, arguments.rate, arguments.seconds, arguments.backlog)
    if arguments.json:
        print(json.dumps(found))
    if found["all"]["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    run(main)
