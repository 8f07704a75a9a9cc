"""The sections `[cameras.<name>]` of the station: one model for each source.

Features of a camera are its own: GenICam SFNC names, or the names of V4L2's controls, written as they stand and read
back. What another key decides (the trigger, the packet size) is refused among them by the camera that knows it.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from edge.urls import openable

# Views of one part; its event, with the evidence of each, has to fit into the decided log many times over.
MOST_VIEWS = 8
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
FeatureValue = bool | int | float | str
Features = dict[str, FeatureValue]
# SFNC's exposure time and its name of before 2008, both in us.
EXPOSURE_TIMES = ("ExposureTime", "ExposureTimeAbs")


class Section(BaseModel):
    """A table of the file: frozen, and every key known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TriggerConfig(Section):
    """When this camera takes a picture, and how long the line can wait for the answer."""

    mode: Literal["free", "software", "line"] = "free"
    deadline_ms: Annotated[float, Field(gt=0, le=600_000)] = 1_000
    # Triggers that may wait for the camera before the next is an overrun: parts between camera and reject gate.
    queue_depth: Annotated[int, Field(ge=1, le=64)] = 4
    # Software mode without a PLC: the station triggers itself, for demonstrations and soak tests.
    period_ms: Annotated[float, Field(gt=0)] | None = None
    # Line mode: the camera's input and edge (SFNC TriggerSource, TriggerActivation).
    source: str = "Line0"
    activation: Literal["RisingEdge", "FallingEdge", "AnyEdge"] = "RisingEdge"
    # Line mode: the camera's counter that is set up to count the input's edges (SFNC CounterSelector), by which edges
    # that gave no picture are found; none: only the camera's frame ids tell.
    counter: str | None = None

    @model_validator(mode="after")
    def _keys_fit_the_mode(self) -> Self:
        if self.period_ms is not None and self.mode != "software":
            raise ValueError('period_ms needs mode = "software"')
        for key in ("source", "activation", "counter"):
            if getattr(self, key) != type(self).model_fields[key].default and self.mode != "line":
                raise ValueError(f'{key} needs mode = "line"')
        return self


class ShotConfig(Section):
    """One of several pictures for each trigger: a view of the part by its role, and what is set before it is taken."""

    name: Name
    role: Name
    features: Features = {}


class CameraBase(Section):
    """What every camera has. `role` is the name recipes know it by."""

    role: Name = "main"
    trigger: TriggerConfig = TriggerConfig()
    # Ring slots: one being filled, one waiting, two being judged, and room for jitter.
    slots: Annotated[int, Field(ge=4, le=256)] = 8
    # Frames after each start of the stream that are marked as settling: exposure and light may not be steady yet.
    settling_frames: Annotated[int, Field(ge=0, le=1000)] = 0

    @property
    def shots(self) -> tuple[ShotConfig, ...]:
        """Pictures for each trigger under different settings; empty where one picture is all."""
        return ()


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
    """Plays the images of a folder, in name order; each must have the size of the first.

    `loop` begins again at the end, `once` stops there (also over restarts of the camera), `watch` shows each file that
    is put there while the station runs, once.
    """

    source: Literal["folder"]
    path: Path
    rate_hz: Annotated[float, Field(gt=0, le=1000)] = 5.0
    play: Literal["loop", "once", "watch"] = "loop"


class RealCamera(CameraBase):
    """What every camera with a sensor has."""

    settling_frames: Annotated[int, Field(ge=0, le=1000)] = 2
    # A picture that repeats the one before to the last bit means a camera that is frozen: noise never repeats.
    # False for a sensor or a video whose pictures can repeat.
    detect_frozen: bool = True


class StrobeConfig(Section):
    """An output of the camera that is on while it exposes (SFNC LineSource = ExposureActive)."""

    line: str = "Line1"
    inverted: bool = False


class GenicamCamera(RealCamera):
    """What every camera with GenICam features has."""

    # SFNC features by name, or as Name[Entry] where a selector chooses among several ("LineMode[Line1]"), written and
    # read back in this order.
    features: Features = {}
    strobe: StrobeConfig | None = None
    # Automatic exposure, gain and white balance move under a reference set: refused unless declared here.
    allow_automatic: bool = False
    shot: tuple[ShotConfig, ...] = ()

    @property
    def shots(self) -> tuple[ShotConfig, ...]:
        """Pictures for each trigger, in the order taken."""
        return self.shot

    @model_validator(mode="after")
    def _shots_fit(self) -> Self:
        if not self.shot:
            return self
        if len(self.shot) == 1:
            raise ValueError("shot: one picture for a trigger needs no [[shot]]; two or more do")
        if len(self.shot) > MOST_VIEWS:
            raise ValueError(f"shot: {len(self.shot)} pictures for a trigger; must be at most {MOST_VIEWS}")
        if self.trigger.mode == "free":
            raise ValueError('shot: a free-running camera has none; set trigger.mode to "software" or "line"')
        if self.role != type(self).model_fields["role"].default:
            raise ValueError("role: each [[shot]] has its own")
        for key in ("name", "role"):
            values = [getattr(shot, key) for shot in self.shot]
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f'shot: two have {key} = "{twice[0]}"')
        return self


class GigeCamera(GenicamCamera):
    """A GigE Vision or USB3 Vision camera, by Aravis. `address` is an IP or MAC address, a serial number or a name.

    The packet keys are for GigE Vision: delay in the device's ticks where it has one, resend asked for where a packet
    is missing this long.
    """

    source: Literal["gige"]
    address: str
    packet_size_bytes: Annotated[int, Field(ge=576, le=9000)] = 1400
    packet_delay_ns: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    packet_resend: bool = True
    packet_timeout_ms: Annotated[float, Field(ge=1, le=1000)] = 20.0
    frame_retention_ms: Annotated[float, Field(ge=10, le=5000)] = 100.0
    receive_buffer_bytes: Annotated[int, Field(ge=65_536, le=1 << 30)] = 16 << 20
    # Chunk data with each frame, where the camera has it: of these are used Timestamp, ExposureTime and, with
    # trigger.counter, CounterValue, by which each edge without a picture is found, however busy the line.
    chunks: tuple[str, ...] = ()


class V4l2Camera(RealCamera):
    """A USB (UVC) or other V4L2 camera. `device` is a path: best /dev/v4l/by-id/... or by-path, which stay the same."""

    source: Literal["v4l2"]
    device: Path
    width: Annotated[int, Field(ge=16, le=16_384)]
    height: Annotated[int, Field(ge=16, le=16_384)]
    rate_hz: Annotated[float, Field(gt=0, le=1000)] | None = None
    pixel_format: Literal["YUYV", "MJPEG", "GREY", "RGGB", "BGGR", "GRBG", "GBRG"] = "YUYV"
    # V4L2 controls by name as `goldline camera info` prints them, written and read back in this order.
    controls: dict[str, bool | int | str] = {}
    allow_automatic: bool = False


class StreamCamera(RealCamera):
    """A network stream: rtsp://... or http://... (MJPEG). Compressed pictures: for tagging and watching, not gauging."""

    source: Literal["stream"]
    url: Annotated[str, Field(pattern=r"^(rtsp|rtsps|http|https)://"), AfterValidator(openable)]
    transport: Literal["tcp", "udp"] = "tcp"
    timeout_ms: Annotated[float, Field(ge=200, le=30_000)] = 2_000
    # A video may repeat a picture.
    detect_frozen: bool = False


class PylonCamera(GenicamCamera):
    """A Basler camera, by pypylon (extra `pylon`). `serial` picks one; without, the only one there is."""

    source: Literal["pylon"]
    serial: str | None = None


class GentlCamera(GenicamCamera):
    """A camera of any maker, by the maker's GenTL producer (extra `gentl`). `device` is a serial number or an id."""

    source: Literal["gentl"]
    producer: Path
    device: str | None = None


CameraConfig = Annotated[
    SimulatedCamera | FolderCamera | GigeCamera | V4l2Camera | StreamCamera | PylonCamera | GentlCamera,
    Field(discriminator="source"),
]
