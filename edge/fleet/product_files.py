"""The files of a product as it lies on this machine's disk, and what it takes to compare them with a bundle or make one."""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from edge import __version__, weights
from edge.config import Station
from edge.fleet import bundle
from edge.fleet.bundle import BundleError, Manifest
from edge.fleet.signing import MAX_HEAD_BYTES, Signer
from edge.recipe import LoadedRecipe, load_recipe, recipe_path
from edge.references import ReferenceSet, Store, refuse_other_recipe

# The first line of a bundle that a station made of what was taught there. It is read from its own folder alone.
OWN = b"made by this station 1\n"
assert len(OWN) < MAX_HEAD_BYTES


class Pair(NamedTuple):
    """What is in force on the disk: the hashes that events bear."""

    recipe_sha256: str
    reference_set: str


def on_disk(station: Station, product: str) -> Pair | None:
    """What would be judged by; None where there is no recipe or no set. Raises OSError or GoldlineError."""
    path, active = recipe_path(station, product), Store(station.state_dir, product).active()
    if active is None or not path.is_file():
        return None
    return Pair(hashlib.sha256(path.read_bytes()).hexdigest(), active)


def is_here(station: Station, manifest: Manifest) -> bool:
    """Whether this very product is in force on the disk, its own models too. Raises OSError or GoldlineError."""
    if on_disk(station, manifest.product) != (manifest.recipe_sha256, manifest.reference_set):
        return False
    folder = recipe_path(station, manifest.product).parent
    return all(_digest(folder / name) == entry.sha256 for name, entry in manifest.below("pipeline").items())


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bundle(station: Station, product: str, target: Path, made: datetime, signer: Signer | None) -> Manifest:
    """Write the product that is in force here as a bundle; without a signer it is one of this station's own.

    Raises GoldlineError: a file is missing or damaged, or lies outside the product's folder.
    """
    loaded = load_recipe(station, product)
    found = Store(station.state_dir, product).load()
    refuse_other_recipe(loaded, found)
    archive = target.with_name(f"{target.name}.tar")
    try:
        with archive.open("wb") as file:
            files, digest, size = bundle.write_archive(_files(loaded, found), file)
        manifest = Manifest(
            format=bundle.FORMAT,
            product=product,
            recipe_sha256=loaded.sha256,
            reference_set=found.id,
            model_sha256=found.manifest.model_sha256,
            goldline=__version__,
            made=made,
            archive_sha256=digest,
            archive_bytes=size,
            files=files,
        )
        _join(bundle.encode(manifest), archive, target, signer)
    except OSError as failure:
        raise BundleError(f"{target}: cannot be written: {failure}") from failure
    finally:
        archive.unlink(missing_ok=True)
    # What this station could not read again would be refused by every other.
    return bundle.parse(bundle.encode(manifest))


def _join(said: bytes, archive: Path, target: Path, signer: Signer | None) -> None:
    with target.open("wb") as out, archive.open("rb") as content:
        out.write((OWN + said if signer is None else signer.sign("bundle", said)) + b"\n")
        while chunk := content.read(bundle.CHUNK_BYTES):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())


def _files(loaded: LoadedRecipe, found: ReferenceSet) -> dict[str, Path]:
    """Every file of the product, by its name in a bundle."""
    files = {bundle.RECIPE: loaded.path, bundle.SET_MANIFEST: found.directory / "manifest.json"}
    files |= {f"set/{name}": found.directory / name for name in found.manifest.files}
    for path in _own_models(loaded):
        files[f"pipeline/{_below(loaded, path)}"] = path
    return files


def _own_models(loaded: LoadedRecipe) -> list[Path]:
    """The models that the recipe names, with their labels and the weights beside them."""
    folder, paths = loaded.path.parent, list[Path]()
    for check in (region.model for region in loaded.recipe.regions if region.model is not None):
        model = folder / check.file
        beside = weights.read_beside(model, weights.read(model))
        paths += [model, folder / check.labels, *(model.parent / name for name in beside)]
    return paths


def _below(loaded: LoadedRecipe, path: Path) -> str:
    folder = loaded.path.parent
    plain = Path(os.path.normpath(path))
    if not plain.is_relative_to(folder):
        raise BundleError(f"{path}: lies outside {folder}, so it cannot be rolled out: put it there, and name it so")
    return plain.relative_to(folder).as_posix()
