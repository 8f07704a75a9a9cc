"""Frames of one camera in shared memory: a memfd of equal slots, each with one owner at any time.

Ownership is a token that travels in messages (capture → inspection → capture); no lock lies in the memory. How a
slot is used:

1. capture takes a free slot and calls `begin(slot)`: the slot's generation becomes odd, "being written".
2. the camera writes the pixels.
3. capture calls `commit(slot)`: the generation becomes even, and goes into the frame's FrameRef.
4. the reader calls `read(slot, generation)` before it reads and `is_intact(slot, generation)` after: another
   generation means the frame was torn, and nothing read from it may be judged.

A generation never repeats: it lives in the memory, so it goes on counting when capture is restarted.
"""

import fcntl
import mmap
import os

import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError

PAGE_BYTES = mmap.PAGESIZE
# Generations lie a cache line apart, so that writer and reader of different slots do not share one.
HEADER_STRIDE = 8
F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW = 1033, 0x2, 0x4


class TornFrame(Exception):
    """The slot no longer holds the frame it was said to hold."""


def _pages(count: int) -> int:
    return -(-count // PAGE_BYTES) * PAGE_BYTES


def _layout(slots: int, slot_bytes: int) -> tuple[int, int, int]:
    """Bytes of the header, of a slot with its padding, and of the whole."""
    header, stride = _pages(slots * HEADER_STRIDE * 8), _pages(slot_bytes)
    return header, stride, header + slots * stride


def available_bytes() -> int:
    """Memory the kernel can give without swapping (`MemAvailable`)."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def create(name: str, slots: int, slot_bytes: int) -> int:
    """Make a ring and return its descriptor: allocated whole, sealed, nameless. Raises GoldlineError."""
    total = _layout(slots, slot_bytes)[2]
    # Asked first: allocating more than there is would not fail but call the kernel's out-of-memory killer.
    if total > available_bytes():
        raise GoldlineError(f"{name}: cannot reserve {slots} slots of {slot_bytes} bytes: {available_bytes()} are free")
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(descriptor, 0, total)
    except OSError as problem:
        os.close(descriptor)
        raise GoldlineError(f"{name}: cannot reserve {slots} slots of {slot_bytes} bytes: {problem}") from problem
    fcntl.fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)
    return descriptor


class Ring:
    """A mapping of a ring. Open it in the process that uses it; the descriptor may be closed afterwards."""

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        header, stride, total = _layout(slots, slot_bytes)
        self.slots, self.slot_bytes = slots, slot_bytes
        # Prefaulted: the first touch of 5 MP costs 3 to 9 ms, a warm copy 0.1 ms.
        self._memory = mmap.mmap(descriptor, total, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._generations = np.frombuffer(self._memory, np.uint64, slots * HEADER_STRIDE)[::HEADER_STRIDE]
        self.buffers: list[NDArray[np.uint8]] = [
            np.frombuffer(self._memory, np.uint8, slot_bytes, header + slot * stride) for slot in range(slots)
        ]

    def begin(self, slot: int) -> None:
        """Mark the slot as being written. A slot left so by a dead writer stays so."""
        self._generations[slot] += 1 + (int(self._generations[slot]) & 1)

    def commit(self, slot: int) -> int:
        """Mark the slot as whole and return the frame's generation."""
        self._generations[slot] += 1
        return int(self._generations[slot])

    def is_intact(self, slot: int, generation: int) -> bool:
        """True while the slot holds the frame of this generation, whole."""
        return int(self._generations[slot]) == generation

    def read(self, slot: int, generation: int) -> NDArray[np.uint8]:
        """The slot's bytes, flat, without a copy. Raises TornFrame."""
        if not self.is_intact(slot, generation):
            raise TornFrame(f"slot {slot}: generation {int(self._generations[slot])}, expected {generation}")
        return self.buffers[slot]
