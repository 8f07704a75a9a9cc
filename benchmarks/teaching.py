"""What teaching and learning take: wall time, and the largest resident size of the command, as a user runs it.

    python benchmarks/teaching.py [--json] [--references 30 100 300] [--size 640 480]

Drawn photographs of the demo product. `goldline teach`, then `goldline learn` of one more image into what was taught.
Needs `pip install .[cpu]` and nothing else.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from edge import rehearsal

COLUMNS = f"{'references':>10} {'teach s':>8} {'MiB':>6} {'learn s':>8} {'MiB':>6}"


@dataclass(frozen=True)
class Row:
    """Seconds and MiB of the two commands."""

    references: int
    teach_s: float
    teach_mib: float
    learn_s: float
    learn_mib: float

    def __str__(self) -> str:
        return (
            f"{self.references:10} {self.teach_s:8.1f} {self.teach_mib:6.0f} {self.learn_s:8.1f} {self.learn_mib:6.0f}"
        )


def run(*words: str | Path) -> tuple[float, float]:
    """Seconds and MiB of one command."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "edge", *map(str, words)]
    quiet = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_WRONLY, 0) for descriptor in (1, 2)]
    process = os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(process, 0)
    assert status == 0, f"{' '.join(command)}: {status}"
    return time.perf_counter() - started, used.ru_maxrss / 1024


def measure(references: int, size: tuple[int, int]) -> Row:
    """One set, taught and added to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rehearsal.draw_good_parts(folder / "good", references, size, 1)
        rehearsal.draw_good_parts(folder / "more", 1, size, 2)
        config = rehearsal.write_config(folder, {"camera": {"source": "simulated"}})
        teach = run("teach", rehearsal.PRODUCT, "--good", folder / "good", "--config", config)
        new = next((folder / "more").iterdir())
        learn = run("learn", rehearsal.PRODUCT, "--good", new, "--config", config)
        return Row(references, *teach, *learn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument("--references", type=int, nargs="+", default=(30, 100, 300))
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    arguments = parser.parse_args()
    rows = [measure(count, tuple(arguments.size)) for count in arguments.references]
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print(COLUMNS, *rows, sep="\n")


if __name__ == "__main__":
    main()
