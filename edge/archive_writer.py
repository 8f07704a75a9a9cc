"""The archive's thread: pictures out of the ring, into files."""

import ctypes
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import cv2
import numpy as np
import structlog

from edge import archive_record, picture_file
from edge.archive_retention import Bounds
from edge.archive_store import Files, NoRoom, Store, StoreFailed
from edge.border_config import ArchiveConfig
from edge.channel import Channel, ChannelClosed, ChannelFull
from edge.config import Station
from edge.cutout import Bytes
from edge.lived import Instant
from edge.messages import Keep, Kept, KeptMap
from edge.metrics import Page
from edge.ring import Ring, TornFrame

# With nothing to write, bounds and files are looked after this often.
TIDY_S = 10.0
# Between two steps of that, while there are more: pictures come first.
STEP_S = 0.01
# A disk that did not go along is tried again after this.
RETRY_S = 2.0
# A picture that takes longer to write than this: the disk hangs.
HANG_NS = 10 * 10**9
# The least of the CPU and of the disk that Linux gives: nice 19, and ioprio's idle class.
NICE = 19
IOPRIO_WHO_PROCESS, IOPRIO_IDLE = 1, 3 << 13
# By the kernel's table for each machine (asm/unistd.h).
SYS_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}


@dataclass(frozen=True)
class Picture:
    """A picture in a slot of `ring`, which is given back over `channel`."""

    keep: Keep
    ring: Ring
    channel: Channel


class Writer:
    """`run` is the thread; `take`, `show` and `stop` are the loop's. `boot`: which start of the machine this is."""

    def __init__(self, station: Station, page: Page, boot: str) -> None:
        self._boot = boot
        self._state_dir: Path = station.state_dir
        self._bounds = Bounds(station.archive.max_bytes, station.archive.max_days)
        self._pictures: SimpleQueue[Picture | None] = SimpleQueue()
        self._log = structlog.get_logger()
        self._page = page
        self._written = page.counter("goldline_pictures_written_total")
        self._pruned = page.counter("goldline_pictures_pruned_total")
        self._bytes, self._count = page.gauge("goldline_archive_bytes"), page.gauge("goldline_archive_pictures")
        self._failing = page.gauge("goldline_archive_failing")
        self._store: Store | None = None
        self._retry_s = 0.0
        self._has_failed = False
        self._stopping = False
        # Since when a picture or a step is being worked on; 0: none is.
        self._began_ns = 0

    # --- the loop's side

    def take(self, picture: Picture) -> None:
        """Write this one in its turn."""
        self._pictures.put(picture)

    def take_over(self, config: ArchiveConfig) -> None:
        """Other bounds, from the next picture or look on."""
        self._bounds = Bounds(config.max_bytes, config.max_days)
        if (store := self._store) is not None:
            store.bounds = self._bounds

    def stop(self) -> None:
        """Finish what waits, as far as there is time."""
        self._stopping = True
        self._pictures.put(None)

    @property
    def is_busy(self) -> bool:
        """Something is being written."""
        return self._began_ns > 0

    @property
    def waiting(self) -> int:
        """Pictures that are not begun yet."""
        return self._pictures.qsize()

    def show(self, now_ns: int) -> None:
        """Whether pictures are lost now: the disk refuses them, or hangs."""
        began_ns = self._began_ns
        self._failing.set(self._has_failed or (began_ns > 0 and now_ns - began_ns > HANG_NS))

    # --- the thread

    def run(self) -> None:
        """Until told to stop."""
        _be_modest()
        cv2.setNumThreads(1)
        pause_s = STEP_S
        while True:
            try:
                picture = self._pictures.get(timeout=pause_s)
            except Empty:
                pause_s = self._tidy()
                continue
            if picture is None:
                break
            self._began_ns = time.monotonic_ns()
            self._write(picture)
            self._began_ns = 0
        if self._store is not None:
            self._store.close()

    def _write(self, picture: Picture) -> None:
        keep = picture.keep
        try:
            pixels, maps = _taken(picture)
            store = self._opened()
            store.put(archive_record.sidecar(keep), _files(keep, pixels, maps), self._now())
        except TornFrame:
            self._drop("torn")
        except StoreFailed as problem:
            self._fail(problem)
            self._drop("full" if isinstance(problem, NoRoom) else "disk")
        else:
            self._written.inc()
            self._well()

    def _opened(self) -> Store:
        """The store, opened again some time after it failed. Raises StoreFailed."""
        if self._store is None:
            if time.monotonic() < self._retry_s:
                raise StoreFailed("waits to be tried again")
            self._store = Store(self._state_dir, self._bounds, self._now())
        return self._store

    def _now(self) -> Instant:
        return Instant(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._boot)

    def _tidy(self) -> float:
        """One step, and how long to wait for the next."""
        self._began_ns = time.monotonic_ns()
        try:
            has_more = self._opened().tidy(self._now())
        except StoreFailed as problem:
            self._fail(problem)
            return RETRY_S
        finally:
            self._began_ns = 0
        self._well()
        return STEP_S if has_more else TIDY_S

    def _well(self) -> None:
        assert self._store is not None
        if self._has_failed:
            self._log.info("pictures are kept again")
        self._has_failed = False
        self._bytes.set(self._store.total_bytes)
        self._count.set(self._store.count)
        self._pruned.inc(self._store.take_pruned())

    def _fail(self, problem: StoreFailed) -> None:
        if not self._has_failed:
            self._log.error("pictures cannot be kept", problem=str(problem))
        self._has_failed = True
        if self._store is not None and not isinstance(problem, NoRoom):
            self._store.close()
            self._store = None
            self._retry_s = time.monotonic() + RETRY_S

    def _drop(self, reason: str) -> None:
        self._page.counter("goldline_pictures_dropped_total", stage="archive", reason=reason).inc()


def _be_modest() -> None:
    """This thread gets what nobody else wants."""
    thread = threading.get_native_id()
    # Of a service that runs in real time it would go before everybody, however nice it is.
    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, thread, NICE)
    number = SYS_IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, IOPRIO_WHO_PROCESS, thread, IOPRIO_IDLE)


def _taken(picture: Picture) -> tuple[Bytes, Bytes]:
    """The pixels and the maps, copied out, and the slot given back. Raises TornFrame."""
    keep, ring = picture.keep, picture.ring
    map_bytes = sum(one.width * one.height for one in keep.maps)
    try:
        taken = ring.read(keep.slot, keep.generation)[: keep.used_bytes + map_bytes].copy()
        if not ring.is_intact(keep.slot, keep.generation):
            raise TornFrame(f"slot {keep.slot} was overwritten while it was read")
    finally:
        _give_back(picture)
    pixels = taken[: keep.used_bytes]
    # What is filed under a hash has it.
    if picture_file.sha256(pixels) != keep.image.sha256:
        raise TornFrame(f"slot {keep.slot} has other pixels than were judged")
    return pixels, taken[keep.used_bytes :]


def _give_back(picture: Picture) -> None:
    try:
        picture.channel.send(Kept(slot=picture.keep.slot, generation=picture.keep.generation))
    except (ChannelClosed, ChannelFull):
        return  # whoever lent it has gone


def _files(keep: Keep, pixels: Bytes, maps: Bytes) -> Files:
    size = keep.box[2:]
    return Files(
        picture=picture_file.encode(pixels, size, keep.pixel_format),
        map=picture_file.png(_laid(keep.maps, maps, size)) if keep.maps else None,
    )


def _laid(kept: tuple[KeptMap, ...], levels: Bytes, size: tuple[int, int]) -> Bytes:
    """Every map laid over the kept picture, the highest where they overlap: [h, w], 0 where no region looks."""
    laid = np.zeros((size[1], size[0]), np.uint8)
    at = 0
    for one in kept:
        cells = levels[at : at + one.width * one.height].reshape(one.height, one.width)
        at += cells.size
        matrix = np.array(one.to_picture).reshape(2, 3)
        laid = np.maximum(laid, cv2.warpAffine(cells, matrix, size, flags=cv2.INTER_LINEAR))
    return laid
