"""A few bytes in a mapped file that one process replaces and others read: after a kill at any instant, the old or the new."""

import mmap
import struct
from zlib import crc32

# crc32, length, version; the CRC covers version, length and note.
_HEAD = struct.Struct("<IIQ")
_CHECKED = struct.Struct("<QI")
# Two copies, behind the file's own head and before what begins at 3 KiB; the whole one of the higher version counts.
_COPIES_AT = (1024, 2048)
NOTE_MAX_BYTES = 1024 - _HEAD.size


class Note:
    """The note of the file that is mapped here. The mapping is its owner's, who closes it."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._map = mapped

    def write(self, note: bytes) -> None:
        """Replace it: `note` has at most NOTE_MAX_BYTES."""
        version = max((found[0] for at in _COPIES_AT if (found := self._copy(at)) is not None), default=0) + 1
        crc = crc32(note, crc32(_CHECKED.pack(version, len(note))))
        at = _COPIES_AT[version % 2]
        self._map[at : at + _HEAD.size + len(note)] = _HEAD.pack(crc, len(note), version) + note

    def read(self) -> bytes:
        """Empty when there is none yet."""
        found = [copy for at in _COPIES_AT if (copy := self._copy(at)) is not None]
        return max(found)[1] if found else b""

    def _copy(self, at: int) -> tuple[int, bytes] | None:
        crc: int
        length: int
        version: int
        crc, length, version = _HEAD.unpack_from(self._map, at)
        note = self._map[at + _HEAD.size : at + _HEAD.size + min(length, NOTE_MAX_BYTES)]
        whole = version > 0 and crc32(note, crc32(_CHECKED.pack(version, length))) == crc
        return (version, note) if whole else None
