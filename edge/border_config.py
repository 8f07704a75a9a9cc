"""The sections of `config.toml` about everything that the station says and hears: events, orders, lanes, images.

Nothing listens beyond this machine unless its address says so, and then only to peers whose keys, addresses or
certificates are on a list.
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edge.addresses import LAST_PORT, ListenAddress, TcpAddress, is_remote
from edge.camera_config import Name, Section
from edge.urls import broker, own_nats

PlaceName = Annotated[str, Field(pattern=r"^(-|[a-z0-9][a-z0-9_-]{0,62})$")]


class EventsConfig(Section):
    """The ZeroMQ border (`docs/events.md`, `docs/orders.md`). An address beyond this machine needs `goldline keys new`."""

    # The station's place in the plant, two words of every topic; `-` is none.
    site: PlaceName = "-"
    line: PlaceName = "-"
    live: ListenAddress = "tcp://127.0.0.1:5556"
    command: ListenAddress = "tcp://127.0.0.1:5557"
    sync: ListenAddress = "tcp://127.0.0.1:5558"
    heartbeat_ms: Annotated[float, Field(ge=50, le=10_000)] = 250


class SecurityConfig(Section):
    """Whose keys are let in. `goldline keys` writes the folder."""

    # None: `keys` below the state directory; a systemd credential `goldline-curve` goes before the secret key in it.
    keys_dir: Path | None = None
    # auto: on every TCP address beyond loopback. always: on loopback as well. ipc is guarded by the folder it lies in.
    curve: Literal["auto", "always"] = "auto"


class MetricsConfig(Section):
    """The HTTP page for Prometheus, with /healthz and /readyz."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=LAST_PORT)] = 9464


class OutboxConfig(Section):
    """How much of what was said is kept, and what gives way when there is no more room."""

    max_bytes: Annotated[int, Field(ge=16 << 20)] = 4 << 30
    max_days: Annotated[float, Field(gt=0)] = 90
    # What a declared consumer has not acknowledged by then: pruned, with an explicit GONE; or kept, and the station stops.
    when_unacknowledged: Literal["prune", "stop"] = "prune"
    # The disk is full: take no more triggers; or answer the PLC alone, and say later which triggers have no record.
    when_disk_full: Literal["stop", "lanes"] = "stop"
    # Set aside on disk, to write down what is in flight when there is nothing else left.
    reserve_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20


class OrdersConfig(Section):
    """What the station does by itself before anybody gives an order (`docs/orders.md`)."""

    # True: inspects from the start on. False: waits in Ready for `start`.
    autostart: bool = True


# Where the archive is, below the state directory.
ARCHIVE_FOLDER = "images"


class ArchiveConfig(Section):
    """Pictures that are kept as evidence. They may be lost; a verdict never waits for them."""

    is_on: bool = True
    # What is kept besides FAIL and ERROR: this share of PASS.
    share_of_pass: Annotated[float, Field(ge=0, le=1)] = 0.01
    # False: only what the recipe's regions show.
    whole_pictures: bool = False
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 8 << 30
    max_days: Annotated[float, Field(gt=0)] = 30


class LaneConfig(Section):
    """Any lane to a PLC."""

    # The cameras or groups it speaks of, in this order; none named: all that can be triggered.
    channels: tuple[Name, ...] = ()


class ModbusConfig(LaneConfig):
    """Modbus TCP, as a server. The map of registers: `docs/plc.md`."""

    listen: TcpAddress = "127.0.0.1:5020"
    # Who may connect; beyond loopback nobody may until named.
    allow: tuple[IPv4Network | IPv6Network, ...] = ()

    @model_validator(mode="after")
    def _somebody_may_connect(self) -> Self:
        if is_remote(self.listen) and not self.allow:
            raise ValueError(f'{self.listen} can be reached from elsewhere: name who may, allow = ["192.168.0.10"]')
        return self


class OpcUaConfig(LaneConfig):
    """OPC UA, as a server with the companion specification for machine vision (OPC 40100-1)."""

    listen: TcpAddress = "127.0.0.1:4840"
    # A folder with own/cert.der, own/key.pem and trusted/*.der; without, only loopback is served, unencrypted.
    certificates: Path | None = None

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        if is_remote(self.listen) and self.certificates is None:
            raise ValueError(f"{self.listen} can be reached from elsewhere: it needs certificates")
        return self


class MqttConfig(Section):
    """MQTT 5: every event to a broker, with the outbox behind it."""

    broker: Annotated[str, AfterValidator(broker)]
    # Below it: <topic>/<camera>/result and <topic>/state. None: goldline/<site>/<line>/<station>.
    topic: Annotated[str, Field(pattern=r"^[^$#+\x00][^#+\x00]*$", max_length=1024)] | None = None
    username: str | None = None
    # Files, so that no secret stands in the configuration.
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class FleetConfig(Section):
    """The device's own NATS server, by which a hub has every event of the plant (`docs/fleet.md`)."""

    server: Annotated[str, AfterValidator(own_nats)] = "nats://127.0.0.1:4222"
    # What the server may hold for a hub that is away, on its disk; beyond that events wait in the outbox.
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    # A folder of public keys, *.pub: what they have signed is rolled out to this station. None: `keys/fleet` below the state.
    trusted: Path | None = None


class LanesConfig(Section):
    """The lanes that this station has: a process each."""

    modbus: ModbusConfig | None = None
    opcua: OpcUaConfig | None = None
    mqtt: MqttConfig | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are configured."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)
