"""One ONNX Runtime session: the provider asked for is the one that runs, warmed, with its batch sizes measured."""

import hashlib
import importlib
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge import weights
from edge.batch_sizes import BATCH_SIZES, Calibration, choose_batch
from edge.engine_cache import devices, engine_cache_key, tensorrt_version
from edge.errors import GoldlineError

ProviderName = Literal["cpu", "cuda", "tensorrt"]
PROVIDERS: Mapping[ProviderName, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Runs of a batch size before it is timed: the first few allocate memory and choose kernels.
WARM_RUNS = 3
# An arena keeps the most that any run took, for ever; with this option a run gives back what is free at its end.
SHRINKING = ("memory.enable_memory_arena_shrinkage", "cpu:0")
# ONNX Runtime's scale, 0 to 4: errors. Its warnings are about how graphs are written.
LOG_ERRORS = 3
# How ONNX Runtime says that a model cannot be loaded.
LOAD_ERRORS = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")

Images = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]
Tensors = Mapping[str, NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]]


class Session:
    """A loaded graph. `provider` is the one that runs; `fell_back` says that another was asked for.

    Raises GoldlineError where the model cannot be read, and where the provider asked for does not start, unless
    `allow_fallback`. `threads` 0 takes every core this process may use. `tensors` are the graph's inputs beside `image`,
    float32 of fixed shape: they are put on the device once, and every run finds them there; of several sets of them it
    is told which. TensorRT alone:
    `engine_cache` is the folder for compiled engines, and `device` the accelerator's name where it is not to be looked up.
    """

    def __init__(
        self,
        model: bytes | Path,
        *,
        tensors: Tensors | Sequence[Tensors] | None = None,
        provider: ProviderName = "cpu",
        threads: int = 0,
        allow_fallback: bool = False,
        device: str = "",
        engine_cache: Path | None = None,
    ) -> None:
        loader = Loader(model, threads)
        if provider == "tensorrt":
            options = loader.tensorrt_options(_batch_shapes(loader), device, engine_cache)
        else:
            options = OPTIONS[provider]
        self._session, self.fell_back = loader.begin(provider, options, allow_fallback=allow_fallback)
        self.provider: ProviderName = "cpu" if self.fell_back else provider
        # On the device once, for both sessions.
        sets = tensors if isinstance(tensors, Sequence) else [tensors or {}]
        self._tensors = [loader.placed(one, self.provider) for one in sets]
        self._bindings = self._bind(self._session)
        # On a CPU, for when other work waits for the cores: see `calibrate`.
        self._crowded, self._crowded_bindings = self._session, self._bindings
        self._loader = loader
        self.sha256 = loader.sha256
        self.picture = image_shape(self._session)
        self._names: list[str] = [output.name for output in self._session.get_outputs()]

    def run(self, images: Images, *, tensors: int = 0, crowded: bool = False) -> Outputs:
        """Every output of the graph for uint8 `images` [n, h, w, 3], n of any size; the rows keep their order.

        `tensors` is the number of the set that it runs with. `crowded`: other work waits for the cores, so none is spent
        on spinning. The outputs are the same.
        """
        if images.shape[1:] != self.picture or not len(images):
            raise ValueError(f"pictures {images.shape} do not fit the graph's [n, {self.picture}]")
        largest = BATCH_SIZES[-1]
        parts = [
            self._run(images[start : start + largest], tensors, crowded=crowded)
            for start in range(0, len(images), largest)
        ]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._names}

    def calibrate(self, runs: int = 10, allowed: Sequence[int] = BATCH_SIZES, budget_ms: float = 0) -> Calibration:
        """Times the allowed batch sizes on noise, smallest first, up to one that is not worthwhile; which warms them.

        `budget_ms` 0 is without a bound. Batches form when frames wait, so the crowded session is the one that is timed.
        Afterwards it holds the memory that the batches it chose take, not that of the largest it tried.
        """
        if self.provider == "cpu" and self._crowded is self._session:
            self._crowded = self._loader.start("cpu", OPTIONS["cpu"], spins=False)
            self._crowded_bindings = self._bind(self._crowded)
        service_ms: dict[int, float] = {}
        for size in sorted(allowed):
            self._time(size, 0, crowded=False)
            service_ms[size] = self._time(size, runs, crowded=True)
            if choose_batch(service_ms, budget_ms) != size:
                break
        found = Calibration(service_ms=service_ms, max_batch=choose_batch(service_ms, budget_ms))
        if self.provider == "cpu":
            self._shrink(found.max_batch)
        return found

    def _shrink(self, size: int) -> None:
        """Give back what batches of more than `size` took, then take again what one of `size` takes."""
        for crowded in (False, True):
            self._run(self._noise(1), 0, crowded=crowded, options=self._loader.shrinking)
            self._run(self._noise(size), 0, crowded=crowded)

    def _run(self, images: Images, tensors: int, *, crowded: bool, options: Any = None) -> Outputs:
        count = len(images)
        padding = next(size for size in BATCH_SIZES if size >= count) - count
        if padding:
            images = np.concatenate([images, np.repeat(images[-1:], padding, 0)])
        session = self._crowded if crowded else self._session
        binding = (self._crowded_bindings if crowded else self._bindings)[tensors]
        values: list[Any]
        if self._tensors[tensors]:
            binding.bind_cpu_input("image", np.ascontiguousarray(images))
            # Outputs of the last run would be taken for the space of this one, whose batch may be of another size.
            binding.clear_binding_outputs()
            for name in self._names:
                binding.bind_output(name)
            session.run_with_iobinding(binding, options)
            values = binding.copy_outputs_to_cpu()
        else:
            values = session.run(self._names, {"image": images}, options)
        return {name: value[:count] for name, value in zip(self._names, values, strict=True)}

    def _bind(self, session: Any) -> list[Any]:
        """A session's bindings to each set of tensors, where they lie. Raises ValueError for others than the graph's."""
        wanted = {value.name: tuple(value.shape) for value in session.get_inputs() if value.name != "image"}
        bindings: list[Any] = []
        for tensors in self._tensors:
            given = {name: tuple(value.shape()) for name, value in tensors.items()}
            if wanted != given:
                raise ValueError(f"tensors {given} are not the graph's {wanted}")
            bindings.append(session.io_binding())
            for name, value in tensors.items():
                bindings[-1].bind_ortvalue_input(name, value)
        return bindings

    def _noise(self, size: int) -> Images:
        return np.random.default_rng(0).integers(0, 256, (size, *self.picture), np.uint8)

    def _time(self, size: int, runs: int, *, crowded: bool) -> float:
        images = self._noise(size)
        spans: list[float] = []
        for _ in range(WARM_RUNS + runs):
            started = time.perf_counter()
            self._run(images, 0, crowded=crowded)
            spans.append((time.perf_counter() - started) * 1e3)
        return statistics.median(spans[WARM_RUNS:] or spans)


# CUDA: grow memory by what is asked; pick convolution kernels by rule, not by minutes of trial; and no TF32, whose
# ten bits of mantissa would give a distance, the small difference of large squares, that differs between devices.
OPTIONS: Mapping[ProviderName, dict[str, str]] = {
    "cpu": {},
    "cuda": {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
}


def image_shape(session: Any) -> tuple[int, int, int]:
    """Height, width and channels of a graph's `image`."""
    image = next(value for value in session.get_inputs() if value.name == "image")
    return tuple(image.shape[1:])


class Loader:
    """Starts one model on one provider or another. `errors` are what ONNX Runtime raises for a model that is wrong.

    `sha256` is that of the file; of one with weights beside it, of all of them, in the order of their names. Raises
    GoldlineError where the model cannot be read.
    """

    def __init__(self, model: bytes | Path, threads: int) -> None:
        # Read when it is imported: from 1.32 on its wheels leave a device id in the user's home and collect events for
        # Microsoft. A station tells nobody but its subscribers.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        # ONNX Runtime declares no types.
        self.runtime: Any = importlib.import_module("onnxruntime")
        state: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        self.errors: tuple[type[Exception], ...] = tuple(getattr(state, name) for name in LOAD_ERRORS)
        self.name = "model" if isinstance(model, bytes) else str(model)
        self.content = weights.read(model)
        self._weights = {} if isinstance(model, bytes) else weights.read_beside(model, self.content)
        self.sha256 = hashlib.sha256(b"".join((self.content, *self._weights.values()))).hexdigest()
        self.threads = threads or len(os.sched_getaffinity(0))
        self.shrinking: Any = self.runtime.RunOptions()
        self.shrinking.add_run_config_entry(*SHRINKING)

    def begin(
        self, provider: ProviderName, options: Mapping[str, str], *, allow_fallback: bool, spins: bool = True
    ) -> tuple[Any, bool]:
        """A session on this provider, and whether it fell back to the CPU. Raises GoldlineError where neither starts."""
        session = self.start(provider, options, spins=spins)
        if session is not None:
            return session, False
        if not allow_fallback:
            raise GoldlineError(self.refusal(provider))
        return self.start("cpu", OPTIONS["cpu"], spins=spins), True

    def start(self, provider: ProviderName, options: Mapping[str, str], *, spins: bool = True) -> Any:
        """A session on this provider; None where it does not start. Raises GoldlineError for a broken model."""
        wanted = PROVIDERS[provider]
        if provider != "cpu":
            # Finds the CUDA libraries of the `gpu` extra; a system's own are found without it.
            self.runtime.preload_dlls()
        if wanted not in self.runtime.get_available_providers():
            return None
        # What TensorRT does not know runs on CUDA beside it.
        beside = [(PROVIDERS["cuda"], OPTIONS["cuda"])] if provider == "tensorrt" else []
        try:
            session = self.runtime.InferenceSession(
                self.content, self._session_options(spins=spins), providers=[(wanted, options), *beside]
            )
        except self.errors as error:
            raise GoldlineError(f"{self.name}: this model cannot be loaded: {self.reason(error)}") from error
        return session if session.get_providers()[0] == wanted else None

    def placed(self, tensors: Tensors, provider: ProviderName) -> dict[str, Any]:
        """Arrays on the provider's device."""
        device = "cpu" if provider == "cpu" else "cuda"
        place = self.runtime.OrtValue.ortvalue_from_numpy
        return {name: place(np.ascontiguousarray(values), device, 0) for name, values in tensors.items()}

    @staticmethod
    def reason(error: Exception) -> str:
        """What ONNX Runtime's error says is wrong, on one line."""
        return " ".join(str(error).rpartition(" : ")[2].split())

    def refusal(self, provider: ProviderName) -> str:
        """Why the provider did not start, as far as this side of ONNX Runtime can know."""
        present = ", ".join(self.runtime.get_available_providers())
        if PROVIDERS[provider] not in present:
            reason = f"this onnxruntime has only {present}; install goldline[gpu]"
        else:
            reason = "it did not start; are its driver and libraries installed?"
        return f"inference.provider: {provider}: {reason}, or set inference.allow_fallback = true to run on the CPU"

    def tensorrt_options(self, ends: tuple[str, str], device: str, engine_cache: Path | None) -> dict[str, str]:
        """Fixed shapes, and engines kept where only the same model, versions, device and shapes find them.

        `ends` are the smallest and the largest shape of its input, as TensorRT writes them: `image:1x64x64x3`.
        """
        options = {
            "trt_profile_min_shapes": ends[0],
            "trt_profile_opt_shapes": ends[0],
            "trt_profile_max_shapes": ends[1],
        }
        if engine_cache is not None:
            key = engine_cache_key(self.sha256, self.runtime.__version__, tensorrt_version(), device or devices(), ends)
            folder = engine_cache / key
            folder.mkdir(parents=True, exist_ok=True)
            options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
            options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}
        return options

    def _session_options(self, *, spins: bool) -> Any:
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = LOG_ERRORS
        # Threads that spin between the operators of a run save waking them dozens of times in it; never between runs
        # (decision 12).
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        weights.give(options, self._weights, self.name)
        return options


def _batch_shapes(loader: Loader) -> tuple[str, str]:
    """The smallest and the largest batch of a graph's `image`."""
    picture = "x".join(map(str, image_shape(loader.start("cpu", OPTIONS["cpu"]))))
    return f"image:{BATCH_SIZES[0]}x{picture}", f"image:{BATCH_SIZES[-1]}x{picture}"
