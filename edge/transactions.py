"""One way to change an SQLite database that is opened with `isolation_level=None`: all of a change, or none of it."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def transaction(database: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """All of what is done inside, committed, or none of it. Raises sqlite3.Error."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself when the disk is full.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
