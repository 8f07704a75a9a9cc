"""What a station writes into its log: healthy, and with a camera and a broker away.

    python benchmarks/log_volume.py [--seconds 120]

Two stations run beside each other, each with four simulated cameras; one has besides a stream that nobody sends and a
broker that is not there. Lines are counted after the stations are ready. What an hour of a message that repeats itself
comes to is reckoned by the limiter itself, with the clock as an argument. Last, what a line costs where nobody reads it.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import structlog

from edge import log, rehearsal
from edge.config import LogConfig
from edge.logs.limiter import KEYS, LONGEST_NS, MOST, WINDOW_NS
from edge.logs.repeats import Repeats

# No deadline is missed, whatever else the machine does: what is measured is a station that is well.
TRIGGER = {"mode": "free", "deadline_ms": 30_000.0}
CAMERA = {"source": "simulated", "width": 320, "height": 240, "rate_hz": 2.0, "prerendered": 40, "trigger": TRIGGER}
RECIPE = '[[regions]]\nname = "part"\ntemplate = false\nanomaly = { working_px = 128, bank = "positional" }\n'
HOUR_NS = 3600 * 10**9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        healthy = station(Path(name, "healthy"), away=False)
        faulty = station(Path(name, "faulty"), away=True)
        daemons = {"healthy": stack.enter_context(rehearsal.running(healthy))}
        daemons["away"] = stack.enter_context(rehearsal.running(faulty))
        until_ready = {kind: len(daemon.log.read_bytes()) for kind, daemon in daemons.items()}
        time.sleep(seconds)
        for kind, daemon in daemons.items():
            told = daemon.log.read_bytes()
            show(f"{kind}: until ready", told[: until_ready[kind]])
            show(f"{kind}: {seconds:g} s after", told[until_ready[kind] :])
    for period_s in (0.1, 2.0, 15.0):
        print(f"an hour of a message every {period_s:g} s: {hour_of(round(period_s * 1e9))} lines")
    least_us, *_, most_us = costs_us = cost_us()
    print(f"a line: {median(costs_us):.0f} us of processor (least {least_us:.0f}, most {most_us:.0f})")


def cost_us() -> list[float]:
    """Processor time of a line into a pipe that nobody reads, of five runs of 3000."""
    reading, writing = os.pipe()
    with open(reading), open(writing, "w") as output:
        log.setup(LogConfig(level="debug"), "publish", output)
        found = []
        for _ in range(5):
            before_s = time.thread_time()
            for number in range(3000):
                structlog.get_logger().debug("verdict", camera="left", trigger_id=number)
            found.append((time.thread_time() - before_s) / 3000 * 1e6)
    return sorted(found)


def station(directory: Path, *, away: bool) -> Path:
    cameras: dict[str, dict[str, object]] = {f"camera{number}": CAMERA for number in range(4)}
    (port,) = rehearsal.free_ports(1)
    if away:
        cameras["eye"] = {"source": "stream", "url": f"http://127.0.0.1:{port}/video"}
    config = rehearsal.write_config(directory, cameras)
    if away:
        with config.open("a") as file:
            file.write(f'\n[lanes.mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\n')
    recipe = directory / "pipelines" / rehearsal.PRODUCT / "recipe.toml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(RECIPE)
    rehearsal.draw_good_parts(directory / "good", 12, (320, 240))
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
    return config


def show(kind: str, told: bytes) -> None:
    lines = [json.loads(line) for line in told.splitlines() if line.startswith(b"{")]
    counts = Counter(f"{line['level']}: {line.get('message', line['event'])}" for line in lines)
    print(f"{kind}: {len(lines)} lines, {len(told)} bytes")
    for sentence, count in counts.most_common():
        print(f"  {count:4} {sentence}")


def hour_of(period_ns: int) -> int:
    """Lines of one message that comes every `period_ns`, with those that say what was held back."""
    repeats: Repeats[str] = Repeats(most=MOST, window_ns=WINDOW_NS, longest_ns=LONGEST_NS, keys=KEYS)
    lines = 0
    for now_ns in range(0, HOUR_NS, period_ns):
        lines += len(repeats.over(now_ns)) + repeats.admit("", now_ns)
    return lines


if __name__ == "__main__":
    main()
