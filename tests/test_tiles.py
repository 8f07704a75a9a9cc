"""Regions in tiles: each with its own bank, all saying one thing, and taken by teach only where they help."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge import tiling
from edge.check_recipes import AnomalyCheck
from edge.config import Station
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.judge import CheckScale
from edge.learn import learn
from edge.learner import Plan
from edge.manifest import Manifest
from edge.recipe import RegionRecipe
from edge.records import Outcome, Verdict
from edge.references import Store
from edge.teach import Taught, teach
from edge.tiles import ONE, Scales, Tiles, unseen
from edge.tiling import Room
from edge.trial import Trial
from tests import lid

COUNT = 10
RECIPE = (
    '[[regions]]\nname = "part"\ntemplate = false\nanomaly = {{ working_px = 64, bank = "{bank}", tiles = {tiles} }}\n'
)


def recipe(tiles: str, bank: str = "positional") -> str:
    return RECIPE.format(tiles=tiles, bank=bank)


def taught(directory: Path, text: str, count: int = COUNT) -> tuple[Station, Taught]:
    station = lid.station(directory, text)
    return station, teach(station, lid.PRODUCT, lid.goods(directory / "good", count), lid.quiet)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return taught(tmp_path_factory.mktemp("whole"), recipe("[1, 1]"))[0]


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return taught(tmp_path_factory.mktemp("tiled"), recipe("[2, 2]"))[0]


def judged(station: Station, image: lid.Image) -> Verdict:
    inspector = Inspector.load(station, lid.PRODUCT)
    prepared = inspector.prepare(image)
    return inspector.judge(prepared, inspector.score([prepared])[0], {})


def specked(seed: int, at: tuple[int, int], radius: int = 3) -> lid.Image:
    """A lid with a speck of a few pixels."""
    image = lid.Lids(seed).good()
    cv2.circle(image, at, radius, (10, 10, 200), -1, cv2.LINE_AA)
    return image


class TestTiles:
    def test_slices_cover_a_cut_once_row_by_row(self):
        tiles = Tiles(3, 2)
        cut = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3).astype(np.uint8)
        parts = [tiles.slice(cut, number) for number in range(len(tiles))]
        rows = [np.concatenate(parts[start : start + 3], axis=2) for start in (0, 3)]
        assert np.array_equal(np.concatenate(rows, axis=1), cut)
        assert tiles.size(tiles.whole((5, 7))) == (5, 7)

    def test_maps_lie_as_the_slices_do(self):
        tiles = Tiles(3, 2)
        cells = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
        maps = [cells[:, row : row + 2, column : column + 2] for row in (0, 2) for column in (0, 2, 4)]
        assert np.array_equal(tiles.map(maps), cells)

    def test_looks_are_averaged_over_the_tiles_to_those_of_one(self):
        tiles, side = Tiles(3, 2), 4
        fine = np.random.default_rng(0).random((2, 5, 2 * side, 3 * side), np.float32)
        parts = [
            fine[:, :, row : row + side, column : column + side].reshape(2, -1)
            for row in (0, side)
            for column in (0, side, 2 * side)
        ]
        coarse = fine.reshape(2, 5, side, 2, side, 3).mean((3, 5)).reshape(2, -1)
        np.testing.assert_allclose(tiles.embedding(parts), coarse, rtol=1e-6)
        assert np.array_equal(ONE.embedding(parts[:1]), parts[0])

    def test_arrays_are_found_again_under_the_name_of_their_tile(self):
        tiles = Tiles(4, 3)
        stored = {}
        for number in range(len(tiles)):
            stored |= tiles.named({"bank/most": np.array(number)}, number)
        assert [int(tiles.arrays(stored, number)["bank/most"]) for number in range(12)] == list(range(12))


class TestScales:
    SCALES = Scales((CheckScale(median=1.0, spread=2.0), CheckScale(median=10.0, spread=1.0)))

    def test_the_worst_tile_by_its_own_scale_counts(self):
        assert self.SCALES.score([np.array([5.0, 1.0]), np.array([10.0, 13.0])]).tolist() == [2.0, 3.0]

    @pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
    def test_a_tile_without_a_score_leaves_the_region_none(self, broken):
        found = self.SCALES.score([np.array([1.0, broken]), np.array([10.0, 99.0])])
        assert found[0] == 0 and np.isnan(found[1])

    def test_they_are_stored_and_a_single_tile_has_none(self):
        assert Scales.from_arrays(self.SCALES.to_arrays()) == self.SCALES
        assert Scales.learned([np.arange(5.0)], 0.1).to_arrays() == {}
        score = np.array([np.float32(0.1)])
        assert Scales().score([score]) is score


def test_one_tile_gives_what_its_graph_gives_bit_for_bit(whole: Station) -> None:
    inspector = Inspector.load(whole, lid.PRODUCT)
    region = inspector.views["main"].regions[0]
    prepared = inspector.prepare(specked(20, (60, 60)))
    scores = inspector.score([prepared])[0]
    plain = region.session.run(prepared.regions["part"][None])
    assert scores.values["part.anomaly"] == float(plain["score"][0])
    assert np.array_equal(scores.maps["part.anomaly"], plain["map"][0])
    stored = inspector.references.arrays("main/part.npz")
    assert not [name for name in stored if name.startswith("tile")]


def test_a_set_of_before_there_were_tiles_is_judged_with(tmp_path: Path) -> None:
    station, _ = taught(tmp_path, recipe('"auto"'), 3)
    store, image = Store(station.state_dir, lid.PRODUCT), lid.Lids(20).good()
    found, before = store.load(), judged(station, image)
    document = json.loads(msgspec.json.encode(found.manifest))
    assert document["taught"]["regions"][0]["anomaly"].pop("tiles", None) is None
    del document["views"][0]["regions"][0]["tiles"]
    old = msgspec.json.decode(json.dumps(document), type=Manifest)
    assert old.views[0].regions[0].tiles == (1, 1)
    store.activate(store.save(old, {name: found.read(name) for name in found.manifest.files}))
    assert judged(station, image).score == before.score


@pytest.mark.parametrize("at", [(90, 60), (200, 150), (128, 60)], ids=["first tile", "last tile", "on a seam"])
def test_a_speck_that_one_tile_misses_is_found_where_it_is(whole: Station, tiled: Station, at: tuple[int, int]) -> None:
    image = specked(21, at)
    assert judged(whole, image).outcome is Outcome.PASS
    verdict = judged(tiled, image)
    assert verdict.outcome is Outcome.FAIL and set(verdict.checks) == {"part.anomaly"}
    boxes = [defect.bbox for defect in verdict.defects]
    assert any(x <= at[0] <= x + width and y <= at[1] <= y + height for x, y, width, height in boxes)


def test_good_lids_pass_in_tiles(tiled: Station) -> None:
    lids = lid.Lids(22)
    assert sum(judged(tiled, lids.good()).outcome is Outcome.PASS for _ in range(20)) >= 14


def test_batches_of_every_size_score_the_same(tiled: Station) -> None:
    inspector = Inspector.load(tiled, lid.PRODUCT)
    prepared = [inspector.prepare(specked(seed, (60, 60))) for seed in range(4)]
    alone = [inspector.score([one])[0] for one in prepared]
    for count in (2, 3, 4):
        for one, found in zip(alone, inspector.score(prepared[:count]), strict=False):
            np.testing.assert_allclose(found.values["part.anomaly"], one.values["part.anomaly"], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found.maps["part.anomaly"], one.maps["part.anomaly"], rtol=1e-3, atol=1e-3)
            assert found.closest == one.closest


def test_a_tile_that_is_not_finite_is_an_error(tiled: Station) -> None:
    inspector = Inspector.load(tiled, lid.PRODUCT)
    view = inspector.views["main"]
    prepared = view.prepare(lid.Lids(23).good())
    real = view.regions[0].session

    class Overflowing:
        def run(self, images, *, tensors, crowded):
            found = real.run(images, tensors=tensors, crowded=crowded)
            return found | ({"score": np.full(len(images), np.nan, np.float32)} if tensors == 2 else {})

    view.regions = (replace(view.regions[0], session=Overflowing()),)
    scores = view.score([prepared])[0]
    assert np.isnan(scores.values["part.anomaly"])
    assert view.judge(prepared, scores, {}).outcome is Outcome.ERROR


@pytest.mark.parametrize("bank", ["positional", "global"])
def test_what_was_learned_passes_in_tiles_and_can_be_undone(tmp_path: Path, bank: str) -> None:
    station, _ = taught(tmp_path, recipe("[2, 1]", bank))
    bad = specked(30, (60, 60), radius=12)
    before = judged(station, bad)
    assert before.outcome is Outcome.FAIL
    files = lid.write(tmp_path / "new", {"new.png": bad})
    lesson = learn(station, lid.PRODUCT, None, [files / "new.png"], [], counted=False)
    assert lesson.view.regions[0].tiles == (2, 1) and lesson.view.calibration.images == COUNT
    after = judged(station, bad)
    assert after.score < before.score and after.outcome is Outcome.PASS
    assert after.closest_reference == "new.png"
    assert judged(station, specked(31, (200, 100), radius=12)).outcome is Outcome.FAIL
    Store(station.state_dir, lid.PRODUCT).undo()
    assert judged(station, bad) == before


def test_a_single_golden_picture_is_enough_for_tiles(tmp_path: Path) -> None:
    station, _ = taught(tmp_path, recipe("[2, 2]"), 1)
    assert judged(station, lid.Lids(5).bad()).outcome is Outcome.FAIL


def test_what_is_taught_in_tiles_is_what_is_loaded(tiled: Station) -> None:
    inspector = Inspector.load(tiled, lid.PRODUCT)
    region = inspector.views["main"].manifest.regions[0]
    assert region.tiles == (2, 2) and region.size == (128, 128) and region.grid == (16, 16)
    prepared = inspector.prepare(lid.Lids(24).good())
    scores = inspector.score([prepared])[0]
    assert scores.maps["part.anomaly"].shape == region.grid
    assert len(inspector.views["main"].regions[0].scales.each) == 4


@pytest.mark.parametrize(
    ("tiles", "line"),
    [
        ("[0, 2]", "tiles #1 = 0: must be at least 1"),
        ("[9, 1]", "tiles #1 = 9: must be at most 8"),
        ("9", "tiles"),
        ("[2]", "tiles"),
    ],
)
def test_other_tiles_are_refused(tmp_path: Path, tiles: str, line: str) -> None:
    with pytest.raises(GoldlineError, match=line):
        taught(tmp_path, recipe(tiles), 2)


def size_of(tiles: Tiles) -> tuple[int, int]:
    return 256, 256


def region(name: str = "part", tiles: object = "auto") -> RegionRecipe:
    return RegionRecipe(name=name, anomaly=AnomalyCheck(tiles=tiles))


class TestRoom:
    def test_a_recipe_that_asks_for_more_than_memory_holds_is_told_what_to_change(self):
        with pytest.raises(GoldlineError, match=r"tiles of part: 1000 good images .* MiB in tiles, 320"):
            tiling.room([region(tiles=(2, 2))], [size_of], 1000)
        # One tile is what it always was.
        tiling.room([region(tiles=(1, 1))], [size_of], 1000)
        tiling.room([region(tiles=(2, 2))], [size_of], 300)

    @pytest.mark.parametrize(
        ("asked", "tiles"), [(["auto"], 4), (["auto"] * 2, 2), (["auto"] * 3, 1), ([(3, 1), "auto"], 1)]
    )
    def test_regions_share_the_graph_runs_that_a_line_waits_for(self, asked, tiles):
        assert tiling.room([region(tiles=one) for one in asked], [size_of] * len(asked), 10).tiles == tiles


@pytest.mark.parametrize(
    ("box", "room", "expected"),
    [
        ((512, 512), 4, (2, 2)),
        ((2048, 512), 4, (4, 1)),
        ((512, 2048), 4, (1, 4)),
        ((1024, 512), 2, (2, 1)),
        ((480, 480), 4, (1, 1)),  # two tiles a side would be blown up
        ((300, 300), 4, (1, 1)),  # no more detail
        ((2048, 2048), 1, (1, 1)),
    ],
)
def test_the_finest_grid_is_what_the_camera_sees_and_the_box_is_like(box, room, expected):
    found = tiling.finest((0, 0, *box), size_of, 10, Room(room, tiling.TILE_BYTES))
    assert (found.columns, found.rows) == expected


def test_fewer_tiles_are_looked_for_where_many_images_need_the_memory():
    assert len(tiling.finest((0, 0, 2048, 2048), size_of, 2000, Room(4, tiling.TILE_BYTES))) == 1


@pytest.mark.parametrize("images", [5, 12, 20])
def test_no_image_has_a_share_in_the_scales_that_it_is_judged_by(images):
    """Else, of few images in four tiles, twice as many new ones exceeded all of them as should."""
    above = []
    for seed in range(400):
        drawn = np.random.default_rng(seed).normal(10, 1, (4, images + 50))
        goods = list(drawn[:, :images])
        limit = unseen(goods, 1e-6).max()
        above.append((Scales.learned(goods, 1e-6).score(list(drawn[:, images:])) > limit).mean())
    assert np.mean(above) < 1.15 / (images + 1)


def textures(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Good pictures of a rough surface, no two of the same place."""
    random = np.random.default_rng(0)
    images: dict[str, lid.Image] = {}
    for index in range(count):
        coarse = random.normal(0, 1, (size[1] // 16, size[0] // 16)).astype(np.float32)
        grey = 120 + 8 * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) + random.normal(0, 3, size[::-1])
        images[f"{index:02d}.png"] = np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    return lid.write(folder, images)


def reasons(directory: Path, text: str, count: int, size: tuple[int, int]) -> tuple[tuple[int, int], str]:
    done = teach(lid.station(directory, text), lid.PRODUCT, textures(directory / "good", count, size), lid.quiet)
    return done.views[0].manifest.regions[0].tiles, "\n".join(done.views[0].reasons)


class TestAuto:
    def test_tiles_are_taken_where_fine_flaws_matter(self, tmp_path):
        tiles, why = reasons(tmp_path, recipe('"auto"'), 12, (256, 256))
        assert tiles == (2, 2)
        assert "2 x 2 tiles, 4 graph runs a frame" in why and "standard error" in why
        assert "working resolution of part: 2 x 2 tiles of 64 x 64 px, 0.50 px for each px of the camera" in why

    @pytest.mark.parametrize(
        ("count", "size", "line"),
        [
            (12, (80, 80), "1 tile of 64 x 64 px, 0.80 px"),
            (tiling.LEAST_IMAGES - 1, (256, 256), "7 good images are too few"),
        ],
        ids=["no more detail", "few images"],
    )
    def test_one_tile_is_taken_untried_where_there_is_nothing_to_try(self, tmp_path, monkeypatch, count, size, line):
        monkeypatch.setattr(tiling.FineTrial, "run", None)
        tiles, why = reasons(tmp_path, recipe('"auto"'), count, size)
        assert tiles == (1, 1) and line in why


def trial(alone: list[float], tiled: list[float]) -> Trial:
    """Twelve good images, and two copies of each that score so in turn."""
    good = np.random.default_rng(0).normal(0, 1, 12).tolist()
    methods = {"positional": alone * 12, "tiles": tiled * 12}
    return Trial(good=dict.fromkeys(methods, good), bad=methods, owner=[row for row in range(12) for _ in range(2)])


def test_a_template_that_sees_fine_flaws_spares_the_tiles():
    found = trial([0.0, 0.0], [9.0, 9.0])
    found.good["template"], found.bad["template"] = found.good["tiles"], found.bad["tiles"]
    assert tiling.choose_finer(found, "positional")[0]
    plan = Plan((64, 64), "positional", 0.01, (64, 64))
    assert not tiling.choose_tiles(found, plan, replace(plan, tiles=Tiles(2, 2)))[0]


@pytest.mark.parametrize(
    ("alone", "tiled", "takes"),
    [([0.0, 0.0], [9.0, 9.0], True), ([9.0, 9.0], [9.0, 9.0], False), ([0.0, 0.0], [0.1, 0.1], False)],
    ids=["clearly better", "nothing to find", "hardly better"],
)
def test_tiles_need_a_clear_win(alone, tiled, takes):
    plan = Plan((64, 64), "positional", 0.01, None)
    assert tiling.choose_tiles(trial(alone, tiled), plan, replace(plan, tiles=Tiles(2, 2)))[0] is takes
