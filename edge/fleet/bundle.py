r"""A product as one file: its recipe, its own models and its reference set. The same product gives the same archive.

    goldline-signed 1 bundle <key id> <signature>\n             who vouches for the next line
    {"format":1,"product":…,"archive_sha256":…,"files":{…}}\n   the manifest, on one line
    a tar archive                                               exactly the files of the manifest, in its order

    pipeline/recipe.toml, pipeline/<models and labels that the recipe names>     set/manifest.json, set/<its files>

A bundle's name is the SHA-256 of its archive. What is read here may come from anybody:
1. the first line is checked against the trusted keys, over the bytes of the second, before that is parsed;
2. the manifest bounds every size before the archive is read, and names every file: no other is ever written;
3. the archive's SHA-256, and then each file's, are the manifest's.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, cast

import msgspec

from edge.durable import sync
from edge.errors import GoldlineError
from edge.fleet.signing import MAX_HEAD_BYTES, Trusted, verify

FORMAT = 1
RECIPE, SET_MANIFEST = "pipeline/recipe.toml", "set/manifest.json"
FOLDERS = ("pipeline", "set")
# A product of several cameras has some 100 MB; what is larger by far is a mistake, and would fill a small device.
MAX_BYTES = 2 << 30
# Reference pictures are a file each, and a product has hundreds.
MAX_FILES = 20_000
MAX_MANIFEST_BYTES = 8 << 20
# A tar archive adds a header and padding to each file, and ends on a block of 10 KiB; a long name costs two headers more.
TAR_PER_FILE, TAR_END = 4096, 20_480
# Longer ones no file system takes.
MAX_NAME_BYTES, MAX_PART_BYTES = 1024, 255
CHUNK_BYTES = 1 << 20

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
Product = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class BundleError(GoldlineError):
    """A bundle that is refused, and why."""


class Entry(msgspec.Struct, frozen=True):
    """One file."""

    bytes: Size
    sha256: Sha256


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle holds. `goldline` is the version that made it; nothing in it is about a person."""

    format: int
    product: Product
    recipe_sha256: Sha256
    reference_set: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]
    model_sha256: str
    goldline: str
    made: datetime
    archive_sha256: Sha256
    archive_bytes: Size
    files: dict[str, Entry]

    @property
    def unpacked_bytes(self) -> int:
        """The room its files take."""
        return sum(entry.bytes for entry in self.files.values())

    def below(self, folder: str) -> dict[str, Entry]:
        """Its files of one of FOLDERS, by their names in that."""
        inside = f"{folder}/"
        return {name.removeprefix(inside): entry for name, entry in self.files.items() if name.startswith(inside)}


class _Format(msgspec.Struct):
    format: int


def write_archive(files: dict[str, Path], target: IO[bytes]) -> tuple[dict[str, Entry], str, int]:
    """Write these files as tar; equal ones give equal bytes. Returns its entries, SHA-256 and bytes. Raises OSError."""
    entries: dict[str, Entry] = {}
    out = _Hashing(target)
    with tarfile.TarFile(fileobj=cast("IO[bytes]", out), mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in sorted(files.items()):
            content = path.read_bytes()
            entries[name] = Entry(len(content), hashlib.sha256(content).hexdigest())
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return entries, out.digest.hexdigest(), out.count


class _Hashing:
    """A file to write to, which knows the SHA-256 and the number of what was written."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self.digest, self.count = target, hashlib.sha256(), 0

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        self.count += len(content)
        return self._target.write(content)

    def tell(self) -> int:
        return self.count


def encode(manifest: Manifest) -> bytes:
    """On one line, keys sorted."""
    return msgspec.json.encode(manifest, order="sorted")


def read_manifest(file: IO[bytes], trusted: Trusted) -> Manifest:
    """The manifest of a bundle that a trusted key has signed; the file then stands at the archive.

    Raises SignatureError or BundleError.
    """
    head = _line(file, MAX_HEAD_BYTES)
    said = _line(file, MAX_MANIFEST_BYTES)
    verify("bundle", head, said, trusted)
    return parse(said)


def read_own(file: IO[bytes]) -> Manifest:
    """The manifest of a bundle of this device's own making (`kept.py`), whose first line says so."""
    _line(file, MAX_HEAD_BYTES)
    return parse(_line(file, MAX_MANIFEST_BYTES))


def _line(file: IO[bytes], limit: int) -> bytes:
    line = file.readline(limit + 1)
    if not line.endswith(b"\n"):
        raise BundleError("not a bundle, or cut off: a signature and a manifest stand on its first two lines")
    return line[:-1]


def parse(said: bytes) -> Manifest:
    """A manifest whose every name and size can be used. Raises BundleError."""
    try:
        if (found := msgspec.json.decode(said, type=_Format).format) != FORMAT:
            raise BundleError(f"a bundle of format {found}; this version reads {FORMAT}: upgrade this station first")
        manifest = msgspec.json.decode(said, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BundleError(f"its manifest is none: {problem}") from None
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    files = manifest.files
    if len(files) > MAX_FILES:
        raise BundleError(f"{len(files)} files; at most {MAX_FILES} are taken")
    if missing := [name for name in (RECIPE, SET_MANIFEST) if name not in files]:
        raise BundleError(f"{missing[0]} is not in it")
    if files[RECIPE].sha256 != manifest.recipe_sha256:
        raise BundleError(f"{RECIPE} is not the recipe that its manifest names")
    if not files[SET_MANIFEST].sha256.startswith(manifest.reference_set):
        raise BundleError(f"{SET_MANIFEST} is not that of reference set {manifest.reference_set}")
    for name in files:
        _check_name(name, files)
    most = manifest.unpacked_bytes + TAR_PER_FILE * len(files) + TAR_END
    if manifest.unpacked_bytes > MAX_BYTES or manifest.archive_bytes > most:
        raise BundleError(f"{max(manifest.unpacked_bytes, manifest.archive_bytes)} bytes do not fit what it holds")


def _check_name(name: str, files: dict[str, Entry]) -> None:
    """A plain path below one of FOLDERS, of which no part is a file itself."""
    parts = name.split("/")
    is_plain = len(parts) > 1 and parts[0] in FOLDERS and len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    if not is_plain or not all(map(_is_plain, parts)):
        raise BundleError(f"{name!r} is no name that a file of a bundle may have")
    for count in range(1, len(parts)):
        if "/".join(parts[:count]) in files:
            raise BundleError(f"{name!r} lies below another file")


def _is_plain(part: str) -> bool:
    # A name with a leading dot is hidden, or one of the station's own working files.
    return (
        part[:1] not in ("", ".") and part.isprintable() and "\\" not in part and len(part.encode()) <= MAX_PART_BYTES
    )


def check_archive(file: IO[bytes], manifest: Manifest) -> None:
    """Compare what follows with the manifest's SHA-256; the file then stands where it stood. Raises BundleError."""
    began, digest, left = file.tell(), hashlib.sha256(), manifest.archive_bytes
    while left and (chunk := file.read(min(CHUNK_BYTES, left))):
        digest.update(chunk)
        left -= len(chunk)
    if left:
        raise BundleError(f"cut off: {left} of {manifest.archive_bytes} bytes are missing")
    if file.read(1):
        raise BundleError(f"longer than the {manifest.archive_bytes} bytes that were signed")
    if digest.hexdigest() != manifest.archive_sha256:
        raise BundleError("damaged: its SHA-256 is not the one that was signed")
    file.seek(began)


def unpack(file: IO[bytes], manifest: Manifest, folder: Path) -> None:
    """Write the files below `folder`, which is empty, and bring them to the disk. Raises BundleError or OSError."""
    written: set[str] = set()
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                written.add(_write(archive, member, manifest, folder, written))
    except (tarfile.TarError, EOFError, ValueError) as problem:
        raise BundleError(f"its archive cannot be read: {problem}") from None
    if missing := sorted(set(manifest.files) - written):
        raise BundleError(f"{missing[0]} is not in its archive")
    for place, _, _ in os.walk(folder):
        sync(Path(place))


def _write(
    archive: tarfile.TarFile, member: tarfile.TarInfo, manifest: Manifest, folder: Path, written: set[str]
) -> str:
    name = member.name
    entry = manifest.files.get(name)
    if entry is None or name in written or member.type != tarfile.REGTYPE or member.issparse():
        raise BundleError(f"its archive holds {name!r}, which its manifest does not")
    content = archive.extractfile(member) if member.size == entry.bytes else None
    if content is None:
        raise BundleError(f"{name} has {member.size} bytes, not {entry.bytes}")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("xb") as target:
        for chunk in _chunks(content):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"{name} is damaged: its SHA-256 is not its manifest's")
    return name


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
