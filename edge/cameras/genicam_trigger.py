"""When a GenICam camera takes a picture, by SFNC: free-running, by software, by an input; the strobe and the counter."""

from edge.camera_config import FeatureValue, StrobeConfig, TriggerConfig
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.camera import CameraConfigError
from edge.cameras.genicam_device import GenicamDevice

Settings = dict[str, FeatureValue]


def trigger_features(device: GenicamDevice, name: str, trigger: TriggerConfig, pictures: int) -> Settings:
    """What to set for this trigger, one of which gives so many pictures. Raises CameraConfigError for what it lacks.

    TriggerSelector is left on the trigger in use: TriggerSoftware fires what it selects.
    """
    wanted = "FrameBurstStart" if trigger.mode == "line" and pictures > 1 else "FrameStart"
    asked = _available(device, {"AcquisitionMode": "Continuous"}) | _others_off(device, wanted)
    if wanted == "FrameBurstStart":
        _refuse_without_bursts(device, name, pictures)
        asked |= {"AcquisitionBurstFrameCount": pictures}
    asked |= _available(device, {"TriggerSelector": wanted})
    match trigger.mode:
        # What a simpler camera lacks it need not be told; a camera that cannot be triggered is refused by name.
        case "free":
            return asked | _available(device, {"TriggerMode": "Off"})
        case "software":
            return asked | {"TriggerMode": "On", "TriggerSource": "Software"}
        case "line":
            return asked | _input(device, trigger.source) | _by_line(device, trigger)


def _by_line(device: GenicamDevice, trigger: TriggerConfig) -> Settings:
    needed: Settings = {"TriggerMode": "On", "TriggerSource": trigger.source}
    activation: Settings = {"TriggerActivation": trigger.activation}
    # A camera without it takes the rising edge, which need not be said.
    return needed | (_available(device, activation) if trigger.activation == "RisingEdge" else activation)


def _input(device: GenicamDevice, line: str) -> Settings:
    """A line that can be both is made an input; a source that is no line (an action command) needs nothing."""
    has_modes = device.feature_kind("LineMode") is not None and _has_entry(device, "LineSelector", line)
    return {f"LineMode[{line}]": "Input"} if has_modes else {}


def _others_off(device: GenicamDevice, wanted: str) -> Settings:
    """Whatever else waits for a trigger by the camera's stored settings would keep it silent."""
    if device.feature_kind("TriggerSelector") is not FeatureKind.ENUMERATION:
        return {}
    others: Settings = {}
    for entry in device.entries("TriggerSelector"):
        device.set("TriggerSelector", FeatureKind.ENUMERATION, entry)
        if entry != wanted and _is_on(device):
            others[f"TriggerMode[{entry}]"] = "Off"
    return others


def _is_on(device: GenicamDevice) -> bool:
    return device.is_available("TriggerMode") and device.get("TriggerMode", FeatureKind.ENUMERATION) != "Off"


def _refuse_without_bursts(device: GenicamDevice, name: str, pictures: int) -> None:
    if not _has_entry(device, "TriggerSelector", "FrameBurstStart"):
        raise CameraConfigError(
            f"cameras.{name}.shot: the camera has no TriggerSelector = FrameBurstStart, by which one edge gives "
            f'{pictures} pictures; use trigger.mode = "software"'
        )


def strobe_features(device: GenicamDevice, strobe: StrobeConfig) -> Settings:
    """An output that is on while the camera exposes."""
    line = strobe.line
    asked: Settings = {f"LineMode[{line}]": "Output", f"LineSource[{line}]": "ExposureActive"}
    if strobe.inverted or device.feature_kind("LineInverter") is not None:
        asked[f"LineInverter[{line}]"] = strobe.inverted
    return asked


def counter_features(device: GenicamDevice, trigger: TriggerConfig) -> Settings:
    """The counter counts the edges that trigger."""
    if trigger.counter is None:
        return {}
    asked: Settings = {f"CounterEventSource[{trigger.counter}]": trigger.source}
    if trigger.activation != "RisingEdge" or device.feature_kind("CounterEventActivation") is not None:
        asked[f"CounterEventActivation[{trigger.counter}]"] = trigger.activation
    return asked


def _has_entry(device: GenicamDevice, selector: str, entry: str) -> bool:
    return device.feature_kind(selector) is FeatureKind.ENUMERATION and entry in device.entries(selector)


def _available(device: GenicamDevice, features: Settings) -> Settings:
    return {feature: value for feature, value in features.items() if device.is_available(feature)}
