"""A log line on a stream that may be a terminal, a file, or a pipe that nobody reads any more. It never waits for one."""

import os
import select
import socket
import stat
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TextIO

# A pipe takes this much whole or not at all (PIPE_BUF), so lines of several processes do not run into each other.
AT_ONCE_BYTES = 4096


class Stream:
    """Writes whole lines; one that cannot be taken is let go, and the next begins on a line of its own."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.descriptor = _descriptor(output)
        self._send = None if self.descriptor is None else self._sending(self.descriptor)
        # A line was cut: its reader fell behind in the middle of it.
        self._is_cut = False

    def write(self, line: str) -> bool:
        """False: nobody takes it, or not all of it."""
        if self._send is None:
            print(line, file=self._output, flush=True)
            return True
        data = (("\n" if self._is_cut else "") + line + "\n").encode(errors="replace")
        begun = False
        while data:
            try:
                data = data[self._send(data[:AT_ONCE_BYTES]) :]
            except OSError:  # it is full, its reader has gone, or the disk below it is full
                self._is_cut |= begun
                return False
            begun = True
        self._is_cut = False
        return True

    def _sending(self, descriptor: int) -> Callable[[bytes], int]:
        """Takes bytes or raises OSError, at once.

        Every process of the station writes to the same pipe: that there is room says nothing of a moment later. And
        O_NONBLOCK is of the open file, which is shared with whoever gave it to us; so it is opened once more.
        """
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(kind):
            connection = socket.socket(fileno=os.dup(descriptor))
            self._closed_with_this(connection.close)
            return lambda data: connection.send(data, socket.MSG_DONTWAIT)
        if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            # Another user's pipe cannot be opened; nor can one without a reader.
            with suppress(OSError):
                own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                self._closed_with_this(partial(os.close, own))
                return partial(os.write, own)
        return partial(_write_if_ready, descriptor)

    def _closed_with_this(self, close: Callable[[], None]) -> None:
        # Not at the process's end, where there may be more to say.
        weakref.finalize(self, close).atexit = False


def _descriptor(output: TextIO) -> int | None:
    """None: of a stream that has none, such as one in memory."""
    try:
        return output.fileno()
    except OSError:
        return None


def _write_if_ready(descriptor: int, data: bytes) -> int:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not any(events & select.POLLOUT for _, events in poll.poll(0)):
        raise BlockingIOError
    return os.write(descriptor, data)
