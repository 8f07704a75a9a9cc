"""What a lane remembers over its own death: a small mapped file in the runtime directory, whole at any instant.

It holds one value, the newest that was written; after a kill in the middle of writing, the one before it. Like the
trigger logs it is memory that outlives processes and says nothing about power: a file of an earlier boot is not read.
"""

from pathlib import Path

from edge.record_log import RecordLog

# A value takes up to two of the slots: 4 KB. The others hold those before it.
SLOTS, SLOT_BYTES = 8, 2048


def kept_path(runtime: Path, lane: str, channel: str) -> Path:
    """Where this lane keeps what it knows of this channel."""
    return runtime / "lanes" / f"{lane}-{channel}.kept"


def place_path(runtime: Path, lane: str) -> Path:
    """Where this lane keeps how far it has read."""
    return runtime / "lanes" / f"{lane}.place"


class Kept:
    """One value of bytes. Writing takes a few microseconds and no system call."""

    def __init__(self, path: Path, name: str) -> None:
        """The file of this boot and name, or a new one. Raises GoldlineError where it cannot be made."""
        self._log = RecordLog.resume(path, name, SLOTS, SLOT_BYTES)
        records = list(self._log.records())
        # A kill between the two steps of `write` leaves the value before the newest there.
        for record in records[:-1]:
            self._log.mark(record.at)
        self._newest = records[-1].at if records else None
        self.at_start = records[-1].body if records else None

    def write(self, value: bytes) -> None:
        """From here on this is the value, whoever is killed."""
        # 1. The new value stands beside the old. 2. The old may be overwritten by one that comes later.
        before, self._newest = self._newest, self._log.append(value)
        if before is not None:
            self._log.mark(before)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._log.close()
