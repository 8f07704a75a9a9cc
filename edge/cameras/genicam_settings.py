"""A GenICam camera set as its section says, in an order that every camera stands, everything read back.

1. What it does by itself is switched off; the section's features and each shot's are written.
2. What other keys come to in features: the strobe, the counter, the trigger last, whose selector must stay.
3. What the transport needs.
4. The shots once more, from the last to the first, which is then the one that is set; and all is compared.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress

from edge.camera_config import EXPOSURE_TIMES, FeatureValue, GenicamCamera, ShotConfig, TriggerConfig
from edge.cameras.aravis import AravisError
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.camera import CameraConfigError
from edge.cameras.genicam import compare_features, write_features
from edge.cameras.genicam_automatic import refuse_declared, switch_off
from edge.cameras.genicam_device import GenicamDevice
from edge.cameras.genicam_trigger import counter_features, strobe_features, trigger_features

Settings = Mapping[str, FeatureValue]

# Features that another key of the configuration decides.
_DECIDED_ELSEWHERE = {
    "AcquisitionMode": "it is always Continuous",
    "AcquisitionBurstFrameCount": "the number of [[shot]] decides it",
    "TriggerMode": "trigger.mode decides it",
    "TriggerSelector": "trigger.mode decides it",
    "TriggerSource": "trigger.mode and trigger.source decide it",
    "TriggerActivation": "trigger.activation decides it",
}
# Every picture of a camera has one size: what decides it cannot change from shot to shot.
_OF_THE_WHOLE_CAMERA = ("Width", "Height", "PixelFormat", "Binning", "Decimation")
# What free-running cameras call their rate, in Hz: first what comes of all settings, then what was asked for.
_RATES = ("ResultingFrameRate", "ResultingFrameRateAbs", "AcquisitionFrameRate", "AcquisitionFrameRateAbs")


def apply_settings(
    device: GenicamDevice,
    name: str,
    config: GenicamCamera,
    trigger: TriggerConfig,
    transport: Callable[[], None] = lambda: None,
    decided: Mapping[str, str] | None = None,
) -> list[str]:
    """Returns the automatic features that were switched off. `decided`: further features that another key decides.

    Raises CameraConfigError, and AravisError from the device.
    """
    sections = _sections(name, config, trigger, {**_DECIDED_ELSEWHERE, **(decided or {})})
    switched_off = switch_off(device, name, config)
    for section, features in sections.items():
        write_features(device, section, features)
    lasting = _lasting(device, name, config, trigger)
    for section, features in lasting.items():
        write_features(device, section, features)
    transport()
    for section, features in reversed([*sections.items()][1:]):
        write_features(device, section, features)
    for section, features in {f"cameras.{name}.features": config.features, **lasting}.items():
        compare_features(device, section, _without(features, config.shots))
    return switched_off


def exposure_s(device: GenicamDevice) -> float | None:
    """The exposure that is set now, under its name in SFNC or the older one; both are in microseconds."""
    exposure_us = _number(device, *EXPOSURE_TIMES)
    return None if exposure_us is None else exposure_us / 1e6


def period_s(device: GenicamDevice) -> float | None:
    """Between two pictures of a free-running camera; it need not tell."""
    rate_hz = _number(device, *_RATES)
    return 1 / rate_hz if rate_hz else None


def trigger_delay_s(device: GenicamDevice) -> float:
    """From the selected trigger to the exposure; 0 where the camera does not tell. Both names are in microseconds."""
    return (_number(device, "TriggerDelay", "TriggerDelayAbs") or 0.0) / 1e6


def _number(device: GenicamDevice, *names: str) -> float | None:
    for name in names:
        kind = device.feature_kind(name)
        if (kind is FeatureKind.FLOAT or kind is FeatureKind.INTEGER) and device.is_available(name):
            with suppress(AravisError):  # it need not be readable
                return float(device.get(name, kind))
    return None


def _sections(
    name: str, config: GenicamCamera, trigger: TriggerConfig, decided: Mapping[str, str]
) -> dict[str, Settings]:
    """The camera's features and each shot's, by their place in the file, none of which another key decides."""
    sections: dict[str, Settings] = {f"cameras.{name}.features": config.features}
    for shot in config.shots:
        section = f"cameras.{name}.shot.{shot.name}.features"
        sections[section] = shot.features
        _refuse_in_shot(section, shot.features, trigger)
    for section, features in sections.items():
        refuse_declared(section, dict(features), config)
        for key in features:
            feature = key.partition("[")[0]
            if feature in decided:
                raise CameraConfigError(f"{section}.{key}: {decided[feature]}")
    _refuse_half_said(name, config.shots)
    return sections


def _refuse_half_said(name: str, shots: tuple[ShotConfig, ...]) -> None:
    """Nothing sets a feature back between two shots: one that does not say it would be taken as the other was."""
    for shot in shots:
        for other in shots:
            for key in other.features:
                if key not in shot.features:
                    raise CameraConfigError(
                        f"cameras.{name}.shot.{shot.name}.features: {key} is missing; shot {other.name} sets it, and "
                        "it would stay so"
                    )


def _refuse_in_shot(section: str, features: Settings, trigger: TriggerConfig) -> None:
    for key in features:
        if trigger.mode == "line":
            raise CameraConfigError(
                f'{section}.{key}: with trigger.mode = "line" the camera takes its pictures without being told '
                "between them; let its own sequencer change its settings"
            )
        if key.startswith(_OF_THE_WHOLE_CAMERA):
            raise CameraConfigError(f"{section}.{key}: every picture of a camera has one size and format")


def _lasting(device: GenicamDevice, name: str, config: GenicamCamera, trigger: TriggerConfig) -> dict[str, Settings]:
    lasting: dict[str, Settings] = {}
    if config.strobe is not None:
        lasting[f"cameras.{name}.strobe"] = strobe_features(device, config.strobe)
    lasting[f"cameras.{name}.trigger.counter"] = counter_features(device, trigger)
    lasting[f"cameras.{name}.trigger"] = trigger_features(device, name, trigger, max(1, len(config.shots)))
    return lasting


def _without(features: Settings, shots: tuple[ShotConfig, ...]) -> dict[str, FeatureValue]:
    """The features that no shot sets to something else."""
    changed = {key for shot in shots for key in shot.features}
    return {key: value for key, value in features.items() if key not in changed}
