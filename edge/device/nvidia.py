"""NVIDIA's accelerators, by the driver's own library (NVML, through nvidia-ml-py, which the extra `gpu` brings).

Without the library, the driver or a card there is nothing to read, and that is no error. NVML may hang with its driver:
for a thread of its own.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType

from edge.device.sample import Sample

MODULE = "pynvml"


def is_installed() -> bool:
    """Whether nvidia-ml-py is."""
    return importlib.util.find_spec(MODULE) is not None


class Cards:
    """Every card that the driver has. The driver is opened once: that may take a second, and wake a card that sleeps."""

    def __init__(self) -> None:
        self._is_open = False

    def read(self) -> Iterator[Sample]:
        """Each card's load, memory, temperature and power, as far as it tells them."""
        nvml = importlib.import_module(MODULE)
        try:
            if not self._is_open:
                nvml.nvmlInit()
                self._is_open = True
            for number in range(nvml.nvmlDeviceGetCount()):
                yield from _card(nvml, nvml.nvmlDeviceGetHandleByIndex(number), str(number))
        except nvml.NVMLError:  # none there, or it was taken away: asked again the next time
            self._close(nvml)

    def _close(self, nvml: ModuleType) -> None:
        if self._is_open:
            self._is_open = False
            with suppress(nvml.NVMLError):
                nvml.nvmlShutdown()


def _card(nvml: ModuleType, card: object, gpu: str) -> Iterator[Sample]:
    told: dict[str, Callable[[], float]] = {
        "goldline_gpu_utilization_ratio": lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu / 100,
        "goldline_gpu_memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(card).used,
        "goldline_gpu_memory_total_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(card).total,
        "goldline_gpu_temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU),
        "goldline_gpu_power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(card) / 1000,
    }
    for name, ask in told.items():
        with suppress(nvml.NVMLError):  # not every card tells everything
            yield Sample(name, float(ask()), (gpu,))
