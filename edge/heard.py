"""What a reader is handed: events, and what is to be known about those that did not come. Pure."""

from typing import Self
from uuid import UUID

import msgspec

from edge import events
from edge.errors import GoldlineError
from edge.events import Event


class Cursor(msgspec.Struct, frozen=True):
    """How far a reader has come: up to this number, included. Without a stream: of whichever the station has."""

    sequence: int
    stream: UUID | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`STREAM/SEQUENCE`, which is an event's `id`, or the number alone. Raises GoldlineError."""
        stream, _, sequence = text.rpartition("/")
        try:
            cursor = cls(int(sequence), UUID(stream) if stream else None)
        except ValueError:
            cursor = None
        if cursor is None or cursor.sequence < 0:
            raise GoldlineError(f"{text}: expected the id of an event, STREAM/NUMBER, or a number")
        return cursor

    def __str__(self) -> str:
        return f"{self.stream}/{self.sequence}" if self.stream else str(self.sequence)


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it was sent. `body` is JSON, byte for byte what the outbox holds."""

    stream: UUID
    sequence: int
    topic: str
    body: bytes
    is_replay: bool

    @property
    def cursor(self) -> Cursor:
        """To go on behind this one."""
        return Cursor(self.sequence, self.stream)

    def event(self) -> Event:
        """The event, typed. Raises GoldlineError for one that a later Goldline wrote in other words."""
        try:
            return events.decode(self.body)
        except msgspec.DecodeError as problem:
            raise GoldlineError(f"event {self.cursor}: {problem}") from problem


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """Events `first` to `last` cannot be had any more: the station has let them go."""

    stream: UUID
    first: int
    last: int

    @property
    def cursor(self) -> Cursor:
        """To go on behind them."""
        return Cursor(self.last, self.stream)


class NewStream(msgspec.Struct, frozen=True, kw_only=True):
    """The station has another outbox, numbered from 1; of the one before, `heard` was the last that came."""

    before: UUID
    heard: int
    stream: UUID

    @property
    def cursor(self) -> Cursor:
        """To begin with the new one."""
        return Cursor(0, self.stream)


Item = Arrived | Gone | NewStream
