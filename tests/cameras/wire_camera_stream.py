"""The stream of `wire_camera`: frames as GVSP packets (GigE Vision 2.0, sections 23 to 26), kept for asking again."""

import socket
import struct
from collections import OrderedDict

# Packet formats; with the high bit, ids are 64 bits for the frame and 32 for the packet.
_LEADER, _TRAILER, _PAYLOAD, _EXTENDED = 1, 2, 3, 0x80
_IMAGE, _CHUNKS_FOLLOW = 0x0001, 0x4000
# IP, UDP and GVSP headers count as part of a packet's size.
_HEADERS, _EXTENDED_HEADERS = 20 + 8 + 8, 20 + 8 + 20
# Frames that can be asked for again.
_KEPT = 16
# A chunk that holds the picture itself.
_PICTURE_CHUNK = 0x0001


class Picture:
    """One picture as it was taken. `chunks` are id and content, sent after it."""

    def __init__(self, pixels: bytes, shape: tuple[int, int, int], ticks: int, chunks: list[tuple[int, bytes]]) -> None:
        self.pixels, self.shape, self.ticks, self.chunks = pixels, shape, ticks, chunks

    def payload(self) -> bytes:
        """Picture and chunks, each chunk followed by its id and length."""
        if not self.chunks:
            return self.pixels
        parts = [(_PICTURE_CHUNK, self.pixels), *self.chunks]
        return b"".join(content + struct.pack(">II", identity, len(content)) for identity, content in parts)

    def leader(self) -> bytes:
        """What is said before the picture: kind, time, format, size."""
        width, height, pixel_format = self.shape
        kind = _IMAGE | (_CHUNKS_FOLLOW if self.chunks else 0)
        return struct.pack(">HHQIIIIIHH", 0, kind, self.ticks, pixel_format, width, height, 0, 0, 0, 0)

    def trailer(self) -> bytes:
        """What is said after it."""
        kind = _IMAGE | (_CHUNKS_FOLLOW if self.chunks else 0)
        return struct.pack(">HHI", 0, kind, self.shape[1])


class Stream:
    """Sends pictures to where the client wants them, except for what it was told to lose."""

    def __init__(self, address: str, *, extended: bool) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._extended = extended
        self._kept: OrderedDict[int, list[bytes]] = OrderedDict()
        self._destination = ("", 0)
        self._last_id = 0xFFFF_FFF0 if extended else 0xFFF0
        # Packets of the next frame that are lost; for ever, also when asked for again.
        self.to_lose: set[int] = set()
        self.is_loss_lasting = False
        self._never: set[tuple[int, int]] = set()
        # Frames that are taken and not sent at all.
        self.to_swallow = 0
        self.resend_requests, self.resent = 0, 0

    def port(self) -> int:
        """Where packets come from."""
        return self._socket.getsockname()[1]

    def send(self, picture: Picture, destination: tuple[str, int], packet_size: int) -> int:
        """Sends one frame and returns its id."""
        self._last_id = self._last_id + 1 if self._extended else self._last_id % 0xFFFF + 1
        if self.to_swallow > 0:
            self.to_swallow -= 1
            return self._last_id
        packets, self._destination = self._packets(picture, packet_size), destination
        self._kept[self._last_id] = packets
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        for index, packet in enumerate(packets):
            if index in self.to_lose:
                if self.is_loss_lasting:
                    self._never.add((self._last_id, index))
            else:
                self._socket.sendto(packet, destination)
        self.to_lose = set()
        return self._last_id

    def _packets(self, picture: Picture, packet_size: int) -> list[bytes]:
        payload = picture.payload()
        room = packet_size - (_EXTENDED_HEADERS if self._extended else _HEADERS)
        blocks = [payload[start : start + room] for start in range(0, len(payload), room)]
        packets = [self._header(_LEADER, 0) + picture.leader()]
        packets += [self._header(_PAYLOAD, index) + block for index, block in enumerate(blocks, 1)]
        return [*packets, self._header(_TRAILER, len(blocks) + 1) + picture.trailer()]

    def _header(self, kind: int, packet: int) -> bytes:
        if self._extended:
            return struct.pack(">HHIQI", 0, 0, (_EXTENDED | kind) << 24, self._last_id, packet)
        return struct.pack(">HHI", 0, self._last_id, kind << 24 | packet)

    def resend(self, request: bytes, *, extended: bool) -> None:
        """A PACKETRESEND_CMD: channel and frame, first and last packet; 64-bit ids follow."""
        frame, first, last = struct.unpack_from(">III", request)
        frame = struct.unpack_from(">Q", request, 12)[0] if extended else frame & 0xFFFF
        self.resend_requests += 1
        packets = self._kept.get(frame, [])
        for index in range(first & 0xFFFFFF, min(last & 0xFFFFFF, len(packets) - 1) + 1):
            if (frame, index) not in self._never:
                self._socket.sendto(packets[index], self._destination)
                self.resent += 1
