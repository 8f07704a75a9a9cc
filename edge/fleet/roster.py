"""Who is let into the hub: a list that people read (TOML), and from it the one that its server reads."""

from pathlib import Path
from typing import Annotated, Self

import tomlkit
from pydantic import Field, ValidationError

from edge import validation
from edge.camera_config import Name, Section
from edge.errors import ConfigError, GoldlineError
from edge.fleet import servers
from edge.fleet.rights import OPERATOR, Rights, reader_rights
from edge.fleet.words import PLANT_STREAM

Public = Annotated[str, Field(pattern=servers.PUBLIC.pattern)]


class Roster(Section):
    """Public keys: of devices by station, of programs that read by name; the operators are named among these."""

    devices: dict[Name, Public] = {}
    readers: dict[Name, Public] = {}
    operators: tuple[Name, ...] = ()

    def with_device(self, station: str, public: str, *, is_replaced: bool) -> Self:
        """And this device. Raises GoldlineError."""
        key = servers.check_public(public)
        if self.devices.get(servers.check_station(station), key) != key and not is_replaced:
            raise GoldlineError(f"{station}: is on the list with another key; a device in its place: --replace")
        if key in (set(self.devices.values()) - {self.devices.get(station)}) | set(self.readers.values()):
            raise GoldlineError(f"{key}: is another's on the list; each has its own")
        return self.model_copy(update={"devices": {**self.devices, station: key}})

    def with_reader(self, name: str, public: str, *, is_operator: bool) -> Self:
        """And this program. Raises GoldlineError."""
        if servers.check_station(name) in self.readers:
            raise GoldlineError(f"{name}: is on the list already")
        operators = (*self.operators, name) if is_operator else self.operators
        return self.model_copy(update={"readers": {**self.readers, name: public}, "operators": operators})

    def without(self, station: str) -> Self:
        """And no more this device. Raises GoldlineError."""
        if station not in self.devices:
            raise GoldlineError(f"{station}: is not on the list")
        return self.model_copy(update={"devices": {n: k for n, k in self.devices.items() if n != station}})

    @property
    def rights(self) -> dict[str, tuple[str, Rights]]:
        """Of those that are no devices."""
        return {
            name: (key, OPERATOR if name in self.operators else reader_rights(PLANT_STREAM, name))
            for name, key in self.readers.items()
        }


def load(path: Path) -> Roster:
    """The list; empty where there is none. Raises GoldlineError."""
    if not path.exists():
        return Roster()
    with validation.reading(path):
        data = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    try:
        return Roster.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(validation.problems(error, Roster, validation.Document(str(path), data)))) from None


def save(path: Path, roster: Roster) -> None:
    """Both lists, each whole. Raises GoldlineError."""
    texts = {
        path: tomlkit.dumps(roster.model_dump(mode="json")),
        path.with_name("devices.conf"): servers.devices_conf(roster.devices, roster.rights),
    }
    try:
        for file, text in texts.items():
            beside = file.with_name(f"{file.name}.new")
            beside.write_text(text, encoding="utf-8")
            beside.replace(file)
    except OSError as problem:
        raise GoldlineError(f"{path}: cannot be written: {problem}") from problem
