"""This station: `config.toml`, with every field also settable as `GOLDLINE_…` (nested with `__`).

Validated whole. An unknown key, an unknown `GOLDLINE_…` variable or a value out of bounds refuses the station, in a
line that names file, section, key, value and bound.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from edge import environment, schema, validation
from edge.border_config import (
    ArchiveConfig,
    EventsConfig,
    FleetConfig,
    LanesConfig,
    MetricsConfig,
    OrdersConfig,
    OutboxConfig,
    SecurityConfig,
)
from edge.camera_config import MOST_VIEWS, CameraConfig, Name, Section
from edge.errors import ConfigError, GoldlineError
from edge.records import view_of

DEFAULT_FILE, INSTALLED_FILE = Path("config.toml"), Path("/etc/goldline/config.toml")

Model = TypeVar("Model", bound=BaseModel)


class GroupConfig(Section):
    """Cameras that see one part: a trigger fires them all, and one verdict answers for all their views.

    The shortest `trigger.deadline_ms` of its cameras is the part's. Where the line fires them, by one signal to all
    their inputs, the first opens the trigger.
    """

    cameras: tuple[Name, ...]
    # The station triggers the group itself, as a camera's `trigger.period_ms` does.
    period_ms: Annotated[float, Field(gt=0)] | None = None

    @field_validator("cameras")
    @classmethod
    def _are_several(cls, cameras: tuple[str, ...]) -> tuple[str, ...]:
        if not 2 <= len(cameras) <= MOST_VIEWS:
            raise ValueError(f"must name 2 to {MOST_VIEWS} cameras")
        if twice := [camera for camera, count in Counter(cameras).items() if count > 1]:
            raise ValueError(f"names {twice[0]} twice")
        return cameras


class InferenceConfig(Section):
    """Where the graph runs. `threads = 0` takes every core."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    allow_fallback: bool = False
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    # Any ONNX file with declared feature maps (`edge/models/README.md`), for what is taught from now on.
    backbone: Path | None = None


class LogConfig(Section):
    """`auto` gives the journal its fields under systemd, is readable on a terminal, and JSON elsewhere (`docs/logs.md`)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console", "journal"] = "auto"


class Station(BaseSettings):
    """The whole of `config.toml`. Relative paths are relative to the file."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    station_id: Name = "station"
    state_dir: Path = Path("state")
    pipelines_dir: Path = Path("pipelines")
    # Kept across service restarts, gone after a power cut: systemd's RUNTIME_DIRECTORY, else below the state.
    runtime_dir: Path | None = None
    product: Name | None = None
    cameras: dict[Name, CameraConfig] = {}
    groups: dict[Name, GroupConfig] = {}
    inference: InferenceConfig = InferenceConfig()
    events: EventsConfig = EventsConfig()
    security: SecurityConfig = SecurityConfig()
    outbox: OutboxConfig = OutboxConfig()
    orders: OrdersConfig = OrdersConfig()
    archive: ArchiveConfig = ArchiveConfig()
    lanes: LanesConfig = LanesConfig()
    fleet: FleetConfig | None = None
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A station made in code, or handed to a worker, is what was given; `load_station` reads the other sources."""
        return (init_settings,)

    @model_validator(mode="after")
    def _ports_are_distinct(self) -> Self:
        taken = {str(self.metrics.port): "[metrics] port"}
        for key, address in self.listening.items():
            port = address.rpartition(":")[2]
            # An ipc address has no port and is itself what must be its own; `*` is any port that is free.
            own = port if port.isdecimal() else address
            if own in taken and port != "*":
                raise ValueError(f"{key} and {taken[own]} are both {own}")
            taken[own] = key
        return self

    @model_validator(mode="after")
    def _channels_can_be_triggered(self) -> Self:
        for name in ("modbus", "opcua"):
            lane = getattr(self.lanes, name)
            for channel in lane.channels if lane else ():
                if channel not in self.triggered:
                    raise ValueError(
                        f"[lanes.{name}] channels: {channel} is no camera or group"
                        + schema.did_you_mean(channel, list(self.triggered))
                    )
        return self

    @model_validator(mode="after")
    def _groups_fit_their_cameras(self) -> Self:
        for name, group in self.groups.items():
            if name in self.cameras:
                raise ValueError(f"[groups.{name}]: a camera has this name")
            for camera in group.cameras:
                if problem := self._misfit(name, camera):
                    raise ValueError(f"[groups.{name}] cameras: {problem}")
            if group.period_ms is not None and self.cameras[group.cameras[0]].trigger.mode == "line":
                raise ValueError(f"[groups.{name}] period_ms: the line triggers its cameras")
            if (views := len(self.views_of(name))) > MOST_VIEWS:
                raise ValueError(
                    f"[groups.{name}] cameras: {views} views with their shots; must be at most {MOST_VIEWS}"
                )
        return self

    def _misfit(self, group: str, camera: str) -> str | None:
        """Why this camera cannot be in this group."""
        if camera not in self.cameras:
            return f"{camera} is no camera" + schema.did_you_mean(camera, list(self.cameras))
        config = self.cameras[camera]
        if problem := self._odd_mode(group, camera):
            return problem
        if config.trigger.period_ms is not None:
            return f"{camera} has a trigger.period_ms of its own; set that of the group"
        if (other := self.group_of(camera)) != group:
            return f"{camera} is in group {other} already"
        return self._twins(group, camera)

    def _odd_mode(self, group: str, camera: str) -> str | None:
        """What to say where this camera is not triggered as those of a group are."""
        mode, first = self.cameras[camera].trigger.mode, self.groups[group].cameras[0]
        if mode == "free":
            return f'{camera} has trigger.mode = "free"; a group needs "software", or "line" for all'
        if mode != (theirs := self.cameras[first].trigger.mode):
            return f'{first} has trigger.mode = "{theirs}" and {camera} "{mode}"; a group has one'
        if mode == "line" and self.cameras[camera].shots:
            return f"{camera} has shots; in a group on the line each camera takes one picture for each pulse"
        return None

    def _twins(self, group: str, camera: str) -> str | None:
        """What to say where a view of this camera has the role of one by a camera before it."""
        before = self.groups[group].cameras[: self.groups[group].cameras.index(camera)]
        taken = {self.role_of(view): view for other in before for view in self.views_of(other)}
        for view in self.views_of(camera):
            if (role := self.role_of(view)) in taken:
                return f'{taken[role]} and {view} both have role = "{role}"; each view of a part needs its own'
        return None

    @property
    def listening(self) -> dict[str, str]:
        """Every address that is listened on but that of the metrics, by the key it is set with."""
        events = {f"[events] {key}": getattr(self.events, key) for key in ("live", "command", "sync")}
        lanes = {"[lanes.modbus] listen": self.lanes.modbus, "[lanes.opcua] listen": self.lanes.opcua}
        return events | {key: lane.listen for key, lane in lanes.items() if lane is not None}

    @property
    def keys_dir(self) -> Path:
        """Where this station's key and those of its clients are."""
        return self.security.keys_dir or self.state_dir / "keys"

    def group_of(self, camera: str) -> str | None:
        """The group that triggers this camera; None for one that is triggered by itself."""
        return next((name for name, group in self.groups.items() if camera in group.cameras), None)

    def opens(self, camera: str) -> str | None:
        """What this camera's frames open triggers for, on the line or freely: itself, or its group where it is the first.

        None for another of a group: the first one's triggers are what its frames answer.
        """
        group = self.group_of(camera)
        return camera if group is None else group if self.groups[group].cameras[0] == camera else None

    @property
    def triggered(self) -> tuple[str, ...]:
        """Every name that a trigger can have: cameras, then groups. Events and counts go by it."""
        return (*self.cameras, *self.groups)

    def cameras_of(self, name: str) -> tuple[str, ...]:
        """The cameras of a group, or the camera of this name."""
        return self.groups[name].cameras if name in self.groups else (name,)

    def views_of(self, name: str) -> tuple[str, ...]:
        """The looks at the part that a trigger of this camera or group takes: `camera`, or `camera.shot` for each."""
        return tuple(view for camera in self.cameras_of(name) for view in self._views(camera))

    def _views(self, camera: str) -> tuple[str, ...]:
        return tuple(view_of(camera, shot.name) for shot in self.cameras[camera].shots) or (camera,)

    @property
    def views(self) -> tuple[str, ...]:
        """Every view of every camera."""
        return tuple(view for camera in self.cameras for view in self._views(camera))

    def role_of(self, view: str) -> str:
        """The name recipes know this view by. Raises KeyError for none of the station's."""
        camera, _, name = view.partition(".")
        roles = {shot.name: shot.role for shot in self.cameras[camera].shots} or {"": self.cameras[camera].role}
        return roles[name]

    def deadline_ms(self, name: str) -> float:
        """How long the line can wait for the answer to a trigger of this camera or group."""
        return min(self.cameras[camera].trigger.deadline_ms for camera in self.cameras_of(name))

    def period_ms(self, name: str) -> float | None:
        """How often the station triggers this camera or group itself; None: it does not."""
        return self.groups[name].period_ms if name in self.groups else self.cameras[name].trigger.period_ms


def load_station(path: Path | None, environ: Mapping[str, str] = os.environ) -> Station:
    """The station of this file, over it what `environ` sets, below it the defaults.

    Without a path: `GOLDLINE_CONFIG`, ./config.toml, or the installed service's, where there is one. Relative paths of the file and of the
    defaults become absolute, relative to the file. Raises ConfigError with every problem, or GoldlineError where the
    file cannot be read.
    """
    file = configuration(path, environ)
    variables = environment.read(environ, Station)
    data = environment.laid_over(_read(file), variables.values) if file else variables.values
    document = validation.Document(str(file or "configuration"), data, variables.names)
    problems = variables.problems
    try:
        station = Station(**data)
    except ValidationError as error:
        problems += validation.problems(error, Station, document)
    else:
        if not problems:
            return _absolute(station, (file or DEFAULT_FILE).absolute().parent)
    raise ConfigError("\n".join(problems))


def runtime_directory(station: Station, environ: Mapping[str, str] = os.environ) -> Path:
    """Where what must outlive a process, but not the machine, is kept. Not created here."""
    if station.runtime_dir is not None:
        return station.runtime_dir
    # systemd lists the directories of a unit joined by colons; ours has one.
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else station.state_dir / "run"


def configuration(path: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file that `load_station` reads; None where there is none. Raises GoldlineError for one that was named and is not there."""
    given = path or environ.get("GOLDLINE_CONFIG")
    if not given:
        return next((file for file in (DEFAULT_FILE, INSTALLED_FILE) if os.path.isfile(file)), None)
    if not (file := Path(given)).is_file():
        raise GoldlineError(f"{file}: no such file")
    return file


def _read(file: Path) -> dict[str, Any]:
    with validation.reading(file):
        return TomlConfigSettingsSource(Station, file)()


def _absolute(section: Model, base: Path) -> Model:
    return section.model_copy(update={name: _based(value, base) for name, value in section if value is not None})


def _based(value: object, base: Path) -> object:
    if isinstance(value, Path):
        return base / value.expanduser()
    if isinstance(value, BaseModel):
        return _absolute(value, base)
    if isinstance(value, dict):
        return {key: _based(item, base) for key, item in cast("dict[str, object]", value).items()}
    return value
