"""Reads the machine every few seconds, each source on a thread of its own, and shows what was read last.

A scrape waits for none of them. What was read too long ago is not shown any more; how long ago that was, is.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Self

from prometheus_client.registry import Collector

from edge.border_config import ARCHIVE_FOLDER
from edge.config import Station
from edge.device import disks, jetson, nvidia, temperatures
from edge.device.processor import Processor
from edge.device.sample import Read, Sample
from edge.exposition import Family, Samples

# As often as a station is scraped; a reading takes about a millisecond.
PERIOD_S = 5.0
# Three times missed: what was true then is shown no more.
OLD_AFTER_S = 3 * PERIOD_S
# An end waits no longer for a thread that hangs; it holds nothing.
END_WITHIN_S = 0.5


def sources(station: Station) -> dict[str, Read]:
    """What there is to read on this machine, by name."""
    # Not the archive's own size, which it says itself: the disk that it is on, which may be another.
    directories = {"state": station.state_dir}
    if station.archive.is_on:
        directories["archive"] = station.state_dir / ARCHIVE_FOLDER
    found: dict[str, Read] = {f"disk_{name}": partial(disks.read, name, path) for name, path in directories.items()}
    found |= {"processor": Processor().read, "temperature": temperatures.read}
    if jetson.is_one():
        found["gpu"] = jetson.read
    elif nvidia.is_installed():
        found["gpu"] = nvidia.Cards().read
    return found


class Source:
    """One of them, and the thread that reads it."""

    def __init__(self, name: str, read: Read, period_s: float) -> None:
        self._read, self._period_s, self._over = read, period_s, threading.Event()
        # Put in place as one value: a scrape sees this reading or the one before.
        self._latest: tuple[float, tuple[Sample, ...]] = time.monotonic(), ()
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            # A device that goes while it is read: asked again the next time, and its age says so until then.
            with suppress(OSError):
                samples = tuple(self._read())
                self._latest = time.monotonic(), samples
            if self._over.wait(self._period_s):
                return

    def latest(self, now_s: float) -> tuple[float, tuple[Sample, ...]]:
        """Its age in s, and what was read."""
        read_s, samples = self._latest
        return max(0.0, now_s - read_s), samples

    def end(self) -> None:
        """Read no more. One that hangs is left to itself."""
        self._over.set()

    def join(self, within_s: float) -> None:
        """Wait for its thread."""
        self._thread.join(within_s)


class Device(Collector):
    """All of them, from the start until `close`."""

    def __init__(self, sources: Mapping[str, Read], period_s: float = PERIOD_S) -> None:
        self._sources = {name: Source(name, read, period_s) for name, read in sources.items()}

    def collect(self) -> Iterable[Family]:
        """What was read last, at each scrape."""
        samples, now_s = Samples(), time.monotonic()
        for name, source in self._sources.items():
            age_s, read = source.latest(now_s)
            samples.add("goldline_device_reading_age_seconds", age_s, name)
            for sample in read if age_s <= OLD_AFTER_S else ():
                samples.add(sample.name, sample.value, *sample.labels)
        return samples.families

    def close(self) -> None:
        """End the threads."""
        for source in self._sources.values():
            source.end()
        until_s = time.monotonic() + END_WITHIN_S
        for source in self._sources.values():
            source.join(max(0.0, until_s - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
