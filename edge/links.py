"""Publish's sockets to the other processes: one to each, replaced by a fresh one for each incarnation of the peer."""

import socket
from collections.abc import Callable, Iterator

from edge.channel import Channel, ChannelClosed, ChannelFull
from edge.messages import AnyMessage
from edge.records import Reason

INSPECTION = "inspection"
CAPTURE = "capture@"
LANE = "lane@"
SYNC = "sync"


class Links:
    """Owns the sockets. `hear` is called with what a peer says, `lost` once it is gone and all of that was heard."""

    def __init__(self, hear: Callable[[str, AnyMessage], None], lost: Callable[[str], None]) -> None:
        self._hear, self._lost = hear, lost
        self._channels: dict[str, Channel] = {}

    def __contains__(self, peer: str) -> bool:
        return peer in self._channels

    def __iter__(self) -> Iterator[str]:
        """Who is there now, inspection before captures: a verdict beats the news of its capture's death."""
        return iter(sorted(self._channels, key=lambda name: name != INSPECTION))

    def __len__(self) -> int:
        return len(self._channels)

    def fileno(self, peer: str) -> int:
        """For polling. Raises KeyError: it is not there."""
        return self._channels[peer].fileno()

    def take(self, peer: str, descriptor: int) -> None:
        """A new incarnation of a peer. The one before is dead, even if its end was not read yet."""
        self.read(peer)
        self._lose(peer)
        self._channels[peer] = Channel(socket.socket(fileno=descriptor))

    def read(self, peer: str) -> None:
        """Hear what this peer has said, if it is there."""
        if peer not in self._channels:
            return
        try:
            for message in self._channels[peer].drain():
                self._hear(peer, message)
        except ChannelClosed:
            self._lose(peer)

    def send(self, peer: str, message: AnyMessage) -> Reason | None:
        """Send, or say why it cannot be."""
        if peer not in self._channels:
            return Reason.CAMERA_DOWN
        try:
            self._channels[peer].send(message)
        except ChannelFull:
            return Reason.OVERRUN
        except ChannelClosed:
            # Its end is read, and dealt with, on the next turn.
            return Reason.CAMERA_DOWN
        return None

    def _lose(self, peer: str) -> None:
        channel = self._channels.pop(peer, None)
        if channel is not None:
            channel.close()
            self._lost(peer)


def camera_of(peer: str) -> str:
    """The camera of a capture process."""
    return peer.partition("@")[2]
