"""A GigE Vision camera's frames into the real ring by the real capture process: `python benchmarks/gige.py --json`.

    --seconds N         free-running, 1920 x 1200 Mono8, packets of 9000 bytes (60 s; what it does without another)
    --triggers N        N software triggers, one after the other
    --pulses N          N pulses on Line0, at 20 Hz (the project's own camera)
    --wrap              the 16-bit ids once round (128 x 96 px, 500 frames a second: over two minutes)
    --cameras 2         two at once, on 127.0.0.1 and 127.0.0.2
    --camera debian     Debian's arv-fake-gv-camera-0.8 instead of the project's own
    --rate HZ           of the free-running camera (400, of which it keeps what its machine can); 0 is as fast as it goes
    --runs N            the whole again, so many times

Camera, capture and this program are processes of their own, in a network namespace of their own (root, or user
namespaces). This program is supervisor, publish and inspection to capture, and gives every slot back at once.
`handoff_ms` is from the frame complete in its slot to its Frame message received here. `lost` are ids that the camera
counted past and frames dropped for want of a slot or an answer, `bad` are incomplete frames, `superseded` were
overtaken by a newer one before they could be handed over, which is what a free-running camera is for. 100 % of CPU are
one core.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import numpy as np
from capture_bench import ADDRESSES, PATIENCE_S, Bench, cpu_s

from edge import log
from edge.config import LogConfig

LARGE, SMALL = (1920, 1200), (128, 96)
# Beyond what the machine can send; and a rate at which no small frame is overtaken.
FASTEST_HZ, WRAP_HZ = 10_000, 500
# Ids of the 16-bit counter; the simulation begins at 65400.
IDS = 65_535
PULSE_HZ = 20
WARM_UP_S = 1.0


def percentiles(nanoseconds):
    if not nanoseconds:
        return None
    p50, p99 = np.percentile(nanoseconds, [50, 99]) / 1e6
    return {"p50": round(p50, 3), "p99": round(p99, 3)}


class Usage:
    """CPU since it was made, in percent of a core."""

    def __init__(self, pid):
        self._pid, self._begun_s, self._used_s = pid, time.monotonic(), cpu_s(pid)

    def percent(self):
        return round((cpu_s(self._pid) - self._used_s) / (time.monotonic() - self._begun_s) * 100, 1)


def free_running(bench, seconds):
    bench.spend(WARM_UP_S)
    before = [consumer.counted() for consumer in bench.consumers]
    pids = [
        (consumer.child.pid, camera.process.pid)
        for consumer, camera in zip(bench.consumers, bench.cameras, strict=True)
    ]
    usages = [[Usage(pid) for pid in (*pair, os.getpid())] for pair in pids]
    for consumer in bench.consumers:
        consumer.handoffs.clear()
    begun_s = time.monotonic()
    bench.spend(seconds)
    elapsed_s = time.monotonic() - begun_s
    for consumer, first, used in zip(bench.consumers, before, usages, strict=True):
        change = {key: count - first[key] for key, count in consumer.counted().items()}
        frames = change.pop("captured")
        names = ("cpu_percent", "camera_cpu_percent", "consumer_cpu_percent")
        yield (
            {"fps": round(frames / elapsed_s, 1), "frames": frames, **change}
            | {name: usage.percent() for name, usage in zip(names, used, strict=True)}
            | {"handoff_ms": percentiles(consumer.handoffs)}
        )


def triggered(bench, count):
    """One at a time: the next is fired when the one before has its frame, or its answer."""
    for consumer in bench.consumers:
        matched, waits = 0, []
        for trigger_id in range(1, count + 1):
            frames, answers = len(consumer.triggers), len(consumer.unjudged)
            fired_ns = consumer.fire(trigger_id)
            bench.until(lambda: len(consumer.triggers) > frames or len(consumer.unjudged) > answers, PATIENCE_S)  # noqa: B023
            if consumer.triggers[frames:] == [trigger_id]:
                matched += 1
                waits.append(time.monotonic_ns() - fired_ns)
        counts = consumer.counted()
        yield {
            "triggers": count,
            "matched": matched,
            "lost": counts["lost"],
            "bad": counts["bad"],
            "trigger_to_frame_ms": percentiles(waits),
            "handoff_ms": percentiles(consumer.handoffs),
        }


def pulsed(bench, count):
    bench.spend(WARM_UP_S)
    said = {}
    for camera in bench.cameras:
        camera.order(f"pulse {count} {PULSE_HZ}")
        hear = lambda camera=camera: said.update({camera: camera.answer()})  # noqa: E731
        threading.Thread(target=hear, daemon=True).start()
    bench.until(lambda: len(said) == len(bench.cameras), count / PULSE_HZ * 2 + PATIENCE_S)
    bench.spend(WARM_UP_S)
    for camera, consumer in zip(bench.cameras, bench.consumers, strict=True):
        yield {
            "pulses": count,
            "taken": said[camera]["taken"],
            "frames": len(consumer.triggers),
            "triggers": len(set(consumer.triggers)),
            "unjudged": len(consumer.unjudged),
            "handoff_ms": percentiles(consumer.handoffs),
        }


def wrapped(bench):
    """They must go on counting beyond the wrap; what is skipped was lost or overtaken, and counted as that."""
    for consumer in bench.consumers:
        bench.until(lambda: consumer.frame_ids, PATIENCE_S)  # noqa: B023
        first, begun_s = consumer.frame_ids[0], time.monotonic()
        bench.until(lambda: consumer.frame_ids[-1] - first > IDS + 200, 600)  # noqa: B023
        elapsed_s, last = time.monotonic() - begun_s, consumer.frame_ids[-1]
        steps = np.diff(consumer.frame_ids)
        yield {
            "first_id": first,
            "last_id": last,
            "fps": round((last - first) / elapsed_s, 1),
            "went_back": int((steps <= 0).sum()),
            "skipped": int((steps - 1).sum()),
            **consumer.counted(),
        }


def measured(arguments):
    size = SMALL if arguments.wrap else LARGE
    rate = WRAP_HZ if arguments.wrap else arguments.rate or FASTEST_HZ
    mode = "software" if arguments.triggers else "line" if arguments.pulses else "free"
    with ExitStack() as stack:
        trigger = {"mode": mode, "deadline_ms": 10_000.0}
        bench = Bench(stack, arguments.camera, arguments.cameras, size, rate, trigger)
        if arguments.triggers:
            yield from triggered(bench, arguments.triggers)
        elif arguments.pulses:
            yield from pulsed(bench, arguments.pulses)
        elif arguments.wrap:
            yield from wrapped(bench)
        else:
            yield from free_running(bench, arguments.seconds)


def enter_namespace():
    """Begin again inside a network of our own."""
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    options = ["--net"] if os.geteuid() == 0 else ["--map-root-user", "--net"]
    os.execv(unshare, [unshare, *options, sys.executable, *sys.argv, "--inside"])  # noqa: S606


def prepare_network():
    ip = shutil.which("ip") or "/usr/sbin/ip"
    for words in (["address", "add", f"{ADDRESSES[1]}/8", "dev", "lo"], ["link", "set", "lo", "up"]):
        subprocess.run([ip, *words], check=True)


def main():
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--triggers", type=int)
    parser.add_argument("--pulses", type=int)
    parser.add_argument("--wrap", action="store_true")
    parser.add_argument("--camera", choices=("own", "debian"), default="own")
    parser.add_argument("--cameras", type=int, choices=(1, 2), default=1)
    parser.add_argument("--rate", type=float, default=400.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pulses and arguments.camera != "own":
        parser.error("--pulses: Debian's camera has no line")
    if not arguments.inside:
        enter_namespace()
    prepare_network()
    log.setup(LogConfig(level="warning", format="console"), "bench")
    for _ in range(arguments.runs):
        for result in measured(arguments):
            said = "  ".join(f"{key} {value}" for key, value in result.items())
            print(json.dumps(result) if arguments.json else said, flush=True)


if __name__ == "__main__":
    main()
