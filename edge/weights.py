"""An ONNX model's bytes, and those of the files beside it in which it keeps weights: read once, whatever runs it.

ONNX Runtime would map them into memory, and a file that is written over would change a model that runs.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.errors import GoldlineError

# How ONNX writes where a tensor's data are: field 13 of TensorProto, of any length, whose key is `location`, and then
# the length of its value (onnx.proto, StringStringEntryProto). A length's last byte is the one below 128.
_LENGTH = rb"[\x80-\xff]*[\x00-\x7f]"
_LOCATION = re.compile(rb"j" + _LENGTH + rb"\n\x08location\x12(" + _LENGTH + rb")")


def read(model: bytes | Path) -> bytes:
    """A model's bytes. Raises GoldlineError for a file that cannot be read."""
    if isinstance(model, bytes):
        return model
    try:
        return model.read_bytes()
    except OSError as error:
        raise GoldlineError(f"{model}: this model cannot be read: {error.strerror}") from error


def read_beside(model: Path, content: bytes) -> dict[str, bytes]:
    """Contents of the files that a model's bytes name, by these names, sorted; they are relative to its folder.

    Raises GoldlineError for a file that cannot be read, or lies outside that folder.
    """
    return {name: _weights(model, name) for name in sorted(set(_names(model, content)))}


def give(options: Any, weights: Mapping[str, bytes], model: str) -> None:
    """Hand them to a session that is to begin with these `options`. Raises GoldlineError: too old an ONNX Runtime."""
    if not weights:
        return
    try:
        hand_over = options.add_external_initializers_from_files_in_memory
    except AttributeError:
        raise GoldlineError(
            f"{model}: weights beside a model need onnxruntime 1.24 or newer; or save the model as one file"
        ) from None
    hand_over(list(weights), list(weights.values()), [len(content) for content in weights.values()])


def _names(model: Path, content: bytes) -> list[str]:
    names = [content[found.end() : found.end() + _number(found[1])] for found in _LOCATION.finditer(content)]
    try:
        return [name.decode() for name in names]
    except UnicodeDecodeError as error:
        raise GoldlineError(f"{model}: this model cannot be loaded: names of its weights are not UTF-8") from error


def _number(length: bytes) -> int:
    """A varint: seven bits a byte, the lowest first."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(length))


def _weights(model: Path, name: str) -> bytes:
    about = f"{model}: this model cannot be loaded: its weights {name}"
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise GoldlineError(f"{about} lie outside its folder")
    try:
        return (model.parent / name).read_bytes()
    except OSError as error:
        raise GoldlineError(f"{about} cannot be read: {error.strerror}") from error
