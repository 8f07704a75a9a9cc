"""How long the one graph takes at 10 to 1,000 references, beside the backbone alone; all interleaved in one run.

    python benchmarks/references.py [--json] [--threads 2] [--rounds 100] [--size 256]

The features are random, for a matrix product takes as long with any. Every round runs each graph once, in turn, so
that whatever else the machine does hits all of them alike. Needs `pip install .[cpu]` and nothing else.
"""

import argparse
import json
import os
import platform
import time

import numpy as np

from edge.backbone import Backbone, feature_graph, feature_grid, load_backbone
from edge.bank import GlobalBank, build_positional
from edge.inference import Session
from edge.recipe import AnomalyCheck
from edge.score_graph import compile_graph

REFERENCES = (10, 30, 100, 300, 1000)
WARM_ROUNDS = 5
# Of the bundled backbone: the channels of its two maps.
CHANNELS = 152


def positional(backbone: Backbone, size_wh, references: int, settings: AnomalyCheck) -> bytes:
    """The graph of a bank taught from this many references, as teach would build it."""
    grid = feature_grid(backbone, size_wh)
    random = np.random.default_rng(references)
    shape = (references, grid[0] * grid[1], CHANNELS)
    # Half precision and one reference at a time: a thousand references are 300 MB, not four times that.
    features = np.empty(shape, np.float16)
    for reference in range(references):
        features[reference] = random.standard_normal(shape[1:], np.float32)
    bank = build_positional(features, grid, settings.per_cell)
    return compile_graph(backbone, bank, size_wh, settings.top_fraction)


def free_pose(backbone: Backbone, size_wh, settings: AnomalyCheck) -> bytes:
    """The graph of a global bank, whose size does not depend on the references."""
    vectors = np.random.default_rng(0).standard_normal((settings.coreset, CHANNELS), np.float32)
    bank = GlobalBank(vectors=vectors, source=np.zeros(len(vectors), np.int32), grid=feature_grid(backbone, size_wh))
    return compile_graph(backbone, bank, size_wh, settings.top_fraction)


def graphs(size: int) -> dict[str, bytes]:
    """Every graph of the table by its name."""
    backbone, size_wh, settings = load_backbone(), (size, size), AnomalyCheck()
    named = {"backbone alone": feature_graph(backbone, size_wh)}
    for count in REFERENCES:
        named[f"{count} references"] = positional(backbone, size_wh, count, settings)
    return named | {f"global bank, {settings.coreset} vectors": free_pose(backbone, size_wh, settings)}


def measure(sessions: dict[str, Session], size: int, rounds: int) -> dict[str, dict[str, float]]:
    """Latency of each session on one picture, ms."""
    picture = np.random.default_rng(1).integers(0, 256, (1, size, size, 3), np.uint8)
    spans = {name: [] for name in sessions}
    for _ in range(WARM_ROUNDS + rounds):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(picture)
            spans[name].append((time.perf_counter() - started) * 1e3)
    return {
        name: {
            "p50_ms": float(np.percentile(each[WARM_ROUNDS:], 50)),
            "p99_ms": float(np.percentile(each[WARM_ROUNDS:], 99)),
        }
        for name, each in spans.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core (default)")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--size", type=int, default=AnomalyCheck().working_px, help="side of the picture, px")
    arguments = parser.parse_args()
    threads = arguments.threads or len(os.sched_getaffinity(0))
    sessions = {name: Session(graph, threads=threads) for name, graph in graphs(arguments.size).items()}
    results = measure(sessions, arguments.size, arguments.rounds)
    machine = f"{platform.machine()}, {threads} threads"
    if arguments.json:
        print(json.dumps({"machine": machine, "size_px": arguments.size, "latency": results}))
        return
    print(f"{arguments.size} x {arguments.size} px, {machine}, {arguments.rounds} rounds")
    for name, result in results.items():
        print(f"{name:28s} p50 {result['p50_ms']:6.2f} ms   p99 {result['p99_ms']:6.2f} ms")


if __name__ == "__main__":
    main()
