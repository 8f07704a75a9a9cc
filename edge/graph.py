"""Appends nodes to an ONNX model. Where a bank and a backbone become one graph, this holds the pen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.errors import GoldlineError

# Protocol buffers end at 2 GiB; ONNX Runtime reads nothing larger from one file.
LARGEST_BYTES = 2**31 - 1


class GraphBuilder:
    """Nodes, constants and outputs added behind those of a model; every name it makes begins with `prefix`."""

    def __init__(self, model: onnx.ModelProto, prefix: str = "goldline/") -> None:
        self.model = model
        self.prefix = prefix
        self.count = 0

    def name(self, kind: str) -> str:
        """A tensor name that is not used yet."""
        self.count += 1
        return f"{self.prefix}{self.count}_{kind}"

    def constant(self, values: NDArray[Any] | Sequence[int]) -> str:
        """The name of a constant; a sequence of integers becomes int64, as ONNX wants shapes and axes."""
        array = values if isinstance(values, np.ndarray) else np.array(values, np.int64)
        name = self.name("constant")
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def given(self, name: str, values: NDArray[Any]) -> str:
        """An input of the model that takes an array of this shape and type, which is not stored with it."""
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        self.model.graph.input.append(helper.make_tensor_value_info(name, kind, list(values.shape)))
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node with one output and returns that output's name."""
        output = output or self.name(kind)
        self.nodes(kind, inputs, [output], **attributes)
        return output

    def nodes(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Adds a node with outputs of these names."""
        self.model.graph.node.append(helper.make_node(kind, list(inputs), list(outputs), name=outputs[0], **attributes))

    def output(self, name: str, shape: Sequence[int | str]) -> None:
        """Declares a float32 output of the whole model."""
        self.model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def finish(self) -> bytes:
        """The checked model. Raises GoldlineError where it is larger than a file of this kind can be."""
        size = self.model.ByteSize()
        if size > LARGEST_BYTES:
            limits = "lower per_cell, coreset or working_px"
            raise GoldlineError(f"memory bank: the graph would take {size / 2**30:.1f} GiB of at most 2; {limits}")
        checker: Any = onnx.checker  # its types are left open
        checker.check_model(self.model)
        return self.model.SerializeToString(deterministic=True)
