"""The user's own model: what it sees is counted, what it cannot say is no PASS, and what is no such model is refused."""

import hashlib
import math
import shutil

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge import judge, weights
from edge.check_recipes import Count, ModelCheck
from edge.checks import outputs
from edge.checks.model import load_model_check
from edge.config import InferenceConfig
from edge.errors import GoldlineError
from edge.judge import EXACT, RIGHT, WRONG, Calibration, CheckScale
from edge.records import Limits, Outcome, Reason
from tests import compiled

TILE = 8
# Width and height of the models' picture.
SIZE = (96, 64)
LABELS = ("red", "green", "blue")
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
FLOAT, HALF, BYTES, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.DOUBLE
HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
ONE_CORE = InferenceConfig(threads=1)


class Graph:
    """An ONNX graph being written."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind, *inputs, **attributes):
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def model(self, inputs, results):
        outputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in results]
        graph = helper.make_graph(self.nodes, "small", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def corners_of_tiles(stride, size):
    """[tiles, 4]: x1, y1, x2, y2 of every window of a tile's size, row by row."""
    rows, columns = (range(0, side - TILE + 1, stride) for side in (size[1], size[0]))
    return np.array([[x, y, x + TILE, y + TILE] for y in rows for x in columns], np.float32)


def seeing(
    output="yolo", *, layout="NCHW", kind=FLOAT, batch="n", size=SIZE, stride=TILE, reverse=False, shares=False,
    flat=False, spoil=None, softmax=False, gain=1.0, is_open=False, is_bare=False, extra_input=False, extra_output=False, shape=None,
):  # fmt: skip
    """A model that tells how red, green and blue every tile of its picture is (or all of it, for `classes`).

    `spoil` is an operator that turns the colours' means [1, 3, h, w] into something worse.
    """
    graph = Graph()
    width, height = ("w", "h") if is_open else size
    shape = shape or ([batch, 3, height, width] if layout == "NCHW" else [batch, height, width, 3])
    inputs = [helper.make_tensor_value_info("picture", kind, shape)]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("other", FLOAT, [1]))
    if is_bare:
        return graph.model(inputs, [(graph.node("ReduceMean", "picture"), FLOAT)])
    value = "picture" if kind == FLOAT else graph.node("Cast", "picture", to=FLOAT)
    if kind == BYTES:
        value = graph.node("Div", value, graph.constant(np.float32(255)))
    if layout == "NHWC":
        value = graph.node("Transpose", value, perm=[0, 3, 1, 2])
    if output == "classes":
        value = graph.node("GlobalAveragePool", value)
    else:
        value = graph.node("AveragePool", value, kernel_shape=[TILE, TILE], strides=[stride, stride])
    value = spoil(graph, value) if spoil else value
    value = graph.node("Reshape", value, graph.constant([1, 3, -1]))
    value = graph.node("Mul", value, graph.constant(np.float32(gain)))
    corners = corners_of_tiles(stride, size) / ([*size, *size] if shares else 1)
    if output == "yolo":
        centres = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        value = graph.node("Concat", graph.constant(centres.T[None].astype(np.float32)), value, axis=1)
        value = graph.node("Transpose", value, perm=[0, 2, 1]) if reverse else value
    elif output == "boxes":
        score = graph.node("ReduceMax", value, axes=[1])
        label = graph.node("Cast", graph.node("ArgMax", value, axis=1), to=FLOAT)
        value = graph.node("Concat", graph.constant(corners.T[None].astype(np.float32)), score, label, axis=1)
        value = graph.node("Transpose", value, perm=[0, 2, 1])
        value = graph.node("Reshape", value, graph.constant([-1, 6])) if flat else value
    elif output == "classes":
        value = graph.node("Reshape", value, graph.constant([1, 3]))
        value = graph.node("Softmax", value) if softmax else value
    elif output == "counts":
        value = graph.node("ArgMax", value, axis=1)
    value = graph.node("Cast", value, to=HALF) if kind == HALF else value
    kinds = {HALF: HALF}.get(kind, TensorProto.INT64 if output == "counts" else FLOAT)
    return graph.model(inputs, [(value, kinds)] + ([("Reshape1", FLOAT)] if extra_output else []))


def written(folder, model, labels=LABELS):
    onnx.save(model, folder / "part.onnx")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    return folder


def loaded(
    folder, model, *, box=(10, 20, *SIZE), labels=LABELS, inference=ONE_CORE, output="yolo", expect=None, **check
):
    recipe = ModelCheck(file="part.onnx", labels="labels.txt", output=output, expect=expect or {}, **check)
    return load_model_check("lid", box, recipe, written(folder, model, labels), inference)


def picture(*squares, size=SIZE, side=TILE, background=0):
    """Squares of `side` px at (label, x, y) on an even background, [h, w, 3] BGR."""
    image = np.full((size[1], size[0], 3), background, np.uint8)
    for label, x, y in squares:
        image[y : y + side, x : x + side] = COLOURS[label]
    return image


def seen(one, image):
    found = one.look(image, None)
    assert found.problem is None
    return sorted((sighting.label, *sighting.box) for sighting in found.sightings)


SQUARES = [("blue", 40, 48), ("green", 0, 0), ("red", 16, 24), ("red", 88, 56)]
SEEN = [(label, x, y, TILE, TILE) for label, x, y in SQUARES]


class TestDetector:
    @pytest.mark.parametrize(
        "model",
        [
            {"output": "yolo"},
            {"output": "yolo", "reverse": True},
            {"output": "yolo", "shares": True},
            {"output": "boxes"},
            {"output": "boxes", "flat": True},
            {"output": "boxes", "shares": True},
            {"layout": "NHWC"},
            {"kind": BYTES},
            {"kind": BYTES, "layout": "NHWC", "output": "boxes"},
            {"kind": HALF},
            {"batch": 1},
        ],
        ids=str,
    )
    def test_sees_the_same_however_it_is_written(self, tmp_path, model):
        one = loaded(tmp_path, seeing(**model), output=model.get("output", "yolo"))
        assert (one.name, one.box, one.size, one.answers) == ("lid.model", (10, 20, *SIZE), SIZE, frozenset())
        assert seen(one, picture(*SQUARES)) == SEEN
        assert seen(one, picture()) == []

    def test_the_order_of_channels_is_the_recipes(self, tmp_path):
        one = loaded(tmp_path, seeing(), channels="bgr")
        assert seen(one, picture(("red", 16, 24))) == [("blue", 16, 24, TILE, TILE)]

    def test_pixels_are_scaled_as_the_recipe_says(self, tmp_path):
        # (value - mean) / std, each in the model's own order of channels: red alone is made as dark as black.
        one = loaded(tmp_path, seeing(), mean=(255, 0, 0), std=(255, 255, 255))
        assert seen(one, picture(*SQUARES)) == [each for each in SEEN if each[0] != "red"]
        one = loaded(tmp_path, seeing(), std=(255, 1000, 255))
        assert seen(one, picture(*SQUARES)) == [each for each in SEEN if each[0] != "green"]

    @pytest.mark.parametrize(
        ("size", "side"),
        [((192, 64), 16), ((96, 128), 16), ((48, 32), 4), ((24, 32), 4), ((192, 128), 16), ((480, 100), 40)],
    )
    def test_boxes_are_taken_back_to_the_cut(self, tmp_path, size, side):
        one = loaded(tmp_path, seeing(stride=1), box=(0, 0, *size), confidence=0.8, overlap=0.3)
        assert one.size == (size if max(size) <= 192 else (192, 40))
        image = cv2.resize(picture(("red", size[0] // 2, size[1] // 4), size=size, side=side), one.size)
        shrunk = one.size[0] / size[0]
        ((label, *box),) = seen(one, image)
        assert label == "red"
        truth = np.array([size[0] // 2, size[1] // 4, side, side]) * shrunk
        # A tile of the model's picture is found to its pixel.
        assert np.abs(np.array(box) - truth).max() <= max(size[0] / SIZE[0], size[1] / SIZE[1]) * shrunk + 0.5

    def test_a_large_region_is_not_copied_whole(self, tmp_path):
        assert loaded(tmp_path, seeing(), box=(0, 0, 4000, 3000)).size == (192, 144)
        assert loaded(tmp_path, seeing(), box=(0, 0, 9000, 2)).size == (192, 1)

    def test_what_it_is_not_sure_of_is_not_seen(self, tmp_path):
        image = picture(background=0)
        image[24:32, 16:24] = (0, 0, 150)
        for confidence, count in ((0.5, 1), (0.58, 1), (0.6, 0)):
            assert len(seen(loaded(tmp_path, seeing(), confidence=confidence), image)) == count

    def test_each_thing_is_seen_once(self, tmp_path):
        # Windows half a tile apart: those beside the square see half of it, and overlap it by a third.
        image = picture(("red", 16, 24), ("blue", 64, 24))
        for overlap, count in ((0.3, 1), (0.4, 5)):
            one = loaded(tmp_path, seeing(stride=4), confidence=0.45, overlap=overlap)
            assert [label for label, *_ in seen(one, image)] == ["blue"] * count + ["red"] * count

    @pytest.mark.parametrize(
        ("expect", "score", "expected", "boxes"),
        [
            ({"red": 2, "green": 1, "blue": 1}, RIGHT, "red=2, green=1, blue=1", 0),
            ({"red": {"least": 1}, "green": {"most": 1}, "blue": {"least": 1, "most": 3}}, RIGHT,
             "red>=1, green<=1, blue=1..3", 0),
            ({"red": 1, "green": 1, "blue": 1}, WRONG, "red=1, green=1, blue=1", 2),
            ({"red": 3, "green": 1, "blue": 1}, WRONG, "red=3, green=1, blue=1", 0),
            # What is not named must not be there.
            ({"red": 2, "green": 1}, WRONG, "red=2, green=1", 1),
            ({"red": 2, "green": 1, "blue": 0}, WRONG, "red=2, green=1, blue=0", 1),
            ({}, WRONG, "nothing", 4),
            ({"red": {"least": 3}, "green": {}, "blue": {}}, WRONG, "red>=3, green>=0, blue>=0", 0),
        ],
    )  # fmt: skip
    def test_counts(self, tmp_path, expect, score, expected, boxes):
        one = loaded(tmp_path, seeing(), expect=expect)
        finding = one.hold(one.look(picture(*SQUARES), None), {"variant": "b", "code": "1"})
        assert (finding.score, finding.limits, finding.problem) == (score, EXACT, None)
        assert (finding.found, finding.expected) == ("red=2, green=1, blue=1", expected)
        assert len(finding.boxes) == boxes

    def test_the_boxes_are_those_of_what_is_too_much(self, tmp_path):
        one = loaded(tmp_path, seeing(), expect={"red": 1, "green": 1})
        finding = one.hold(one.look(picture(*SQUARES), None), {})
        assert sorted(finding.boxes) == [(16, 24, TILE, TILE), (40, 48, TILE, TILE), (88, 56, TILE, TILE)]

    def test_nothing_is_a_count_too(self, tmp_path):
        one = loaded(tmp_path, seeing(), expect={})
        finding = one.hold(one.look(picture(), None), {})
        assert (finding.score, finding.found, finding.expected) == (RIGHT, "nothing", "nothing")
        one = loaded(tmp_path, seeing(), expect={"red": 1})
        assert one.hold(one.look(picture(), None), {}).score == WRONG


class TestClassifier:
    def classifier(self, folder, **changes):
        model = {
            key: changes.pop(key) for key in list(changes) if key in ("softmax", "gain", "is_open", "layout", "kind")
        }
        return loaded(folder, seeing("classes", gain=model.pop("gain", 8.0), **model), output="classes", **changes)

    def held(self, one, image):
        finding = one.hold(one.look(image, None), {})
        return finding.score, finding.found, finding.expected

    @pytest.mark.parametrize("softmax", [True, False])
    @pytest.mark.parametrize("colour", LABELS)
    def test_the_winner_must_be_the_one_expected(self, tmp_path, colour, softmax):
        one = self.classifier(tmp_path, softmax=softmax, expect={"red": 1})
        image = picture()
        image[:] = COLOURS[colour]
        assert self.held(one, image) == (RIGHT if colour == "red" else WRONG, colour, "red")

    @pytest.mark.parametrize("softmax", [True, False])
    def test_scores_become_probabilities_once(self, tmp_path, softmax):
        # Three logits of which one is higher by d: its probability is e^d / (e^d + 2).
        image = picture()
        image[:] = (0, 0, 255)
        for gain in (1.0, 2.0):
            probability = math.exp(gain) / (math.exp(gain) + 2)
            for side, found in ((-0.01, "red"), (0.01, "unclear")):
                one = self.classifier(
                    tmp_path, softmax=softmax, gain=gain, confidence=probability + side, expect={"red": 1}
                )
                assert self.held(one, image) == (RIGHT if found == "red" else WRONG, found, "red")

    def test_a_tie_is_unclear(self, tmp_path):
        one = self.classifier(tmp_path, confidence=0.1, expect={"red": {"most": 1}, "green": {"most": 1}})
        assert self.held(one, picture()) == (WRONG, "unclear", "red or green")

    @pytest.mark.parametrize(
        ("expect", "right"),
        [
            ({"red": 1}, {"red"}),
            ({"red": {"least": 1}}, {"red"}),
            ({"red": 1, "green": 0}, {"red"}),
            ({"red": 1, "green": {"most": 1}}, {"red"}),
            ({"red": {"most": 1}, "green": {}}, {"red", "green"}),
        ],
    )
    def test_which_labels_may_win(self, tmp_path, expect, right):
        one = self.classifier(tmp_path, expect=expect)
        for colour in LABELS:
            image = picture()
            image[:] = COLOURS[colour]
            assert (self.held(one, image)[0] == RIGHT) == (colour in right)

    @pytest.mark.parametrize(
        "expect", [{}, {"red": 0}, {"red": 2}, {"red": 1, "green": 1}, {"red": {"least": 2, "most": 3}}]
    )
    def test_what_no_winner_can_fulfil_is_refused(self, tmp_path, expect):
        with pytest.raises(GoldlineError, match=r"recipe\.toml: region lid: model\.expect: .* exactly one wins"):
            self.classifier(tmp_path, expect=expect)

    def test_a_label_without_another_is_refused(self, tmp_path):
        with pytest.raises(GoldlineError, match=r"labels\.txt: a classifier needs two labels"):
            self.classifier(tmp_path, labels=["red"], expect={"red": 1})

    def test_it_is_shown_all_of_the_region(self, tmp_path):
        # Stretched, not fitted in: no grey around it, and both halves count.
        one = self.classifier(tmp_path, box=(0, 0, 300, 20), confidence=0.9, expect={"red": 1})
        image = picture(size=(192, 13))
        image[:] = COLOURS["red"]
        assert self.held(one, image)[0] == RIGHT
        image[:, :96] = COLOURS["blue"]
        assert self.held(one, image)[:2] == (WRONG, "unclear")

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_an_open_size_is_the_recipes(self, tmp_path, layout):
        one = self.classifier(tmp_path, is_open=True, layout=layout, size_px=48, expect={"red": 1}, box=(0, 0, 200, 50))
        assert (one.model.size, one.size) == ((48, 48), (96, 24))
        image = picture(size=one.size)
        image[:] = COLOURS["red"]
        assert self.held(one, image)[0] == RIGHT


def unless_black(graph, value):
    """0 / 0 where the picture is black, else as it was."""
    return graph.node("Div", graph.node("Mul", value, value), value)


def unless_red(graph, value):
    """Takes a part that is not there where the picture is far more red than blue."""
    red, _, blue = (graph.node("Gather", value, graph.constant(np.int64(at)), axis=1) for at in range(3))
    over = graph.node("Sub", graph.node("Sub", red, blue), graph.constant(np.float32(0.5)))
    place = graph.node("Mul", graph.node("Relu", over), graph.constant(np.float32(10)))
    highest = graph.node("Cast", graph.node("ReduceMax", place, keepdims=0), to=TensorProto.INT64)
    first = graph.node("Gather", value, highest, axis=0)
    return graph.node("Add", value, graph.node("Mul", first, graph.constant(np.float32(0))))


def never(graph, value):
    """Takes a part that is not there."""
    return graph.node("Gather", value, graph.constant(np.array([7])), axis=0)


class TestCannotJudge:
    def problem(self, one, image):
        finding = one.hold(one.look(image, None), {})
        calibration = Calibration(
            scales={"lid.anomaly": CheckScale(median=0, spread=1)}, limits=Limits(review=4, fail=8), images=9, rate=None
        )
        verdict = judge.decide({"lid.anomaly": 0.0}, calibration, {one.name: finding})
        assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.CANNOT_JUDGE)
        assert verdict.detail == f"lid.model: {finding.problem}"
        return finding.problem

    @pytest.mark.parametrize("output", ["yolo", "boxes", "classes"])
    def test_what_is_no_number(self, tmp_path, output):
        one = loaded(tmp_path, seeing(output, spoil=unless_black), output=output, expect={"red": 1})
        assert self.problem(one, picture()) == "its output holds what is no number"
        assert one.look(picture(background=9), None).problem is None

    def test_what_the_model_fails_on(self, tmp_path):
        one = loaded(tmp_path, seeing(spoil=unless_red), expect={})
        assert one.look(picture(("blue", 0, 0)), None).problem is None
        assert "part.onnx: this model fails: " in self.problem(one, picture(("red", 0, 0)))


class TestOutputs:
    def found(self, rows, kind="boxes", labels=3, size=(100, 100), overlap=0.5):
        return outputs.detections(np.array(rows, np.float32), kind, labels, size, confidence=0.5, overlap=overlap)

    def test_boxes_of_two_labels_are_two_things(self):
        rows = [[10, 10, 30, 30, 0.7, 0], [10, 10, 30, 30, 0.9, 1], [11, 10, 31, 30, 0.8, 1]]
        found = self.found(rows)
        assert found.labels.tolist() == [1, 0]
        assert found.corners.tolist() == [[10, 10, 30, 30]] * 2

    def test_none_is_none(self):
        for rows in (np.zeros((0, 6)), np.zeros((1, 0, 6)), np.full((1, 300, 6), -1)):
            assert len(self.found(rows).labels) == 0

    def test_they_end_with_the_picture(self):
        assert self.found([[-9, 5, 300, 20, 0.9, 0]]).corners.tolist() == [[0, 5, 100, 20]]

    def test_thousands_are_compared_in_time(self):
        corners = np.random.default_rng(2).uniform(0, 90, (20_000, 2))
        rows = np.concatenate([corners, corners + 8, np.full((20_000, 1), 0.8), np.zeros((20_000, 1))], axis=1)
        assert 1 < len(self.found(rows).labels) < 1000

    @pytest.mark.parametrize("label", [-1, 3, 40])
    def test_a_label_that_is_not_there_is_refused(self, label):
        with pytest.raises(GoldlineError, match=f"it found class {label}, and there are 3 labels"):
            self.found([[1, 1, 9, 9, 0.9, label]])
        assert len(self.found([[1, 1, 9, 9, 0.1, label]]).labels) == 0

    @pytest.mark.parametrize("shape", [(6,), (3, 7), (2, 4, 6), (1, 1, 4, 6)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(GoldlineError, match="does not hold boxes"):
            self.found(np.zeros(shape))

    def test_scores_must_stay_probabilities(self):
        with pytest.raises(GoldlineError, match=r"no probabilities any more: they sum to 1\.4"):
            outputs.probabilities(np.array([[0.7, 0.7]], np.float32), 2, from_logits=False)
        large = outputs.probabilities(np.array([[1000, 0]], np.float32), 2, from_logits=True)
        assert large.tolist() == [1, 0]


class TestLoading:
    @pytest.mark.parametrize(
        ("model", "reason"),
        [
            ({"extra_input": True}, r"has 2 inputs \(picture, other\)"),
            ({"extra_output": True}, r"has 2 outputs \(\w+, \w+\)"),
            ({"shape": ["n", 3, 64], "is_bare": True}, r"input picture \[n, 3, 64\]: a picture has 4 dimensions"),
            ({"shape": ["n", 1, 64, 96]}, r"input picture \[n, 1, 64, 96\]: .* must be the 3 channels"),
            ({"shape": ["n", "c", 64, 96]}, r"\[n, c, 64, 96\]: .* must be the 3 channels"),
            ({"shape": ["n", 3, 64, 3]}, r"\[n, 3, 64, 3\]: .* must be the 3 channels"),
            ({"batch": 4, "is_bare": True}, r"\[4, 3, 64, 96\]: it must take one picture at a time"),
            ({"kind": DOUBLE}, r"is tensor\(double\): it must be one of tensor\(float\)"),
            ({"output": "counts"}, r"output \w+ is tensor\(int64\)"),
            ({"spoil": never}, r"this model fails: \w"),
            ({"gain": 255.0}, r"one of its scores is 128; they must lie from 0 to 1"),
            ({"gain": math.nan}, r"its output holds what is no number, whatever it is shown"),
            ({"size": (7 * TILE, TILE)}, r"its output \[1, 7, 7\] can be read either way with 3 labels"),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )
    def test_what_is_no_such_model_is_refused(self, tmp_path, model, reason):
        self.refused(rf"^{tmp_path}/part\.onnx: .*{reason}", tmp_path, seeing(**model))

    def refused(self, message, folder, model, **changes):
        # What ONNX Runtime itself finds wrong with a model of ours must not pass for a refusal.
        with pytest.raises(GoldlineError, match=message) as refusal:
            loaded(folder, model, **changes)
        assert "\n" not in str(refusal.value)

    @pytest.mark.parametrize(
        ("output", "reason"),
        [
            ("yolo", r"its output \[1, 7, 96\] does not fit the 2 labels: they make \[1, 6, any\]"),
            ("classes", r"its output \[1, 3\] does not fit the labels: they make \[1, 2\]"),
            # The rows of boxes do not say how many classes there are, but noise looks like any of them.
            ("boxes", r"it found class 2, and there are 2 labels"),
        ],
    )
    def test_labels_that_do_not_fit_the_model(self, tmp_path, output, reason):
        model = seeing(output)
        self.refused(rf"part\.onnx: {reason}", tmp_path, model, output=output, labels=LABELS[:2], expect={"red": 1})

    def test_an_output_of_another_kind(self, tmp_path):
        self.refused("does not hold boxes", tmp_path, seeing("yolo"), output="boxes")
        self.refused("does not fit the 3 labels", tmp_path, seeing("classes"), output="yolo")
        self.refused("does not fit the labels", tmp_path, seeing("boxes"), output="classes", expect={"red": 1})

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "there is no label in it"),
            (b"\n \n", "there is no label in it"),
            (b"red\n\nblue\n", "line 2 is empty"),
            (b"red\ngreen\nred\n", "line 3: 'red' is the label of line 1 too"),
            (b"red\ngr\xfcn\n", "not UTF-8 text, at byte 6"),
            (None, "cannot be read: No such file"),
        ],
    )
    def test_labels_that_are_none(self, tmp_path, content, reason):
        written(tmp_path, seeing())
        (tmp_path / "labels.txt").unlink()
        if content is not None:
            (tmp_path / "labels.txt").write_bytes(content)
        recipe = ModelCheck(file="part.onnx", labels="labels.txt", output="yolo", expect={})
        with pytest.raises(GoldlineError, match=rf"labels\.txt: {reason}"):
            load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, ONE_CORE)

    def test_labels_as_other_systems_write_them(self, tmp_path):
        written(tmp_path, seeing())
        (tmp_path / "labels.txt").write_bytes("\ufeffred\r\n grün \r\nblue\r\n\r\n".encode())
        recipe = ModelCheck(file="part.onnx", labels="labels.txt", output="yolo", expect={"grün": 1})
        one = load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, ONE_CORE)
        assert one.labels == ("red", "grün", "blue")

    def test_what_is_expected_must_be_a_label(self, tmp_path):
        reason = r"recipe\.toml: region lid: model\.expect: bolt: there is no such label in .*labels\.txt"
        self.refused(reason, tmp_path, seeing(), expect={"red": 1, "bolt": 1})
        with pytest.raises(ValueError, match="least = 3 must be at most most = 2"):
            Count(least=3, most=2)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [(None, "cannot be read: No such file"), (b"", r"cannot be loaded: \w"), (b"no model" * 99, r"cannot be loaded: \w")],
    )  # fmt: skip
    def test_a_model_that_is_none(self, tmp_path, content, reason):
        written(tmp_path, seeing())
        (tmp_path / "part.onnx").unlink()
        if content is not None:
            (tmp_path / "part.onnx").write_bytes(content)
        recipe = ModelCheck(file="part.onnx", labels="labels.txt", output="yolo", expect={})
        with pytest.raises(GoldlineError, match=rf"part\.onnx: this model {reason}") as refusal:
            load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, ONE_CORE)
        assert "\n" not in str(refusal.value)

    def test_paths_are_the_recipes_or_absolute(self, tmp_path):
        (tmp_path / "models").mkdir()
        written(tmp_path / "models", seeing())
        for folder in ("models", tmp_path / "models"):
            recipe = ModelCheck(file=f"{folder}/part.onnx", labels=f"{folder}/labels.txt", output="yolo", expect={})
            one = load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, ONE_CORE)
            assert one.model.file == tmp_path / "models" / "part.onnx"

    def test_weights_may_lie_beside_the_model(self, tmp_path, monkeypatch):
        model = seeing()
        onnx.save(model, tmp_path / "part.onnx", save_as_external_data=True, location="weights")
        content = (tmp_path / "part.onnx").read_bytes()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        recipe = ModelCheck(file="part.onnx", labels="labels.txt", output="yolo", expect={})
        (tmp_path / "labels.txt").write_text("\n".join(LABELS))
        one = load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, ONE_CORE)
        assert seen(one, picture(*SQUARES)) == SEEN
        assert (tmp_path / "weights").is_file() and (tmp_path / "part.onnx").read_bytes() == content
        shutil.move(tmp_path / "weights", tmp_path / "lost")
        reason = r"part\.onnx: this model cannot be loaded: its weights weights cannot be read: No such file"
        with pytest.raises(GoldlineError, match=reason):
            load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, ONE_CORE)

    @pytest.mark.parametrize("location", ["../weights", "/weights"])
    def test_weights_elsewhere_are_refused(self, tmp_path, location):
        model = seeing()
        onnx.save(model, tmp_path / "part.onnx", save_as_external_data=True, location="weights")
        named = [entry for one in model.graph.initializer for entry in one.external_data if entry.key == "location"]
        assert named
        for entry in named:
            entry.value = location
        (tmp_path / "models").mkdir()
        self.refused("part.onnx: .* its weights .* lie outside its folder", tmp_path / "models", model)


class TestReadOnce:
    """A model that runs stays what it was, whatever is written over its files; the next start says what it is then."""

    def load(self, folder):
        recipe = ModelCheck(file="part.onnx", labels="labels.txt", output="yolo", expect={})
        return load_model_check("lid", (0, 0, *SIZE), recipe, folder, ONE_CORE)

    def over(self, folder, name, content):
        """As `cp` does it: the file stays, its bytes change."""
        with (folder / name).open("r+b") as file:
            file.write(content)
            file.truncate()

    def test_one_file(self, tmp_path):
        one = loaded(tmp_path, seeing())
        before = (tmp_path / "part.onnx").read_bytes()
        assert one.sha256 == hashlib.sha256(before).hexdigest()
        self.over(tmp_path, "part.onnx", seeing(reverse=True, gain=0.5).SerializeToString())
        assert seen(one, picture(*SQUARES)) == SEEN
        assert self.load(tmp_path).sha256 != one.sha256
        self.over(tmp_path, "part.onnx", before)
        assert self.load(tmp_path).sha256 == one.sha256

    def test_weights_beside_it(self, tmp_path):
        written(tmp_path, seeing())
        (tmp_path / "w").mkdir()
        # What lies in the other file is where the tiles are.
        onnx.save(seeing(), tmp_path / "part.onnx", save_as_external_data=True, location="w/eights")
        one = self.load(tmp_path)
        model, weights = ((tmp_path / name).read_bytes() for name in ("part.onnx", "w/eights"))
        assert one.sha256 == hashlib.sha256(model + weights).hexdigest()
        assert seen(one, picture(*SQUARES)) == SEEN
        self.over(tmp_path, "w/eights", bytes(len(weights)))
        assert seen(one, picture(*SQUARES)) == SEEN
        changed = self.load(tmp_path)
        assert changed.sha256 != one.sha256 and seen(changed, picture(*SQUARES)) != SEEN

    def test_a_name_longer_than_a_length_of_one_byte(self, tmp_path):
        name = "w" * 200
        onnx.save(seeing(), tmp_path / "part.onnx", save_as_external_data=True, location=name)
        (tmp_path / "labels.txt").write_text("\n".join(LABELS))
        assert seen(self.load(tmp_path), picture(*SQUARES)) == SEEN
        (tmp_path / name).unlink()
        with pytest.raises(GoldlineError, match=f"its weights {name} cannot be read"):
            self.load(tmp_path)

    def test_an_older_runtime_asks_for_one_file(self, tmp_path):
        class Options:
            """Of an ONNX Runtime that cannot be given weights."""

        weights.give(Options(), {}, "part.onnx")
        with pytest.raises(GoldlineError, match=r"^part\.onnx: weights beside a model need onnxruntime 1\.24"):
            weights.give(Options(), {"w": b"1"}, "part.onnx")


class TestProvider:
    @pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
    def test_the_one_asked_for_is_the_one_that_runs(self, tmp_path):
        with pytest.raises(GoldlineError, match=r"inference\.provider: cuda: this onnxruntime has only .*CPU"):
            loaded(tmp_path, seeing(), inference=InferenceConfig(provider="cuda", threads=1))
        one = loaded(tmp_path, seeing(), inference=InferenceConfig(provider="cuda", allow_fallback=True, threads=1))
        assert one.fell_back
        assert seen(one, picture(*SQUARES)) == SEEN
        assert not loaded(tmp_path, seeing()).fell_back

    def test_threads_are_the_stations_unless_told(self, tmp_path):
        def threads(one):
            return one.model._session.get_session_options().intra_op_num_threads

        assert threads(loaded(tmp_path, seeing(), inference=InferenceConfig(threads=2))) == 2
        recipe = ModelCheck(file="part.onnx", labels="labels.txt", output="yolo", expect={})
        told = load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, InferenceConfig(threads=2), threads=1)
        assert threads(told) == 1

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_tensorrt_is_given_the_shape_and_a_cache(self, tmp_path, monkeypatch, layout):
        asked = compiled.tensorrt(monkeypatch)
        written(tmp_path, seeing("classes", layout=layout, is_open=True))
        recipe = ModelCheck(file="part.onnx", labels="labels.txt", output="classes", expect={"red": 1}, size_px=64)
        station = InferenceConfig(provider="tensorrt", threads=1)
        load_model_check("lid", (0, 0, *SIZE), recipe, tmp_path, station, engine_cache=tmp_path / "engines")
        (name, options), (beside, _) = asked[-1]
        assert (name, beside) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
        shape = "picture:1x3x64x64" if layout == "NCHW" else "picture:1x64x64x3"
        assert {options[f"trt_profile_{end}_shapes"] for end in ("min", "opt", "max")} == {shape}
        assert options["trt_engine_cache_path"].startswith(str(tmp_path / "engines"))
