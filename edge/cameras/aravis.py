"""libaravis-0.8 by ctypes: its functions by their C names, with GErrors raised.

Only what `gige` and `fake_gige` need. A call on a device that no longer answers blocks for about 2.5 s: five tries of
0.5 s, inside the library, which cannot be told otherwise.
"""

import ctypes
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from edge.cameras.camera import CameraConfigError

_LIBRARY = "libaravis-0.8.so.0"
_PACKAGE = "libaravis-0.8-0"

FillPattern = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32
)
Notify = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class DeviceError(IntEnum):
    """The codes of ArvDeviceError that decide what a caller does."""

    TIMEOUT = 5
    NOT_CONTROLLER = 10


class AravisError(Exception):
    """What the library said. `code` is one of ArvDeviceError's, or None from elsewhere (GenICam, the interface)."""

    def __init__(self, message: str, code: int | None) -> None:
        super().__init__(message)
        self.code = code


class _GError(ctypes.Structure):
    _fields_ = [("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p)]


_POINTER, _TEXT, _INT, _BOOL = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int
_UINT, _LONG, _DOUBLE = ctypes.c_uint, ctypes.c_int64, ctypes.c_double
_SIZE, _ULONG, _GTYPE = ctypes.c_size_t, ctypes.c_uint64, ctypes.c_size_t
_DOUBLES, _LONGS = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int64)

# Function, its result, its arguments; a trailing "!" is one that ends with a GError**.
_ARAVIS: dict[str, tuple[Any, ...]] = {
    "arv_camera_new!": (_POINTER, _TEXT),
    "arv_camera_get_device": (_POINTER, _POINTER),
    "arv_camera_get_vendor_name!": (_TEXT, _POINTER),
    "arv_camera_get_model_name!": (_TEXT, _POINTER),
    "arv_camera_get_device_serial_number!": (_TEXT, _POINTER),
    "arv_camera_get_payload!": (_UINT, _POINTER),
    "arv_camera_get_pixel_format!": (_UINT, _POINTER),
    "arv_camera_is_gv_device": (_BOOL, _POINTER),
    "arv_camera_create_chunk_parser": (_POINTER, _POINTER),
    "arv_chunk_parser_get_integer_value!": (_LONG, _POINTER, _POINTER, _TEXT),
    "arv_chunk_parser_get_float_value!": (_DOUBLE, _POINTER, _POINTER, _TEXT),
    "arv_camera_gv_set_packet_size!": (None, _POINTER, _INT),
    "arv_camera_gv_get_packet_size!": (_UINT, _POINTER),
    "arv_camera_gv_set_stream_options": (None, _POINTER, _INT),
    "arv_camera_create_stream!": (_POINTER, _POINTER, _POINTER, _POINTER),
    "arv_device_execute_command!": (None, _POINTER, _TEXT),
    "arv_device_get_feature": (_POINTER, _POINTER, _TEXT),
    "arv_device_read_register!": (_BOOL, _POINTER, _ULONG, ctypes.POINTER(ctypes.c_uint32)),
    "arv_device_is_feature_available!": (_BOOL, _POINTER, _TEXT),
    "arv_device_get_feature_access_mode": (_INT, _POINTER, _TEXT),
    "arv_device_get_genicam_xml": (_POINTER, _POINTER, ctypes.POINTER(_SIZE)),
    "arv_device_get_boolean_feature_value!": (_BOOL, _POINTER, _TEXT),
    "arv_device_set_boolean_feature_value!": (None, _POINTER, _TEXT, _BOOL),
    "arv_device_get_integer_feature_value!": (_LONG, _POINTER, _TEXT),
    "arv_device_set_integer_feature_value!": (None, _POINTER, _TEXT, _LONG),
    "arv_device_get_integer_feature_bounds!": (None, _POINTER, _TEXT, _LONGS, _LONGS),
    "arv_device_get_integer_feature_increment!": (_LONG, _POINTER, _TEXT),
    "arv_device_get_float_feature_value!": (_DOUBLE, _POINTER, _TEXT),
    "arv_device_set_float_feature_value!": (None, _POINTER, _TEXT, _DOUBLE),
    "arv_device_get_float_feature_bounds!": (None, _POINTER, _TEXT, _DOUBLES, _DOUBLES),
    "arv_device_get_float_feature_increment!": (_DOUBLE, _POINTER, _TEXT),
    "arv_device_get_string_feature_value!": (_TEXT, _POINTER, _TEXT),
    "arv_device_set_string_feature_value!": (None, _POINTER, _TEXT, _TEXT),
    "arv_device_dup_available_enumeration_feature_values_as_strings!": (
        _POINTER,
        _POINTER,
        _TEXT,
        ctypes.POINTER(_UINT),
    ),
    "arv_device_error_quark": (ctypes.c_uint32,),
    "arv_update_device_list": (None,),
    "arv_get_n_devices": (_UINT,),
    "arv_get_device_address": (_TEXT, _UINT),
    "arv_get_device_protocol": (_TEXT, _UINT),
    "arv_get_device_serial_nbr": (_TEXT, _UINT),
    "arv_get_device_id": (_TEXT, _UINT),
    "arv_get_device_physical_id": (_TEXT, _UINT),
    "arv_get_device_vendor": (_TEXT, _UINT),
    "arv_get_device_model": (_TEXT, _UINT),
    "arv_gc_boolean_get_type": (_GTYPE,),
    "arv_gc_command_get_type": (_GTYPE,),
    "arv_gc_enumeration_get_type": (_GTYPE,),
    "arv_gc_float_get_type": (_GTYPE,),
    "arv_gc_integer_get_type": (_GTYPE,),
    "arv_gc_string_get_type": (_GTYPE,),
    "arv_gv_device_is_controller": (_BOOL, _POINTER),
    "arv_gv_device_get_timestamp_tick_frequency!": (_ULONG, _POINTER),
    "arv_gv_stream_get_port": (ctypes.c_uint16, _POINTER),
    "arv_stream_push_buffer": (None, _POINTER, _POINTER),
    "arv_stream_try_pop_buffer": (_POINTER, _POINTER),
    "arv_stream_timeout_pop_buffer": (_POINTER, _POINTER, _ULONG),
    "arv_buffer_new": (_POINTER, _SIZE, _POINTER),
    "arv_buffer_get_data": (_POINTER, _POINTER, ctypes.POINTER(_SIZE)),
    "arv_buffer_get_status": (_INT, _POINTER),
    "arv_buffer_get_payload_type": (_INT, _POINTER),
    "arv_buffer_has_chunks": (_BOOL, _POINTER),
    "arv_buffer_get_frame_id": (_ULONG, _POINTER),
    "arv_buffer_get_image_width": (_INT, _POINTER),
    "arv_buffer_get_image_height": (_INT, _POINTER),
    "arv_buffer_get_image_x": (_INT, _POINTER),
    "arv_buffer_get_image_y": (_INT, _POINTER),
    "arv_buffer_get_timestamp": (_ULONG, _POINTER),
    "arv_buffer_get_system_timestamp": (_ULONG, _POINTER),
    "arv_gv_fake_camera_new_full": (_POINTER, _TEXT, _TEXT, _TEXT),
    "arv_gv_fake_camera_get_fake_camera": (_POINTER, _POINTER),
    "arv_gv_fake_camera_is_running": (_BOOL, _POINTER),
    "arv_fake_camera_set_fill_pattern": (None, _POINTER, FillPattern, _POINTER),
    "arv_fake_camera_set_trigger_frequency": (None, _POINTER, _DOUBLE),
    "arv_fake_camera_write_register": (_BOOL, _POINTER, ctypes.c_uint32, ctypes.c_uint32),
    "arv_fake_camera_read_register": (_BOOL, _POINTER, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)),
    "arv_fake_camera_write_memory": (_BOOL, _POINTER, ctypes.c_uint32, ctypes.c_uint32, _TEXT),
}
_GOBJECT: dict[str, tuple[Any, ...]] = {
    "g_object_unref": (None, _POINTER),
    # One property, a number, and the NULL that ends the list.
    "g_object_set": (None, _POINTER, _TEXT, _UINT, _POINTER),
    "g_type_check_instance_is_a": (_BOOL, _POINTER, _GTYPE),
    "g_signal_connect_data": (ctypes.c_ulong, _POINTER, _TEXT, Notify, _POINTER, _POINTER, _INT),
    "g_signal_handler_disconnect": (None, _POINTER, ctypes.c_ulong),
    "g_free": (None, _POINTER),
    "g_value_init": (_POINTER, _POINTER, _GTYPE),
    "g_value_set_double": (None, _POINTER, _DOUBLE),
    "g_object_set_property": (None, _POINTER, _TEXT, _POINTER),
}


class Library:
    """The loaded library: call a function by its C name. One that reports a GError raises AravisError instead."""

    def __init__(self) -> None:
        try:
            aravis = ctypes.CDLL(_LIBRARY)
            gobject = ctypes.CDLL("libgobject-2.0.so.0")
        except OSError:
            raise CameraConfigError(
                f"a GigE Vision camera needs {_LIBRARY}: install the Debian package {_PACKAGE}"
            ) from None
        self._functions = {name.rstrip("!"): self._bound(aravis, name, *types) for name, types in _ARAVIS.items()}
        self._functions |= {name: self._bound(gobject, name, *types) for name, types in _GOBJECT.items()}
        self._free_error = gobject.g_error_free
        self._device_errors = self("arv_device_error_quark")

    def __call__(self, name: str, *arguments: object) -> Any:
        """The function's result as ctypes converts it."""
        return self._functions[name](*arguments)

    def _bound(self, library: ctypes.CDLL, name: str, result: object, *arguments: object) -> Callable[..., Any]:
        function: Any = getattr(library, name.rstrip("!"))
        function.restype = result
        if not name.endswith("!"):
            function.argtypes = arguments
            return function
        function.argtypes = (*arguments, ctypes.POINTER(ctypes.POINTER(_GError)))

        def checked(*values: object) -> Any:
            error = ctypes.POINTER(_GError)()
            answer = function(*values, ctypes.byref(error))
            self._raise(error)
            return answer

        return checked

    def _raise(self, error: Any) -> None:
        if not error:
            return
        content = error.contents
        message, code = content.message.decode(errors="replace"), content.code
        is_device = content.domain == self._device_errors
        self._free_error(error)
        raise AravisError(message, code if is_device else None)
