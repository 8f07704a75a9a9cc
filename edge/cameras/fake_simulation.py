"""libaravis' simulation of a GigE Vision device: its registers, and what can be told to it.

Discovery, control, heartbeat, software triggers and stream packets are the library's; pixels come from a callback, on
the simulation's own thread. Registers from 0xA000 on are the project's own; `fake_gige.xml` says what they are.
"""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path

from edge.cameras.aravis import FillPattern, Library
from edge.errors import GoldlineError

_DESCRIPTION = Path(__file__).with_name("fake_gige.xml")
# GObject's fundamental type of a double: G_TYPE_MAKE_FUNDAMENTAL(15).
_G_TYPE_DOUBLE = 15 << 2
# Strings of the bootstrap registers (GigE Vision 2.0, 27): address and length.
_VENDOR, _MODEL, _USER_NAME = (0x48, 32), (0x68, 32), (0xE8, 16)
# Half of a MAC address each; an address of this kind is locally administered, and the rest is the IP address.
_MAC_HIGH, _MAC_LOW, _LOCAL_MAC = 0x08, 0x0C, 0x0200
# A discovery command of GVCP, as any client sends it: key, "acknowledge", DISCOVERY_CMD, no payload, request id 1.
_PORT, _DISCOVERY, _ANSWER_BYTES = 3956, struct.pack(">BBHHH", 0x42, 0x01, 0x0002, 0, 1), 1024


class Register(IntEnum):
    """Addresses. Those below 0xA000 mean something to the simulation."""

    WIDTH = 0x100
    HEIGHT = 0x104
    SENSOR_HEIGHT = 0x118
    SENSOR_WIDTH = 0x11C
    EXPOSURE_US = 0x120
    ACQUISITION = 0x124
    PIXEL_FORMAT = 0x128
    # The period that the simulation keeps; what a client sets is FRAME_PERIOD_US.
    PACE_US = 0x138
    # 0 runs freely and 1 waits for TRIGGER_SOFTWARE, if the source is 1; on anything else it sends nothing.
    TRIGGER_MODES = 0x300
    SIMULATION_SOURCE = 0x304
    TRIGGER_SOFTWARE = 0x30C
    PRIVILEGE = 0xA00
    BURST_FRAMES = 0xA01C
    TEMPERATURE = 0xA020
    FRAME_PERIOD_US = 0xA024
    TIMESTAMP = 0xA028
    USER_OUTPUT_0 = 0xA030
    LINE_1_MODE = 0xA050
    COUNTER_SOURCE = 0xA060
    COUNTER = 0xA068
    FRAME_SOURCE = 0xA070
    BURST_SOURCE = 0xA078


class _Value(ctypes.Structure):
    _fields_ = [("type", ctypes.c_size_t), ("data", ctypes.c_uint64 * 2)]


class Simulation:
    """A running device. Close it before what `fill` needs goes."""

    def __init__(self, library: Library, interface: str, serial: str, fill: Callable[..., None]) -> None:
        """Answers at `interface` from now on. Raises GoldlineError when it is no address of this machine.

        `fill(buffer, data, exposure_us, gain, pixel_format)` is called for each frame: `buffer` is an ArvBuffer.
        """
        self._library = library
        self._camera = library(
            "arv_gv_fake_camera_new_full", interface.encode(), serial.encode(), str(_DESCRIPTION).encode()
        )
        if not library("arv_gv_fake_camera_is_running", self._camera):
            raise GoldlineError(f"--interface {interface}: not an address of this machine")
        self._registers = library("arv_gv_fake_camera_get_fake_camera", self._camera)
        self._nudging = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._nudging.connect((interface, _PORT))
        self._nudging.setblocking(False)
        self._pattern = FillPattern(fill)
        library("arv_fake_camera_set_fill_pattern", self._registers, self._pattern, None)

    def close(self) -> None:
        """Ends the simulation's thread, and no longer answers."""
        self._library("g_object_unref", self._camera)
        self._nudging.close()

    def nudge(self) -> None:
        """Makes it look at the time.

        Where it was interrupted at the wrong moment it waits 0.1 s instead of until its next frame: the difference of
        two times is unsigned to it (0.8.26). A packet wakes it.
        """
        with contextlib.suppress(OSError):  # no answer has come yet, or it has stopped
            self._nudging.send(_DISCOVERY)
            self._nudging.recv(_ANSWER_BYTES)

    def read(self, register: int) -> int:
        """The register's value."""
        value = ctypes.c_uint32()
        self._library("arv_fake_camera_read_register", self._registers, register, ctypes.byref(value))
        return value.value

    def write(self, registers: Mapping[Register, int]) -> None:
        """Sets registers, in this order."""
        for register, value in registers.items():
            self._library("arv_fake_camera_write_register", self._registers, register, value)

    def write_wide(self, register: int, value: int) -> None:
        """Sets a register of 64 bits."""
        self._library("arv_fake_camera_write_memory", self._registers, register, 8, value.to_bytes(8, "big"))

    def name(self, interface: str, user_name: str) -> None:
        """What discovery tells: the vendor, the model, a name of the user's, and a MAC address of its own."""
        for (address, length), text in ((_VENDOR, "Goldline"), (_MODEL, "Fake"), (_USER_NAME, user_name)):
            padded = text.encode().ljust(length, b"\0")
            self._library("arv_fake_camera_write_memory", self._registers, address, length, padded)
        octets = bytes(int(octet) for octet in interface.split("."))
        for address, value in ((_MAC_HIGH, _LOCAL_MAC), (_MAC_LOW, int.from_bytes(octets, "big"))):
            self._library("arv_fake_camera_write_register", self._registers, address, value)

    def look_for_triggers(self, rate_hz: float) -> None:
        """How often it looks whether a trigger has come."""
        self._library("arv_fake_camera_set_trigger_frequency", self._registers, rate_hz)

    def lose(self, per_thousand: float) -> None:
        """Leave out that share of the stream's packets from now on."""
        value = _Value()
        self._library("g_value_init", ctypes.byref(value), _G_TYPE_DOUBLE)
        self._library("g_value_set_double", ctypes.byref(value), per_thousand / 1000)
        self._library("g_object_set_property", self._camera, b"gvsp-lost-ratio", ctypes.byref(value))

    @property
    def is_acquiring(self) -> bool:
        """A client controls it and has started the acquisition."""
        return self.read(Register.PRIVILEGE) != 0 and self.read(Register.ACQUISITION) != 0
