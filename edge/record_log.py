"""A ring of records in a mapped file: one writer, any readers, and only whole records, whoever is killed when.

The file is memory that outlives processes, not a promise about power: nothing is synced, and a file of an earlier
boot is not opened. Three areas, each with one writer:

- the head page, written once before the file gets its name, and two copies of a small *note* of the writer;
- the marks, one 8-byte word a slot, written by the reader: "the record that starts here is finished with";
- the records, each over one or more consecutive slots.

Appending a record:
1. The oldest records are let go until there is room; one that is not marked refuses the append (`Full`).
2. The head of the first slot is zeroed: from here on the old record there is gone.
3. The body is written, round the end of the ring if need be.
4. The head is written. Its CRC covers index, length and body, so a reader sees the whole record or none.
"""

import mmap
import os
import struct
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self
from zlib import crc32

from edge.errors import GoldlineError
from edge.record_note import Note

MAGIC = b"GLRECLG1"
# magic, identity, boot, slots, bytes a slot, length of the name, then the name.
_FILE = struct.Struct("<8s16s16sIII")
# crc32, length, index, state; the state byte is outside the CRC and changes later, alone.
_HEAD = struct.Struct("<IIQB7x")
_CHECKED = struct.Struct("<QI")
_STATE_AT = 16
_PAGE = mmap.PAGESIZE
_WORD = 8
# Behind the notes: when the writer's loop last came round, CLOCK_MONOTONIC in ns, and how far it had written by then.
_BEAT_AT = 3072


class Full(GoldlineError):
    """The ring has come round to a record that is not finished with."""


class Located(NamedTuple):
    """A whole record: the slot it starts `at` (counted for ever, never wrapped), its state and its bytes."""

    at: int
    state: int
    body: bytes


@cache  # No process outlives its boot; and who asks on every turn may have no descriptor left to open a file with.
def boot_identity() -> bytes:
    """The kernel's id of this boot: 16 bytes. Monotonic times of another boot mean nothing."""
    return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()).bytes


def _marks_bytes(slots: int) -> int:
    return -(-slots * _WORD // _PAGE) * _PAGE


def _file_bytes(slots: int, slot_bytes: int) -> int:
    return _PAGE + _marks_bytes(slots) + slots * slot_bytes


class RecordLog:
    """One mapped file. Use `create` or `resume` in the writer, `attach` in a reader; `close` unmaps."""

    def __init__(self, path: Path, *, is_writer: bool = False) -> None:
        """Map an existing file. Raises ValueError when it is no whole record log: what a power cut may leave."""
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
            self._inode = os.fstat(file.fileno()).st_ino
        if len(self._map) < _PAGE or self._map[: len(MAGIC)] != MAGIC:
            raise ValueError(f"{path}: not a record log")
        self.slots: int
        self.slot_bytes: int
        _, identity, self.boot, self.slots, self.slot_bytes, length = _FILE.unpack_from(self._map)
        if len(self._map) != _file_bytes(self.slots, self.slot_bytes):
            raise ValueError(f"{path}: cut short")
        self.identity = uuid.UUID(bytes=identity)
        self.name = self._map[_FILE.size : _FILE.size + length].decode()
        self._records_at = _PAGE + _marks_bytes(self.slots)
        self._ring_bytes = self.slots * self.slot_bytes
        # Native 8-byte words: an aligned store of one is a single instruction, so it is whole or not there.
        self._marks = memoryview(self._map)[_PAGE : _PAGE + self.slots * _WORD].cast("Q")
        self._beat = memoryview(self._map)[_BEAT_AT : _BEAT_AT + 2 * _WORD].cast("Q")
        self._note = Note(self._map)
        self._live: deque[tuple[int, int]] = deque()
        self._next = 0
        if is_writer:
            self._find_end()

    @classmethod
    def create(cls, path: Path, name: str, slots: int, slot_bytes: int) -> Self:
        """A new, empty log in place of whatever was at `path`; it appears there complete or not at all.

        Raises GoldlineError where it cannot be written, as on a full file system.
        """
        temporary = path.with_suffix(f".{os.getpid()}.new")
        title = name.encode()
        head = _FILE.pack(MAGIC, uuid.uuid4().bytes, boot_identity(), slots, slot_bytes, len(title))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w+b") as file:
                # Allocated now, so that a full file system is an error here and not a SIGBUS on the line.
                os.posix_fallocate(file.fileno(), 0, _file_bytes(slots, slot_bytes))
                file.write(head + title)
            temporary.replace(path)
        except OSError as failure:
            with suppress(OSError):  # every further try would leave another
                temporary.unlink(missing_ok=True)
            raise GoldlineError(f"{path}: this log cannot be written: {failure.strerror}") from failure
        return cls(path, is_writer=True)

    @classmethod
    def attach(cls, path: Path, *, is_writer: bool = False) -> Self | None:
        """The log at `path` if there is one of this boot."""
        try:
            log = cls(path, is_writer=is_writer)
        except (FileNotFoundError, ValueError):
            return None
        if log.boot == boot_identity():
            return log
        log.close()
        return None

    @classmethod
    def resume(cls, path: Path, name: str, slots: int, slot_bytes: int) -> Self:
        """The writer's log: the one at `path` if it is of this boot, name and size, else a new one."""
        log = cls.attach(path, is_writer=True)
        if log is not None and (log.name, log.slots, log.slot_bytes) == (name, slots, slot_bytes):
            return log
        if log is not None:
            log.close()
        return cls.create(path, name, slots, slot_bytes)

    def close(self) -> None:
        """Unmap. The file stays."""
        self._marks.release()
        self._beat.release()
        self._map.close()

    @property
    def is_current(self) -> bool:
        """Whether this is still the file at its path: another writer may have put a new one there."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    # --- the writer ------------------------------------------------------------------------------------------

    def append(self, body: bytes) -> int:
        """Write one record and return its index. Raises Full when unfinished records leave no room."""
        span = self._span(len(body))
        self._make_room(span)
        index = self._next
        at = self._at(index)
        self._map[at : at + _HEAD.size] = bytes(_HEAD.size)
        self._put(at + _HEAD.size, body)
        crc = crc32(body, crc32(_CHECKED.pack(index, len(body))))
        _HEAD.pack_into(self._map, at, crc, len(body), index, 0)
        self._live.append((index, span))
        self._next = index + span
        return index

    def has_room(self, length: int) -> bool:
        """Whether a record of `length` bytes can be appended now."""
        try:
            self._make_room(self._span(length))
        except Full:
            return False
        return True

    @property
    def written(self) -> int:
        """The index behind the newest record. For the writer: a reader has to search for it (`unfinished`)."""
        return self._next

    def set_state(self, index: int, state: int) -> None:
        """Replace the state byte of the record at `index`."""
        self._map[self._at(index) + _STATE_AT] = state

    def beat(self, now_ns: int) -> None:
        """The writer's loop came round."""
        self._beat[1] = self._next
        self._beat[0] = now_ns

    @property
    def beat_ns(self) -> int:
        """When the writer's loop last came round; 0 before the first time."""
        return self._beat[0]

    @property
    def beat_end(self) -> int:
        """The index behind the newest record at that time. What is below it and cannot be read was overwritten."""
        return self._beat[1]

    def write_note(self, note: bytes) -> None:
        """Replace the writer's note: after a kill at any instant it is the old one or the new one."""
        self._note.write(note)

    # --- readers ---------------------------------------------------------------------------------------------

    def read(self, index: int) -> Located | None:
        """The record that starts at `index`, or None while it is not there (yet, or any more)."""
        at = self._at(index)
        crc, length, found, state = _HEAD.unpack_from(self._map, at)
        if found != index or length > self._ring_bytes - _HEAD.size:
            return None
        body = self._get(at + _HEAD.size, length)
        if crc32(body, crc32(_CHECKED.pack(index, length))) != crc:
            return None
        return Located(index, state, body)

    def after(self, record: Located) -> int:
        """The index at which the next record starts."""
        return record.at + self._span(len(record.body))

    def records(self) -> Iterator[Located]:
        """Every whole record, oldest first, finished with or not. One at a time is in memory."""
        # What stands in the middle of a record may look like a head; `read` tells.
        heads = ((slot, _HEAD.unpack_from(self._map, self._at(slot))[2]) for slot in range(self.slots))
        for index in sorted(index for slot, index in heads if index % self.slots == slot):
            if (record := self.read(index)) is not None:
                yield record

    def unfinished(self) -> tuple[list[Located], int]:
        """The whole records that are not marked, oldest first, and the index behind the newest record of all."""
        records: list[Located] = []
        end = 0
        for record in self.records():
            end = self.after(record)
            if not self.is_marked(record.at):
                records.append(record)
        return records, end

    def follow(self, index: int) -> Iterator[Located]:
        """The records from `index` on, as far as they are there."""
        while (record := self.read(index)) is not None:
            yield record
            index = self.after(record)

    def state(self, index: int) -> int:
        """The state byte of the record at `index`."""
        return self._map[self._at(index) + _STATE_AT]

    def mark(self, index: int) -> None:
        """Finished with the record at `index`: it may be overwritten."""
        self._marks[index % self.slots] = index + 1

    def is_marked(self, index: int) -> bool:
        """Whether `mark` was called for the record at `index`."""
        return self._marks[index % self.slots] == index + 1

    def read_note(self) -> bytes:
        """The writer's note; empty when there is none yet."""
        return self._note.read()

    # --- inside ----------------------------------------------------------------------------------------------

    def _find_end(self) -> None:
        for record in self.records():
            self._next = self.after(record)
            self._live.append((record.at, self._next - record.at))

    def _make_room(self, span: int) -> None:
        if span > self.slots // 4:
            raise Full(f"{self.path}: a record of {span * self.slot_bytes} bytes is too long for this log")
        while self._live and self._next + span - self._live[0][0] > self.slots:
            if not self.is_marked(self._live[0][0]):
                raise Full(f"{self.path}: full of records that are not finished with")
            self._live.popleft()

    def _span(self, length: int) -> int:
        return -(-(_HEAD.size + length) // self.slot_bytes)

    def _at(self, index: int) -> int:
        return self._records_at + index % self.slots * self.slot_bytes

    def _put(self, at: int, body: bytes) -> None:
        first = min(len(body), self._records_at + self._ring_bytes - at)
        self._map[at : at + first] = body[:first]
        self._map[self._records_at : self._records_at + len(body) - first] = body[first:]

    def _get(self, at: int, length: int) -> bytes:
        first = min(length, self._records_at + self._ring_bytes - at)
        return self._map[at : at + first] + self._map[self._records_at : self._records_at + length - first]
