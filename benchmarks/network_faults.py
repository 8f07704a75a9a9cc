"""Cables cut, readers away, stopped or slow: what a subscriber in another network misses, and how soon it is level again.

    sudo python benchmarks/network_faults.py [--rate 200] [--events 100000] [--cuts 5,25] [--stall 10] [--json]

As root: two network namespaces with a virtual cable between them. In one the station's publish and SYNC, real processes
that are fed with verdicts; in the other readers, `edge.client.Subscriber` with keys (CURVE). From decided to handed to the
reader's program is `latency`; times are of one machine's clock.
"""

import argparse
import json
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' station of which publish and SYNC are real

import structlog
from command_line import Parser, above_zero, at_least, need, run, without, without_root
from two_networks import OTHER_END, STATION, ip, two_networks, until

from edge.client import Arrived, Subscriber
from edge.keys import ClientKeys
from edge.rehearsal import free_ports
from tests.sync_line import sync_lines

# An event that is handed over this soon after it was decided says that its reader is level.
LEVEL_NS = 100_000_000
# number, when it was handed over (UTC ns), when it was decided (UTC ns)
ROW = struct.Struct("<QQQ")


# --- the reader: another process, in the other network


def read(arguments):
    """Write a row for each event, and the time of every disconnection, until killed."""
    given = json.loads(arguments.read)
    keys = ClientKeys(**given["keys"])
    with (
        Subscriber(live=given["live"], sync=given["sync"], after=given["after"], keys=keys) as subscriber,
        open(given["rows"], "ab", buffering=0) as rows,
        open(given["log"], "a", buffering=1) as log,
    ):
        monitor = subscriber._session._live.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)  # noqa: SLF001
        while True:
            taken = subscriber.take(0.02)
            now_ns = time.time_ns()
            events = [item.event() for item in taken if isinstance(item, Arrived)]
            decided = [round(event.time.timestamp() * 1e6) * 1000 for event in events]
            rows.write(b"".join(ROW.pack(int(e.sequence), now_ns, at) for e, at in zip(events, decided, strict=True)))
            if len(events) < len(taken):
                log.write("lost\n")
            while monitor.poll(0):
                recv_monitor_message(monitor)
                log.write(f"disconnected {now_ns}\n")


class Reader:
    """A reading process, what it has heard, and when."""

    def __init__(self, network, directory, addresses, keys, after):
        self.rows, self._log = directory / "rows", directory / "log"
        directory.mkdir()
        given = {"after": after, "rows": str(self.rows), "log": str(self._log), **addresses}
        given["keys"] = {name: getattr(keys, name) for name in ("server_public", "public", "secret")}
        command = ["nsenter", f"--net=/proc/{network}/ns/net", sys.executable, __file__]
        self.process = subprocess.Popen([*command, "--read", json.dumps(given)])

    def heard(self):
        data = self.rows.read_bytes() if self.rows.exists() else b""
        return list(ROW.iter_unpack(data[: len(data) // ROW.size * ROW.size]))

    def count(self):
        return self.rows.stat().st_size // ROW.size if self.rows.exists() else 0

    def wait(self, count):
        until(lambda: self.count() >= count, f"{count} events, got {self.count()}")

    def disconnected_ns(self, after_ns):
        words = (line.split() for line in self._log.read_text().splitlines())
        return next((int(word[1]) for word in words if word[0] == "disconnected" and int(word[1]) > after_ns), None)

    def lost(self, head):
        """Numbers that did not come, came twice or out of order; 0 is what is promised."""
        numbers = [number for number, _, _ in self.heard()]
        return len(set(range(1, head + 1)) - set(numbers)) + sum(b <= a for a, b in pairwise(numbers))

    def stop(self):
        self.process.kill()
        self.process.wait()


class Bench:
    """The station, said to at a steady rate while something else is done."""

    def __init__(self, line, network, directory, keys, rate):
        self.line, self.network, self.rate = line, network, rate
        self._directory, self._keys, self._readers = directory, keys, []
        self.said = 0

    def reader(self, after=0):
        directory = self._directory / f"reader{len(self._readers)}"
        self._readers.append(Reader(self.network, directory, self.line.addresses, self._keys, after))
        return self._readers[-1]

    def say_for(self, seconds):
        """At the rate, evenly."""
        began, said = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * self.rate) - said
            if due:
                self.line.say(due)
                said += due
            time.sleep(0.002)
        self.said += said

    def close(self):
        for reader in self._readers:
            reader.stop()


# --- what is measured


def cut(bench, reader, seconds):
    """The cable is out for so long, while the station goes on."""
    bench.say_for(2)
    ip("link", "set", OTHER_END, "down", network=bench.network)
    cut_ns = time.time_ns()
    bench.say_for(seconds)
    ip("link", "set", OTHER_END, "up", network=bench.network)
    mended_ns, last = time.time_ns(), bench.said
    bench.say_for(5)
    reader.wait(bench.said)
    level = next(at for number, at, decided in reader.heard() if number > last and at - decided < LEVEL_NS)
    noticed_ns = reader.disconnected_ns(cut_ns)
    return {
        "noticed_s": None if noticed_ns is None else (noticed_ns - cut_ns) / 1e9,
        "level_again_s": (level - mended_ns) / 1e9,
        "lost": reader.lost(bench.said),
    }


def away(bench):
    """A reader that was away for everything there is: how quickly it comes."""
    reader = bench.reader()
    reader.wait(bench.said)
    rows = reader.heard()
    reader.stop()
    seconds = (rows[-1][1] - rows[0][1]) / 1e9
    # Few come all at once.
    return {
        "events_a_second": len(rows) / seconds if seconds else None,
        "seconds": seconds,
        "lost": reader.lost(bench.said),
    }


def stalled(bench, healthy, seconds):
    """One reader is stopped (SIGSTOP) beside one that is not."""
    other = bench.reader(after=bench.said)
    bench.say_for(seconds)
    before = healthy.count()
    calm = healthy.heard()[-int(seconds * bench.rate * 0.8) :]
    other.process.send_signal(signal.SIGSTOP)
    bench.say_for(seconds)
    healthy.wait(bench.said)
    during = healthy.heard()[before:]
    other.process.send_signal(signal.SIGCONT)
    until(lambda: (rows := other.heard()) and rows[-1][0] == bench.said, "the stopped one is level again")
    numbers = [number for number, _, _ in other.heard()]
    return {
        "healthy_before": latency_ms(calm),
        "healthy_during": latency_ms(during),
        "healthy_lost": healthy.lost(bench.said),
        "stalled_lost": numbers[-1] - numbers[0] + 1 - len(set(numbers)),
    }


def latency_ms(rows):
    each = sorted((at - decided) / 1e6 for _, at, decided in rows)
    return {"p50": round(each[len(each) // 2], 2), "p99": round(each[int(len(each) * 0.99)], 2), "events": len(each)}


def summary(each):
    """Median, least and most."""
    return {
        name: {
            "median": round(statistics.median(values), 2),
            "min": round(min(values), 2),
            "max": round(max(values), 2),
        }
        for name in each[0]
        if (values := [one[name] for one in each if one[name] is not None])
    }


def measure(arguments):
    result = {"rate": arguments.rate, "repeats": arguments.repeats}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="goldline-network-")))
        network = stack.enter_context(two_networks())
        live, sync = (f"tcp://{STATION}:{port}" for port in free_ports(2))
        line = stack.enter_context(sync_lines(directory, addresses={"live": live, "sync": sync}))
        keys = line.admit("reader")
        line.listen_with(keys)
        line.fill(arguments.events)
        line.start_both()
        bench = Bench(line, network, directory, keys, arguments.rate)
        stack.callback(bench.close)
        bench.said = arguments.events
        result["away"] = {"events": arguments.events, **summary([away(bench) for _ in range(arguments.repeats)])}
        reader = bench.reader()
        reader.wait(bench.said)
        for seconds in arguments.cuts:
            each = [cut(bench, reader, seconds) for _ in range(arguments.repeats)]
            result[f"cut_{seconds:g}_s"] = summary(each)
        result["stalled"] = stalled(bench, reader, arguments.stall)
        result["events"] = bench.said
    return result


def seconds_each(text):
    """`5,25`."""
    return [above_zero(one) for one in text.split(",")]


def lost(result):
    """Every count of what was lost; 0 is what is promised."""
    counts = [value["lost"]["max"] for value in result.values() if isinstance(value, dict) and "lost" in value]
    return sum(counts) + result["stalled"]["healthy_lost"] + result["stalled"]["stalled_lost"]


def main():
    parser = Parser(__doc__)
    parser.add_argument("--rate", type=above_zero, default=200.0, help="events a second")
    parser.add_argument("--events", type=at_least(1), default=100_000, help="what a reader that was away has missed")
    parser.add_argument(
        "--cuts", type=seconds_each, default=[5.0, 25.0], metavar="S,S", help="how long the cable is out, s"
    )
    parser.add_argument("--stall", type=above_zero, default=10.0, help="how long a reader is stopped, s")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        with suppress(KeyboardInterrupt):
            read(arguments)
        return
    need(without_root(), without("ip", "iproute2"), without("nsenter", "util-linux"))
    # What is printed is the figures alone.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    result = measure(arguments)
    if arguments.json:
        print(json.dumps(result))
    for name, value in () if arguments.json else result.items():
        print(f"{name}: {json.dumps(value)}")
    if lost(result):
        raise SystemExit("broken: events were lost, came twice or out of order")


if __name__ == "__main__":
    run(main)
