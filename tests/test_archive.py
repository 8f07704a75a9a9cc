"""The archive's files and index: whole, bounded, found again."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge import archive_reader, archive_record, picture_file
from edge.archive_index import FILE, Index, Wanted
from edge.archive_mending import SHARDS, remove
from edge.archive_retention import DAY_NS, Bounds
from edge.archive_store import FOLDER, Files, NoRoom, StoreFailed
from tests import pictures
from tests.needs import needs_root


def test_a_picture_is_found_by_trigger_unit_and_pixels(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path)
    sidecar = pictures.put(store, 7)
    pictures.put(store, 8)
    for what in ("7", "part-7", sidecar.sha256[:12]):
        (row,) = archive_reader.find(tmp_path, Wanted(text=what))
        assert (row.trigger_id, row.verdict, row.product) == (7, "FAIL", "lid")
    assert archive_reader.find(tmp_path, Wanted(text="9")) == []
    assert [row.trigger_id for row in archive_reader.find(tmp_path, Wanted(verdict="FAIL", most=1))] == [8]
    read = archive_reader.read(tmp_path, row)
    assert archive_record.encode(read.sidecar) == archive_record.encode(sidecar)


def test_the_same_pixels_are_stored_once_and_go_with_the_last_trigger_that_showed_them(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path)
    first, second = pictures.put(store, 1, seed=5), pictures.put(store, 2, seed=5)
    assert first.file == second.file
    assert pictures.files(tmp_path) == {first.file, f"{first.name}.json", f"{second.name}.json"}
    remove(store.directory, store._index, [first.name])
    assert pictures.files(tmp_path) == {second.file, f"{second.name}.json"}
    remove(store.directory, store._index, [second.name])
    assert pictures.files(tmp_path) == set()


def test_bounds_hold_at_every_moment_and_the_newest_stay(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path, Bounds(40_000, 30))
    for trigger_id in range(1, 101):
        pictures.put(store, trigger_id)
        assert store.total_bytes == sum(path.stat().st_size for path in (tmp_path / FOLDER).glob("??/*")) <= 40_000
    rows = archive_reader.find(tmp_path, Wanted())
    assert [row.trigger_id for row in rows] == list(range(100, 100 - len(rows), -1)) and len(rows) > 10
    assert store.take_pruned() == 100 - len(rows)
    pictures.assert_agrees(tmp_path)


def test_what_is_too_old_goes_by_itself(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path, Bounds(1 << 30, 2))
    pictures.put(store, 1)
    sidecar, made = pictures.kept(2, pictures.pixels(2))
    store.put(sidecar, made, pictures.instant())
    for _ in range(len(SHARDS) + 1):
        store.tidy(pictures.instant(DAY_NS))
    assert pictures.assert_agrees(tmp_path) == 2
    store.tidy(pictures.instant(3 * DAY_NS))
    assert pictures.assert_agrees(tmp_path) == 0


def test_a_picture_larger_than_all_there_may_be_is_refused_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path, Bounds(900, 30))
    with pytest.raises(NoRoom):
        pictures.put(store, 1)
    assert pictures.files(tmp_path) == set()


def test_pixels_that_changed_on_the_disk_are_told(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path)
    good, bad = pictures.put(store, 1), pictures.put(store, 2)
    other = picture_file.encode(pictures.pixels(9), pictures.SIZE, "Mono8")
    (tmp_path / FOLDER / bad.sha256[:2] / bad.file).write_bytes(other)
    rows = {row.trigger_id: row for row in archive_reader.find(tmp_path, Wanted())}
    assert archive_reader.problem_with(tmp_path, rows[1]) is None
    assert "not those that were judged" in str(archive_reader.problem_with(tmp_path, rows[2]))
    (tmp_path / FOLDER / good.sha256[:2] / good.file).unlink()
    assert "is gone" in str(archive_reader.problem_with(tmp_path, rows[1]))


@pytest.mark.parametrize("pixel_format", ["Mono8", "RGB8"])
def test_all_black_pictures_of_two_shapes_are_both_themselves(tmp_path: Path, pixel_format: str) -> None:
    store = pictures.opened(tmp_path)
    for trigger_id, (width, height) in ((1, (24, 10)), (2, (10, 24)), (3, (24, 10))):
        size = width, height
        flat = np.zeros(width * height * (3 if pixel_format == "RGB8" else 1), np.uint8)
        made = archive_record.sidecar(pictures.keep(trigger_id, flat))
        said = msgspec.structs.replace(made, size=size, box=(0, 0, *size), pixel_format=pixel_format)
        store.put(said, Files(picture=picture_file.encode(flat, size, pixel_format), map=None), pictures.instant())
    for row in archive_reader.find(tmp_path, Wanted()):
        assert archive_reader.problem_with(tmp_path, row) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 300, "other size"])
def test_a_damaged_map_is_named(tmp_path: Path, content: bytes | str) -> None:
    store = pictures.opened(tmp_path)
    sidecar, made = pictures.kept(1, pictures.pixels(1))
    said = msgspec.structs.replace(sidecar, maps=("lid.anomaly",))
    store.put(said, Files(picture=made.picture, map=picture_file.png(np.zeros((3, 3), np.uint8))), pictures.instant())
    path = tmp_path / FOLDER / said.sha256[:2] / f"{said.name}.map.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    (row,) = archive_reader.find(tmp_path, Wanted())
    assert str(path) in str(archive_reader.problem_with(tmp_path, row))


def test_a_full_disk_refuses_and_leaves_whole_files(tmp_path: Path) -> None:
    needs_root()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / FOLDER).mkdir()
        store = pictures.opened(tmp_path)
        # On a disk that others write to as well pictures give way long before it is full, and that is told.
        with pytest.raises(NoRoom):
            pictures.put(store, 1)
        with pytest.raises(NoRoom):
            pictures.mend(store)
        store._least_free_bytes = -(1 << 20)  # as if others had filled it meanwhile
        kept = 0
        with pytest.raises(StoreFailed):  # noqa: PT012 - how many fit is the disk's affair
            for trigger_id in range(2, 1000):
                pictures.put(store, trigger_id)
                kept += 1
        assert kept > 10
        store.close()
        again = pictures.opened(tmp_path)
        again._least_free_bytes = -(1 << 20)
        for _ in SHARDS:
            again.tidy(pictures.instant())
        assert pictures.assert_agrees(tmp_path) >= kept - 1
        again.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


KEEPS_FOR_EVER = """
import sys
from pathlib import Path
from edge.archive_retention import Bounds
from tests import pictures
store = pictures.opened(Path(sys.argv[1]), Bounds(60_000, 30))
for number in range(int(sys.argv[2]), 10**9):
    # Every fifth shows what the one before it showed.
    pictures.put(store, number, number - (number % 5 == 0))
    store.tidy(pictures.instant())
    print(number, flush=True)
"""


def test_killed_at_any_instant_every_file_is_whole_and_the_index_agrees(tmp_path: Path) -> None:
    generator = random.Random(4)
    number = 1
    for _ in range(8):
        words = [sys.executable, "-c", KEEPS_FOR_EVER, str(tmp_path), str(number)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as process:
            assert process.stdout is not None
            for _ in range(generator.randint(3, 40)):
                number = int(process.stdout.readline()) + 1
            time.sleep(generator.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                number = int(line) + 1
        number += 1  # it may have been kept and not told
        if generator.random() < 0.3:
            for path in (tmp_path / FOLDER).glob(f"{FILE}*"):
                path.unlink()
        store = pictures.opened(tmp_path, Bounds(60_000, 30))
        pictures.mend(store)
        assert store.total_bytes <= 60_000
        store.close()
        assert pictures.assert_agrees(tmp_path) > 0
        newest = archive_reader.find(tmp_path, Wanted(most=1))[0].trigger_id
        assert newest >= number - 2, "a picture that was written is gone"


def test_an_index_that_nobody_can_read_is_told_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(archive_reader.GoldlineError, match="no pictures are kept here yet"):
        archive_reader.find(tmp_path, Wanted())
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / FILE).write_bytes(b"\xff" * 5000)
    with pytest.raises(archive_reader.GoldlineError, match="not a database"):
        archive_reader.find(tmp_path, Wanted())


def test_a_sidecar_of_another_kind_is_unreadable():
    with pytest.raises(archive_record.Unreadable):
        archive_record.decode(b'{"version": 1}')


def test_a_reader_sees_the_index_while_it_is_written(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path)
    pictures.put(store, 1)
    with Index.reading(tmp_path / FOLDER) as index:
        pictures.put(store, 2)
        assert index.count() == 2
        with pytest.raises(sqlite3.OperationalError):
            index.remove(["x" * 64])
