"""This station: `config.toml`, with every field also settable as `GOLDLINE_…` (nested with `__`).

Validated whole. An unknown key, an unknown `GOLDLINE_…` variable or a value out of bounds refuses the station, in a
line that names file, section, key, value and bound.
"""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from edge import environment, validation
from edge.errors import ConfigError, GoldlineError

DEFAULT_FILE = Path("config.toml")
# Port numbers have 16 bits.
LAST_PORT = 65_535

Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
PlaceName = Annotated[str, Field(pattern=r"^(-|[a-z0-9][a-z0-9_-]{0,62})$")]


class Section(BaseModel):
    """A table of the file: frozen, and every key known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TriggerConfig(Section):
    """When this camera takes a picture, and how long the line can wait for the answer."""

    mode: Literal["free", "software"] = "free"
    deadline_ms: Annotated[float, Field(gt=0, le=600_000)] = 1_000
    # Triggers that may wait for the camera before the next is an overrun: parts between camera and reject gate.
    queue_depth: Annotated[int, Field(ge=1, le=64)] = 4
    # Software mode without a PLC: the station triggers itself, for demonstrations and soak tests.
    period_ms: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _period_needs_software(self) -> Self:
        if self.period_ms is not None and self.mode != "software":
            raise ValueError('period_ms needs mode = "software"')
        return self


class CameraBase(Section):
    """What every camera has. `role` is the name recipes know it by."""

    role: Name = "main"
    trigger: TriggerConfig = TriggerConfig()
    # Ring slots: one being filled, one waiting, two being judged, and room for jitter.
    slots: Annotated[int, Field(ge=4, le=256)] = 8


class SimulatedCamera(CameraBase):
    """Renders a product; nothing is connected."""

    source: Literal["simulated"]
    width: Annotated[int, Field(ge=64, le=8192)] = 1280
    height: Annotated[int, Field(ge=64, le=8192)] = 960
    rate_hz: Annotated[float, Field(gt=0, le=1000)] = 5.0
    # Share of parts that deviate, and how.
    deviation_rate: Annotated[float, Field(ge=0, le=1)] = 0.2
    seed: int = 0
    # When in its period a free-running camera takes its pictures, by the machine's clock; none: from its start on.
    phase: Annotated[float, Field(ge=0, lt=1)] | None = None
    # Pictures rendered before the stream starts and then repeated; 0 renders each anew.
    prerendered: Annotated[int, Field(ge=0, le=1000)] = 0


class FolderCamera(CameraBase):
    """Plays the images of a folder, in name order; each must have the size of the first."""

    source: Literal["folder"]
    path: Path
    rate_hz: Annotated[float, Field(gt=0, le=1000)] = 5.0
    loop: bool = True


class GigeCamera(CameraBase):
    """A GigE Vision camera, by Aravis. `address` is an IP address, a serial number or a user-defined name."""

    source: Literal["gige"]
    address: str
    packet_size_bytes: Annotated[int, Field(ge=576, le=9000)] = 1400
    receive_buffer_bytes: Annotated[int, Field(ge=65_536, le=1 << 30)] = 16 << 20
    # GenICam SFNC features by name, written and read back in this order.
    features: dict[str, bool | int | float | str] = {}


CameraConfig = Annotated[SimulatedCamera | FolderCamera | GigeCamera, Field(discriminator="source")]


class InferenceConfig(Section):
    """Where the graph runs. `threads = 0` takes every core."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    allow_fallback: bool = False
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    # Any ONNX file with declared feature maps (`edge/models/README.md`), for what is taught from now on.
    backbone: Path | None = None


def _is_local(address: str) -> str:
    """A ZeroMQ endpoint that nothing outside this machine can reach."""
    url = urlsplit(address)
    if url.scheme == "ipc" and (url.netloc or url.path):
        return address
    host, _, port = url.netloc.rpartition(":")
    if url.scheme != "tcp" or not (port == "*" or (port.isdecimal() and 1 <= int(port) <= LAST_PORT)):
        raise ValueError(f'must be "tcp://127.0.0.1:PORT" with a port from 1 to {LAST_PORT}, or "ipc://PATH"')
    if host != "localhost" and not _is_loopback(host.strip("[]")):
        raise ValueError("must be a loopback address: peers elsewhere cannot be authenticated yet")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who answers to it is not ours to say
        return False


LocalAddress = Annotated[str, AfterValidator(_is_local)]


class EventsConfig(Section):
    """The ZeroMQ border. Addresses beyond loopback are refused until they can be authenticated."""

    # The station's place in the plant, two words of every topic; `-` is none.
    site: PlaceName = "-"
    line: PlaceName = "-"
    live: LocalAddress = "tcp://127.0.0.1:5556"
    command: LocalAddress = "tcp://127.0.0.1:5557"
    heartbeat_ms: Annotated[float, Field(ge=50, le=10_000)] = 250


class MetricsConfig(Section):
    """The HTTP page for Prometheus, with /healthz and /readyz."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=LAST_PORT)] = 9464


class LogConfig(Section):
    """`auto` is readable on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


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
    inference: InferenceConfig = InferenceConfig()
    events: EventsConfig = EventsConfig()
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
        if self.events.live == self.events.command:
            raise ValueError(f"[events] live and command are both {self.events.live}")
        for key in ("live", "command"):
            if str(getattr(self.events, key)).endswith(f":{self.metrics.port}"):
                raise ValueError(f"[events] {key} and [metrics] port are both {self.metrics.port}")
        return self


def load_station(path: Path | None, environ: Mapping[str, str] = os.environ) -> Station:
    """The station of this file, over it what `environ` sets, below it the defaults.

    Without a path: `GOLDLINE_CONFIG`, else ./config.toml where there is one. Relative paths of the file and of the
    defaults become absolute, relative to the file. Raises ConfigError with every problem, or GoldlineError where the
    file cannot be read.
    """
    file = _file(path, environ)
    variables = environment.read(environ, Station)
    data = _merged(_read(file), variables.values) if file else variables.values
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


def _file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is None and environ.get("GOLDLINE_CONFIG"):
        path = Path(environ["GOLDLINE_CONFIG"])
    if path is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if not path.is_file():
        raise GoldlineError(f"{path}: no such file")
    return path


def _read(file: Path) -> dict[str, Any]:
    with validation.reading(file):
        return TomlConfigSettingsSource(Station, file)()


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of both, key by key; `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        are_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], cast("dict[str, Any]", value)) if are_tables else value
    return merged


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
