"""Random faults of two GigE cameras and of the station's workers for as long as wanted, and what the station grows by.

    sudo python benchmarks/camera_soak.py [--minutes 30] [--rate 10] [--seed 0] [--every 30] [--json]

A station with Debian's fake camera, triggered by the station, and our own, free-running, each behind a cable of its own.
Faults follow each other without a plan: packets lost, power lost, cable pulled, camera hanging, mute or frozen, a worker
killed. After each, pictures must come again. Every 30 s the station is looked at: memory, descriptors and threads of each
process, slots, counters. Exits 1 where an invariant is broken or something grew from the first third to the last.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from camera_devices import ANY_CAMERA, OWN_CAMERA
from camera_station import SLOTS, assert_right, station, teach

CAMERAS = {"stock": ("stock", "software"), "own": ("own", "free")}
WORKERS = ("capture@stock", "capture@own", "inspection", "publish")
# One fault in so many is the death of a worker.
WORKER_SHARE = 0.15
LASTS_S, PAUSE_S = (0.5, 6.0), (1.0, 4.0)
# From the first third to the last: what an allocator and a database's cache may take besides, and one connection.
GROWN_BYTES, GROWN_DESCRIPTORS, GROWN_THREADS = 16 << 20, 2, 2


class Looks(threading.Thread):
    """Looks at every process of the station until stopped."""

    def __init__(self, bench, every_s):
        super().__init__(daemon=True)
        self._bench, self._every_s, self._over = bench, every_s, threading.Event()
        self._began_s = time.monotonic()
        self.rows = []

    def run(self):
        while not self._over.wait(self._every_s):
            self.rows.append(self._look())
            print(line_of(self.rows[-1]), flush=True)

    def stop(self):
        self._over.set()
        self.join()

    def _look(self):
        totals = Counter()
        for name, value in self._bench.daemon.metrics().items():
            totals[name.partition("{")[0].removeprefix("goldline_")] += value
        processes = {"supervisor": self._bench.daemon.process.pid, **self._bench.daemon.workers()}
        return {
            "at_s": round(time.monotonic() - self._began_s),
            "slots": int(totals["ring_slots"]),
            "triggers": int(totals["triggers_total"]),
            "verdicts": int(totals["verdicts_total"]),
            "events": int(totals["events_written_total"]),
            "reconnects": int(totals["camera_reconnects_total"]),
            "processes": {name: held for name, pid in processes.items() if (held := held_by(pid)) is not None},
        }


def held_by(pid):
    """Memory, descriptors and threads; None for one that is just being replaced."""
    try:
        status = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        # Without pages of files and of the rings, which are shared and touched one after another.
        return {"bytes": int(status["RssAnon"].split()[0]) << 10, "fds": descriptors, "threads": int(status["Threads"])}
    except (OSError, KeyError):
        return None


def line_of(row):
    held = "; ".join(
        f"{name} {one['bytes'] >> 20} MiB {one['fds']} fds {one['threads']} threads"
        for name, one in row["processes"].items()
    )
    return (
        f"{row['at_s']:5} s: {row['triggers']} triggers, {row['verdicts']} verdicts, {row['reconnects']} reconnects, "
        f"{row['slots']} slots; {held}"
    )


def make_trouble(bench, chance):
    """One fault of one camera or the death of one worker, and pictures again. Returns its name and how long they took."""
    if chance.random() < WORKER_SHARE:
        worker = chance.choice(WORKERS)
        bench.kill(worker)
        ended_ns, name, cameras = time.time_ns(), f"{worker} killed", list(CAMERAS)
    else:
        camera = chance.choice(list(CAMERAS))
        device = bench.devices[camera]
        fault = chance.choice(ANY_CAMERA + (OWN_CAMERA if device.kind == "own" else ()))
        with fault(device):
            time.sleep(chance.uniform(*LASTS_S))
        ended_ns, name, cameras = time.time_ns(), f"{camera} {fault.__name__}", [camera]
    again_ns = max(bench.listener.first_picture_ns(camera, ended_ns) for camera in cameras)
    return name, (again_ns - ended_ns) / 1e9


def soak(bench, minutes, chance):
    """Trouble until the time is up. Returns the seconds to pictures again, by fault."""
    until, took_s = time.monotonic() + 60 * minutes, {}
    while time.monotonic() < until:
        time.sleep(chance.uniform(*PAUSE_S))
        name, again_s = make_trouble(bench, chance)
        took_s.setdefault(name, []).append(again_s)
    return took_s


def thirds(rows):
    """Medians of the first third and of the last, by process and what it holds."""
    third = max(1, len(rows) // 3)
    compared = {}
    for name in ("supervisor", *WORKERS):
        for what in ("bytes", "fds", "threads"):
            first, last = (
                [row["processes"][name][what] for row in part if name in row["processes"]]
                for part in (rows[:third], rows[-third:])
            )
            if first and last:
                compared[name, what] = statistics.median(first), statistics.median(last)
    return compared


def growths(compared):
    """What grew beyond its bound."""
    bounds = {"bytes": GROWN_BYTES, "fds": GROWN_DESCRIPTORS, "threads": GROWN_THREADS}
    return [
        f"{name} {what}: {first:.0f} to {last:.0f}"
        for (name, what), (first, last) in compared.items()
        if last - first > bounds[what]
    ]


def report(books, took_s, rows):
    """Prints it for people. Returns what is wrong."""
    compared = thirds(rows)
    print("fault: times, seconds to pictures again: median, longest")
    for name, each in sorted(took_s.items()):
        print(f"  {name}: {len(each)}, {statistics.median(each):.2f}, {max(each):.2f}")
    print("first third to last third, medians")
    for (name, what), (first, last) in compared.items():
        scale, unit = (1 << 20, "MiB") if what == "bytes" else (1, what)
        print(f"  {name}: {first / scale:.1f} to {last / scale:.1f} {unit}")
    print(" · ".join(f"{key} {value}" for key, value in books.items()))
    wrong = growths(compared)
    killed = sum(len(each) for name, each in took_s.items() if name.partition(" ")[0] in WORKERS)
    if sum(books["worker_restarts"].values()) != killed:
        wrong.append(f"{killed} workers were killed, and died: {books['worker_restarts']}")
    # A frame of each camera may be between the camera and capture at the moment of a look.
    if max(row["slots"] for row in rows) < len(CAMERAS) * (SLOTS - 1) or rows[-1]["slots"] > len(CAMERAS) * SLOTS:
        wrong.append(f"slots are missing: {[row['slots'] for row in rows]}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=10.0, help="triggers or frames a second")
    parser.add_argument("--seed", type=int, default=0, help="of the order of faults")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between looks")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goldline-soak-") as name:
        taught = Path(name, "taught")
        teach(taught)
        with station(taught, Path(name, "station"), CAMERAS, arguments.rate) as bench:
            looks = Looks(bench, arguments.every)
            looks.start()
            took_s = soak(bench, arguments.minutes, random.Random(arguments.seed))  # noqa: S311 - no secret
            looks.stop()
            books = bench.books()
    wrong = report(books, took_s, looks.rows)
    if arguments.json:
        print(json.dumps({"books": books, "again_s": took_s, "looks": looks.rows, "wrong": wrong}))
    assert_right(books)
    if wrong:
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
