"""What the installed service does when it is killed, hangs, is reloaded or stopped, under a systemd of its own as PID 1.

    sudo python benchmarks/service.py [--runs 5] [--rate 10] [--json]

A device is made of Debian's packages and booted in namespaces; Goldline is installed on it by its wheel and its units,
with one camera triggered at --rate and one that runs freely. Each event is caused --runs times. Afterwards every order
that was accepted has one answer in the record, and no trigger has two.

    seconds           until the service is ready again (start, kill, hang), or the command has returned (stop, reload)
    refused           orders that nobody took meanwhile: whoever sent them knows, and has no part judged by mistake
    lost, twice       orders accepted without an answer; triggers with more than one
"""

import json
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from booted_station import installed, need_a_device, teach
from command_line import Parser, above_zero, at_least, run

from tests import service_faults
from tests.installed import Orders
from tests.stations import CAMERA, RECIPE, SIZE, TRIGGERED, record

CAMERAS = {"left": TRIGGERED, "right": CAMERA | {"rate_hz": 5.0}}


def reload(station):
    """One deadline, back and forth."""
    file = station.device.path(station.file)
    text = file.read_text()
    before, after = ("2000.0", "1900.0") if "deadline_ms = 2000.0" in text else ("1900.0", "2000.0")
    file.write_text(text.replace(f"deadline_ms = {before}", f"deadline_ms = {after}"))
    return service_faults.timed(lambda: station.device.run("systemctl", "reload", station.unit))


def stop_and_start(station):
    """A stop under load; starting again is not counted."""
    took_s = service_faults.stop(station)
    station.start()
    return took_s


EVENTS = {
    "worker killed": service_faults.kill_worker,
    "worker hangs": service_faults.hang_worker,
    "service killed": service_faults.kill_supervisor,
    "service hangs": service_faults.hang_supervisor,
    "reload": reload,
    "restart": service_faults.restart,
    "stop": stop_and_start,
}


def cause(station, event, runs, every_s):
    """The row of one event."""
    seconds, accepted, refused = [], [], 0
    for _ in range(runs):
        with Orders(station, "left", every_s) as orders:
            orders.wait_for(5)
            seconds.append(EVENTS[event](station))
            orders.wait_for(5)
        accepted += orders.accepted
        refused += sum(orders.refusals.values())
    return {"event": event, "seconds": seconds, "refused": refused, "accepted": accepted}


def weigh(station, rows):
    """What of each row has no answer, or more than one."""

    def answers():
        station.fetch_record()
        return Counter(event.data.trigger_id for event in record(station.config) if event.data.trigger_id is not None)

    every = {trigger_id for row in rows for trigger_id in row["accepted"]}
    station.device.wait(lambda: every <= set(answers()), "every order is answered")
    found = answers()
    for row in rows:
        accepted = row.pop("accepted")
        row["orders"] = len(accepted)
        row["lost"] = sum(found[trigger_id] == 0 for trigger_id in accepted)
        row["twice"] = sum(found[trigger_id] > 1 for trigger_id in accepted)


def measure(runs, every_s, folder):
    """Every row, and what `systemd-analyze security` says of the running service."""
    taught = teach(folder / "taught", RECIPE, SIZE)
    with installed(folder, taught, CAMERAS) as station:
        rows = [{"event": "first start", "seconds": [service_faults.start(station)], "refused": 0, "accepted": []}]
        rows += [cause(station, event, runs, every_s) for event in EVENTS]
        weigh(station, rows)
        seen = station.device.run("systemd-analyze", "security", "--no-pager", station.unit)
        return rows, float(seen.rpartition("level for goldline.service: ")[2].split()[0])


def main():
    parser = Parser(__doc__)
    parser.add_argument("--runs", type=at_least(1), default=5)
    parser.add_argument("--rate", type=above_zero, default=10.0, help="orders a second")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    need_a_device()
    with tempfile.TemporaryDirectory(prefix="goldline-service-") as name:
        rows, exposure = measure(arguments.runs, 1 / arguments.rate, Path(name))
    if arguments.json:
        print(json.dumps({"events": rows, "exposure": exposure}))
        return
    print("| event | runs | seconds: median | least | most | orders accepted | refused | lost | twice |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        times = row["seconds"]
        cells = (len(times), *(f"{each:.2f}" for each in (statistics.median(times), min(times), max(times))))
        print(
            "|",
            " | ".join(map(str, (row["event"], *cells, *(row[key] for key in ("orders", "refused", "lost", "twice"))))),
            "|",
        )
    print(f"exposure, live: {exposure}")


if __name__ == "__main__":
    run(main)
