"""What a scrape of a running station costs: `python benchmarks/scrape.py [--scrapes 200] [--json]`.

Four cameras, every lane and the archive (`tests/watched_station.py`). Prints milliseconds by the client's clock and of the
supervisor's processor, bytes and series.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from command_line import Parser, at_least, cannot, need, run, without_module, without_tests

if lacking := without_tests():
    cannot(f"needs {lacking}")

from edge import rehearsal
from edge.rehearsal import Daemon
from edge.vitals import usage_of
from tests.stations import CAMERA, RECIPE, SIZE, teach, write_recipe
from tests.watched_station import write_station

# More often than anybody scrapes, and seldom enough that one does not wait for the one before.
PAUSE_S = 0.2


def taught(directory: Path) -> Path:
    rehearsal.draw_good_parts(directory / "good", 12, SIZE)
    write_recipe(directory, RECIPE)
    teach(rehearsal.write_config(directory, {"left": CAMERA}), rehearsal.PRODUCT, directory / "good")
    return directory


def scrape(daemon: Daemon, times: int) -> tuple[list[float], str]:
    """Milliseconds of each, and the last page."""
    times_ms: list[float] = []
    page = ""
    for _ in range(times):
        begun_s = time.perf_counter()
        _, page = daemon.get("/metrics")
        times_ms.append((time.perf_counter() - begun_s) * 1e3)
        time.sleep(PAUSE_S)
    return times_ms, page


def processor_s(daemon: Daemon) -> float:
    usage = usage_of(daemon.process.pid)
    assert usage is not None
    return usage.processor_s


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scrapes", type=at_least(2), default=200)
    arguments = parser.parse_args()
    need(*(without_module(*lane) for lane in (("pyModbusTCP", "modbus"), ("asyncua", "opcua"), ("paho", "mqtt"))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "station").mkdir()
        with rehearsal.running(write_station(taught(folder / "taught"), folder / "station")) as daemon:
            found = measured(daemon, arguments.scrapes)
    print(json.dumps(found) if arguments.json else told(found))


def measured(daemon: Daemon, times: int) -> dict[str, float]:
    before_s, begun_s = processor_s(daemon), time.monotonic()
    time.sleep(times * PAUSE_S)
    idle = (processor_s(daemon) - before_s) / (time.monotonic() - begun_s)
    before_s, begun_s = processor_s(daemon), time.monotonic()
    times_ms, page = scrape(daemon, times)
    busy_s = processor_s(daemon) - before_s - idle * (time.monotonic() - begun_s)
    low, middle, high = statistics.quantiles(times_ms, n=4)
    return {
        "scrapes": times,
        "low_ms": round(low, 1),
        "median_ms": round(middle, 1),
        "high_ms": round(high, 1),
        "supervisor_ms": round(busy_s / times * 1e3, 1),
        "supervisor_idle_share": round(idle, 4),
        "bytes": len(page),
        "series": sum(not line.startswith("#") for line in page.splitlines()),
    }


def told(found: dict[str, float]) -> str:
    return (
        "a scrape: {median_ms} ms ({low_ms} to {high_ms}), {bytes} bytes, {series} series\n"
        "of the supervisor's processor: {supervisor_ms} ms each, and {supervisor_idle_share:.1%} without any"
    ).format(**found)


if __name__ == "__main__":
    run(main)
