"""How well real bad parts are told from good ones: cookies and magnetic tiles, taught and evaluated through the library.

    GOLDLINE_TEST_DATA=DIR python benchmarks/judging.py [--json] [--sets cookies magnetic_tile]

DIR holds the sets, each laid out as MVTec AD (train/good, test/good, test/<defect>, ground_truth/<defect>). Every
setting is the default one.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.config import load_station
from edge.evaluate import evaluate
from edge.inspector import Inspector
from edge.labelled import samples
from edge.summary import report
from edge.teach import teach

SETS = ("cookies", "magnetic_tile")
PRODUCT = "part"
HEAD = f"{'set':14} {'references':>10} {'bank':10} {'AUROC':>6} {'pixel':>6} {'false calls':>11} {'escapes':>8} {'p50 ms':>7}"


@dataclass(frozen=True)
class Row:
    """What was measured on one set; rates are shares, times of the whole frame."""

    set: str
    references: int
    bank: str
    auroc: float
    pixel_auroc: float | None
    false_call_rate: float
    escape_rate: float
    per_class: dict[str, float]
    p50_ms: float
    teach_s: float
    reasons: list[str]

    def __str__(self) -> str:
        pixel = "-" if self.pixel_auroc is None else f"{self.pixel_auroc:.3f}"
        return (
            f"{self.set:14} {self.references:10} {self.bank:10} {self.auroc:6.3f} {pixel:>6} "
            f"{self.false_call_rate:11.3f} {self.escape_rate:8.3f} {self.p50_ms:7.1f}"
        )


def measure(folder: Path, directory: Path) -> Row:
    """Teach and evaluate one set, with its state in `directory`."""
    (directory / "config.toml").write_text('state_dir = "state"\npipelines_dir = "pipelines"\n')
    station = load_station(directory / "config.toml")
    started = time.perf_counter()
    taught = teach(station, PRODUCT, folder / "train" / "good", lambda _stage, _done, _total: None)
    teach_s = time.perf_counter() - started
    inspector = Inspector.load(station, PRODUCT)
    role = inspector.roles[0]
    found = report(evaluate(inspector, role, samples(folder), lambda _done, _total: None))
    return Row(
        set=folder.name,
        references=taught.references,
        bank=str(inspector.references.view(role).regions[0].bank),
        auroc=found.auroc,
        pixel_auroc=found.pixel_auroc,
        false_call_rate=found.false_call_rate,
        escape_rate=found.escape_rate,
        per_class=found.per_class,
        p50_ms=found.latency_ms["p50"] or 0.0,
        teach_s=teach_s,
        reasons=[reason for view in taught.views for reason in view.reasons],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    arguments = parser.parse_args()
    data = os.environ.get("GOLDLINE_TEST_DATA")
    if data is None:
        sys.exit("GOLDLINE_TEST_DATA is not set: the folder that holds " + " and ".join(SETS))
    rows = []
    if not arguments.json:
        print(HEAD)
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as directory:
            rows.append(measure(Path(data) / name, Path(directory)))
        if not arguments.json:
            print(rows[-1], flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
