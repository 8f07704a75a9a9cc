"""Where a compiled engine is kept: under the hash of all that it depends on."""

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path


def engine_cache_key(model_sha256: str, runtime: str, tensorrt: str, device: str, shapes: Sequence[str]) -> str:
    """Names a compiled engine by all that it depends on: one built for anything else is never loaded."""
    return hashlib.sha256("\n".join((model_sha256, runtime, tensorrt, device, *shapes)).encode()).hexdigest()


def devices() -> str:
    """The names of the NVIDIA devices here, by the driver, or by the device tree on a Jetson; empty without."""
    drivers = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    tree = Path("/proc/device-tree/model")
    return "\n".join(file.read_text() for file in drivers or [tree] if file.exists())


def tensorrt_version() -> str:
    """The installed TensorRT's version; empty where its Python package is absent, as on a Jetson's own image."""
    try:
        return str(importlib.import_module("tensorrt").__version__)
    except ImportError:
        return ""
