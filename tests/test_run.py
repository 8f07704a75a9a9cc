"""`goldline run` refuses what cannot work before it starts anything."""

import argparse
import fcntl
from pathlib import Path

import pytest

from edge.commands import run
from edge.errors import GoldlineError
from edge.running import is_station_running

pytestmark = pytest.mark.usefixtures("restored_logging")

STATION = 'product = "trunk"\n[cameras.left]\nsource = "simulated"\n'


def refusal(folder: Path, text: str, recipe: str | None = "") -> str:
    """What `goldline run` says about a station of this configuration."""
    (folder / "config.toml").write_text(text)
    if recipe is not None:
        (folder / "pipelines" / "trunk").mkdir(parents=True)
        (folder / "pipelines" / "trunk" / "recipe.toml").write_text(recipe)
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    run.add_arguments(parser)
    with pytest.raises(GoldlineError) as caught:
        run.run(parser.parse_args(["--config", str(folder / "config.toml"), "--for", "0.1"]))
    return str(caught.value)


def test_a_station_needs_a_camera_and_a_product(tmp_path):
    assert "[cameras]: this station has no camera" in refusal(tmp_path, 'product = "trunk"\n')
    assert "product: name the product" in refusal(tmp_path, STATION.replace('product = "trunk"\n', ""), None)


def test_a_product_needs_a_recipe(tmp_path):
    assert "product trunk: no recipe at" in refusal(tmp_path, STATION, None)


def test_a_camera_that_no_region_looks_at_is_refused(tmp_path):
    said = refusal(tmp_path, STATION + 'role = "top"\n')
    assert 'camera = "main": no camera has this role' in said
    assert '[cameras.left] role = "top": no region of' in said


def test_a_runtime_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "state").write_text("")
    said = refusal(tmp_path, STATION)
    assert said == f"{tmp_path}/state/run: the runtime directory cannot be written: Not a directory"


def test_a_second_station_on_one_runtime_directory_is_refused(tmp_path):
    with run.only_one(tmp_path / "state" / "run"):
        assert refusal(tmp_path, STATION).endswith("another goldline run uses this runtime directory")


def test_a_look_whether_a_station_runs_does_not_refuse_one_that_starts(tmp_path, monkeypatch):
    with run.only_one(tmp_path):
        pass
    with open(tmp_path / "lock", "rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        # The look is over before it is tried again.
        monkeypatch.setattr(run.time, "sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
        with run.only_one(tmp_path):
            assert is_station_running(tmp_path) is True
