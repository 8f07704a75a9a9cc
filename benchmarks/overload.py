"""Deadlines at a share of what the station can sustain: how many answers are in time, and how long one takes.

    python benchmarks/overload.py [--loads 0.5 0.8 0.95 1.2] [--deadline-ms 100] [--seconds 20] [--json]

First the rate that the station sustains, as `goldline bench` finds it: free-running cameras beyond saturation. Then cameras
that the station triggers itself, at each share of that rate in turn, every trigger with this deadline.

    on_time        share of the answers that were decided by their deadline, whatever they say
    judged         share of the answers that are PASS or FAIL
    verdict_ms     from frame complete to decided, of those
"""

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from command_line import Parser, above_zero, at_least, cannot, run

from edge import bench, client, rehearsal
from edge.errors import GoldlineError

WARM_UP_S = 2.0


class Listener(threading.Thread):
    """Collects every event."""

    def __init__(self, events):
        super().__init__(daemon=True)
        self.events, self._addresses, self.has_begun = [], events, threading.Event()

    def run(self):
        tell = lambda item: print(item, file=sys.stderr)  # noqa: E731
        notify = client.Notify(begun=lambda _: self.has_begun.set(), gone=tell, new_stream=tell)
        try:
            with client.Subscriber(
                sync=self._addresses["sync"], live=self._addresses["live"], notify=notify, silence_s=5.0
            ) as subscriber:
                self.events.extend(event.data for event in subscriber)
        except GoldlineError:
            return  # the station has stopped


def triggered(settings, directory, rate_hz, deadline_ms):
    """Cameras that the station triggers itself, together at this rate."""
    trigger = {"mode": "software", "period_ms": settings.cameras * 1000 / rate_hz, "deadline_ms": deadline_ms}
    camera = {"source": "simulated", "width": settings.size[0], "height": settings.size[1], "prerendered": bench.FRAMES}
    cameras = {f"camera{n}": camera | {"seed": 100 + n, "trigger": trigger} for n in range(settings.cameras)}
    return rehearsal.write_config(directory, cameras)


def answers(settings, directory, rate_hz, deadline_ms):
    """Every answer of a while at this rate."""
    config = triggered(settings, directory, rate_hz, deadline_ms)
    with rehearsal.running(config):
        listener = Listener(rehearsal.settings(config)["events"])
        listener.start()
        if not listener.has_begun.wait(30):
            cannot("the station runs, but nothing was heard of it")
        time.sleep(WARM_UP_S)
        first = len(listener.events)
        time.sleep(settings.seconds)
        return listener.events[first:]


def row(events, seconds, load):
    judged = [event for event in events if event.reason is None]
    times_ms = [(event.decided - event.captured).total_seconds() * 1000 for event in judged]
    p50, p99 = np.percentile(times_ms, [50, 99]) if times_ms else (None, None)
    return {
        "load": load,
        "answers_per_second": round(len(events) / seconds, 1),
        "on_time": round(sum(event.on_time for event in events) / max(1, len(events)), 4),
        "judged": round(len(judged) / max(1, len(events)), 4),
        "errors": dict(Counter(str(event.reason) for event in events if event.reason is not None)),
        "verdict_ms": {"p50": p50 and round(p50, 1), "p99": p99 and round(p99, 1)},
    }


def main():
    parser = Parser(__doc__)
    parser.add_argument("--loads", type=above_zero, nargs="+", default=[0.5, 0.8, 0.95, 1.2])
    parser.add_argument("--deadline-ms", type=above_zero, default=100.0)
    parser.add_argument("--seconds", type=above_zero, default=20.0)
    parser.add_argument("--references", type=at_least(2), default=60)
    parser.add_argument("--cameras", type=at_least(1), default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings = bench.Settings(arguments.seconds, arguments.cameras, arguments.references)
    quiet = lambda _: None  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="goldline-overload-") as name:
        directory = Path(name)
        config = bench.prepare(settings, directory, quiet)
        sustained = bench.station_run(settings, directory, config, 300.0).fps
        if not sustained:
            cannot("the station answered nothing")
        rows = [
            row(answers(settings, directory, load * sustained, arguments.deadline_ms), settings.seconds, load)
            for load in arguments.loads
        ]
    result = {"sustained_fps": round(sustained, 1), "deadline_ms": arguments.deadline_ms, "loads": rows}
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"sustained {result['sustained_fps']} frames a second; deadline {arguments.deadline_ms:g} ms\n")
    print(
        "| load | answers/s | on time | judged | frame to verdict p50 ms | p99 ms | ERROR |\n|---|---|---|---|---|---|---|"
    )
    for each in rows:
        errors = ", ".join(f"{count} {reason}" for reason, count in each["errors"].items()) or "none"
        times = each["verdict_ms"]
        print(
            f"| {each['load']:.0%} | {each['answers_per_second']} | {each['on_time']:.2%} | {each['judged']:.2%} "
            f"| {times['p50']} | {times['p99']} | {errors} |"
        )


if __name__ == "__main__":
    run(main)
