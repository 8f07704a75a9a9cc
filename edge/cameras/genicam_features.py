"""A GenICam device's settings as `goldline camera info` shows them."""

from collections.abc import Iterator
from typing import Literal

from msgspec import structs

from edge.camera_config import FeatureValue
from edge.cameras.aravis import AravisError, DeviceError
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.camera import Feature
from edge.cameras.genicam import Target, selected
from edge.cameras.genicam_device import GenicamDevice
from edge.cameras.genicam_xml import Node

_Kind = Literal["boolean", "command", "enumeration", "integer", "float", "string"]
_KINDS: dict[FeatureKind, _Kind] = {
    FeatureKind.BOOLEAN: "boolean",
    FeatureKind.ENUMERATION: "enumeration",
    FeatureKind.FLOAT: "float",
    FeatureKind.INTEGER: "integer",
    FeatureKind.STRING: "string",
}
# Bounds that say nothing: what a 64-bit integer or a double can hold at all.
_BOUNDLESS = float(2**62)


def features_of(device: GenicamDevice) -> Iterator[Feature]:
    """Every feature below the description's categories that this model has. Raises AravisError when it is gone."""
    for node in device.description.features():
        try:
            feature = _of_node(device, node)
        except AravisError as error:
            if error.code == DeviceError.TIMEOUT:
                raise
            continue  # described, but not to be had on this model
        if feature is not None:
            yield feature


def _of_node(device: GenicamDevice, node: Node) -> Feature | None:
    kind = device.feature_kind(node.name)
    if kind is not None:
        return _feature(device, node, kind)
    return _command(device, node) if device.is_command(node.name) else None


def feature_of(device: GenicamDevice, target: Target) -> Feature:
    """One feature, under its selector; its name is the key that it was asked by."""
    nodes = (node for node in device.description.features() if node.name == target.name)
    node = next(nodes, Node(name=target.name, tag=""))
    with selected(device, target):
        feature = _feature(device, node, target.kind)
    return feature if target.entry is None else structs.replace(feature, name=f"{target.name}[{target.entry}]")


def _command(device: GenicamDevice, node: Node) -> Feature:
    return Feature(
        name=node.name,
        kind="command",
        is_writable=device.is_available(node.name),
        description=node.description,
        path=node.path,
    )


def _feature(device: GenicamDevice, node: Node, kind: FeatureKind) -> Feature:
    is_available = device.is_available(node.name)
    low, high, step = _bounds(device, node.name, kind) if is_available else (None, None, None)
    return Feature(
        name=node.name,
        kind=_KINDS[kind],
        value=_value(device, node.name, kind) if is_available else None,
        unit=node.unit,
        lowest=low,
        highest=high,
        step=step,
        entries=tuple(device.entries(node.name)) if kind is FeatureKind.ENUMERATION and is_available else (),
        is_writable=is_available and not device.is_read_only(node.name),
        description=node.description,
        path=node.path,
    )


def _value(device: GenicamDevice, name: str, kind: FeatureKind) -> FeatureValue | None:
    """None of a feature that can only be written."""
    try:
        return device.get(name, kind)
    except AravisError as error:
        if error.code == DeviceError.TIMEOUT:
            raise
        return None


def _bounds(device: GenicamDevice, name: str, kind: FeatureKind) -> tuple[float | None, float | None, float | None]:
    if kind not in (FeatureKind.FLOAT, FeatureKind.INTEGER):
        return None, None, None
    low, high = (bound if abs(bound) < _BOUNDLESS else None for bound in device.bounds(name, kind))
    step = device.step(name, kind)
    # The library says the smallest double where a float has no step.
    return low, high, step if step > 1e-300 else None
