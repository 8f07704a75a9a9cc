"""The store of reference sets: content-addressed, verified at every read, switched atomically, undoable.

    <state_dir>/references/<product>/<id>/manifest.json          what was taught, and the sha256 of every other file
                                     <id>/<role>/<region>.onnx   backbone and memory bank in one graph
                                     <id>/<role>/*.npz           arrays, never pickled
                                     <id>/<role>/references/     the good images, small, to show beside a deviation
                                     active               symlink to the set in use
                                     history.json         ids in the order they were activated

A set's id is the sha256 of its manifest, so nothing in it can change under its name.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.durable import sync
from edge.errors import GoldlineError
from edge.manifest import Manifest, ViewManifest
from edge.recipe import LoadedRecipe, Recipe

# Raised whenever a stored set of the old kind could no longer be judged with; such a set asks to be taught again.
SCHEMA = 2
# 64 bits of the digest name a set: readable, and no two sets of one product will ever share them.
ID_DIGITS = 16

# Keys of a check that only decide, and may be changed at any time.
NOT_TAUGHT = {
    "position": ("tolerance_px", "tolerance_mm", "tolerance_deg"),
    "variant": ("expect",),
}

Arrays = dict[str, NDArray[Any]]


class ReferenceSetError(GoldlineError):
    """A reference set that is missing, damaged or of another version."""


@dataclass(frozen=True)
class ReferenceSet:
    """A verified set on disk."""

    id: str
    directory: Path
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """One file's bytes. Raises ReferenceSetError naming the file when they are not those that were stored."""
        path = self.directory / name
        try:
            content = path.read_bytes()
        except OSError as failure:
            raise ReferenceSetError(f"{path}: {failure.strerror}; teach again or `--undo`") from failure
        if hashlib.sha256(content).hexdigest() != self.manifest.files.get(name):
            raise ReferenceSetError(f"{path}: damaged, its sha256 is not the manifest's; teach again or `--undo`")
        return content

    def view(self, role: str) -> ViewManifest:
        """What was taught of a camera role. Raises ReferenceSetError."""
        for view in self.manifest.views:
            if view.camera == role:
                return view
        raise ReferenceSetError(f"{self.directory}: nothing was taught of camera role {role}; teach again")

    def arrays(self, name: str) -> Arrays:
        """The arrays of one stored `.npz`."""
        with np.load(io.BytesIO(self.read(name)), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}


def taught_by(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe a reference set depends on: everything but words and limits, which may change at any time."""
    told = recipe.model_dump(mode="json", include={"registration", "regions", "views"})
    for region in told["regions"]:
        # Left unsaid, as in sets of before there were tiles.
        if region["anomaly"] is not None and region["anomaly"]["tiles"] == "auto":
            del region["anomaly"]["tiles"]
        for check, keys in NOT_TAUGHT.items():
            if region[check] is not None:
                region[check] = {key: value for key, value in region[check].items() if key not in keys}
        # Nothing of these is taught: they may come and go.
        del region["code"], region["model"]
    for view in told["views"].values():
        del view["mm_per_px"]
    told["views"] = _telling(told["views"])
    return told


def _telling(views: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """A view that says nothing is as one that is not named."""
    return {role: view for role, view in views.items() if any(view.values())}


def refuse_other_recipe(recipe: LoadedRecipe, found: ReferenceSet) -> None:
    """Raises ReferenceSetError where the set was taught by another recipe than this one has become."""
    wanted = taught_by(recipe.recipe)
    was = dict(found.manifest.taught)
    was["views"] = _telling(was.get("views", {}))
    changed = [key for key in wanted if wanted[key] != was.get(key)]
    if changed:
        raise ReferenceSetError(
            f"{recipe.path}: {' and '.join(changed)} changed since the reference set was taught: "
            f"goldline teach {recipe.product} --good DIR"
        )


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the bytes of an uncompressed `.npz`; equal arrays give equal bytes."""
    target = io.BytesIO()
    np.savez(target, allow_pickle=False, **dict(arrays))
    return target.getvalue()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sync(path)


class Store:
    """The reference sets of one product."""

    def __init__(self, state_dir: Path, product: str) -> None:
        self.product = product
        self.root = state_dir / "references" / product

    def save(self, manifest: Manifest, files: Mapping[str, bytes]) -> str:
        """Store a set, not yet active, and return its id. A set of the same content is kept as it is."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
        document = msgspec.json.encode(msgspec.structs.replace(manifest, files=digests), order="sorted")
        identity = hashlib.sha256(document).hexdigest()[:ID_DIGITS]
        with self._locked():
            for leftover in self.root.glob(".partial-*"):
                shutil.rmtree(leftover)
            if not self._is_sound(identity):
                self._place(identity, {**files, "manifest.json": document})
        return identity

    def _place(self, identity: str, files: Mapping[str, bytes]) -> None:
        # 1. write everything under a name no reader looks at  2. reach the disk  3. one rename makes it a set
        partial = self.root / f".partial-{identity}"
        for name, content in files.items():
            _write(partial / name, content)
        shutil.rmtree(self.root / identity, ignore_errors=True)
        os.rename(partial, self.root / identity)
        sync(self.root)

    def adopt(self, source: Path) -> None:
        """Take over a set that was unpacked on this disk, by its folder's name; one that is here already stays as it is."""
        with self._locked():
            if not self._is_sound(source.name):
                shutil.rmtree(self.root / source.name, ignore_errors=True)
                os.rename(source, self.root / source.name)
                sync(self.root)

    def _is_sound(self, identity: str) -> bool:
        try:
            self.load(identity)
        except ReferenceSetError:
            return False
        return True

    def load(self, identity: str | None = None) -> ReferenceSet:
        """The set of that id, or the active one, with every file verified. Raises ReferenceSetError."""
        identity = identity or self.active()
        if identity is None:
            raise ReferenceSetError(f"{self.product} has no reference set: goldline teach {self.product} --good DIR")
        directory = self.root / identity
        found = ReferenceSet(id=identity, directory=directory, manifest=_read_manifest(directory, identity))
        for name in found.manifest.files:
            found.read(name)
        return found

    def active(self) -> str | None:
        """The id of the set in use."""
        try:
            return os.readlink(self.root / "active")
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise ReferenceSetError(f"{self.root}/active: cannot be read: {failure.strerror}") from failure

    def identities(self) -> list[str]:
        """Every stored set's id, sorted."""
        return sorted(path.parent.name for path in self.root.glob("[0-9a-f]" * ID_DIGITS + "/manifest.json"))

    def find(self, prefix: str) -> str:
        """The one id that starts so. Raises ReferenceSetError."""
        matches = [identity for identity in self.identities() if identity.startswith(prefix)]
        if len(matches) != 1:
            known = ", ".join(self.identities()) or "none"
            raise ReferenceSetError(
                f"{self.product}: {len(matches)} reference sets start with {prefix!r}; stored: {known}"
            )
        return matches[0]

    def activate(self, identity: str) -> None:
        """Make a verified set the active one; a set that does not verify changes nothing."""
        self.load(identity)
        with self._locked():
            if self.active() != identity:
                self._switch([*self._history(), identity])

    def undo(self) -> str:
        """Go back to the set that was active before, and return its id. Raises ReferenceSetError when there is none."""
        with self._locked():
            history = self._history()[:-1]
            if not history:
                raise ReferenceSetError(f"{self.product}: no earlier reference set to go back to")
            self.load(history[-1])
            self._switch(history)
            return history[-1]

    def _history(self) -> list[str]:
        """Ids in the order activated, ending with the active one: the symlink is what counts."""
        path, active = self.root / "history.json", self.active()
        recorded: list[str] = json.loads(path.read_text()) if path.exists() else []
        if active is None:
            return []
        if active not in recorded:
            return [*recorded, active]
        return recorded[: len(recorded) - recorded[::-1].index(active)]

    def _switch(self, history: list[str]) -> None:
        # The history first: if the power goes between the two, `_history` cuts it back to the symlink.
        recorded, link = self.root / ".new-history.json", self.root / ".new-active"
        _write(recorded, json.dumps(history).encode())
        os.replace(recorded, self.root / "history.json")
        link.unlink(missing_ok=True)
        os.symlink(history[-1], link)
        os.replace(link, self.root / "active")
        sync(self.root)

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
        except BlockingIOError as failure:
            raise ReferenceSetError(f"{self.root}: another teach is writing here") from failure
        except OSError as failure:  # no right to write, or a full disk
            raise ReferenceSetError(f"{self.root}: cannot be written: {failure.strerror or failure}") from failure


def _read_manifest(directory: Path, identity: str) -> Manifest:
    path = directory / "manifest.json"
    try:
        document = path.read_bytes()
    except OSError as failure:
        raise ReferenceSetError(f"{path}: {failure.strerror}; teach again or `--undo`") from failure
    if hashlib.sha256(document).hexdigest()[:ID_DIGITS] != identity:
        raise ReferenceSetError(f"{path}: damaged, its sha256 is not the set's name; teach again or `--undo`")
    schema = json.loads(document).get("schema")
    if schema != SCHEMA:
        raise ReferenceSetError(f"{path}: schema {schema}, this program reads {SCHEMA}; teach again")
    try:
        return msgspec.json.decode(document, type=Manifest)
    except msgspec.ValidationError as failure:
        raise ReferenceSetError(f"{path}: {failure}; teach again") from failure
