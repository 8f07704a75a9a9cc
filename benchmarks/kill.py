"""SIGKILL of each worker under load: when the next verdict comes, and whether anything was lost.

    python benchmarks/kill.py [--kills 10] [--cameras 2] [--rate 25] [--json]

A station of simulated cameras runs; a subscriber takes the time of every event. Each worker in turn is killed several
times. `next_verdict_ms`: from the kill to the first event of a frame that was taken after it and judged (not ERROR),
on any camera the worker serves. Afterwards: triggers == verdicts + in flight by the station's own counters, and
in the outbox every sequence number once, every trigger once; every ring slot accounted for.
"""

import argparse
import json
import os
import signal
import sqlite3
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from edge import client, rehearsal
from edge.errors import GoldlineError

SIZE = (640, 480)
REFERENCES = 60
SETTLE_S = 1.5


class Listener:
    """Every event, with the time it came, UTC ns."""

    def __init__(self, addresses):
        self.events, self.joined = [], threading.Event()
        threading.Thread(target=self._listen, args=[addresses], daemon=True).start()

    def _listen(self, addresses):
        notify = client.Notify(begun=lambda _: self.joined.set())
        heard = client.Subscriber(live=addresses["live"], sync=addresses["sync"], silence_s=20, notify=notify)
        try:
            with heard:
                for event in heard:
                    self.events.append((time.time_ns(), event.data, int(event.sequence)))
        except GoldlineError:
            return

    def next_verdict_ns(self, after_ns, cameras, timeout_s=30):
        until = time.monotonic() + timeout_s
        index = 0
        while time.monotonic() < until:
            while index < len(self.events):
                received_ns, result, _ = self.events[index]
                index += 1
                taken_after = result.captured is not None and result.captured.timestamp() * 1e9 > after_ns
                if taken_after and result.verdict != "ERROR" and result.camera in cameras:
                    return received_ns
            time.sleep(0.002)
        raise SystemExit(f"no verdict within {timeout_s} s of the kill")


def kill_each(daemon, listener, cameras, kills):
    times_ms = {}
    for worker in (*(f"capture@{camera}" for camera in cameras[:1]), "inspection", "publish"):
        served = [worker.partition("@")[2]] if "@" in worker else cameras
        times_ms[worker] = []
        for _ in range(kills):
            time.sleep(SETTLE_S)
            killed_ns = time.time_ns()
            os.kill(daemon.workers()[worker], signal.SIGKILL)
            times_ms[worker].append((listener.next_verdict_ns(killed_ns, served) - killed_ns) / 1e6)
    return times_ms


def books(daemon, listener, slots, outbox):
    """What must hold after everything."""
    for _ in range(100):
        totals = Counter()
        for name, value in daemon.metrics().items():
            totals[name.partition("{")[0]] += value
        triggers, verdicts = totals["goldline_triggers_total"], totals["goldline_verdicts_total"]
        if triggers == verdicts + totals["goldline_triggers_in_flight"]:
            break
        time.sleep(0.05)
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT sequence, trigger_id FROM events ORDER BY sequence").fetchall()
    ids = Counter(trigger_id for _, trigger_id in rows if trigger_id is not None)
    numbers = [sequence for sequence, _ in rows]
    # What is said while publish is away, or before the subscriber is connected again, it fetches afterwards.
    heard = [sequence for _, _, sequence in listener.events]
    missed = sum(b - a - 1 for a, b in pairwise(heard))
    return {
        "triggers": int(triggers),
        "verdicts": int(verdicts),
        "in_flight": int(totals["goldline_triggers_in_flight"]),
        "duplicates": sum(count > 1 for count in ids.values()),
        "sequence_gaps": sum(b - a != 1 for a, b in pairwise(numbers)),
        "events_missed_by_subscriber": missed,
        # One frame a camera may be between the camera and capture at the moment the gauges are read.
        "slots_missing": max(0, int(slots - totals["goldline_ring_slots"])),
        "errors": dict(Counter(str(result.reason) for _, result, _ in listener.events if result.verdict == "ERROR")),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    camera = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": arguments.rate, "prerendered": 32}
    cameras = [f"camera{number}" for number in range(arguments.cameras)]
    with tempfile.TemporaryDirectory(prefix="goldline-kill-") as name:
        directory = Path(name)
        rehearsal.draw_good_parts(directory / "good", REFERENCES, SIZE)
        config = rehearsal.write_config(directory, dict.fromkeys(cameras, camera))
        rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
        with rehearsal.running(config) as daemon:
            listener = Listener(rehearsal.settings(config)["events"])
            listener.joined.wait(10)
            times_ms = kill_each(daemon, listener, cameras, arguments.kills)
            result = {"books": books(daemon, listener, 8 * len(cameras), directory / "state" / "outbox.sqlite3")}
    result["next_verdict_ms"] = {
        worker: {
            "p50": round(statistics.median(each)),
            "min": round(min(each)),
            "max": round(max(each)),
            "kills": len(each),
        }
        for worker, each in times_ms.items()
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{'killed':18} {'kills':>5} {'next verdict ms: p50':>22} {'min':>6} {'max':>6}")
    for worker, row in result["next_verdict_ms"].items():
        print(f"{worker:18} {row['kills']:5} {row['p50']:22} {row['min']:6} {row['max']:6}")
    print(*(f"{key} {value}" for key, value in result["books"].items()), sep=" · ")


if __name__ == "__main__":
    main()
