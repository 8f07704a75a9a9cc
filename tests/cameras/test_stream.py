"""Network streams: the contract with GStreamer's RTSP server and an MJPEG camera, new pictures, and what goes wrong."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.camera_config import StreamCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras.camera import CameraAbsent, CameraConfigError, CameraLost
from edge.cameras.stream import StreamCamera
from tests.cameras import mjpeg_server
from tests.cameras.contract import Losable, LosableContract, MakeCamera, Streaming, streaming
from tests.cameras.lending import LONGEST_CALL_S, PATIENCE_S
from tests.cameras.untriggered import Untriggered
from tests.needs import needs_file

HERE = Path(__file__).parent
RATE_HZ = 25.0
# Shorter than the default, so that what FFmpeg leaves behind is over within a test's patience: up to three time-outs.
TIMEOUT_MS = 1_500
# What a picture may be old on a busy machine; a queue of four would hold up 160 ms at this rate, FFmpeg's far more.
OLDEST_MS = 500


class Server:
    """A server's process, at a port that stays the same."""

    def __init__(self, python: str, script: str, *options: str) -> None:
        self._command, self._options = [python, str(HERE / script)], options
        self.port = "0"
        self.restore()

    def restore(self) -> None:
        self._process = subprocess.Popen(
            [*self._command, self.port, *self._options], stdout=subprocess.PIPE, text=True, cwd=HERE
        )
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        assert self.port.isdigit(), f"{self._command} does not start"

    def lose(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    close = lose

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def rtsp_server() -> Server:
    needs_file("/usr/lib/python3/dist-packages/gi/__init__.py", "python3-gi")
    needs_file("/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib", "gir1.2-gst-rtsp-server-1.0")
    for plugin, package in (("videotestsrc", "base"), ("rtp", "good"), ("x264", "ugly")):
        needs_file(f"/usr/lib/*/gstreamer-1.0/libgst{plugin}.so", f"gstreamer1.0-plugins-{package}")
    return Server("/usr/bin/python3", "rtsp_server.py", str(round(RATE_HZ)))


def maker(url: str, mode: str = "free", **changes: object) -> MakeCamera:
    config = Config.model_validate({"source": "stream", "url": url, "timeout_ms": TIMEOUT_MS} | changes)
    return lambda: StreamCamera("gate", config, TriggerConfig.model_validate({"mode": mode}))


class StreamContract(Untriggered, LosableContract):
    """Streams only run freely."""

    RATE_HZ = RATE_HZ
    SCHEME, PATH = "", ""
    # The server sees to its sockets before it ends, and a time-out is waited for up to three times.
    LOSS_S = 3 * TIMEOUT_MS / 1000
    # FFmpeg's own pieces, some of them for each connection.
    GROWTH_BYTES = 16 << 20

    @pytest.fixture
    def free_running(self, device: Server) -> MakeCamera:
        return maker(f"{self.SCHEME}://127.0.0.1:{device.port}/{self.PATH}")

    @pytest.fixture
    def triggered(self, device: Server) -> MakeCamera:
        return maker(f"{self.SCHEME}://127.0.0.1:{device.port}/{self.PATH}", "software")


class TestRtsp(StreamContract):
    """H.264 from a server that has nothing of ours."""

    SCHEME, PATH = "rtsp", "cam"
    PERIOD_S = 1 / RATE_HZ
    CYCLES = 10  # 0.6 s each, in which FFmpeg looks into the stream

    @pytest.fixture
    def device(self) -> Iterator[Losable]:
        with closing(rtsp_server()) as server:
            yield server


class TestMjpeg(StreamContract):
    """MJPEG over HTTP, which does not tell its rate."""

    SCHEME, PATH = "http", "cam"
    CYCLES = 30

    @pytest.fixture
    def device(self) -> Iterator[Losable]:
        with closing(Server(sys.executable, "mjpeg_server.py", str(RATE_HZ))) as server:
            yield server


@pytest.fixture(scope="module")
def mjpeg() -> Iterator[str]:
    """The address of an MJPEG camera."""
    with closing(Server(sys.executable, "mjpeg_server.py", str(RATE_HZ))) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def rtsp() -> Iterator[str]:
    """The address of an RTSP camera."""
    with closing(rtsp_server()) as server:
        yield f"127.0.0.1:{server.port}"


def age_ms(stream: Streaming, slot: int) -> int:
    """How long ago the server made this picture."""
    picture = stream.slots[slot][: stream.info.frame_bytes].reshape(stream.info.height, stream.info.width, 3)
    return time.monotonic_ns() // 1_000_000 % (1 << mjpeg_server.BITS) - mjpeg_server.read(picture)


def test_whoever_asks_late_gets_the_newest_picture(mjpeg: str) -> None:
    with streaming(maker(f"http://{mjpeg}/cam")) as stream:
        for _ in range(3):
            frame = stream.wait()
            assert 0 <= age_ms(stream, frame.slot) < OLDEST_MS
            stream.camera.release(frame.slot)
            time.sleep(2 * OLDEST_MS / 1000)
        assert stream.camera.stats().lost >= 2 * 2 * OLDEST_MS / 1000 * RATE_HZ * 0.5


def test_a_picture_that_waited_for_a_buffer_is_replaced_by_newer_ones(mjpeg: str) -> None:
    with streaming(maker(f"http://{mjpeg}/cam")) as stream:
        held = [stream.wait() for _ in stream.slots]
        assert stream.camera.next(2 * OLDEST_MS / 1000) is None
        stream.camera.release(held[0].slot)
        frame = stream.camera.next(PATIENCE_S)
        assert frame is not None and age_ms(stream, frame.slot) < OLDEST_MS


def test_rtsp_tells_its_size_rate_and_time(rtsp: str) -> None:
    with streaming(maker(f"rtsp://{rtsp}/cam")) as stream:
        info, frames = stream.info, stream.take(20)
    assert (info.width, info.height, info.pixel_format, info.model) == (160, 120, "BGR8", "rtsp")
    assert (info.serial, info.is_simulated) == (f"rtsp://{rtsp}/cam", False)
    known = [frame for frame in frames if frame.device_timestamp_ns is not None]
    assert len(known) >= 19
    periods = known[-1].frame_id - known[0].frame_id
    elapsed_ns = int(known[-1].device_timestamp_ns or 0) - int(known[0].device_timestamp_ns or 0)
    assert elapsed_ns / 1e9 == pytest.approx(periods / RATE_HZ, rel=0.05)


@pytest.mark.parametrize("path", ["cam", "jpeg"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_each_transport_brings_pictures(rtsp: str, transport: str, path: str) -> None:
    with streaming(maker(f"rtsp://{rtsp}/{path}", transport=transport, timeout_ms=5_000)) as stream:
        frame = stream.wait()
        picture = stream.slots[frame.slot][: stream.info.frame_bytes].reshape(120, 160, 3)
    # The first bars of SMPTE's picture: white, yellow, cyan; whether B, G, R are on in their middles.
    for x, colour in ((11, (True, True, True)), (34, (False, True, True)), (57, (True, True, False))):
        assert tuple(picture[20, x] > 100) == colour


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("end/10", "the stream ended"),
        (
            "resize/10",
            f"the size of its pictures went from {mjpeg_server.SIZE[0]} x 64 to {mjpeg_server.SIZE[0] // 2} x 64",
        ),
    ],
)
def test_a_stream_that_ends_or_changes_is_lost(mjpeg: str, path: str, said: str) -> None:
    expected = pytest.raises(CameraLost, match=rf"^camera gate: http://{mjpeg}/{path}: {said}$")
    with streaming(maker(f"http://{mjpeg}/{path}")) as stream, expected:
        stream.take(20)


def test_a_picture_that_was_cut_short_is_incomplete(mjpeg: str) -> None:
    with streaming(maker(f"http://{mjpeg}/cut/10")) as stream:
        frames, incomplete = [], 0
        with contextlib.suppress(CameraLost):
            while True:
                frames += stream.take(1)
                incomplete = stream.camera.stats().incomplete
    assert [frame.complete for frame in frames] == [True] * (len(frames) - 1) + [False]
    assert incomplete == 1 and len(frames) > 1


def test_who_is_not_there_is_absent_and_says_why(mjpeg: str, rtsp: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        cases = [
            (f"rtsp://127.0.0.1:{nobody.getsockname()[1]}/cam", "nothing answers: Connection refused"),
            (f"http://{mjpeg}/nothing", "it answers but gives no stream"),
            (f"http://{mjpeg}/locked", "it answers but gives no stream: see to the path, the user and the password"),
            (f"rtsp://{rtsp}/nothing", "it answers but gives no stream"),
        ]
        for url, said in cases:
            began = time.monotonic()
            with pytest.raises(CameraAbsent, match=f"^camera gate: {url}: {said}"):
                maker(url)().open()
            assert time.monotonic() - began < LONGEST_CALL_S


def test_a_server_that_accepts_and_says_nothing_is_absent_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("rtsp", "http"):
            began = time.monotonic()
            with pytest.raises(CameraAbsent, match=r"no picture came within 1.5 s|gives no stream"):
                maker(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/cam")().open()
            assert time.monotonic() - began < LONGEST_CALL_S


def test_user_and_password_reach_the_camera_and_nobody_else(mjpeg: str) -> None:
    user = f"{mjpeg_server.USER}:{mjpeg_server.PASSWORD}"
    with streaming(maker(f"http://{user}@{mjpeg}/locked?token=t0ken")) as stream:
        assert stream.wait().complete
        assert stream.info.serial == f"http://{mjpeg}/locked"
    code = f"""
import sys
sys.path.insert(0, {str(Path.cwd())!r})
from tests.cameras.test_stream import maker, streaming
for url in ("http://{user}@{mjpeg}/nothing?token=t0ken", "rtsp://{user}@127.0.0.1:9/cam?token=t0ken", "http://{user}@{mjpeg}/end/2?token=t0ken"):
    try:
        with streaming(maker(url)) as stream:
            while True:
                stream.camera.next(0.1)
    except Exception as problem:
        print(repr(problem), flush=True)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert ran.stdout.count("Camera") == 3
    for secret in (mjpeg_server.PASSWORD, mjpeg_server.USER, "t0ken"):
        assert secret not in ran.stdout + ran.stderr


@pytest.mark.parametrize("mode", ["software", "line"])
def test_a_stream_that_should_be_triggered_is_refused(mode: str) -> None:
    said = rf'^cameras.gate.trigger.mode = "{mode}": a stream cannot be triggered; set "free"$'
    with pytest.raises(CameraConfigError, match=said):
        maker("rtsp://127.0.0.1/cam", mode)().open()
