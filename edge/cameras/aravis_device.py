"""A GenICam device by libaravis, GigE Vision or USB3 Vision: control, and its features by their names."""

import ctypes
import difflib
import threading
import time
from enum import StrEnum
from functools import cached_property
from typing import Any

from edge.camera_config import FeatureValue
from edge.cameras.aravis import AravisError, Library, Notify
from edge.cameras.aravis_stream import Stream
from edge.cameras.genicam_xml import Description

# ArvGvStreamOption: receive with plain UDP. The packet socket needs CAP_NET_RAW and retires its blocks every 5 ms.
_PACKET_SOCKET_DISABLED = 1
# ArvGcAccessMode. The library also says "write only" of what can be read, so that is no use.
_ACCESS_READ_ONLY = 0
# ArvGvDevice's own names of the bootstrap register: the device's description need not have it.
_PACKET_DELAY = "ArvGevSCPD"

# The bootstrap register of what the control channel can, and the bit of PACKETRESEND (GigE Vision 2.0, section 28).
_GVCP_CAPABILITY, _CAN_RESEND = 0x0934, 0x4


# Telling of a loss takes as long as Python needs for a callback. A stream that is still being let go holds the device too.
_HEARTBEAT_S = 0.2


class FeatureKind(StrEnum):
    """What a GenICam feature holds."""

    BOOLEAN = "a boolean"
    ENUMERATION = "an enumeration"
    FLOAT = "a number"
    INTEGER = "an integer"
    STRING = "a string"


# An enumeration is an integer and a string as well: the order matters.
_KINDS = {
    "enumeration": FeatureKind.ENUMERATION,
    "boolean": FeatureKind.BOOLEAN,
    "float": FeatureKind.FLOAT,
    "integer": FeatureKind.INTEGER,
    "string": FeatureKind.STRING,
}
_ACCESSORS = {kind: word for word, kind in _KINDS.items()} | {FeatureKind.ENUMERATION: "string"}


class Device:
    """An open device. Everything may be called from several threads: one call at a time goes to the device.

    A call on a closed device raises AravisError.
    """

    def __init__(self, library: Library, address: str) -> None:
        """Opens and takes control; `address` is an IP address or an id of the library's. Raises AravisError."""
        self._library = library
        self._camera = library("arv_camera_new", address.encode())
        self._device = library("arv_camera_get_device", self._camera)
        self._notify = Notify(self._note_loss)
        # A caller that gave up on a call may close while it goes on, and must not take the device from under it.
        self._lock = threading.RLock()
        self._is_closed = False
        self.is_lost = False
        self._handler = library("g_signal_connect_data", self._device, b"control-lost", self._notify, None, None, 0)

    def _note_loss(self, _device: object, _data: object) -> None:
        # Called on the library's heartbeat thread.
        self.is_lost = True

    def close(self) -> None:
        """Gives control back; the object is useless afterwards."""
        with self._lock:
            self._is_closed = True
            self._library("g_signal_handler_disconnect", self._device, self._handler)
            self._wait_for_heartbeat()
            self._library("g_object_unref", self._camera)

    def _wait_for_heartbeat(self) -> None:
        """Until the library's heartbeat thread lets the device go, which it holds while it tells of a loss.

        Were its hold the last one, it would wait for its own end, and GLib would abort the process.
        """
        until_s = time.monotonic() + _HEARTBEAT_S
        while _references(self._device) > 1 and time.monotonic() < until_s:
            time.sleep(0.001)

    def _of_device(self, function: str, *arguments: object) -> Any:
        with self._lock:
            if self._is_closed:
                raise AravisError("the device is closed", None)
            return self._library(function, self._device, *arguments)

    def _of_camera(self, function: str, *arguments: object) -> Any:
        with self._lock:
            if self._is_closed:
                raise AravisError("the device is closed", None)
            return self._library(function, self._camera, *arguments)

    # --- what it is

    @cached_property
    def is_gige(self) -> bool:
        """True of a GigE Vision device, False of a USB3 Vision one."""
        return bool(self._of_camera("arv_camera_is_gv_device"))

    def is_controller(self) -> bool:
        """False while another program controls the device; a USB device opens for one program only."""
        return not self.is_gige or bool(self._of_device("arv_gv_device_is_controller"))

    def identity(self) -> tuple[str, str, str]:
        """Vendor, model, serial number."""
        names = ("vendor_name", "model_name", "device_serial_number")
        vendor, model, serial = (_text(self._of_camera(f"arv_camera_get_{name}")) for name in names)
        return vendor, model, serial

    @property
    def description(self) -> Description:
        """What the device says of its features."""
        return self._parsed_description

    @cached_property
    def _parsed_description(self) -> Description:
        size = ctypes.c_size_t()
        address = self._of_device("arv_device_get_genicam_xml", ctypes.byref(size))
        return Description(ctypes.string_at(address, size.value).decode(errors="replace") if address else "")

    def ask_version(self) -> int:
        """The version of the device's registers, at address 0 in GigE Vision and GenCP: only to hear it answer."""
        return self._read_register(0)

    def _read_register(self, address: int) -> int:
        value = ctypes.c_uint32()
        self._of_device("arv_device_read_register", address, ctypes.byref(value))
        return value.value

    def payload_bytes(self) -> int:
        """Bytes of one frame as the device is set now, chunk data included."""
        return self._of_camera("arv_camera_get_payload")

    def pixel_format_code(self) -> int:
        """The PFNC code of the pixel format in use."""
        return self._of_camera("arv_camera_get_pixel_format")

    # --- GigE Vision's transport

    def set_packet_size(self, size_bytes: int) -> int:
        """Asks for stream packets of that size and returns what the device says it uses."""
        self._of_camera("arv_camera_gv_set_packet_size", size_bytes)
        return self._of_camera("arv_camera_gv_get_packet_size")

    def can_resend(self) -> bool:
        """Whether the device sends lost packets again; the library asks every device for them."""
        return bool(self._read_register(_GVCP_CAPABILITY) & _CAN_RESEND)

    def tick_hz(self) -> int:
        """Ticks of the device's clock in a second; 0 where it does not tell."""
        return self._of_device("arv_gv_device_get_timestamp_tick_frequency")

    def set_packet_delay(self, ticks: int) -> int:
        """Asks for a pause of that many ticks after each packet and returns what the device says it takes."""
        self.set(_PACKET_DELAY, FeatureKind.INTEGER, ticks)
        return int(self.get(_PACKET_DELAY, FeatureKind.INTEGER))

    def create_stream(self) -> Stream:
        """A stream, of GigE Vision over plain UDP sockets. It receives nothing until AcquisitionStart."""
        if self.is_gige:
            self._of_camera("arv_camera_gv_set_stream_options", _PACKET_SOCKET_DISABLED)
        parser = self._of_camera("arv_camera_create_chunk_parser")
        try:
            return Stream(self._library, self._of_camera("arv_camera_create_stream", None, None), parser)
        except AravisError:
            self._library("g_object_unref", parser)
            raise

    # --- features

    def execute(self, command: str) -> None:
        """Runs a command feature, such as AcquisitionStart."""
        self._of_device("arv_device_execute_command", command.encode())

    def _is_a(self, name: str, word: str) -> bool:
        node = self._of_device("arv_device_get_feature", name.encode())
        gtype = self._library(f"arv_gc_{word}_get_type")
        return bool(node) and bool(self._library("g_type_check_instance_is_a", node, gtype))

    def feature_kind(self, name: str) -> FeatureKind | None:
        """What the feature holds; None when there is none of that name, or it holds no value."""
        return next((kind for word, kind in _KINDS.items() if self._is_a(name, word)), None)

    def is_command(self, name: str) -> bool:
        """Whether the feature can be executed."""
        return self._is_a(name, "command")

    def is_available(self, name: str) -> bool:
        """Whether the feature exists and can be used as the device is set now."""
        return bool(self._of_device("arv_device_is_feature_available", name.encode()))

    def is_read_only(self, name: str) -> bool:
        """Whether the feature cannot be written as the device is set now."""
        return self._of_device("arv_device_get_feature_access_mode", name.encode()) == _ACCESS_READ_ONLY

    def similar_features(self, name: str) -> list[str]:
        """The names in the device's description closest to `name`, best first."""
        return difflib.get_close_matches(name, self.description.names())

    def entries(self, name: str) -> list[str]:
        """The values an enumeration feature can take now."""
        count = ctypes.c_uint()
        function = "arv_device_dup_available_enumeration_feature_values_as_strings"
        array = self._of_device(function, name.encode(), ctypes.byref(count))
        texts = ctypes.cast(array, ctypes.POINTER(ctypes.c_char_p))
        values = [_text(texts[index]) for index in range(count.value)]
        self._library("g_free", array)
        return values

    def bounds(self, name: str, kind: FeatureKind) -> tuple[float, float]:
        """The smallest and largest value of a FLOAT or INTEGER feature."""
        is_float = kind is FeatureKind.FLOAT
        low, high = (ctypes.c_double(), ctypes.c_double()) if is_float else (ctypes.c_int64(), ctypes.c_int64())
        function = f"arv_device_get_{_ACCESSORS[kind]}_feature_bounds"
        self._of_device(function, name.encode(), ctypes.byref(low), ctypes.byref(high))
        return low.value, high.value

    def step(self, name: str, kind: FeatureKind) -> float:
        """The distance between two values of a FLOAT or INTEGER feature."""
        return self._of_device(f"arv_device_get_{_ACCESSORS[kind]}_feature_increment", name.encode())

    def get(self, name: str, kind: FeatureKind) -> FeatureValue:
        """The feature's value: a bool, int, float or str as its kind says."""
        value = self._of_device(f"arv_device_get_{_ACCESSORS[kind]}_feature_value", name.encode())
        if kind is FeatureKind.BOOLEAN:
            return bool(value)
        return _text(value) if _ACCESSORS[kind] == "string" else value

    def set(self, name: str, kind: FeatureKind, value: FeatureValue) -> None:
        """Writes the feature. The library lets values beyond the bounds wrap without a word: read it back."""
        raw = value.encode() if isinstance(value, str) else value
        self._of_device(f"arv_device_set_{_ACCESSORS[kind]}_feature_value", name.encode(), raw)

    def holding(self) -> threading.RLock:
        """For several calls that belong together, such as a selector and what it selects: `with device.holding():`."""
        return self._lock


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")


def _references(instance: int) -> int:
    """How many hold this GObject: the word after the pointer to its class (struct _GObject, the same since 2.0)."""
    return ctypes.c_uint.from_address(instance + ctypes.sizeof(ctypes.c_void_p)).value
