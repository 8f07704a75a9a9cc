"""How the station stands, as a lane reads it: the part of `orders.StationState` that PLCs are told. Pure."""

import msgspec


class Camera(msgspec.Struct, frozen=True):
    """One camera. `is_up`: it streams; None: only its process is known of."""

    mode: str
    is_linked: bool
    is_up: bool | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it can take a picture."""
        return self.is_linked and self.is_up is not False


class Group(msgspec.Struct, frozen=True):
    """Cameras that see one part."""

    cameras: tuple[str, ...]


class Job(msgspec.Struct, frozen=True):
    """What is judged by."""

    product: str | None = None
    variant: str | None = None
    recipe_sha256: str | None = None
    reference_set: str | None = None
    configuration: int | None = None


class Alarm(msgspec.Struct, frozen=True):
    """What is wrong with the station."""

    name: str
    text: str = ""


class Standing(msgspec.Struct, frozen=True):
    """The station. `state` is one of OPC 40100."""

    state: str = "ContinuousExecution"
    cameras: dict[str, Camera] = {}
    groups: dict[str, Group] = {}
    job: Job | None = None
    alarms: tuple[Alarm, ...] = ()

    @property
    def executes(self) -> bool:
        """Whether triggers are accepted."""
        return self.state in ("SingleExecution", "ContinuousExecution")

    def cameras_of(self, channel: str) -> tuple[str, ...]:
        """The cameras that a channel's trigger fires."""
        return self.groups[channel].cameras if channel in self.groups else (channel,)

    def is_up(self, channel: str) -> bool:
        """Whether every camera of this channel can take a picture."""
        found = [self.cameras.get(name) for name in self.cameras_of(channel)]
        return all(camera is not None and camera.is_ready for camera in found)


decode_standing = msgspec.json.Decoder(Standing).decode
