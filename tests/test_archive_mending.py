"""What a kill, a person or a bad disk leaves of the archive is mended, and what is whole stays."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edge import archive_reader, archive_record
from edge.archive_index import FILE, Wanted
from edge.archive_retention import Bounds
from edge.archive_store import FOLDER, StoreFailed
from tests import pictures
from tests.small_disk import small_disk

SIDECAR = pictures.kept(1, pictures.pixels(1))[0]


@pytest.mark.parametrize(
    "harm", ["picture gone", "picture cut", "sidecar gone", "index gone", "index damaged", "both", "part"]
)
def test_whatever_was_left_is_mended_and_what_is_whole_stays(tmp_path: Path, harm: str) -> None:
    store = pictures.opened(tmp_path)
    sidecars = [pictures.put(store, trigger_id) for trigger_id in range(1, 9)]
    store.close()
    folder = tmp_path / FOLDER
    victim = sidecars[3]
    (folder / "notes.txt").write_text("a person's own")
    (folder / victim.sha256[:2] / "README").write_text("also")
    spoil(folder, victim, harm)
    again = pictures.opened(tmp_path)
    pictures.mend(again)
    (folder / victim.sha256[:2] / "README").unlink()
    assert pictures.assert_agrees(tmp_path) == (
        7 if harm in {"picture gone", "picture cut", "sidecar gone", "both"} else 8
    )
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


def test_an_index_damaged_while_it_is_used_is_made_anew(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path)
    for trigger_id in range(1, 200):
        pictures.put(store, trigger_id)
    store.close()
    path = tmp_path / FOLDER / FILE
    content = bytearray(path.read_bytes())
    # The first page, which is read when it is opened, is whole.
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreFailed):
        pictures.put(pictures.opened(tmp_path), 200)
    again = pictures.opened(tmp_path)
    pictures.mend(again)
    pictures.put(again, 201)
    assert pictures.assert_agrees(tmp_path) == 200


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
    store = pictures.opened(tmp_path)
    pictures.put(store, 1)
    path = tmp_path / FOLDER / SIDECAR.sha256[:2] / f"{SIDECAR.name}.json"
    path.write_bytes(archive_record.encode(msgspec.structs.replace(SIDECAR, **wrong)))
    (row,) = archive_reader.find(tmp_path, Wanted())
    assert str(path) in str(archive_reader.problem_with(tmp_path, row))
    store.close()
    remove_all((tmp_path / FOLDER).glob(f"{FILE}*"))
    pictures.mend(pictures.opened(tmp_path))
    assert pictures.assert_agrees(tmp_path) == 0


@pytest.mark.parametrize("what", ["index.sqlite3", "part", "."])
def test_what_is_taken_away_while_it_is_used_is_noticed_and_made_anew(tmp_path: Path, what: str) -> None:
    store = pictures.opened(tmp_path)
    pictures.put(store, 1)
    pictures.mend(store)
    (tmp_path / FOLDER / what).resolve().rename(tmp_path / "away")
    with pytest.raises(StoreFailed):
        pictures.mend(store)
    store.close()
    again = pictures.opened(tmp_path)
    pictures.put(again, 2)
    pictures.mend(again)
    assert pictures.triggers(tmp_path) == ([2] if what == "." else [1, 2])
    pictures.assert_agrees(tmp_path)


def test_bytes_hold_while_an_index_that_was_lost_is_made_anew(tmp_path: Path) -> None:
    bounds = Bounds(40_000, 30)
    store = pictures.opened(tmp_path, bounds)
    for trigger_id in range(1, 60):
        pictures.put(store, trigger_id)
    store.close()
    remove_all((tmp_path / FOLDER).glob(f"{FILE}*"))
    store = pictures.opened(tmp_path, bounds)
    for trigger_id in range(60, 80):
        pictures.put(store, trigger_id)
        store.tidy(pictures.instant())
        on_disk = sum(path.stat().st_size for path in (tmp_path / FOLDER).glob("??/*"))
        assert on_disk == store.total_bytes <= 40_000
        if trigger_id == 70:
            # And where its process dies over it.
            store.close()
            store = pictures.opened(tmp_path, bounds)
    pictures.mend(store)
    found = pictures.triggers(tmp_path)
    assert found == list(range(80 - len(found), 80)) and len(found) > 10, "a newer one went before an older one"
    pictures.assert_agrees(tmp_path)


def test_an_index_of_the_version_before_is_made_anew_from_the_files(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path)
    pictures.put(store, 1)
    store.close()
    with closing(sqlite3.connect(tmp_path / FOLDER / FILE)) as index:
        index.executescript(
            "DROP INDEX by_age; ALTER TABLE records DROP COLUMN kept_ns; DROP TABLE lived; PRAGMA user_version = 0"
        )
    store = pictures.opened(tmp_path)
    pictures.put(store, 2)
    pictures.mend(store)
    assert pictures.assert_agrees(tmp_path) == 2


def test_a_disk_that_turns_read_only_refuses_and_what_is_there_is_still_found(tmp_path: Path) -> None:
    with small_disk(tmp_path, 24) as disk:
        (disk.path / FOLDER).mkdir()
        store = pictures.opened(disk.path)
        store._least_free_bytes = 0
        pictures.put(store, 1)
        disk.breaks()
        for use in (
            lambda: pictures.put(store, 2),
            lambda: pictures.mend(store),
            lambda: pictures.opened(disk.path),
        ):
            with pytest.raises(StoreFailed):
                use()
        store.close()
        (row,) = archive_reader.find(disk.path, Wanted())
        assert archive_reader.problem_with(disk.path, row) is None
