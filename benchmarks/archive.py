"""What keeping pictures costs: copy and hash of one picture, and a FAIL's way to its verdict with the archive on and off.

    python benchmarks/archive.py [--json] [--parts N]

The first table is the work alone, for a whole picture of 8 bits and for a turned region of half its area. The second is
a running station whose every part fails, triggered one after the other, in turns with and without the archive.
"""

import json
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from command_line import Parser, at_least, run

from edge import client, cutout, picture_file, rehearsal
from edge.cutout import Cutout

SIZES = ((640, 480), (1280, 1024), (2448, 2048))
RUNS = 40
WARM, PACE_S = 3, 0.25
PICTURE = (1280, 960)


def work() -> list[dict[str, object]]:
    rows = []
    for size in SIZES:
        frame = np.random.default_rng(1).integers(0, 256, size[0] * size[1], np.uint8)
        into = np.zeros_like(frame)
        for name, cut in (("whole", cutout.whole(size)), ("turned region", turned(size))):
            copied, hashed = [], []
            used = 0
            for _ in range(RUNS):
                began = time.perf_counter()
                used = cutout.copy(frame, size, "Mono8", cut, into) or 0
                between = time.perf_counter()
                picture_file.sha256(into[:used])
                copied.append((between - began) * 1e3)
                hashed.append((time.perf_counter() - between) * 1e3)
            megabytes = used / 1e6
            content = picture_file.encode(into[:used], cut.box[2:], "Mono8")
            rows.append({
                "picture": f"{size[0]} x {size[1]}, {name}", "megabytes": round(megabytes, 2),
                "copy_ms": spread(copied), "hash_ms": spread(hashed),
                "ms_per_megabyte": round((statistics.median(copied) + statistics.median(hashed)) / megabytes, 2),
                "file_megabytes": round(len(content) / 1e6, 2),
            })  # fmt: skip
    return rows


def turned(size: tuple[int, int]) -> Cutout:
    """A region of half the picture's width and height, turned by 3 degrees."""
    width, height, angle = size[0] / 2, size[1] / 2, np.radians(3)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = cutout.around([corners @ turn.T + [width, height]], size, "Mono8")
    assert found is not None
    return found


def spread(values: list[float]) -> dict[str, float]:
    low, median, high = (float(np.percentile(values, q)) for q in (10, 50, 90))
    return {"p10": round(low, 3), "median": round(median, 3), "p90": round(high, 3)}


def stations(parts: int) -> list[dict[str, object]]:
    """Capture to verdict, ms, of parts that all fail: limits are set so low that none passes."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        camera = {
            "source": "simulated", "width": PICTURE[0], "height": PICTURE[1], "prerendered": 10,
            "trigger": {"mode": "software", "deadline_ms": 5000.0},
        }  # fmt: skip
        config = rehearsal.write_config(directory, {"left": camera})
        rehearsal.draw_good_parts(directory / "good", 8, PICTURE)
        rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
        recipe = directory / "pipelines" / rehearsal.PRODUCT / "recipe.toml"
        recipe.write_text(recipe.read_text() + "\n[limits]\nreview = -1000.0\nfail = -999.0\n")
        plain = config.read_text()
        found: dict[str, list[float]] = {"off": [], "on": []}
        kept = 0.0
        for turn in range(4):
            state = "on" if turn % 2 else "off"
            config.write_text(f"{plain}\n[archive]\nis_on = {str(state == 'on').lower()}\n")
            with rehearsal.running(config) as daemon:
                found[state] += measured(config, daemon, parts // 2)
                kept += daemon.total("goldline_pictures_handed_total")
        rows = [
            {"archive": state, "parts": len(values), "verdict_ms": spread(values)} for state, values in found.items()
        ]
        return [*rows, {"pictures_kept": kept, "picture_megabytes": round(PICTURE[0] * PICTURE[1] * 3 / 1e6, 2)}]


def measured(config: Path, daemon: rehearsal.Daemon, parts: int) -> list[float]:
    """At a pace at which the archive keeps up, so that every part pays for its picture."""
    while daemon.total("goldline_camera_up") < 1:
        time.sleep(0.1)
    before = daemon.total("goldline_events_written_total")
    command = rehearsal.settings(config)["events"]["command"]
    # The first find caches cold.
    for _ in range(parts + WARM):
        client.ask(command, {"verb": "trigger", "camera": "left"})
        time.sleep(PACE_S)
    while daemon.total("goldline_events_written_total") < before + parts + WARM:
        time.sleep(0.1)
    return latencies(config)[-parts:]


def latencies(config: Path) -> list[float]:
    """Of every part in the outbox that was judged."""
    address = f"file:{config.parent / 'state' / 'outbox.sqlite3'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as outbox:
        bodies = [body for (body,) in outbox.execute("SELECT body FROM events ORDER BY sequence")]
    results = [json.loads(body)["data"] for body in bodies]
    assert all(result["verdict"] != "PASS" for result in results)
    return [result["latency"]["capture_to_verdict_ms"] for result in results if result.get("latency")]


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--parts", type=at_least(2), default=80, help="with the archive on, and as many with it off")
    given = parser.parse_args()
    report = {"work": work(), "station": stations(given.parts)}
    if given.json:
        print(json.dumps(report))
        return
    for row in (*report["work"], *report["station"]):
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    run(main)
