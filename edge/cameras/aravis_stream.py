"""A stream of frames by libaravis, received straight into the caller's memory, and the chunk data after each frame."""

import ctypes
import os
import socket
import stat
import weakref

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras.aravis import AravisError, Library

# Linux's SO_RCVBUFFORCE, which the socket module does not name: beyond net.core.rmem_max, with CAP_NET_ADMIN.
_SO_RCVBUFFORCE = 33
# ArvBufferStatus: every other value is a frame that is not whole.
_SUCCESS = 0
# ArvBufferPayloadType: those that tell the picture's size, an image alone and one with chunk data.
_SIZED = frozenset({1, 5})
# Of the chunks that are read here, those that SFNC has as a float.
_FLOAT_CHUNKS = frozenset({"ChunkExposureTime"})


class FilledBuffer(msgspec.Struct, frozen=True, kw_only=True):
    """A buffer the stream gave back, and what the frame's first packet said of it: None when that packet was lost.

    `is_whole`: every byte of a picture of the size that was agreed on came. `frame_id` is the device's own,
    `arrival_utc_ns` the host's wall clock at that packet, and `device_timestamp_ns` counts from wherever the device
    counts.
    """

    index: int
    is_whole: bool
    frame_id: int | None
    arrival_utc_ns: int | None
    device_timestamp_ns: int | None


class Stream:
    """Frames into the caller's memory. The memory must outlive the start of `close()`.

    `parser` is the library's reader of chunk data, owned by this object from here on.
    """

    def __init__(self, library: Library, stream: int, parser: int) -> None:
        self._library = library
        self._stream = stream
        self._parser = parser
        # Also at exit by an exception: a thread that writes to memory that is gone is a SIGSEGV.
        self._let_go = weakref.finalize(self, library, "g_object_unref", stream)
        self._let_parser_go = weakref.finalize(self, library, "g_object_unref", parser)
        self._buffers: list[int] = []
        self._memory: list[NDArray[np.uint8]] = []
        self._index_of: dict[int, int] = {}
        self._last_ids: list[int] = []
        self._size, self._picture_bytes = (0, 0), 0

    def set_option(self, name: str, value: int) -> None:
        """Sets a property of the stream object, such as "packet-timeout"."""
        self._library("g_object_set", self._stream, name.encode(), value, None)

    def enlarge_receive_buffer(self, size_bytes: int) -> int:
        """Asks the kernel for that much room for packets and returns what it gave.

        Before the first packet: the library itself asks when the first frame has begun, which is then often lost.
        """
        port = self._library("arv_gv_stream_get_port", self._stream)
        granted = [_enlarge(int(entry), port, size_bytes) for entry in os.listdir("/proc/self/fd")]
        return max((size for size in granted if size is not None), default=0)

    def expect(self, width: int, height: int, picture_bytes: int) -> None:
        """What a picture has to be; what follows it in the buffer, chunk data, may vary."""
        self._size, self._picture_bytes = (width, height), picture_bytes

    def lend(self, memory: list[NDArray[np.uint8]], frame_bytes: int) -> None:
        """Lends arrays of at least `frame_bytes`; their positions are the indices used from here on."""
        self._memory = memory
        self._buffers = [self._library("arv_buffer_new", frame_bytes, array.ctypes.data) for array in memory]
        self._index_of = {buffer: index for index, buffer in enumerate(self._buffers)}
        self._last_ids = [0] * len(memory)
        for index in range(len(memory)):
            self.push(index)

    def push(self, index: int) -> None:
        """Lets the stream fill this buffer."""
        self._library("arv_stream_push_buffer", self._stream, self._buffers[index])

    def pop(self, timeout_s: float) -> FilledBuffer | None:
        """The oldest filled buffer, now the caller's; None after `timeout_s` (0 does not wait)."""
        if timeout_s > 0:
            buffer = self._library("arv_stream_timeout_pop_buffer", self._stream, int(timeout_s * 1e6))
        else:
            buffer = self._library("arv_stream_try_pop_buffer", self._stream)
        return self._filled(buffer) if buffer else None

    def chunk(self, index: int, name: str) -> float | None:
        """A number of a popped buffer's chunk data, such as ChunkCounterValue; None where the frame has none of it."""
        buffer = self._buffers[index]
        if not self._library("arv_buffer_has_chunks", buffer):
            return None
        kind = "float" if name in _FLOAT_CHUNKS else "integer"
        try:
            return self._library(f"arv_chunk_parser_get_{kind}_value", self._parser, buffer, name.encode())
        except AravisError:
            return None

    def _filled(self, buffer: int) -> FilledBuffer:
        index = self._index_of[buffer]
        is_whole = self._library("arv_buffer_get_status", buffer) == _SUCCESS and self._is_as_expected(buffer)
        frame_id = self._library("arv_buffer_get_frame_id", buffer)
        # Without its first packet a frame leaves in the buffer what the buffer's last frame said.
        is_stale = not is_whole and frame_id == self._last_ids[index]
        self._last_ids[index] = frame_id
        return FilledBuffer(
            index=index,
            is_whole=is_whole,
            frame_id=None if is_stale else frame_id,
            arrival_utc_ns=None if is_stale else self._library("arv_buffer_get_system_timestamp", buffer),
            device_timestamp_ns=None if is_stale else self._library("arv_buffer_get_timestamp", buffer),
        )

    def _is_as_expected(self, buffer: int) -> bool:
        """The library calls a frame whole whose last packet came early; behind it lies the picture before."""
        ask, received = self._library, ctypes.c_size_t()
        ask("arv_buffer_get_data", buffer, ctypes.byref(received))
        if received.value < self._picture_bytes:
            return False
        if ask("arv_buffer_get_payload_type", buffer) not in _SIZED:
            return True
        return (ask("arv_buffer_get_image_width", buffer), ask("arv_buffer_get_image_height", buffer)) == self._size

    def close(self, held: set[int]) -> None:
        """Ends the receiving thread, then tells the device, then lets the buffers go, `held` being those popped.

        The thread ends within milliseconds. With the device gone the telling takes 2.5 s, but writes no memory.
        """
        self._let_go()
        self._let_parser_go()
        for index in held:
            self._library("g_object_unref", self._buffers[index])
        self._memory = []


def _enlarge(descriptor: int, port: int, size_bytes: int) -> int | None:
    """The receive buffer's size after enlarging it, or None when the descriptor is not the UDP socket of `port`."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as own:
            if own.type != socket.SOCK_DGRAM or own.family != socket.AF_INET or own.getsockname()[1] != port:
                return None
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)
            if _room(own) < size_bytes:
                _force(own, size_bytes)
            return _room(own)
    except OSError:  # closed since it was listed
        return None


def _room(own: socket.socket) -> int:
    # Linux doubles what it is asked for, for its own bookkeeping (socket(7)).
    return own.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _force(own: socket.socket, size_bytes: int) -> None:
    try:
        own.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
    except PermissionError:
        return  # without the capability the caller says that the buffer is small
