"""A plant of stations on one machine, for `fleet.py`: hub, devices' servers, stations whole and in parts, and a reader."""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
import threading
import time
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

from command_line import need, without_module, without_tests

need(without_tests(), without_module("nats", "fleet"))

import nats  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' fleet, and their station of which publish is real

from edge import rehearsal  # noqa: E402
from edge.fleet.words import ANY_EVENT, PLANT_STREAM  # noqa: E402
from tests.fleet_bench import ID, MIB, Hub, Leaf, Uplink  # noqa: E402
from tests.stations import CAMERA, RECIPE, write_recipe  # noqa: E402
from tests.sync_line import SyncLine, sync_lines  # noqa: E402

WITHIN_S = 300.0


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
