"""What the archive has, in SQLite beside the pictures: for its bounds, and for finding one.

It is made from the files and can be made from them again. Synchronous NORMAL: a power cut may cost its newest rows,
which the next start reads from the files. Errors are sqlite3's.
"""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.archive_record import Sidecar
from edge.archive_retention import Entry
from edge.lived import Instant, Lived
from edge.transactions import transaction

FILE = "index.sqlite3"
# Who asks while the archive writes waits for a transaction of one picture.
BUSY_S = 2.0
# Of 4 KiB: what the index takes beside itself stays below half a megabyte, on a small disk as well.
WAL_PAGES = 100
# Of the tables below. An index of another version is emptied, and made anew from the files.
VERSION = 2
# Of a SHA-256, for a picture to be found by it: fewer are more likely a trigger id.
LEAST_DIGITS = 8

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pictures (sha256 TEXT PRIMARY KEY, file TEXT NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, trigger_id INTEGER NOT NULL, view TEXT NOT NULL, verdict TEXT NOT NULL,
    product TEXT NOT NULL, unit_identifier TEXT, taken_utc_ns INTEGER NOT NULL, bytes INTEGER NOT NULL,
    kept_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lived (
    id INTEGER PRIMARY KEY CHECK (id = 1), ns INTEGER NOT NULL, utc_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL,
    boot TEXT NOT NULL, is_whole INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_age ON records (kept_ns);
CREATE INDEX IF NOT EXISTS by_trigger ON records (trigger_id);
CREATE INDEX IF NOT EXISTS by_unit ON records (unit_identifier);
CREATE INDEX IF NOT EXISTS by_pixels ON records (sha256);
"""
_EMPTIED = "DROP TABLE IF EXISTS pictures; DROP TABLE IF EXISTS records; DROP TABLE IF EXISTS lived;"


@dataclass(frozen=True)
class Row:
    """One kept picture of one trigger, as it is found."""

    name: str
    sha256: str
    trigger_id: int
    view: str
    verdict: str
    product: str
    unit_identifier: str | None
    taken_utc_ns: int


@dataclass(frozen=True)
class Wanted:
    """What to look for; all that is given must hold. `text` is a trigger id, a unit identifier or the first digits of a SHA-256."""

    text: str | None = None
    verdict: str | None = None
    since_utc_ns: int | None = None
    most: int | None = None


class Index:
    """An open index. One thread writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def create_or_open(cls, directory: Path) -> "Index":
        """To write in."""
        connection = sqlite3.connect(directory / FILE, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                connection.executescript(f"BEGIN; {_EMPTIED} {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return cls(connection)

    @classmethod
    @contextmanager
    def reading(cls, directory: Path) -> Generator["Index"]:
        """To look things up in."""
        # The folder's name may hold what means something in a URI.
        address = f"{(directory / FILE).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as connection:
            yield cls(connection)

    def close(self) -> None:
        """Let it go."""
        self._connection.close()

    # --- writing

    def add(self, sidecar: Sidecar, *, picture_bytes: int, record_bytes: int, kept_ns: int) -> None:
        """A picture and its record, which are both on disk. Said again, it stands once.

        `kept_ns`: what the archive had lived when it came.
        """
        row = (sidecar.name, sidecar.sha256, sidecar.trigger_id, sidecar.view, str(sidecar.outcome), sidecar.product)
        with transaction(self._connection) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", (sidecar.sha256, sidecar.file, picture_bytes)
            )
            connection.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, sidecar.unit_identifier, sidecar.taken_utc_ns, record_bytes, kept_ns),
            )

    def note(self, lived: Lived, *, is_whole: bool) -> None:
        """For whoever opens it next: how long the archive has lived, and whether every file was looked at once."""
        row = (lived.ns, lived.at.utc_ns, lived.at.boot_ns, lived.at.boot, is_whole)
        with transaction(self._connection) as connection:
            connection.execute("INSERT OR REPLACE INTO lived VALUES (1, ?, ?, ?, ?, ?)", row)

    def remove(self, names: Sequence[str]) -> list[str]:
        """These records, and the pictures that no other has; the files of those are returned."""
        with transaction(self._connection) as connection:
            pixels = {name[:64] for name in names}
            connection.executemany("DELETE FROM records WHERE name = ?", [(name,) for name in names])
            alone = [
                (sha256, file)
                for one in pixels
                for sha256, file in connection.execute(
                    "SELECT sha256, file FROM pictures WHERE sha256 = ?"
                    " AND NOT EXISTS (SELECT 1 FROM records WHERE records.sha256 = pictures.sha256)",
                    (one,),
                )
            ]
            connection.executemany("DELETE FROM pictures WHERE sha256 = ?", [(sha256,) for sha256, _ in alone])
        return [file for _, file in alone]

    # --- reading

    def noted(self) -> tuple[Lived, bool] | None:
        """What was noted last; None: it is new."""
        row = self._connection.execute("SELECT ns, utc_ns, boot_ns, boot, is_whole FROM lived").fetchone()
        return None if row is None else (Lived(row[0], Instant(*row[1:4])), bool(row[4]))

    def total_bytes(self) -> int:
        """Of every file that it knows."""
        query = "SELECT (SELECT COALESCE(SUM(bytes), 0) FROM pictures) + (SELECT COALESCE(SUM(bytes), 0) FROM records)"
        return int(self._connection.execute(query).fetchone()[0])

    def count(self) -> int:
        """Records."""
        return int(self._connection.execute("SELECT COUNT(*) FROM records").fetchone()[0])

    def oldest(self, most: int) -> list[Entry]:
        """The oldest records, oldest first."""
        rows = self._connection.execute(
            "SELECT name, kept_ns, records.bytes + CASE WHEN"
            " (SELECT COUNT(*) FROM records AS other WHERE other.sha256 = records.sha256) = 1"
            " THEN pictures.bytes ELSE 0 END"
            " FROM records JOIN pictures USING (sha256) ORDER BY kept_ns, name LIMIT ?",
            (most,),
        )
        return [Entry(*row) for row in rows]

    def picture_bytes(self, sha256: str) -> int | None:
        """Of the file with these pixels; None where there is none."""
        row = self._connection.execute("SELECT bytes FROM pictures WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else int(row[0])

    def of_shard(self, shard: str) -> tuple[dict[str, int], set[str]]:
        """Of the pixels whose hash begins so: the pictures' files with their bytes, and the names of the records."""
        between = (shard, shard + "g")
        pictures = self._connection.execute("SELECT file, bytes FROM pictures WHERE sha256 BETWEEN ? AND ?", between)
        records = self._connection.execute("SELECT name FROM records WHERE sha256 BETWEEN ? AND ?", between)
        return dict(pictures.fetchall()), {name for (name,) in records}

    def find(self, wanted: Wanted) -> list[Row]:
        """What is looked for, the newest first."""
        terms: dict[str, tuple[object, ...]] = {}
        if wanted.text is not None:
            number = int(wanted.text) if wanted.text.isdecimal() and len(wanted.text) < 19 else -1
            # Nothing is like a prefix that is too short to be one.
            prefix = wanted.text.lower() if len(wanted.text) >= LEAST_DIGITS else "none"
            terms["(trigger_id = ? OR unit_identifier = ? OR sha256 BETWEEN ? AND ?)"] = (
                number, wanted.text, prefix, prefix + "g",
            )  # fmt: skip
        if wanted.verdict is not None:
            terms["verdict = ?"] = (wanted.verdict,)
        if wanted.since_utc_ns is not None:
            terms["taken_utc_ns >= ?"] = (wanted.since_utc_ns,)
        where = " WHERE " + " AND ".join(terms) if terms else ""
        values = [value for group in terms.values() for value in group]
        columns = "name, sha256, trigger_id, view, verdict, product, unit_identifier, taken_utc_ns"
        # Made of the terms above alone; what was asked for goes in as values.
        query = f"SELECT {columns} FROM records{where} ORDER BY taken_utc_ns DESC, name LIMIT ?"  # noqa: S608
        return [Row(*row) for row in self._connection.execute(query, (*values, wanted.most or -1))]
