"""Inspecting: the object the daemon uses, and `goldline inspect`, which prints what it says."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge import evidence
from edge.commands import inspect as command
from edge.config import Station
from edge.errors import GoldlineError
from edge.inspector import Inspector, Scores
from edge.recipe import load_recipe
from edge.records import Limits, Outcome, Reason, Verdict
from edge.references import Store, refuse_other_recipe
from tests import lid

# The documented keys of one line of `inspect --json`, and `detail`, which says more about a reason.
KEYS = {
    "image", "verdict", "reason", "review", "score", "limits", "checks", "defects", "pose", "closest_reference",
    "latency_ms", "detail", "p_value",
}  # fmt: skip


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return lid.taught(tmp_path_factory.mktemp("station"))


@pytest.fixture(scope="module")
def inspector(station: Station) -> Inspector:
    return Inspector.load(station, lid.PRODUCT)


def judged(inspector: Inspector, image: lid.Image, expect: dict[str, str] | None = None) -> Verdict:
    prepared = inspector.prepare(image)
    return inspector.judge(prepared, inspector.score([prepared])[0], expect or {})


def lenient(inspector: Inspector, station: Station) -> Inspector:
    """The same set with limits no good part reaches."""
    path = station.pipelines_dir / lid.PRODUCT / "recipe.toml"
    before = path.read_text()
    path.write_text(before + "[limits]\nreview = 50.0\n")
    try:
        return Inspector.load(station, lid.PRODUCT)
    finally:
        path.write_text(before)


def run(station: Station, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args([lid.PRODUCT, *words])
    arguments.config = station.state_dir.parent / "config.toml"
    return command.run(arguments)


def test_the_box_lies_on_the_deviation_and_the_pose_is_the_parts(inspector: Inspector) -> None:
    verdict = judged(inspector, lid.Lids(50).bad())
    assert verdict.outcome is Outcome.FAIL
    x, y, width, height = verdict.defects[0].bbox
    centre = lid.SPOT[0] + lid.SPOT[2] // 2, lid.SPOT[1] + lid.SPOT[3] // 2
    assert x <= centre[0] <= x + width and y <= centre[1] <= y + height
    assert verdict.pose is not None and abs(verdict.pose.dx_px) < 5 and abs(verdict.pose.dy_px) < 5
    assert verdict.closest_reference in inspector.manifest.views[0].references


def test_a_batch_judges_like_its_frames_one_by_one(inspector: Inspector) -> None:
    lids = lid.Lids(51)
    wrong_size = np.zeros((10, 10, 3), np.uint8)
    batch = [inspector.prepare(image) for image in (lids.good(), wrong_size, lids.bad(), lids.good())]
    together = [inspector.judge(one, scores, {}) for one, scores in zip(batch, inspector.score(batch), strict=True)]
    alone = [inspector.judge(one, inspector.score([one])[0], {}) for one in batch]
    assert [verdict.outcome for verdict in together] == [verdict.outcome for verdict in alone]
    assert together[1].reason is Reason.CANNOT_JUDGE
    for left, right in zip((together[0], *together[2:]), (alone[0], *alone[2:]), strict=True):
        assert left.score == pytest.approx(right.score, rel=1e-3)


def test_a_frame_of_another_size_cannot_be_judged(inspector: Inspector) -> None:
    verdict = judged(inspector, np.zeros((100, 200, 3), np.uint8))
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)
    assert verdict.detail == "the frame is 200 x 100, the reference set was taught at 256 x 192"


@pytest.mark.parametrize("level", [0, 255])
def test_a_frame_without_a_picture_cannot_be_judged(inspector: Inspector, level: int) -> None:
    verdict = judged(inspector, np.full((lid.SIZE[1], lid.SIZE[0], 3), level, np.uint8))
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)


def test_a_camera_in_another_role_cannot_be_judged(inspector: Inspector) -> None:
    prepared = inspector.prepare(lid.Lids(1).good(), "side")
    assert prepared.refusal == "no region looks at camera role 'side'"
    assert inspector.judge(prepared, inspector.score([prepared])[0], {}).outcome is Outcome.ERROR


def test_scores_that_are_no_numbers_cannot_be_judged(inspector: Inspector) -> None:
    prepared = inspector.prepare(lid.Lids(1).good())
    broken = Scores(dict.fromkeys(inspector.calibration_of().scales, float("nan")), {}, None, {})
    assert inspector.judge(prepared, broken, {}).reason is Reason.CANNOT_JUDGE


def test_an_expectation_is_not_answered_by_silence(inspector: Inspector, station: Station) -> None:
    easy = lenient(inspector, station)
    assert judged(easy, lid.Lids(1).good()).outcome is Outcome.PASS
    asked = judged(easy, lid.Lids(1).good(), {"variant": "left"})
    assert (asked.outcome, asked.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)


def test_a_recipe_changed_since_teaching_is_refused(tmp_path: Path) -> None:
    station = lid.taught(tmp_path, count=2)
    path = station.pipelines_dir / lid.PRODUCT / "recipe.toml"
    path.write_text(lid.RECIPE.replace("128", "160"))
    with pytest.raises(GoldlineError, match="regions changed since the reference set was taught"):
        Inspector.load(station, lid.PRODUCT)
    path.write_text('description = "new words change nothing"\n' + lid.RECIPE)
    Inspector.load(station, lid.PRODUCT)
    path.write_text(lid.RECIPE + "[views.main]\nmm_per_px = 0.2\n")
    Inspector.load(station, lid.PRODUCT)


def test_a_set_of_when_empty_views_were_noted_is_not_refused(station: Station) -> None:
    found, recipe = Store(station.state_dir, lid.PRODUCT).load(), load_recipe(station, lid.PRODUCT)
    noted = {**found.manifest.taught, "views": {"main": {"registration": None}}}
    refuse_other_recipe(recipe, replace(found, manifest=msgspec.structs.replace(found.manifest, taught=noted)))


def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    station = lid.taught(tmp_path, count=2)
    path = Store(station.state_dir, lid.PRODUCT).load().directory / "main" / "part.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GoldlineError, match=r"part\.onnx: damaged"):
        Inspector.load(station, lid.PRODUCT)


def test_the_command_prints_one_object_a_line_and_goes_on_after_an_unreadable_file(
    station: Station, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lids = lid.Lids(60)
    lid.write(tmp_path, {"bad.png": lids.bad(), "good.png": lids.good()})
    (tmp_path / "torn.png").write_bytes((tmp_path / "good.png").read_bytes()[:2000])
    names = ["bad.png", "torn.png", "absent.png", "good.png"]
    assert run(station, *(str(tmp_path / name) for name in names), "--json", "--evidence", str(tmp_path / "why")) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["image"]).name for line in lines] == names
    assert all(set(line) == KEYS for line in lines)
    bad, torn, absent, good = lines
    assert bad["verdict"] == "FAIL" and bad["reason"] is None and bad["defects"]
    assert set(bad["limits"]) == {"review", "fail"} and set(bad["pose"]) == {"dx_px", "dy_px", "angle_deg"}
    assert all(set(check) == {"score", "limits", "found", "expected", "offset"} for check in bad["checks"].values())
    assert all(set(defect) == {"check", "bbox", "score"} for defect in bad["defects"])
    assert (torn["verdict"], torn["reason"]) == (absent["verdict"], absent["reason"]) == ("ERROR", "cannot_judge")
    assert "torn.png" in torn["detail"]
    assert good["score"] < bad["score"] and good["latency_ms"] > 0
    assert (tmp_path / "why" / "bad.png").is_file() and not (tmp_path / "why" / "torn.png").exists()


def test_the_exit_code_is_0_only_when_all_pass(station: Station, inspector: Inspector, tmp_path: Path) -> None:
    lid.write(tmp_path, {"good.png": lid.Lids(61).good()})
    path = station.pipelines_dir / lid.PRODUCT / "recipe.toml"
    before = path.read_text()
    path.write_text(before + "[limits]\nreview = 50.0\n")
    try:
        assert run(station, str(tmp_path / "good.png")) == 0
        assert run(station, str(tmp_path / "good.png"), "--expect", "variant=left,code=12") == 1
    finally:
        path.write_text(before)


def test_without_a_reference_set_it_says_how_to_teach_one(tmp_path: Path) -> None:
    with pytest.raises(GoldlineError, match="goldline teach lid --good DIR"):
        run(lid.station(tmp_path), "part.png")
    with pytest.raises(GoldlineError, match="goldline teach unheard-of --good DIR"):
        Inspector.load(lid.load_station(tmp_path / "config.toml"), "unheard-of")


@pytest.mark.parametrize("text", ["variant", "=left", "a=1,,b=2"])
def test_an_expectation_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        command.expectation(text)
    assert command.expectation("variant=left,code=a=b") == {"variant": "left", "code": "a=b"}


def test_the_colour_scale_is_fixed_by_the_limits() -> None:
    limits = Limits(review=4.0, fail=8.0)
    levels = evidence.severity(np.array([[-3, 2, 4, 8, 100]], np.float32), limits)
    assert levels.tolist() == [[0, 0, 1, 2, 3]]
    assert evidence.severity(np.zeros((4, 4), np.float32), Limits(review=0.1, fail=1)).max() < 1


def test_evidence_leaves_a_good_part_as_it_is_and_shows_an_error(inspector: Inspector) -> None:
    image = lid.Lids(70).good()
    limits = Limits(review=4.0, fail=8.0)
    good = Verdict(outcome=Outcome.PASS, score=1.0, limits=limits)
    plain = evidence.picture(image, good, np.full(image.shape[:2], 1.0, np.float32), limits, None)
    panel = evidence.PANEL_WIDTH
    assert (plain[30:300, :panel] == plain[30:300, panel : 2 * panel]).all()
    red = evidence.picture(image, good, np.full(image.shape[:2], 9.0, np.float32), limits, None)
    assert red[30:300, panel : 2 * panel, 2].mean() > plain[30:300, panel : 2 * panel, 2].mean() + 30
    refused = msgspec.structs.replace(good, outcome=Outcome.ERROR, reason=Reason.CANNOT_JUDGE, score=None)
    assert evidence.picture(image, refused, None, limits, image).shape == plain.shape


def test_evidence_that_cannot_be_written_is_one_line(station: Station, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    lid.write(tmp_path, {"good.png": lid.Lids(61).good()})
    with pytest.raises(GoldlineError, match="file"):
        run(station, str(tmp_path / "good.png"), "--evidence", str(tmp_path / "file"))


def test_the_deviation_map_lies_where_the_frame_deviates(inspector: Inspector) -> None:
    image = lid.Lids(80).moved(9, -6)
    cv2.circle(image, (60, 60), 9, (0, 0, 255), -1)
    prepared = inspector.prepare(image)
    deviation = inspector.deviation(prepared, inspector.score([prepared])[0])
    assert deviation.shape == image.shape[:2]
    row, column = np.unravel_index(int(deviation.argmax()), deviation.shape)
    assert abs(row - 60) < 14 and abs(column - 60) < 14
