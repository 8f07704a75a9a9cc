"""What was ordered of the station, kept in its runtime directory: `<runtime_dir>/job.json`, replaced whole.

It outlives every process of the station and its restarts, not the machine's: after a power cut the configuration
decides again (`[orders] autostart`, `product`). Publish writes it; inspection reads which product it is to load.
"""

import os
from pathlib import Path

import msgspec
import structlog

from edge import job
from edge.config import Station, runtime_directory
from edge.job import Job, Mode, Single
from edge.messages import Announce, Prepare
from edge.record_log import boot_identity
from edge.records import Record


class Kept(Record, frozen=True):
    """The file.

    `boot`, `run`: of the machine and of the station (its supervisor) when it was written; `configured`: the product that
    the configuration named then. `generation` counts the products prepared, on from the configuration's own.
    """

    boot: str
    run: str
    configured: str | None
    mode: Mode
    single: Single | None = None
    is_warm: bool = False
    product: str | None = None
    variant: str | None = None
    generation: int = 1
    since_ns: int = 0
    # The highest that was given to any product, also one that never came into force.
    newest_generation: int = 1
    # For each name the announcements that no trigger bears yet, oldest first, and the newest number that was given.
    announced: dict[str, tuple[Announce, ...]] = {}
    newest_number: int = 0


def read(runtime: Path) -> Kept | None:
    """What stands there, if it is of this boot; None also for a file that cannot be read."""
    try:
        kept = msgspec.json.decode((runtime / "job.json").read_bytes(), type=Kept)
    except (OSError, ValueError, RecursionError):  # of msgspec: DecodeError, and UnicodeDecodeError
        return None
    return kept if kept.boot == boot_identity().hex() else None


def write(runtime: Path, kept: Kept) -> None:
    """Replace it. Raises OSError."""
    partial = runtime / "job.json.partial"
    partial.write_bytes(msgspec.json.encode(kept))
    os.replace(partial, runtime / "job.json")


class Keeping:
    """The file as publish writes it: only what has changed."""

    def __init__(self, runtime: Path) -> None:
        """Nothing is written yet."""
        self._runtime = runtime
        self._written: Kept | None = None

    def save(self, kept: Kept) -> None:
        """A disk that refuses it costs what was ordered at the next start, nothing else."""
        if kept == self._written:
            return
        self._written = kept
        try:
            write(self._runtime, kept)
        except OSError as problem:
            structlog.get_logger().warning("what was ordered is not kept over a restart", problem=problem.strerror)


class InForce(Record, frozen=True):
    """What is to be judged by."""

    product: str | None
    variant: str | None
    generation: int
    # Frames that inspection was handed after this time (CLOCK_MONOTONIC) are judged by it, or nobody may use the verdict.
    since_ns: int = 0

    @property
    def order(self) -> Prepare:
        """To inspection, to judge by it."""
        return Prepare(product=self.product or "", generation=self.generation, variant=self.variant)


def in_force(station: Station, kept: Kept | None, generation: int) -> InForce:
    """The product that was prepared last; the configuration's, where none was or it names another by now."""
    if kept is None:
        return InForce(product=station.product, variant=None, generation=generation)
    # A configuration that names the product that is in force anyway changes nothing.
    if kept.product is None or station.product not in (kept.configured, kept.product):
        newest = max(generation, kept.newest_generation)
        # A reload has its number already; of a station that was started anew it is 1.
        is_given = generation == newest > kept.generation
        return InForce(product=station.product, variant=None, generation=generation if is_given else newest + 1)
    generation = max(generation, kept.generation)
    return InForce(product=kept.product, variant=kept.variant, generation=generation, since_ns=kept.since_ns)


def taken_up(kept: Kept | None, run: str, *, autostart: bool) -> Job:
    """The job as another publish left it; of another run of the station, cold, and no single execution."""
    if kept is None:
        return Job(mode=job.first_mode(autostart=autostart))
    if kept.run == run:
        return Job(mode=kept.mode, single=kept.single, is_warm=kept.is_warm)
    return Job(mode=Mode.IDLE if kept.mode is Mode.SINGLE else kept.mode)


def read_in_force(station: Station, generation: int) -> InForce:
    """For inspection, which loads it."""
    return in_force(station, read(runtime_directory(station)), generation)
