"""A log line on a stream that may be a terminal, a file, or a pipe that nobody reads any more. It never waits for one."""

import os
import select
from typing import TextIO

# A pipe that is ready takes this much without waiting: PIPE_BUF, and a page of the kernel's.
AT_ONCE_BYTES = 4096


class Stream:
    """Writes whole lines; one that cannot be taken is let go, and the next begins on a line of its own."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.descriptor = _descriptor(output)
        # A line was cut: its reader fell behind in the middle of it.
        self._is_cut = False

    def write(self, line: str) -> bool:
        """False: nobody takes it, or not all of it."""
        if self.descriptor is None:
            print(line, file=self._output, flush=True)
            return True
        data = (("\n" if self._is_cut else "") + line + "\n").encode(errors="replace")
        begun = False
        while data:
            if not _is_ready(self.descriptor):
                self._is_cut |= begun
                return False
            try:
                data = data[os.write(self.descriptor, data[:AT_ONCE_BYTES]) :]
            except OSError:  # its reader has gone, or the disk below it is full
                return False
            begun = True
        self._is_cut = False
        return True


def _descriptor(output: TextIO) -> int | None:
    """None: of a stream that has none, such as one in memory."""
    try:
        return output.fileno()
    except OSError:
        return None


def _is_ready(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))
