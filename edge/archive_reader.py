"""What is in the archive, for people: found, read, checked and taken out. The station may run meanwhile."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge import archive_record, cutout, picture_file
from edge.archive_index import FILE, Index, Row, Wanted
from edge.archive_record import Sidecar, Unreadable
from edge.archive_store import FOLDER
from edge.cutout import Bytes
from edge.errors import GoldlineError
from edge.images import ImageError


class Damaged(GoldlineError):
    """A kept picture that is not what it was; the message names the file and why."""


@dataclass(frozen=True)
class Kept:
    """A picture as it was kept: `pixels` flat, and its map, [h, w], where there is one."""

    sidecar: Sidecar
    pixels: Bytes
    map: Bytes | None


def find(state_dir: Path, wanted: Wanted) -> list[Row]:
    """What is looked for, the newest first. Raises GoldlineError where there is no archive."""
    directory = state_dir / FOLDER
    if not (directory / FILE).is_file():
        raise GoldlineError(f"{directory}: no pictures are kept here yet")
    try:
        with Index.reading(directory) as index:
            return index.find(wanted)
    except sqlite3.Error as problem:
        raise GoldlineError(f"{directory / FILE}: {problem}") from problem


def path_of(state_dir: Path, row: Row, end: str) -> Path:
    """A file of a kept picture, by what its name ends in."""
    return state_dir / FOLDER / row.name[:2] / f"{row.name}{end}"


def read(state_dir: Path, row: Row) -> Kept:
    """A kept picture, held against its hash. Raises Damaged, or FileNotFoundError where it has gone meanwhile."""
    path = path_of(state_dir, row, ".json")
    with _naming(path):
        sidecar = archive_record.decode(path.read_bytes())
        if sidecar.name != row.name:
            raise Unreadable(f"it is that of {sidecar.name}")
    picture = path.parent / sidecar.file
    with _naming(picture):
        pixels = picture_file.decode(picture.read_bytes(), sidecar.box[2:], sidecar.pixel_format)
    if picture_file.sha256(pixels) != row.sha256:
        raise Damaged(f"{picture}: its pixels are not those that were judged")
    map_path = path_of(state_dir, row, ".map.png")
    with _naming(map_path):
        levels = picture_file.decode_map(map_path.read_bytes(), sidecar.box[2:]) if sidecar.maps else None
    return Kept(sidecar, pixels, levels)


@contextmanager
def _naming(path: Path) -> Generator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise Damaged(f"{path}: cannot be read: {problem.strerror}") from problem
    except (Unreadable, ImageError) as problem:
        raise Damaged(f"{path}: {problem}") from None


def problem_with(state_dir: Path, row: Row) -> str | None:
    """What is wrong with a kept picture; None: nothing."""
    try:
        read(state_dir, row)
    except Damaged as problem:
        return str(problem)
    except FileNotFoundError as problem:
        # What was pruned since it was found is no damage.
        still = find(state_dir, Wanted(text=row.sha256))
        return f"{problem.filename}: is gone" if row in still else None
    return None


def export(kept: Kept, directory: Path, *, only_kept: bool) -> Path:
    """Write picture, map and sidecar, and return the picture's path; it is 8 bits B, G, R, as the station judged it.

    Unless `only_kept`, the pixels lie where they lay in the camera's frame, black around them: boxes and commands that
    take pictures of this camera fit. Raises GoldlineError.
    """
    sidecar = kept.sidecar
    taken = f"{sidecar.taken:%Y%m%dT%H%M%S}"
    stem = f"{taken}_{sidecar.view}_{sidecar.trigger_id}_{sidecar.outcome}"
    try:
        (directory / "maps").mkdir(parents=True, exist_ok=True)
        picture = cutout.as_picture(kept.pixels, sidecar.box[2:], sidecar.pixel_format)
        _write(directory / f"{stem}.png", picture if only_kept else _in_place(picture, sidecar))
        if kept.map is not None:
            _write(directory / "maps" / f"{stem}.png", kept.map if only_kept else _in_place(kept.map, sidecar))
        (directory / f"{stem}.json").write_bytes(archive_record.encode(sidecar))
    except OSError as problem:
        raise GoldlineError(f"{problem.filename or directory}: cannot be written: {problem.strerror}") from problem
    return directory / f"{stem}.png"


def _write(path: Path, picture: Bytes) -> None:
    path.write_bytes(picture_file.png(picture))


def _in_place(picture: Bytes, sidecar: Sidecar) -> Bytes:
    left, top, width, height = sidecar.box
    frame = np.zeros((sidecar.size[1], sidecar.size[0], *picture.shape[2:]), np.uint8)
    frame[top : top + height, left : left + width] = picture
    return frame
