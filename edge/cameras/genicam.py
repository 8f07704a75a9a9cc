"""Settings of a GenICam device: written by name, read back, and refused when the device does not take them.

A key is a feature's name, `ExposureTime`, or one of several under a selector, `LineMode[Line1]`: the feature that the
device's description names as its selector (or SFNC does) is set to that entry, and set back afterwards. A selector may
also be set by its plain name: it then holds for the keys after it, also when all are compared at the end.
"""

import math
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import msgspec

from edge.camera_config import FeatureValue
from edge.cameras.aravis import AravisError, DeviceError
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.camera import CameraConfigError
from edge.cameras.genicam_device import GenicamDevice

# Devices round an exposure to their line time and a rate to their clock; a larger difference is another value.
_RELATIVE_TOLERANCE = 0.01
_KEY = re.compile(r"(?P<name>\w+)(?:\[(?P<entry>\w+)\])?")
_TYPES: dict[FeatureKind, tuple[type, ...]] = {
    FeatureKind.BOOLEAN: (bool,),
    FeatureKind.ENUMERATION: (str,),
    FeatureKind.FLOAT: (float, int),
    FeatureKind.INTEGER: (int,),
    FeatureKind.STRING: (str,),
}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a key means on this device: the feature, and the selector to be set before it, if any."""

    name: str
    kind: FeatureKind
    selector: str | None = None
    entry: str | None = None


def write_features(device: GenicamDevice, section: str, features: Mapping[str, FeatureValue]) -> None:
    """Writes the features in order, reads each back, and at the end all of them again, since one may change another.

    Raises CameraConfigError naming `section`, feature, value and what the device has or allows instead.
    """
    targets = {key: resolve(device, section, key) for key in features}
    for key, value in features.items():
        _write(device, f"{section}.{key} = {value!r}", targets[key], value)
    compare_features(device, section, features)


def compare_features(device: GenicamDevice, section: str, features: Mapping[str, FeatureValue]) -> None:
    """Reads the features back. Raises CameraConfigError for the first that the device has otherwise."""
    for key, value in features.items():
        target = resolve(device, section, key)
        if target.entry is None and device.description.is_selector(target.name):
            set_feature(device, target, value)  # what comes after it was written under it
        with selected(device, target):
            _compare(device, f"{section}.{key} = {value!r}", target, value)


def resolve(device: GenicamDevice, section: str, key: str) -> Target:
    """What a key means. Raises CameraConfigError where the device has no such feature, selector or entry."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise CameraConfigError(f"{section}.{key}: not a feature's name, nor Name[Entry]")
    name, entry = match["name"], match["entry"]
    kind = device.feature_kind(name)
    if kind is None:
        similar = device.similar_features(name)
        hint = f"; it has {', '.join(similar)}" if similar else ""
        raise CameraConfigError(f"{section}.{key}: the camera has no feature of that name{hint}")
    selector = None if entry is None else _selector(device, f"{section}.{key}", name, entry)
    return Target(name=name, kind=kind, selector=selector, entry=entry)


def _selector(device: GenicamDevice, setting: str, name: str, entry: str) -> str:
    selectors = device.description.selectors_of(name)
    if not selectors:
        raise CameraConfigError(f"{setting}: no selector of the camera chooses among several {name}")
    entries = {selector: _entries(device, selector) for selector in selectors}
    for selector, known in entries.items():
        if entry in known:
            return selector
    said = "; ".join(f"{selector} has {', '.join(known) or 'no entries'}" for selector, known in entries.items())
    raise CameraConfigError(f"{setting}: {said}")


def _entries(device: GenicamDevice, selector: str) -> list[str]:
    return device.entries(selector) if device.feature_kind(selector) is FeatureKind.ENUMERATION else []


@contextmanager
def selected(device: GenicamDevice, target: Target) -> Generator[None, None, None]:
    """The target's selector is set, and set back afterwards; nobody else uses the device meanwhile."""
    if target.selector is None or target.entry is None:
        yield
        return
    with device.holding():
        before = device.get(target.selector, FeatureKind.ENUMERATION)
        device.set(target.selector, FeatureKind.ENUMERATION, target.entry)
        try:
            yield
        except (AravisError, CameraConfigError) as refusal:
            if getattr(refusal, "code", None) != DeviceError.TIMEOUT:  # else each further call costs as long
                device.set(target.selector, FeatureKind.ENUMERATION, before)
            raise
        device.set(target.selector, FeatureKind.ENUMERATION, before)


def set_feature(device: GenicamDevice, target: Target, value: FeatureValue) -> None:
    """Only writes: for what was written with `write_features` before. Raises AravisError."""
    with selected(device, target):
        device.set(target.name, target.kind, value)


def _write(device: GenicamDevice, setting: str, target: Target, value: FeatureValue) -> None:
    # bool is an int to Python, and never to a camera.
    is_bool = target.kind is FeatureKind.BOOLEAN
    if not isinstance(value, _TYPES[target.kind]) or isinstance(value, bool) != is_bool:
        raise CameraConfigError(f"{setting}: the feature is {target.kind}")
    try:
        with selected(device, target):
            if not _has_already(device, setting, target, value):
                _check_allowed(device, setting, target, value)
                device.set(target.name, target.kind, value)
            _compare(device, setting, target, value)
    except AravisError as error:
        if error.code == DeviceError.TIMEOUT:
            raise
        raise CameraConfigError(f"{setting}: the camera refuses: {error}") from None


def _has_already(device: GenicamDevice, setting: str, target: Target, value: FeatureValue) -> bool:
    """True of a read-only feature with this value. Raises CameraConfigError for one that has another."""
    if not device.is_read_only(target.name):
        return False
    has = device.get(target.name, target.kind)
    if not _is_same(has, value):
        raise CameraConfigError(f"{setting}: the camera has {has!r}, and it is read-only")
    return True


def _check_allowed(device: GenicamDevice, setting: str, target: Target, value: FeatureValue) -> None:
    if target.kind is FeatureKind.ENUMERATION:
        entries = device.entries(target.name)
        if value not in entries:
            raise CameraConfigError(f"{setting}: not one of {', '.join(entries)}")
    elif target.kind in (FeatureKind.FLOAT, FeatureKind.INTEGER) and not isinstance(value, str):
        low, high = device.bounds(target.name, target.kind)
        if not low <= value <= high:
            raise CameraConfigError(f"{setting}: outside {low:.10g} to {high:.10g}")


def _compare(device: GenicamDevice, setting: str, target: Target, asked: FeatureValue) -> None:
    read = device.get(target.name, target.kind)
    if not _is_same(read, asked):
        raise CameraConfigError(f"{setting}: the camera took {read!r} instead")


def _is_same(read: FeatureValue, asked: FeatureValue) -> bool:
    if isinstance(read, float) and isinstance(asked, float | int):
        return math.isclose(read, asked, rel_tol=_RELATIVE_TOLERANCE)
    return read == asked
