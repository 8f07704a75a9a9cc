"""A bundle on its way into force, on this station's disk: verified, unpacked beside, checked, switched to. Blocks.

1. Who signed it, before anything is parsed; then every size, then the archive's SHA-256.
2. Unpacked into a folder of its own, where the recipe and the set are checked as `goldline check` would.
3. What was taught here and is in nobody's bundle is kept as one, or left in force where it is not to be replaced.
4. The record names what comes; recipe and set take their places together (`product_switch.py`); the record follows.

A death at any place leaves the version before or the new one in force, and the next attempt goes on from what lies there.
"""

import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec
import structlog

from edge import product_switch
from edge.config import Station
from edge.durable import sync
from edge.fleet import bundle, product_files, signing
from edge.fleet.bundle import BundleError, Manifest
from edge.fleet.kept import Held, Kept, ProductRecord, Record, Refused
from edge.fleet.plan import WantedProduct
from edge.recipe import load_recipe, unmatched_roles
from edge.references import Store, refuse_other_recipe


class LocalError(BundleError):
    """Something else was taught here."""


class Arrivals:
    """Puts products in force on this station's disk, and knows what is in force there."""

    def __init__(self, station: Station, kept: Kept) -> None:
        """`kept` is made already. Raises GoldlineError: the record cannot be read."""
        self._station, self._kept = station, kept
        self.record: Record = kept.read()

    @property
    def trusted_folder(self) -> Path:
        """Where the public keys are whose bundles are taken."""
        return trusted_folder(self._station)

    def taken_up(self, product: str) -> ProductRecord:
        """What is in force of a product, after finishing what a death has left undone. Raises GoldlineError or OSError."""
        product_switch.finish(self._station, product)
        known = self.record.of(product)
        followed = follow_disk(known, product_files.on_disk(self._station, product))
        if followed != known:
            self.note(product, followed)
        return followed

    def note(self, product: str, known: ProductRecord) -> None:
        """Write down what is known of a product. Raises OSError."""
        self.record = self.record.having(product, known)
        self._kept.write(self.record)

    def is_local(self, product: str) -> bool:
        """Whether what is in force was taught here after the last roll-out, or without any. Raises GoldlineError or OSError."""
        known, pair = self.record.of(product), product_files.on_disk(self._station, product)
        return pair is not None and (known.active is None or known.active.pair != pair)

    def put_in_force(self, product: str, wanted: WantedProduct, serial: int, now: datetime) -> None:
        """Steps 1 to 4 for a bundle that is kept already. Raises GoldlineError or OSError; then what was in force still is."""
        known = self.taken_up(product)
        with self._kept.path(wanted.bundle).open("rb") as file:
            manifest = self._manifest(file, product, wanted.bundle)
            is_here = product_files.is_here(self._station, manifest)
            if not is_here:
                self._refuse_local(product, known, wanted, serial)
                self._stage(file, manifest)
                known = self._keep_local(product, known, now)
        coming = Held(
            bundle=wanted.bundle,
            recipe_sha256=manifest.recipe_sha256,
            reference_set=manifest.reference_set,
            since=now,
            is_local=_is_own(known, wanted.bundle),
            serial=serial,
        )
        self.note(product, msgspec.structs.replace(known, coming=coming))
        if not is_here:
            self._switch(manifest)
        self.note(product, arrived(known, coming))

    def go_back(self, product: str, refused: Refused, now: datetime) -> None:
        """Put what was there before in force again: the station cannot judge by what came. Raises GoldlineError or OSError."""
        before = self.record.of(product).previous
        if before is not None:
            self.put_in_force(product, WantedProduct(bundle=before.bundle), before.serial, now)
            self.note(product, ProductRecord(active=self.record.of(product).active, refused=refused))
        else:
            self.refuse(product, refused)

    def refuse(self, product: str, refused: Refused) -> None:
        """Not to be tried again for this document: nothing that was unpacked of it stays. Raises OSError."""
        _clear(self._kept.staging)
        self.note(product, msgspec.structs.replace(self.record.of(product), refused=refused, coming=None))

    def confirm(self, product: str) -> None:
        """The station judges by what is in force. Raises OSError."""
        self.note(product, msgspec.structs.replace(self.record.of(product), is_confirmed=True))

    def prune(self, wanted: Mapping[str, WantedProduct]) -> None:
        """Remove bundles that are not needed any more; one that waits for room or for the station is. Raises OSError."""
        refused = {known.refused.bundle for known in self.record.products.values() if known.refused is not None}
        waiting = {one.bundle for one in wanted.values()} - refused
        self._kept.prune(self.record.bundles | waiting)

    def _manifest(self, file: IO[bytes], product: str, name: str) -> Manifest:
        if _is_own(self.record.of(product), name):
            manifest = bundle.read_own(file)
        else:
            manifest = bundle.read_manifest(file, signing.load_trusted(self.trusted_folder))
        if manifest.archive_sha256 != name or manifest.product != product:
            raise BundleError(f"holds {manifest.product} {manifest.archive_sha256[:12]}, not {product} {name[:12]}")
        return manifest

    def _stage(self, file: IO[bytes], manifest: Manifest) -> None:
        place = self._kept.staging
        # What an attempt before has left takes room that this one may need.
        _clear(place)
        self._kept.require(2 * manifest.unpacked_bytes, place)
        bundle.check_archive(file, manifest)
        bundle.unpack(file, manifest, place)
        staged = staged_station(self._station, place)
        for made, folder in (
            (place / "pipeline", staged.pipelines_dir / manifest.product),
            (place / "set", staged.state_dir / "references" / manifest.product / manifest.reference_set),
        ):
            folder.parent.mkdir(parents=True)
            made.rename(folder)
        examine(staged, manifest)

    def _refuse_local(self, product: str, known: ProductRecord, wanted: WantedProduct, serial: int) -> None:
        """What was taught here goes only for a document that says so, and that is newer than what it was taught after."""
        was_done = known.active is not None and known.active.bundle == wanted.bundle and known.active.serial >= serial
        if self.is_local(product) and (was_done or not wanted.replaces_local):
            raise LocalError(
                f"{product} was taught or changed on this station, and that is in no roll-out: it stays in force; "
                "goldline fleet roll-out … --replace-local puts the bundle in its place and keeps it to go back to"
            )

    def _keep_local(self, product: str, known: ProductRecord, now: datetime) -> ProductRecord:
        """What is known, after what was taught here is kept as a bundle of this station's own."""
        pair = product_files.on_disk(self._station, product)
        if pair is None or not self.is_local(product):
            return known
        path = self._kept.folder / "local"
        manifest = product_files.write_bundle(self._station, product, path, now, None)
        self._kept.keep(path, manifest.archive_sha256)
        own = Held(bundle=manifest.archive_sha256, since=now, is_local=True, **pair._asdict())
        known = msgspec.structs.replace(known, active=own)
        self.note(product, known)
        structlog.get_logger().info("what was taught here is kept", product=product, bundle=own.bundle)
        return known

    def _switch(self, manifest: Manifest) -> None:
        product = manifest.product
        staged = staged_station(self._station, self._kept.staging)
        store = Store(self._station.state_dir, product)
        store.adopt(staged.state_dir / "references" / product / manifest.reference_set)
        target = product_switch.incoming(self._station, product)
        _clear(target)
        source = staged.pipelines_dir / product
        for name in manifest.below("pipeline"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
            sync(target / name)
        for folder, _, _ in os.walk(target):
            sync(Path(folder))
        product_switch.switch(self._station, product, manifest.reference_set, manifest.below("pipeline"))


def trusted_folder(station: Station) -> Path:
    """Where the public keys are whose roll-outs this station takes."""
    named = station.fleet.trusted if station.fleet is not None else None
    return named or station.keys_dir / "fleet"


def staged_station(station: Station, place: Path) -> Station:
    """This station with what was unpacked at `place` in place of its own recipes and sets."""
    return station.model_copy(update={"state_dir": place / "state", "pipelines_dir": place / "pipelines"})


def examine(staged: Station, manifest: Manifest) -> None:
    """As `goldline check`, short of loading models, which inspection does. Raises GoldlineError, on one line."""
    loaded = load_recipe(staged, manifest.product)
    if unmatched := unmatched_roles(staged, loaded):
        raise BundleError("; ".join(unmatched).replace(f"{loaded.path}: ", "its recipe: "))
    refuse_other_recipe(loaded, Store(staged.state_dir, manifest.product).load(manifest.reference_set))


def arrived(known: ProductRecord, coming: Held) -> ProductRecord:
    """After the switch. What was active becomes the one to go back to, unless it is the same again."""
    before = known.active
    previous = known.previous if before is None or before.bundle == coming.bundle else before
    return ProductRecord(active=coming, previous=previous, is_confirmed=False)


def follow_disk(known: ProductRecord, pair: product_files.Pair | None) -> ProductRecord:
    """What is known, made to fit what lies on the disk: a death may have come between the two. Pure."""
    coming = known.coming
    if coming is None:
        return known
    if pair is not None and coming.pair == pair:
        return arrived(known, coming)
    return msgspec.structs.replace(known, coming=None)


def _is_own(known: ProductRecord, name: str) -> bool:
    """Whether a kept bundle was made here: then nobody has signed it."""
    return any(one is not None and one.bundle == name and one.is_local for one in (known.active, known.previous))


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)


def explained(problem: Exception) -> str:
    """On one line, for the station's line of status."""
    text = (
        f"{problem.strerror}: {problem.filename}" if isinstance(problem, OSError) and problem.strerror else str(problem)
    )
    printable = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(printable.split()) or type(problem).__name__
