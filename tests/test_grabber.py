"""The camera's thread: it is told apart from a camera that is away, and a call that hangs is noticed."""

import threading
import time

import pytest

from edge.cameras.camera import CameraAbsent
from edge.grabber import CALL_S, OPEN_S, Down, Grabber


class Hanging:
    """A camera whose `open` does not come back until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def open(self) -> None:
        self.entered.set()
        self.let_go.wait(20)
        raise CameraAbsent("nobody answers")

    def stop(self) -> None: ...

    def close(self) -> None: ...


def test_an_open_that_hangs_is_noticed_and_a_camera_that_is_away_is_no_hang() -> None:
    camera = Hanging()
    grabber = Grabber(lambda: camera)
    grabber.start()
    assert camera.entered.wait(5)
    now_ns = time.monotonic_ns()
    assert not grabber.is_stuck(now_ns)
    assert grabber.is_stuck(now_ns + round((OPEN_S + 1) * 1e9))
    camera.let_go.set()
    until = time.monotonic() + 20
    told: list[object] = []
    while not told:
        assert time.monotonic() < until
        told += grabber.happenings()
    assert isinstance(told[0], Down) and not told[0].fatal
    time.sleep(0.02)
    assert not grabber.is_stuck(time.monotonic_ns() + round(10 * CALL_S * 1e9)), "backing off is no call"
    grabber.stop(2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_failed_is_noticed() -> None:
    grabber = Grabber(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    grabber.start()
    grabber._thread.join(5)
    assert grabber.is_stuck(time.monotonic_ns())
