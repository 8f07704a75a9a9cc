"""What publish works with while its outbox cannot be opened: so that it comes up, says why, and answers what is in flight.

1. The outbox is opened on a thread of its own, for a disk may hang. Where that fails or takes too long, this stands in.
2. The station is in Error and takes no triggers; under `when_disk_full = "lanes"` it takes them, as on a full disk.
   What is decided waits in its log, or is let go and named later. Nothing is sent as an event, and no heartbeat.
3. Once the outbox can be opened and read, publish ends and is started again: what an earlier publish left is taken up at
   a start.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillWaiting
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog

from edge import outbox_file
from edge.errors import GoldlineError
from edge.events import IdRange
from edge.ledger import Closing
from edge.outbox import Outbox, OutboxError, Trouble

# An outbox is open after some milliseconds, on a slow disk that has a log to fold in after seconds. A worker that does
# not beat is ended after 30 s.
OPEN_WITHIN_S = 5.0
# While nothing is open there is no stream.
NO_STREAM = UUID(int=0)


def opened(path: Path, run: str, way: Callable[[Path, str], Outbox], within_s: float = OPEN_WITHIN_S) -> Outbox:
    """The outbox, by `way`, or what stands in for it. Raises GoldlineError for one that a person must see to."""
    opening: Future[Outbox] = Future()
    # A thread of a disk that hangs keeps no process from leaving.
    threading.Thread(target=_open, args=(opening, path, run, way), name="open", daemon=True).start()
    try:
        return opening.result(within_s)
    except StillWaiting:
        opening.add_done_callback(_close)
        silent = OutboxError(f"{path}: the outbox cannot be used: the disk does not answer", Trouble.FAILED)
        return Unopened(path, run, silent, opening)
    except OutboxError as problem:
        return Unopened(path, run, problem, opening)


def _open(opening: Future[Outbox], path: Path, run: str, way: Callable[[Path, str], Outbox]) -> None:
    try:
        opening.set_result(way(path, run))
    except (GoldlineError, sqlite3.Error) as problem:
        opening.set_exception(problem)
    finally:
        # Whoever waits is told in any case; what it was is in the log.
        opening.cancel()


def _close(opening: Future[Outbox]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class Unopened(Outbox):
    """In the place of the outbox: knows of no event, and whatever would write raises OutboxError with the cause."""

    def __init__(self, path: Path, run: str, problem: OutboxError, opening: Future[Outbox]) -> None:
        """`opening` may still be going on: then the disk hangs."""
        self._begin(path, run)
        self._problem, self._opening = problem, opening
        self.stream, self.head, self.low, self.aside_name = NO_STREAM, 0, 0, None
        # What a start asks: it must be able to, or publish would end over and over.
        self._asked: list[int] = []
        # Set by the thread that owns the outbox; from then on it is publish's turn to end.
        self.can_be_opened = False

    @classmethod
    def instead_of(cls, outbox: Outbox, problem: OutboxError) -> "Unopened":
        """For one that was opened, and then could not be read."""
        opening: Future[Outbox] = Future()
        opening.set_result(outbox)
        return cls(outbox.path, outbox.run, problem, opening)

    @property
    def problem(self) -> OutboxError:
        """Why it is not open."""
        return OutboxError(str(self._problem), self._problem.trouble)

    def close(self) -> None:
        """There is nothing to close."""

    def reopen(self) -> None:
        """Look whether a start could use it now: `can_be_opened`. It is not opened here. Raises OutboxError: it is not."""
        if not self._opening.done():
            raise self.problem
        if not self.can_be_opened:
            try:
                self._look()
            except OutboxError as problem:
                self._problem = problem
                raise
            self._give_way()
        raise self.problem

    def set_aside(self, now_utc_ns: int, why: str) -> NoReturn:
        """A start does that, where it may: `can_be_opened`. Raises OutboxError: it is as it was."""
        outbox_file.refuse_another(self.path)
        self._give_way()
        raise self.problem

    def _look(self) -> None:
        """Open it and read what a start reads (`Books.recover`)."""
        with Outbox(self.path, self.run) as found:
            found.counts()
            for trigger_id in self._asked:
                found.has_event(trigger_id)

    def _give_way(self) -> None:
        structlog.get_logger().info("the outbox can be opened: publish is started again", file=str(self.path))
        self.can_be_opened = True

    def has_event(self, trigger_id: int) -> bool:
        """Nobody knows: what is decided is queued again, and the outbox passes over what it has."""
        self._asked.append(trigger_id)
        return False

    def counts(self) -> dict[Closing, int]:
        """Nobody knows."""
        return {}

    def lost_ids(self, runtime: UUID) -> tuple[IdRange, ...]:
        """They are named when the outbox is there again."""
        return ()

    def adopt(self, runtime: UUID, blocks: Sequence[tuple[str, int, int]]) -> None:
        """None of these is given again. The next start has it written down."""
        self._ids.skip(blocks)

    def _transaction(self) -> NoReturn:
        raise self.problem
