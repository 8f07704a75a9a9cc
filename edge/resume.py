"""How publish begins and ends: takes up what earlier processes left, says what a power cut took; gives back what it held.

A disk that cannot be written keeps none of it: what is to be written then waits for the outbox thread.
"""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog

from edge import unkept
from edge.books import COMMANDS, Books
from edge.committer import Committer, Decided, Lost, Reserve
from edge.config import Station
from edge.decided_log import DecidedLog
from edge.events import IdRange
from edge.outbox import Outbox, OutboxError, Trouble
from edge.unopened import Unopened

Result = TypeVar("Result")


def recover(books: Books, outbox: Outbox) -> tuple[Outbox, list[Decided]]:
    """Read what earlier processes left. The outbox to go on with, and what is decided and not on disk."""
    try:
        return outbox, _read(outbox, lambda: books.recover(outbox))
    except OutboxError as problem:
        nothing = Unopened.instead_of(outbox, problem)
        return nothing, books.recover(nothing)


def begin(
    station: Station,
    books: Books,
    outbox: Outbox,
    decided: DecidedLog,
    committer: Committer,
    pending: Iterable[Decided],
) -> None:
    """Queue what is decided and not on disk, and start the outbox thread."""
    try:
        outbox.adopt(decided.identity, books.blocks())
    except OutboxError as problem:
        structlog.get_logger().warning("the trigger ids in use are not noted", problem=str(problem))
    if any(camera.trigger.mode == "software" for camera in station.cameras.values()):
        _have_ids(books, outbox, decided, committer)
    if lost := _lost_ids(outbox, decided):
        committer.submit(Lost(unkept.draft(books.source, lost, time.time_ns())))
        structlog.get_logger().warning("triggers without a record: the power failed", ranges=len(lost))
    for work in pending:
        committer.submit(work)
    books.begin(committer.submit)
    committer.start()


def _read(outbox: Outbox, look: Callable[[], Result]) -> Result:
    """What the outbox has; one that is broken where it was not looked at before is set aside for a new one."""
    try:
        return look()
    except OutboxError as problem:
        if problem.trouble is not Trouble.CORRUPT:
            raise
        outbox.set_aside(time.time_ns(), str(problem))
        return look()


def _lost_ids(outbox: Outbox, decided: DecidedLog) -> tuple[IdRange, ...]:
    try:
        return _read(outbox, lambda: outbox.lost_ids(decided.identity))
    except OutboxError as problem:
        # They stay reserved: the next start finds them.
        structlog.get_logger().warning("what went with the power cannot be read", problem=str(problem))
        return ()


def _have_ids(books: Books, outbox: Outbox, decided: DecidedLog, committer: Committer) -> None:
    """For orders, before the first is read."""
    if not books.commands.wants_ids:
        return
    try:
        books.take_ids(*outbox.reserve(COMMANDS, decided.identity))
    except OutboxError:
        committer.submit(Reserve(COMMANDS))


def end(books: Books, outbox: Outbox, decided: DecidedLog, committer: Committer) -> None:
    """Close what is open, and have it on disk. What could not be written stays reserved: the next start finds it."""
    books.shut_down()
    is_complete = committer.finish()
    held = books.held_ids()
    try:
        if is_complete:
            outbox.release(decided.identity, held)
    except OutboxError as problem:
        structlog.get_logger().warning("the trigger ids that are left are not given back", problem=str(problem))
