"""`goldline check`: everything examined, nothing touched, the answer in the exit code."""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from edge.commands import check
from edge.errors import GoldlineError
from edge.teach import teach
from tests import lid
from tests.small_backbone import DECLARATION, small_model
from tests.test_checks import own_model

STATION = 'product = "trunk"\n[cameras.left]\nsource = "simulated"\n'


@pytest.fixture
def config(tmp_path) -> Path:
    """A station with one product, right in everything."""
    (tmp_path / "config.toml").write_text(STATION)
    recipe(tmp_path, "trunk", "")
    return tmp_path / "config.toml"


def recipe(folder: Path, product: str, text: str) -> None:
    path = folder / "pipelines" / product / "recipe.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def answer(capsys: pytest.CaptureFixture[str], config: Path, *words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    check.add_arguments(parser)
    code = check.run(parser.parse_args(["--config", str(config), *words]))
    return code, capsys.readouterr().out


def test_a_right_station_is_answered_with_0_and_what_was_looked_at(config, capsys):
    code, text = answer(capsys, config)
    assert code == 0
    assert "ok   station station: 1 camera(s)" in text
    assert "trunk/recipe.toml: 1 region(s)" in text
    assert "note trunk: not taught yet: goldline teach trunk --good DIR" in text


def test_nothing_is_written(config, capsys):
    before = sorted(config.parent.rglob("*"))
    answer(capsys, config)
    assert sorted(config.parent.rglob("*")) == before


def test_a_wrong_station_is_answered_with_1_and_every_line(config, capsys):
    config.write_text(STATION + "slots = 1\nslotz = 2\n")
    code, text = answer(capsys, config)
    assert code == 1
    assert text.count("NO ") == 2


def test_every_recipe_is_looked_at_unless_one_is_named(config, capsys):
    recipe(config.parent, "other", "wrong = 1")
    code, text = answer(capsys, config)
    assert code == 1
    assert "other/recipe.toml: wrong = 1: unknown key" in text
    assert "trunk/recipe.toml: 1 region(s)" in text
    assert answer(capsys, config, "trunk")[0] == 0
    assert answer(capsys, config, "other")[0] == 1


def test_the_stations_product_needs_a_recipe(config, capsys):
    config.write_text(STATION.replace("trunk", "boot"))
    code, text = answer(capsys, config)
    assert code == 1
    assert "NO   product boot: no recipe at " in text


def test_the_stations_cameras_and_its_products_regions_need_each_other(config, capsys):
    config.write_text(STATION + 'role = "top"\n')
    code, text = answer(capsys, config)
    assert code == 1
    assert 'camera = "main": no camera has this role' in text


def test_a_group_that_does_not_see_every_region_is_noted(config, capsys):
    camera = '[cameras.%s]\nsource = "simulated"\nrole = "%s"\ntrigger = {mode = "software"}\n'
    cameras = "".join(camera % (name, name) for name in ("top", "side", "back"))
    config.write_text('product = "trunk"\n' + cameras + '[groups.box]\ncameras = ["top", "side"]\n')
    regions = "".join(f'[[regions]]\nname = "{name}"\ncamera = "{name}"\n' for name in ("top", "side", "back"))
    path = config.parent / "pipelines" / "trunk" / "recipe.toml"
    path.write_text(regions)
    code, text = answer(capsys, config)
    assert code == 0
    assert "ok   station station: 3 camera(s), 1 group(s)" in text
    left_out = f"none of its cameras has role back, so its verdicts leave out those regions of {path}"
    assert f"note configuration: [groups.box]: {left_out}" in text
    config.write_text(config.read_text().replace('"side"]', '"side", "back"]'))
    assert "[groups.box]" not in answer(capsys, config)[1]


def test_a_damaged_reference_set_is_a_problem(config, capsys):
    root = config.parent / "state" / "references" / "trunk"
    (root / "0123456789abcdef").mkdir(parents=True)
    (root / "0123456789abcdef" / "manifest.json").write_text("{}")
    (root / "active").symlink_to("0123456789abcdef")
    code, text = answer(capsys, config)
    assert code == 1
    assert "0123456789abcdef/manifest.json" in text


def test_json_says_the_same(config, capsys):
    code, text = answer(capsys, config, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["ok"] is True
    assert len(found["checked"]) == 2
    recipe(config.parent, "other", "wrong = 1")
    found = json.loads(answer(capsys, config, "--json")[1])
    assert found["ok"] is False
    assert len(found["problems"]) == 1


def test_a_file_that_is_not_there_cannot_be_checked(tmp_path, capsys):
    with pytest.raises(GoldlineError, match="no such file"):
        answer(capsys, tmp_path / "config.toml")


def test_the_command_line_exits_with_2_and_one_line_then(tmp_path):
    command = [sys.executable, "-m", "edge", "check", "--config", str(tmp_path / "no.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"goldline: {tmp_path}/no.toml: no such file\n"


def test_a_station_that_cannot_run_yet_is_noted(config, capsys):
    config.write_text('product = "trunk"\n')
    code, text = answer(capsys, config)
    assert code == 0
    assert "note station station: goldline run needs a product and a camera" in text


def test_the_backbone_is_looked_at(config, capsys):
    config.write_text(STATION + '[inference]\nbackbone = "other.onnx"\n')
    code, text = answer(capsys, config)
    assert code == 1
    assert f"NO   {config.parent}/other.onnx: this backbone cannot be read" in text
    onnx.save(small_model(declaration=DECLARATION), config.parent / "other.onnx")
    code, text = answer(capsys, config)
    assert code == 0
    assert "2 feature map(s)" in text


OWN = """
[[regions]]
name = "tray"
[regions.model]
file = "own.onnx"
labels = "own.txt"
output = "classes"
expect = { dark = 1 }
"""


def test_a_model_of_your_own_is_looked_at(config, capsys):
    folder = config.parent / "pipelines" / "trunk"
    (folder / "recipe.toml").write_text(OWN)
    (folder / "own.txt").write_text("dark\nbright\n")
    code, text = answer(capsys, config)
    assert code == 1
    assert f"NO   {folder}/own.onnx: this model cannot be read: No such file or directory" in text
    own_model(folder / "own.onnx")
    digest = hashlib.sha256((folder / "own.onnx").read_bytes()).hexdigest()
    code, text = answer(capsys, config)
    assert code == 0
    assert f"ok   {folder}/own.onnx: 2 label(s), sha256 {digest[:16]}" in text
    (folder / "own.txt").write_text("dark\nbright\nred\n")
    code, text = answer(capsys, config)
    assert code == 1
    assert f"NO   {folder}/own.onnx: its output [1, 2] does not fit the labels: they make [1, 3]" in text


def test_a_box_that_is_large_for_a_code_is_noted(config, capsys):
    path = config.parent / "pipelines" / "trunk" / "recipe.toml"
    for box, is_large in (("[0, 0, 1200, 900]", True), ("[0, 0, 700, 700]", False)):
        path.write_text(f'[[regions]]\nname = "label"\nbox = {box}\n[regions.code]\n')
        code, text = answer(capsys, config)
        assert code == 0
        assert (f"note {path}: region label: code: its box of 1200 x 900 px is large" in text) == is_large
    path.write_text('[[regions]]\nname = "label"\nbox = [0, 0, 1200, 900]\n')
    assert "px is large" not in answer(capsys, config)[1]


def test_of_the_whole_picture_the_size_is_known_once_it_was_taught(tmp_path, capsys, monkeypatch):
    station = lid.station(tmp_path, '[[regions]]\nname = "label"\n[regions.code]\n')
    config = tmp_path / "config.toml"
    monkeypatch.setattr("edge.checks.code.MOST_BUSY_PX", 100 * 100)
    assert "px is large" not in answer(capsys, config)[1]
    teach(station, lid.PRODUCT, lid.goods(tmp_path / "good", 2), lid.quiet)
    said = "its box of 256 x 192 px is large: beyond some 100 x 100 px"
    assert f"region label: code: {said}" in answer(capsys, config)[1]


def test_a_recipe_changed_since_teaching_is_a_problem(tmp_path, capsys):
    station = lid.station(tmp_path)
    teach(station, lid.PRODUCT, lid.goods(tmp_path / "good", 2), lid.quiet)
    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "{station.state_dir}"\npipelines_dir = "{station.pipelines_dir}"\n')
    assert answer(capsys, config)[0] == 0
    (station.pipelines_dir / lid.PRODUCT / "recipe.toml").write_text(lid.RECIPE.replace("128", "160"))
    code, text = answer(capsys, config)
    assert code == 1
    assert "regions changed since the reference set was taught: goldline teach lid --good DIR" in text


def test_a_state_directory_that_is_none_is_a_problem(config, capsys):
    (config.parent / "state").write_text("")
    code, text = answer(capsys, config)
    assert code == 1
    assert "state/references/trunk/active: cannot be read: Not a directory" in text
