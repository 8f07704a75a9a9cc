"""How long it takes to change the product of a running station, and what becomes of the parts meanwhile.

    python benchmarks/prepare.py [--references 10 100 300] [--switches 9] [--period-ms 100] [--json]

A station with one simulated camera is triggered by orders at a steady pace, and told in turn to judge by one of two
products. Of each switch: from the order `prepare` to its answer, and of the parts that were triggered meanwhile, how
many were answered late or not judged, and how long they took from the frame to the verdict; beside those that were
triggered while nothing was prepared. Both products are taught from as many drawn good parts. `resident_mib`: inspection's
memory before the first switch, and the most and the least of those after each.
"""

import json
import sqlite3
import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import zmq
from command_line import Parser, above_zero, at_least, cannot, run

from edge import events, rehearsal
from edge.events import Result

SIZE = (320, 240)
DEADLINE_MS = 500.0
PRODUCTS = ("first", "second")
WITHIN_MS = 600_000


class Station:
    """A running station: sockets to it, and what it has in its outbox."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def socket(self) -> zmq.Socket[bytes]:
        one = zmq.Context.instance().socket(zmq.REQ)
        one.setsockopt(zmq.LINGER, 0)
        one.connect(rehearsal.settings(self._config)["events"]["command"])
        return one

    def said(self) -> dict[int, Result]:
        """The result of every trigger so far."""
        database = self._config.parent / "state" / "outbox.sqlite3"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as outbox:
            found = [events.decode(body).data for (body,) in outbox.execute("SELECT body FROM events")]
        return {one.trigger_id: one for one in found if one.trigger_id is not None}


def ask(socket: zmq.Socket[bytes], **order: object) -> dict[str, object]:
    """One order, answered. Ends the program where it is not, or is refused."""
    socket.send_json(order)
    if not socket.poll(WITHIN_MS):
        cannot("no answer")
    answer = dict(socket.recv_json())
    if not answer["accepted"]:
        cannot(answer["error"])
    return answer


class Pace:
    """Triggers at a steady pace, each with the time it was asked at."""

    def __init__(self, station: Station, period_s: float) -> None:
        self.asked: list[tuple[float, int]] = []
        self._station, self._period_s, self._is_over = station, period_s, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        socket, next_s = self._station.socket(), time.monotonic()
        while not self._is_over.wait(max(0.0, next_s - time.monotonic())):
            next_s = max(next_s + self._period_s, time.monotonic())
            self.asked.append((time.monotonic(), int(str(ask(socket, verb="trigger", camera="left")["trigger_id"]))))

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()


def measure(references: int, switches: int, period_s: float) -> dict[str, object]:
    """Teach both products, run, switch."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        trigger = {"mode": "software", "deadline_ms": DEADLINE_MS, "queue_depth": 16}
        camera = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "prerendered": 40, "trigger": trigger}
        config = rehearsal.write_config(directory, {"left": camera}, product=PRODUCTS[0])
        for seed, product in enumerate(PRODUCTS, start=1):
            rehearsal.draw_good_parts(directory / product, references, SIZE, seed)
            rehearsal.goldline("teach", product, "--good", directory / product, "--config", config, timeout_s=3600)
        with rehearsal.running(config) as daemon:
            return switch_to_and_fro(Station(config), daemon, switches, period_s) | {"references": references}


def resident_mib(daemon: rehearsal.Daemon) -> float:
    return round(daemon.total("goldline_worker_resident_memory_bytes", worker="inspection") / 2**20, 1)


def switch_to_and_fro(station: Station, daemon: rehearsal.Daemon, switches: int, period_s: float) -> dict[str, object]:
    socket, pace, spans, held_mib = station.socket(), Pace(station, period_s), [], []
    for number in range(switches):
        time.sleep(2.0)
        held_mib.append(resident_mib(daemon))
        began_s = time.monotonic()
        ask(socket, verb="prepare", product=PRODUCTS[(number + 1) % 2])
        spans.append((began_s, time.monotonic()))
    time.sleep(2.0)
    held_mib.append(resident_mib(daemon))
    pace.end()
    time.sleep(2 * DEADLINE_MS / 1000)
    during = [one for at_s, one in pace.asked if any(first <= at_s <= last for first, last in spans)]
    beside = [one for _, one in pace.asked if one not in set(during)]
    said = station.said()
    seconds = [last - first for first, last in spans]
    return {
        "resident_mib": {"before": held_mib[0], "least": min(held_mib[1:]), "most": max(held_mib[1:])},
        "prepare_s": {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)},
        "meanwhile": figures(said, during),
        "otherwise": figures(said, beside),
    }


def figures(said: dict[int, Result], triggers: list[int]) -> dict[str, object]:
    """Of these triggers."""
    found = [said[one] for one in triggers if one in said]
    latencies = sorted(one.latency.capture_to_verdict_ms for one in found if one.latency)
    return {
        "triggers": len(triggers),
        "without_event": len(triggers) - len(found),
        "late": sum(not one.on_time for one in found),
        "not_judged": sum(one.reason is not None for one in found),
        "frame_to_verdict_ms": {
            f"p{share}": round(latencies[min(len(latencies) - 1, len(latencies) * share // 100)], 1)
            if latencies
            else None
            for share in (50, 99)
        },
    }


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--references", type=at_least(2), nargs="+", default=[10, 100, 300])
    parser.add_argument("--switches", type=at_least(1), default=9)
    parser.add_argument("--period-ms", type=above_zero, default=100.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for references in arguments.references:
        found = measure(references, arguments.switches, arguments.period_ms / 1000)
        rows.append(found)
        if arguments.json:
            continue
        times = found["prepare_s"]
        print(
            f"{references} references: prepare to answer {times['median']:.2f} s ({times['least']:.2f} to {times['most']:.2f})"
        )
        for when in ("meanwhile", "otherwise", "resident_mib"):
            print(f"  {when}: {found[when]}", flush=True)
    if arguments.json:
        print(json.dumps({"prepare": rows}))


if __name__ == "__main__":
    run(main)
