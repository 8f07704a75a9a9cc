"""The installed service, undisturbed, for as long as wanted: what it grows by, and whether it gets slower.

    sudo python benchmarks/soak.py [--minutes 30] [--cameras 4] [--rate 5] [--every 10] [--json]

A device of Debian's packages is booted with systemd as PID 1, Goldline installed on it by its wheel and its unit, its
state on this machine's disk. Simulated cameras run freely, each at --rate frames a second; a subscriber hears every
event. After half a minute to settle the station is looked at every --every seconds. Printed: medians of the first quarter
of the looks and of the last, and `flat`, or what is not. Exits 1 where something grew, or an answer is missing.

    private, shared    of each process, by /proc/PID/smaps_rollup: pages of its own, and rings and libraries
    log                what the unit wrote to the journal, bytes and lines a minute
    p99                frame complete in the ring to event committed, of the time since the look before
"""

import json
import os
import re
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from booted_station import installed, need_a_device, teach
from command_line import Parser, above_zero, at_least, run

from edge.vitals import quantile_s
from tests.stations import RECIPE, record

SIZE = (640, 480)
SETTLE_S = 30.0
# From the first quarter to the last: what an allocator and a database's cache may take besides, and one connection.
GROWN = {"private": 8 << 20, "shared": 8 << 20, "fds": 1, "threads": 0, "series": 0, "log_bytes": 2000, "log_lines": 10}
# Of a machine that others share, by so much the longest answers may differ.
SLOWER = 1.5
LATENCY = "goldline_capture_to_event_seconds_bucket"


class Looks:
    """Everything that is looked at, look by look."""

    def __init__(self, station):
        self._station, self._cursor, self._counts, self._at_s = station, None, Counter(), time.monotonic()
        self.rows = []
        self.look()
        self.rows.clear()

    def look(self):
        metrics, now_s = self._station.metrics(), time.monotonic()
        minutes, self._at_s = (now_s - self._at_s) / 60, now_s
        lines = self._news()
        self.rows.append({
            "processes": {name: self._held(pid) for name, pid in self._processes().items()},
            "series": len(metrics),
            "log_bytes": sum(map(len, lines)) / minutes,
            "log_lines": len(lines) / minutes,
            "p99_ms": self._p99_ms(metrics),
            **{key: total(metrics, f"goldline_{key}") for key in ("triggers_total", "verdicts_total", "triggers_in_flight")},
        })  # fmt: skip

    def _processes(self):
        return {"supervisor": self._station.pid, **self._station.workers()}

    def _held(self, pid):
        folder = self._station.device.path(f"/proc/{pid}")
        rows = (line.split() for line in folder.joinpath("smaps_rollup").read_text().splitlines()[1:])
        pages = {words[0]: int(words[1]) << 10 for words in rows}
        status = dict(line.split(":", 1) for line in folder.joinpath("status").read_text().splitlines())
        return {
            "private": pages["Private_Clean:"] + pages["Private_Dirty:"],
            "shared": pages["Shared_Clean:"] + pages["Shared_Dirty:"],
            "fds": len(os.listdir(folder / "fd")),
            "threads": int(status["Threads"]),
        }

    def _news(self):
        """Lines that the unit wrote since the last look."""
        after = [f"--after-cursor={self._cursor}"] if self._cursor else []
        words = ("--no-pager", "--output=cat", "--show-cursor", f"--unit={self._station.unit}")
        *lines, last = self._station.device.run("journalctl", *words, *after).splitlines()
        self._cursor = last.removeprefix("-- cursor: ")
        return [line for line in lines if not line.startswith("-- ")]

    def _p99_ms(self, metrics):
        """Of what was answered since the last look."""
        counts = Counter()
        for name, value in metrics.items():
            if name.startswith(LATENCY):
                counts[name.partition('le="')[2].partition('"')[0]] += value
        since, self._counts = {bound: value - self._counts[bound] for bound, value in counts.items()}, counts
        bounds = sorted((float(bound), value) for bound, value in since.items())
        each = [value - before for (_, value), before in zip(bounds, [0, *(v for _, v in bounds)], strict=False)]
        seconds = quantile_s(each, tuple(bound for bound, _ in bounds[:-1]), 0.99)
        return None if seconds is None else seconds * 1e3


def total(metrics, name):
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def quarters(rows):
    """Medians of the first quarter and of the last, by what they are of."""
    quarter = max(1, len(rows) // 4)
    parts = rows[:quarter], rows[-quarter:]
    names = {(name, what) for row in rows for name, held in row["processes"].items() for what in held}
    found = {
        key: [
            statistics.median(row["processes"][key[0]][key[1]] for row in part if key[0] in row["processes"])
            for part in parts
        ]
        for key in sorted(names)
    }
    for what in ("series", "log_bytes", "log_lines", "p99_ms"):
        found["station", what] = [statistics.median(row[what] or 0 for row in part) for part in parts]
    return found


def not_flat(compared):
    """What grew beyond its bound."""
    return [
        f"{name} {what}: {first:.0f} to {last:.0f}"
        for (name, what), (first, last) in compared.items()
        if (last > SLOWER * first if what == "p99_ms" else last - first > GROWN[what])
    ]


def missing(station, listener, last):
    """Answers that are not there, once the station has closed what was in flight, and events that nobody heard."""
    station.stop()
    station.fetch_record()
    ids = Counter(event.data.trigger_id for event in record(station.config) if event.data.trigger_id is not None)
    opened = int(re.findall(r"^triggers (\d+) ·", station.device.journal(station.unit), re.MULTILINE)[-1])
    heard = [int(event.sequence) for event in listener.events]
    return {
        "triggers in nobody's hand at the last look": last["triggers_total"]
        - last["verdicts_total"]
        - last["triggers_in_flight"],
        "triggers without an event": opened - len(ids),
        "triggers with two": sum(count > 1 for count in ids.values()),
        "events that the subscriber missed": heard[-1] - heard[0] + 1 - len(heard),
    }


def soak(station, minutes, every_s):
    station.start()
    listener = station.listen()
    time.sleep(SETTLE_S)
    looks, until_s = Looks(station), time.monotonic() + 60 * minutes
    while time.monotonic() < until_s:
        time.sleep(every_s)
        looks.look()
    return looks.rows, missing(station, listener, looks.rows[-1])


def report(rows, compared, lacking):
    print("| of | what | first quarter | last quarter |\n|---|---|---|---|")
    for (name, what), pair in compared.items():
        scale, unit = (1 << 20, " MiB") if what in ("private", "shared") else (1, "")
        print(f"| {name} | {what}{unit} |", " | ".join(f"{value / scale:.1f}" for value in pair), "|")
    for what, count in lacking.items():
        print(f"{what}: {count:.0f}")
    print(f"{len(rows)} looks; {rows[-1]['verdicts_total']:.0f} verdicts")


def main():
    parser = Parser(__doc__)
    parser.add_argument("--minutes", type=above_zero, default=30.0)
    parser.add_argument("--cameras", type=at_least(1), default=4)
    parser.add_argument("--rate", type=above_zero, default=5.0, help="frames a second of each camera")
    parser.add_argument("--every", type=above_zero, default=10.0, help="seconds between looks")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    need_a_device()
    camera = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": arguments.rate, "prerendered": 32}
    cameras = {f"camera{number}": camera | {"seed": number} for number in range(arguments.cameras)}
    with tempfile.TemporaryDirectory(prefix="goldline-soak-") as name:
        taught = teach(Path(name, "taught"), RECIPE, SIZE)
        with installed(Path(name), taught, cameras) as station:
            rows, lacking = soak(station, arguments.minutes, arguments.every)
    compared = quarters(rows)
    wrong = [*not_flat(compared), *(f"{what}: {count:.0f}" for what, count in lacking.items() if count)]
    if arguments.json:
        print(json.dumps({"looks": rows, "missing": lacking, "wrong": wrong}))
    else:
        report(rows, compared, lacking)
        print("not flat: " + "; ".join(wrong) if wrong else "flat")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    run(main)
