"""Settings of a GenICam device: written by name, read back, and refused when the device does not take them."""

import math
from collections.abc import Mapping

from edge.cameras.aravis import AravisError, DeviceError
from edge.cameras.aravis_device import Device, FeatureKind, FeatureValue
from edge.cameras.camera import CameraConfigError

# Devices round an exposure to their line time and a rate to their clock; a larger difference is another value.
_RELATIVE_TOLERANCE = 0.01

_TYPES: dict[FeatureKind, tuple[type, ...]] = {
    FeatureKind.BOOLEAN: (bool,),
    FeatureKind.ENUMERATION: (str,),
    FeatureKind.FLOAT: (float, int),
    FeatureKind.INTEGER: (int,),
    FeatureKind.STRING: (str,),
}


def write_features(device: Device, section: str, features: Mapping[str, FeatureValue]) -> None:
    """Writes the features in order, reads each back, and at the end all of them again, since one may change another.

    Raises CameraConfigError naming `section`, feature, value and what the device has or allows instead.
    """
    kinds = {name: _known_kind(device, section, name) for name in features}
    for name, value in features.items():
        _write(device, f"{section}.{name} = {value!r}", name, kinds[name], value)
    compare_features(device, section, features)


def compare_features(device: Device, section: str, features: Mapping[str, FeatureValue]) -> None:
    """Reads the features back. Raises CameraConfigError for the first that the device has otherwise."""
    for name, value in features.items():
        _compare(device, f"{section}.{name} = {value!r}", name, _known_kind(device, section, name), value)


def _known_kind(device: Device, section: str, name: str) -> FeatureKind:
    kind = device.feature_kind(name)
    if kind is not None:
        return kind
    similar = device.similar_features(name)
    hint = f"; it has {', '.join(similar)}" if similar else ""
    raise CameraConfigError(f"{section}.{name}: the camera has no feature of that name{hint}")


def _write(device: Device, setting: str, name: str, kind: FeatureKind, value: FeatureValue) -> None:
    # bool is an int to Python, and never to a camera.
    if not isinstance(value, _TYPES[kind]) or isinstance(value, bool) != (kind is FeatureKind.BOOLEAN):
        raise CameraConfigError(f"{setting}: the feature is {kind}")
    try:
        _check_allowed(device, setting, name, kind, value)
        device.set(name, kind, value)
    except AravisError as error:
        if error.code == DeviceError.TIMEOUT:
            raise
        raise CameraConfigError(f"{setting}: the camera refuses: {error}") from None
    _compare(device, setting, name, kind, value)


def _check_allowed(device: Device, setting: str, name: str, kind: FeatureKind, value: FeatureValue) -> None:
    if device.is_read_only(name):
        raise CameraConfigError(f"{setting}: the camera has {device.get(name, kind)!r}, and it is read-only")
    if kind is FeatureKind.ENUMERATION:
        entries = device.entries(name)
        if value not in entries:
            raise CameraConfigError(f"{setting}: not one of {', '.join(entries)}")
    elif kind in (FeatureKind.FLOAT, FeatureKind.INTEGER) and not isinstance(value, str):
        low, high = device.bounds(name, kind)
        if not low <= value <= high:
            raise CameraConfigError(f"{setting}: outside {low:.10g} to {high:.10g}")


def _compare(device: Device, setting: str, name: str, kind: FeatureKind, asked: FeatureValue) -> None:
    read = device.get(name, kind)
    if isinstance(read, float) and isinstance(asked, float | int):
        same = math.isclose(read, asked, rel_tol=_RELATIVE_TOLERANCE)
    else:
        same = read == asked
    if not same:
        raise CameraConfigError(f"{setting}: the camera took {read!r} instead")
