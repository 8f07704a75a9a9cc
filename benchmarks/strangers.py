"""Connections without a key against a running station: what a client with a key notices, and what is left of them.

    python benchmarks/strangers.py [--silent 300 2500] [--seconds 10] [--json]

All addresses are loopback with `curve = "always"`. For each number of `--silent`, that many connections are kept open that
say nothing, renewed as they are hung up on, and 100 more talk nonsense; meanwhile a new client is made for every order.

order_ms      connection, handshake, an order, its answer: median and worst (0 connections first)
late          verdicts after their deadline
descriptors   of publish: before, most, after          mib   its resident size: before, most, after
"""

import contextlib
import json
import os
import random
import resource
import socket
import statistics
import tempfile
import time
from pathlib import Path

from command_line import Parser, above_zero, at_least, run

from edge import rehearsal
from edge.client import ask
from edge.keys import load_client_keys

SIZE = (320, 240)
CAMERA = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": 10.0, "prerendered": 20}
TRIGGERED = CAMERA | {"trigger": {"mode": "software", "deadline_ms": 2000.0}}
NOISY = 100
SETTLE_S = 5.0


def station(folder):
    rehearsal.draw_good_parts(folder / "good", 8, SIZE)
    config = rehearsal.write_config(folder, {"left": CAMERA, "right": TRIGGERED})
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", folder / "good", "--config", config)
    with config.open("a") as file:
        file.write('\n[security]\ncurve = "always"\n')
    rehearsal.goldline("keys", "new", "--config", config)
    rehearsal.goldline("keys", "client", "mes", "--for", "orders", "--out", folder / "mes.key", "--config", config)
    return config


class Strangers:
    """Connections to a port, the oldest hung up on for each new one."""

    def __init__(self, port, silent):
        self._port, self._most, self._kept = port, silent, []
        self._noise = random.Random(1)  # noqa: S311 - noise that is the same each time

    def knock(self):
        """One more connection; one in so many talks nonsense."""
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", self._port), timeout=1)
            self._kept.append(one)
            if self._noise.random() < NOISY / (NOISY + self._most):
                one.sendall(self._noise.randbytes(self._noise.randrange(1, 4000)))
        if len(self._kept) > self._most + NOISY:
            self._kept.pop(0).close()

    def leave(self):
        for one in self._kept:
            one.close()


def size(process_id):
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return len(os.listdir(f"/proc/{process_id}/fd")), round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def late(daemon):
    return int(daemon.total("goldline_deadline_missed_total"))


def measure(daemon, config, silent, seconds):
    events = rehearsal.settings(config)["events"]
    keys, process_id = load_client_keys(config.parent / "mes.key"), daemon.workers()["publish"]
    strangers = Strangers(int(events["command"].rpartition(":")[2]), silent)
    sizes, orders, missed = [size(process_id)], [], late(daemon)
    until, next_order = time.monotonic() + seconds, time.monotonic() + seconds / 4
    while (now := time.monotonic()) < until:
        if silent:
            strangers.knock()
        time.sleep(0.001)
        if now >= next_order:
            next_order = now + 0.2
            sizes.append(size(process_id))
            began = time.perf_counter()
            ask(events["command"], {"verb": "trigger", "camera": "right"}, timeout_s=30, keys=keys)
            orders.append((time.perf_counter() - began) * 1e3)
    strangers.leave()
    time.sleep(SETTLE_S)
    sizes.append(size(process_id))
    descriptors, mib = zip(*sizes, strict=True)
    return {
        "silent": silent,
        "order_ms": [round(statistics.median(orders), 2), round(max(orders), 2)],
        "late": late(daemon) - missed,
        "descriptors": [descriptors[0], max(descriptors), descriptors[-1]],
        "mib": [mib[0], max(mib), mib[-1]],
        "publish_died": daemon.workers().get("publish") != process_id,
    }


def main():
    parser = Parser(__doc__)
    parser.add_argument("--silent", type=at_least(1), nargs="+", default=[300, 2500])
    parser.add_argument("--seconds", type=above_zero, default=10.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder:
        config = station(Path(folder))
        with rehearsal.running(config) as daemon:
            rows = [measure(daemon, config, silent, arguments.seconds) for silent in (0, *arguments.silent)]
    print(json.dumps({"strangers": rows}) if arguments.json else "\n".join(map(str, rows)))
    if any(row["publish_died"] for row in rows):
        raise SystemExit("broken: publish died")


if __name__ == "__main__":
    run(main)
