"""Cuts the power of a virtual machine that runs the outbox, and counts what was acknowledged and is not there after it.

    python benchmarks/power_cuts.py [--cuts 20] [--seed 1] [--synchronous FULL] [--json]

`--synchronous NORMAL` is the control: SQLite then flushes nothing at a commit, and the losses are seen here.

Needs what `tests/hardware/power_cut.py` does. A cut takes about 20 s on two cores. Exit code 1: something was lost, though
it was said to be on disk.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from command_line import Parser, at_least, need, run, without

from tests.hardware.power_cut import Life, Machine

# What the machine is made of, and Debian's packages of it.
PROGRAMS = (
    ("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("modprobe", "kmod"),
    ("mke2fs", "e2fsprogs"), ("apt-get", "apt"),
)  # fmt: skip
# From the first commit of a life on: some cuts fall into its first, some behind many.
LONGEST_S = 3.0


class Account:
    """What every life said, held against the next."""

    def __init__(self) -> None:
        self.said: dict[int, int] = {}
        self.blocks: list[tuple[int, int]] = []
        self.cuts = self.lost = self.changed = self.reused = self.broken = self.twice = 0

    @property
    def newest(self) -> int:
        """The newest event that was acknowledged."""
        return max(self.said, default=0)

    def add(self, life: Life) -> None:
        """The life after a cut, or the first."""
        if self.said:
            self.cuts += 1
            kept = {sequence: checksum for sequence, checksum in self.said.items() if sequence >= life.low}
            self.lost += sum(sequence > life.head for sequence in kept)
            self.changed += sum(
                life.found[sequence] != checksum for sequence, checksum in kept.items() if sequence in life.found
            )
            self.lost += sum(sequence not in life.found for sequence in kept if sequence <= life.head)
        self.broken += life.integrity != "ok" or life.aside != "-"
        self.reused += sum(sequence in self.said for sequence in life.acknowledged)
        self.twice += sum(first <= other_last for first, _ in life.blocks for _, other_last in self.blocks)
        self.said |= life.acknowledged
        self.blocks += life.blocks

    @property
    def figures(self) -> dict[str, int]:
        """Everything but the first two is to be 0."""
        return {
            "cuts": self.cuts,
            "acknowledged_events": len(self.said),
            "acknowledged_lost": self.lost,
            "acknowledged_changed": self.changed,
            "sequence_numbers_reused": self.reused,
            "trigger_ids_given_twice": self.twice,
            "broken_outboxes": self.broken,
        }


def measure(cuts: int, seed: int, synchronous: str = "FULL", *, is_told: bool = False) -> dict[str, int]:
    """So many cuts, and one more life to look at the last of them."""
    chance, account = random.Random(seed), Account()  # noqa: S311 - where the power is cut is no secret
    with tempfile.TemporaryDirectory(prefix="goldline-power-") as folder:
        machine = Machine(Path(folder), chance)
        for number in range(cuts + 1):
            before_s = time.monotonic()
            life = machine.cut_after(chance.uniform(0.0, LONGEST_S), synchronous)
            account.add(life)
            if is_told:
                spent_s = time.monotonic() - before_s
                print(
                    f"life {number}: {spent_s:.0f} s, {len(life.acknowledged)} new; {account.figures}", file=sys.stderr
                )
    return account.figures


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--cuts", type=at_least(1), default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL", "OFF"), default="FULL")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    need(*(without(*each) for each in PROGRAMS))
    figures = measure(arguments.cuts, arguments.seed, arguments.synchronous, is_told=not arguments.json)
    if arguments.json:
        print(json.dumps(figures))
    for name, value in () if arguments.json else figures.items():
        print(f"{name:<26} {value}")
    if broken := [name for name in list(figures)[2:] if figures[name]]:
        raise SystemExit("broken: " + ", ".join(broken))


if __name__ == "__main__":
    run(main)
