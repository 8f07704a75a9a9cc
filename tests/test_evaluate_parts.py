"""Evaluating parts that several cameras see, in the light of orders: what the station would answer, part by part."""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge import judge
from edge.commands import learn as learn_command
from edge.config import Station
from edge.errors import GoldlineError
from edge.evaluate import evaluate_parts
from edge.expected import read_orders, with_orders
from edge.inspector import Inspector
from edge.labelled import parts, samples
from edge.teach import teach
from tests import lid
from tests.evaluating import run, told

# The top is the lid; the side is another drawing, on which a mark says which variant it is.
TWO = """
[[regions]]
name = "lid"
camera = "top"
template = false
anomaly = { working_px = 128 }
[[regions]]
name = "rim"
camera = "side"
template = false
anomaly = { working_px = 128, bank = "positional" }
variant = {}
"""
MARKS = {"oak": (20, 120, 10), "walnut": (240, 240, 240)}


def side(lids: lid.Lids, variant: str) -> lid.Image:
    image = lids.good()
    cv2.rectangle(image, (30, 30), (110, 150), MARKS[variant], -1)
    return image


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    directory = tmp_path_factory.mktemp("station")
    made = lid.station(directory, TWO)
    lids = lid.Lids(11)
    lid.goods(directory / "good" / "top", 12)
    for variant in MARKS:
        images = {f"{index}.png": side(lids, variant) for index in range(6)}
        lid.write(directory / "good" / "side" / variant, images)
    teach(made, lid.PRODUCT, directory / "good", lid.quiet)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Good parts a (oak) and b (walnut); of the bad ones, one has something foreign on its lid, one is good."""
    lids = lid.Lids(50)
    for label, names in {"good": "ab", "foreign": "bc"}.items():
        folder = tmp_path / "test" / label
        lid.write(folder / "top", {f"{name}.png": lids.moved(0, 0) for name in names})
        lid.write(folder / "side", {f"{name}.png": side(lids, "oak" if name == "a" else "walnut") for name in names})
    lid.write(tmp_path / "test" / "foreign" / "top", {"c.png": lids.bad()})
    return tmp_path


def rejected(figures: dict[str, Any], label: str) -> int:
    return sum(count for call, count in figures["calls"][label].items() if call != "PASS")


def test_a_part_fails_by_any_view_and_each_view_is_told_by_itself(
    station: Station, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = data / "page.html"
    figures = told(station, data, capsys, "--report", str(page))
    assert (figures["n_good"], figures["n_bad"], figures["camera"], figures["limits"]) == (2, 2, None, None)
    assert figures["escapes"] == ["test/foreign/b"]
    top, rim = figures["views"]["top"], figures["views"]["side"]
    assert top["escapes"] == ["test/foreign/top/b.png"]
    # The foreign body lies on the lid: seen from the side, nothing is wrong.
    assert set(rim["escapes"]) == {"test/foreign/side/b.png", "test/foreign/side/c.png"}
    assert rejected(figures, "good") >= max(rejected(top, "good"), rejected(rim, "good"))
    assert figures["checks"] == ["rim.anomaly", "rim.variant", "lid.anomaly"]
    document = page.read_text(encoding="utf-8")
    assert "By view" in document and "union bound" in document
    assert "test/foreign/b: PASS" in document and "View top. " in document and "View side. " in document
    assert run(station, data) == 0
    assert "union bound" in " ".join(capsys.readouterr().out.split())


def test_what_is_promised_of_parts_is_the_sum_over_views(
    station: Station, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = told(station, data, capsys)
    rates = [Inspector.load(station, lid.PRODUCT).calibration_of(role).rate for role in ("top", "side")]
    assert [figures["views"][role]["promised_false_call_rate"] for role in ("top", "side")] == rates
    assert None not in rates
    assert figures["promised_false_call_rate"] == pytest.approx(sum(rate or 0 for rate in rates))


def test_a_part_without_one_of_its_pictures_is_not_judged_unless_another_fails(
    station: Station, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "test" / "good" / "side" / "a.png").unlink()
    (data / "test" / "foreign" / "side" / "c.png").unlink()
    figures = told(station, data, capsys)
    assert list(figures["errors"]) == ["test/good/a"]
    assert figures["errors"]["test/good/a"] == "missing_view: side: no picture by camera role side"
    assert figures["calls"]["foreign"]["ERROR"] == 0 and "test/foreign/c" not in figures["escapes"]
    assert list(figures["views"]["side"]["errors"]) == ["test/good/a (side)", "test/foreign/c (side)"]
    assert figures["views"]["top"]["errors"] == {}


def test_a_view_answers_the_order_for_the_part(
    station: Station, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = told(station, data, capsys, "--expect", "variant=oak", "--orders", str(orders(data)))
    assert right["calls"]["good"]["ERROR"] == 0 and "test/good/b" not in right["false_calls"]
    wrong = told(station, data, capsys, "--expect", "variant=oak")
    assert wrong["calls"]["good"]["FAIL"] == right["calls"]["good"]["FAIL"] + 1
    assert "test/good/b" in wrong["false_calls"]
    assert "test/good/top/b.png" not in wrong["views"]["top"]["false_calls"]
    # What no view answers is no PASS.
    unanswered = told(station, data, capsys, "--expect", "variant=walnut", "--expect", "code=4711")
    assert "code=4711" in unanswered["errors"]["test/good/b"] and unanswered["escapes"] == []


def orders(data: Path) -> Path:
    path = data / "orders.csv"
    path.write_text("\ufeff# name;key;value\ngood/b;variant;walnut;;\n\nc;variant;walnut\n", encoding="utf-8")
    return path


def test_the_page_says_what_was_ordered_and_found(
    station: Station, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = data / "page.html"
    told(station, data, capsys, "--expect", "variant=oak", "--report", str(page))
    document = page.read_text(encoding="utf-8")
    assert "Ordered: variant = oak." in document
    assert "found walnut, expected oak" in document and "Shown: side." in document


def test_one_role_is_judged_alone_from_the_same_folders(
    station: Station, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = told(station, data, capsys)["views"]["top"]
    alone = told(station, data, capsys, "--camera", "top")
    assert (alone["camera"], alone["views"]) == ("top", {})
    assert {key: alone[key] for key in ("auroc", "calls", "escapes", "limits")} == {
        key: both[key] for key in ("auroc", "calls", "escapes", "limits")
    }


def test_the_part_is_what_the_views_fold_to(station: Station, data: Path) -> None:
    found = evaluate_parts(
        Inspector.load(station, lid.PRODUCT), parts(data, ("side", "top")), lambda _done, _total: None
    )
    for one in found.judged:
        folded = judge.fold([view.verdict for view in one.views.values()])
        assert (one.verdict.outcome, one.verdict.review, one.score) == (folded.outcome, folded.review, folded.score)
        assert sum(one.stages_ms) == pytest.approx(sum(sum(view.stages_ms) for view in one.views.values()))


def test_folders_that_are_not_sorted_by_role_are_refused(station: Station, data: Path) -> None:
    other = data / "test" / "good" / "top" / "a.bmp"
    assert cv2.imwrite(str(other), lid.Lids(1).good())
    with pytest.raises(GoldlineError, match=r"a\.(bmp|png): another picture of this folder has the same stem"):
        run(station, data)
    other.unlink()
    (data / "test" / "foreign" / "side").rename(data / "test" / "foreign" / "rear")
    with pytest.raises(
        GoldlineError, match=r"foreign/side: not a folder; expected one for each camera role, side, top"
    ):
        run(station, data)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("d,variant,oak", r"line 1: no image is called 'd'"),
        ("c,variant,oak\nb,variant,oak", r"line 2: 2 images are called 'b'"),
        ("c,variant", "line 1: expected NAME,KEY,VALUE"),
        ("c", "line 1: expected NAME,KEY,VALUE"),
        ("c,variant,oak,variant,walnut", "line 1: .* each key once"),
        (",variant,oak", "line 1: expected NAME"),
    ],
)
def test_orders_that_fit_no_image_are_refused(data: Path, text: str, line: str) -> None:
    path = data / "orders.csv"
    path.write_text(text)
    with pytest.raises(GoldlineError, match=line):
        with_orders(parts(data, ("side", "top")), {}, path)


def test_orders_come_as_spreadsheets_write_them(data: Path) -> None:
    assert [(row.line, row.name, row.expect) for row in read_orders(orders(data))] == [
        (2, "good/b", {"variant": "walnut"}),
        (4, "c", {"variant": "walnut"}),
    ]
    with pytest.raises(GoldlineError, match=r"nowhere\.csv"):
        read_orders(data / "nowhere.csv")
    (data / "latin.csv").write_bytes("c,variant,nußbaum".encode("latin-1"))
    with pytest.raises(GoldlineError, match=r"latin\.csv: no table in UTF-8"):
        read_orders(data / "latin.csv")


def test_an_order_for_one_counts_before_the_one_for_all(data: Path) -> None:
    path = data / "orders.csv"
    path.write_text("good/a,variant,walnut,code,1\ngood/a,lot,7\n")
    found = with_orders(samples(data, "top"), {"variant": "oak"}, path)
    assert [one.expect for one in found if one.label == "good"] == [
        {"variant": "walnut", "code": "1", "lot": "7"},
        {"variant": "oak"},
    ]


def learn(station: Station, *words: str) -> int:
    parser = argparse.ArgumentParser()
    learn_command.add_arguments(parser)
    arguments = parser.parse_args([lid.PRODUCT, "--camera", "side", "--json", *words])
    arguments.config = station.state_dir.parent / "config.toml"
    return learn_command.run(arguments)


def test_learning_asks_for_the_variant_or_takes_the_folders_name(
    station: Station, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = side(lid.Lids(90), "oak")
    for folder in ("oak", "new", "walnut"):
        lid.write(tmp_path / folder, {"1.png": image})
    for files in (["new"], ["oak", "walnut"]):
        with pytest.raises(GoldlineError, match=r"which variant .*--variant oak or --variant walnut"):
            learn(station, "--good", *(str(tmp_path / folder / "1.png") for folder in files))
    assert learn(station, "--good", str(tmp_path / "oak" / "1.png"), "--uncounted") == 0
    assert json.loads(capsys.readouterr().out)["references"] == 13
    assert Inspector.load(station, lid.PRODUCT).references.view("side").variants[-1] == "oak"
