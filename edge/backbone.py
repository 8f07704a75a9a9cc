"""The network that turns a picture into features. A setting: any ONNX file with declared feature maps.

The bundled one is EfficientNet-Lite0 (`models/README.md`). Another is declared by a table beside it, `NAME.toml` for
`NAME.onnx`, or by the same table as JSON in the file's own metadata, under the key `goldline.backbone`:

    input = "image"                        # float32, batch first
    layout = "NCHW"                        # or NHWC
    channels = "RGB"                       # or BGR
    mean = [123.7, 116.3, 103.5]           # subtracted from 0..255, in the order of `channels`
    deviation = [58.4, 57.1, 57.4]         # then divided by
    features = ["layer2", "layer3"]        # outputs [n, channels, height, width], the finest first
    size_multiple = 32                     # of the picture's sides
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, compose, helper, shape_inference, version_converter

from edge.errors import GoldlineError
from edge.graph import GraphBuilder

BUNDLED = Path(__file__).parent / "models" / "efficientnet_lite0.onnx"
METADATA_KEY = "goldline.backbone"
# From here on every reduction takes its axes as an input, which is how the bank's nodes are written.
OPSET = 18

Three = tuple[float, float, float]


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to feed a backbone, and which of its outputs are feature maps."""

    input: str
    features: tuple[str, ...]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR"] = "RGB"
    mean: Three = (0, 0, 0)
    deviation: Three = (1, 1, 1)
    size_multiple: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32


class FeatureGraph(NamedTuple):
    """A graph under construction, up to the tensor `features` [n, channels, cells], cells row by row over `grid`.

    `half` are the features of the picture at half its size, [n, channels, a quarter of the cells]; empty if not asked for.
    """

    builder: GraphBuilder
    features: str
    half: str
    channels: int
    grid: tuple[int, int]


class Backbone(msgspec.Struct, frozen=True, kw_only=True):
    """A backbone that has been read and holds what it declares."""

    name: str
    sha256: str
    content: bytes
    declaration: Declaration


def load_backbone(path: Path = BUNDLED) -> Backbone:
    """Reads and checks a backbone. Raises GoldlineError naming the file and what is wrong with it."""
    try:
        content = path.read_bytes()
        model = onnx.load_from_string(content)
    except (OSError, DecodeError) as error:
        raise GoldlineError(f"{path}: this backbone cannot be read: {error}") from error
    declaration = _declaration(path, model)
    _check(path, model, declaration)
    sha256 = hashlib.sha256(content + msgspec.json.encode(declaration)).hexdigest()
    return Backbone(name=path.stem, sha256=sha256, content=content, declaration=declaration)


def feature_grid(backbone: Backbone, size_wh: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the cells that a picture of this size falls into."""
    return _shapes(_model(backbone, size_wh), backbone)[0][1:]


def feature_graph(backbone: Backbone, size_wh: tuple[int, int], *, halved: bool = False) -> bytes:
    """An ONNX graph from uint8 BGR `image` [n, h, w, 3] to float32 `feat` [n, cells, channels], rows first.

    `halved` adds `half`, the features of the picture at half its size.
    """
    builder, features, half, channels, (rows, columns) = extend(backbone, size_wh, halved=halved)
    builder.node("Transpose", features, output="feat", perm=[0, 2, 1])
    builder.output("feat", ["n", rows * columns, channels])
    if halved:
        builder.node("Transpose", half, output="half", perm=[0, 2, 1])
        builder.output("half", ["n", rows * columns // 4, channels])
    return builder.finish()


def extend(backbone: Backbone, size_wh: tuple[int, int], *, halved: bool = False) -> FeatureGraph:
    """The backbone between a uint8 BGR picture and its features; `halved`, also at half the size, by the same weights.

    Each map is averaged over 3 x 3 cells, which lends every cell its surroundings (PatchCore, Roth et al. 2022);
    coarser maps are interpolated to the finest and all are laid behind one another.
    """
    model = _model(backbone, size_wh)
    shapes = _shapes(model, backbone)
    small = _half_shapes(backbone, size_wh, shapes) if halved else []
    del model.graph.output[:]
    builder = GraphBuilder(model)
    behind = list(model.graph.node)
    _feed(builder, backbone.declaration, size_wh)
    half = ""
    if halved:
        _feed_half(builder, backbone.declaration, behind)
        half = _joined(builder, [f"half/{name}" for name in _features(backbone)], small)
    features = _joined(builder, _features(backbone), shapes)
    return FeatureGraph(builder, features, half, sum(shape[0] for shape in shapes), shapes[0][1:])


def _joined(builder: GraphBuilder, names: list[str], shapes: list[tuple[int, int, int]]) -> str:
    rows, columns = shapes[0][1:]
    maps: list[str] = []
    for name, (_, height, width) in zip(names, shapes, strict=True):
        pooled = builder.node(
            "AveragePool", name, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1], count_include_pad=0
        )
        if (height, width) != (rows, columns):
            scale = builder.constant(np.array([1, 1, rows / height, columns / width], np.float32))
            pooled = builder.node("Resize", pooled, "", scale, mode="linear")
        maps.append(pooled)
    channels = sum(shape[0] for shape in shapes)
    joined = builder.node("Concat", *maps, axis=1)
    return builder.node("Reshape", joined, builder.constant([0, channels, rows * columns]))


def _half_shapes(
    backbone: Backbone, size_wh: tuple[int, int], shapes: list[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    half = (size_wh[0] // 2, size_wh[1] // 2)
    small = _shapes(_model(backbone, half), backbone)
    if any(2 * side != whole for side, whole in zip(small[0][1:], shapes[0][1:], strict=True)):
        raise GoldlineError(f"backbone {backbone.name}: {half[0]} x {half[1]} px do not give half as many cells a side")
    return small


def _feed_half(builder: GraphBuilder, declaration: Declaration, behind: list[onnx.NodeProto]) -> None:
    """The same nodes once more, behind the picture at half its size; what they multiply with stays one and the same."""
    image = f"backbone/{declaration.input}"
    is_planar = declaration.layout == "NCHW"
    planar = image if is_planar else builder.node("Transpose", image, perm=[0, 3, 1, 2])
    small = builder.node("AveragePool", planar, kernel_shape=[2, 2], strides=[2, 2])
    small = small if is_planar else builder.node("Transpose", small, perm=[0, 2, 3, 1])
    names = {image: small} | {name: f"half/{name}" for node in behind for name in node.output}
    for node in behind:
        builder.model.graph.node.append(_renamed(node, names))


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    """A copy that reads and writes other tensors, also where a node holds a graph of its own."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = f"half/{node.name}" if node.name else ""
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in (one for one in copy.attribute if one.HasField("g")):
        inner = [_renamed(each, names) for each in attribute.g.node]
        del attribute.g.node[:]
        attribute.g.node.extend(inner)
        for value in attribute.g.output:
            value.name = names.get(value.name, value.name)
    return copy


def _declaration(path: Path, model: onnx.ModelProto) -> Declaration:
    sidecar = path.with_suffix(".toml")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        if sidecar.exists():
            return msgspec.convert(tomllib.loads(sidecar.read_text()), Declaration, strict=False)
        if METADATA_KEY in metadata:
            return msgspec.json.decode(metadata[METADATA_KEY], type=Declaration)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        where = sidecar if sidecar.exists() else f"{path} [{METADATA_KEY}]"
        raise GoldlineError(f"{where}: {error}") from error
    raise GoldlineError(f"{path}: declares no feature maps; put a table with input and features into {sidecar}")


def _check(path: Path, model: onnx.ModelProto, declaration: Declaration) -> None:
    """Refuses a model that does not have what its declaration says."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in constants}
    if list(inputs) != [declaration.input]:
        raise GoldlineError(f"{path}: must have the one input {declaration.input!r}, has {sorted(inputs)}")
    tensor = inputs[declaration.input].type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != 4:
        raise GoldlineError(f"{path}: input {declaration.input!r} must be float32 with four dimensions")
    outputs = {value.name for value in model.graph.output}
    missing = [name for name in declaration.features if name not in outputs]
    if missing or not declaration.features:
        raise GoldlineError(f"{path}: no output {', '.join(missing) or 'declared'}; it has {sorted(outputs)}")
    if 0 in declaration.deviation:
        raise GoldlineError(f"{path}: a deviation of 0 cannot be divided by")


def _features(backbone: Backbone) -> list[str]:
    return [f"backbone/{name}" for name in backbone.declaration.features]


def _model(backbone: Backbone, size_wh: tuple[int, int]) -> onnx.ModelProto:
    """The backbone with its names out of the way, its opset raised to OPSET and its picture's size fixed."""
    declaration = backbone.declaration
    if any(side % declaration.size_multiple for side in size_wh):
        multiple = f"multiples of {declaration.size_multiple}"
        raise GoldlineError(f"backbone {backbone.name}: sides must be {multiple}, not {size_wh[0]} x {size_wh[1]}")
    model = onnx.load_from_string(backbone.content)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < OPSET:
        try:
            model = version_converter.convert_version(model, OPSET)
        except RuntimeError as error:
            raise GoldlineError(f"backbone {backbone.name}: export it with opset {OPSET} or later: {error}") from error
    model = compose.add_prefix(model, "backbone/")
    width, height = size_wh
    shape = ["n", 3, height, width] if declaration.layout == "NCHW" else ["n", height, width, 3]
    fixed = helper.make_tensor_value_info(f"backbone/{declaration.input}", TensorProto.FLOAT, shape)
    kept = [value for value in model.graph.input if value.name != fixed.name]
    del model.graph.input[:]
    model.graph.input.extend([fixed, *kept])
    return model


def _shapes(model: onnx.ModelProto, backbone: Backbone) -> list[tuple[int, int, int]]:
    """Channels, height and width of every feature map."""
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    found = {value.name: value.type.tensor_type.shape.dim for value in inferred.graph.output}
    shapes: list[tuple[int, int, int]] = []
    for name in _features(backbone):
        sizes = [dimension.dim_value for dimension in found[name]]
        if len(sizes) != 4 or 0 in sizes[1:]:
            plain = name.removeprefix("backbone/")
            raise GoldlineError(f"backbone {backbone.name}: {plain} is no feature map [n, channels, height, width]")
        shapes.append((sizes[1], sizes[2], sizes[3]))
    return shapes


def _feed(builder: GraphBuilder, declaration: Declaration, size_wh: tuple[int, int]) -> None:
    """Puts uint8 BGR [n, h, w, 3] in front, and what the backbone's input declares behind it."""
    graph = builder.model.graph
    behind = list(graph.node)
    del graph.node[:], graph.input[:]
    width, height = size_wh
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", height, width, 3]))
    is_planar = declaration.layout == "NCHW"
    # Bytes are moved before they become four times as many.
    x = builder.node("Transpose", "image", perm=[0, 3, 1, 2]) if is_planar else "image"
    if declaration.channels == "RGB":
        x = builder.node("Gather", x, builder.constant([2, 1, 0]), axis=1 if is_planar else 3)
    x = builder.node("Cast", x, to=TensorProto.FLOAT)
    shape = (1, 3, 1, 1) if is_planar else (1, 1, 1, 3)
    for kind, values, neutral in (("Sub", declaration.mean, 0), ("Div", declaration.deviation, 1)):
        if set(values) != {neutral}:
            x = builder.node(kind, x, builder.constant(np.array(values, np.float32).reshape(shape)))
    builder.node("Identity", x, output=f"backbone/{declaration.input}")
    graph.node.extend(behind)
