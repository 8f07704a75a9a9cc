"""The looking checks through teach and inspect: a recipe section each, held against the order, with evidence."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import zxingcpp
from onnx import TensorProto, helper

from edge.config import Station, load_station
from edge.inspector import Inspector
from edge.learn import learn
from edge.records import Outcome, Reason, Verdict
from edge.teach import teach
from tests import lid
from tests.drawn import Scene

SIZE = (320, 240)
SCENE = Scene(21, SIZE)
# Where the mark lies on a good part: x, y, width, height.
MARK = (130, 90, 60, 50)


def part(
    dx: float = 0, dy: float = 0, colour: tuple[int, int, int] | None = (40, 210, 240), noise: int = 0
) -> lid.Image:
    """A drawn part with a mark, so far off its place, or without one."""
    image = SCENE.view(brightness=1 + noise / 100)
    if colour is not None:
        x, y, width, height = MARK
        corners = np.array([[x, y + height], [x + width, y + height], [x + width // 2, y]], np.float64) + np.array(
            [dx, dy]
        )
        cv2.fillPoly(image, [np.round(corners * 16).astype(np.int32)], colour, cv2.LINE_AA, shift=4)
    return image


def made(directory: Path, recipe: str, images: dict[str, lid.Image] | None = None) -> Station:
    station = lid.station(directory, recipe)
    images = images or {f"{index}.png": part(noise=index) for index in range(8)}
    for name, image in images.items():
        lid.write(directory / "good" / Path(name).parent, {Path(name).name: image})
    teach(station, lid.PRODUCT, directory / "good", lid.quiet)
    return station


def judged(station: Station, image: lid.Image, **expect: str) -> Verdict:
    inspector = Inspector.load(station, lid.PRODUCT)
    prepared = inspector.prepare(image)
    return inspector.judge(prepared, inspector.score([prepared])[0], expect)


BOX = "box = [110, 70, 100, 90]"
PRESENCE = f'[[regions]]\nname = "mark"\n{BOX}\nanomaly = false\ntemplate = false\n[regions.presence]\n'


def test_presence_and_position_find_the_object_and_say_how_far_it_is_off(tmp_path: Path) -> None:
    recipe = PRESENCE + "[regions.position]\ntolerance_mm = 1.0\n[views.main]\nmm_per_px = 0.25\n"
    station = made(tmp_path, recipe)
    good = judged(station, part(noise=3))
    assert good.outcome is Outcome.PASS and set(good.checks) == {"mark.presence", "mark.position"}
    within = judged(station, part(dx=2))
    assert within.checks["mark.position"].score < 1
    off = judged(station, part(dx=9, dy=-5))
    assert off.outcome is Outcome.FAIL and not off.review
    offset = off.checks["mark.position"].offset
    assert offset is not None and offset.dx_mm is not None and offset.dy_mm is not None
    assert (offset.dx_px, offset.dy_px) == (pytest.approx(9, abs=0.7), pytest.approx(-5, abs=0.7))
    assert (offset.dx_mm, offset.dy_mm) == (pytest.approx(offset.dx_px / 4), pytest.approx(offset.dy_px / 4))
    (defect,) = [one for one in off.defects if one.check == "mark.position"]
    x, y, width, height = defect.bbox
    assert x <= MARK[0] + 9 + 30 <= x + width and y <= MARK[1] - 5 + 30 <= y + height
    gone = judged(station, part(colour=None))
    assert gone.outcome is Outcome.FAIL and gone.checks["mark.position"].found == "missing"


def test_a_tolerance_is_edited_without_teaching(tmp_path: Path) -> None:
    station = made(tmp_path, PRESENCE + "[regions.position]\ntolerance_px = 3.0\n")
    assert judged(station, part(dx=6)).outcome is Outcome.FAIL
    path = station.pipelines_dir / lid.PRODUCT / "recipe.toml"
    path.write_text(path.read_text().replace("3.0", "9.0"))
    assert judged(station, part(dx=6)).checks["mark.position"].score == pytest.approx(6 / 9, abs=0.08)
    # Without one, what good parts vary by is the tolerance, and they lie still.
    path.write_text(path.read_text().replace("tolerance_px = 9.0", ""))
    assert judged(station, part(dx=6)).outcome is Outcome.FAIL


def test_what_was_located_can_be_learned_from_the_line(tmp_path: Path) -> None:
    station = made(tmp_path, PRESENCE + "[regions.position]\n")
    path = lid.write(tmp_path / "new", {"a.png": part(dx=2), "b.png": part(dx=-2)})
    before = judged(station, part(dx=1.5))
    lesson = learn(station, lid.PRODUCT, None, sorted(path.glob("*.png")), [])
    assert len(lesson.view.references) == 10
    after = judged(station, part(dx=1.5))
    assert before.score is not None and after.score is not None and after.score < before.score


VARIANT = '[[regions]]\nname = "part"\ntemplate = false\nanomaly = { working_px = 128, bank = "positional" }\n[regions.variant]\n'


def test_the_variant_must_be_the_one_the_order_names(tmp_path: Path) -> None:
    colours = {"amber": (40, 210, 240), "blue": (220, 90, 30)}
    images = {
        f"{name}/{index}.png": part(colour=colour, noise=index)
        for name, colour in colours.items()
        for index in range(6)
    }
    station = made(tmp_path, VARIANT, images)
    amber = part(noise=2)
    told = judged(station, amber, variant="amber")
    assert told.outcome is Outcome.PASS and told.checks["part.variant"].found == "amber"
    assert judged(station, amber).checks["part.variant"].found == "amber"
    wrong = judged(station, amber, variant="blue")
    assert wrong.outcome is Outcome.FAIL
    assert (wrong.checks["part.variant"].found, wrong.checks["part.variant"].expected) == ("amber", "blue")
    unknown = judged(station, amber, variant="green")
    assert (unknown.outcome, unknown.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)
    assert unknown.detail is not None and "green was never taught" in unknown.detail
    # What no check answers stays open.
    assert judged(station, amber, variant="amber", code="1").reason is Reason.CANNOT_JUDGE


CODE = '[[regions]]\nname = "label"\nbox = [40, 40, 160, 160]\nanomaly = false\ntemplate = false\n[regions.code]\n'


def labelled(text: str) -> lid.Image:
    image = part()
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.DataMatrix)
    drawn = np.asarray(zxingcpp.write_barcode_to_image(code, scale=5, add_quiet_zones=True), np.uint8)
    height, width = drawn.shape[:2]
    image[50 : 50 + height, 50 : 50 + width] = drawn.reshape(height, width, 1)
    return image


def test_the_code_must_be_the_one_the_order_names(tmp_path: Path) -> None:
    station = made(tmp_path, CODE, {"a.png": labelled("A17"), "b.png": labelled("A18")})
    assert judged(station, labelled("B4711"), code="B4711").outcome is Outcome.PASS
    wrong = judged(station, labelled("B4712"), code="B4711")
    assert wrong.outcome is Outcome.FAIL and not wrong.review
    assert (wrong.checks["label.code"].found, wrong.checks["label.code"].expected) == ("B4712", "B4711")
    x, y, width, height = wrong.defects[0].bbox
    assert 40 <= x < 120 and 40 <= y < 120 and width < 140 and height < 140
    unread = judged(station, part())
    assert unread.outcome is Outcome.FAIL and unread.checks["label.code"].found is None


MODEL = """
[[regions]]
name = "tray"
anomaly = false
template = false
[regions.model]
file = "own.onnx"
labels = "own.txt"
output = "classes"
expect = { dark = 1 }
std = [1.0, 1.0, 1.0]
"""


def own_model(path: Path, level: float = 100.0) -> None:
    """Two classes by mean grey level: bright where it exceeds `level`."""
    shape = [None, 3, 32, 32]
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0)
    over = helper.make_node("Sub", ["mean", "level"], ["over"])
    bright = helper.make_node("Sigmoid", ["over"], ["bright"])
    dark = helper.make_node("Sub", ["one", "bright"], ["dark"])
    axis = helper.make_tensor("last", TensorProto.INT64, [1], [1])
    columns = [helper.make_node("Unsqueeze", [name, "last"], [f"{name}2"]) for name in ("dark", "bright")]
    joined = helper.make_node("Concat", ["dark2", "bright2"], ["y"], axis=1)
    graph = helper.make_graph(
        [mean, over, bright, dark, *columns, joined],
        "own",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("level", TensorProto.FLOAT, [1], [level]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            axis,
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


def with_own_model(tmp_path: Path, inference: str = "") -> tuple[Station, lid.Image, lid.Image]:
    """A taught station whose only check is a model, and a part that is right and one that is wrong."""
    folder = tmp_path / "pipelines" / lid.PRODUCT
    folder.mkdir(parents=True)
    own_model(folder / "own.onnx")
    (folder / "own.txt").write_text("dark\nbright\n")
    folder.rename(tmp_path / "kept")
    lid.station(tmp_path, MODEL)
    with (tmp_path / "config.toml").open("a") as config:
        config.write(inference)
    station = load_station(tmp_path / "config.toml")
    for file in (tmp_path / "kept").iterdir():
        file.rename(folder / file.name)
    dark, bright = np.full((240, 320, 3), 40, np.uint8), np.full((240, 320, 3), 190, np.uint8)
    for image in (dark, bright):
        image[::2, ::2] += 20
    lid.write(tmp_path / "good", {"a.png": dark})
    teach(station, lid.PRODUCT, tmp_path / "good", lid.quiet)
    return station, dark, bright


def test_your_own_model_is_held_against_the_classes_the_recipe_expects(tmp_path: Path) -> None:
    station, dark, bright = with_own_model(tmp_path)
    assert judged(station, dark).outcome is Outcome.PASS
    wrong = judged(station, bright)
    assert wrong.outcome is Outcome.FAIL
    assert wrong.checks["tray.model"].found is not None and "bright" in wrong.checks["tray.model"].found


def test_verdicts_name_your_own_model_by_its_hash(tmp_path: Path) -> None:
    station, dark, _ = with_own_model(tmp_path)
    file = tmp_path / "pipelines" / lid.PRODUCT / "own.onnx"
    first = hashlib.sha256(file.read_bytes()).hexdigest()
    running = Inspector.load(station, lid.PRODUCT)
    assert running.provenance(3).own_models_sha256 == {"tray.model": first}
    assert not running.fell_back
    own_model(file, level=10.0)
    # What runs stays what it was, and says so; the next start says that it is another.
    prepared = running.prepare(dark)
    assert running.judge(prepared, running.score([prepared])[0], {}).outcome is Outcome.PASS
    assert running.provenance(3).own_models_sha256 == {"tray.model": first}
    restarted = Inspector.load(station, lid.PRODUCT).provenance(3).own_models_sha256
    assert restarted == {"tray.model": hashlib.sha256(file.read_bytes()).hexdigest()} != {"tray.model": first}
    assert judged(station, dark).outcome is Outcome.FAIL


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA would start")
def test_a_model_of_your_own_that_runs_on_the_cpu_instead_is_told(tmp_path: Path) -> None:
    station, *_ = with_own_model(tmp_path, '[inference]\nprovider = "cuda"\nallow_fallback = true\n')
    inspector = Inspector.load(station, lid.PRODUCT)
    # No graph of the product's own is there to fall back.
    assert all(region.session is None for view in inspector.views.values() for region in view.regions)
    assert inspector.fell_back
