"""A disk that fills up, hangs or fails, and a clock that jumps, under a running station: what PLC, MES and log saw.

    sudo python benchmarks/disk_faults.py [--seconds 6] [--only NAME …] [--json]

For each fault a station of its own, its state on a small disk (a loop device), its runtime directory in another place, as
under systemd. Two cameras: one that a PLC triggers over Modbus TCP as fast as the handshake goes, one that another program
triggers over the command socket, 20 a second; a consumer keeps every event. The clock is `libfaketime`'s (Debian's
`faketime`), for the station alone; CLOCK_MONOTONIC is left as it is. Needs root and a loop device; a fault whose program is
not there (fsfreeze, faketime) has a row that says what is missing.

    before, during, after   the PLC's results, its triggers that were refused, and the orders that were accepted and refused
    silent_ms               the PLC's longest wait for a result that it was promised
    alarms                  what the station's state said while it lasted
    resumed_s               from the fault's end to the next accepted order; null: nothing was ever refused
    unanswered              accepted orders without an event that are not named by one that says what has no record either
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import chaos
import chaos_station
from command_line import Parser, above_zero, cannot, need, run, without, without_module, without_root, without_tests
from plc_program import Program

from edge import events, rehearsal

if lacking := without_tests():
    cannot(f"needs {lacking}")
sys.path.insert(0, str(Path(__file__).parent.parent))
import pytest

from tests.small_disk import small_disk

DISK_MIB = 40
BEFORE_S, AFTER_S = 3.0, 5.0
MUST_BE_0 = ("unanswered", "twice", "consumer_missing", "pass_without_frame")
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@contextmanager
def full(bench):
    """Somebody else's file takes all the room there is; it grows again where something is let go."""
    over = threading.Event()

    def keep_full():
        while not over.wait(0.2):
            bench.disk.fill()

    bench.disk.fill()
    filler = threading.Thread(target=keep_full)
    filler.start()
    yield
    over.set()
    filler.join()
    bench.disk.empty()


@contextmanager
def held(bench):
    """Whoever writes or flushes, waits."""
    bench.disk.hold()
    yield
    bench.disk.let_go()


@contextmanager
def read_only(bench):
    """The kernel finds an error in the file system; it stays so until the station is stopped and the disk is repaired."""
    bench.disk.breaks()
    bench.is_broken = True
    yield


def repaired(bench):
    """What a person does about it: unmount, check, mount."""
    subprocess.run(["umount", bench.disk.path], check=True)
    image = bench.directory / "disk.img"
    # 1: errors were corrected.
    assert subprocess.run(["e2fsck", "-fy", image], capture_output=True, check=False).returncode in {0, 1}
    subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, bench.disk.path], check=True)


def clock(hours):
    @contextmanager
    def shifted(bench):
        bench.clock.write_text(f"{hours:+d}h\n")
        yield
        bench.clock.write_text("+0\n")

    return shifted


# Name, fault, what is set in [outbox], the program that it needs and Debian's package of it.
FAULTS = (
    ("full, policy stop", full, {"when_disk_full": "stop"}, None),
    ("full, policy lanes", full, {"when_disk_full": "lanes"}, None),
    ("hangs (fsfreeze)", held, {}, ("fsfreeze", "util-linux")),
    ("read-only by an error", read_only, {}, ("e2fsck", "e2fsprogs")),
    ("clock +1 h and back", clock(1), {}, (FAKETIME, "faketime")),
    ("clock -1 h and back", clock(-1), {}, (FAKETIME, "faketime")),
)


class Bench:
    """A station on a small disk, with everything around it."""

    def __init__(self, directory, disk, taught, settings):
        self.disk, self.clock, self.directory = disk, directory / "clock", directory
        self.clock.write_text("+0\n")
        (disk.path / "state").mkdir()
        (directory / "state").symlink_to(disk.path / "state")
        shutil.copytree(taught / "state" / "references", directory / "state" / "references", symlinks=True)
        # `goldline teach` flushes what it writes; a mere copy would go with the disk that breaks.
        os.sync()
        (directory / "pipelines").symlink_to(taught / "pipelines")
        self.port = rehearsal.free_ports(1)[0]
        config = rehearsal.write_config(directory, chaos_station.tables(2, 1000.0))
        given = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        lane = f'\n[lanes.modbus]\nlisten = "127.0.0.1:{self.port}"\nchannels = ["camera0"]\n'
        text = config.read_text().replace("[outbox]\n", f"[outbox]\n{given}")
        config.write_text('runtime_dir = "run"\n' + text + lane)
        self.config = config
        self.alarms, self.over, self.is_broken = Counter(), threading.Event(), False

    def environment(self):
        library = min(Path("/").glob(FAKETIME.lstrip("/")))
        return {
            # Read once a second: a read at each look at the clock would slow the station down.
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    def watch(self, station):
        """Collect the alarms that the state names."""
        while not self.over.wait(0.3):
            state = station.state()
            self.alarms.update(alarm["name"] for alarm in (state or {}).get("alarms", ()))


def suffer(bench, fault, seconds, *, is_clock):
    """One fault; returns what was seen."""
    station = chaos_station.Station(bench.config, bench.environment() if is_clock else None)
    consumer = chaos_station.Consumer(station, bench.directory)
    try:
        station.drain()
        program = Program(bench.port)
        with chaos.ordering(station, ["camera1"], 20, bench.directory):
            program.start()
            time.sleep(BEFORE_S)
            watcher = threading.Thread(target=bench.watch, args=[station])
            began = time.time()
            with fault(bench):
                watcher.start()
                time.sleep(seconds)
                bench.over.set()
            ended = time.time()
            watcher.join()
            time.sleep(AFTER_S)
            program.over.set()
            program.join()
        station.drain()
        chaos.wait_consumed(bench.directory, station.drain())
        station.stop()
        starts = station.starts
        if bench.is_broken:
            repaired(bench)
            station = chaos_station.Station(bench.config)
            chaos.wait_consumed(bench.directory, station.drain())
            station.stop()
    finally:
        station.kill()
        consumer.stop()
    return {**seen(bench, program, began, ended), "alarms": sorted(bench.alarms), "restarts": restarts(bench, starts)}


def seen(bench, program, began, ended):
    """Counts of each time, and whether everything was answered."""
    accepted = chaos.read_lines(bench.directory / "triggers.jsonl")
    others = chaos.read_lines(bench.directory / "orders.jsonl")
    rows = program.rows + [(row["t"], "accepted") for row in accepted]
    rows += [(row["t"], f"order {row['outcome']}") for row in others]
    phases = {"before": (0.0, began), "during": (began, ended), "after": (ended, float("inf"))}
    counts = {
        name: dict(Counter(what for at, what in rows if first <= at < last)) for name, (first, last) in phases.items()
    }
    refused = [row for row in others if row["outcome"] == "refused" and row["t"] >= began]
    back = [row["t"] - ended for row in accepted if row["t"] >= ended]
    return {
        **counts,
        "silent_ms": round(max(program.waits_ms, default=0)),
        "refusals": sorted({row["error"] for row in refused}),
        "resumed_s": round(min(back), 2) if refused and back else None,
        **answered(bench, accepted),
    }


def answered(bench, accepted):
    """Every accepted order against the record, and the record against the consumer's."""
    with closing(sqlite3.connect(f"file:{bench.directory / 'state' / 'outbox.sqlite3'}?mode=ro", uri=True)) as database:
        bodies = database.execute("SELECT sequence, body FROM events ORDER BY sequence").fetchall()
    results = [(sequence, events.decode(body).data) for sequence, body in bodies]
    ids = Counter(result.trigger_id for _, result in results if result.trigger_id is not None)
    named = [one for _, result in results for one in result.interrupted]
    without = [row["trigger_id"] for row in accepted if row["trigger_id"] not in ids]
    heard = {row["sequence"] for row in chaos.read_lines(bench.directory / "events.jsonl")}
    return {
        "unanswered": sum(not any(one.first <= number <= one.last for one in named) for number in without),
        "without_record_but_named": sum(any(one.first <= number <= one.last for one in named) for number in without),
        "twice": sum(count > 1 for count in ids.values()),
        "consumer_missing": sum(sequence not in heard for sequence, _ in results),
        "pass_without_frame": sum(r.verdict == "PASS" and r.frame_id is None for _, r in results),
    }


def restarts(bench, starts):
    """Processes that died, by name, the station itself included."""
    lines = [line for line in bench.config.with_suffix(".log").read_text().splitlines() if line.startswith("{")]
    died = Counter(
        f"{row['child']} ({row['cause']})" for row in map(json.loads, lines) if row["event"] == "worker died"
    )
    return dict(died) | ({"supervisor": starts - 1} if starts > 1 else {})


def measure(directory, taught, row, seconds):
    """One fault; what was seen, or what is missing."""
    fault, inject, settings, needed = row
    if needed and (missing := without(*needed)):
        print(f"{fault}: not measured, needs {missing}", file=sys.stderr)
        return {"fault": fault, "missing": missing}
    directory.mkdir()
    try:
        with small_disk(directory, DISK_MIB) as disk:
            bench = Bench(directory, disk, taught, settings)
            return {"fault": fault, **suffer(bench, inject, seconds, is_clock=fault.startswith("clock"))}
    except (pytest.skip.Exception, pytest.fail.Exception) as lacking:
        print(f"{fault}: not measured: {lacking}", file=sys.stderr)
        return {"fault": fault, "missing": str(lacking)}


def main():
    parser = Parser(__doc__)
    parser.add_argument("--seconds", type=above_zero, default=6.0, help="that each fault lasts")
    parser.add_argument("--only", nargs="+", help="the faults whose names begin so")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    chosen = [row for row in FAULTS if not arguments.only or row[0].startswith(tuple(arguments.only))]
    if not chosen:
        cannot(f"no fault begins so; there are: {', '.join(row[0] for row in FAULTS)}")
    need(without_root(), without("mke2fs", "e2fsprogs"), without_module("pyModbusTCP", "modbus"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="goldline-disk-") as name:
        taught = Path(name, "taught")
        chaos_station.prepare(taught, 2, 1000.0, [])
        for index, row in enumerate(chosen):
            rows.append(measure(Path(name, str(index)), taught, row, arguments.seconds))
            if not arguments.json:
                print(json.dumps(rows[-1], indent=1), flush=True)
    if arguments.json:
        print(json.dumps({"faults": rows}))
    measured = [row for row in rows if "missing" not in row]
    if not measured:
        cannot("nothing could be measured")
    broken = [row["fault"] for row in measured if any(row[name] for name in MUST_BE_0)]
    if broken:
        raise SystemExit("broken: " + ", ".join(broken))


if __name__ == "__main__":
    run(main)
