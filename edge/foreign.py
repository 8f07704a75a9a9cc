"""A model of the user's own: one picture in, one array of numbers out, on the provider that was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.check_recipes import ModelCheck
from edge.config import InferenceConfig
from edge.errors import GoldlineError
from edge.inference import OPTIONS, Loader

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# What a picture may be given as, by ONNX Runtime's names.
_KINDS: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
# What the answer may be given as.
_ANSWERS = ("tensor(double)", "tensor(float)", "tensor(float16)")


@dataclass(frozen=True)
class _Input:
    """The one input: (width, height) of its picture, whether channels come before rows, and its numbers."""

    name: str
    size: tuple[int, int]
    is_planar: bool
    kind: type[np.generic]

    @property
    def shape(self) -> str:
        """As TensorRT writes it."""
        width, height = self.size
        return f"{self.name}:1x3x{height}x{width}" if self.is_planar else f"{self.name}:1x{height}x{width}x3"


class ForeignModel:
    """An ONNX file with one input, a picture of three channels in either layout, and one output.

    `threads` None takes the station's. `fell_back` says that another provider than the station's runs it. `sha256` is
    that of the file, with the weights that lie beside it. Raises GoldlineError where the model cannot be read, is no such
    model, or the provider asked for does not start.
    """

    def __init__(
        self,
        file: Path,
        check: ModelCheck,
        inference: InferenceConfig,
        *,
        threads: int | None = None,
        engine_cache: Path | None = None,
    ) -> None:
        # Whatever is read is read here, once: a file that changes meanwhile is another model, for another start.
        loader = Loader(file, inference.threads if threads is None else threads)
        if inference.provider == "tensorrt":
            shape = _read_input(file, loader.start("cpu", OPTIONS["cpu"]), check.size_px).shape
            options = loader.tensorrt_options((shape, shape), "", engine_cache)
        else:
            options = OPTIONS[inference.provider]
        # It runs between the graphs of other regions, and while the next frame is registered: nothing spins.
        self._session, self.fell_back = loader.begin(
            inference.provider, options, allow_fallback=inference.allow_fallback, spins=False
        )
        self.file, self.sha256 = file, loader.sha256
        self._errors = loader.errors
        self._input = _read_input(file, self._session, check.size_px)
        self._output = _read_output(file, self._session)
        self._takes_rgb = check.channels == "rgb"
        self._scale = np.float32(1) / np.array(check.std, np.float32)
        self._offset = -np.array(check.mean, np.float32) * self._scale

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture it takes."""
        return self._input.size

    def run(self, picture: Image) -> Floats:
        """The output for one picture [h, w, 3] BGR of its size. Raises GoldlineError where the model fails on it."""
        try:
            (found,) = self._session.run([self._output], {self._input.name: self._numbers(picture)})
        except self._errors as error:
            raise GoldlineError(f"{self.file}: this model fails: {Loader.reason(error)}") from error
        return np.asarray(found, np.float32)

    def _numbers(self, picture: Image) -> NDArray[Any]:
        """The picture as the model takes it; bytes stay as they are."""
        ordered = picture[..., ::-1] if self._takes_rgb else picture
        if self._input.kind is not np.uint8:
            ordered = ordered * self._scale + self._offset
        placed = ordered.transpose(2, 0, 1) if self._input.is_planar else ordered
        return np.ascontiguousarray(placed[None], self._input.kind)


def _read_input(file: Path, session: Any, open_px: int) -> _Input:
    """What the model takes; a side that it leaves open is `open_px`. Raises GoldlineError."""
    inputs: list[Any] = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise GoldlineError(f"{file}: this model has {len(inputs)} inputs ({names}); it must have one, a picture")
    given = inputs[0]
    shape: list[int | str | None] = list(given.shape or [])
    about = f"{file}: input {given.name} {_written(shape)}"
    if len(shape) != 4:
        raise GoldlineError(f"{about}: a picture has 4 dimensions, [1, 3, height, width] or [1, height, width, 3]")
    channels = [axis for axis in (1, 3) if shape[axis] == 3]
    if len(channels) != 1:
        raise GoldlineError(f"{about}: the second or the last dimension must be the 3 channels")
    if isinstance(shape[0], int) and shape[0] != 1:
        raise GoldlineError(f"{about}: it must take one picture at a time, or any number")
    if given.type not in _KINDS:
        raise GoldlineError(f"{about} is {given.type}: it must be one of {', '.join(_KINDS)}")
    is_planar = channels == [1]
    height, width = (side if isinstance(side, int) else open_px for side in (shape[2:4] if is_planar else shape[1:3]))
    return _Input(given.name, (width, height), is_planar, _KINDS[given.type])


def _read_output(file: Path, session: Any) -> str:
    """The name of the only output. Raises GoldlineError where there are more, or it is no array of numbers."""
    outputs: list[Any] = session.get_outputs()
    if len(outputs) != 1:
        names = ", ".join(each.name for each in outputs)
        raise GoldlineError(f"{file}: this model has {len(outputs)} outputs ({names}); it must have one")
    if outputs[0].type not in _ANSWERS:
        raise GoldlineError(f"{file}: output {outputs[0].name} is {outputs[0].type}; it must be {_ANSWERS[1]}")
    return outputs[0].name


def _written(shape: list[int | str | None]) -> str:
    return "[" + ", ".join("?" if side is None else str(side) for side in shape) + "]"
