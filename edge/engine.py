"""The accelerator's thread: prepared frames in, verdicts out, one batch at a time.

While it runs the graph, the inspection loop registers the next frames: two stages, one batch between them, so that
neither waits for the other and nothing queues where its age is not seen.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from edge.batcher import Queued
from edge.inspector import Inspector, Prepared
from edge.judging import Judging
from edge.records import Reason, Timing, Verdict, error
from edge.view_inspector import Scores

# A batch that takes longer than this hangs: a hundred times the slowest that was seen on a busy machine.
HANG_S = 5.0
# One batch in the graph and one prepared.
DEPTH = 2


@dataclass(frozen=True)
class Job:
    """A batch on its way; `prepared[i]` belongs to `frames[i]`."""

    by: Judging
    frames: tuple[Queued, ...]
    prepared: tuple[Prepared, ...]
    queue_ms: tuple[float, ...]
    register_ms: tuple[float, ...]


@dataclass(frozen=True)
class Done:
    """One frame as it was prepared and scored, by whom, its verdict, and where its time went."""

    by: Judging
    queued: Queued
    prepared: Prepared
    scores: Scores
    verdict: Verdict
    timing: Timing

    @property
    def inspector(self) -> Inspector:
        """What judged it."""
        return self.by.inspector


class Engine:
    """Runs jobs in order. `done` is called on the engine's thread, once for every job."""

    def __init__(self, done: Callable[[list[Done]], None], is_intact: Callable[[Queued], bool]) -> None:
        self._done, self._is_intact = done, is_intact
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._pending = 0
        self._started_ns = 0
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """True when another batch should be prepared."""
        return self._pending < DEPTH

    def is_alive(self, now_ns: int) -> bool:
        """False once the thread failed or a batch hangs."""
        hangs = self._started_ns > 0 and now_ns - self._started_ns > HANG_S * 1e9
        return self._thread.is_alive() and not hangs

    def submit(self, job: Job) -> None:
        """Hand over one batch."""
        with self._lock:
            self._pending += 1
        self._jobs.put(job)

    def awake(self) -> None:
        """Take note of the wake-up."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake)

    def stop(self) -> None:
        """Finish what was submitted and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._started_ns = time.monotonic_ns()
            self._done(self._judge(job))
            self._started_ns = 0
            with self._lock:
                self._pending -= 1
            os.eventfd_write(self.wake, 1)

    def _judge(self, job: Job) -> list[Done]:
        inspector, started = job.by.inspector, time.perf_counter()
        scores = inspector.score(job.prepared, crowded=self._pending > 1)
        scored = time.perf_counter()
        results: list[Done] = []
        for index, queued in enumerate(job.frames):
            before = time.perf_counter()
            frame = queued.frame
            verdict = inspector.judge(job.prepared[index], scores[index], frame.expect, is_part=frame.is_part)
            # The slot was read while registering; a frame that was overwritten meanwhile is not the one asked about.
            if not self._is_intact(queued):
                verdict = error(Reason.TORN, "the frame was overwritten while it was read")
            timing = Timing(
                queue_ms=job.queue_ms[index],
                register_ms=job.register_ms[index],
                graph_ms=(scored - started) * 1e3,
                judge_ms=(time.perf_counter() - before) * 1e3,
            )
            results.append(Done(job.by, queued, job.prepared[index], scores[index], verdict, timing))
        return results
