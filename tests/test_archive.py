"""The archive's files and index: whole, bounded, mended after a kill; and its pixels, exact in every format."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import archive_reader, archive_record, archive_store, cutout, picture_file
from edge.archive_index import FILE, Index, Wanted
from edge.archive_retention import DAY_NS, Bounds, Entry, due, is_sampled, is_wanted
from edge.archive_store import FOLDER, Files, NoRoom, Store, StoreFailed
from edge.cutout import Cutout
from edge.images import ImageError
from edge.pixel_formats import PIXEL_FORMATS
from edge.records import Outcome, Reason, Verdict, error
from tests import pictures
from tests.needs import needs_root

WIDE = Bounds(1 << 30, 30)
ENTRIES = st.lists(st.tuples(st.integers(0, 90 * DAY_NS), st.integers(0, 10_000)), max_size=40).map(
    lambda rows: [Entry(str(place), taken, frees) for place, (taken, frees) in enumerate(sorted(rows))]
)


# --- what is kept, and for how long


@given(ENTRIES, st.integers(-5000, 200_000), st.integers(1, 90))
def test_the_oldest_go_and_no_more_than_must(entries, room_bytes, days):
    now_ns = 90 * DAY_NS
    gone = due(entries, room_bytes, Bounds(0, days), now_ns)
    assert gone == entries[: len(gone)]
    stays = entries[len(gone) :]
    if stays:
        assert sum(one.frees for one in gone) >= room_bytes or room_bytes <= 0
        assert now_ns - stays[0].taken_utc_ns <= days * DAY_NS
    if gone:
        last = gone[-1]
        before = sum(one.frees for one in gone[:-1])
        assert before < room_bytes or now_ns - last.taken_utc_ns > days * DAY_NS, "one went that need not"


@given(st.integers(1, 2**63), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_a_smaller_one_does(trigger_id, one, other):
    low, high = sorted((one, other))
    assert not is_sampled(trigger_id, low) or is_sampled(trigger_id, high)


def test_a_share_of_pass_is_kept_and_every_fail_and_every_error_that_shows_the_part():
    passed = Verdict(outcome=Outcome.PASS)
    assert 400 < sum(is_wanted(passed, trigger_id, 0.05) for trigger_id in range(10_000)) < 600
    assert not any(is_wanted(passed, trigger_id, 0.0) for trigger_id in range(1000))
    assert all(is_wanted(passed, trigger_id, 1.0) for trigger_id in range(1000))
    assert is_wanted(Verdict(outcome=Outcome.FAIL), 1, 0.0)
    assert is_wanted(error(Reason.CANNOT_JUDGE), 1, 0.0)
    assert not is_wanted(error(Reason.TORN), 1, 1.0)


# --- pixels


CUT_SIZE = (48, 20)


@st.composite
def polygons(draw: st.DrawFn) -> list[np.ndarray]:
    """A few rectangles, turned, some of them partly outside."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        centre = np.array([draw(st.floats(-5, 50)), draw(st.floats(-5, 25))])
        width, height, angle = draw(st.floats(1, 30)), draw(st.floats(1, 15)), draw(st.sampled_from([0.0, 0.3, 1.2]))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
        found.append(corners @ turn.T + centre)
    return found


def distance_outside(found: list[np.ndarray], x: float, y: float) -> float:
    """How far a pixel's centre lies from the nearest polygon; 0 or less inside."""
    return min(-cv2.pointPolygonTest(one.astype(np.float32), (float(x), float(y)), True) for one in found)


@given(polygons(), st.sampled_from([name for name in PIXEL_FORMATS if name != "JPEG"]), st.integers(0, 2**32 - 1))
def test_what_is_kept_is_exact_and_shows_nothing_beside_what_is_looked_at(found, pixel_format, seed):
    size = CUT_SIZE
    frame = pictures.pixels(seed, PIXEL_FORMATS[pixel_format].frame_bytes(size[0] * size[1])) | 1
    cut = cutout.around(found, size, pixel_format)
    if cut is None:
        return
    into = np.full(frame.size, 255, np.uint8)
    used = cutout.copy(frame, size, pixel_format, cut, into)
    assert used is not None
    left, top, width, height = cut.box
    assert left >= 0 and left + width <= size[0] and top >= 0 and top + height <= size[1]
    source, target = cutout.layout(size, pixel_format), cutout.layout(cut.box[2:], pixel_format)
    assert source is not None and target is not None
    first = left // source.pixels
    original = source.view(frame)[top : top + height, first : first + target.columns]
    seen = target.view(into)
    is_kept = (seen == original).all(2)
    assert ((seen == 0).all(2) | is_kept).all(), "a pixel that the camera did not send"
    reach = 1.5 if source.pixels == 1 else 1.5 + source.pixels
    for row, column in np.argwhere(is_kept):
        xs = [left + column * source.pixels + step for step in range(source.pixels)]
        assert min(distance_outside(found, x, top + row) for x in xs) <= reach + 1, "outside of what is looked at"
    for row, column in np.argwhere(~is_kept):
        xs = [left + column * source.pixels + step for step in range(source.pixels)]
        assert min(distance_outside(found, x, top + row) for x in xs) > -1.5, "a pixel that is looked at is missing"


@pytest.mark.parametrize("pixel_format", [name for name in PIXEL_FORMATS if name != "JPEG"])
def test_every_format_comes_back_from_its_file_to_the_last_bit(pixel_format):
    size = (16, 6)
    pixels = pictures.pixels(3, PIXEL_FORMATS[pixel_format].frame_bytes(size[0] * size[1]))
    content = picture_file.encode(pixels, size, pixel_format)
    back = picture_file.decode(content, size, pixel_format)
    assert picture_file.sha256(back) == picture_file.sha256(pixels)
    assert cutout.as_picture(back, size, pixel_format).shape == (6, 16, 3)


def test_a_file_of_another_picture_is_refused():
    content = picture_file.encode(pictures.pixels(1, 96), (16, 6), "Mono8")
    with pytest.raises(ImageError, match="not 16x6 Mono12"):
        picture_file.decode(content, (16, 6), "Mono12")
    with pytest.raises(ImageError, match="damaged"):
        picture_file.decode(content[:40], (16, 6), "Mono8")


def test_rows_that_cannot_be_told_apart_are_not_cut():
    assert (
        cutout.copy(np.zeros(100, np.uint8), (5, 4), "Mono10p", Cutout((0, 0, 4, 4)), np.zeros(100, np.uint8)) is None
    )


# --- the store


def files(state: Path) -> set[str]:
    return {path.name for path in (state / FOLDER).glob("??/*")}


def put(store: Store, trigger_id: int, seed: int | None = None, **said) -> archive_record.Sidecar:
    sidecar, made = pictures.kept(trigger_id, pictures.pixels(trigger_id if seed is None else seed), **said)
    store.put(sidecar, made, time.time_ns())
    return sidecar


def mend(store: Store) -> None:
    while store.tidy(time.time_ns()):
        pass


def assert_agrees(state: Path) -> int:
    """Every file is whole and named by the index, and the other way round; returns how many records there are."""
    with Index.reading(state / FOLDER) as index:
        rows = index.find(Wanted())
        total = index.total_bytes()
    expected = set()
    for row in rows:
        kept = archive_reader.read(state, row)
        expected |= {kept.sidecar.file, f"{row.name}.json"} | ({f"{row.name}.map.png"} if kept.sidecar.maps else set())
    assert files(state) == expected
    assert total == sum(path.stat().st_size for path in (state / FOLDER).glob("??/*"))
    return len(rows)


def test_a_picture_is_found_by_trigger_unit_and_pixels(tmp_path: Path) -> None:
    store = Store(tmp_path, WIDE)
    sidecar = put(store, 7)
    put(store, 8)
    for what in ("7", "part-7", sidecar.sha256[:12]):
        (row,) = archive_reader.find(tmp_path, Wanted(text=what))
        assert (row.trigger_id, row.verdict, row.product) == (7, "FAIL", "lid")
    assert archive_reader.find(tmp_path, Wanted(text="9")) == []
    assert [row.trigger_id for row in archive_reader.find(tmp_path, Wanted(verdict="FAIL", most=1))] == [8]
    read = archive_reader.read(tmp_path, row)
    assert archive_record.encode(read.sidecar) == archive_record.encode(sidecar)


def test_the_same_pixels_are_stored_once_and_go_with_the_last_trigger_that_showed_them(tmp_path: Path) -> None:
    store = Store(tmp_path, WIDE)
    first, second = put(store, 1, seed=5), put(store, 2, seed=5)
    assert first.file == second.file
    assert files(tmp_path) == {first.file, f"{first.name}.json", f"{second.name}.json"}
    store._remove([first.name])
    assert files(tmp_path) == {second.file, f"{second.name}.json"}
    store._remove([second.name])
    assert files(tmp_path) == set()


def test_bounds_hold_at_every_moment_and_the_newest_stay(tmp_path: Path) -> None:
    store = Store(tmp_path, Bounds(40_000, 30))
    for trigger_id in range(1, 101):
        put(store, trigger_id)
        assert store.total_bytes == sum(path.stat().st_size for path in (tmp_path / FOLDER).glob("??/*")) <= 40_000
    rows = archive_reader.find(tmp_path, Wanted())
    assert [row.trigger_id for row in rows] == list(range(100, 100 - len(rows), -1)) and len(rows) > 10
    assert store.take_pruned() == 100 - len(rows)
    assert_agrees(tmp_path)


def test_what_is_too_old_goes_by_itself(tmp_path: Path) -> None:
    store = Store(tmp_path, Bounds(1 << 30, 2))
    put(store, 1)
    sidecar, made = pictures.kept(2, pictures.pixels(2))
    now_ns = time.time_ns()
    store.put(sidecar, made, now_ns)
    for _ in range(len(archive_store.SHARDS) + 1):
        store.tidy(now_ns + DAY_NS)
    assert assert_agrees(tmp_path) == 2
    store.tidy(now_ns + 3 * DAY_NS)
    assert assert_agrees(tmp_path) == 0


def test_a_picture_larger_than_all_there_may_be_is_refused_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    store = Store(tmp_path, Bounds(900, 30))
    with pytest.raises(NoRoom):
        put(store, 1)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    "harm", ["picture gone", "picture cut", "sidecar gone", "index gone", "index damaged", "both", "part"]
)
def test_whatever_was_left_is_mended_and_what_is_whole_stays(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path, WIDE)
    sidecars = [put(store, trigger_id) for trigger_id in range(1, 9)]
    store.close()
    folder = tmp_path / FOLDER
    victim = sidecars[3]
    (folder / "notes.txt").write_text("a person's own")
    (folder / victim.sha256[:2] / "README").write_text("also")
    spoil(folder, victim, harm)
    again = Store(tmp_path, WIDE)
    mend(again)
    (folder / victim.sha256[:2] / "README").unlink()
    assert assert_agrees(tmp_path) == (7 if harm in {"picture gone", "picture cut", "sidecar gone", "both"} else 8)
    assert not list((folder / "part").iterdir()) and (folder / "notes.txt").exists()


def remove_all(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()


def spoil(folder: Path, victim: archive_record.Sidecar, harm: str) -> None:
    picture = folder / victim.sha256[:2] / victim.file
    match harm:
        case "picture gone":
            picture.unlink()
        case "picture cut":
            os.truncate(picture, 50)
        case "sidecar gone":
            (picture.parent / f"{victim.name}.json").unlink()
        case "index gone":
            remove_all(folder.glob(f"{FILE}*"))
        case "index damaged":
            remove_all(folder.glob(f"{FILE}-*"))
            (folder / FILE).write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
        case "both":
            remove_all(folder.glob(f"{FILE}*"))
            picture.write_bytes(bytes(picture.stat().st_size))
        case "part":
            (folder / "part" / victim.file).write_bytes(b"half")


def test_pixels_that_changed_on_the_disk_are_told(tmp_path: Path) -> None:
    store = Store(tmp_path, WIDE)
    good, bad = put(store, 1), put(store, 2)
    other = picture_file.encode(pictures.pixels(9), pictures.SIZE, "Mono8")
    (tmp_path / FOLDER / bad.sha256[:2] / bad.file).write_bytes(other)
    rows = {row.trigger_id: row for row in archive_reader.find(tmp_path, Wanted())}
    assert archive_reader.problem_with(tmp_path, rows[1]) is None
    assert "not those that were judged" in str(archive_reader.problem_with(tmp_path, rows[2]))
    (tmp_path / FOLDER / good.sha256[:2] / good.file).unlink()
    assert "is gone" in str(archive_reader.problem_with(tmp_path, rows[1]))


def test_an_index_damaged_while_it_is_used_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path, WIDE)
    for trigger_id in range(1, 200):
        put(store, trigger_id)
    store.close()
    path = tmp_path / FOLDER / FILE
    content = bytearray(path.read_bytes())
    # The first page, which is read when it is opened, is whole.
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreFailed):
        put(Store(tmp_path, WIDE), 200)
    again = Store(tmp_path, WIDE)
    mend(again)
    put(again, 201)
    assert assert_agrees(tmp_path) == 200


@pytest.mark.parametrize("pixel_format", ["Mono8", "RGB8"])
def test_all_black_pictures_of_two_shapes_are_both_themselves(tmp_path: Path, pixel_format: str) -> None:
    store = Store(tmp_path, WIDE)
    for trigger_id, (width, height) in ((1, (24, 10)), (2, (10, 24)), (3, (24, 10))):
        size = width, height
        flat = np.zeros(width * height * (3 if pixel_format == "RGB8" else 1), np.uint8)
        made = archive_record.sidecar(pictures.keep(trigger_id, flat))
        said = msgspec.structs.replace(made, size=size, box=(0, 0, *size), pixel_format=pixel_format)
        store.put(said, Files(picture=picture_file.encode(flat, size, pixel_format), map=None), time.time_ns())
    for row in archive_reader.find(tmp_path, Wanted()):
        assert archive_reader.problem_with(tmp_path, row) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 300, "other size"])
def test_a_damaged_map_is_named(tmp_path: Path, content: bytes | str) -> None:
    store = Store(tmp_path, WIDE)
    sidecar, made = pictures.kept(1, pictures.pixels(1))
    said = msgspec.structs.replace(sidecar, maps=("lid.anomaly",))
    store.put(said, Files(picture=made.picture, map=picture_file.png(np.zeros((3, 3), np.uint8))), time.time_ns())
    path = tmp_path / FOLDER / said.sha256[:2] / f"{said.name}.map.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    (row,) = archive_reader.find(tmp_path, Wanted())
    assert str(path) in str(archive_reader.problem_with(tmp_path, row))


SIDECAR = pictures.kept(1, pictures.pixels(1))[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"view": "../../../etc/cron.d/x"},
        {"file": "../../station.key"},
        {"pixel_format": "Mono9"},
        {"size": (1 << 30, 1 << 30)},
        {"box": (-1, 0, 2, 2)},
        {"box": (0, 0, 10_000, 2)},
        {"verdict": {}},
        {"verdict": {"outcome": ["PASS"]}},
        {"provenance": {}},
    ],
)
def test_a_sidecar_that_is_none_of_ours_names_no_file_and_stops_nobody(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    store = Store(tmp_path, WIDE)
    put(store, 1)
    path = tmp_path / FOLDER / SIDECAR.sha256[:2] / f"{SIDECAR.name}.json"
    path.write_bytes(archive_record.encode(msgspec.structs.replace(SIDECAR, **wrong)))
    (row,) = archive_reader.find(tmp_path, Wanted())
    assert str(path) in str(archive_reader.problem_with(tmp_path, row))
    store.close()
    remove_all((tmp_path / FOLDER).glob(f"{FILE}*"))
    mend(Store(tmp_path, WIDE))
    assert assert_agrees(tmp_path) == 0


def test_a_full_disk_refuses_and_leaves_whole_files(tmp_path: Path) -> None:
    needs_root()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / FOLDER).mkdir()
        store = Store(tmp_path, WIDE)
        # On a disk that others write to as well pictures give way long before it is full, and that is told.
        with pytest.raises(NoRoom):
            put(store, 1)
        with pytest.raises(NoRoom):
            mend(store)
        store._least_free_bytes = -(1 << 20)  # as if others had filled it meanwhile
        kept = 0
        with pytest.raises(archive_store.StoreFailed):  # noqa: PT012 - how many fit is the disk's affair
            for trigger_id in range(2, 1000):
                put(store, trigger_id)
                kept += 1
        assert kept > 10
        store.close()
        again = Store(tmp_path, WIDE)
        again._least_free_bytes = -(1 << 20)
        for _ in archive_store.SHARDS:
            again.tidy(time.time_ns())
        assert assert_agrees(tmp_path) >= kept - 1
        again.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


KEEPS_FOR_EVER = """
import sys, time
from pathlib import Path
from edge.archive_retention import Bounds
from edge.archive_store import Store
from tests import pictures
store = Store(Path(sys.argv[1]), Bounds(60_000, 30))
for number in range(int(sys.argv[2]), 10**9):
    # Every fifth shows what the one before it showed.
    store.put(*pictures.kept(number, pictures.pixels(number - (number % 5 == 0))), time.time_ns())
    store.tidy(time.time_ns())
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
        store = Store(tmp_path, Bounds(60_000, 30))
        mend(store)
        assert store.total_bytes <= 60_000
        store.close()
        assert assert_agrees(tmp_path) > 0
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
    store = Store(tmp_path, WIDE)
    put(store, 1)
    with Index.reading(tmp_path / FOLDER) as index:
        put(store, 2)
        assert index.count() == 2
        with pytest.raises(sqlite3.OperationalError):
            index.remove(["x" * 64])
