"""Evaluate: the figures are what their names say."""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.commands import evaluate as command
from edge.config import Station
from edge.errors import GoldlineError
from edge.evaluate import PixelCurve, evaluate, samples
from edge.inspector import Inspector
from edge.teach import teach
from tests import lid
from tests.needs import needs_data

KEYS = {
    "auroc", "per_class", "pixel_auroc", "false_call_rate", "escape_rate", "error_rate", "n_good", "n_bad",
    "latency_ms", "reference_set", "method",
}  # fmt: skip


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    directory = tmp_path_factory.mktemp("station")
    made = lid.station(directory)
    teach(made, lid.PRODUCT, lid.goods(directory / "good", 10), lid.quiet)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lids = lid.Lids(40)
    lid.write(tmp_path / "test" / "good", {f"{index}.png": lids.good() for index in range(4)})
    lid.write(tmp_path / "test" / "foreign", {f"{index}.png": lids.bad() for index in range(3)})
    return tmp_path


def report(station: Station, data: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args([lid.PRODUCT, "--data", str(data), *words])
    arguments.config = station.state_dir.parent / "config.toml"
    return command.run(arguments)


def figures(station: Station, data: Path) -> dict[str, Any]:
    return evaluate(Inspector.load(station, lid.PRODUCT), data, lambda done, total: None)


def test_the_documented_keys_and_figures(station: Station, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(station, data, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == KEYS
    assert (told["auroc"], told["per_class"], told["pixel_auroc"]) == (1.0, {"foreign": 1.0}, None)
    assert (told["n_good"], told["n_bad"], told["escape_rate"], told["error_rate"]) == (4, 3, 0.0, 0.0)
    assert set(told["latency_ms"]) == {"p50", "p99"}
    assert report(station, data) == 0
    assert "AUROC" in capsys.readouterr().out


def test_what_cannot_be_judged_counts_as_the_worst(station: Station, data: Path) -> None:
    before = figures(station, data)
    cv2.imwrite(str(data / "test" / "good" / "small.png"), np.zeros((20, 20, 3), np.uint8))
    (data / "test" / "foreign" / "torn.png").write_bytes(b"torn")
    after = figures(station, data)
    assert after["error_rate"] == 2 / 9
    assert after["false_call_rate"] == (before["false_call_rate"] * 4 + 1) / 5
    # Of 5 x 4 pairs, the unreadable bad one beats the four good ones and ties with the small one, which beats three.
    assert after["auroc"] == pytest.approx((12 + 4 + 0.5) / 20)


def test_masks_give_a_pixel_figure(station: Station, data: Path) -> None:
    mask = np.zeros((lid.SIZE[1], lid.SIZE[0]), np.uint8)
    x, y, width, height = lid.SPOT
    mask[y : y + height, x : x + width] = 255
    folder = data / "ground_truth" / "foreign"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "0.png"), mask)
    cv2.imwrite(str(folder / "1_mask.png"), mask)
    assert figures(station, data)["pixel_auroc"] > 0.95
    cv2.imwrite(str(folder / "0.png"), mask[:50])
    with pytest.raises(GoldlineError, match=r"0\.png: the mask is 256 x 50, its image 256 x 192"):
        figures(station, data)


def test_training_images_are_not_looked_at(data: Path) -> None:
    (data / "train" / "good").mkdir(parents=True)
    (data / "train" / "good" / "broken.png").write_bytes(b"")
    assert [sample.label for sample in samples(data)] == ["good"] * 4 + ["foreign"] * 3


def test_a_folder_laid_out_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoldlineError, match="test/good: not a folder"):
        samples(tmp_path)
    (tmp_path / "test" / "good").mkdir(parents=True)
    with pytest.raises(GoldlineError, match="no folder of bad images"):
        samples(tmp_path)


pixels = st.lists(
    st.tuples(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 30.0]), st.booleans()), min_size=1, max_size=60
)


@given(pixels)
def test_the_pixel_curve_counts_pairs(values: list[tuple[float, bool]]) -> None:
    curve = PixelCurve()
    curve.add(np.array([[value for value, _ in values]], np.float32), np.array([[is_bad for _, is_bad in values]]))
    good, bad = ([value for value, is_bad in values if is_bad is side] for side in (False, True))
    if not good or not bad:
        assert curve.area() is None
    else:
        pairs = [(b > g) + 0.5 * (b == g) for g in good for b in bad]
        assert curve.area() == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.slow
def test_cookies_are_told_apart(tmp_path: Path) -> None:
    data = needs_data("cookies")
    station = lid.station(tmp_path, '[[regions]]\nname = "part"\n')
    teach(station, lid.PRODUCT, data / "train" / "good", lid.quiet)
    told = figures(station, data)
    assert told["auroc"] >= 0.99
    assert told["escape_rate"] <= 0.05
    assert told["false_call_rate"] <= 0.15
