"""A GigE Vision device by libaravis: control, and its features by the names of its own description."""

import ctypes
import difflib
import re
import threading
from enum import StrEnum

from edge.cameras.aravis import Library, Notify
from edge.cameras.aravis_stream import Stream

# ArvGvStreamOption: receive with plain UDP. The packet socket needs CAP_NET_RAW and retires its blocks every 5 ms.
_PACKET_SOCKET_DISABLED = 1
# ArvGcAccessMode.
_ACCESS_READ_ONLY = 0


class FeatureKind(StrEnum):
    """What a GenICam feature holds."""

    BOOLEAN = "a boolean"
    ENUMERATION = "an enumeration"
    FLOAT = "a number"
    INTEGER = "an integer"
    STRING = "a string"


FeatureValue = bool | int | float | str


def addresses_by_serial(library: Library) -> dict[str, str]:
    """The IP addresses of the GigE Vision devices that answer a broadcast within 1 s, by serial number."""
    library("arv_update_device_list")
    indices = range(library("arv_get_n_devices"))
    found = [index for index in indices if library("arv_get_device_protocol", index) == b"GigEVision"]
    serials = [_text(library("arv_get_device_serial_nbr", index)) for index in found]
    return dict(zip(serials, (_text(library("arv_get_device_address", index)) for index in found), strict=True))


class Device:
    """An open GigE Vision device. Only `execute` and `close` may be called from two threads at once."""

    def __init__(self, library: Library, address: str) -> None:
        """Opens and takes control. Raises AravisError when nothing answers at `address`."""
        self._library = library
        self._camera = library("arv_camera_new", address.encode())
        self._device = library("arv_camera_get_device", self._camera)
        self._notify = Notify(self._note_loss)
        # A caller that gave up on `execute` may close while it goes on, and must not take the device from under it.
        self._lock = threading.Lock()
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
            self._library("g_object_unref", self._camera)

    def is_gige(self) -> bool:
        """Whether it is a GigE Vision device: the library also opens USB3 Vision ones."""
        return bool(self._library("arv_camera_is_gv_device", self._camera))

    def is_controller(self) -> bool:
        """False while another program controls the device."""
        return bool(self._library("arv_gv_device_is_controller", self._device))

    def identity(self) -> tuple[str, str, str]:
        """Vendor, model, serial number."""
        names = ("vendor_name", "model_name", "device_serial_number")
        vendor, model, serial = (_text(self._library(f"arv_camera_get_{name}", self._camera)) for name in names)
        return vendor, model, serial

    def payload_bytes(self) -> int:
        """Bytes of one frame as the device is set now."""
        return self._library("arv_camera_get_payload", self._camera)

    def pixel_format_code(self) -> int:
        """The PFNC code of the pixel format in use."""
        return self._library("arv_camera_get_pixel_format", self._camera)

    def frame_rate_hz(self) -> float:
        """The free-running rate, under whichever name the device has it."""
        return self._library("arv_camera_get_frame_rate", self._camera)

    def set_packet_size(self, size_bytes: int) -> int:
        """Asks for stream packets of that size and returns what the device says it uses."""
        self._library("arv_camera_gv_set_packet_size", self._camera, size_bytes)
        return self._library("arv_camera_gv_get_packet_size", self._camera)

    def execute(self, command: str) -> None:
        """Runs a command feature, such as AcquisitionStart. Does nothing once closed."""
        with self._lock:
            if self._is_closed:
                return
            self._library("arv_device_execute_command", self._device, command.encode())

    def feature_kind(self, name: str) -> FeatureKind | None:
        """What the feature holds; None when there is none of that name, or it holds no value."""
        node = self._library("arv_device_get_feature", self._device, name.encode())
        # An enumeration is an integer and a string as well: the order matters.
        types = {"enumeration": FeatureKind.ENUMERATION, "boolean": FeatureKind.BOOLEAN, "float": FeatureKind.FLOAT}
        types |= {"integer": FeatureKind.INTEGER, "string": FeatureKind.STRING}
        for word, kind in types.items():
            gtype = self._library(f"arv_gc_{word}_get_type")
            if node and self._library("g_type_check_instance_is_a", node, gtype):
                return kind
        return None

    def is_available(self, name: str) -> bool:
        """Whether the feature exists and can be used as the device is set now."""
        return bool(self._library("arv_device_is_feature_available", self._device, name.encode()))

    def is_read_only(self, name: str) -> bool:
        """Whether the feature cannot be written as the device is set now."""
        return self._library("arv_device_get_feature_access_mode", self._device, name.encode()) == _ACCESS_READ_ONLY

    def similar_features(self, name: str) -> list[str]:
        """The names in the device's description closest to `name`, best first."""
        size = ctypes.c_size_t()
        address = self._library("arv_device_get_genicam_xml", self._device, ctypes.byref(size))
        xml = ctypes.string_at(address, size.value).decode(errors="replace") if address else ""
        names = re.findall(r'<(?:Boolean|Enumeration|Float|Integer|StringReg|String) Name="(\w+)"', xml)
        return difflib.get_close_matches(name, names)

    def entries(self, name: str) -> list[str]:
        """The values an enumeration feature can take now."""
        count = ctypes.c_uint()
        function = "arv_device_dup_available_enumeration_feature_values_as_strings"
        array = self._library(function, self._device, name.encode(), ctypes.byref(count))
        texts = ctypes.cast(array, ctypes.POINTER(ctypes.c_char_p))
        values = [_text(texts[index]) for index in range(count.value)]
        self._library("g_free", array)
        return values

    def bounds(self, name: str, kind: FeatureKind) -> tuple[float, float]:
        """The smallest and largest value of a FLOAT or INTEGER feature."""
        is_float = kind is FeatureKind.FLOAT
        low, high = (ctypes.c_double(), ctypes.c_double()) if is_float else (ctypes.c_int64(), ctypes.c_int64())
        function = f"arv_device_get_{'float' if is_float else 'integer'}_feature_bounds"
        self._library(function, self._device, name.encode(), ctypes.byref(low), ctypes.byref(high))
        return low.value, high.value

    def get(self, name: str, kind: FeatureKind) -> FeatureValue:
        """The feature's value: a bool, int, float or str as its kind says."""
        value = self._library(f"arv_device_get_{_accessor(kind)}_feature_value", self._device, name.encode())
        if kind is FeatureKind.BOOLEAN:
            return bool(value)
        return _text(value) if _accessor(kind) == "string" else value

    def set(self, name: str, kind: FeatureKind, value: FeatureValue) -> None:
        """Writes the feature. The library lets values beyond the bounds wrap without a word: read it back."""
        raw = value.encode() if isinstance(value, str) else value
        self._library(f"arv_device_set_{_accessor(kind)}_feature_value", self._device, name.encode(), raw)

    def create_stream(self) -> "Stream":
        """A stream over plain UDP sockets. It receives nothing until AcquisitionStart."""
        self._library("arv_camera_gv_set_stream_options", self._camera, _PACKET_SOCKET_DISABLED)
        return Stream(self._library, self._library("arv_camera_create_stream", self._camera, None, None))


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")


def _accessor(kind: FeatureKind) -> str:
    match kind:
        case FeatureKind.BOOLEAN:
            return "boolean"
        case FeatureKind.FLOAT:
            return "float"
        case FeatureKind.INTEGER:
            return "integer"
        case FeatureKind.ENUMERATION | FeatureKind.STRING:
            return "string"
