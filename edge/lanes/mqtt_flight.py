"""What was published and is not acknowledged, in order. Pure."""

from collections import deque
from dataclasses import dataclass

from edge.heard import Cursor


@dataclass
class _Sent:
    message: int
    cursor: Cursor
    is_acknowledged: bool = False


class Flight:
    """Messages that are under way to the broker, at most `window`; acknowledgements may come in any order."""

    def __init__(self, window: int) -> None:
        """Nothing is under way."""
        self._window = window
        self._sent: deque[_Sent] = deque()
        self._by_message: dict[int, _Sent] = {}

    @property
    def has_room(self) -> bool:
        """Another may be published."""
        return len(self._sent) < self._window

    def sent(self, message: int, cursor: Cursor) -> None:
        """A message was given to the broker; with `cursor` all before it in the stream is said."""
        one = _Sent(message, cursor)
        self._sent.append(one)
        self._by_message[message] = one

    def acknowledged(self, message: int) -> Cursor | None:
        """The broker has it. The cursor up to which it now has everything, if that has moved."""
        one = self._by_message.pop(message, None)
        if one is None:
            return None
        one.is_acknowledged = True
        moved: Cursor | None = None
        while self._sent and self._sent[0].is_acknowledged:
            moved = self._sent.popleft().cursor
        return moved
