"""The batcher: ordered, lossless, on time."""

from hypothesis import given
from hypothesis import strategies as st

from edge.batcher import Batcher, Queued
from edge.records import FrameRef


def queued(trigger_id: int, camera: str, graph: str, deadline_ns: int) -> Queued:
    frame = FrameRef(
        camera=camera, view=camera, slot=trigger_id, generation=2, frame_id=trigger_id, trigger_id=trigger_id, host_timestamp_ns=0,
        host_timestamp_utc_ns=0, device_timestamp_ns=None, deadline_ns=deadline_ns, width=1, height=1,
        pixel_format="Mono8", handed_ns=0,
    )  # fmt: skip
    return Queued(frame=frame, graph=graph)


frames = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["top", "side"]), st.integers(1, 50)), min_size=1, max_size=40
)


@given(frames=frames, now_ns=st.integers(0, 50), max_batch=st.integers(1, 8))
def test_every_frame_comes_out_once_in_time_or_late(
    frames: list[tuple[str, str, int]], now_ns: int, max_batch: int
) -> None:
    batcher = Batcher()
    everything = [queued(index, *frame) for index, frame in enumerate(frames)]
    for one in everything:
        batcher.add(one)
    out: list[Queued] = []
    while len(batcher):
        batch = batcher.take(now_ns, max_batch)
        assert batch.frames or batch.late, "it waits although something is here"
        assert len(batch.frames) <= max_batch
        assert len({one.graph for one in batch.frames}) <= 1
        assert all(one.frame.deadline_ns > now_ns for one in batch.frames)
        assert all(one.frame.deadline_ns <= now_ns for one in batch.late)
        out += [*batch.frames, *batch.late]
    assert sorted(one.frame.trigger_id for one in out) == list(range(len(everything)))


@given(frames=frames, max_batch=st.integers(1, 8))
def test_the_most_urgent_goes_first_and_a_batch_is_as_full_as_it_can_be(
    frames: list[tuple[str, str, int]], max_batch: int
) -> None:
    batcher = Batcher()
    waiting = [queued(index, *frame) for index, frame in enumerate(frames)]
    for one in waiting:
        batcher.add(one)
    while len(batcher):
        batch = batcher.take(0, max_batch)
        first = min(waiting, key=lambda one: (one.frame.deadline_ns, one.frame.trigger_id))
        assert batch.frames[0] == first
        assert len(batch.frames) == min(max_batch, sum(one.graph == first.graph for one in waiting))
        waiting = [one for one in waiting if one not in batch.frames]
