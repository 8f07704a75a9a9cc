"""Backbones small enough to work out by hand: what the bank does with features does not depend on whose they are."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.backbone import METADATA_KEY, Backbone, load_backbone

SIZE_WH = (48, 32)
GRID = (4, 6)
CHANNELS = 5


def small_model(*, layout="NCHW", opset=18, declaration=None, kind=TensorProto.FLOAT, extra_input=False):
    """Means of 8 x 8 pixels mixed to 3 channels (`fine`) and of 16 x 16 mixed to 2 (`coarse`)."""
    mix = np.random.default_rng(5).standard_normal((CHANNELS, 3, 1, 1)).astype(np.float32) / 32
    nodes = [helper.make_node("Transpose", ["image"], ["planar"], perm=[0, 3, 1, 2])] if layout == "NHWC" else []
    for name, side, weight in (("fine", 8, "mix3"), ("coarse", 16, "mix2")):
        nodes += [
            helper.make_node("AveragePool", ["planar" if nodes and layout == "NHWC" else "image"], [f"{name}_mean"],
                             kernel_shape=[side, side], strides=[side, side]),
            helper.make_node("Conv", [f"{name}_mean", weight], [name]),
        ]  # fmt: skip
    shape = ["n", 3, "h", "w"] if layout == "NCHW" else ["n", "h", "w", 3]
    inputs = [helper.make_tensor_value_info("image", kind, shape)]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("fine", "coarse")]
    constants = [numpy_helper.from_array(mix[:3], "mix3"), numpy_helper.from_array(mix[3:], "mix2")]
    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if declaration is not None:
        model.metadata_props.add(key=METADATA_KEY, value=msgspec.json.encode(declaration).decode())
    return model


DECLARATION = {"input": "image", "features": ["fine", "coarse"], "size_multiple": 16}


def small_backbone(folder: Path, **changes) -> Backbone:
    path = folder / "small.onnx"
    onnx.save(small_model(declaration=DECLARATION, **changes), path)
    return load_backbone(path)


def pictures(count, seed=0, size_wh=SIZE_WH):
    """Squares of 8 pixels in colours of their own, so that cells differ by far more than rounding."""
    width, height = size_wh
    colours = np.random.default_rng(seed).integers(0, 256, (count, height // 8, width // 8, 3), np.uint8)
    return colours.repeat(8, 1).repeat(8, 2)


def pooled(maps):
    """Means over 3 x 3 cells of [n, c, h, w], of those inside at the edges."""
    height, width = maps.shape[2:]
    out = np.empty_like(maps)
    for row in range(height):
        for column in range(width):
            window = maps[:, :, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            out[:, :, row, column] = window.mean((2, 3))
    return out


def doubled(maps):
    """[n, c, h, w] at twice the size, interpolated linearly between the middles of its pixels."""
    for axis in (2, 3):
        side = maps.shape[axis]
        place = np.clip((np.arange(2 * side) + 0.5) / 2 - 0.5, 0, side - 1)
        low = np.floor(place).astype(int)
        share = (place - low).reshape([-1 if at == axis else 1 for at in range(4)])
        high = np.minimum(low + 1, side - 1)
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps


def joined(fine, coarse):
    """Features [n, cells, c] of two maps, the second of half the first's size."""
    maps = np.concatenate([pooled(fine), doubled(pooled(coarse))], 1)
    return maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)


def small_features(images, mean=(0, 0, 0), deviation=(1, 1, 1), channels="RGB"):
    """What the small backbone's features are, in NumPy, from uint8 BGR [n, h, w, 3]."""
    mix = np.random.default_rng(5).standard_normal((CHANNELS, 3, 1, 1)).astype(np.float32)[..., 0, 0] / 32
    planes = images[..., ::-1] if channels == "RGB" else images
    x = ((planes.astype(np.float32) - mean) / deviation).transpose(0, 3, 1, 2)

    def means(side):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // side, side, w // side, side).mean((3, 5))

    return joined(np.einsum("oc,nchw->nohw", mix[:3], means(8)), np.einsum("oc,nchw->nohw", mix[3:], means(16)))
