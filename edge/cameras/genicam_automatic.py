"""Features that a camera changes by itself: they move under what was learned from its pictures.

SFNC calls them by names that end in Auto. One that the configuration asks for must be declared; one that the camera's
stored settings have switched on is switched off, since a configuration that does not name it does not want it.
"""

from edge.camera_config import FeatureValue, GenicamCamera
from edge.cameras.aravis import AravisError, DeviceError
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.camera import CameraConfigError
from edge.cameras.genicam import Target, selected, write_features
from edge.cameras.genicam_device import GenicamDevice

_OFF = "Off"
# It decides when pictures are taken, not what they look like.
_HARMLESS = frozenset({"AcquisitionFrameRateAuto"})


def refuse_declared(section: str, features: dict[str, FeatureValue], config: GenicamCamera) -> None:
    """Raises CameraConfigError where the configuration asks for an automatic feature without declaring that."""
    for key, value in features.items():
        if _is_automatic(key) and value != _OFF and not config.allow_automatic:
            raise CameraConfigError(
                f"{section}.{key} = {value!r}: the pictures would change under the reference set; set it to "
                f'"{_OFF}", or declare allow_automatic = true'
            )


def switch_off(device: GenicamDevice, name: str, config: GenicamCamera) -> list[str]:
    """Switches off what the camera does by itself and the configuration does not name; returns the keys, for the log.

    Raises CameraConfigError where that cannot be.
    """
    if config.allow_automatic:
        return []
    named = {key for features in (config.features, *(shot.features for shot in config.shots)) for key in features}
    on = [key for feature in _candidates(device) for key in _switched_on(device, feature) if key not in named]
    for key in on:
        try:
            write_features(device, f"camera {name}", {key: _OFF})
        except CameraConfigError as problem:
            raise CameraConfigError(
                f"{problem}; it cannot be switched off: declare cameras.{name}.allow_automatic = true"
            ) from None
    return on


def _candidates(device: GenicamDevice) -> list[str]:
    return [
        feature
        for feature in device.description.names()
        if _is_automatic(feature) and device.feature_kind(feature) is FeatureKind.ENUMERATION
    ]


def _is_automatic(key: str) -> bool:
    feature = key.partition("[")[0]
    return feature.endswith("Auto") and feature not in _HARMLESS


def _switched_on(device: GenicamDevice, feature: str) -> list[str]:
    """Its key, or its keys under each entry of its selector, where it is on."""
    selector = next(iter(device.description.selectors_of(feature)), None)
    if selector is None or device.feature_kind(selector) is not FeatureKind.ENUMERATION:
        return [feature] if _is_on(device, Target(name=feature, kind=FeatureKind.ENUMERATION)) else []
    targets = [
        Target(name=feature, kind=FeatureKind.ENUMERATION, selector=selector, entry=entry)
        for entry in device.entries(selector)
    ]
    return [f"{feature}[{target.entry}]" for target in targets if _is_on(device, target)]


def _is_on(device: GenicamDevice, target: Target) -> bool:
    try:
        with selected(device, target):
            if not device.is_available(target.name):
                return False
            # A feature without Off is one of another meaning.
            return _OFF in device.entries(target.name) and device.get(target.name, target.kind) != _OFF
    except AravisError as error:
        if error.code == DeviceError.TIMEOUT:
            raise
        return False  # described, but not to be had on this model, or not under this entry
