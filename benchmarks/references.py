"""What references cost: teaching them, and a frame's way from decoded picture to verdict; all sets in one run.

    python benchmarks/references.py [--json] [--threads 2] [--rounds 100] [--references 10 100 300 1000]

Each set is taught by `goldline teach`'s own function from drawn photographs of 320 x 256 px, of which one region of 256 x
256 px is judged. Then every round judges one frame by each set and runs the bare backbone once, in turn, so that
whatever else the machine does hits all of them alike. Needs `pip install .[cpu]` and nothing else.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from edge.backbone import feature_graph, load_backbone
from edge.cameras import scene
from edge.config import InferenceConfig, Station
from edge.inference import Session
from edge.inspector import Inspector
from edge.recipe import recipe_path
from edge.teach import Taught, teach

REFERENCES = (10, 100, 300, 1000)
PRODUCT = "floor"
FRAME, REGION = (320, 256), (32, 0, 256, 256)
RECIPE = f'[[regions]]\nname = "part"\nbox = {list(REGION)}\n'
WARM_ROUNDS = 5
# Frames judged in turn, good and deviating, none of them a reference.
FRAMES = 20


def draw(folder: Path, count: int) -> None:
    """Photographs of good parts."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    for index in range(count):
        picture, _ = scene.render(scene.GOOD, generator, FRAME)
        assert cv2.imwrite(str(folder / f"{index:04d}.png"), picture)


def taught(folder: Path, good: Path, count: int, inference: InferenceConfig) -> tuple[Taught, Inspector]:
    """A set of the first `count` photographs, in a station of its own."""
    chosen = folder / f"good-{count}"
    chosen.mkdir()
    for path in sorted(good.iterdir())[:count]:
        (chosen / path.name).symlink_to(path)
    station = Station(state_dir=folder / f"state-{count}", pipelines_dir=folder / "pipelines", inference=inference)
    recipe = recipe_path(station, PRODUCT)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(RECIPE)
    done = teach(station, PRODUCT, chosen, lambda _stage, _done, _total: None)
    inspector = Inspector.load(station, PRODUCT)
    inspector.warm_up((1,))
    return done, inspector


def frames() -> list:
    """What the line shows."""
    generator = np.random.default_rng(7)
    # As on a line: most parts are good.
    kinds = (*(scene.GOOD,) * 6, scene.DEVIATIONS[0], *(scene.GOOD,) * 6, scene.DEVIATIONS[4])
    return [scene.render(kinds[index % len(kinds)], generator, FRAME)[0] for index in range(FRAMES)]


def measure(inspectors: dict[int, Inspector], backbone: Session, rounds: int) -> dict[str, list[float]]:
    """Times, ms, of each set and of the backbone alone."""
    shown = frames()
    spans: dict[str, list[float]] = {str(count): [] for count in inspectors} | {"backbone": []}
    for round_ in range(WARM_ROUNDS + rounds):
        frame = shown[round_ % len(shown)]
        for count, inspector in inspectors.items():
            started = time.perf_counter()
            prepared = inspector.prepare(frame)
            inspector.judge(prepared, inspector.score([prepared])[0], {})
            spans[str(count)].append((time.perf_counter() - started) * 1e3)
        cut = np.ascontiguousarray(frame[: REGION[3], REGION[0] : REGION[0] + REGION[2]])[None]
        started = time.perf_counter()
        backbone.run(cut)
        spans["backbone"].append((time.perf_counter() - started) * 1e3)
    return {name: each[WARM_ROUNDS:] for name, each in spans.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core (default)")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--references", type=int, nargs="+", default=REFERENCES)
    arguments = parser.parse_args()
    threads = arguments.threads or len(os.sched_getaffinity(0))
    inference = InferenceConfig(threads=threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder / "good", max(arguments.references))
        sets = {count: taught(folder, folder / "good", count, inference) for count in arguments.references}
    backbone = Session(feature_graph(load_backbone(), REGION[2:]), threads=threads)
    spans = measure({count: inspector for count, (_, inspector) in sets.items()}, backbone, arguments.rounds)
    alone = float(np.median(spans["backbone"]))
    rows = [
        {
            "references": count,
            "teach_s": round(done.seconds, 2),
            "verdict_ms": {
                rank: round(float(np.percentile(spans[str(count)], int(rank[1:]))), 3) for rank in ("p50", "p99")
            },
            "backbone_ms": round(alone, 3),
        }
        for count, (done, _) in sets.items()
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{REGION[2]} x {REGION[3]} px, {platform.machine()}, {threads} threads, {arguments.rounds} rounds")
    for row, (done, inspector) in zip(rows, sets.values(), strict=True):
        verdict = row["verdict_ms"]
        share = verdict["p50"] / alone
        print(
            f"{row['references']:5d} references: teach {row['teach_s']:6.1f} s, verdict p50 {verdict['p50']:5.2f} ms, "
            f"p99 {verdict['p99']:5.2f} ms, {share:.2f} x the backbone ({inspector.method})"
        )
        print(
            "".join(f"      {reason}\n" for view in done.views for reason in view.reasons if "exact search" in reason),
            end="",
        )
    print(f"backbone alone: p50 {alone:.2f} ms")


if __name__ == "__main__":
    main()
