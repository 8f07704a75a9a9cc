"""The folder camera: the contract, the order, and files that cannot be used."""

import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera_config import FolderCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras.camera import CameraAbsent, CameraConfigError, CapturedFrame
from edge.cameras.discovery import state_of
from edge.cameras.folder import FolderCamera
from edge.images import read_image
from tests.cameras.contract import Losable, LosableContract, MakeCamera, Streaming, streaming
from tests.needs import needs_root

SIZE = (40, 30)
# Debian's user who owns nothing.
NOBODY = 65_534


def write(path: Path, value: int, size: tuple[int, int] = SIZE) -> Path:
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), value, np.uint8))
    return path


def fill(folder: Path, count: int) -> None:
    """That many images; from the fifth on they are links to the first four."""
    for index in range(min(count, 4)):
        write(folder / f"{index}.png", 50 * index)
    for index in range(4, count):
        (folder / f"{index:05}.png").hardlink_to(folder / f"{index % 4}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path, 4)
    return tmp_path


def maker(path: Path, mode: str = "free", **changes: object) -> MakeCamera:
    config = Config.model_validate({"source": "folder", "path": path, "rate_hz": 50.0} | changes)
    trigger = TriggerConfig.model_validate({"mode": mode})
    return lambda: FolderCamera("trunk", config, trigger)


class Removable:
    """A folder that is moved away and back."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._away = folder, folder.with_name("away")

    def lose(self) -> None:
        self._folder.rename(self._away)

    def restore(self) -> None:
        self._away.rename(self._folder)

    def hang(self) -> None:
        raise NotImplementedError

    resume = hang


class FolderContract(LosableContract):
    """What holds for each way to play."""

    IMAGES = 4
    # A file system that hangs, hangs whoever reads it: there is nothing that is there and silent.
    test_waiting_for_a_hanging_device_ends_with_the_timeout = None

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (made := tmp_path / "images").mkdir()
        fill(made, self.IMAGES)
        return made

    @pytest.fixture
    def device(self, folder: Path) -> Losable:
        return Removable(folder)


class TestLooping(FolderContract):
    @pytest.fixture
    def free_running(self, folder: Path) -> MakeCamera:
        return maker(folder)

    @pytest.fixture
    def triggered(self, folder: Path) -> MakeCamera:
        return maker(folder, "software")


class TestOnce(FolderContract):
    """Long enough not to end."""

    IMAGES = 2000

    @pytest.fixture
    def free_running(self, folder: Path) -> MakeCamera:
        return maker(folder, play="once")

    @pytest.fixture
    def triggered(self, folder: Path) -> MakeCamera:
        return maker(folder, "software", play="once")


def ask(stream: Streaming, count: int) -> list[CapturedFrame]:
    """So many triggered frames, one by one; the pixels of a complete one are those of the file it names."""
    frames = []
    for _ in range(count):
        stream.camera.trigger()
        frame = stream.wait()
        if frame.complete:
            shown = stream.slots[frame.slot][: stream.info.frame_bytes].reshape(SIZE[1], SIZE[0], 3)
            np.testing.assert_array_equal(shown, read_image(Path(stream.info.serial, str(frame.label))))
        stream.camera.release(frame.slot)
        frames.append(frame)
    return frames


def triggered(path: Path, **changes: object) -> MakeCamera:
    """Named by its folder, so that `ask` finds the file."""
    config = Config.model_validate({"source": "folder", "path": path} | changes)
    return lambda: FolderCamera(str(path), config, TriggerConfig(mode="software"))


def test_images_come_in_name_order_and_again(folder: Path) -> None:
    with streaming(triggered(folder)) as stream:
        assert (stream.info.width, stream.info.height, stream.info.pixel_format) == (*SIZE, "BGR8")
        labels = [frame.label for frame in ask(stream, 9)]
    assert labels == [f"{index % 4}.png" for index in range(9)]


def test_a_folder_played_once_ends_and_nothing_is_lost(folder: Path) -> None:
    with streaming(triggered(folder, play="once")) as stream:
        assert len(ask(stream, 4)) == 4
        for _ in range(3):
            stream.camera.trigger()
            assert stream.camera.next(0.05) is None
        stats = stream.camera.stats()
    assert (stats.frames, stats.lost) == (4, 0)


def test_a_folder_played_once_at_a_rate_ends_too(folder: Path) -> None:
    with streaming(maker(folder, play="once", rate_hz=200.0)) as stream:
        seen, until = 0, time.monotonic() + 60
        while stream.camera.stats().frames + stream.camera.stats().lost < 4:
            assert time.monotonic() < until
            if (frame := stream.camera.next(0.1)) is not None:
                seen = frame.frame_id
                stream.camera.release(frame.slot)
        assert seen == 4
        assert all(stream.camera.next(0.02) is None for _ in range(5))
        stats = stream.camera.stats()
    assert stats.frames + stats.lost == 4


def test_a_folder_played_once_goes_on_where_it_was_when_the_camera_is_opened_again(folder: Path) -> None:
    make = triggered(folder, play="once")
    with streaming(make) as stream:
        assert [frame.label for frame in ask(stream, 3)] == ["0.png", "1.png", "2.png"]
    with streaming(make) as stream:
        assert [(frame.label, frame.frame_id) for frame in ask(stream, 1)] == [("3.png", 1)]
    with streaming(make) as stream:
        stream.camera.trigger()
        assert stream.camera.next(0.1) is None


def test_a_file_that_cannot_be_used_is_an_incomplete_frame_and_the_next_comes(folder: Path) -> None:
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    write(folder / "2.png", 9, size=(SIZE[0] + 2, SIZE[1]))
    with streaming(triggered(folder)) as stream:
        (folder / "3.png").unlink()
        frames = ask(stream, 5)
        stats = stream.camera.stats()
    assert [(frame.label, frame.complete) for frame in frames] == [
        ("0.png", True),
        ("1.png", False),
        ("2.png", False),
        ("3.png", False),
        ("0.png", True),
    ]
    assert [frame.frame_id for frame in frames] == [1, 2, 3, 4, 5]
    assert (stats.frames, stats.incomplete, stats.lost) == (5, 3, 0)


def test_the_size_is_that_of_the_first_image_that_can_be_read(folder: Path) -> None:
    (folder / "0.png").write_bytes(b"")
    with streaming(triggered(folder)) as stream:
        assert (stream.info.width, stream.info.height) == SIZE
        assert [frame.complete for frame in ask(stream, 2)] == [False, True]


def test_a_folder_that_is_not_there_may_come(tmp_path: Path) -> None:
    camera = maker(tmp_path / "later")()
    with pytest.raises(CameraAbsent, match=r"^camera trunk: .*later: no such folder$"):
        camera.open()
    (tmp_path / "later").mkdir()
    write(tmp_path / "later" / "0.png", 1)
    assert camera.open().width == SIZE[0]


@pytest.mark.parametrize("play", ["loop", "once", "watch"])
@pytest.mark.parametrize(("mode", "below"), [(0o700, "images"), (0o711, "")])
def test_a_folder_that_this_user_may_not_look_into_is_absent(mode: int, below: str, play: str) -> None:
    """A service may see less than whoever configured it."""
    needs_root()
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer, below)
        folder.mkdir(exist_ok=True)
        write(folder / "0.png", 1)
        Path(outer).chmod(mode)
        config = Config(source="folder", path=folder)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(CameraAbsent, match=rf"^camera trunk: {folder}: Permission denied$"):
                maker(folder, play=play)().open()
            state = state_of("trunk", config, ())
        finally:
            os.seteuid(0)
    assert (state.state, state.detail) == (("absent", "this user may not look there") if below else ("reachable", ""))


def test_a_folder_without_a_usable_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraConfigError, match=r"^camera trunk: .*: no images in it"):
        maker(tmp_path)().open()
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(CameraConfigError, match=r"^camera trunk: no image can be read: .*0\.png: an empty file$"):
        maker(tmp_path)().open()


@pytest.mark.parametrize(
    ("mode", "play", "said"),
    [
        ("line", "loop", r'cameras.trunk.trigger.mode = "line": a folder has no input'),
        ("software", "watch", r'cameras.trunk.play = "watch": .*trigger.mode'),
    ],
)
def test_a_trigger_that_a_folder_cannot_have_is_refused(folder: Path, mode: str, play: str, said: str) -> None:
    with pytest.raises(CameraConfigError, match=said):
        maker(folder, mode, play=play)().open()
