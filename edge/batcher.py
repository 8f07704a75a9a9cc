"""Frames in, batches out: greedy, earliest deadline first, never waiting. Pure; time is an argument.

When the engine is free it gets whatever is here, up to what it runs well at once. A batch holds frames that go
through the same graph. Waiting for more frames was measured and never paid (`docs/decisions`).
"""

from dataclasses import dataclass

from edge.records import FrameRef


@dataclass(frozen=True)
class Queued:
    """A frame that waits; `graph` names what it goes through."""

    frame: FrameRef
    graph: str


@dataclass(frozen=True)
class Batch:
    """Frames to judge together, and frames it is too late for."""

    frames: tuple[Queued, ...]
    late: tuple[Queued, ...]


class Batcher:
    """The frames that wait, of every camera. Capture bounds how many there can be; nothing is dropped here."""

    def __init__(self) -> None:
        self._waiting: list[Queued] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, queued: Queued) -> None:
        """One more frame."""
        self._waiting.append(queued)

    def take(self, now_ns: int, max_batch: int) -> Batch:
        """The most urgent frame and those that fit beside it, and every frame whose deadline has passed."""
        late = tuple(queued for queued in self._waiting if queued.frame.deadline_ns <= now_ns)
        in_time = [queued for queued in self._waiting if queued.frame.deadline_ns > now_ns]
        # Triggers of one camera open in order, so the id keeps a camera's frames in order at equal deadlines.
        in_time.sort(key=lambda queued: (queued.frame.deadline_ns, queued.frame.trigger_id))
        chosen = tuple(queued for queued in in_time if queued.graph == in_time[0].graph)[:max_batch]
        self._waiting = [queued for queued in in_time if queued not in chosen]
        return Batch(frames=chosen, late=late)
