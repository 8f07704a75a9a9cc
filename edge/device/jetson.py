"""The accelerator of an NVIDIA Jetson, which has no NVML: its load, temperature and power stand in /sys.

Its memory is the device's. Where each stands is as NVIDIA's L4T 32 to 36 have it (jetson_stats reads the same files).
"""

from collections.abc import Iterator
from pathlib import Path

from edge.device.sample import Sample, number_of, text_of

# Nano and TX2, Xavier, Orin.
LOADS = ("devices/gpu.0/load", "devices/platform/*.gpu/load", "devices/platform/bus@0/*.gpu/load")
# A monitor's channels by name, in mV and mA (L4T 35 on), or in mW (before).
RAILS = "bus/i2c/drivers/ina3221*/*"
GPU = "0"


def is_one(sys: Path = Path("/sys")) -> bool:
    """Whether this machine has such an accelerator."""
    return _load(sys) is not None


def read(sys: Path = Path("/sys")) -> Iterator[Sample]:
    """What it says of itself. `sys` is /sys but in tests."""
    load = _load(sys)
    if load is not None and (thousandths := number_of(load)) is not None:
        yield Sample("goldline_gpu_utilization_ratio", thousandths / 1000, (GPU,))
    for zone in sorted((sys / "class" / "thermal").glob("thermal_zone*")):
        if "gpu" in (text_of(zone / "type") or "").lower() and (found := number_of(zone / "temp")) is not None:
            yield Sample("goldline_gpu_temperature_celsius", found / 1000, (GPU,))
            break
    watts = [*_watts_by_hwmon(sys), *_watts_by_iio(sys)]
    if watts:
        yield Sample("goldline_gpu_power_watts", watts[0], (GPU,))


def _load(sys: Path) -> Path | None:
    return next((found for pattern in LOADS for found in sorted(sys.glob(pattern))), None)


def _watts_by_hwmon(sys: Path) -> Iterator[float]:
    for label in sorted(sys.glob(f"{RAILS}/hwmon/hwmon*/in*_label")):
        if "GPU" in (text_of(label) or ""):
            channel = label.name.removeprefix("in").removesuffix("_label")
            millivolts = number_of(label.with_name(f"in{channel}_input"))
            milliamperes = number_of(label.with_name(f"curr{channel}_input"))
            if millivolts is not None and milliamperes is not None:
                yield millivolts * milliamperes / 1e6


def _watts_by_iio(sys: Path) -> Iterator[float]:
    for label in sorted(sys.glob(f"{RAILS}/iio:device*/rail_name_*")):
        if "GPU" in (text_of(label) or ""):
            channel = label.name.removeprefix("rail_name_")
            if (milliwatts := number_of(label.with_name(f"in_power{channel}_input"))) is not None:
                yield milliwatts / 1000
