"""Products as bundles, put in force on a station's disk: the old one or the new one, whatever comes and whoever dies."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.config import load_station
from edge.errors import GoldlineError
from tests.needs import needs_module
from tests.stations import CAMERA

needs_module("cryptography", "fleet")
needs_module("nats", "fleet")

from edge.fleet import plan  # noqa: E402
from edge.fleet.arrival import Arrivals, LocalError  # noqa: E402
from edge.fleet.buckets import HubError  # noqa: E402
from edge.fleet.bundle import BundleError  # noqa: E402
from edge.fleet.judged_by import Silent  # noqa: E402
from edge.fleet.kept import Kept  # noqa: E402
from edge.fleet.plan import Wanted, WantedProduct  # noqa: E402
from edge.fleet.station import RolloutStation  # noqa: E402
from edge.fleet.tally import Tally  # noqa: E402
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


class HalfAway:
    """A hub that is lost in the middle of every bundle."""

    def __init__(self, document):
        self._document = document

    async def wanted(self):
        return self._document

    async def acknowledge(self, said):
        pass

    async def size(self, name):
        return 1 << 20

    async def fetch(self, name, target):
        target.write(bytes(1 << 19))
        raise HubError("the hub does not answer")


def test_no_part_of_a_bundle_takes_the_room_that_the_next_attempt_needs(made, target):
    (_, signer, first, _), (station, kept) = made, target
    kept.path(first.archive_sha256).unlink()
    wanted = Wanted(station="s1", serial=1, products={PRODUCT: WantedProduct(bundle=first.archive_sha256)})
    hub = HalfAway(signer.sign("wanted", plan.encode(wanted)))
    rollouts = RolloutStation(station, hub, Silent(), Tally(station.state_dir / "outbox.sqlite3"))
    said = asyncio.run(rollouts.turn())
    assert said.products[PRODUCT].problem == "the hub does not answer"
    assert not (kept.folder / "fetched").exists()


def test_what_an_attempt_has_unpacked_goes_before_room_is_looked_for(made, target, monkeypatch):
    (_, _, first, _), (station, kept) = made, target
    half = kept.staging / "half"
    half.write_bytes(b"of an attempt that the disk was too small for")

    def free(self, needed, folder):
        assert not half.exists()

    monkeypatch.setattr(Kept, "require", free)
    assert put(station, kept, first.archive_sha256).active.pair == pair_of(first)
