"""Messages of a bound socket, read so that none keeps its reader: a million empty frames would, for seconds."""

import zmq

# A request is at most four: whose it is, a REQ socket's empty one, verb and body. More make it no request.
MOST_FRAMES = 8
# At a microsecond or two each; what is left of the message is read the next time.
FRAMES_AT_ONCE = 256


class Inbox:
    """Reads one socket. Of a message with too many frames it gives the first, too many still."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        """Reads nothing yet."""
        self._socket = socket
        self._frames: list[zmq.Frame] = []

    def receive(self) -> list[zmq.Frame] | None:
        """The next message; None where there is none, or more of it to be read another time."""
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = self._socket.recv(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return None
            if len(self._frames) < MOST_FRAMES:
                self._frames.append(frame)
            if not frame.more:
                frames, self._frames = self._frames, []
                return frames
        return None
