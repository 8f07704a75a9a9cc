"""Says verdicts to the ledger, and says again what a ledger that died may not have read."""

import threading
from collections import deque

import msgspec

from edge.channel import Channel, ChannelClosed, ChannelFull, MessageTooLarge
from edge.messages import Judged, Prepared

# Verdicts kept to be said again: more than the socket to publish can hold unread.
REMEMBERED = 1024
# Of what is too long to be said whole.
LEAST_TEXT = 1000


class Mouth:
    """Inspection's end of the socket to publish, for both of its threads. Remembers the last verdicts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._unsaid: deque[Judged | Prepared] = deque()
        self._remembered: deque[Judged] = deque(maxlen=REMEMBERED)

    @property
    def has_unsaid(self) -> bool:
        """True while a verdict waits for the ledger."""
        return bool(self._unsaid)

    def say(self, message: Judged | Prepared | None = None) -> None:
        """Send this and whatever waits, as far as the socket takes it."""
        with self._lock:
            if message is not None:
                self._unsaid.append(message)
            while self._unsaid and self._channel is not None:
                try:
                    self._channel.send(self._unsaid[0])
                except MessageTooLarge:
                    smaller = _smaller(self._unsaid[0])
                    if smaller == self._unsaid[0]:
                        raise
                    self._unsaid[0] = smaller
                    continue
                except (ChannelFull, ChannelClosed):
                    return
                said = self._unsaid.popleft()
                if isinstance(said, Judged):
                    self._remembered.append(said)

    def connect(self, channel: Channel | None, greeting: Prepared | None = None) -> None:
        """A new ledger hears the `greeting` first, then the remembered verdicts again; it knows which it has decided."""
        with self._lock:
            self._channel = channel
            if channel is not None:
                verdicts = [*self._remembered, *(said for said in self._unsaid if isinstance(said, Judged))]
                self._unsaid = deque(([] if greeting is None else [greeting]) + verdicts)
                self._remembered.clear()
        self.say()


def _smaller(message: Judged | Prepared) -> Judged | Prepared:
    """What a message can say that is too large for a packet: the verdict itself, without what each check found.

    A recipe of hundreds of checks gets there, or a code that fills pages. The verdict must be heard all the same.
    """
    if isinstance(message, Prepared):
        return msgspec.structs.replace(message, problem=(message.problem or "")[:LEAST_TEXT])
    told = f"too much to tell of {len(message.verdict.checks)} checks: {message.verdict.detail or ''}"[:LEAST_TEXT]
    verdict = msgspec.structs.replace(message.verdict, checks={}, detail=told)
    frame = msgspec.structs.replace(message.frame, expect={})
    return msgspec.structs.replace(message, verdict=verdict, frame=frame)
