"""Evaluate: the figures are what their names say, and as sure as their intervals say."""

import math
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.calibrate import separation
from edge.config import Station
from edge.errors import GoldlineError
from edge.evaluate import Call, evaluate
from edge.figures import PixelCurve, area_difference, area_interval, images_to_show, rate_interval, roc
from edge.images import read_image
from edge.inspector import Inspector
from edge.labelled import samples
from edge.references import Store
from edge.summary import report
from edge.teach import teach
from tests import lid
from tests.evaluating import run, told
from tests.needs import needs_data

# What programs read since the first version, and what came later.
KEYS = {
    "auroc", "per_class", "pixel_auroc", "false_call_rate", "escape_rate", "error_rate", "n_good", "n_bad",
    "latency_ms", "reference_set", "method",
}  # fmt: skip
LATER_KEYS = {
    "auroc_interval", "au_pro", "false_call_interval", "escape_interval", "stages_ms", "camera", "limits", "calls",
    "median_score", "false_calls", "escapes", "errors", "against", "views", "checks", "promised_false_call_rate",
    "recipe_sha256",
}  # fmt: skip


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    """With two sets: one taught foreign bodies as good, and the active one, which was not."""
    directory = tmp_path_factory.mktemp("station")
    made = lid.taught(directory)
    mixed = lid.goods(directory / "mixed", 6)
    lids = lid.Lids(41)
    lid.write(mixed, {f"foreign-{index}.png": lids.bad() for index in range(6)})
    (directory / "tolerant").write_text(teach(made, lid.PRODUCT, mixed, lid.quiet).reference_set)
    Store(made.state_dir, lid.PRODUCT).undo()
    return made


@pytest.fixture
def tolerant(station: Station) -> str:
    return (station.state_dir.parent / "tolerant").read_text()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lids = lid.Lids(40)
    lid.write(tmp_path / "test" / "good", {f"{index}.png": lids.good() for index in range(4)})
    lid.write(tmp_path / "test" / "foreign", {f"{index}.png": lids.bad() for index in range(3)})
    return tmp_path


def test_the_documented_keys_and_figures(station: Station, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = told(station, data, capsys)
    assert set(figures) == KEYS | LATER_KEYS
    assert (figures["auroc"], figures["per_class"], figures["pixel_auroc"]) == (1.0, {"foreign": 1.0}, None)
    assert (figures["n_good"], figures["n_bad"], figures["escape_rate"], figures["error_rate"]) == (4, 3, 0.0, 0.0)
    assert set(figures["latency_ms"]) == {"p50", "p99"}
    assert set(figures["stages_ms"]) == {"prepare", "graph", "judge"}
    assert sum(figures["calls"]["good"].values()) == 4 and figures["calls"]["foreign"]["PASS"] == 0
    assert figures["against"] is None
    assert run(station, data) == 0
    assert "AUROC" in capsys.readouterr().out


def test_every_key_is_documented() -> None:
    document = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert [key for key in sorted(KEYS | LATER_KEYS) if f"`{key}`" not in document] == []
    assert [key for key in ("auroc_difference", "changed", "differences") if f"`against.{key}`" not in document] == []
    assert all(f"`{call}`" in document for call in Call)


def test_the_lists_name_what_the_rates_count(station: Station, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lids = lid.Lids(43)
    lid.write(data / "test" / "good", {"bad.png": lids.bad()})
    lid.write(data / "test" / "foreign", {"good.png": lids.moved(0, 0)})
    (data / "test" / "good" / "torn.png").write_bytes(b"torn")
    figures = told(station, data, capsys)
    assert figures["false_calls"][:2] == ["test/good/torn.png", "test/good/bad.png"]
    assert len(figures["false_calls"]) == figures["false_call_rate"] * 6
    assert figures["escapes"] == ["test/foreign/good.png"] and figures["escape_rate"] == 1 / 4
    assert list(figures["errors"]) == ["test/good/torn.png"]
    assert "not a JPEG, PNG or BMP" in figures["errors"]["test/good/torn.png"]


def test_what_cannot_be_judged_counts_as_the_worst(
    station: Station, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = told(station, data, capsys)
    cv2.imwrite(str(data / "test" / "good" / "small.png"), np.zeros((20, 20, 3), np.uint8))
    (data / "test" / "foreign" / "torn.png").write_bytes(b"torn")
    after = told(station, data, capsys)
    assert after["error_rate"] == 2 / 9
    assert after["false_call_rate"] == (before["false_call_rate"] * 4 + 1) / 5
    # Of 5 x 4 pairs, the unreadable bad one beats the four good ones and ties with the small one, which beats three.
    assert after["auroc"] == pytest.approx((12 + 4 + 0.5) / 20)


def test_a_median_that_is_no_score_is_null(station: Station, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "test" / "torn").mkdir()
    (data / "test" / "torn" / "torn.png").write_bytes(b"torn")
    figures = told(station, data, capsys)
    assert figures["median_score"]["torn"] is None
    assert math.isfinite(figures["median_score"]["foreign"])


def test_masks_give_pixel_figures(station: Station, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((lid.SIZE[1], lid.SIZE[0]), np.uint8)
    x, y, width, height = lid.SPOT
    mask[y : y + height, x : x + width] = 255
    folder = data / "ground_truth" / "foreign"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "0.png"), mask)
    cv2.imwrite(str(folder / "1_mask.png"), mask)
    figures = told(station, data, capsys)
    assert figures["pixel_auroc"] > 0.95 and figures["au_pro"] > 0.8
    cv2.imwrite(str(folder / "0.png"), mask[:50])
    with pytest.raises(GoldlineError, match=r"0\.png: the mask is 256 x 50, its image 256 x 192"):
        run(station, data)


def said(station: Station, identity: str | None, data: Path) -> dict[str, str]:
    """What the line would be told of every image, by its name."""
    inspector = Inspector.load(station, lid.PRODUCT, identity=identity)
    words: dict[str, str] = {}
    for path in sorted(data.glob("test/*/*.png")):
        prepared = inspector.prepare(read_image(path))
        verdict = inspector.judge(prepared, inspector.score([prepared])[0], {})
        words[str(path.relative_to(data))] = "REVIEW" if verdict.review else str(verdict.outcome)
    return words


def test_another_set_judges_the_same_images(
    station: Station, data: Path, tolerant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = told(station, data, capsys)
    figures = told(station, data, capsys, "--against", tolerant[:6])
    other = figures["against"]
    assert figures["auroc"] == alone["auroc"]
    assert (figures["reference_set"], other["reference_set"]) == (alone["reference_set"], tolerant)
    assert set(other) >= KEYS and other["escape_rate"] > figures["escape_rate"]
    assert other["auroc_difference"] == pytest.approx(figures["auroc"] - other["auroc"])
    old, new = said(station, tolerant, data), said(station, None, data)
    changed = {one["image"]: (one["old"], one["new"]) for one in other["changed"]}
    assert changed == {name: (old[name], new[name]) for name in new if old[name] != new[name]}
    assert all(one["old_score"] < one["new_score"] for one in other["changed"] if one["label"] == "foreign")
    assert run(station, data, "--against", tolerant) == 0
    assert f"{other['escapes'][0]}: PASS -> FAIL" in capsys.readouterr().out


def test_a_set_against_itself_changes_nothing(station: Station, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    itself = told(station, data, capsys)["reference_set"]
    other = told(station, data, capsys, "--against", itself)["against"]
    assert (other["changed"], other["auroc_difference"]) == ([], 0.0)
    assert other["auroc_difference_interval"] is None


def test_what_is_asked_for_and_not_there_is_refused(station: Station, data: Path) -> None:
    with pytest.raises(GoldlineError, match="0 reference sets start with 'xyz'"):
        run(station, data, "--against", "xyz")
    with pytest.raises(GoldlineError, match="camera role 'side'"):
        run(station, data, "--camera", "side")
    with pytest.raises(GoldlineError, match="nowhere: not a folder"):
        run(station, data, "--report", str(data / "nowhere" / "page.html"))
    with pytest.raises(GoldlineError, match="cannot be written"):
        run(station, data, "--report", str(data))


def test_of_several_views_one_is_named(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views = "".join(lid.RECIPE.replace('"part"', f'"{role}"\ncamera = "{role}"') for role in ("front", "side"))
    station = lid.station(tmp_path / "station", views)
    for role in ("front", "side"):
        lid.goods(tmp_path / "views" / role, 3)
    teach(station, lid.PRODUCT, tmp_path / "views", lid.quiet)
    with pytest.raises(GoldlineError, match="expected one for each camera role, front, side; or name one by --camera"):
        run(station, data)
    figures = told(station, data, capsys, "--camera", "side", "--report", str(tmp_path / "page.html"))
    assert (figures["camera"], figures["auroc"]) == ("side", 1.0)
    assert "<dd>side</dd>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_training_images_are_not_looked_at(data: Path) -> None:
    (data / "train" / "good").mkdir(parents=True)
    (data / "train" / "good" / "broken.png").write_bytes(b"")
    assert [sample.label for sample in samples(data)] == ["good"] * 4 + ["foreign"] * 3


def test_names_that_are_no_text_can_be_written(data: Path) -> None:
    os.rename(data / "test" / "good" / "0.png", os.fsencode(data / "test" / "good") + b"/\xff.png")
    names = [sample.name for sample in samples(data)]
    assert "test/good/�.png" in names
    assert "".join(names).encode("utf-8")


def test_a_folder_laid_out_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoldlineError, match="test/good: not a folder"):
        samples(tmp_path)
    (tmp_path / "test" / "good").mkdir(parents=True)
    with pytest.raises(GoldlineError, match="no folder of bad images"):
        samples(tmp_path)


# --- how sure a figure is


@pytest.mark.parametrize(
    ("count", "n", "interval"),
    [
        (0, 14, (0.0, 1 - 0.025 ** (1 / 14))),
        (14, 14, (0.025 ** (1 / 14), 1.0)),
        (1, 1, (0.025, 1.0)),
        # R's binom.test
        (1, 14, (0.001807, 0.338684)),
        (5, 10, (0.187086, 0.812914)),
        (3, 1000, (0.000619, 0.008742)),
    ],
)
def test_the_interval_of_a_rate_is_clopper_and_pearsons(count: int, n: int, interval: tuple[float, float]) -> None:
    assert rate_interval(count, n) == pytest.approx(interval, abs=1e-6)


@given(st.integers(1, 400), st.data())
def test_an_interval_holds_the_rate_and_mirrors(n: int, draw: st.DataObject) -> None:
    count = draw.draw(st.integers(0, n))
    lower, upper = rate_interval(count, n)
    assert lower <= count / n <= upper
    assert rate_interval(n - count, n) == pytest.approx((1 - upper, 1 - lower), abs=1e-9)


@pytest.mark.parametrize("rate", [0.5, 0.01, 0.001])
def test_so_many_images_show_a_rate(rate: float) -> None:
    needed = images_to_show(rate)
    assert rate_interval(0, needed)[1] <= rate < rate_interval(0, needed - 1)[1]


def test_the_interval_of_an_area_has_a_width_at_its_ends() -> None:
    # One image a side leaves Wilson's interval of one in one: 1 / (1 + z^2).
    assert area_interval(1.0, 1, 1) == pytest.approx((1 / (1 + 1.959964**2), 1.0), abs=1e-6)
    assert area_interval(0.0, 9, 20) == pytest.approx([1 - end for end in area_interval(1.0, 9, 20)[::-1]], abs=1e-9)
    assert area_interval(1.0, 100, 100)[0] > area_interval(1.0, 10, 10)[0] > 0.7


def test_the_interval_of_an_area_solves_its_equation() -> None:
    lower, upper = area_interval(0.8, 20, 30)
    for theta in (lower, upper):
        spread = 1 + 24 * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        deviation = math.sqrt(theta * (1 - theta) * spread / 600)
        assert abs(0.8 - theta) == pytest.approx(1.959964 * deviation, rel=1e-6)
    assert lower < 0.8 < upper


def array(*values: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(values, np.float64)


def test_the_difference_of_two_areas_is_delongs() -> None:
    # By hand: areas 3/4 and 1; shares of the other side differ by (-1/2, 0) over the bad and (0, -1/2) over the good,
    # each of variance 1/8, so that the difference has 1/8 / 2 + 1/8 / 2.
    good, bad = [array(0, 2), array(0, 1)], [array(1, 3), array(2, 3)]
    found = area_difference(good, bad)
    assert found.value == -0.25
    reach = 1.959964 * math.sqrt(1 / 8)
    assert found.interval == pytest.approx((-0.25 - reach, -0.25 + reach))


def test_a_difference_without_a_spread_has_no_interval() -> None:
    assert area_difference([array(0, 1), array(0, 2)], [array(3, 4), array(5, 6)]).interval is None
    assert area_difference([array(0), array(1)], [array(1), array(0)]).interval is None


def test_the_difference_of_two_areas_is_paired() -> None:
    # The same noise in both sets: what they share says nothing against the second one's being better.
    random = np.random.default_rng(1)
    good, bad = random.normal(0, 1, 200), random.normal(1, 1, 200)
    paired = area_difference([good, good], [bad + 0.3, bad]).interval
    independent = area_difference([good, random.normal(0, 1, 200)], [bad + 0.3, random.normal(1, 1, 200)]).interval
    assert paired is not None and independent is not None
    assert paired[0] > 0
    assert paired[1] - paired[0] < (independent[1] - independent[0]) / 2


scores = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, 7.0, math.inf]), min_size=1, max_size=30).map(np.array)


@given(scores, scores)
def test_the_roc_curve_rises_and_holds_the_area(good: Any, bad: Any) -> None:
    points = np.array(roc(good, bad))
    assert points[0].tolist() == [0, 0] and points[-1].tolist() == [1, 1]
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(separation(good, bad))


# --- pixels

pixels = st.lists(
    st.tuples(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 30.0]), st.booleans()), min_size=1, max_size=60
)


@given(pixels)
def test_the_pixel_curve_counts_pairs(values: list[tuple[float, bool]]) -> None:
    curve = PixelCurve()
    curve.add(np.array([[value for value, _ in values]], np.float32), np.array([[is_bad for _, is_bad in values]]))
    good, bad = ([value for value, is_bad in values if is_bad is side] for side in (False, True))
    if not good or not bad:
        assert curve.area() is None and curve.au_pro() is None
    else:
        pairs = [(b > g) + 0.5 * (b == g) for g in good for b in bad]
        assert curve.area() == pytest.approx(sum(pairs) / len(pairs))


def test_a_small_place_counts_like_a_large_one() -> None:
    deviation, mask = np.ones((10, 10), np.float32), np.zeros((10, 10), np.bool_)
    mask[:3, :3] = mask[8, 8] = True
    deviation[:3, :3], deviation[8, 8] = 2, 0
    curve = PixelCurve()
    curve.add(deviation, mask)
    # Nine of ten bad pixels lie above every good one, but only one of two places does.
    assert (curve.area(), curve.au_pro()) == (pytest.approx(0.9), pytest.approx(0.5))


def test_the_overlap_counts_up_to_a_limit() -> None:
    # The place is found once a fifth of the good pixels are called bad: (0.3 - 0.2) / 0.3, and half of the ramp to it.
    deviation, mask = np.zeros((1, 11), np.float32), np.zeros((1, 11), np.bool_)
    mask[0, 0] = True
    deviation[0, :3] = 1, 2, 2
    curve = PixelCurve()
    curve.add(deviation, mask)
    assert curve.au_pro() == pytest.approx(1 / 3, abs=1e-6)


@pytest.mark.slow
def test_cookies_are_told_apart(tmp_path: Path) -> None:
    folder = needs_data("cookies")
    station = lid.station(tmp_path, '[[regions]]\nname = "part"\n')
    teach(station, lid.PRODUCT, folder / "train" / "good", lid.quiet)
    found = evaluate(Inspector.load(station, lid.PRODUCT), "main", samples(folder), lambda done, total: None)
    figures = report(found)
    assert figures.auroc >= 0.99
    assert figures.escape_rate <= 0.05
    assert figures.false_call_rate <= 0.15
