"""The logs of opened triggers: what was promised, kept in mapped files across the death of any process.

What was decided stands in another (`decided_log.py`).

    triggers/opened-<camera>.log   written by that camera's capture, finished with by publish
    triggers/commands.log          written by publish, for triggers that came as commands

Capture, on a line trigger or a free-running frame:

    log = OpenedLog.create_or_resume(opened_path(runtime, camera), camera)   # keeps its ids over a restart
    if log.wants_ids: channel.send(WantIds())     # at start and on a new link; then once, until Ids comes
    log.add_ids(ids.first, ids.last)              # on Ids
    trigger_id = log.next_id()                    # None: no ids yet, so the frame is dropped and counted
    log.append(trigger)                           # before Opened is sent; raises Full (drop and count)
    log.mark_handed(trigger_id, place)            # before Frame is sent: from here inspection answers for this view
    log.surrender_ids(); log.close()              # at a clean stop

On Fire the trigger is appended in the same way (its id comes with it), so that it can be marked as handed.
`next_id` hands out an id again if nothing was appended with it before a kill: nobody has seen it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import msgspec
import structlog

from edge.record_log import Full, Located, RecordLog
from edge.records import Trigger

__all__ = ["Full", "IdBlock", "OpenedLog", "commands_path", "opened_path"]

# 8192 triggers are over four minutes at 30 a second, far beyond any deadline; 512 bytes hold one with its order.
OPENED_SLOTS, OPENED_SLOT_BYTES = 8192, 512
# A trigger's state: one bit for each of the camera's views of it, the first the lowest, set once that is handed over.
# A byte holds the most views that a part can have.
OPENED, HANDED = 0, 1
# More blocks than one in use and one in reserve are never needed; what comes on top is let go.
MAX_BLOCKS = 2


def opened_path(runtime: Path, camera: str) -> Path:
    """Where the capture process of `camera` keeps its opened triggers."""
    return runtime / "triggers" / f"opened-{camera}.log"


def commands_path(runtime: Path) -> Path:
    """Where publish keeps the triggers that came as commands."""
    return runtime / "triggers" / "commands.log"


class IdBlock(msgspec.Struct, frozen=True, array_like=True):
    """Trigger ids `first` to `last`, included, reserved for one writer; `next` is the first that is unused."""

    first: int
    last: int
    next: int

    def without(self, used: Iterable[int]) -> "IdBlock | None":
        """What is left when the ids in `used` are gone; None when that is nothing."""
        start = max((number + 1 for number in used if self.first <= number <= self.last), default=self.next)
        start = max(start, self.next)
        return IdBlock(self.first, self.last, start) if start <= self.last else None


_decode_trigger = msgspec.msgpack.Decoder(Trigger).decode
_decode_blocks = msgspec.msgpack.Decoder(tuple[IdBlock, ...]).decode
_encode = msgspec.msgpack.Encoder().encode


class OpenedLog:
    """Opened triggers of one writer, with the ids it may give. See the module text for who calls what."""

    def __init__(self, log: RecordLog) -> None:
        """Over a mapped log; use `create_or_resume` or `attach`."""
        self._log = log
        self._cursor = 0
        self._index: dict[int, int] = {}
        self._blocks = self.blocks

    @classmethod
    def create_or_resume(cls, path: Path, camera: str, slots: int = OPENED_SLOTS) -> Self:
        """The writer's log: that of this boot with its records and ids, or a new one."""
        log = cls._readable(RecordLog.resume(path, camera, slots, OPENED_SLOT_BYTES))
        if log is None:
            log = cls(RecordLog.create(path, camera, slots, OPENED_SLOT_BYTES))
        # The last record may stand there without the note behind it.
        log.skip_ids([trigger.trigger_id for trigger in log.read_all()])
        return log

    @classmethod
    def attach(cls, path: Path) -> Self | None:
        """The reader's view of a log, or None while there is none of this boot that this version can read."""
        log = RecordLog.attach(path)
        return None if log is None else cls._readable(log)

    @classmethod
    def _readable(cls, log: RecordLog) -> Self | None:
        """None, and a word, where another version of this program wrote what this one cannot read."""
        try:
            for record in log.records():
                _decode_trigger(record.body)
            return cls(log)
        except msgspec.DecodeError as problem:
            unanswered = len(log.unfinished()[0])
            structlog.get_logger().warning(
                "a trigger log of another version is let go",
                file=str(log.path),
                unanswered=unanswered,
                problem=str(problem),
            )
            log.close()
            return None

    @property
    def is_current(self) -> bool:
        """False when another file has taken this one's place."""
        return self._log.is_current

    def close(self) -> None:
        """Unmap; the file stays."""
        self._log.close()

    # --- the writer ------------------------------------------------------------------------------------------

    @property
    def wants_ids(self) -> bool:
        """At most half a block is left, and none in reserve."""
        left = sum(block.last + 1 - block.next for block in self._blocks)
        return left * 2 <= max((block.last + 1 - block.first for block in self._blocks), default=0)

    def add_ids(self, first: int, last: int) -> None:
        """Take a block reserved for this writer into use, after those it has."""
        if len(self._blocks) < MAX_BLOCKS:
            self._keep_blocks((*self._blocks, IdBlock(first, last, first)))

    def next_id(self) -> int | None:
        """The id for the next trigger, used up by `append`; None while none is reserved."""
        return self._blocks[0].next if self._blocks else None

    def surrender_ids(self) -> None:
        """Give up the unused ids, at a clean stop: they are never given to anybody, and the next start asks anew."""
        self._keep_blocks(())

    def skip_ids(self, used: list[int]) -> None:
        """These ids have a trigger: go on behind them."""
        self._keep_blocks(tuple(left for block in self._blocks if (left := block.without(used)) is not None))

    def append(self, trigger: Trigger) -> None:
        """Write one opened trigger. Raises Full when the ledger has fallen a whole ring behind."""
        self._remember(self._log.append(_encode(trigger)), trigger.trigger_id)
        if trigger.trigger_id == self.next_id():
            self.skip_ids([trigger.trigger_id])

    def mark_handed(self, trigger_id: int, place: int = 0) -> None:
        """From here on inspection, not capture, answers for this view of the trigger: the camera's, counted from 0.

        Raises KeyError when the trigger is not here.
        """
        index = self._index[trigger_id]
        self._log.set_state(index, self._log.state(index) | HANDED << place)

    # --- publish ---------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> tuple[IdBlock, ...]:
        """The ids the writer holds, as the file says."""
        note = self._log.read_note()
        return _decode_blocks(note) if note else ()

    def read_all(self) -> list[Trigger]:
        """Every trigger in the log, closed or not, oldest first."""
        return [self._trigger(record) for record in self._log.records()]

    def read_unclosed(self) -> list[Trigger]:
        """The triggers that are not marked as closed, oldest first; `read_new` goes on behind the newest of all."""
        records, self._cursor = self._log.unfinished()
        return [self._trigger(record) for record in records]

    def read_new(self) -> Iterator[Trigger]:
        """The triggers appended since the last call."""
        for record in self._log.follow(self._cursor):
            self._cursor = self._log.after(record)
            yield self._trigger(record)

    def is_handed(self, trigger_id: int, place: int = 0) -> bool:
        """Whether capture has handed this view to inspection; False when the trigger is not here."""
        index = self._index.get(trigger_id)
        return index is not None and bool(self._log.state(index) & HANDED << place)

    def mark_closed(self, trigger_id: int) -> None:
        """The decision stands in the decided log: the record may be overwritten. Unknown ids are ignored."""
        index = self._index.get(trigger_id)
        if index is not None:
            self._log.mark(index)

    # --- inside ----------------------------------------------------------------------------------------------

    def _trigger(self, record: Located) -> Trigger:
        trigger = _decode_trigger(record.body)
        self._remember(record.at, trigger.trigger_id)
        return trigger

    def _remember(self, index: int, trigger_id: int) -> None:
        self._index[trigger_id] = index
        if len(self._index) > self._log.slots:
            del self._index[next(iter(self._index))]

    def _keep_blocks(self, blocks: tuple[IdBlock, ...]) -> None:
        self._blocks = blocks
        self._log.write_note(_encode(blocks))
