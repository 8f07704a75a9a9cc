"""How long a running station takes to take over another configuration, and what its verdicts notice of it.

    python benchmarks/reload.py [--rounds 9] [--cameras 3] [--period-ms 50] [--json]

Cameras that the station triggers itself are judged all the time; in each round the file is changed in one way of each
class, and reloaded. `reload_ms`: from asking to the answer, that is until everybody goes by the new one. Of the triggers
that were opened within a reload, of the cameras that it does not concern: how many were late or not judged, and how long
they took; beside those opened while nothing was reloaded. `away_ms`: for how long the camera whose process is started
anew answered `camera_down`, from the first such answer to the next verdict.

    live      a deadline
    product   the other of two products, loaded beside the one that is judged
    worker    one camera is opened anew
    rejected  a value out of bounds
"""

import json
import re
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from command_line import Parser, above_zero, at_least, run

from edge import events, rehearsal, station_control
from edge.events import Result

SIZE = (320, 240)
DEADLINE_MS = 1000.0
PRODUCTS = ("first", "second")
KINDS = ("live", "product", "worker", "rejected")
RECIPE = '[[regions]]\nname = "part"\ntemplate = false\nanomaly = { working_px = 128, bank = "positional" }\n'
# Between two reloads: what is going on without one is measured in these pauses.
PAUSE_S = 1.5


def changed(text: str, kind: str, number: int) -> str:
    """The file as it is to become."""
    match kind:
        case "live":
            return re.sub(r"deadline_ms = [0-9.]+", f"deadline_ms = {DEADLINE_MS + 1 + number % 2}", text)
        case "product":
            return re.sub('product = "[a-z]+"', f'product = "{PRODUCTS[(number + 1) % 2]}"', text)
        case "worker":
            return re.sub(r"prerendered = [0-9]+", f"prerendered = {30 + number % 2}", text, count=1)
        case _:
            return text.replace("queue_depth = 16", "queue_depth = -1")


def measure(rounds: int, cameras: int, period_ms: float) -> dict[str, Any]:
    """Teach, run, reload."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        trigger = {"mode": "software", "deadline_ms": DEADLINE_MS, "queue_depth": 16, "period_ms": period_ms}
        camera = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "prerendered": 40, "trigger": trigger}
        names = {f"camera{number}": camera for number in range(cameras)}
        config = rehearsal.write_config(directory, names, product=PRODUCTS[0])
        for seed, product in enumerate(PRODUCTS, start=1):
            (directory / "pipelines" / product).mkdir(parents=True)
            (directory / "pipelines" / product / "recipe.toml").write_text(RECIPE)
            rehearsal.draw_good_parts(directory / product, 12, SIZE, seed)
            rehearsal.goldline("teach", product, "--good", directory / product, "--config", config)
            shutil.rmtree(directory / product)
        spans: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        with rehearsal.running(config) as daemon:
            quiet = [pause(daemon)]
            for number in range(rounds):
                for kind in KINDS:
                    spans[kind].append(one(config, kind, number))
                    quiet.append(pause(daemon))
            violated = daemon.total("goldline_invariant_violations_total")
        return figures(said(config), spans, quiet) | {"invariant_violations": violated, "cameras": cameras}


def pause(daemon: rehearsal.Daemon) -> tuple[float, float]:
    """Nothing is reloaded, and every camera streams; when that began and ended, but for the last verdicts."""
    wait_for_cameras(daemon)
    began_s = time.time()
    time.sleep(PAUSE_S)
    return began_s, time.time() - 0.2


def wait_for_cameras(daemon: rehearsal.Daemon) -> None:
    """Until each of them streams."""
    until_s = time.monotonic() + 120
    while set(json.loads(daemon.get("/readyz")[1] or '{"cameras":{}}')["cameras"].values()) != {"streaming"}:
        if time.monotonic() > until_s:
            raise SystemExit(f"the cameras do not stream: {daemon.get('/readyz')[1]}")
        time.sleep(0.02)


def one(config: Path, kind: str, number: int) -> tuple[float, float]:
    """Reload once; when it began and ended, by the wall clock that events are labelled with."""
    before = config.read_text()
    config.write_text(changed(before, kind, number))
    began_s = time.time()
    outcome = station_control.reload(config.parent / "state" / "run")
    ended_s = time.time()
    wanted = "rejected" if kind == "rejected" else "applied"
    if outcome.outcome != wanted:
        raise SystemExit(f"{kind}: {outcome}")
    if kind == "rejected":
        config.write_text(before)
    return began_s, ended_s


def said(config: Path) -> list[Result]:
    """The result of every trigger."""
    database = config.parent / "state" / "outbox.sqlite3"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as outbox:
        return [events.decode(body).data for (body,) in outbox.execute("SELECT body FROM events ORDER BY sequence")]


def figures(
    results: list[Result], spans: dict[str, list[tuple[float, float]]], quiet: list[tuple[float, float]]
) -> dict[str, Any]:
    """Of each class, and of the time beside."""
    beside = [one for one in results if any(first <= opened_s(one) <= last for first, last in quiet)]
    found: dict[str, Any] = {"beside": verdicts(beside)}
    for kind, several in spans.items():
        within = [one for one in results if any(first <= opened_s(one) <= last for first, last in several)]
        others = [one for one in within if kind != "worker" or one.camera != "camera0"]
        found[kind] = {"reload_ms": spread([(last - first) * 1e3 for first, last in several]), **verdicts(others)}
    found["worker"]["away_ms"] = spread(away_ms(results, spans["worker"]))
    return found


def opened_s(result: Result) -> float:
    """When its trigger was opened, in seconds since 1970."""
    return result.triggered.timestamp() if result.triggered else 0.0


def verdicts(results: list[Result]) -> dict[str, Any]:
    """How many there were, what became of them, and how long they took from the trigger to the verdict."""
    took_ms = sorted((one.decided.timestamp() - opened_s(one)) * 1e3 for one in results)
    return {
        "verdicts": len(results),
        "not_judged": dict(Counter(str(one.reason) for one in results if one.reason is not None)),
        "late": sum(not one.on_time for one in results),
        "p50_ms": round(statistics.median(took_ms), 1) if took_ms else None,
        "p99_ms": round(took_ms[int(0.99 * (len(took_ms) - 1))], 1) if took_ms else None,
    }


def away_ms(results: list[Result], spans: list[tuple[float, float]]) -> list[float]:
    """Of each restart of the first camera."""
    mine = [one for one in results if one.camera == "camera0"]
    found: list[float] = []
    for first, last in spans:
        lost = [
            opened_s(one) for one in mine if first <= opened_s(one) <= last + PAUSE_S and one.reason == "camera_down"
        ]
        back = [opened_s(one) for one in mine if lost and opened_s(one) > max(lost) and one.reason is None]
        if back:
            found.append((min(back) - min(lost)) * 1e3)
    return found


def spread(values: list[float]) -> dict[str, float] | None:
    """Median, least and most."""
    if not values:
        return None
    return {"median": round(statistics.median(values)), "least": round(min(values)), "most": round(max(values))}


def main() -> None:
    """Measure and print."""
    parser = Parser(__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=9)
    parser.add_argument("--cameras", type=at_least(2), default=3)
    parser.add_argument("--period-ms", type=above_zero, default=50.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rounds, arguments.cameras, arguments.period_ms)
    if arguments.json:
        print(json.dumps(found))
        return
    for kind in ("beside", *KINDS):
        print(f"{kind:9}", " · ".join(f"{name} {value}" for name, value in found[kind].items()))
    print(f"invariant violations {found['invariant_violations']:g}")


if __name__ == "__main__":
    run(main)
