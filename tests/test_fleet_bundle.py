"""Bundles and signed documents, as they come from anybody: taken whole, or refused in one line, with nothing done."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import load_station
from edge.errors import GoldlineError
from tests.needs import needs_module
from tests.stations import CAMERA

needs_module("cryptography", "fleet")

from edge.fleet import bundle, plan, signing  # noqa: E402
from edge.fleet.arrival import Arrivals, LocalError  # noqa: E402
from edge.fleet.bundle import BundleError, Entry, Manifest  # noqa: E402
from edge.fleet.kept import Kept  # noqa: E402
from edge.fleet.plan import Acknowledged, ProductState, Rollout, Rules, Wanted, WantedProduct  # noqa: E402
from edge.fleet.signing import SignatureError, Signer  # noqa: E402
from edge.fleet.stages import Ordered, Over, Stopped, Waiting, before_of, look, planned  # noqa: E402
from tests.fleet_product import (  # noqa: E402
    MADE,
    PRODUCT,
    bundles,
    copy_taught,
    make_small,
    new_signer,
    pair_of,
    station_of,
    trust,
)


@pytest.fixture(scope="module")
def made(taught, tmp_path_factory):
    """A folder with two bundles of the taught product, and what signed them."""
    folder = tmp_path_factory.mktemp("made")
    source = station_of(folder / "source", "source", {"left": CAMERA})
    copy_taught(taught, source)
    signer = new_signer(folder)
    first, second = bundles(source, folder, signer)
    return folder, signer, first, second


@pytest.fixture
def target(made, tmp_path):
    """A station with nothing, that trusts the plant's key, and what puts bundles in force there."""
    folder, _, first, second = made
    station = station_of(tmp_path, "s1", {"left": CAMERA})
    trust(station, folder / "plant.pub")
    kept = Kept(station.state_dir)
    kept.make()
    for one in (first, second):
        kept.path(one.archive_sha256).write_bytes((folder / one.archive_sha256).read_bytes())
    return station, kept


def put(station, kept, name, serial=1, *, replaces_local=False):
    arrivals = Arrivals(station, kept)
    arrivals.put_in_force(PRODUCT, WantedProduct(bundle=name, replaces_local=replaces_local), serial, MADE)
    return arrivals.record.of(PRODUCT)


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


# --- products


def test_the_same_product_gives_the_same_archive(made, tmp_path):
    folder, signer, _, second = made
    source = load_station(folder / "source" / "config.toml")
    from edge.fleet.product_files import write_bundle

    again = write_bundle(source, PRODUCT, tmp_path / "again", MADE, signer)
    assert again == second
    assert (tmp_path / "again").read_bytes() == (folder / second.archive_sha256).read_bytes()
    listed = subprocess.run(
        f"tail -n +3 {tmp_path / 'again'} | tar tvf -", shell=True, capture_output=True, text=True, check=True
    )
    assert "pipeline/recipe.toml" in listed.stdout


def test_a_model_outside_the_products_folder_cannot_be_rolled_out(made, tmp_path):
    from edge.fleet.product_files import _below
    from edge.recipe import load_recipe

    loaded = load_recipe(load_station(made[0] / "source" / "config.toml"), PRODUCT)
    with pytest.raises(BundleError, match="lies outside"):
        _below(loaded, loaded.path.parent / ".." / "shared.onnx")
    assert _below(loaded, loaded.path.parent / "models" / ".." / "own.onnx") == "own.onnx"


def test_a_station_takes_a_bundle_and_then_another_and_goes_back(made, target):
    (_, _, first, second), (station, kept) = made, target
    known = put(station, kept, first.archive_sha256)
    assert (known.active.pair, known.previous) == (pair_of(first), None)
    known = put(station, kept, second.archive_sha256, 2)
    assert (known.active.pair, known.previous.pair) == (pair_of(second), pair_of(first))
    from edge.commands.check import examine

    assert not examine(station.pipelines_dir.parent / "config.toml", PRODUCT).problems
    assert put(station, kept, first.archive_sha256, 3).active.pair == pair_of(first)


def test_a_bundle_for_other_cameras_is_refused_and_changes_nothing(made, target):
    (_, _, first, _), (station, kept) = made, target
    other = station.model_copy(update={"cameras": {"left": station.cameras["left"].model_copy(update={"role": "top"})}})
    with pytest.raises(BundleError, match="no camera has this role"):
        put(other, kept, first.archive_sha256)
    assert not (station.pipelines_dir / PRODUCT / "recipe.toml").exists()
    assert not (station.state_dir / "references").exists()


def test_a_disk_without_room_is_said_before_anything_is_written(made, target, monkeypatch):
    (_, _, first, _), (station, kept) = made, target
    monkeypatch.setattr("edge.fleet.kept.ROOM_BYTES", 1 << 60)
    with pytest.raises(GoldlineError, match="MiB are needed and"):
        put(station, kept, first.archive_sha256)
    assert list(kept.staging.iterdir()) == []


def test_what_was_taught_here_stays_until_it_is_to_be_replaced_and_is_kept_then(made, target, taught):
    (_, _, _, second), (station, kept) = made, target
    copy_taught(taught, station)
    with pytest.raises(LocalError, match="was taught or changed on this station"):
        put(station, kept, second.archive_sha256)
    known = put(station, kept, second.archive_sha256, 2, replaces_local=True)
    assert known.previous.is_local
    assert known.active.pair == pair_of(second)
    back = put(station, kept, known.previous.bundle, 3)
    assert back.active.is_local
    assert back.active.pair == known.previous.pair
    # What is taught after that is not replaced by a document that was there before.
    recipe = station.pipelines_dir / PRODUCT / "recipe.toml"
    known = put(station, kept, second.archive_sha256, 4, replaces_local=True)
    recipe.write_text(recipe.read_text() + "# changed by hand\n")
    with pytest.raises(LocalError):
        put(station, kept, second.archive_sha256, 4, replaces_local=True)
    assert put(station, kept, second.archive_sha256, 5, replaces_local=True).previous.is_local


def test_a_process_killed_at_any_step_leaves_the_old_or_the_new(taught, tmp_path):
    source, station = (station_of(tmp_path / name, name, {"left": CAMERA}) for name in ("source", "s1"))
    copy_taught(taught, source)
    make_small(source)
    kept = Kept(station.state_dir)
    kept.make()
    signer = new_signer(tmp_path)
    trust(station, tmp_path / "plant.pub")
    first, second = bundles(source, kept.bundles, signer)
    command = [sys.executable, "-m", "tests.fleet_killer", station.pipelines_dir.parent / "config.toml"]
    done = subprocess.run(
        [*command, first.archive_sha256, second.archive_sha256],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


# --- stages


@given(count=st.integers(1, 60), shares=st.lists(st.integers(1, 100), min_size=1, max_size=4, unique=True).map(sorted))
def test_stages_are_the_stations_in_order_each_once(count, shares):
    stations = [f"s{number}" for number in range(count)]
    stages = planned(stations, [share / 100 for share in shares])
    flat = [one for stage in stages for one in stage]
    assert flat == stations[: len(flat)]
    assert all(stages)
    assert len(flat) == max(1, -(-count * shares[-1] // 100))


def test_shares_that_do_not_grow_are_refused():
    with pytest.raises(GoldlineError, match="grow from stage to stage"):
        planned(["a"], [0.5, 0.2])


ORDER = Ordered("b" * 64, 7, "d" * 64)


def _said(*, serial=7, problem=None, refused=None, **state):
    product = ProductState(**{"wanted": ORDER.bundle, "active": ORDER.bundle, **state})
    return Acknowledged(
        station="s1",
        goldline="1",
        said=MADE,
        serial=serial,
        products={"lid": product},
        problem=problem,
        refused=refused,
    )


def _look(said, waited_s=1.0, arrived_s=None, **rules):
    acknowledged = {} if said is None else {"s1": said}
    return look("lid", {"s1": ORDER}, acknowledged, Rules(**rules), waited_s=waited_s, arrived_s=arrived_s)


def test_a_stage_is_over_when_every_station_judges_by_it():
    assert _look(_said(), arrived_s=0.0) == Over()
    assert _look(_said(is_in_force=True, is_judged=True), arrived_s=0.0) == Over()
    for waits in (None, _said(serial=6), _said(active=None), _said(is_in_force=True), _said(wanted="c" * 64)):
        assert isinstance(_look(waits), Waiting)
        assert isinstance(_look(waits, waited_s=700), Stopped)
    assert isinstance(_look(_said(), arrived_s=5.0, wait_s=10), Waiting)
    assert _look(_said(), arrived_s=11.0, wait_s=10) == Over()


def test_the_first_refusal_stops_it_and_an_older_one_does_not():
    state = ProductState(wanted=ORDER.bundle, problem="roles", is_refused=True)
    refused = msgspec.structs.replace(_said(), products={"lid": state})
    assert _look(refused) == Stopped("s1", "roles")
    assert isinstance(_look(msgspec.structs.replace(refused, serial=6)), Waiting)
    assert _look(_said(serial=3, problem="not trusted", refused=ORDER.document)) == Stopped("s1", "not trusted")
    assert isinstance(_look(_said(serial=3, problem="not trusted", refused="e" * 64)), Waiting)


def test_parts_are_judged_before_it_goes_on_and_worse_ones_stop_it():
    judged = {"is_in_force": True, "is_judged": True, "before": {"PASS": 98, "FAIL": 2}}
    few = _said(counts={"PASS": 9}, **judged)
    assert isinstance(_look(few, arrived_s=1.0, parts=10), Waiting)
    well, badly = _said(counts={"PASS": 97, "FAIL": 3}, **judged), _said(counts={"PASS": 90, "ERROR": 10}, **judged)
    assert _look(well, arrived_s=1.0, parts=10) == Over()
    assert "10.0% of its parts are not PASS; before it was 2.0%" in _look(badly, arrived_s=1.0, parts=10).problem


def test_a_station_goes_back_to_what_it_had():
    assert before_of("lid", ORDER.bundle, _said(previous="a" * 64)) == "a" * 64
    # It refused the bundle: what it has is what it had.
    assert before_of("lid", ORDER.bundle, _said(active="a" * 64, previous="0" * 64)) == "a" * 64
    assert before_of("lid", ORDER.bundle, None) is None
