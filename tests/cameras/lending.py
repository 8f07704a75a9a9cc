"""What the camera contract stands on: a camera that streams into guarded slots, and what the process holds."""

import ctypes
import gc
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from edge.cameras.camera import Camera, CameraInfo, CapturedFrame

MakeCamera = Callable[[], Camera]
# A slot may be larger than a frame; what lies beyond must stay as it is.
GUARD_BYTES, GUARD = 64, 0xA5
# A frame that must come is waited for this long: the machine may be busy with something else.
PATIENCE_S = 20.0
# No call lasts longer, by the protocol; the rest is for a busy machine.
LONGEST_CALL_S = 2.5 + 3.5
# What `next` may take beyond its timeout, likewise.
LATENESS_S = 0.1 + 1.9


class Streaming:
    """An open camera that streams into guarded slots of this test's own."""

    def __init__(self, camera: Camera, info: CameraInfo, slots: int) -> None:
        self.camera, self.info = camera, info
        self.slots = [np.full(info.frame_bytes + GUARD_BYTES, GUARD, np.uint8) for _ in range(slots)]
        camera.start(list(self.slots))

    def wait(self) -> CapturedFrame:
        """The next frame, which must come."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if (frame := self.camera.next(0.2)) is not None:
                return frame
        raise AssertionError(f"no frame in {PATIENCE_S} s")

    def take(self, count: int) -> list[CapturedFrame]:
        """So many frames, each released at once."""
        frames = []
        for _ in range(count):
            frames.append(self.wait())
            self.camera.release(frames[-1].slot)
        return frames

    def digest(self, slot: int) -> bytes:
        return hashlib.sha256(self.slots[slot]).digest()

    def guards_are_whole(self) -> bool:
        return all((slot[self.info.frame_bytes :] == GUARD).all() for slot in self.slots)


@contextmanager
def streaming(make: MakeCamera, slots: int = 4) -> Iterator[Streaming]:
    """A new camera, open and streaming; closed afterwards, the bytes beyond its frames untouched."""
    camera = make()
    try:
        stream = Streaming(camera, camera.open(), slots)
        yield stream
        assert stream.guards_are_whole()
    finally:
        camera.close()


def lost_between(frames: list[CapturedFrame]) -> int:
    return sum(after.frame_id - before.frame_id - 1 for before, after in pairwise(frames))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    """Of this process, those of libraries included."""
    return len(os.listdir("/proc/self/task"))


def resident_bytes() -> int:
    """Memory of this process that is in use, after what is free was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Until it is so. For what a library ends on a thread of its own."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)
