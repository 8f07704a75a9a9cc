"""Teach: from a folder of good images to an active reference set, or one line that says why not."""

import re
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edge.backbone import load_backbone
from edge.config import Station, load_station
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.records import Outcome
from edge.references import Store
from edge.teach import Taught, teach
from tests import lid
from tests.small_backbone import DECLARATION, small_model

COUNT = 10


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return lid.station(tmp_path_factory.mktemp("station"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lid.goods(tmp_path_factory.mktemp("good"), COUNT)


@pytest.fixture(scope="module")
def taught(station: Station, folder: Path) -> Taught:
    return teach(station, lid.PRODUCT, folder, lid.quiet)


def test_the_set_is_active_and_says_what_it_can_promise(station: Station, taught: Taught) -> None:
    assert Store(station.state_dir, lid.PRODUCT).active() == taught.reference_set
    assert taught.references == COUNT
    assert taught.views[0].manifest.calibration.rate == 1 / (COUNT + 1)
    assert taught.views[0].odd == taught.views[0].refused == ()
    assert any("bank" in reason for reason in taught.views[0].reasons)


def test_unseen_good_parts_score_like_the_good_ones_and_a_foreign_object_fails(
    station: Station, taught: Taught
) -> None:
    inspector = Inspector.load(station, lid.PRODUCT)
    lids = lid.Lids(99)
    fail = taught.views[0].manifest.calibration.limits.fail
    for _ in range(3):
        prepared = inspector.prepare(lids.good())
        verdict = inspector.judge(prepared, inspector.score([prepared])[0], {})
        assert verdict.score is not None and verdict.score < fail
    prepared = inspector.prepare(lids.bad())
    verdict = inspector.judge(prepared, inspector.score([prepared])[0], {})
    assert (verdict.outcome, verdict.review) == (Outcome.FAIL, False)


def test_the_same_images_give_the_same_set(station: Station, folder: Path, taught: Taught) -> None:
    assert teach(station, lid.PRODUCT, folder, lid.quiet).reference_set == taught.reference_set


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_are_enough_to_begin_with(tmp_path: Path, count: int) -> None:
    station = lid.station(tmp_path)
    result = teach(station, lid.PRODUCT, lid.goods(tmp_path / "good", count), lid.quiet)
    assert result.views[0].manifest.calibration.rate == (1 / 6 if count == 5 else None)
    prepared = (inspector := Inspector.load(station, lid.PRODUCT)).prepare(lid.Lids(5).bad())
    assert inspector.judge(prepared, inspector.score([prepared])[0], {}).outcome is Outcome.FAIL


def test_odd_and_repeated_images_are_named(tmp_path: Path) -> None:
    lids = lid.Lids()
    images = {f"{index:02d}.png": lids.good() for index in range(19)}
    images |= {"bad.png": lids.bad(), "copy.png": images["04.png"]}
    result = teach(lid.station(tmp_path), lid.PRODUCT, lid.write(tmp_path / "good", images), lid.quiet)
    assert [name for name, _ in result.views[0].odd] == ["bad.png"]
    assert result.views[0].identical == ("copy.png",)
    assert result.references == 20
    assert result.views[0].manifest.calibration.rate == 2 / 21


def test_a_part_out_of_range_is_left_out_and_named(tmp_path: Path) -> None:
    lids = lid.Lids()
    images = {f"{index}.png": lids.good() for index in range(8)}
    images["far.png"] = lids.moved(44, 0)  # the limit is 15 % of 256
    result = teach(lid.station(tmp_path), lid.PRODUCT, lid.write(tmp_path / "good", images), lid.quiet)
    assert [name for name, _ in result.views[0].refused] == ["far.png"]
    assert "44" in result.views[0].refused[0][1]
    assert result.references == 8


def test_a_part_the_wrong_way_round_is_odd(tmp_path: Path) -> None:
    lids = lid.Lids()
    images = {f"{index}.png": lids.good() for index in range(8)}
    images["upside-down.png"] = np.ascontiguousarray(lids.good()[::-1, ::-1])
    result = teach(lid.station(tmp_path), lid.PRODUCT, lid.write(tmp_path / "good", images), lid.quiet)
    assert "upside-down.png" in [name for name, _ in (*result.views[0].refused, *result.views[0].odd)]


def test_a_product_without_a_recipe_gets_a_default_one(tmp_path: Path) -> None:
    station = lid.station(tmp_path)
    teach(station, "other", lid.goods(tmp_path / "good", 2), lid.quiet)
    assert (station.pipelines_dir / "other" / "recipe.toml").is_file()
    Inspector.load(station, "other")


def test_several_regions_with_checks_of_their_own(tmp_path: Path) -> None:
    recipe = """
[[regions]]
name = "left"
box = [0, 0, 128, 192]
template = false
anomaly = { working_px = 96, bank = "global" }
[[regions]]
name = "right"
box = [128, 0, 128, 192]
anomaly = false
"""
    station = lid.station(tmp_path, recipe)
    result = teach(station, lid.PRODUCT, lid.goods(tmp_path / "good", 6), lid.quiet)
    assert set(result.views[0].manifest.calibration.scales) == {"left.anomaly", "right.template"}
    inspector = Inspector.load(station, lid.PRODUCT)
    image = lid.Lids(5).good()
    cv2.rectangle(image, (200, 80), (212, 92), (0, 0, 255), -1)
    prepared = inspector.prepare(image)
    verdict = inspector.judge(prepared, inspector.score([prepared])[0], {})
    assert {defect.check for defect in verdict.defects} == {"right.template"}
    x, y, width, height = verdict.defects[0].bbox
    assert x <= 206 <= x + width and y <= 86 <= y + height


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ({}, "no images"),
        ({"a.png": b""}, "a.png: an empty file"),
        ({"a.jpg": b"\xff\xd8\xff\xe0 not a whole one"}, "a.jpg: .*truncated"),
        ({"a.png": b"text"}, "a.png: not a"),
    ],
)
def test_a_folder_that_cannot_be_taught_from_is_refused_in_one_line(
    tmp_path: Path, broken: dict[str, bytes], line: str
) -> None:
    (tmp_path / "good").mkdir()
    for name, content in broken.items():
        (tmp_path / "good" / name).write_bytes(content)
    station = lid.station(tmp_path)
    with pytest.raises(GoldlineError, match=line) as refusal:
        teach(station, "other", tmp_path / "good", lid.quiet)
    assert "\n" not in str(refusal.value)
    assert Store(station.state_dir, "other").active() is None
    assert not (station.pipelines_dir / "other").exists()


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    folder = lid.goods(tmp_path / "good", 4)
    cv2.imwrite(str(folder / "good-02.png"), np.zeros((100, 120, 3), np.uint8))
    with pytest.raises(GoldlineError, match=r"good-02\.png: 120 x 100, most others are 256 x 192"):
        teach(lid.station(tmp_path), lid.PRODUCT, folder, lid.quiet)


def test_images_that_vary_in_size_are_taught_as_free_pose(tmp_path: Path) -> None:
    lids = lid.Lids()
    images = {f"{index}.png": cv2.resize(lids.good(), (200 + 8 * index, 150 + 5 * index)) for index in range(6)}
    station = lid.station(tmp_path)
    teach(station, lid.PRODUCT, lid.write(tmp_path / "good", images), lid.quiet)
    inspector = Inspector.load(station, lid.PRODUCT)
    bad = cv2.resize(lids.bad(), (512, 384))
    prepared = inspector.prepare(np.asarray(bad, np.uint8))
    verdict = inspector.judge(prepared, inspector.score([prepared])[0], {})
    assert verdict.outcome is Outcome.FAIL
    x, y, width, height = verdict.defects[0].bbox
    assert x - 40 <= 2 * lid.SPOT[0] + 24 <= x + width + 40 and y - 40 <= 2 * lid.SPOT[1] + 24 <= y + height + 40


def test_a_box_beyond_the_picture_is_refused(tmp_path: Path) -> None:
    station = lid.station(tmp_path, '[[regions]]\nname = "part"\nbox = [200, 0, 100, 100]\n')
    with pytest.raises(GoldlineError, match=r"region part: box .* exceeds 256 x 192"):
        teach(station, lid.PRODUCT, lid.goods(tmp_path / "good", 2), lid.quiet)


def test_the_backbone_is_a_setting(folder: Path, taught: Taught, tmp_path: Path) -> None:
    onnx.save(small_model(declaration=DECLARATION), tmp_path / "small.onnx")
    (tmp_path / "config.toml").write_text('[inference]\nbackbone = "small.onnx"\n')
    station = load_station(tmp_path / "config.toml")
    own = teach(station, lid.PRODUCT, folder, lid.quiet)
    manifest = Store(station.state_dir, lid.PRODUCT).load().manifest
    assert own.reference_set != taught.reference_set
    assert manifest.model_sha256 == load_backbone(tmp_path / "small.onnx").sha256
    prepared = Inspector.load(station, lid.PRODUCT).prepare(lid.Lids(99).good())
    assert prepared.refusal is None


def test_a_backbone_that_does_not_fit_is_one_line_that_names_it(folder: Path, tmp_path: Path) -> None:
    onnx.save(small_model(declaration=DECLARATION, extra_input=True), tmp_path / "odd.onnx")
    (tmp_path / "config.toml").write_text('[inference]\nbackbone = "odd.onnx"\n')
    with pytest.raises(GoldlineError, match=r"odd\.onnx: must have the one input 'image'"):
        teach(load_station(tmp_path / "config.toml"), lid.PRODUCT, folder, lid.quiet)


@pytest.mark.parametrize(
    ("bank", "kept"),
    [
        ('bank = "positional", per_cell = 4', f"4 of {COUNT} references kept for each place"),
        ('bank = "global", coreset = 64', f"of all {COUNT} references"),
    ],
)
def test_teach_says_how_a_bank_that_keeps_less_than_all_agrees_with_an_exact_search(
    folder: Path, tmp_path: Path, bank: str, kept: str
) -> None:
    station = lid.station(tmp_path, f'[[regions]]\nname = "part"\nanomaly = {{ working_px = 96, {bank} }}\n')
    stages: set[str] = set()
    result = teach(station, lid.PRODUCT, folder, lambda stage, _done, _total: stages.add(stage))
    (said,) = [reason for reason in result.views[0].reasons if "exact search" in reason]
    assert kept in said
    found = re.search(r"([\d.]+)% of (\d+) images, rank correlation ([-\d.]+)$", said)
    assert found is not None
    assert 0 <= float(found[1]) <= 100
    assert int(found[2]) >= 6
    assert -1 <= float(found[3]) <= 1
    assert ("exact search" in stages) == ("global" in bank)


def test_a_bank_that_keeps_all_says_nothing_of_an_exact_search(taught: Taught) -> None:
    assert not any("exact search" in reason for reason in taught.views[0].reasons)
