"""Bundles and signed documents, as they come from anybody: taken whole, or refused in one line, with nothing done."""

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import GoldlineError
from tests.needs import needs_module

needs_module("cryptography", "fleet")

from edge.fleet import bundle, plan, signing  # noqa: E402
from edge.fleet.bundle import BundleError, Entry, Manifest  # noqa: E402
from edge.fleet.plan import Acknowledged, Rollout, Wanted  # noqa: E402
from edge.fleet.signing import SignatureError, Signer  # noqa: E402
from tests.fleet_product import (  # noqa: E402
    MADE,
    new_signer,
)

# --- signatures


def test_a_document_is_taken_from_a_trusted_key_alone(tmp_path):
    signer, stranger = new_signer(tmp_path), new_signer(tmp_path, "stranger")
    assert oct((tmp_path / "plant.key").stat().st_mode)[-3:] == "600"
    folder = tmp_path / "trusted"
    folder.mkdir()
    assert signing.load_trusted(folder) == {}
    (folder / "plant.pub").write_bytes((tmp_path / "plant.pub").read_bytes())
    trusted = signing.load_trusted(folder)
    document = signer.sign("wanted", b"said")
    assert signing.verified("wanted", document, trusted) == b"said"
    with pytest.raises(SignatureError, match=f"key {stranger.id}, which is not trusted here: {signer.id} is"):
        signing.verified("wanted", stranger.sign("wanted", b"said"), trusted)
    with pytest.raises(SignatureError, match="signed as wanted, and used as bundle"):
        signing.verified("bundle", document, trusted)
    with pytest.raises(SignatureError, match="was changed on the way"):
        signing.verified("wanted", document[:-1] + b"!", trusted)


def test_openssl_reads_the_keys_and_a_key_that_others_may_read_is_refused(tmp_path):
    new_signer(tmp_path)
    path = tmp_path / "plant.key"
    shown = subprocess.run(
        ["openssl", "pkey", "-in", path, "-text", "-noout"], capture_output=True, text=True, check=True
    )
    assert "ED25519" in shown.stdout
    path.chmod(0o640)
    with pytest.raises(GoldlineError, match="others may read this secret key: chmod 600"):
        signing.load_signer(path)
    with pytest.raises(GoldlineError, match=r"plant\.key: cannot be written: File exists"):
        signing.new_key(path)


@given(document=st.binary(max_size=400))
def test_no_bytes_are_taken_for_a_signed_document(document):
    with pytest.raises(SignatureError):
        signing.verified("wanted", document, _KEY)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_changed_bit_is_taken(at, bit):
    whole = bytearray(_SIGNER.sign("bundle", b'{"format":1,"a":"b"}'))
    whole[at % len(whole)] ^= 1 << bit
    with pytest.raises(SignatureError):
        signing.verified("bundle", bytes(whole), _KEY)


def _some_signer() -> Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return Signer(key, signing.key_id(key.public_key()))


_SIGNER = _some_signer()
_KEY = {_SIGNER.id: _SIGNER.key.public_key()}


def refusal_of(read: Callable[[], object]) -> str:
    """What is said of what is refused; nothing of what is taken."""
    try:
        read()
    except GoldlineError as refusal:
        return str(refusal)
    return ""


# --- the manifest and the archive


def _manifest(files: dict[str, bytes], **changes: object) -> tuple[Manifest, bytes]:
    """A manifest and its archive, of these files; `changes` make the manifest say something else."""
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return _manifest_of(files, out.getvalue(), **changes), out.getvalue()


def _manifest_of(files: dict[str, bytes], archive: bytes, **changes: object) -> Manifest:
    entries = {name: Entry(len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    manifest = Manifest(
        format=1,
        product="lid",
        recipe_sha256=entries[bundle.RECIPE].sha256,
        reference_set=entries[bundle.SET_MANIFEST].sha256[:16],
        model_sha256="",
        goldline="0",
        made=MADE,
        archive_sha256=hashlib.sha256(archive).hexdigest(),
        archive_bytes=len(archive),
        files=entries,
    )
    return msgspec.structs.replace(manifest, **changes)


FILES = {bundle.RECIPE: b"recipe", bundle.SET_MANIFEST: b"{}", "set/left/part.onnx": bytes(5000)}


def _taken(manifest: Manifest, archive: bytes, folder: Path) -> None:
    """All that is done with a bundle before it is looked at as a product."""
    document = _SIGNER.sign("bundle", bundle.encode(manifest)) + b"\n" + archive
    file = io.BytesIO(document)
    found = bundle.read_manifest(file, _KEY)
    bundle.check_archive(file, found)
    bundle.unpack(file, found, folder)


def test_what_was_packed_is_what_is_unpacked(tmp_path):
    manifest, archive = _manifest(FILES)
    _taken(manifest, archive, tmp_path)
    assert {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    } == FILES


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil", "is no name"),
        ("/etc/passwd", "is no name"),
        ("set/../../evil", "is no name"),
        ("set//evil", "is no name"),
        ("set/.hidden", "is no name"),
        ("set/a\nb", "is no name"),
        ("set/a\\b", "is no name"),
        ("other/file", "is no name"),
        ("set", "is no name"),
        ("set/" + "x" * 300, "is no name"),
        ("set/manifest.json/x", "lies below another file"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, says, tmp_path):
    manifest, archive = _manifest({**FILES, name: b"x"})
    with pytest.raises(BundleError, match=says):
        _taken(manifest, archive, tmp_path / "here")
    assert not list(tmp_path.rglob("*"))


def _member(kind: bytes, name: str = "set/left/part.onnx", **said: object) -> bytes:
    """An archive in which this file is of another kind."""
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w") as archive:
        for known in (bundle.RECIPE, bundle.SET_MANIFEST):
            one = tarfile.TarInfo(known)
            one.size = len(FILES[known])
            archive.addfile(one, io.BytesIO(FILES[known]))
        member = tarfile.TarInfo(name)
        member.type = kind
        for key, value in said.items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    return out.getvalue()


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (_member(tarfile.SYMTYPE, linkname="/etc/passwd"), "holds 'set/left/part.onnx', which its manifest does not"),
        (_member(tarfile.LNKTYPE, linkname="pipeline/recipe.toml"), "which its manifest does not"),
        (_member(tarfile.FIFOTYPE), "which its manifest does not"),
        (_member(tarfile.DIRTYPE), "which its manifest does not"),
        (_member(tarfile.REGTYPE, "../../evil", size=5), "holds '../../evil', which its manifest does not"),
        (_member(tarfile.REGTYPE, size=4999), "has 4999 bytes, not 5000"),
        (_member(tarfile.REGTYPE, bundle.RECIPE, size=6), "holds 'pipeline/recipe.toml', which"),
        (_manifest({**FILES, "set/left/part.onnx": b"y" * 5000})[1], "part.onnx is damaged"),
        (_manifest({name: FILES[name] for name in (bundle.RECIPE, bundle.SET_MANIFEST)})[1], "is not in its archive"),
    ],
)  # fmt: skip
def test_an_archive_that_holds_something_else_is_refused(archive, says, tmp_path):
    """Even where a trusted key has signed it."""
    with pytest.raises(BundleError, match=says):
        _taken(_manifest_of(FILES, archive), archive, tmp_path / "here")
    assert {path.name for path in tmp_path.rglob("*")} <= {
        "here", "pipeline", "recipe.toml", "set", "manifest.json", "left", "part.onnx",
    }  # fmt: skip


def test_sizes_are_bounded_before_anything_is_read(tmp_path):
    huge = Entry(bundle.MAX_BYTES, "0" * 64)
    manifest, archive = _manifest(FILES)
    for changes, says in (
        ({"files": {**manifest.files, "set/a": huge, "set/b": huge}}, "bytes do not fit"),
        ({"archive_bytes": bundle.MAX_BYTES}, "bytes do not fit"),
        ({"archive_bytes": bundle.MAX_BYTES + 1}, "its manifest is none"),
        ({"files": {**manifest.files, "set/a": Entry(-1, "0" * 64)}}, "its manifest is none"),
        ({"files": {f"set/{n}": Entry(0, "0" * 64) for n in range(bundle.MAX_FILES + 1)}}, "files; at most"),
        ({"format": 2}, "a bundle of format 2; this version reads 1: upgrade"),
        ({"product": "../lid"}, "its manifest is none"),
        ({"archive_sha256": "0" * 64}, "damaged: its SHA-256 is not the one that was signed"),
        ({"archive_bytes": len(archive) - 1}, "longer than the"),
        ({"archive_bytes": len(archive) + 1}, "cut off: 1 of"),
        ({"recipe_sha256": "0" * 64}, "is not the recipe that its manifest names"),
        ({"reference_set": "0" * 16}, "is not that of reference set"),
    ):
        with pytest.raises(BundleError, match=says):
            _taken(msgspec.structs.replace(manifest, **changes), archive, tmp_path / "here")
    for cut in (b"", _SIGNER.sign("bundle", bundle.encode(manifest)), b"x" * 10_000):
        with pytest.raises(GoldlineError, match="not a bundle, or cut off"):
            bundle.read_manifest(io.BytesIO(cut), _KEY)


@given(said=st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        [*Manifest.__struct_fields__, "pipeline/recipe.toml", "set/manifest.json", "bytes", "sha256"]), inner, max_size=6),
    max_leaves=20,
).map(msgspec.json.encode)))  # fmt: skip
def test_a_manifest_of_anything_is_parsed_or_refused(said):
    for parse in (
        bundle.parse,
        *(lambda data, kind=kind: plan.decode(data, kind) for kind in (Wanted, Acknowledged, Rollout)),
    ):
        assert "\n" not in refusal_of(lambda parse=parse: parse(said))


@given(at=st.integers(0, 100_000), content=st.binary(min_size=1, max_size=600))
def test_an_archive_of_anything_is_unpacked_or_refused(at, content, tmp_path_factory):
    """A signed one: whoever signs may make mistakes as well."""
    whole = bytearray(_manifest(FILES)[1])
    place = at % len(whole)
    whole[place : place + len(content)] = content
    folder = tmp_path_factory.mktemp("unpacked") / "here"
    assert "\n" not in refusal_of(lambda: _taken(_manifest_of(FILES, bytes(whole)), bytes(whole), folder))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found <= set(FILES)
