"""A PLC over Modbus TCP: from its trigger bit to a valid result, and how soon it knows that the station is away.

    python benchmarks/plc.py [--cycles 300] [--load 0.8] [--stops 20] [--json]

A station with one camera that the PLC triggers and, for the second half, one that runs freely and takes `--load` of what
inspection can do. The PLC is a socket that asks without pause, as a fast one would. Per cycle:

trigger_to_valid_ms   from the write of the trigger bit to the first look that finds `valid`: picture, judging and all
judged_to_valid_ms    from the decision (its time in the event) to the same look: what the lane adds
cycle_ms              a whole handshake: trigger, valid, acknowledged, ready again

Then publish is stopped (SIGSTOP): `ready_drop_ms` from the signal to the first look that finds `ready` fallen,
`life_moved_last_ms` to the last look that saw the life counter move.
"""

import json
import os
import signal
import socket
import sqlite3
import statistics
import struct
import tempfile
import time
from contextlib import closing
from pathlib import Path

from command_line import Parser, above_zero, at_least, need, run, without_module

from edge import events, rehearsal
from edge.lanes import modbus_map as layout
from edge.lanes.modbus_map import HOLDING, INPUTS

SIZE = (640, 480)
REFERENCES = 60
TRIGGERED = {
    "source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": 400.0, "prerendered": 32,
    "trigger": {"mode": "software", "deadline_ms": 1000.0},
}  # fmt: skip
STATUS = {bit.name: 1 << bit.at for bit in layout.CHANNEL_STATUS}
TRIGGER, ACK = (layout.CHANNEL_CONTROLS[at].at for at in (0, 1))
FIELDS = {field.name: field.at for field in layout.CHANNEL_INPUTS}
PATIENCE_S = 30


class Plc:
    """One connection. Each look reads the whole first channel in one request."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, pdu):
        self.socket.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, 1) + pdu)
        answer = b""
        while len(answer) < 6 or len(answer) < 6 + struct.unpack_from(">H", answer, 4)[0]:
            answer += self.socket.recv(300)
        assert answer[7] == pdu[0], answer
        return answer[8:]

    def words(self, start, count):
        return struct.unpack(f">{count}H", self.ask(struct.pack(">BHH", 4, start, count))[1:])

    def control(self, bits):
        self.ask(struct.pack(">BHH", 6, HOLDING + layout.CONTROL_AT, bits))

    def until(self, is_so):
        end = time.monotonic() + PATIENCE_S
        while not is_so(words := self.words(INPUTS, INPUTS)):
            if time.monotonic() > end:
                raise SystemExit(f"waited in vain: {words}")
        return words

    def until_set(self, name):
        return self.until(lambda words: words[0] & STATUS[name])

    def until_clear(self, name):
        return self.until(lambda words: not words[0] & STATUS[name])


def cycles(plc, count):
    """Per cycle: id of the trigger, when it was set (monotonic), seen as valid (monotonic and UTC), and done."""
    rows = []
    for _ in range(count):
        plc.until_set("ready")
        began = time.monotonic_ns()
        plc.control(1 << TRIGGER)
        words = plc.until_set("valid")
        seen, seen_utc = time.monotonic_ns(), time.time_ns()
        at = FIELDS["trigger_id"]
        plc.control(1 << ACK)
        plc.until_clear("valid")
        plc.control(0)
        rows.append((words[at] << 16 | words[at + 1], began, seen, seen_utc, time.monotonic_ns()))
    return rows


def summary(times_ms):
    ordered = sorted(times_ms)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))]  # noqa: E731
    return {"p50": round(statistics.median(ordered), 2), "p99": round(at(0.99), 2), "max": round(ordered[-1], 2)}


def figures(rows, decided_utc_ns):
    return {
        "cycles": len(rows),
        "trigger_to_valid_ms": summary([(seen - began) / 1e6 for _, began, seen, _, _ in rows]),
        "judged_to_valid_ms": summary([(utc - decided_utc_ns[number]) / 1e6 for number, _, _, utc, _ in rows]),
        "cycle_ms": summary([(done - began) / 1e6 for _, began, _, _, done in rows]),
    }


def decisions(config):
    """When each trigger was decided, by the record."""
    path = config.parent / "state" / "outbox.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        found = [events.decode(body).data for (body,) in database.execute("SELECT body FROM events")]
    return {data.trigger_id: events.utc_ns(data.decided) for data in found}, found


def stops(daemon, plc, count):
    drops, stands = [], []
    for _ in range(count):
        plc.until_set("ready")
        publish = daemon.workers()["publish"]
        os.kill(publish, signal.SIGSTOP)
        stopped = time.monotonic()
        life, moved, dropped = None, stopped, None
        while time.monotonic() < stopped + 0.5:
            words, now = plc.words(0, 2 * INPUTS), time.monotonic()
            if life not in (None, words[1]):
                moved = now
            life = words[1]
            if dropped is None and not words[INPUTS] & STATUS["ready"]:
                dropped = now
        if dropped is None:
            raise SystemExit("ready stayed for half a second although publish was stopped")
        drops.append((dropped - stopped) * 1e3)
        stands.append((moved - stopped) * 1e3)
        os.kill(publish, signal.SIGCONT)
        time.sleep(0.3)
    return {"stops": count, "ready_drop_ms": summary(drops), "life_moved_last_ms": summary(stands)}


def station(directory, taught, cameras, measure):
    config = rehearsal.write_config(directory, cameras)
    (directory / "state").mkdir()
    (directory / "state" / "references").symlink_to(taught / "state" / "references")
    (directory / "pipelines").symlink_to(taught / "pipelines")
    (port,) = rehearsal.free_ports(1)
    with config.open("a") as file:
        file.write(f'\n[lanes.modbus]\nlisten = "127.0.0.1:{port}"\nchannels = ["plc"]\n')
    with rehearsal.running(config) as daemon:
        plc = Plc(port)
        plc.until_set("ready")
        time.sleep(1)
        cycles(plc, 20)  # the first pictures find cold caches
        rows, more = measure(daemon, plc)
    decided, found = decisions(config)
    return figures(rows, decided) | more, found


def main():
    parser = Parser(__doc__)
    parser.add_argument("--cycles", type=at_least(1), default=300)
    parser.add_argument("--load", type=above_zero, default=0.8)
    parser.add_argument("--stops", type=at_least(1), default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    need(without_module("pyModbusTCP", "modbus"))
    with tempfile.TemporaryDirectory(prefix="goldline-plc-") as name:
        directory = Path(name)
        rehearsal.draw_good_parts(directory / "good", REFERENCES, SIZE)
        config = rehearsal.write_config(directory, {"plc": TRIGGERED})
        rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
        idle, found = station(
            directory / "idle",
            directory,
            {"plc": TRIGGERED},
            lambda daemon, plc: (cycles(plc, arguments.cycles), stops(daemon, plc, arguments.stops)),
        )
        busy_ms = statistics.median(
            each.latency.register_ms + each.latency.graph_ms + each.latency.judge_ms for each in found if each.latency
        )
        rate_hz = round(arguments.load * 1000 / busy_ms, 1)
        free = {**TRIGGERED, "rate_hz": rate_hz, "seed": 7, "trigger": {"mode": "free"}}
        cameras = {"plc": TRIGGERED, "free": free}
        loaded, _ = station(
            directory / "loaded",
            directory,
            cameras,
            lambda _, plc: (cycles(plc, arguments.cycles), {"rate_hz": rate_hz}),
        )
    result = {"inspection_ms": round(busy_ms, 2), "idle": idle, "loaded": loaded}
    if arguments.json:
        print(json.dumps(result))
        return
    for label, row in (("idle", idle), (f"at {arguments.load:.0%} of inspection", loaded)):
        print(f"{label} ({row['cycles']} cycles)")
        for key, each in row.items():
            if isinstance(each, dict):
                print(f"  {key:22} p50 {each['p50']:8} p99 {each['p99']:8} max {each['max']:8}")


if __name__ == "__main__":
    run(main)
