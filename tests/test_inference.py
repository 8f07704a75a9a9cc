"""The session runs where it was asked to or says why not, and batches change nothing but the time."""

import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backbone import BUNDLED, feature_graph
from edge.batch_sizes import BATCH_SIZES, WORTHWHILE, choose_batch
from edge.engine_cache import engine_cache_key
from edge.errors import GoldlineError
from edge.inference import Session
from tests import compiled
from tests.small_backbone import CHANNELS, GRID, SIZE_WH, pictures, small_backbone

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
without_cuda = pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return feature_graph(small_backbone(tmp_path_factory.mktemp("model")), SIZE_WH)


class TestRun:
    def test_rows_keep_their_order_at_any_count(self, model):
        session = Session(model, threads=1)
        images = pictures(19)
        single = [session.run(image[None])["feat"][0] for image in images]
        for count in (1, 3, 8, 9, 19):
            got = session.run(images[:count])["feat"]
            assert got.shape == (count, GRID[0] * GRID[1], CHANNELS)
            np.testing.assert_allclose(got, single[:count], atol=1e-5)

    def test_only_allowed_batch_sizes_reach_the_runtime(self, model, monkeypatch):
        session = Session(model, threads=1)
        seen = []
        real = session._session

        class Watched:
            def run(self, names, feeds, _options=None):
                seen.append(len(feeds["image"]))
                return real.run(names, feeds)

        monkeypatch.setattr(session, "_session", Watched())
        for count in range(1, 20):
            session.run(pictures(count))
        assert set(seen) == set(BATCH_SIZES)

    def test_other_sizes_are_refused(self, model):
        session = Session(model, threads=1)
        for images in (pictures(1, size_wh=(64, 32)), pictures(1)[:0]):
            with pytest.raises(ValueError, match="do not fit"):
                session.run(images)

    def test_it_says_what_it_runs(self, model):
        session = Session(model, threads=1)
        assert (session.provider, session.fell_back, session.picture) == ("cpu", False, (32, 48, 3))

    def test_threads_spin_within_a_run_only_and_not_where_others_wait_for_the_cores(self, model):
        session = Session(model, threads=2)
        session.calibrate(runs=1)
        for one, spins in ((session._session, "1"), (session._crowded, "0")):
            options = one.get_session_options()
            assert options.get_session_config_entry("session.intra_op.allow_spinning") == spins
            assert options.get_session_config_entry("session.force_spinning_stop") == "1"
            assert options.intra_op_num_threads == 2

    def test_a_crowded_run_gives_the_same(self, model):
        session = Session(model, threads=2)
        session.calibrate(runs=1)
        images = np.random.default_rng(3).integers(0, 256, (3, *session.picture), np.uint8)
        quiet, crowded = session.run(images), session.run(images, crowded=True)
        assert all(np.array_equal(quiet[name], crowded[name]) for name in quiet)


class TestProvider:
    @without_cuda
    @pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
    def test_one_that_is_missing_is_refused(self, model, provider):
        with pytest.raises(GoldlineError, match=f"inference.provider: {provider}: this onnxruntime has only .*CPU"):
            Session(model, provider=provider)

    @without_cuda
    def test_a_fallback_is_asked_for_and_visible(self, model):
        session = Session(model, provider="cuda", allow_fallback=True, threads=1)
        assert (session.provider, session.fell_back) == ("cpu", True)
        assert session.run(pictures(2))["feat"].shape[0] == 2

    def test_one_that_does_not_start_is_refused(self, model, monkeypatch):
        # A machine whose onnxruntime has CUDA but whose driver is absent: the session comes up on the CPU instead.
        class Silent:
            def __init__(self, content, options, providers):
                self.asked = providers

            def get_providers(self):
                return ["CPUExecutionProvider"]

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
        monkeypatch.setattr(onnxruntime, "InferenceSession", Silent)
        with pytest.raises(GoldlineError, match="cuda: it did not start"):
            Session(model, provider="cuda")

    def test_tensorrt_is_given_fixed_shapes_and_a_cache_of_its_own(self, model, monkeypatch, tmp_path):
        asked = compiled.tensorrt(monkeypatch)
        folders = set()
        for device in ("one", "other"):
            session = Session(model, provider="tensorrt", engine_cache=tmp_path, device=device)
            assert session.provider == "tensorrt"
            (name, options), (beside, _) = asked[-1]
            assert (name, beside) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
            assert options["trt_profile_min_shapes"] == "image:1x32x48x3"
            assert options["trt_profile_max_shapes"] == "image:8x32x48x3"
            folders.add(options["trt_engine_cache_path"])
        assert len(folders) == 2
        assert {str(folder) for folder in tmp_path.iterdir()} == folders


class TestModel:
    @pytest.mark.parametrize("content", [b"", b"no model" * 100, BUNDLED.read_bytes()[:100_000]])
    def test_a_broken_one_is_named(self, tmp_path, content):
        path = tmp_path / "part.onnx"
        path.write_bytes(content)
        with pytest.raises(GoldlineError, match=r"part\.onnx: this model cannot be loaded: \w") as refusal:
            Session(path)
        assert "\n" not in str(refusal.value)

    def test_a_missing_one_is_named(self, tmp_path):
        with pytest.raises(GoldlineError, match=r"part\.onnx: this model cannot be read: No such file"):
            Session(tmp_path / "part.onnx")

    def test_it_is_loaded_without_onnx(self, model, tmp_path):
        # The daemon's path: what builds graphs stays out of it.
        path = tmp_path / "part.onnx"
        path.write_bytes(model)
        program = "import sys, pathlib; from edge.inference import Session; Session(pathlib.Path(sys.argv[1])); "
        program += "sys.exit('onnx' in sys.modules or 'cv2' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0


class TestCalibration:
    def test_times_batch_sizes(self, model):
        calibration = Session(model, threads=1).calibrate(runs=3, allowed=(1, 2))
        assert set(calibration.service_ms) == {1, 2}
        assert all(time > 0 for time in calibration.service_ms.values())
        assert calibration.max_batch in {1, 2}

    def test_tries_no_further_than_is_worthwhile(self, model, monkeypatch):
        session = Session(model, threads=1)
        monkeypatch.setattr(session, "_time", lambda size, runs, crowded: {1: 4.0, 2: 5.0, 4: 10.0}[size])
        assert session.calibrate().service_ms == {1: 4.0, 2: 5.0, 4: 10.0}

    @pytest.mark.parametrize(
        ("service_ms", "budget_ms", "best"),
        [
            ({1: 4, 2: 8, 4: 16, 8: 32}, 0, 1),  # a CPU: nothing gained
            ({1: 4, 2: 5, 4: 7, 8: 11}, 0, 8),  # an accelerator
            ({1: 4, 2: 5, 4: 7, 8: 11}, 8, 4),  # and a budget
            ({1: 4, 2: 5, 4: 9.9, 8: 11}, 0, 2),  # a step that is not worthwhile ends it
            ({1: 4}, 1, 1),  # over budget, but there is no smaller
        ],
    )
    def test_takes_the_largest_that_is_worthwhile(self, service_ms, budget_ms, best):
        assert choose_batch(service_ms, budget_ms) == best

    @given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=4), st.floats(0, 1000))
    def test_what_it_takes_is_inside_the_budget_and_cheaper(self, times, budget_ms):
        service_ms = dict(zip(BATCH_SIZES, times, strict=False))
        best = choose_batch(service_ms, budget_ms)
        if best != 1:
            assert not budget_ms or service_ms[best] <= budget_ms
            assert service_ms[best] / best <= WORTHWHILE * service_ms[1]


def test_an_engine_is_found_by_all_that_it_depends_on():
    ingredients = {"model_sha256": "m", "runtime": "r", "tensorrt": "t", "device": "d", "shapes": ["s"]}
    keys = {engine_cache_key(**ingredients)}
    for changed in ingredients:
        keys.add(engine_cache_key(**(ingredients | {changed: ["x"] if changed == "shapes" else "x"})))
    assert len(keys) == 6
    assert engine_cache_key(**ingredients) in keys


def test_nothing_is_left_in_the_home_of_the_user(model, tmp_path):
    path, home = tmp_path / "model.onnx", tmp_path / "home"
    path.write_bytes(model)
    home.mkdir()
    code = f"from pathlib import Path; from edge.inference import Session; Session(Path({str(path)!r}))"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", code], env=environ | {"HOME": str(home)}, check=True)
    assert list(home.iterdir()) == []
