"""Bad input to teaching and judging: one clear line, and the version before stays the active one."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edge.config import Station, load_station
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.records import Outcome, Reason
from edge.references import Store
from edge.replay import judge
from edge.teach import teach
from tests import lid
from tests.small_backbone import DECLARATION, small_model


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return lid.taught(tmp_path)


def refused(station: Station, folder: Path, line: str) -> None:
    """Teaching from the folder is refused with this line, and changes nothing."""
    store = Store(station.state_dir, lid.PRODUCT)
    before = store.active(), store.identities()
    with pytest.raises(GoldlineError, match=line) as problem:
        teach(station, lid.PRODUCT, folder, lid.quiet)
    assert "\n" not in str(problem.value)
    assert (store.active(), store.identities()) == before
    assert judge(Inspector.load(station, lid.PRODUCT), lid.Lids(3).bad(), "main").outcome is Outcome.FAIL


def test_what_is_no_picture_is_named_and_the_version_before_stays(station: Station, tmp_path: Path) -> None:
    lids = lid.Lids(8)
    whole = cv2.imencode(".jpg", lids.good())[1].tobytes()
    broken = {"empty.png": b"", "text.jpg": b"good part", "cut.jpg": whole[:-200], "cut.png": b"\x89PNG\r\n\x1a\n\x00"}
    for name, content in broken.items():
        folder = lid.goods(tmp_path / name.replace(".", "-"), 3)
        (folder / name).write_bytes(content)
        refused(station, folder, name.replace(".", r"\."))


def test_an_empty_folder_and_an_odd_size_are_named(station: Station, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    refused(station, tmp_path / "nothing", "no images")
    refused(station, tmp_path / "absent", "not a folder")
    odd = lid.write(lid.goods(tmp_path / "odd", 4), {"zz.png": np.zeros((40, 50, 3), np.uint8)})
    refused(station, odd, r"zz\.png: 50 x 40, most others are 256 x 192")


def test_grey_and_16_bit_pictures_are_taken_for_what_they_show(tmp_path: Path) -> None:
    lids = lid.Lids(8)
    folder = lid.goods(tmp_path / "good", 4)
    grey = cv2.cvtColor(lids.good(), cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(folder / "grey.png"), grey)
    cv2.imwrite(str(folder / "deep.png"), lids.good().astype(np.uint16) * 257)
    taught = teach(lid.station(tmp_path), lid.PRODUCT, folder, lid.quiet)
    assert taught.references == 6


def test_all_black_goods_are_taught_to_nothing_worse_than_themselves(tmp_path: Path) -> None:
    black = {f"{index}.png": np.zeros((192, 256, 3), np.uint8) + np.uint8(index) for index in range(4)}
    station = lid.station(tmp_path)
    teach(station, lid.PRODUCT, lid.write(tmp_path / "good", black), lid.quiet)
    verdict = judge(Inspector.load(station, lid.PRODUCT), lid.Lids(3).good(), "main")
    assert verdict.outcome is not Outcome.PASS


def test_black_white_and_flat_frames_are_no_parts(station: Station) -> None:
    inspector = Inspector.load(station, lid.PRODUCT)
    for level in (0, 128, 255):
        verdict = judge(inspector, np.full((192, 256, 3), level, np.uint8), "main")
        assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)


@pytest.mark.parametrize("name", ["main/part.onnx", "main/part.npz", "main/registration.npz", "manifest.json"])
def test_a_truncated_set_is_named_and_never_judged_with(station: Station, name: str) -> None:
    store = Store(station.state_dir, lid.PRODUCT)
    path = store.root / str(store.active()) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(GoldlineError, match=name.rpartition("/")[2].replace(".", r"\.")):
        Inspector.load(station, lid.PRODUCT)


def test_a_set_of_another_version_is_named(station: Station) -> None:
    store = Store(station.state_dir, lid.PRODUCT)
    root = store.root / str(store.active())
    text = (root / "manifest.json").read_text().replace('"schema":2', '"schema":1')
    import hashlib

    identity = hashlib.sha256(text.encode()).hexdigest()[:16]
    root.rename(store.root / identity)
    (store.root / identity / "manifest.json").write_text(text)
    with pytest.raises(GoldlineError, match="schema 1, this program reads 2; teach again"):
        store.load(identity)


@pytest.mark.parametrize(("change", "line"), [({"extra_input": True}, "must have the one input")])
def test_a_backbone_with_the_wrong_inputs_is_named(tmp_path: Path, change: dict[str, bool], line: str) -> None:
    onnx.save(small_model(declaration=DECLARATION, **change), tmp_path / "odd.onnx")
    (tmp_path / "config.toml").write_text('[inference]\nbackbone = "odd.onnx"\n')
    with pytest.raises(GoldlineError, match=rf"odd\.onnx: {line}"):
        teach(load_station(tmp_path / "config.toml"), lid.PRODUCT, lid.goods(tmp_path / "good", 2), lid.quiet)
