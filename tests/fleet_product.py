"""Two versions of a taught product, as bundles: what the tests of roll-outs put on stations."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge import rehearsal
from edge.config import Station, load_station
from edge.fleet import product_files, signing
from edge.fleet.bundle import Manifest
from edge.fleet.signing import Signer
from edge.references import Store

PRODUCT = rehearsal.PRODUCT
MADE = datetime(2026, 1, 2, tzinfo=UTC)
SECOND_RECIPE = "\n[limits]\nreview = 4.0\nfail = 9.0\n"


def station_of(folder: Path, name: str, cameras: dict[str, dict[str, object]], **fleet: object) -> Station:
    """A station with nothing taught, in a folder of its own."""
    config = rehearsal.write_config(folder, cameras)
    lines = "".join(f'{key} = "{value}"\n' for key, value in fleet.items())
    config.write_text(config.read_text().replace('"rehearsal"', f'"{name}"') + f"\n[fleet]\n{lines}")
    return load_station(config)


def copy_taught(taught: Path, station: Station) -> None:
    """Give a station the taught product as its own."""
    shutil.copytree(taught / "pipelines", station.pipelines_dir, dirs_exist_ok=True)
    shutil.copytree(taught / "state" / "references", station.state_dir / "references", symlinks=True)


def change(station: Station) -> None:
    """Another version: other limits in the recipe, and a reference set of another name."""
    path = station.pipelines_dir / PRODUCT / "recipe.toml"
    path.write_text(path.read_text() + SECOND_RECIPE)
    store = Store(station.state_dir, PRODUCT)
    found = store.load()
    manifest = msgspec.structs.replace(found.manifest, reasons=("taught again",), files={})
    store.activate(store.save(manifest, {name: found.read(name) for name in found.manifest.files}))


def make_small(station: Station) -> None:
    """Its reference set is a few bytes then: enough for all that does not judge by it."""
    store = Store(station.state_dir, PRODUCT)
    manifest = msgspec.structs.replace(store.load().manifest, files={})
    store.activate(store.save(manifest, {"main/part.onnx": b"graph", "main/part.npz": b"arrays"}))


def new_signer(folder: Path, name: str = "plant") -> Signer:
    signing.new_key(folder / f"{name}.key")
    return signing.load_signer(folder / f"{name}.key")


def trust(station: Station, public: Path) -> None:
    folder = station.keys_dir / "fleet"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(public, folder)


def bundles(source: Station, folder: Path, signer: Signer) -> tuple[Manifest, Manifest]:
    """The product as it is at `source`, and after `change`, as files named by their hashes."""
    made = [_write(source, folder, signer)]
    change(source)
    return made[0], _write(source, folder, signer)


def _write(source: Station, folder: Path, signer: Signer) -> Manifest:
    path = folder / "made"
    manifest = product_files.write_bundle(source, PRODUCT, path, MADE, signer)
    path.rename(folder / manifest.archive_sha256)
    return manifest


def pair_of(manifest: Manifest) -> tuple[str, str]:
    return manifest.recipe_sha256, manifest.reference_set
