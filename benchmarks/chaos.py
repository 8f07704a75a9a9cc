"""A running station whose processes are killed and stopped at random: every accepted trigger gets exactly one answer.

    python benchmarks/chaos.py [--seconds 600] [--rate 84] [--every 2.4] [--seed 1] [--record DIR] [--json]

`goldline run` with four simulated cameras runs as under systemd: started again half a second after its end. Apart from
it, a process gives orders (`chaos_triggers.py`), another takes every event (`chaos_consumer.py`), and a killer sends SIGKILL
and SIGSTOP to any worker, to the supervisor (SIGTERM as well) and to the consumer. What is stopped goes on after a while,
or the watchdog ends it. At the end no order is given any more, what is in flight is answered, the station is told to
stop, and the logs are joined (`chaos_joined.py`). Half of the parts shown are bad: a PASS that the plain loop would not
have given is found.

    kills         signals that reached a process: SIGKILL, SIGSTOP, and SIGTERM to the supervisor
    recovery_ms   from a signal to the next verdict of a camera it concerned, on a frame taken after it

`--record DIR` has what all figures can be counted from again: triggers.jsonl (a line for each accepted trigger), events.jsonl
(what the consumer got, as it came), kills.jsonl, orders.jsonl (orders that were refused or had no answer), station/.

Exit code 1: a promise was broken; the first offenders are in `detail.offenders`.
"""

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import chaos_joined
import chaos_killer
import chaos_station
import msgspec
from chaos_consumer import line_of
from chaos_joined import Logs
from command_line import Parser, above_zero, at_least, cannot, need, run, without_module

from edge import events

CONSUMED_WITHIN_S = 60.0
# After the last signal orders go on until every camera judges again: a busy machine takes its time to start a process.
RECOVERED_WITHIN_S = 90.0


@contextmanager
def ordering(station, cameras, rate, directory):
    """The trigger source, told to stop at the end."""
    script = Path(__file__).with_name("chaos_triggers.py")
    words = [sys.executable, script, station.events["command"], ",".join(cameras), str(rate), directory]
    process = subprocess.Popen(words)
    try:
        yield
        process.terminate()
        if process.wait(30):
            raise SystemExit("the trigger source failed")
    finally:
        process.kill()
        process.wait()


def suffer(config, cameras, directory, arguments):
    """The run itself: starts everything, kills, drains, stops. Returns what it saw beside the logs."""
    station = chaos_station.Station(config)
    consumer = chaos_station.Consumer(station, directory)
    vitals = chaos_station.Vitals(station)
    killer = chaos_killer.Killer(station, consumer, directory, every_s=arguments.every, seed=arguments.seed)
    try:
        station.drain()
        vitals.start()
        with ordering(station, cameras, arguments.rate, directory):
            killer.start()
            started_s = time.monotonic()
            time.sleep(arguments.seconds)
            killer.over.set()
            killer.join()
            vitals.over.set()
            station.wait_ready()
            wait_recovered(directory, cameras, time.time())
            seconds = time.monotonic() - started_s
        wait_consumed(directory, station.drain())
        code = station.stop()
    finally:
        killer.over.set()
        station.kill()
        consumer.stop()
    return {"seconds": round(seconds, 1), "starts": station.starts, "stop_code": code, "vitals": vitals.quarters()}


def wait_consumed(directory, head):
    """Until the consumer has this event."""
    until_s = time.monotonic() + CONSUMED_WITHIN_S
    while time.monotonic() < until_s:
        rows = read_lines(directory / "events.jsonl")
        if rows and rows[-1]["sequence"] >= head:
            return
        time.sleep(0.5)


def wait_recovered(directory, cameras, since_s):
    """Until every camera has a verdict on a frame taken from now on; one that never has is a promise broken."""
    until_s, left = time.monotonic() + RECOVERED_WITHIN_S, set(cameras)
    while left:
        if time.monotonic() > until_s:
            raise SystemExit(f"broken: {', '.join(sorted(left))} judged nothing for {RECOVERED_WITHIN_S:g} s")
        time.sleep(1.0)
        rows = read_lines(directory / "events.jsonl")
        left -= {row["camera"] for row in rows if row["verdict"] != "ERROR" and row["captured"] > since_s}


def read_lines(path):
    """Every whole line."""
    if not path.exists():
        return []
    data = path.read_bytes()
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def read_record(outbox):
    """The station's own record, in the words of the consumer's log."""
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as database:
        bodies = database.execute("SELECT body FROM events ORDER BY sequence").fetchall()
    rows = [json.loads(msgspec.json.encode(line_of(events.decode(body), None))) for (body,) in bodies]
    return [{name: value for name, value in row.items() if name != "received"} for row in rows]


def complete(triggers, taken):
    """Whoever counts the lines has every accepted trigger: those whose answer was lost stand there by their event."""
    with triggers.open("a") as file:
        for row in taken:
            line = {"t": row["triggered"], "camera": row["camera"], "unit_identifier": row["unit_identifier"]}
            file.write(json.dumps(line | {"trigger_id": row["trigger_id"], "answered": False}) + "\n")


def measure(directory, arguments):
    """Everything; returns the figures."""
    config, truth = chaos_station.prepare(
        directory / "station", arguments.cameras, arguments.deadline_ms, arguments.lanes
    )
    seen = suffer(config, tuple(truth), directory, arguments)
    logs = Logs(
        triggers=read_lines(directory / "triggers.jsonl"),
        orders=read_lines(directory / "orders.jsonl"),
        events=read_lines(directory / "events.jsonl"),
        record=read_record(directory / "station" / "state" / "outbox.sqlite3"),
        kills=read_lines(directory / "kills.jsonl"),
        truth=truth,
        deadline_s=arguments.deadline_ms / 1000,
    )
    complete(directory / "triggers.jsonl", chaos_joined.taken_unanswered(logs))
    figures = chaos_joined.joined(logs)
    rate = round(figures["triggers"] / seen["seconds"], 1)
    notices = (directory / "notices.jsonl").read_text().splitlines()
    figures["detail"] = {"triggers_per_second": rate, **seen, "notices": notices, **figures["detail"]}
    return figures


def show(figures):
    for name, value in figures.items():
        if name != "detail":
            print(f"{name:20} {value}")
    for name, value in figures["detail"].items():
        print(f"  {name:24} {value}")


def main():
    parser = Parser(__doc__)
    parser.add_argument("--seconds", type=above_zero, default=600.0)
    parser.add_argument("--rate", type=above_zero, default=84.0, help="orders a second, of all cameras")
    parser.add_argument("--every", type=above_zero, default=2.4, help="mean seconds between two signals")
    parser.add_argument("--cameras", type=at_least(1), default=4)
    parser.add_argument("--deadline-ms", type=above_zero, default=1500.0)
    parser.add_argument("--lanes", nargs="*", default=[], choices=["modbus", "opcua"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path, help="keep the logs and the station's state in this new folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    needed = {"modbus": "pyModbusTCP", "opcua": "asyncua"}
    need(*(without_module(needed[lane], lane) for lane in arguments.lanes))
    with tempfile.TemporaryDirectory(prefix="goldline-chaos-") as name:
        directory = arguments.record or Path(name)
        try:
            directory.mkdir(parents=True, exist_ok=arguments.record is None)
        except OSError as problem:
            cannot(f"--record {directory}: {problem.strerror}")
        figures = measure(directory, arguments)
    problems = chaos_joined.broken(figures)
    print(json.dumps(figures)) if arguments.json else show(figures)
    if problems:
        raise SystemExit("broken: " + ", ".join(problems))


if __name__ == "__main__":
    run(main)
