"""A stand-in for TensorRT: ONNX Runtime that says it has it, notes what it is asked for, and runs it on the CPU."""

from typing import Any

import onnxruntime
import pytest

EVERY_PROVIDER = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def tensorrt(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put it in place for a test; returns the providers of every session, as they are asked for."""
    asked: list[Any] = []
    real = onnxruntime.InferenceSession

    class Engine:
        def __init__(self, content, options, providers):
            asked.append(providers)
            self.inner = real(content, options, providers=["CPUExecutionProvider"])

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def get_providers(self):
            return [provider[0] for provider in asked[-1]]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: EVERY_PROVIDER)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Engine)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    return asked
