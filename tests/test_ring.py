"""The ring: never torn, never twice, never in two hands."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge import ring
from edge.errors import GoldlineError

SLOTS, SLOT_BYTES = 4, 5000


class Ownership(RuleBasedStateMachine):
    """A writer and a reader pass slots as the module says; the reader also keeps stale references."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptor = ring.create("test", SLOTS, SLOT_BYTES)
        self.writer = ring.Ring(self.descriptor, SLOTS, SLOT_BYTES)
        self.reader = ring.Ring(self.descriptor, SLOTS, SLOT_BYTES)
        self.frames: dict[int, tuple[int, int]] = {}  # slot -> generation, value: whole frames not yet overwritten
        self.writing: set[int] = set()
        self.stale: list[tuple[int, int]] = []
        self.seen: set[tuple[int, int]] = set()
        self.value = 0

    @rule(slot=st.integers(0, SLOTS - 1))
    def begin(self, slot: int) -> None:
        self.writer.begin(slot)
        self.writing.add(slot)
        if slot in self.frames:
            self.stale.append((slot, self.frames.pop(slot)[0]))

    @precondition(lambda self: self.writing)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.writing)))
        self.value = (self.value + 1) % 251
        self.writer.buffers[slot][:] = self.value
        generation = self.writer.commit(slot)
        assert (slot, generation) not in self.seen, "a generation came twice"
        self.seen.add((slot, generation))
        self.writing.remove(slot)
        self.frames[slot] = generation, self.value

    @rule()
    def restart_writer(self) -> None:
        """Capture dies and its successor maps the same memory."""
        self.writer = ring.Ring(self.descriptor, SLOTS, SLOT_BYTES)

    @invariant()
    def whole_frames_read_back(self) -> None:
        for slot, (generation, value) in self.frames.items():
            assert (self.reader.read(slot, generation) == value).all()

    @invariant()
    def stale_references_are_torn(self) -> None:
        for slot, generation in self.stale:
            assert not self.reader.is_intact(slot, generation)
            with pytest.raises(ring.TornFrame):
                self.reader.read(slot, generation)

    def teardown(self) -> None:
        os.close(self.descriptor)


Ownership.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestOwnership = Ownership.TestCase

OVERWRITER = """
import sys
import time
from edge.ring import Ring
ring = Ring(int(sys.argv[1]), 1, 1 << 20)
print("go", flush=True)
value = 0
while True:
    value = (value + 1) % 251
    ring.begin(0)
    ring.buffers[0][:] = value
    ring.commit(0)
    if value % 8 == 0:
        time.sleep(0.001)  # so that whole frames can be read, too
"""


def test_a_reader_notices_every_overwriting_of_what_it_reads() -> None:
    """A writer that ignores ownership tears frames; none that passes the check is mixed of two."""
    descriptor = ring.create("test", 1, 1 << 20)
    mine = ring.Ring(descriptor, 1, 1 << 20)
    command = [sys.executable, "-c", OVERWRITER, str(descriptor)]
    with subprocess.Popen(command, pass_fds=[descriptor], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"go\n"
        intact = torn = 0
        until = time.monotonic() + 20
        while (intact < 10 or torn < 10) and time.monotonic() < until:
            generation = int(mine._generations[0])
            if generation % 2:
                continue
            copy = np.array(mine.buffers[0])
            if mine.is_intact(0, generation):
                intact += 1
                assert copy.min() == copy.max(), "a torn frame passed for whole"
            else:
                torn += 1
        writer.kill()
    os.close(descriptor)
    assert intact >= 10 and torn >= 10


def test_a_killed_writer_leaves_its_slot_marked_as_being_written() -> None:
    descriptor = ring.create("test", 1, 64)
    program = "import sys,os;from edge.ring import Ring;r=Ring(int(sys.argv[1]),1,64);r.begin(0);os.kill(os.getpid(),9)"
    died = subprocess.run([sys.executable, "-c", program, str(descriptor)], pass_fds=[descriptor], check=False)
    assert died.returncode == -signal.SIGKILL
    successor = ring.Ring(descriptor, 1, 64)
    assert not any(successor.is_intact(0, generation) for generation in (0, 2))
    successor.begin(0)
    assert successor.is_intact(0, successor.commit(0))
    os.close(descriptor)


def test_nothing_appears_in_dev_shm_and_a_ring_cannot_be_resized() -> None:
    before = set(os.listdir("/dev/shm"))
    descriptor = ring.create("test", 2, 10_000)
    assert set(os.listdir("/dev/shm")) == before
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 4096)
    os.close(descriptor)


def test_a_ring_that_does_not_fit_says_so_and_leaks_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(GoldlineError, match="cannot reserve 8 slots of"):
        ring.create("test", 8, 1 << 60)
    assert len(os.listdir("/proc/self/fd")) == before
