"""A large frame with three regions: 1920 x 1200 px, from decoded frame to verdict, by stage.

    python benchmarks/regions.py [--json] [--references 60] [--rounds 60]

Drawn photographs of the demo product; each region is a box of some 500 px a side, judged by all that teach chooses.
Needs `pip install .[cpu]` and nothing else.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from edge.cameras import scene
from edge.config import Station
from edge.inspector import Inspector
from edge.recipe import recipe_path
from edge.teach import teach

PRODUCT, FRAME = "floor", (1920, 1200)
RECIPE = """
[[regions]]
name = "left"
box = [60, 340, 512, 512]
[[regions]]
name = "middle"
box = [800, 240, 576, 448]
[[regions]]
name = "right"
box = [1340, 340, 512, 512]
"""
WARM_ROUNDS = 5
STAGES = ("prepare", "score", "judge")


def taught(folder: Path, references: int) -> Inspector:
    """The product, taught from drawn photographs."""
    (folder / "good").mkdir()
    generator = np.random.default_rng(1)
    for index in range(references):
        picture, _ = scene.render(scene.GOOD, generator, FRAME)
        assert cv2.imwrite(str(folder / "good" / f"{index:04d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    station = Station(state_dir=folder / "state", pipelines_dir=folder / "pipelines")
    recipe = recipe_path(station, PRODUCT)
    recipe.parent.mkdir(parents=True)
    recipe.write_text(RECIPE)
    teach(station, PRODUCT, folder / "good", lambda _stage, _done, _total: None)
    inspector = Inspector.load(station, PRODUCT)
    inspector.warm_up((1,))
    return inspector


def measure(inspector: Inspector, rounds: int) -> np.ndarray:
    """Times [rounds, 3] of the stages, ms."""
    generator = np.random.default_rng(7)
    frames = [scene.render(scene.GOOD, generator, FRAME)[0] for _ in range(6)]
    spans = []
    for index in range(WARM_ROUNDS + rounds):
        marks = [time.perf_counter()]
        prepared = inspector.prepare(frames[index % len(frames)])
        marks.append(time.perf_counter())
        scores = inspector.score([prepared])[0]
        marks.append(time.perf_counter())
        inspector.judge(prepared, scores, {})
        marks.append(time.perf_counter())
        spans.append(np.diff(marks) * 1e3)
    return np.array(spans[WARM_ROUNDS:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--references", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        inspector = taught(Path(name), arguments.references)
        spans = measure(inspector, arguments.rounds)
    whole = spans.sum(axis=1)
    told = {"p50_ms": float(np.median(whole)), "p99_ms": float(np.percentile(whole, 99))}
    stages = {f"{stage}_p50_ms": float(value) for stage, value in zip(STAGES, np.median(spans, axis=0), strict=True)}
    if arguments.json:
        print(json.dumps({**told, **stages, "method": inspector.method}))
        return
    print(f"{FRAME[0]} x {FRAME[1]} px, three regions, {arguments.references} references ({inspector.method})")
    print(", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in {**told, **stages}.items()))


if __name__ == "__main__":
    main()
