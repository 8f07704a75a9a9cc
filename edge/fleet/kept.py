"""What a station keeps of what was rolled out to it: the bundles for going back, and a record of what is whose.

    <state_dir>/fleet/device.json            Record
    <state_dir>/fleet/wanted                 the newest signed document that was taken, as it came
    <state_dir>/fleet/bundles/<sha256>       bundles as they came, and those made here of what was taught here
    <state_dir>/fleet/staging/               what is being fetched and unpacked; worth nothing after a death

The record follows what it is about: after a death between the two it is what lies on the disk that counts.
"""

import os
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from edge.durable import sync
from edge.errors import GoldlineError
from edge.fleet.bundle import Product

# A disk that is full to its last byte keeps the station from writing its events: so much stays free.
ROOM_BYTES = 256 << 20


class RoomError(GoldlineError):
    """The disk has no room for it."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a product: the bundle that it is kept as, and the two hashes that events bear.

    `is_local`: it was taught here, and nobody has signed it. `serial`: of the document that put it in force.
    """

    bundle: str
    recipe_sha256: str
    reference_set: str
    since: datetime
    is_local: bool = False
    serial: int = 0

    @property
    def pair(self) -> tuple[str, str]:
        """What tells it on the disk."""
        return self.recipe_sha256, self.reference_set


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was refused for good: not tried again until another document is taken."""

    bundle: str
    serial: int
    problem: str


class ProductRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`active` and the one `previous` to it, which is kept to go back to. `coming`: what a switch in hand puts in force.

    `is_confirmed`: the station was seen to judge by the active one since it is there.
    """

    active: Held | None = None
    previous: Held | None = None
    coming: Held | None = None
    is_confirmed: bool = True
    refused: Refused | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`serial` of the newest document that was taken."""

    serial: int = 0
    products: dict[Product, ProductRecord] = {}

    def of(self, product: str) -> ProductRecord:
        """What is known of a product."""
        return self.products.get(product, ProductRecord())

    @property
    def bundles(self) -> frozenset[str]:
        """Those that may be needed again."""
        each = [one for known in self.products.values() for one in (known.active, known.previous, known.coming)]
        return frozenset(one.bundle for one in each if one is not None)

    def having(self, product: str, known: ProductRecord) -> "Record":
        """The same with this about that product."""
        return msgspec.structs.replace(self, products={**self.products, product: known})


class Kept:
    """Owns the folder. One process at a time writes there: the uplink, or `goldline fleet pull` before the start."""

    def __init__(self, state_dir: Path) -> None:
        """Nothing is made before something is written."""
        self.folder = state_dir / "fleet"
        self.bundles, self.staging = self.folder / "bundles", self.folder / "staging"

    def make(self) -> None:
        """Make the folders, and clear what a death has left half done. Raises OSError."""
        shutil.rmtree(self.staging, ignore_errors=True)
        for part in ("fetched", "local", "local.tar"):
            (self.folder / part).unlink(missing_ok=True)
        for folder in (self.folder, self.bundles, self.staging):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read(self) -> Record:
        """The record; an empty one where there is none. Raises GoldlineError for one that cannot be read."""
        path = self.folder / "device.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return Record()
        except (OSError, msgspec.DecodeError) as problem:
            raise GoldlineError(f"{path}: {problem}; remove it: the next roll-out makes it anew") from problem

    def write(self, record: Record) -> None:
        """Put it on the disk, whole. Raises OSError."""
        self._put(self.folder / "device.json", msgspec.json.encode(record, order="sorted"))

    def wanted(self) -> bytes | None:
        """The newest document that was taken, signature and all. Raises OSError."""
        try:
            return (self.folder / "wanted").read_bytes()
        except FileNotFoundError:
            return None

    def write_wanted(self, document: bytes) -> None:
        """Raises OSError."""
        self._put(self.folder / "wanted", document)

    def path(self, bundle: str) -> Path:
        """Where this bundle is, or would be."""
        return self.bundles / bundle

    def keep(self, path: Path, bundle: str) -> None:
        """Take a complete file over as this bundle. Raises OSError."""
        sync(path)
        os.replace(path, self.path(bundle))
        sync(self.bundles)

    def prune(self, needed: Iterable[str]) -> None:
        """Remove every bundle that nothing names any more. Raises OSError."""
        names = set(needed)
        for path in self.bundles.iterdir():
            if path.name not in names:
                path.unlink()

    def require(self, needed_bytes: int, folder: Path) -> None:
        """Raises RoomError where `folder`'s disk has not so much room and some to spare."""
        free = shutil.disk_usage(folder).free
        if free < needed_bytes + ROOM_BYTES:
            raise RoomError(
                f"{folder}: {needed_bytes >> 20} MiB are needed and {ROOM_BYTES >> 20} MiB to spare; {free >> 20} are free"
            )

    @staticmethod
    def _put(path: Path, content: bytes) -> None:
        beside = path.with_name(f".{path.name}.new")
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync(path.parent)
