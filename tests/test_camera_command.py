"""`goldline camera`: which camera is meant, its features, and every verb on the simulated one and on a folder."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera_config import FolderCamera, GigeCamera, StreamCamera
from edge.cameras.camera import CameraConfigError, CameraInfo, Feature
from edge.cameras.naming import adjusted, meant, not_there
from edge.commands import camera_info, camera_set, camera_snap
from edge.commands.camera_common import as_toml, literal, pairs
from edge.config import load_station
from edge.errors import GoldlineError
from tests.camera_words import ROOT, STATION, refused, said
from tests.cameras.gige_bench import write_pictures


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(STATION)
    return tmp_path / "config.toml"


def test_a_word_is_a_name_or_a_place(tmp_path, config) -> None:
    cameras = load_station(config).cameras
    assert meant("trunk", cameras).is_configured
    assert meant("trunk", cameras).config is cameras["trunk"]
    stream, folder, serial = (meant(word, cameras).config for word in ("rtsp://10.0.0.9/1", str(tmp_path), "SN-7"))
    assert isinstance(stream, StreamCamera) and stream.url == "rtsp://10.0.0.9/1"
    assert isinstance(folder, FolderCamera) and folder.path == tmp_path
    assert isinstance(serial, GigeCamera) and (serial.address, serial.allow_automatic) == ("SN-7", True)
    assert not_there("tronk", cameras) == "; config.toml has trunk"
    assert not_there("10.0.0.9", cameras) == ""
    assert not_there("x", {}) == "; see goldline camera list"


def test_a_camera_can_be_looked_at_otherwise_than_configured(config) -> None:
    cameras = load_station(config).cameras
    top = meant("top", cameras)
    dark = adjusted(top, shot="dark", settings={"Width": 64}).config
    assert isinstance(dark, GigeCamera)
    assert (dict(dark.features), dark.shots) == ({"GainRaw": 0, "Width": 64}, ())
    assert adjusted(top, mode="free").config.trigger.mode == "free"
    with pytest.raises(CameraConfigError, match=r"camera top: no \[\[shot\]\] named blue; it has bright, dark"):
        adjusted(top, shot="blue")
    with pytest.raises(CameraConfigError, match="camera trunk: a simulated camera has no settings of its own"):
        adjusted(meant("trunk", cameras), settings={"Gain": 1})


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("4000", 4000), ("-1.5", -1.5), ("Off", "Off"), ('"12"', "12"), ("1e3", 1000.0)]
)
def test_values_are_read_as_toml_has_them(text, value) -> None:
    assert literal(text) == value
    assert type(literal(text)) is type(value)


def test_settings_are_pairs_in_their_order() -> None:
    assert list(pairs(["B=1", "A = x=y"]).items()) == [("B", "1"), ("A", "x=y")]
    for wrong in ("B", "=1"):
        with pytest.raises(GoldlineError, match="expected NAME=VALUE"):
            pairs([wrong])


def test_the_line_for_the_configuration_is_read_as_it_was_meant(tmp_path) -> None:
    values = {
        "ExposureTime": 4000.0,
        "Gain": 0,
        "ExposureAuto": "Off",
        "GammaEnable": True,
        "LineMode[Line1]": "Output",
    }
    file = tmp_path / "config.toml"
    file.write_text(f'[cameras.a]\nsource = "gige"\naddress = "1"\n{as_toml("features", values)}')
    loaded = load_station(file, {}).cameras["a"]
    assert isinstance(loaded, GigeCamera)
    assert loaded.features == values


# --- features


FEATURES = [
    Feature(
        name="Width", kind="integer", value=640, lowest=16, highest=640, step=16, is_writable=True, path=("Image",)
    ),
    Feature(name="Gain", kind="float", value=1.5, unit="dB", lowest=0, highest=24, is_writable=True, path=("Analog",)),
    Feature(name="Mode", kind="enumeration", value="Off", entries=("Off", "On"), is_writable=True),
    Feature(name="Reset", kind="command"),
    Feature(name="Away", kind="string"),
]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("Width", "0x40", 64), ("Gain", "2", 2.0), ("Mode", "On", "On"), ("Away", "12", "12")],
)
def test_a_value_becomes_what_its_feature_holds(name, text, value) -> None:
    feature = next(one for one in FEATURES if one.name == name)
    typed = camera_set.typed(name, text, feature)
    assert (typed, type(typed)) == (value, type(value))


def test_a_value_of_another_kind_is_refused_by_name() -> None:
    by_name = {feature.name: feature for feature in FEATURES}
    with pytest.raises(CameraConfigError, match=r"Width = 1\.5: the feature is integer"):
        camera_set.typed("Width", "1.5", by_name["Width"])
    with pytest.raises(CameraConfigError, match="Reset: a command has no value"):
        camera_set.typed("Reset", "1", by_name["Reset"])


def test_features_are_told_with_what_they_may_be() -> None:
    told = list(camera_info._plain(FEATURES, is_full=False))
    assert told == [
        "rw Image/Width = 640  (16 to 640 by 16)",
        "rw Analog/Gain = 1.5 dB  (0 to 24)",
        'rw Mode = "Off"  (Off, On)',
        "ro Reset = (command)",
        "ro Away = -",
    ]


def test_features_are_chosen_by_name_whatever_the_case() -> None:
    assert [one.name for one in camera_info.chosen(FEATURES, ["gain", "WIDTH"])] == ["Gain", "Width"]
    assert camera_info.chosen(FEATURES, []) == FEATURES
    with pytest.raises(CameraConfigError, match="Wdth: the camera has no feature of that name; it has Width"):
        camera_info.chosen(FEATURES, ["Wdth"])


# --- the simulated camera, and a folder


def test_info_tells_what_a_camera_delivers(config) -> None:
    assert said(config, "info", "trunk").splitlines() == [
        "trunk: Goldline Simulated, serial number trunk (simulated)",
        "320 x 240 px BGR8, 230400 bytes a picture",
        "20 pictures a second",
    ]
    told = json.loads(said(config, "info", "asked", "--json"))
    assert (told["width"], told["period_s"], told["features"]) == (320, None, [])


@pytest.mark.parametrize("camera", ["trunk", "asked"])
def test_snap_saves_what_would_be_judged(config, tmp_path, camera) -> None:
    out = tmp_path / "part.png"
    assert said(config, "snap", camera, "--out", str(out)) == f"{out}: 320 x 240 px BGR8\n"
    assert cv2.imread(str(out)).shape == (240, 320, 3)


def test_snap_numbers_several_pictures(config, tmp_path) -> None:
    told = said(config, "snap", "trunk", "--out", str(tmp_path / "a.png"), "--count", "3", "--json").splitlines()
    files = [json.loads(line)["file"] for line in told]
    assert files == [str(tmp_path / f"a-{number}.png") for number in (1, 2, 3)]
    assert len({Path(file).read_bytes() for file in files}) == 3


def test_snap_of_a_folder_is_its_picture(config, tmp_path) -> None:
    (picture,) = write_pictures(tmp_path, count=1)
    (tmp_path / "out").mkdir()
    said(config, "snap", str(tmp_path), "--out", str(tmp_path / "out" / "a.png"))
    assert (cv2.imread(str(tmp_path / "out" / "a.png")) == picture).all()
    said(config, "snap", str(tmp_path), "--out", str(tmp_path / "out" / "a.raw"))
    assert (tmp_path / "out" / "a.raw").read_bytes() == picture.tobytes()
    described = json.loads((tmp_path / "out" / "a.json").read_text())
    assert (described["width"], described["height"], described["pixel_format"]) == (96, 64, "BGR8")


def info(pixel_format: str, width: int = 4, height: int = 2) -> CameraInfo:
    return CameraInfo(
        vendor="v",
        model="m",
        serial="s",
        width=width,
        height=height,
        pixel_format=pixel_format,
        frame_bytes=width * height * 2,
        period_s=None,
    )


def test_raw_values_of_deep_pixels_are_kept_whole() -> None:
    values = np.array([[0, 1, 255, 256], [4095, 4094, 2048, 7]], "<u2")
    raw = np.frombuffer(values.tobytes(), np.uint8)
    for pixel_format in ("Mono12", "Mono16", "BayerRG10"):
        assert (camera_snap.values(raw, info(pixel_format)) == values).all()
    assert (camera_snap.values(raw, info("Mono8")) == raw[:8].reshape(2, 4)).all()
    for packed in ("Mono12p", "JPEG", "YUV422_8"):
        with pytest.raises(GoldlineError, match=f"a PNG cannot hold {packed} as it is; save it as FILE.raw"):
            camera_snap.values(raw, info(packed))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("snap", "trunk", "--out", "x.gif"), "--out x.gif: the name must end with .png or .raw"),
        (("snap", "trunk", "--out", "x.png", "--count", "0"), "--count 0: must be 1 to 100000"),
        (("snap", "trunk", "--out", "/nowhere/x.png"), "/nowhere/x.png: No such file or directory"),
        (("snap", "/nowhere/at/all", "--out", "x.png"), "/nowhere/at/all: no such folder"),
        (("watch", "trunk", "--region", "1,2,3"), "--region 1,2,3: expected x,y,width,height in px"),
        (("watch", "trunk", "--region", "300,0,100,9"), "is not a region of at least 3 x 3 px inside 320 x 240 px"),
        (("set", "trunk", "Gain=1"), "camera trunk: it has no settings of its own"),
        (("set", "trunk", "Gain"), "Gain: expected NAME=VALUE"),
        (("info", "/dev/video99"), "camera /dev/video99: "),
        (("info", "trunk", "Gain"), "Gain: the camera has no feature of that name"),
        (("info", "trunk", "--shot", "dark"), "camera trunk: no [[shot]] named dark; it has none"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(config, words, says) -> None:
    assert says in refused(config, *words)


@pytest.mark.parametrize("verb", ["list", "info", "snap", "set", "watch"])
def test_every_verb_has_help_with_an_example(config, verb) -> None:
    assert f"goldline camera {verb} " in said(config, verb, "--help")


def test_the_fake_camera_answers_for_itself(config) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "edge", "camera", "fake", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "--folder" in ran.stdout and "--interface" in ran.stdout
