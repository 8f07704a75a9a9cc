"""Frames are marked as settling and as repetitions, and every slot comes back to the camera."""

import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera_config import GigeCamera as Config
from edge.cameras.camera import CameraFrozen, CameraInfo, CameraStalled, CapturedFrame
from edge.watched_camera import WatchedCamera, are_equal, is_one_colour

WIDTH, HEIGHT, SLOTS = 16, 4, 4
PICTURE_BYTES, SLOT_BYTES = WIDTH * HEIGHT, WIDTH * HEIGHT + 8
INFO = CameraInfo(
    vendor="v",
    model="m",
    serial="s",
    width=WIDTH,
    height=HEIGHT,
    pixel_format="Mono8",
    frame_bytes=SLOT_BYTES,
    period_s=0.01,
)


class FilmCamera:
    """Fills the slot it has had longest with what the test says."""

    def __init__(self) -> None:
        self.free: deque[int] = deque()
        self.buffers: list[np.ndarray] = []
        self.coming: deque[tuple[int, bool]] = deque()
        self.count = 0

    def start(self, buffers: list[np.ndarray]) -> None:
        self.buffers, self.free = buffers, deque(range(len(buffers)))

    def next(self, timeout_s: float) -> CapturedFrame | None:
        if not self.coming or not self.free:
            return None
        (seed, complete), slot = self.coming.popleft(), self.free.popleft()
        self.count += 1
        self.buffers[slot][:PICTURE_BYTES] = np.random.default_rng(seed).integers(0, 256, PICTURE_BYTES)
        # What follows the picture (chunk data) differs with each frame.
        self.buffers[slot][PICTURE_BYTES:] = self.count % 256
        return CapturedFrame(
            slot=slot,
            frame_id=self.count,
            host_timestamp_ns=time.monotonic_ns(),
            host_timestamp_utc_ns=0,
            device_timestamp_ns=None,
            complete=complete,
        )

    def release(self, slot: int) -> None:
        assert slot not in self.free
        self.free.append(slot)


CONFIG = Config.model_validate({"source": "gige", "address": "a", "settling_frames": 0})


def watched(**keys: object) -> tuple[FilmCamera, WatchedCamera]:
    config = Config.model_validate(CONFIG.model_dump(exclude_unset=True) | keys)
    camera = FilmCamera()
    buffers = [np.zeros(SLOT_BYTES, np.uint8) for _ in range(SLOTS)]
    made = WatchedCamera("left", camera, config, INFO, buffers)  # type: ignore[arg-type]
    made.start()
    return camera, made


def show(camera: FilmCamera, made: WatchedCamera, seed: int, *, complete: bool = True) -> CapturedFrame:
    camera.coming.append((seed, complete))
    frame = made.next(0)
    assert frame is not None
    return frame


def test_the_first_frames_are_settling() -> None:
    camera, made = watched(settling_frames=2)
    marks = []
    for seed in range(4):
        frame = show(camera, made, seed)
        marks.append(frame.settling)
        made.release(frame.slot)
    assert marks == [True, True, False, False]


def test_a_picture_that_repeats_the_one_before_is_marked_whatever_follows_it_in_the_slot() -> None:
    camera, made = watched()
    marks = []
    for seed in (1, 2, 2, 3, 2, 2):
        frame = show(camera, made, seed)
        marks.append(frame.repeats)
        made.release(frame.slot)
    assert marks == [False, False, True, False, False, True]


def test_a_frame_with_missing_data_is_not_compared_and_the_one_before_it_stands() -> None:
    camera, made = watched()
    frames = [show(camera, made, 5), show(camera, made, 5, complete=False), show(camera, made, 5)]
    assert [frame.repeats for frame in frames] == [False, False, True]


def test_a_camera_whose_pictures_may_repeat_is_not_compared() -> None:
    camera, made = watched(detect_frozen=False)
    assert [show(camera, made, 1).repeats for _ in range(3)] == [False] * 3


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 3)), max_size=60))
def test_repetitions_are_found_and_no_slot_is_lost_in_any_order_of_release(
    steps: list[tuple[int, bool, int]],
) -> None:
    """Each step: a picture comes if there is a slot for it, then the holder gives so many back, newest or oldest."""
    camera, made = watched()
    held: deque[int] = deque()
    before: int | None = None
    for seed, newest_first, returned in steps:
        if len(held) < SLOTS:
            frame = show(camera, made, seed)  # a slot that the holder does not have is the camera's to fill
            assert frame.repeats == (seed == before)
            held.append(frame.slot)
            before = seed
        for _ in range(min(returned, len(held))):
            made.release(held.pop() if newest_first else held.popleft())
        kept = 1 if len(held) < SLOTS and len(camera.free) + len(held) < SLOTS else 0
        assert len(camera.free) + len(held) + kept == SLOTS
        assert not set(camera.free) & set(held)
        assert camera.free or len(held) == SLOTS, "the camera has a slot unless the holder has all"


def test_only_what_was_handed_over_can_be_released() -> None:
    camera, made = watched()
    frame = show(camera, made, 1)
    made.release(frame.slot)
    for slot in (frame.slot, frame.slot + 1):
        with pytest.raises(KeyError):
            made.release(slot)


def test_a_frozen_picture_is_handed_over_and_then_the_camera_is_lost() -> None:
    camera, made = watched(trigger={"mode": "software"})
    marks = []
    for _ in range(3):
        frame = show(camera, made, 1)
        marks.append(frame.repeats)
        made.release(frame.slot)
    # The first is a picture like any other: it is the same three times in all.
    assert marks == [False, True, True]
    with pytest.raises(CameraFrozen):
        made.next(0)


def test_what_a_shot_is_set_to_reaches_the_camera_and_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, made = watched(trigger={"mode": "software"})
    told: list[object] = []
    camera.trigger, camera.prepare = (lambda: None), told.append  # type: ignore[attr-defined]
    made.prepare({"ExposureTime": 2_000_000, "Gain": 3})
    assert told == [{"ExposureTime": 2_000_000, "Gain": 3}]
    now_ns = time.monotonic_ns()
    made.trigger()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns + 5_000_000_000)
    assert made.next(0) is None


def test_a_triggered_camera_that_sends_nothing_is_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, made = watched(trigger={"mode": "software"})
    camera.trigger = lambda: None  # type: ignore[attr-defined]
    now_ns = time.monotonic_ns()
    made.trigger()
    assert made.next(0) is None
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns + 2_000_000_000)
    with pytest.raises(CameraStalled):
        made.next(0)


def test_a_frozen_camera_that_was_opened_anew_is_still_frozen() -> None:
    camera, made = watched()
    show(camera, made, 1)
    assert not show(camera, made, 2).repeats
    before = made.last_picture()
    for buffer in camera.buffers:
        buffer[:] = 0
    again = WatchedCamera("left", camera, CONFIG, INFO, camera.buffers, before=before)  # type: ignore[arg-type]
    again.start()
    assert [show(camera, again, seed).repeats for seed in (2, 2, 1)] == [True, True, False]


@pytest.mark.parametrize("pixel", [[0], [255], [255, 3], [16, 128], [7, 8, 9], [255, 15, 255]])
def test_a_picture_in_one_colour_is_seen_in_every_pixel_layout(pixel: list[int]) -> None:
    picture = np.array(pixel * 24, np.uint8)
    assert is_one_colour(picture)
    picture[-1] ^= 1
    assert not is_one_colour(picture)


def test_pictures_of_different_length_differ() -> None:
    assert not are_equal(np.zeros(3, np.uint8), np.zeros(4, np.uint8))
    assert are_equal(np.zeros(0, np.uint8), np.zeros(0, np.uint8))
