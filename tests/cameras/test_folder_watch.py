"""The folder camera that watches for new files: the contract, which files are new, and those that are not whole."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.cameras.camera import CameraAbsent, CameraLost
from edge.cameras.folder_watch import PATIENCE_NS, Newcomers
from tests.cameras.contract import Losable, MakeCamera, streaming
from tests.cameras.test_folder import FolderContract, Removable, fill, maker, write
from tests.cameras.untriggered import Untriggered


def move_in(path: Path, data: bytes) -> None:
    """Whole at once, as programs do that write beside and rename."""
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(data)
    beside.rename(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path, 4)
    return tmp_path


class Writer(Removable):
    """Moves a whole picture into the folder at each period; while the folder is away, into none."""

    def __init__(self, folder: Path, rate_hz: float) -> None:
        super().__init__(folder)
        write(folder.with_name("next.png"), 7)
        self._picture, self._period_s = folder.with_name("next.png").read_bytes(), 1 / rate_hz
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        for number in itertools.count():
            due_s += self._period_s
            if self._ending.wait(max(0.0, due_s - time.monotonic())):
                return
            with contextlib.suppress(FileNotFoundError):
                move_in(self._folder / f"{number:06}.png", self._picture)


class TestWatching(Untriggered, FolderContract):
    """New files at the rate; the folder is looked at more often."""

    @pytest.fixture
    def device(self, folder: Path) -> Iterator[Losable]:
        with closing(Writer(folder, self.RATE_HZ)) as writer:
            yield writer

    @pytest.fixture
    def free_running(self, folder: Path, device: Losable) -> MakeCamera:
        return maker(folder, play="watch", rate_hz=4 * self.RATE_HZ)

    @pytest.fixture
    def triggered(self, folder: Path) -> MakeCamera:
        return maker(folder, "software", play="watch")

    # Files that find no buffer wait in the folder.
    test_frames_that_find_no_buffer_are_lost_and_counted = None
    test_a_slow_consumer_gets_frames_in_order_and_what_it_missed_is_counted = None

    def test_files_that_find_no_buffer_wait(self, free_running: MakeCamera) -> None:
        with streaming(free_running) as stream:
            held = [stream.wait() for _ in stream.slots]
            assert stream.camera.next(10 / self.RATE_HZ) is None
            for frame in held:
                stream.camera.release(frame.slot)
            after = stream.take(10)
            assert stream.camera.stats().lost == 0
        names = [int(Path(str(frame.label)).stem) for frame in (*held, *after)]
        assert names == list(range(names[0], names[0] + len(names)))


def watching(folder: Path, **changes: object) -> MakeCamera:
    return maker(folder, play="watch", rate_hz=100.0, **changes)


def test_what_lies_in_a_watched_folder_at_first_is_old_and_what_comes_is_shown_once(folder: Path) -> None:
    picture = (folder / "1.png").read_bytes()
    with streaming(watching(folder)) as stream:
        assert not stream.info.is_simulated
        assert stream.camera.next(0.1) is None
        move_in(folder / "new.png", picture)
        frame = stream.wait()
        assert (frame.label, frame.complete, frame.frame_id) == ("new.png", True, 1)
        assert (stream.slots[frame.slot][: stream.info.frame_bytes] == 50).all()
        (folder / "notes.txt").write_text("no picture")
        (folder / ".hidden.png").write_bytes(picture)
        (folder / "sub").mkdir()
        move_in(folder / "sub" / "below.png", picture)
        assert stream.camera.next(0.1) is None
        # The camera goes away, another file comes, and the camera is opened again.
    move_in(folder / "meanwhile.png", picture)
    with streaming(watching(folder)) as stream:
        assert stream.wait().label == "meanwhile.png"
        assert stream.camera.next(0.1) is None
        (folder / "new.png").unlink()
        assert stream.camera.next(0.1) is None
        move_in(folder / "new.png", picture)
        assert stream.wait().label == "new.png"


def test_files_that_come_together_are_shown_in_the_order_they_were_written(folder: Path) -> None:
    picture = (folder / "1.png").read_bytes()
    for age, name in enumerate(("c", "a", "b")):
        (folder / f".{name}").write_bytes(picture)
        os.utime(folder / f".{name}", (1000 + age, 1000 + age))
    with streaming(watching(folder)) as stream:
        for name in "bca":
            (folder / f".{name}").rename(folder / f"{name}.png")
        assert sorted(str(frame.label) for frame in stream.take(3)) == ["a.png", "b.png", "c.png"]
    for age, name in enumerate(("z", "x", "y")):
        (folder / f"{name}.png").write_bytes(picture)
        os.utime(folder / f"{name}.png", (1000 + age, 1000 + age))
    with streaming(watching(folder)) as stream:
        assert [frame.label for frame in stream.take(3)] == ["z.png", "x.png", "y.png"]


def test_a_file_that_is_being_written_is_waited_for(folder: Path) -> None:
    picture = (folder / "1.png").read_bytes()
    with streaming(watching(folder)) as stream:
        with (folder / "slow.png").open("wb") as file:
            for part in (picture[:20], picture[20:50]):
                file.write(part)
                file.flush()
                assert stream.camera.next(0.1) is None
            # One that is whole does not wait for it.
            move_in(folder / "quick.png", picture)
            assert stream.take(1)[0].label == "quick.png"
            file.write(picture[50:])
        frame = stream.take(1)[0]
    assert (frame.label, frame.complete) == ("slow.png", True)


def test_a_file_whose_writer_died_is_given_up(folder: Path) -> None:
    newcomers = Newcomers(folder)
    newcomers.begin()
    (folder / "dead.png").write_bytes((folder / "1.png").read_bytes()[:-1])
    assert newcomers.take(1) is None
    assert newcomers.take(PATIENCE_NS) is None
    assert newcomers.take(PATIENCE_NS + 2) == (None, "dead.png")
    assert newcomers.take(2 * PATIENCE_NS) is None


def test_a_watched_folder_without_a_picture_is_absent_until_the_first_comes_and_that_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with pytest.raises(CameraAbsent, match=r"^camera trunk: .*later: No such file"):
        watching(folder)().open()
    folder.mkdir()
    with pytest.raises(
        CameraAbsent, match=r"^camera trunk: .*later: no picture in it yet, so their size is not known$"
    ):
        watching(folder)().open()
    write(folder / "first.png", 3)
    with streaming(watching(folder)) as stream:
        assert stream.wait().label == "first.png"


def test_a_link_that_leads_nowhere_does_not_stop_the_others(folder: Path) -> None:
    (folder / "old.png").symlink_to(folder / "old.png")
    with streaming(watching(folder)) as stream:
        (folder / "new.png").symlink_to(folder / "new.png")
        (folder / "gone.png").symlink_to(folder / "nothing.png")
        move_in(folder / "picture.png", (folder / "1.png").read_bytes())
        assert stream.wait().label == "picture.png"
        assert stream.camera.next(0.1) is None


def test_a_folder_that_was_replaced_is_seen_for_the_first_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(tmp_path / "a" / "0.png", 1)
    for index in range(3):
        write(tmp_path / "b" / f"{index}.png", 1)
    with streaming(watching(tmp_path / "a")) as stream:
        (tmp_path / "a").rename(tmp_path / "c")
        with pytest.raises(CameraLost, match=r"^camera trunk: .*a: No such file"):
            stream.camera.next(0.5)
        (tmp_path / "b").rename(tmp_path / "a")
    with streaming(watching(tmp_path / "a")) as stream:
        assert stream.camera.next(0.1) is None
        write(tmp_path / "a" / "3.png", 1)
        assert stream.wait().label == "3.png"
