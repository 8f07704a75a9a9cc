"""Pictures of a V4L2 device into lent slots.

Where the driver writes into memory it is given (USERPTR), the kernel fills the slots themselves. Where it does not, or
where its lines or pictures are longer than a slot's, its own buffers are mapped (MMAP) and each picture is copied once.
"""

import contextlib
import errno
import mmap
import select
import time
from abc import ABC, abstractmethod
from collections import deque

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras import v4l2_kernel as kernel
from edge.cameras.v4l2_device import Device, Layout
from edge.cameras.v4l2_kernel import BufferFlag, Request

# The kernel's own buffers: one being filled, one waiting, two for a thread that comes late.
_MAPPED = 4
Slots = list[NDArray[np.uint8]]


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """A picture in a slot. `stamp_ns` is CLOCK_MONOTONIC, None where the driver has another clock.

    `sequence` counts what the device sent, in 32 bits. `waited`: it was not there yet when it was asked for.
    """

    slot: int
    sequence: int
    stamp_ns: int | None
    is_start: bool
    used_bytes: int
    is_whole: bool
    waited: bool


class Stream(ABC):
    """Streams into `slots`. `next` is for one thread, `lend` may come from another. Methods raise OSError."""

    MEMORY: int

    def __init__(self, device: Device, layout: Layout, slots: Slots, frame_bytes: int) -> None:
        """Begins; pictures have `frame_bytes` in a slot, compressed ones at most."""
        self._device, self._layout, self._slots, self._frame_bytes = device, layout, slots, frame_bytes
        # The last line may come without what is added to the others; any JPEG has a byte.
        self._shortest = layout.line_bytes * (layout.height - 1) + frame_bytes // layout.height
        if layout.line_bytes == 0:
            self._shortest = 1
        self._poll = select.poll()
        self._poll.register(device.fileno(), select.POLLIN)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._prepare()
            device.stream(on=True)
            undo.pop_all()

    @abstractmethod
    def _prepare(self) -> None:
        """Buffers are requested and queued."""

    @abstractmethod
    def _slot(self, buffer: kernel.Buffer) -> int | None:
        """The slot that has this filled buffer's picture; None when there was none free."""

    @abstractmethod
    def lend(self, slot: int) -> None:
        """This slot may be filled (again)."""

    def next(self, timeout_s: float) -> Filled | None:
        """The next picture in the order taken, whole or not; None after the timeout."""
        until_s = time.monotonic() + timeout_s
        waited = False
        while True:
            buffer = self._dequeue()
            slot = None if buffer is None else self._slot(buffer)
            if buffer is not None and slot is not None:
                return self._filled(buffer, slot, waited=waited)
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return None
            if waited := buffer is None:
                self._wait(left_s)

    def _wait(self, seconds: float) -> None:
        """Until a picture is there."""
        for _descriptor, events in self._poll.poll(seconds * 1000):
            if events & (select.POLLERR | select.POLLNVAL):
                raise OSError(errno.EIO, "it reports an error")

    def has_monotonic_stamps(self) -> bool:
        """Whether pictures carry CLOCK_MONOTONIC."""
        buffer = self._buffer(0)
        self._device.call(Request.QUERYBUF, buffer)
        return buffer.flags & BufferFlag.TIMESTAMP_MASK == BufferFlag.TIMESTAMP_MONOTONIC

    def close(self) -> None:
        """No slot is written after this."""
        with contextlib.suppress(OSError):  # a device that is gone writes nothing any more
            self._device.stream(on=False)
        with contextlib.suppress(OSError):
            self._device.request_buffers(0, self.MEMORY)

    def _dequeue(self) -> kernel.Buffer | None:
        buffer = self._buffer(0)
        try:
            self._device.call(Request.DQBUF, buffer)
        except BlockingIOError:
            return None
        return buffer

    def _buffer(self, index: int) -> kernel.Buffer:
        return kernel.Buffer(index=index, type=kernel.VIDEO_CAPTURE, memory=self.MEMORY)

    def _filled(self, buffer: kernel.Buffer, slot: int, *, waited: bool) -> Filled:
        is_monotonic = buffer.flags & BufferFlag.TIMESTAMP_MASK == BufferFlag.TIMESTAMP_MONOTONIC
        stamp_ns = buffer.timestamp.tv_sec * 1_000_000_000 + buffer.timestamp.tv_usec * 1000
        return Filled(
            slot=slot,
            sequence=buffer.sequence,
            stamp_ns=stamp_ns if is_monotonic else None,
            is_start=buffer.flags & BufferFlag.SOURCE_MASK == BufferFlag.SOURCE_START_OF_EXPOSURE,
            used_bytes=buffer.bytesused,
            is_whole=not buffer.flags & BufferFlag.ERROR and buffer.bytesused >= self._shortest,
            waited=waited,
        )


class DirectStream(Stream):
    """The kernel fills the slots. Slot and kernel's buffer have one number."""

    MEMORY = kernel.MEMORY_USERPTR

    def _prepare(self) -> None:
        granted = self._device.request_buffers(len(self._slots), self.MEMORY)
        if granted != len(self._slots):
            raise OSError(errno.EINVAL, f"{granted} buffers for {len(self._slots)} slots")
        for slot in range(len(self._slots)):
            self.lend(slot)

    def _slot(self, buffer: kernel.Buffer) -> int:
        return buffer.index

    def lend(self, slot: int) -> None:
        """The slot is queued."""
        buffer = self._buffer(slot)
        buffer.m.userptr, buffer.length = self._slots[slot].ctypes.data, self._layout.picture_bytes
        self._device.call(Request.QBUF, buffer)


class CopyingStream(Stream):
    """The kernel fills buffers of its own; a picture that finds no free slot is lost, so that none gets old."""

    MEMORY = kernel.MEMORY_MMAP

    def _prepare(self) -> None:
        self._maps: Slots = []
        self._free: deque[int] = deque(range(len(self._slots)))
        for index in range(self._device.request_buffers(_MAPPED, self.MEMORY)):
            buffer = self._buffer(index)
            self._device.call(Request.QUERYBUF, buffer)
            # The array keeps the mapping; it goes with the last use of it.
            mapped = mmap.mmap(self._device.fileno(), buffer.length, offset=buffer.m.offset)
            self._maps.append(np.frombuffer(mapped, np.uint8))
            self._device.call(Request.QBUF, self._buffer(index))

    def _slot(self, buffer: kernel.Buffer) -> int | None:
        slot = self._free.popleft() if self._free else None
        if slot is not None:
            copy_picture(
                self._layout, self._maps[int(buffer.index)][: buffer.bytesused], self._slots[slot][: self._frame_bytes]
            )
        self._device.call(Request.QBUF, self._buffer(buffer.index))
        return slot

    def lend(self, slot: int) -> None:
        """The slot is free."""
        self._free.append(slot)

    def close(self) -> None:
        """Ends the stream, and the mappings first: the kernel lets buffers go that nobody maps."""
        with contextlib.suppress(OSError):
            self._device.stream(on=False)
        self._maps.clear()
        super().close()


def copy_picture(layout: Layout, picture: NDArray[np.uint8], slot: NDArray[np.uint8]) -> None:
    """Into a slot of a frame's length, without what the driver added to the end of each line.

    Of a picture that is not whole, what there is.
    """
    line, stride = slot.size // layout.height, layout.line_bytes
    if stride in (0, line):
        size = min(picture.size, slot.size)
        slot[:size] = picture[:size]
        return
    lines = min(layout.height, picture.size // stride)
    slot[: line * lines].reshape(lines, line)[:] = picture[: stride * lines].reshape(lines, stride)[:, :line]


def begin(device: Device, layout: Layout, slots: Slots, frame_bytes: int) -> Stream:
    """Streaming, straight into the slots where device and slots allow it. Raises OSError."""
    is_padded = layout.line_bytes != 0 and layout.line_bytes * layout.height != frame_bytes
    if not is_padded and all(layout.picture_bytes <= slot.nbytes for slot in slots):
        try:
            return DirectStream(device, layout, slots, frame_bytes)
        except OSError as problem:
            # Drivers that cannot say EINVAL, those that cannot with this memory EFAULT, ENOMEM too.
            if problem.errno not in (errno.EINVAL, errno.EFAULT, errno.ENOMEM, errno.ENOTTY):
                raise
    return CopyingStream(device, layout, slots, frame_bytes)
