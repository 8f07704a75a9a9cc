"""`config.toml` as it is shipped: what its comments say is true of the models that read it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from edge import border_config, camera_config, schema
from edge.camera_state import CameraState
from edge.config import GroupConfig, Station, load_station
from edge.pixel_formats import PIXEL_FORMATS

FILE = Path(__file__).parents[1] / "config.toml"
CAMERAS = FILE.parent / "docs" / "cameras.md"
SECTION = re.compile(r"^(# )?\[+(?P<name>[a-z0-9_.]+)\]+$")
KEY = re.compile(r"^(?P<off># )?(?P<key>[A-Za-z_]+) = (?P<value>[^#]*?) *(?P<comment># .*)?$")
# Keys that are sections, shown as such or as tables in a line.
SHOWN_AS_SECTIONS = {"cameras", "groups", "inference", "trigger", "shot", "strobe", "metrics", "log"} | {
    "events", "security", "outbox", "orders", "archive", "lanes", "fleet",
}  # fmt: skip
LANES = {"modbus": border_config.ModbusConfig, "opcua": border_config.OpcUaConfig, "mqtt": border_config.MqttConfig}
MODELS = {
    model.model_fields["source"].annotation.__args__[0]: model
    for model in schema.alternatives(camera_config.CameraConfig)
}


class Line:
    """One key of the file, in its section."""

    def __init__(self, section: str, found: re.Match[str]) -> None:
        self.section, self.key, self.is_off = section, found["key"], found["off"] is not None
        self.value = tomllib.loads(f"value = {found['value']}")["value"]
        comment = found["comment"] or ""
        self.has_no_default, self.is_example = "no default" in comment, "for example" in comment


def lines() -> Iterator[Line]:
    section = ""
    for text in FILE.read_text().splitlines():
        if begun := SECTION.match(text):
            section = begun["name"]
        elif found := KEY.match(text):
            yield Line(section, found)


def sources() -> dict[str, str]:
    """The source of each camera, by its section."""
    return {line.section: line.value for line in lines() if line.key == "source" and line.section.count(".") == 1}


def model_of(section: str) -> Any:
    """The model whose keys a section has."""
    if not section:
        return Station
    head, *rest = section.split(".")
    if head == "groups":
        return GroupConfig
    if head == "fleet":
        return border_config.FleetConfig
    if head == "lanes":
        return LANES[rest[0]]
    if head != "cameras":
        return Station.model_fields[head].annotation
    camera = MODELS[sources()[f"cameras.{rest[0]}"]]
    nested = {
        "trigger": camera_config.TriggerConfig,
        "strobe": camera_config.StrobeConfig,
        "shot": camera_config.ShotConfig,
    }
    return nested[rest[1]] if len(rest) > 1 else camera


@pytest.mark.parametrize("line", list(lines()), ids=lambda line: f"{line.section}.{line.key}")
def test_a_commented_key_shows_its_default(line: Line) -> None:
    field = model_of(line.section).model_fields[line.key]
    if not line.is_off or (line.is_example and not line.has_no_default) or field.default is PydanticUndefined:
        return
    if line.has_no_default:
        assert field.default is None
    else:
        default = field.default
        assert line.value == (str(default) if isinstance(default, Path) else default)


def test_what_docs_show_of_the_configuration_is_accepted(tmp_path) -> None:
    pages = (CAMERAS, CAMERAS.with_name("streams-and-folders.md"))
    shown = [
        text
        for page in pages
        for text in re.findall(r"^ *```toml\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    assert len(shown) >= 4
    for text in shown:
        (tmp_path / "config.toml").write_text(text)
        assert load_station(tmp_path / "config.toml", {}).cameras, text


def test_docs_have_a_line_for_each_source() -> None:
    table = CAMERAS.read_text().partition("## Which source")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(MODELS)


def test_docs_name_each_pixel_format_and_each_state() -> None:
    text = CAMERAS.read_text()
    whole = [name for name in PIXEL_FORMATS if not name.startswith("Bayer")]
    assert [name for name in [*whole, *CameraState] if f"`{name}`" not in text] == []


def test_every_key_is_shown() -> None:
    shown: dict[Any, set[str]] = {}
    for line in lines():
        shown.setdefault(model_of(line.section), set()).add(line.key)
    base = set(camera_config.CameraBase.model_fields)
    genicam = set(camera_config.GenicamCamera.model_fields)
    for model, keys in shown.items():
        wanted = set(model.model_fields) - SHOWN_AS_SECTIONS
        if issubclass(model, camera_config.CameraBase) and model is not camera_config.SimulatedCamera:
            # What every camera has is shown at the first; what GenICam cameras have, at `gige`.
            wanted -= base
            wanted -= genicam if model is not camera_config.GigeCamera else set()
        assert wanted <= keys, f"{model.__name__}: {wanted - keys}"
    assert set(MODELS.values()) <= set(shown)
    assert {camera_config.TriggerConfig, camera_config.StrobeConfig, camera_config.ShotConfig, GroupConfig} <= set(
        shown
    )
    assert set(LANES) == set(border_config.LanesConfig.model_fields) and set(LANES.values()) <= set(shown)
    assert border_config.FleetConfig in shown
    sections = {name for name, field in Station.model_fields.items() if is_model(field.annotation)} - {"lanes"}
    assert {Station.model_fields[name].annotation for name in sections} <= set(shown)


def is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def test_with_every_comment_taken_off_it_is_a_station(tmp_path) -> None:
    text = FILE.read_text().splitlines()
    off = [
        line.removeprefix("# ") if SECTION.match(line) or KEY.match(line) else line
        for line in text
        if "no default" not in line
    ]
    (tmp_path / "config.toml").write_text("\n".join(off))
    station = load_station(tmp_path / "config.toml", {})
    assert {config.source for config in station.cameras.values()} == set(MODELS)
    assert station.views_of("box") == ("top.bright", "top.dark", "side")
    assert load_station(FILE, {}).cameras.keys() == {"trunk"}
