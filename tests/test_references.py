"""The store: what is read back is what was written, or an error that names the file."""

import errno
import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.errors import GoldlineError
from edge.judge import Calibration, CheckScale
from edge.manifest import Manifest, RegionManifest, ViewManifest
from edge.records import Limits
from edge.references import SCHEMA, ReferenceSetError, Store, pack

MANIFEST = Manifest(
    schema=SCHEMA,
    product="lid",
    taught={"regions": []},
    recipe_sha256="0" * 64,
    model_sha256="1" * 64,
    views=(
        ViewManifest(
            camera="main",
            image_size=(64, 48),
            any_size=False,
            normalised=False,
            registration="shift",
            regions=(
                RegionManifest(
                    name="part",
                    box=(0, 0, 64, 48),
                    size=(64, 32),
                    grid=(4, 8),
                    bank="global",
                    vectors=9,
                    top_fraction=0.01,
                    template=(64, 48),
                    checks=("anomaly", "template"),
                ),
            ),
            calibration=Calibration(
                scales={"part.anomaly": CheckScale(median=1.0, spread=0.5)},
                limits=Limits(review=2.0, fail=4.0),
                images=9,
                rate=0.1,
                goods=(0.5, 2.0),
            ),
            references=("a.png", "b.png"),
        ),
    ),
)
FILES = {"part.onnx": b"graph", "part.npz": pack({"embedding": np.ones((2, 3), np.float32)}), "references/0.jpg": b"j"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "lid")


def saved(store: Store, **changes: object) -> str:
    return store.save(msgspec.structs.replace(MANIFEST, **changes), FILES)


def test_round_trip(store: Store) -> None:
    store.activate(saved(store))
    found = store.load()
    assert msgspec.structs.replace(found.manifest, files={}) == MANIFEST
    assert {name: found.read(name) for name in found.manifest.files} == FILES
    assert (found.arrays("part.npz")["embedding"] == 1).all()


def test_the_same_content_is_the_same_set(store: Store) -> None:
    assert saved(store) == saved(store)
    assert saved(store) != saved(store, reasons=("a.png",))
    assert len(store.identities()) == 2


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=5),
        arrays.arrays(st.sampled_from([np.uint8, np.float32]), arrays.array_shapes(max_dims=3, max_side=4)),
        max_size=4,
    )
)
def test_equal_arrays_pack_to_equal_bytes(stored: dict[str, np.ndarray]) -> None:
    assert pack(stored) == pack({name: values.copy() for name, values in stored.items()})


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_one_changed_byte_names_the_file(store: Store, name: str) -> None:
    identity = saved(store)
    path = store.root / identity / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReferenceSetError, match=name):
        store.load(identity)
    with pytest.raises(ReferenceSetError, match=name):
        store.activate(identity)
    assert store.active() is None


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_lost_file_is_named_and_teaching_again_repairs_it(store: Store, name: str) -> None:
    identity = saved(store)
    (store.root / identity / name).unlink()
    with pytest.raises(ReferenceSetError, match=name):
        store.load(identity)
    assert saved(store) == identity
    store.load(identity)


def test_a_set_of_another_schema_is_refused(store: Store) -> None:
    identity = saved(store, schema=SCHEMA + 1)
    with pytest.raises(ReferenceSetError, match=f"schema {SCHEMA + 1}, this program reads {SCHEMA}"):
        store.load(identity)


def test_no_set_says_how_to_teach_one(store: Store) -> None:
    with pytest.raises(GoldlineError, match="goldline teach lid --good DIR"):
        store.load()


def test_a_damaged_set_leaves_the_active_one(store: Store) -> None:
    first, second = saved(store), saved(store, reasons=("b.png",))
    store.activate(first)
    (store.root / second / "part.onnx").write_bytes(b"graft")
    with pytest.raises(ReferenceSetError):
        store.activate(second)
    assert store.load().id == first


def test_undo_goes_back_step_by_step(store: Store) -> None:
    sets = [saved(store, reasons=(name,)) for name in ("a", "b", "c")]
    for identity in [*sets, sets[0]]:
        store.activate(identity)
    assert store.identities() == sorted(sets)
    assert [store.undo() for _ in range(3)] == [sets[2], sets[1], sets[0]]
    with pytest.raises(ReferenceSetError, match="no earlier"):
        store.undo()
    assert store.active() == sets[0]


def test_activating_the_active_set_adds_nothing_to_undo(store: Store) -> None:
    first, second = saved(store), saved(store, reasons=("b",))
    for identity in (first, second, second):
        store.activate(identity)
    assert store.undo() == first


def test_a_power_cut_between_history_and_switch_keeps_the_old_set(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = saved(store), saved(store, reasons=("b",))
    store.activate(first)

    def power_cut(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", power_cut)
        with pytest.raises(ReferenceSetError, match="power cut"):
            store.activate(second)
    assert json.loads((store.root / "history.json").read_text()) == [first, second]
    assert store.load().id == first
    with pytest.raises(ReferenceSetError, match="no earlier"):
        store.undo()
    store.activate(second)
    assert store.undo() == first


def test_a_torn_write_is_never_a_set(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_cut(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", power_cut)
        with pytest.raises(ReferenceSetError, match="power cut"):
            saved(store)
    assert store.identities() == []
    saved(store)
    assert [path.name for path in store.root.glob(".partial-*")] == []


def test_two_teaches_at_once_are_refused(store: Store) -> None:
    with store._locked(), pytest.raises(ReferenceSetError, match="another teach"):
        saved(Store(store.root.parents[1], "lid"))


def test_find_needs_one_match(store: Store) -> None:
    identity = saved(store)
    assert store.find(identity[:6]) == identity
    with pytest.raises(ReferenceSetError, match="0 reference sets start with 'zz'"):
        store.find("zz")


def test_a_store_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "references").write_text("")
    store = Store(tmp_path, "lid")
    with pytest.raises(ReferenceSetError, match="references/lid: cannot be written: Not a directory"):
        saved(store)
    with pytest.raises(ReferenceSetError, match="references/lid/active: cannot be read: Not a directory"):
        store.active()


def test_a_full_disk_leaves_the_active_set(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = saved(store)
    store.activate(first)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ReferenceSetError, match="cannot be written: No space left on device"):
        saved(store, reasons=("b.png",))
    assert store.load().id == first
