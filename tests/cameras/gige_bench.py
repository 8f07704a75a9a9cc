"""What the GigE Vision tests stand on: a network of their own, and cameras on it as real processes."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera_config import GigeCamera as GigeConfig
from edge.camera_config import TriggerConfig
from edge.cameras import gvcp
from edge.cameras.camera import CapturedFrame
from edge.cameras.gige import GigeCamera
from tests.cameras.lending import Streaming, streaming
from tests.needs import in_ci, needs_file, needs_program, needs_root

# From <linux/sched.h>: this thread, and what it starts from now on, in a network of its own.
CLONE_NEWNET = 0x40000000
STOCK, OWN, SPECIAL, WIRE = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
# A small picture of the independent camera's ramp, fast enough for a busy machine.
SMALL = {"PixelFormat": "Mono8", "Width": 128, "Height": 96, "ExposureTimeAbs": 10_000, "GainRaw": 0}
SLOTS = 4
# The longest that any call of a camera may take, with room for a machine that is busy with something else.
LONGEST_CALL_S = 2.5 + 3.5


@contextlib.contextmanager
def network() -> Iterator[None]:
    """A network namespace with only a loopback interface; it is gone when the last process in it is."""
    needs_root()
    ip = needs_program("ip", "iproute2")
    needs_file("/usr/lib/*/libaravis-0.8.so.0", "libaravis-0.8-0")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        os.close(before)
        refuse = pytest.fail if in_ci() else pytest.skip
        refuse(f"needs network namespaces: {os.strerror(ctypes.get_errno())}")
    try:
        for address in (OWN, SPECIAL, WIRE):
            subprocess.run([ip, "address", "add", f"{address}/8", "dev", "lo"], check=True)
        subprocess.run([ip, "link", "set", "lo", "up"], check=True)
        yield
    finally:
        returned = libc.setns(before, CLONE_NEWNET)
        os.close(before)
        assert returned == 0, "the tests after these would have no network"


@contextlib.contextmanager
def process(command: list[str], address: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A camera process that answers at `address`; its stdout goes to `output`."""
    with output.open("wb") as stdout, subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE) as running:
        try:
            deadline = time.monotonic() + 60
            while gvcp.is_controlled(address) is None:
                assert running.poll() is None, running.stderr and running.stderr.read()
                assert time.monotonic() < deadline, f"{command} does not answer"
            yield running
        finally:
            running.kill()


def stock_camera(
    address: str, output: Path, *options: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Debian's own fake camera: nothing of ours is in it."""
    program = needs_program("arv-fake-gv-camera-0.8", "aravis-tools")
    return process([str(program), "-i", address, "-s", f"ST{address[-1]}", *options], address, output)


def own_camera(
    folder: Path, address: str, output: Path, *options: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """`edge.cameras.fake_gige`, serving `folder`."""
    command = [sys.executable, "-m", "edge.cameras.fake_gige", "--interface", address, "--folder", str(folder)]
    return process([*command, "--serial", f"GL{address[-1]}", "--print-served", *options], address, output)


class WireCamera:
    """`tests.cameras.wire_camera` as a process, and orders to its surroundings."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self.running = running

    def order(self, line: str) -> dict[str, str | int]:
        """Gives an order; what the camera is set to and has counted by then."""
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.write(line + "\n")
        self.running.stdin.flush()
        return json.loads(self.running.stdout.readline())


@contextlib.contextmanager
def wire_camera(address: str, *options: str) -> Iterator[WireCamera]:
    """The camera in plain Python, which has what libaravis' simulation has not."""
    command = [sys.executable, "-m", "tests.cameras.wire_camera", "--interface", address]
    command += ["--serial", f"WC{address[-1]}", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            deadline = time.monotonic() + 60
            while gvcp.is_controlled(address) is None:
                assert running.poll() is None and time.monotonic() < deadline, f"{command} does not answer"
            yield WireCamera(running)
        finally:
            running.kill()


def settings(address: str, **changes: object) -> GigeConfig:
    """A camera's configuration; features are `SMALL` unless given."""
    values = {"source": "gige", "address": address, "features": SMALL, "receive_buffer_bytes": 4 << 20} | changes
    # Whatever the mode that it is opened with: with shots there is none without a trigger.
    trigger = {"trigger": {"mode": "software"}} if "shot" in changes else {}
    return GigeConfig.model_validate(values | trigger)


def gige(config: GigeConfig, mode: str = "free", **trigger: object) -> GigeCamera:
    """A closed camera."""
    return GigeCamera("trunk", config, TriggerConfig.model_validate({"mode": mode} | trigger))


def opened(config: GigeConfig, mode: str = "free", **trigger: object) -> contextlib.AbstractContextManager[Streaming]:
    """The camera open and streaming; afterwards closed, its guards looked at."""
    return streaming(lambda: gige(config, mode, **trigger), SLOTS)


def pixels(stream: Streaming, frame: CapturedFrame) -> np.ndarray:
    """The frame's bytes in its slot, not a copy."""
    return stream.slots[frame.slot][: stream.info.frame_bytes]


def ramp(frame_id: int, width: int, height: int) -> np.ndarray:
    """What Debian's fake camera draws at 10 ms and gain 0: a diagonal ramp that moves with its 16-bit frame id."""
    on_wire = (frame_id - 1) % 65_535 + 1
    return np.add.outer(np.arange(height), np.arange(width) + on_wire) % 255


def write_pictures(folder: Path, count: int, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """Random colour pictures in name order, BGR as written."""
    generator = np.random.default_rng(7)
    pictures = [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]
    for index, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"{index:02}.png"), picture)
    return pictures
