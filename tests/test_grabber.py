"""The camera's thread: its states in order, a camera that is away or hangs, and how soon it is there again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera_config import FolderCamera as Config
from edge.camera_state import CameraState
from edge.cameras.camera import CameraAbsent, CameraInfo, CameraLost, CapturedFrame
from edge.cameras.folder import FolderCamera
from edge.grabber import (
    BACKOFF_LAST_S,
    BUSY_TRIES,
    CALL_S,
    OPEN_S,
    TEARDOWN_S,
    Down,
    Grabber,
    Happening,
    pause_s,
)

# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 60.0
FRAME_BYTES = 40 * 30 * 3


def config(folder: Path, **keys: object) -> Config:
    return Config.model_validate({"source": "folder", "path": folder, "rate_hz": 100.0} | keys)


@contextmanager
def grabbing(make: Callable[[], Any], folder: Path = Path(), **keys: object) -> Iterator[Grabber]:
    grabber = Grabber("left", config(folder, **keys), make)
    grabber.start()
    try:
        yield grabber
    finally:
        grabber.stop(PATIENCE_S)


class Hearer:
    """What a grabber tells, in order; it is lent its buffers, and gets back each slot."""

    def __init__(self, grabber: Grabber) -> None:
        self.grabber, self.told = grabber, list[Happening]()

    def until(self, wanted: Callable[[Happening], bool]) -> Happening:
        """The first happening of that kind from now on."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            for happening in self.grabber.happenings():
                self.told.append(happening)
                if isinstance(happening, CameraInfo):
                    self.grabber.lend([np.zeros(FRAME_BYTES, np.uint8) for _ in range(4)])
                if isinstance(happening, CapturedFrame):
                    self.grabber.release(happening.slot)
                if wanted(happening):
                    return happening
            time.sleep(0.005)
        raise AssertionError(f"waited in vain; told {self.told[-10:]}")

    def until_state(self, state: CameraState) -> None:
        self.until(lambda happening: happening is state)

    @property
    def states(self) -> list[CameraState]:
        return [happening for happening in self.told if isinstance(happening, CameraState)]


class Hanging:
    """A camera whose `open` does not come back until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def open(self) -> None:
        self.entered.set()
        self.let_go.wait(PATIENCE_S)
        raise CameraAbsent("nobody answers")

    def stop(self) -> None: ...

    def close(self) -> None: ...


def test_an_open_that_hangs_is_noticed_and_a_camera_that_is_away_is_no_hang() -> None:
    camera = Hanging()
    with grabbing(lambda: camera) as grabber:
        assert camera.entered.wait(5)
        now_ns = time.monotonic_ns()
        assert not grabber.is_stuck(now_ns)
        assert grabber.is_stuck(now_ns + round((OPEN_S + 1) * 1e9))
        camera.let_go.set()
        hearer = Hearer(grabber)
        down = hearer.until(lambda happening: isinstance(happening, Down))
        assert isinstance(down, Down) and not down.fatal
        hearer.until_state(CameraState.BACKOFF)
        assert not grabber.is_stuck(time.monotonic_ns() + round(10 * CALL_S * 1e9)), "backing off is no call"
    assert hearer.states == [CameraState.OPENING, CameraState.BACKOFF]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_failed_is_noticed() -> None:
    grabber = Grabber("left", config(Path()), lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    grabber.start()
    grabber._thread.join(5)
    assert grabber.is_stuck(time.monotonic_ns())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "shown"
    directory.mkdir()
    for index in range(3):
        assert cv2.imwrite(str(directory / f"{index}.png"), np.full((30, 40, 3), 50 * index, np.uint8))
    return directory


def folder_camera(folder: Path) -> FolderCamera:
    made = config(folder)
    return FolderCamera("left", made, made.trigger)


def test_a_camera_goes_from_opening_to_streaming_and_when_opened_anew_through_the_back_off(folder: Path) -> None:
    with grabbing(lambda: folder_camera(folder), folder, settling_frames=3) as grabber:
        hearer = Hearer(grabber)
        for _ in range(2):
            frames: list[Happening] = []
            hearer.until(lambda happening: happening is CameraState.STREAMING)
            while len(frames) < 5:
                frames.append(hearer.until(lambda happening: isinstance(happening, CapturedFrame)))
            # Each start of the stream settles anew.
            assert [frame.settling for frame in frames] == [True] * 3 + [False] * 2  # type: ignore[union-attr]
            grabber.reopen()
        down = hearer.until(lambda happening: isinstance(happening, Down))
        assert "opened anew" in str(down.cause)  # type: ignore[union-attr]
        hearer.until_state(CameraState.BACKOFF)
    once = [CameraState.OPENING, CameraState.STREAMING, CameraState.STALLED, CameraState.BACKOFF]
    assert hearer.states == once * 2
    rest = [happening for happening in grabber.happenings() if isinstance(happening, CameraState)]
    assert rest[-1] is CameraState.CLOSED


def test_a_camera_that_is_plugged_in_streams_within_three_seconds(folder: Path, tmp_path: Path) -> None:
    away = folder.rename(tmp_path / "away")
    with grabbing(lambda: folder_camera(folder), folder) as grabber:
        hearer = Hearer(grabber)
        for _ in range(6):  # until it is asked for as seldom as ever
            hearer.until_state(CameraState.BACKOFF)
        downs = [happening for happening in hearer.told if isinstance(happening, Down)]
        assert [down.is_news for down in downs] == [True] + [False] * 5
        away.rename(folder)
        plugged_s = time.monotonic()
        hearer.until(lambda happening: isinstance(happening, CapturedFrame))
        # Its longest pause, and a busy machine.
        assert time.monotonic() - plugged_s < BACKOFF_LAST_S + 10.0


def test_a_camera_in_its_back_off_is_stopped_at_once(tmp_path: Path) -> None:
    # The pause it is in lasts from 1 to 2 s. The machine may stand still once, but not whenever it is told to stop.
    assert any(seconds_to_stop(tmp_path) < 0.8 for _ in range(5))


def seconds_to_stop(tmp_path: Path) -> float:
    """How long a grabber takes to end that waits for a camera that is not there."""
    grabber = Grabber("left", config(tmp_path / "none"), lambda: folder_camera(tmp_path / "none"))
    grabber.start()
    hearer = Hearer(grabber)
    for _ in range(5):
        hearer.until_state(CameraState.BACKOFF)
    began_s = time.monotonic()
    grabber.stop(PATIENCE_S)
    assert not grabber._thread.is_alive()
    return time.monotonic() - began_s


@given(failures=st.integers(1, 10**9), jitter=st.floats(0, 1), is_busy=st.booleans())
def test_the_pause_grows_and_is_bounded(failures: int, jitter: float, is_busy: bool) -> None:
    pause = pause_s(failures, jitter, is_busy=is_busy)
    assert 0.1 <= pause <= BACKOFF_LAST_S
    assert pause <= pause_s(failures + 1, jitter, is_busy=is_busy)
    assert pause <= pause_s(failures, jitter)


def test_a_busy_camera_is_asked_often_until_a_dead_owner_is_forgotten_and_then_seldom() -> None:
    tries = range(1, BUSY_TRIES + 1)
    assert sum(pause_s(failures, 0.0, is_busy=True) for failures in tries) >= 3.0
    assert max(pause_s(failures, 1.0, is_busy=True) for failures in tries) <= 0.5
    assert pause_s(BUSY_TRIES + 1, 1.0, is_busy=True) == BACKOFF_LAST_S


class LostCamera:
    """A camera that is lost at once, and whose `stop` takes as long as the test wants."""

    def __init__(self) -> None:
        self.stopping, self.let_go = threading.Event(), threading.Event()

    def open(self) -> CameraInfo:
        return CameraInfo(
            vendor="v", model="m", serial="s", width=4, height=4, pixel_format="Mono8", frame_bytes=16, period_s=0.1
        )

    def start(self, buffers: list[Any]) -> None: ...

    def next(self, timeout_s: float) -> None:
        raise CameraLost("the cable was pulled")

    def stop(self) -> None:
        self.stopping.set()
        self.let_go.wait(PATIENCE_S)

    def close(self) -> None: ...


def test_a_lost_camera_is_told_at_once_its_slots_are_lent_only_after_and_a_hanging_teardown_is_noticed() -> None:
    camera = LostCamera()
    with grabbing(lambda: camera) as grabber:
        hearer = Hearer(grabber)
        hearer.until(lambda happening: isinstance(happening, Down))
        hearer.until_state(CameraState.STALLED)
        assert camera.stopping.wait(5)
        now_ns = time.monotonic_ns()
        assert grabber.is_stuck(now_ns + round((TEARDOWN_S + 0.5) * 1e9))
        assert not grabber.is_stuck(now_ns + round((TEARDOWN_S - 1) * 1e9))
        time.sleep(0.3)
        # It lasts: nobody asks for the slots again while the camera may still write.
        assert not list(grabber.happenings())
        with pytest.raises(CameraLost):
            grabber.trigger()
        camera.let_go.set()
        hearer.until(lambda happening: isinstance(happening, CameraInfo))
