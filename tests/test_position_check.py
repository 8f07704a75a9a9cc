"""Presence and position, from good photographs of the trunk to what judge says about bad ones."""

import io
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge import calibrate, judge
from edge.cameras import scene, trunk
from edge.check_recipes import PositionCheck, PresenceCheck
from edge.checks import placing
from edge.checks.place import Place, Seen, beside, distance_px, layout
from edge.checks.placing import Goods
from edge.checks.position import MISSING, Position, Presence
from edge.config import Station
from edge.errors import GoldlineError
from edge.geometry import pose_matrix, warp
from edge.judge import EXACT
from edge.recipe import RegionRecipe, load_recipe
from edge.records import Offset, Outcome, Pose
from tests import trunks

REGION = RegionRecipe(name="triangle", presence=PresenceCheck(), position=PositionCheck())
AT = layout(REGION, trunks.TRIANGLE, trunks.SIZE)
# How the triangle lies in good parts: px and degrees, about this place in the golden picture.
COUNT, SPREAD, SPREAD_DEG = 12, 1.5, 0.3


def cut(picture, pose=None):
    return warp(picture, AT.box, pose or Pose(), trunks.SIZE, AT.size)


def placements():
    random = np.random.default_rng(6)
    return [(*random.normal(0, SPREAD, 2), random.normal(0, SPREAD_DEG)) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def goods() -> Goods:
    cuts = [cut(trunks.photograph(trunks.floor(*lies), seed)) for seed, lies in enumerate(placements())]
    return Goods(np.stack(cuts), golden=3, poses=[Pose()] * COUNT)


@pytest.fixture(scope="module")
def learned(goods: Goods) -> placing.Learned:
    return placing.learn(REGION, AT, goods)


@pytest.fixture(scope="module")
def calibration(learned: placing.Learned) -> judge.Calibration:
    scores = {f"triangle.{check}": values for check, values in learned.scores.items()}
    spreads = {"triangle.presence": 0.01, "triangle.position": 0.1 * learned.place.layout.scale}
    return calibrate.calibrate(scores, spreads, COUNT).calibration


def position(learned: placing.Learned, mm_per_px=None, **wanted) -> Position:
    return Position("triangle", learned.place, PositionCheck(**wanted), mm_per_px)


def verdict(learned: placing.Learned, calibration: judge.Calibration, picture):
    checks = Presence("triangle", learned.place), position(learned)
    seen = checks[0].look(cut(picture), None)
    return judge.decide({}, calibration, {check.name: check.hold(seen, {}) for check in checks})


# --- what is cut


def test_the_region_is_cut_with_a_margin():
    assert AT.box[0] <= 545 - 0.15 * 376 and AT.box[0] + AT.box[2] >= 545 + 1.15 * 376 - AT.scale
    assert AT.size == (AT.box[2] // 2, AT.box[3] // 2) and max(AT.size) <= 256


@settings(max_examples=200)
@given(
    x=st.integers(0, 1200), y=st.integers(0, 900), width=st.integers(80, 1280), height=st.integers(80, 960),
    search=st.floats(0.01, 0.5),
)  # fmt: skip
def test_a_layout_stays_in_the_picture_and_holds_its_region(x: int, y: int, width: int, height: int, search: float):
    width, height = min(width, 1280 - x), min(height, 960 - y)
    region = RegionRecipe(name="part", presence=PresenceCheck(search=search))
    assume(min(width, height) >= 80)
    at = layout(region, (x, y, width, height), trunks.SIZE)
    assert at.box[0] >= 0 and at.box[1] >= 0 and at.box[0] + at.box[2] <= 1280 and at.box[1] + at.box[3] <= 960
    assert at.size[0] * at.scale == at.box[2] and at.size[1] * at.scale == at.box[3] and max(at.size) <= 256
    left, top, across, down = at.region_in_cut
    assert left >= 0 and top >= 0
    # What is left over of whole blocks may be missing.
    assert left + across < at.size[0] + 1 and top + down < at.size[1] + 1


def test_the_further_search_and_the_larger_turn_count():
    both = RegionRecipe(name="part", presence=PresenceCheck(search=0.3), position=PositionCheck(max_angle_deg=4))
    reach = layout(both, (400, 300, 60, 120), trunks.SIZE).reach
    assert (reach.across_px, reach.down_px, reach.angle_deg) == (pytest.approx(18), pytest.approx(36), 4)


def test_a_region_too_small_to_be_found_is_refused():
    with pytest.raises(GoldlineError, match="region screw: 600 x 12 px is too small"):
        layout(REGION.model_copy(update={"name": "screw"}), (100, 100, 600, 12), trunks.SIZE)


# --- what good parts teach


def test_home_is_where_good_parts_lie(learned: placing.Learned):
    golden = trunks.offset_of(*placements()[3])
    offsets = [beside(trunks.offset_of(*lies), golden) for lies in placements()]
    home = learned.place.home
    assert home.dx_px == pytest.approx(np.median([offset.dx_px for offset in offsets]), abs=0.3)
    assert home.dy_px == pytest.approx(np.median([offset.dy_px for offset in offsets]), abs=0.3)
    assert home.angle_deg == pytest.approx(np.median([offset.angle_deg for offset in offsets]), abs=0.1)


def test_good_parts_score_as_they_lie(learned: placing.Learned):
    """The golden image too: seen by another, and not by itself, it lies where it lies."""
    offsets = [trunks.offset_of(*lies) for lies in placements()]
    for index, offset in enumerate(offsets):
        others = [other for place, other in enumerate(offsets) if place != index]
        home = Offset(
            dx_px=float(np.median([other.dx_px for other in others])),
            dy_px=float(np.median([other.dy_px for other in others])),
            angle_deg=float(np.median([other.angle_deg for other in others])),
        )
        # Left out with every eighth image, not alone.
        expected = distance_px(AT, beside(offset, home))
        assert learned.scores["position"][index] == pytest.approx(expected, abs=0.8)
    assert (learned.scores["presence"] > 0).all() and (learned.scores["presence"] < 0.05).all()


def test_the_golden_image_does_not_vouch_for_itself(goods: Goods, learned: placing.Learned):
    """Of an image spoilt before it was made golden, the others say so."""
    spoilt = goods.cuts.copy()
    spoilt[3, 60:170, 90:160] = 90
    scores = placing.learn(REGION, AT, replace(goods, cuts=spoilt)).scores["presence"]
    assert scores[3] > 5 * learned.scores["presence"].max()


def test_lots_are_left_out_whole(goods: Goods):
    """Five images of one lot, three of another that lies 8 px beside it: five alone have their home among themselves."""
    lots = ["first"] * 5 + ["second"] * 3
    cuts = np.stack([cut(trunks.photograph(trunks.floor(8.0 * (lot == "second")), i)) for i, lot in enumerate(lots)])
    mixed = Goods(cuts, 0, [Pose()] * 8)
    assert placing.learn(REGION, AT, mixed).scores["position"][:5].max() < 1
    assert placing.learn(REGION, AT, replace(mixed, lots=lots)).scores["position"][:5].min() > 7


def test_nothing_in_common_is_refused():
    random = np.random.default_rng(0)
    cuts = random.integers(0, 256, (6, AT.size[1], AT.size[0], 3), np.uint8)
    with pytest.raises(GoldlineError, match="region triangle: good images show nothing in common"):
        placing.learn(REGION, AT, Goods(cuts, 0, [Pose()] * 6))


def test_nothing_to_see_is_refused():
    cuts = np.full((3, AT.size[1], AT.size[0], 3), 90, np.uint8)
    with pytest.raises(GoldlineError, match="region triangle: nothing to find"):
        placing.learn(REGION, AT, Goods(cuts, 0, [Pose()] * 3))


def test_only_the_checks_of_the_recipe_are_learned(goods: Goods):
    presence = RegionRecipe(name="triangle", presence=PresenceCheck())
    assert set(placing.learn(presence, layout(presence, trunks.TRIANGLE, trunks.SIZE), goods).scores) == {"presence"}


def test_stored_without_pickle_it_sees_the_same(learned: placing.Learned):
    file = io.BytesIO()
    np.savez(file, embedding=np.zeros(3), **learned.place.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        restored = Place.from_arrays(AT, dict(arrays))
    picture = cut(trunks.photograph(trunks.floor(5, 5, 2), 1))
    assert restored.look(picture) == learned.place.look(picture)
    assert (restored.home, restored.usual_similarity) == (learned.place.home, learned.place.usual_similarity)


# --- what judge says, by limits learned from good parts


@pytest.mark.parametrize("lies", [(0, 0, 0), (1.5, -1, 0.2), (-1, 1.5, -0.2)])
def test_a_good_part_passes(learned, calibration, lies):
    assert verdict(learned, calibration, trunks.photograph(trunks.floor(*lies), 77)).outcome is Outcome.PASS


@pytest.mark.parametrize("kind", ["missing", "wrong_object"])
def test_a_missing_or_wrong_object_fails_both(learned, calibration, kind):
    picture = trunks.photograph(trunk.draw(kind, np.random.default_rng(5)), 5)
    found = verdict(learned, calibration, picture)
    assert found.outcome is Outcome.FAIL and not found.review
    presence, placed = found.checks["triangle.presence"], found.checks["triangle.position"]
    assert presence.score > 3 * presence.limits.fail
    assert placed.score > 3 * placed.limits.fail and placed.found == MISSING and placed.offset is None


@pytest.mark.parametrize("lies", [(20, 0, 0), (0, -15, 0), (0, 0, 6), (-12, 9, 10)])
def test_a_misplaced_object_is_present_and_fails(learned, calibration, lies):
    found = verdict(learned, calibration, trunks.photograph(trunks.floor(*lies), 5))
    assert found.outcome is Outcome.FAIL
    presence, placed = found.checks["triangle.presence"], found.checks["triangle.position"]
    assert presence.score < presence.limits.fail and placed.score >= placed.limits.fail
    truth = beside(trunks.offset_of(*lies), trunks.offset_of(*placements()[3]))
    told = beside(truth, learned.place.home)
    assert placed.offset is not None
    assert placed.offset.dx_px == pytest.approx(told.dx_px, abs=0.4)
    assert placed.offset.dy_px == pytest.approx(told.dy_px, abs=0.4)
    assert placed.offset.angle_deg == pytest.approx(told.angle_deg, abs=0.15)


# --- tolerances of the recipe


def seen_at(learned, dx=0.0, dy=0.0, angle_deg=0.0, similarity=0.95):
    """So far from home."""
    home = learned.place.home
    offset = Offset(dx_px=home.dx_px + dx, dy_px=home.dy_px + dy, angle_deg=home.angle_deg + angle_deg)
    return Seen(offset, similarity, (0, 0, 1, 1))


@pytest.mark.parametrize(
    ("wanted", "mm_per_px", "score", "expected"),
    [
        ({"tolerance_px": 10}, None, 0.5, "within 10 px"),
        ({"tolerance_mm": 1}, 0.1, 0.5, "within 1 mm"),
        ({"tolerance_deg": 4}, None, 0.75, "within 4°"),
        ({"tolerance_px": 10, "tolerance_deg": 4}, None, 0.75, "within 10 px, 4°"),
        ({"tolerance_px": 4, "tolerance_deg": 4.5}, None, 1.25, "within 4 px, 4.5°"),
    ],
)
def test_with_a_tolerance_the_score_is_the_share_of_it(learned, wanted, mm_per_px, score, expected):
    finding = position(learned, mm_per_px, **wanted).hold(seen_at(learned, 3, -4, -3), {})
    assert finding.score == pytest.approx(score) and finding.limits == EXACT
    assert finding.expected == expected


def test_without_a_tolerance_the_score_is_a_distance_to_be_held_against_good_parts(learned):
    check = position(learned)
    finding = check.hold(seen_at(learned, 3, -4, 0), {})
    assert finding.score == pytest.approx(5) and finding.limits is None and not check.is_exact
    assert finding.expected is None
    turned = check.hold(seen_at(learned, 3, -4, 3), {})
    assert turned.score == pytest.approx(math.hypot(376, 352) / 2 * math.radians(3), rel=1e-3)


def test_an_offset_is_told_in_mm_where_the_scale_is_known(learned):
    offset = position(learned, 0.2).hold(seen_at(learned, 3, -4, 0), {}).offset
    assert offset is not None and (offset.dx_mm, offset.dy_mm) == (pytest.approx(0.6), pytest.approx(-0.8))
    offset = position(learned).hold(seen_at(learned, 3, -4, 0), {}).offset
    assert offset is not None and (offset.dx_mm, offset.dy_mm) == (None, None)


def test_what_is_not_there_is_beyond_every_tolerance(learned):
    check = position(learned, tolerance_px=1000)
    finding = check.hold(seen_at(learned, similarity=0.2), {})
    assert finding.found == MISSING and finding.offset is None
    assert finding.limits == EXACT and finding.score > EXACT.fail
    assert check.is_exact and finding.expected == "within 1000 px"


def test_half_covered_it_is_still_somewhere(learned):
    covered = trunks.floor(12, -7, 5).copy()
    x, y, width, height = trunks.TRIANGLE
    covered[y : y + height, x : x + width // 2] = 90
    check = position(learned, tolerance_px=4)
    finding = check.hold(check.look(cut(trunks.photograph(covered)), None), {})
    assert finding.found is None and finding.offset is not None and finding.score > 2


def test_the_box_told_is_where_the_object_lies(learned):
    check = position(learned, tolerance_px=4)
    finding = check.hold(check.look(cut(trunks.photograph(trunks.floor(20, -10))), None), {})
    golden = trunks.offset_of(*placements()[3])
    left = (545 + 20 - golden.dx_px - AT.box[0]) / AT.scale
    assert finding.boxes[0] == pytest.approx((left, (195 - 10 - AT.box[1]) / AT.scale, 188, 176), abs=4)


def test_both_checks_see_the_same(learned):
    checks = Presence("triangle", learned.place), position(learned)
    assert len({(check.sight, check.box, check.size) for check in checks}) == 1
    assert [check.name for check in checks] == ["triangle.presence", "triangle.position"]
    assert not any(check.answers for check in checks)


# --- relative to the picture


def test_relative_to_the_part_the_pose_does_not_matter(learned):
    seen = seen_at(learned, 3, -4, 1)
    assert position(learned).posed(seen, Pose(dx_px=50, angle_deg=7)) == seen


@settings(max_examples=50)
@given(
    dx=st.floats(-20, 20), dy=st.floats(-20, 20), turn=st.floats(-10, 10),
    across=st.floats(-100, 100), down=st.floats(-100, 100), angle=st.floats(-12, 12),
)  # fmt: skip
def test_relative_to_the_picture_the_pose_is_added(learned, dx, dy, turn, across, down, angle):
    pose = Pose(dx_px=across, dy_px=down, angle_deg=angle)
    seen = Seen(Offset(dx_px=dx, dy_px=dy, angle_deg=turn), 0.9, (0, 0, 1, 1))
    posed = position(learned, relative_to="picture").posed(seen, pose)
    middle = np.array([545 + 375 / 2, 195 + 351 / 2, 1])
    truth = pose_matrix(pose, trunks.SIZE) @ (middle + np.array([dx, dy, 0])) - middle
    assert (posed.offset.dx_px, posed.offset.dy_px) == (pytest.approx(truth[0]), pytest.approx(truth[1]))
    assert posed.offset.angle_deg == pytest.approx(turn + angle)


def test_in_a_larger_frame_the_part_is_to_lie_where_good_parts_do():
    """The golden picture is cut around the part; its pose says where it lies in the frame."""
    at = layout(REGION, (100, 80, 60, 50), (300, 200), (1280, 960))
    nowhere = Offset(dx_px=0, dy_px=0, angle_deg=0)
    assert at.in_frame(nowhere, Pose()) == nowhere
    moved = at.in_frame(nowhere, Pose(dx_px=40, dy_px=-30))
    assert (moved.dx_px, moved.dy_px, moved.angle_deg) == (pytest.approx(40), pytest.approx(-30), 0)


def test_a_fixture_that_moves_counts_where_the_picture_does(goods: Goods):
    """Good parts lie 40 px to the right and turned by 178 to -178 degrees: that is their home in the picture."""
    region = RegionRecipe(name="triangle", position=PositionCheck(relative_to="picture"))
    random = np.random.default_rng(1)
    turns = [float(turn) for turn in random.uniform(178, 182, COUNT)]
    poses = [Pose(dx_px=40, dy_px=0, angle_deg=turn if turn < 180 else turn - 360) for turn in turns]
    learned = placing.learn(region, AT, replace(goods, poses=poses))
    assert learned.place.home.angle_deg % 360 == pytest.approx(np.median(turns), abs=1)
    assert learned.scores["position"].max() < 25


def test_distances_are_those_of_the_corner_or_the_middle():
    assert distance_px(AT, Offset(dx_px=3, dy_px=4, angle_deg=0)) == pytest.approx(5)
    assert distance_px(AT, Offset(dx_px=0, dy_px=0, angle_deg=180)) == pytest.approx(math.hypot(376, 352))


# --- the demo product


@pytest.fixture(scope="module")
def demo() -> Position:
    """The check of the recipe that `make demo` runs, taught."""
    here = Path(__file__).parent.parent
    recipe = load_recipe(Station(pipelines_dir=here / "pipelines", state_dir=here / "state"), "trunk").recipe
    (region,) = (one for one in recipe.regions if one.name == "triangle")
    assert region.box is not None and region.position is not None
    at = layout(region, region.box, trunks.SIZE)
    cuts = [warp(trunks.photograph(trunks.floor(), seed), at.box, Pose(), trunks.SIZE, at.size) for seed in range(4)]
    return Position(
        "triangle", placing.learn(region, at, Goods(np.stack(cuts), 0, [Pose()] * 4)).place, region.position, None
    )


def demonstrated(demo: Position, picture):
    at = demo.place.layout
    return demo.hold(demo.look(warp(picture, at.box, Pose(), trunks.SIZE, at.size), None), {})


def test_the_demo_looks_for_the_triangle_in_a_box_around_it(demo):
    x, y, width, height = cv2.boundingRect(
        scene.differing(trunk.good(), trunk.draw("missing", np.random.default_rng()))
    )
    left, top, across, down = demo.place.layout.region
    assert left <= x and top <= y and x + width <= left + across and y + height <= top + down
    assert across * down < 1.1 * width * height


@pytest.mark.parametrize("lies", [(109, 0, 6), (-80, -75, -6), (0, 45, 0), (0, 0, 13), (0, 0, -44)])
def test_the_demo_says_how_far_off_the_triangle_lies(demo, lies):
    # As far as the simulated camera misplaces it, and turns it.
    found = demonstrated(demo, trunks.photograph(trunks.floor(*lies), 9))
    truth = trunks.offset_of(*lies, demo.place.layout.region)
    assert found.found is None and found.expected == "within 10 px, 4°"
    assert (found.offset.dx_px, found.offset.dy_px) == (
        pytest.approx(truth.dx_px, abs=2),
        pytest.approx(truth.dy_px, abs=2),
    )
    assert found.offset.angle_deg == pytest.approx(truth.angle_deg, abs=0.5)
    assert found.score > EXACT.fail


@pytest.mark.parametrize("kind", ["missing", "wrong_object"])
def test_the_demo_says_that_the_triangle_is_missing(demo, kind):
    found = demonstrated(demo, trunks.photograph(trunk.draw(kind, np.random.default_rng(3)), 9))
    assert found.found == MISSING and found.score > EXACT.fail


def test_the_demo_passes_a_triangle_in_its_spot(demo):
    for seed, lies in enumerate([(0, 0, 0), (4, -3, 1)], start=20):
        assert demonstrated(demo, trunks.photograph(trunks.floor(*lies), seed)).score < EXACT.review
