"""A reference set that was taught by another recipe than there is now: it is judged by its own."""

import argparse
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.__main__ import main
from edge.commands import evaluate as command
from edge.config import Station
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.recipe import Recipe, load_recipe
from edge.references import Store, taught_by
from edge.taught import as_taught, differences
from edge.teach import teach
from tests import lid

NOW = """
[[regions]]
name = "part"
template = false
anomaly = { working_px = 96 }
[[regions]]
name = "corner"
box = [0, 0, 96, 96]
template = false
anomaly = { working_px = 96 }
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Station, str, dict[str, Any]]:
    """A station, the first of its two sets, and the figures of that one while its recipe was in force."""
    directory = tmp_path_factory.mktemp("station")
    station = lid.station(directory)
    good = lid.goods(directory / "good", 8)
    identity = teach(station, lid.PRODUCT, good, lid.quiet).reference_set
    lids = lid.Lids(40)
    lid.write(directory / "test" / "good", {f"{index}.png": lids.good() for index in range(3)})
    lid.write(directory / "test" / "foreign", {f"{index}.png": lids.bad() for index in range(2)})
    figures = json.loads(printed(station))
    recipe(station).write_text(NOW)
    teach(station, lid.PRODUCT, good, lid.quiet)
    return station, identity, figures


def printed(station: Station, *words: str) -> str:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args([lid.PRODUCT, "--data", str(station.state_dir.parent), "--json", *words])
    arguments.config = station.state_dir.parent / "config.toml"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert command.run(arguments) == 0
    return out.getvalue()


def recipe(station: Station) -> Path:
    return station.pipelines_dir / lid.PRODUCT / "recipe.toml"


def test_each_set_is_judged_by_the_recipe_that_taught_it(
    first: tuple[Station, str, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    station, identity, before = first
    page = tmp_path / "page.html"
    told = json.loads(printed(station, "--against", identity[:5], "--report", str(page)))
    against = told["against"]
    same = ("reference_set", "auroc", "calls", "limits", "checks", "recipe_sha256", "false_calls", "escapes")
    assert {key: against[key] for key in same} == {key: before[key] for key in same}
    assert told["recipe_sha256"] != against["recipe_sha256"]
    assert (told["checks"], against["checks"]) == (["part.anomaly", "corner.anomaly"], before["checks"])
    found = {one["key"]: (one["this"], one["against"]) for one in against["differences"]}
    assert found["regions.part.anomaly.working_px"] == (96, 128)
    assert found["regions.part.template"][0] is None and found["regions.corner"][1] is None
    assert "another regions.part.anomaly.working_px, regions.part.template, regions.corner" in capsys.readouterr().err
    document = page.read_text(encoding="utf-8")
    assert "They were taught by different recipes" in document and "regions.part.anomaly.working_px" in document
    assert "Checks of this set alone: corner.anomaly" in document


def test_the_limits_are_those_in_force(first: tuple[Station, str, dict[str, Any]]) -> None:
    station, identity, before = first
    recipe(station).write_text(NOW + "[limits]\nreview = 1e6\nfail = 2e6\n")
    told = json.loads(printed(station, "--against", identity))
    recipe(station).write_text(NOW)
    for one in (told, told["against"]):
        assert one["limits"] == {"review": 1e6, "fail": 2e6}
        assert (one["escape_rate"], one["promised_false_call_rate"]) == (1.0, None)
    assert before["escape_rate"] < 1


def test_what_is_not_taught_is_taken_from_the_recipe_there_is(tmp_path: Path) -> None:
    station = lid.station(tmp_path)
    region = '[[regions]]\nname = "part"\ntemplate = false\nanomaly = { working_px = 128 }\n'
    position = "position = { tolerance_px = %s, search = %s }\n"
    recipe(station).write_text(region + position % (3, 0.1))
    taught = teach(station, lid.PRODUCT, lid.goods(tmp_path / "good", 4), lid.quiet)
    code = 'code = { expect = "4711" }\n[views.main]\nmm_per_px = 0.5\n'
    recipe(station).write_text(region.replace("128", "96") + position % (7, 0.2) + code)
    now, found = load_recipe(station, lid.PRODUCT), Store(station.state_dir, lid.PRODUCT).load(taught.reference_set)
    made = as_taught(now, found)
    (one,) = made.recipe.regions
    assert one.position is not None and (one.position.tolerance_px, one.position.search) == (7, 0.1)
    assert one.code is not None and one.code.expect == "4711"
    assert one.anomaly is not None and one.anomaly.working_px == 128
    assert (made.recipe.mm_per_px("main"), made.sha256) == (0.5, found.manifest.recipe_sha256)
    assert not differences(taught_by(made.recipe), found.manifest.taught)
    keys = [one.key for one in differences(taught_by(now.recipe), found.manifest.taught)]
    assert keys == ["regions.part.anomaly.working_px", "regions.part.position.search"]
    Inspector.load(station, lid.PRODUCT, recipe=made)


def test_what_an_earlier_program_did_not_know_is_no_difference() -> None:
    earlier = {"registration": {}, "regions": [{"name": "part", "camera": "main", "anomaly": {"working_px": 96}}]}
    scaled = {**earlier, "views": {"main": {"registration": None}}}
    now = taught_by(Recipe.model_validate(earlier))
    assert differences(now, earlier) == () == differences(scaled, now)
    finer = {**earlier, "regions": [{"name": "part", "anomaly": {"working_px": 256}}]}
    assert [(one.key, one.this, one.against) for one in differences(finer, earlier)] == [
        ("regions.part.anomaly.working_px", 256, 96)
    ]


def test_a_region_of_which_nothing_is_taught_keeps_its_code_while_there_is_one(tmp_path: Path) -> None:
    label = '[[regions]]\nname = "label"\nanomaly = false\ntemplate = false\ncode = {}\n'
    station = lid.station(tmp_path, lid.RECIPE + label)
    teach(station, lid.PRODUCT, lid.goods(tmp_path / "good", 2), lid.quiet)
    found = Store(station.state_dir, lid.PRODUCT).load()
    recipe(station).write_text(lid.RECIPE.replace("128", "96") + label)
    now = load_recipe(station, lid.PRODUCT)
    assert as_taught(now, found).recipe.regions[1].code is not None
    keys = [one.key for one in differences(found.manifest.taught, taught_by(now.recipe))]
    assert keys == ["regions.part.anomaly.working_px"]
    recipe(station).write_text(lid.RECIPE)
    with pytest.raises(GoldlineError, match=r"regions\.1: .*has no check: everything in it would pass; teach again"):
        as_taught(load_recipe(station, lid.PRODUCT), found)


def test_a_recipe_in_force_is_the_present_one(first: tuple[Station, str, dict[str, Any]]) -> None:
    station, _, _ = first
    recipe(station).write_text("# a word more\n" + NOW)
    now = load_recipe(station, lid.PRODUCT)
    assert as_taught(now, Store(station.state_dir, lid.PRODUCT).load()) is now
    recipe(station).write_text(NOW)


def test_a_set_that_cannot_be_run_is_refused_in_one_line(
    first: tuple[Station, str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    station, identity, _ = first
    directory = station.state_dir.parent

    def refusal(product: str, against: str) -> str:
        words = ["evaluate", product, "--config", str(directory / "config.toml"), "--data", str(directory)]
        monkeypatch.setattr("sys.argv", ["goldline", *words, "--against", against])
        assert main() == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    teach(station, "other", lid.goods(directory / "others", 2), lid.quiet)
    assert f"{identity} is one of product {lid.PRODUCT}, not of other" in refusal("other", identity)
    assert "0 reference sets start with 'xyz'" in refusal("other", "xyz")
    store = Store(station.state_dir, "other")
    taken = Store(station.state_dir, lid.PRODUCT).load(identity)
    (store.root / identity).symlink_to(taken.directory)
    assert f"taught for product {lid.PRODUCT}, not for other" in refusal("other", identity)


def test_a_recipe_of_another_program_is_refused(first: tuple[Station, str, dict[str, Any]]) -> None:
    station, identity, _ = first
    found = Store(station.state_dir, lid.PRODUCT).load(identity)
    strange = {**found.manifest.taught, "regions": [{"name": "part", "camera": "main", "unheard_of": 3}]}
    other = msgspec.structs.replace(found.manifest, taught=strange)
    with pytest.raises(GoldlineError, match=r"does not hold any more: regions\.0\.unheard_of: .*; teach again"):
        as_taught(load_recipe(station, lid.PRODUCT), type(found)(found.id, found.directory, other))
