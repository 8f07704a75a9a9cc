"""Time on the processors, and memory, as the kernel counts them."""

import os
from collections.abc import Iterator
from pathlib import Path

from edge.device.sample import Sample, text_of

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# The columns of the first line of /proc/stat (proc_stat(5)) that each mode is the sum of.
COLUMNS = {"user": (0, 1), "system": (2, 5, 6), "iowait": (4,), "steal": (7,), "idle": (3,)}
MEMORY = {
    "MemAvailable": "goldline_device_memory_available_bytes",
    "MemTotal": "goldline_device_memory_total_bytes",
}


class Processor:
    """Reads below `proc`, which is /proc but in tests."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        # The kernel's iowait and steal may go back a little; a counter may not.
        self._highest = dict.fromkeys(COLUMNS, 0.0)

    def read(self) -> Iterator[Sample]:
        """Time by mode, and memory."""
        ticks = (text_of(self._proc / "stat") or "").partition("\n")[0].split()[1:]
        for mode, columns in COLUMNS.items():
            if len(ticks) > max(columns):
                seconds = sum(int(ticks[column]) for column in columns) / TICKS_PER_S
                self._highest[mode] = max(self._highest[mode], seconds)
                yield Sample("goldline_device_cpu_seconds_total", self._highest[mode], (mode,))
        for line in (text_of(self._proc / "meminfo") or "").splitlines():
            key, _, amount = line.partition(":")
            if key in MEMORY:
                yield Sample(MEMORY[key], int(amount.split()[0]) * 1024.0)
