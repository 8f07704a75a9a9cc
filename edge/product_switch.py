"""Puts a product's recipe and reference set in force together: whoever dies at whatever instant, it is both or neither.

    <state_dir>/fleet/switches/<product>.json     what is being done; there only while it is
    <pipelines_dir>/<product>/.incoming/          the files that take the place of those beside it

1. Every file of the recipe lies in `.incoming`, and the set in its store, on the disk.
2. The journal is written: from here on it will be done.
3. The set is made the active one; each file takes its place; the journal goes.

A process that loads a product finishes first what was begun (`finish`): so no part is judged by the recipe of one version
and the reference set of another.
"""

import fcntl
import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge.config import Station
from edge.durable import sync
from edge.errors import GoldlineError
from edge.references import Store

INCOMING = ".incoming"


class SwitchError(GoldlineError):
    """What was to be put in force is not, or only in part: then it is finished by whoever loads the product."""


class Journal(msgspec.Struct, frozen=True):
    """`files`: their paths below the product's folder."""

    product: str
    reference_set: str
    files: tuple[str, ...]


def incoming(station: Station, product: str) -> Path:
    """Where the files of a recipe wait: on the file system of those whose place they take."""
    return station.pipelines_dir / product / INCOMING


def switch(station: Station, product: str, reference_set: str, files: Iterable[str]) -> None:
    """Put in force what lies in `incoming` and in the store. Raises SwitchError; then what was in force still is."""
    journal = Journal(product, reference_set, tuple(files))
    with _locked(station, product):
        _finish(station, product)
        _write(_path(station, product), msgspec.json.encode(journal))
        _carry_out(station, journal)


def finish(station: Station, product: str) -> None:
    """Finish what a process that died had begun. Raises SwitchError where that cannot be done."""
    if _path(station, product).exists():
        with _locked(station, product):
            _finish(station, product)


def _finish(station: Station, product: str) -> None:
    path = _path(station, product)
    try:
        journal = msgspec.json.decode(path.read_bytes(), type=Journal)
    except FileNotFoundError:
        return
    except msgspec.DecodeError as problem:
        raise SwitchError(f"{path}: {problem}; remove it, and roll {product} out again") from problem
    _carry_out(station, journal)


def _carry_out(station: Station, journal: Journal) -> None:
    folder, path = station.pipelines_dir / journal.product, _path(station, journal.product)
    store = Store(station.state_dir, journal.product)
    source = folder / INCOMING
    try:
        store.activate(journal.reference_set)
    except GoldlineError as problem:
        if store.active() != journal.reference_set and all((source / name).exists() for name in journal.files):
            path.unlink()  # nothing was changed yet
        raise SwitchError(str(problem)) from problem
    for name in journal.files:
        if (source / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(source / name, folder / name)
            sync((folder / name).parent)
    path.unlink()
    sync(path.parent)
    shutil.rmtree(source, ignore_errors=True)


def _path(station: Station, product: str) -> Path:
    return station.state_dir / "fleet" / "switches" / f"{product}.json"


def _write(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync(path.parent)


@contextmanager
def _locked(station: Station, product: str) -> Generator[None]:
    """One at a time; whoever loads the product waits the moment that it takes. Raises SwitchError."""
    path = _path(station, product)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_suffix(".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
    except OSError as failure:
        raise SwitchError(f"{product}: the roll-out cannot be put in force: {failure}") from failure
