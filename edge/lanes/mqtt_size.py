"""How large a message of MQTT 5 is on the wire, and the largest that a broker takes. Pure.

A broker tells its largest packet when a client connects; sending it a larger one ends the connection, so that one such
event would keep everything behind it from ever being sent. One that has not told it ends the connection with the words
`packet too large`: then the largest of what was under way is known to be too large.
"""

from dataclasses import dataclass, field

# OASIS MQTT 5.0, 3.14.2.1: the reason code for it at the end of a connection.
PACKET_TOO_LARGE = 0x95


class TooLarge(Exception):
    """A message of so many bytes is not sent: the broker takes none above `limit`."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes, and the broker takes {limit}")
        self.size, self.limit = size, limit


@dataclass
class Limit:
    """`told` by the broker at this connection, `learned` over all of them, bytes; None: as large as may be."""

    told: int | None = None
    learned: int | None = None
    _under_way: dict[int, int] = field(default_factory=dict[int, int])

    def check(self, size: int) -> None:
        """Raises TooLarge."""
        limit = min((one for one in (self.told, self.learned) if one is not None), default=size)
        if size > limit:
            raise TooLarge(size, limit)

    def begin(self, told: int | None) -> None:
        """A connection, on which nothing is under way yet."""
        self.told = told
        self._under_way.clear()

    def sent(self, message: int, size: int) -> None:
        """A message is under way."""
        self._under_way[message] = size

    def acknowledged(self, message: int) -> None:
        """The broker has it."""
        self._under_way.pop(message, None)

    def refused(self) -> None:
        """The broker has said that one of what is under way is too large: then the largest is."""
        if self._under_way:
            self.learned = max(self._under_way.values()) - 1


def packet_bytes(topic: str, properties: int, body: int) -> int:
    """The size of a PUBLISH with QoS 1. `properties`: as they are packed, with their length; `body`: the payload."""
    # Topic with its length, packet identifier, properties, payload (3.3.2, 3.3.3) behind the fixed header (2.1).
    rest = 2 + len(topic.encode()) + 2 + properties + body
    digits, left = 1, rest >> 7
    while left:
        digits, left = digits + 1, left >> 7
    return 1 + digits + rest
