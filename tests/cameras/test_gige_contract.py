"""The contract, held with three GigE Vision devices, which are killed, come back, hang and go on.

Each test has a camera process of its own: Debian's independent fake, this project's, and the one in plain Python.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cameras.contract import LosableContract, MakeCamera
from tests.cameras.gige_bench import (
    SMALL,
    SPECIAL,
    gige,
    own_camera,
    settings,
    stock_camera,
    wire_camera,
    write_pictures,
)

Running = Callable[[], AbstractContextManager[Any]]


class Device:
    """A camera process that can be killed, started again, stopped and continued."""

    def __init__(self, make: Running) -> None:
        self._make = make
        self._stack = ExitStack()
        self.restore()

    def restore(self) -> None:
        running = self._stack.enter_context(self._make())
        self._process: subprocess.Popen[Any] = getattr(running, "running", running)

    def lose(self) -> None:
        self._stack.close()

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.resume()
        self._stack.close()


class GigeContract(LosableContract):
    """What the three have in common."""

    CYCLES = 20  # 0.17 s each, of which 0.15 are the camera's pause
    TRIGGERS = 10
    FEATURES: dict[str, object]

    @pytest.fixture
    def device(self, loopback: None, tmp_path: Path) -> Iterator[Device]:
        device = Device(lambda: self.make(tmp_path))
        yield device
        device.end()

    def make(self, folder: Path) -> AbstractContextManager[Any]:
        raise NotImplementedError

    @pytest.fixture
    def free_running(self, device: Device) -> MakeCamera:
        return lambda: gige(settings(SPECIAL, features=self.FEATURES | {"AcquisitionFrameRate": self.RATE_HZ}))

    @pytest.fixture
    def triggered(self, device: Device) -> MakeCamera:
        return lambda: gige(settings(SPECIAL, features=self.FEATURES), "software")


class TestIndependentCamera(GigeContract):
    FEATURES = SMALL
    QUIET_S = 0.1  # it looks for a trigger every 40 ms

    def make(self, folder: Path) -> AbstractContextManager[Any]:
        return stock_camera(SPECIAL, folder / "stdout")


class TestOwnCamera(GigeContract):
    FEATURES: dict[str, object] = {}

    def make(self, folder: Path) -> AbstractContextManager[Any]:
        if not (folder / "00.png").exists():
            write_pictures(folder, count=3)
        return own_camera(folder, SPECIAL, folder / "stdout")


class TestWireCamera(GigeContract):
    FEATURES: dict[str, object] = {}

    def make(self, folder: Path) -> AbstractContextManager[Any]:
        return wire_camera(SPECIAL)
