"""One product seen by two cameras, and good images that come in lots."""

from pathlib import Path

import numpy as np
import pytest

from edge.config import Station
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.records import Outcome, Reason
from edge.references import Store
from edge.teach import Taught, teach
from tests import lid
from tests.drawn import Scene

TWO = """
[[regions]]
name = "lid"
camera = "top"
[regions.anomaly]
working_px = 128
[[regions]]
name = "rim"
camera = "side"
template = false
[regions.anomaly]
working_px = 96
bank = "positional"
"""
SIDE = Scene(11, (192, 192))


def side(random: np.random.Generator) -> lid.Image:
    return SIDE.view(brightness=float(random.uniform(0.97, 1.03)))


def photographs(directory: Path, count: int) -> Path:
    random = np.random.default_rng(3)
    lid.goods(directory / "top", count)
    lid.write(directory / "side", {f"{index}.png": side(random) for index in range(count)})
    return directory


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return lid.station(tmp_path_factory.mktemp("station"), TWO)


@pytest.fixture(scope="module")
def taught(station: Station, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    return teach(station, lid.PRODUCT, photographs(tmp_path_factory.mktemp("good"), 8), lid.quiet)


def test_each_camera_role_has_a_view_and_the_part_the_sum_of_their_rates(station: Station, taught: Taught) -> None:
    assert [view.manifest.camera for view in taught.views] == ["side", "top"]
    assert taught.references == 16
    assert taught.rate == pytest.approx(2 / 9)
    assert set(taught.to_json()["views"]) == {"side", "top"}
    found = Store(station.state_dir, lid.PRODUCT).load()
    assert found.view("top").image_size == lid.SIZE and found.view("side").image_size == (192, 192)
    with pytest.raises(GoldlineError, match="nothing was taught of camera role back"):
        found.view("back")


def test_a_batch_of_both_views_is_judged_each_by_its_own(station: Station, taught: Taught) -> None:
    inspector = Inspector.load(station, lid.PRODUCT)
    lids = lid.Lids(77)
    wrong = side(np.random.default_rng(5))
    wrong[60:100, 60:100] = 255
    batch = [
        inspector.prepare(lids.good(), "top"),
        inspector.prepare(wrong, "side"),
        inspector.prepare(lids.bad(), "top"),
    ]
    verdicts = [inspector.judge(one, scores, {}) for one, scores in zip(batch, inspector.score(batch), strict=True)]
    assert [set(verdict.checks) for verdict in verdicts] == [{"lid.anomaly"}, {"rim.anomaly"}, {"lid.anomaly"}] or (
        "lid.template" in verdicts[0].checks
    )
    assert [verdict.outcome for verdict in verdicts[1:]] == [Outcome.FAIL, Outcome.FAIL]
    assert verdicts[0].score is not None and verdicts[2].score is not None
    assert verdicts[0].score < verdicts[2].score


def test_an_unknown_or_unnamed_role_is_refused(station: Station, taught: Taught) -> None:
    inspector = Inspector.load(station, lid.PRODUCT)
    refused = inspector.prepare(lid.Lids(1).good(), "back")
    assert inspector.judge(refused, inspector.score([refused])[0], {}).reason is Reason.CANNOT_JUDGE
    with pytest.raises(GoldlineError, match="name the camera role: side, top"):
        inspector.role(None)
    with pytest.raises(GoldlineError, match="no region looks at camera role 'back'"):
        inspector.role("back")


def test_a_role_without_photographs_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    station = lid.station(tmp_path, TWO)
    lid.goods(tmp_path / "good" / "top", 3)
    with pytest.raises(GoldlineError, match=r"good/side: not a folder; expected one folder for each camera role"):
        teach(station, lid.PRODUCT, tmp_path / "good", lid.quiet)
    assert Store(station.state_dir, lid.PRODUCT).active() is None


def test_images_of_one_lot_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    """Two lots with a mark of their own: judged by its own lot each part is usual, by the other lot none is."""
    random = np.random.default_rng(9)
    for lot, (x, y) in (("monday", (40, 40)), ("tuesday", (120, 130))):
        images = {f"{index}.png": side(random) for index in range(5)}
        for image in images.values():
            image[y : y + 24, x : x + 24] = (30, 200, 220)
        lid.write(tmp_path / "good" / lot, images)
    recipe = '[[regions]]\nname = "rim"\ntemplate = false\nanomaly = { working_px = 96, bank = "positional" }\n'
    by_lot = teach(lid.station(tmp_path / "a", recipe), lid.PRODUCT, tmp_path / "good", lid.quiet).views[0]
    assert any("2 lots (monday, tuesday)" in reason for reason in by_lot.reasons)
    assert by_lot.manifest.lots == ("monday",) * 5 + ("tuesday",) * 5
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (tmp_path / "good").glob("*/*.png"):
        (flat / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    alone = teach(lid.station(tmp_path / "b", recipe), lid.PRODUCT, flat, lid.quiet).views[0]
    name = "rim.anomaly"
    assert by_lot.manifest.calibration.scales[name].median > 3 * alone.manifest.calibration.scales[name].median
