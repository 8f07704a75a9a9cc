"""Settings of a GenICam camera: under their selectors, automatic ones, the strobe, and as a person is shown them."""

from contextlib import closing

import pytest
from structlog.testing import capture_logs

from edge.cameras.aravis import AravisError, Library
from edge.cameras.aravis_device import Device, FeatureKind
from edge.cameras.camera import CameraConfigError, Feature
from edge.cameras.genicam import resolve, set_feature
from edge.cameras.genicam_xml import Description
from tests.cameras.gige_bench import WIRE, WireCamera, gige, settings, wire_camera
from tests.cameras.wire_camera_registers import CATEGORIES, description


def opened_with(mode: str = "free", trigger: dict[str, object] | None = None, **changes: object) -> None:
    """The camera opened and closed again."""
    with closing(gige(settings(WIRE, **{"features": {}} | changes), mode, **trigger or {})) as camera:
        camera.open()


# --- selectors


def test_a_setting_under_a_selector_leaves_the_others_as_they_are(wire: WireCamera) -> None:
    opened_with(features={"LineMode[Line1]": "Output", "LineInverter[Line1]": True, "LineInverter[Line0]": False})
    state = wire.order("report")
    assert (state["LineMode[Line0]"], state["LineMode[Line1]"]) == ("Input", "Output")
    assert (state["LineInverter[Line0]"], state["LineInverter[Line1]"]) == (0, 1)


def test_a_selector_set_by_its_name_holds_for_what_comes_after_it(wire: WireCamera) -> None:
    features = {
        "LineSelector": "Line1",
        "LineMode": "Output",
        "LineMode[Line0]": "Input",
        "LineSource": "ExposureActive",
    }
    opened_with(features=features)
    state = wire.order("report")
    assert (state["LineMode[Line1]"], state["LineSource[Line1]"]) == ("Output", "ExposureActive")
    assert (state["LineMode[Line0]"], state["LineSource[Line0]"]) == ("Input", "Off")


def test_a_selector_is_set_back_after_the_camera_refused(wire: WireCamera) -> None:
    with closing(Device(Library(), WIRE)) as device:
        with pytest.raises(AravisError, match="Sideways"):
            set_feature(device, resolve(device, "features", "LineMode[Line1]"), "Sideways")
        assert device.get("LineSelector", FeatureKind.ENUMERATION) == "Line0"


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"LineMode[Line7]": "Output"}, r"features.LineMode\[Line7\]: LineSelector has Line0, Line1"),
        ({"Width[Line1]": 64}, r"features.Width\[Line1\]: no selector of the camera chooses among several Width"),
        ({"LineMode[": "Output"}, r"features.LineMode\[: not a feature's name, nor Name\[Entry\]"),
        ({"LinMode[Line1]": "Output"}, r"no feature of that name; it has LineMode"),
        ({"LineMode[Line1]": "Sideways"}, r"LineMode\[Line1\] = 'Sideways': not one of Input, Output"),
        ({"TriggerMode[FrameStart]": "On"}, r"TriggerMode\[FrameStart\]: trigger.mode decides it"),
        ({"ChunkEnable[Timestamp]": True}, r"ChunkEnable\[Timestamp\]: chunks decides it"),
        ({"PayloadSize": 5}, r"PayloadSize = 5: the camera has 3072, and it is read-only"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(wire: WireCamera, features: dict[str, object], said: str) -> None:
    with pytest.raises(CameraConfigError, match=said):
        opened_with(features=features)


def test_a_read_only_feature_may_be_stated_as_it_is(wire: WireCamera) -> None:
    opened_with(features={"PayloadSize": 64 * 48})


# --- what the camera does by itself


def test_what_was_left_automatic_is_switched_off_and_said(wire: WireCamera) -> None:
    with capture_logs() as lines:
        # Its exposure cannot be set while it sets it itself.
        opened_with(features={"ExposureTime": 1234.0})
    state = wire.order("report")
    assert (state["ExposureAuto"], state["ExposureTime"]) == ("Off", 1234)
    assert [line["features"] for line in lines] == [["ExposureAuto", "GainAuto[AnalogAll]", "GainAuto[DigitalAll]"]]


def test_an_automatic_feature_is_refused_unless_declared(wire: WireCamera) -> None:
    features = {"GainAuto[AnalogAll]": "Continuous"}
    with pytest.raises(CameraConfigError, match=r"GainAuto\[AnalogAll\] = 'Continuous': .*allow_automatic = true"):
        opened_with(features=features)
    opened_with(features=features, allow_automatic=True)
    state = wire.order("report")
    # Declared: also what the camera had is left to it.
    assert (state["GainAuto[AnalogAll]"], state["ExposureAuto"]) == ("Continuous", "Continuous")


def test_one_that_a_shot_switches_on_is_refused_too(wire: WireCamera) -> None:
    shots = [{"name": "a", "role": "a", "features": {"ExposureAuto": "Once"}}, {"name": "b", "role": "b"}]
    with pytest.raises(CameraConfigError, match=r"shot.a.features.ExposureAuto = 'Once'"):
        opened_with("software", shot=shots)


def test_one_under_an_entry_is_switched_off_though_the_camera_does_not_take_another_entry(loopback: None) -> None:
    with wire_camera(WIRE, "--refuse", "GainSelector=DigitalAll") as wire:
        opened_with()
        state = wire.order("report")
    assert (state["GainAuto[AnalogAll]"], state["GainAuto[DigitalAll]"]) == ("Off", "Once")


# --- lines


def test_the_strobe_is_on_while_it_exposes(wire: WireCamera) -> None:
    opened_with(strobe={"line": "Line1", "inverted": True})
    state = wire.order("report")
    assert (state["LineMode[Line1]"], state["LineSource[Line1]"], state["LineInverter[Line1]"]) == (
        "Output",
        "ExposureActive",
        1,
    )
    assert (state["LineMode[Line0]"], state["LineSource[Line0]"]) == ("Input", "Off")


def test_a_strobe_on_a_line_it_has_not_is_refused(wire: WireCamera) -> None:
    with pytest.raises(CameraConfigError, match=r"cameras.trunk.strobe.LineMode\[Line5\]: LineSelector has Line0"):
        opened_with(strobe={"line": "Line5"})


# --- as a person is shown them


def test_features_come_by_category_with_value_bounds_entries_and_unit(wire: WireCamera) -> None:
    with closing(gige(settings(WIRE, features={"ExposureTime": 800.0}))) as camera:
        camera.open()
        features = {feature.name: feature for feature in camera.features()}
    assert list(features) == [name for names in CATEGORIES.values() for name in names]
    assert features["ExposureTime"] == Feature(
        name="ExposureTime",
        kind="float",
        value=800.0,
        unit="us",
        lowest=10.0,
        highest=1_000_000.0,
        step=features["ExposureTime"].step,
        is_writable=True,
        path=("AcquisitionControl",),
    )
    assert features["AcquisitionStart"].kind == "command"
    assert features["LineMode"].entries == ("Input", "Output")
    assert features["LineMode"].description == "How it does LineMode."
    assert (features["ChunkModeActive"].kind, features["ChunkModeActive"].value) == ("boolean", False)
    assert not features["PayloadSize"].is_writable and features["PayloadSize"].value == 3072


def test_a_feature_set_by_hand_is_read_back(wire: WireCamera) -> None:
    with closing(gige(settings(WIRE, features={}))) as camera:
        camera.open()
        assert camera.set_feature("ExposureTime", 640.0).value == 640.0
        line = camera.set_feature("LineMode[Line1]", "Output")
        assert (line.name, line.value) == ("LineMode[Line1]", "Output")
        with pytest.raises(CameraConfigError, match="not one of Input, Output"):
            camera.set_feature("LineMode[Line1]", "Sideways")
        # A refusal leaves the selector where it was.
        assert {it.name: it.value for it in camera.features()}["LineSelector"] == "Line0"
        with pytest.raises(CameraConfigError, match=r"ExposureTime = 1\.0: outside 10 to 1000000"):
            camera.set_feature("ExposureTime", 1.0)
    assert wire.order("report")["ExposureTime"] == 640


def test_the_independent_camera_tells_its_features_too(stock: str) -> None:
    with closing(gige(settings(stock))) as camera:
        camera.open()
        features = {feature.name: feature for feature in camera.features()}
    assert features["PixelFormat"].value == "Mono8"
    assert features["Width"].path == ("ImageFormatControl",)
    assert features["TriggerSoftware"].kind == "command"


def test_a_description_that_cannot_be_parsed_names_no_feature() -> None:
    assert list(Description("<Register").features()) == []
    assert Description("").names() == []


def test_a_description_of_categories_in_a_circle_ends() -> None:
    text = '<R><Category Name="Root"><pFeature>A</pFeature></Category><Category Name="A"><pFeature>A</pFeature>'
    assert list(Description(text + "</Category></R>").features()) == []


def test_selectors_are_those_of_the_description_or_else_of_the_standard() -> None:
    told = Description(description())
    assert told.selectors_of("LineMode") == ["LineSelector"]
    assert told.is_selector("GainSelector") and not told.is_selector("LineMode")
    silent = Description(
        '<R><Enumeration Name="LineSelector"/><Enumeration Name="LineMode"/><Integer Name="Width"/></R>'
    )
    assert silent.selectors_of("LineMode") == ["LineSelector"]
    assert silent.selectors_of("Width") == silent.selectors_of("LineSelector") == []
