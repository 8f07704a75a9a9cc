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

import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from command_line import Parser, above_zero, at_least, need, run, without_module, without_tests

need(without_tests(), without_module("nats", "fleet"))


sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' fleet, and their station of which publish is real

from fleet_plant import Plant, record  # noqa: E402

from tests.fleet_bench import MIB  # noqa: E402

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


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
