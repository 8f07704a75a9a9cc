"""Linux's interface to video devices: what <linux/videodev2.h> defines, as far as a camera needs it.

Structures are laid out as on 64-bit Linux; names are the kernel's without their prefix. `call` is the ioctl.
"""

import ctypes
import fcntl
from enum import IntEnum, IntFlag

_U8, _U32, _S32, _S64 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_int32, ctypes.c_int64
# enum v4l2_buf_type, v4l2_memory and v4l2_field: one picture in one piece, as a whole.
VIDEO_CAPTURE = 1
MEMORY_MMAP, MEMORY_USERPTR = 1, 2
FIELD_NONE = 1
# struct v4l2_frmsizeenum and v4l2_frmivalenum: sizes and rates are a list.
DISCRETE = 1
# Ids of controls come in an order; with this bit the next one is asked for.
NEXT_CONTROL = 0x8000_0000


class Capability(IntFlag):
    """V4L2_CAP_*: what a device can do."""

    VIDEO_CAPTURE = 0x1
    VIDEO_CAPTURE_MPLANE = 0x1000
    STREAMING = 0x0400_0000


class BufferFlag(IntFlag):
    """V4L2_BUF_FLAG_*. The timestamp is monotonic or not, and of the end of a frame or of its start."""

    ERROR = 0x40
    TIMESTAMP_MASK = 0xE000
    TIMESTAMP_MONOTONIC = 0x2000
    SOURCE_MASK = 0x7_0000
    SOURCE_START_OF_EXPOSURE = 0x1_0000


class ControlType(IntEnum):
    """V4L2_CTRL_TYPE_*, those that have one value."""

    INTEGER = 1
    BOOLEAN = 2
    MENU = 3
    BUTTON = 4
    INTEGER64 = 5
    CLASS = 6
    STRING = 7
    BITMASK = 8
    INTEGER_MENU = 9


class ControlFlag(IntFlag):
    """V4L2_CTRL_FLAG_*."""

    DISABLED = 0x1
    READ_ONLY = 0x4
    INACTIVE = 0x10
    WRITE_ONLY = 0x40


class Capabilities(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_ = [
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", _U32),
        ("capabilities", _U32),
        ("device_caps", _U32),
        ("reserved", _U32 * 3),
    ]


class FormatDescription(ctypes.Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = [
        ("index", _U32),
        ("type", _U32),
        ("flags", _U32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", _U32),
        ("mbus_code", _U32),
        ("reserved", _U32 * 3),
    ]


class FrameSize(ctypes.Structure):
    """struct v4l2_frmsizeenum, of the discrete kind."""

    _fields_ = [
        ("index", _U32),
        ("pixel_format", _U32),
        ("type", _U32),
        ("width", _U32),
        ("height", _U32),
        ("stepwise", _U32 * 4),
        ("reserved", _U32 * 2),
    ]


class Fraction(ctypes.Structure):
    """struct v4l2_fract."""

    _fields_ = [("numerator", _U32), ("denominator", _U32)]


class FrameInterval(ctypes.Structure):
    """struct v4l2_frmivalenum, of the discrete kind."""

    _fields_ = [
        ("index", _U32),
        ("pixel_format", _U32),
        ("width", _U32),
        ("height", _U32),
        ("type", _U32),
        ("discrete", Fraction),
        ("stepwise", _U32 * 4),
        ("reserved", _U32 * 2),
    ]


class PixelLayout(ctypes.Structure):
    """struct v4l2_pix_format."""

    _fields_ = [
        ("width", _U32),
        ("height", _U32),
        ("pixelformat", _U32),
        ("field", _U32),
        ("bytesperline", _U32),
        ("sizeimage", _U32),
        ("colours", _U32 * 6),
    ]


class _FormatUnion(ctypes.Union):
    # Other members hold pointers, which set the alignment.
    _fields_ = [("pix", PixelLayout), ("raw_data", _U8 * 200), ("pointer", ctypes.c_void_p)]


class Format(ctypes.Structure):
    """struct v4l2_format."""

    _fields_ = [("type", _U32), ("fmt", _FormatUnion)]


class StreamParameters(ctypes.Structure):
    """struct v4l2_streamparm with its v4l2_captureparm."""

    _fields_ = [
        ("type", _U32),
        ("capability", _U32),
        ("capturemode", _U32),
        ("timeperframe", Fraction),
        ("extendedmode", _U32),
        ("readbuffers", _U32),
        ("reserved", _U8 * 176),
    ]


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers."""

    _fields_ = [("count", _U32), ("type", _U32), ("memory", _U32), ("capabilities", _U32), ("flags", _U8 * 4)]


class _Timeval(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long)]


class _Location(ctypes.Union):
    _fields_ = [("offset", _U32), ("userptr", ctypes.c_ulong), ("planes", ctypes.c_void_p), ("fd", _S32)]


class Buffer(ctypes.Structure):
    """struct v4l2_buffer."""

    _fields_ = [
        ("index", _U32),
        ("type", _U32),
        ("bytesused", _U32),
        ("flags", _U32),
        ("field", _U32),
        ("timestamp", _Timeval),
        ("timecode", _U32 * 4),
        ("sequence", _U32),
        ("memory", _U32),
        ("m", _Location),
        ("length", _U32),
        ("reserved2", _U32),
        ("request_fd", _S32),
    ]


class ControlDescription(ctypes.Structure):
    """struct v4l2_query_ext_ctrl."""

    _fields_ = [
        ("id", _U32),
        ("type", _U32),
        ("name", ctypes.c_char * 32),
        ("minimum", _S64),
        ("maximum", _S64),
        ("step", ctypes.c_uint64),
        ("default_value", _S64),
        ("flags", _U32),
        ("elem_size", _U32),
        ("elems", _U32),
        ("nr_of_dims", _U32),
        ("dims", _U32 * 4),
        ("reserved", _U32 * 32),
    ]


class _EntryUnion(ctypes.Union):
    _pack_ = 1
    _fields_ = [("name", ctypes.c_char * 32), ("value", _S64)]


class MenuEntry(ctypes.Structure):
    """struct v4l2_querymenu."""

    _pack_ = 1
    _fields_ = [("id", _U32), ("index", _U32), ("entry", _EntryUnion), ("reserved", _U32)]


class _ControlUnion(ctypes.Union):
    _pack_ = 1
    _fields_ = [("value", _S32), ("value64", _S64), ("string", ctypes.c_void_p)]


class ControlValue(ctypes.Structure):
    """struct v4l2_ext_control."""

    _pack_ = 1
    _fields_ = [("id", _U32), ("size", _U32), ("reserved2", _U32), ("of", _ControlUnion)]


class ControlValues(ctypes.Structure):
    """struct v4l2_ext_controls."""

    _fields_ = [
        ("which", _U32),
        ("count", _U32),
        ("error_idx", _U32),
        ("request_fd", _S32),
        ("reserved", _U32),
        ("controls", ctypes.POINTER(ControlValue)),
    ]


# enum of <asm-generic/ioctl.h>: which way the structure goes.
_WRITE, _READ, _BOTH = 1, 2, 3


def _number(direction: int, number: int, argument: type[ctypes.Structure] | type[ctypes.c_int]) -> int:
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord("V") << 8 | number


class Request(IntEnum):
    """VIDIOC_*: the ioctl numbers."""

    QUERYCAP = _number(_READ, 0, Capabilities)
    ENUM_FMT = _number(_BOTH, 2, FormatDescription)
    G_FMT = _number(_BOTH, 4, Format)
    S_FMT = _number(_BOTH, 5, Format)
    REQBUFS = _number(_BOTH, 8, RequestBuffers)
    QUERYBUF = _number(_BOTH, 9, Buffer)
    QBUF = _number(_BOTH, 15, Buffer)
    DQBUF = _number(_BOTH, 17, Buffer)
    STREAMON = _number(_WRITE, 18, ctypes.c_int)
    STREAMOFF = _number(_WRITE, 19, ctypes.c_int)
    G_PARM = _number(_BOTH, 21, StreamParameters)
    S_PARM = _number(_BOTH, 22, StreamParameters)
    QUERYMENU = _number(_BOTH, 37, MenuEntry)
    G_EXT_CTRLS = _number(_BOTH, 71, ControlValues)
    S_EXT_CTRLS = _number(_BOTH, 72, ControlValues)
    ENUM_FRAMESIZES = _number(_BOTH, 74, FrameSize)
    ENUM_FRAMEINTERVALS = _number(_BOTH, 75, FrameInterval)
    QUERY_EXT_CTRL = _number(_BOTH, 103, ControlDescription)


def call(descriptor: int, request: Request, argument: ctypes.Structure | ctypes.c_int) -> None:
    """The ioctl: `argument` is read and filled. Raises OSError; the interpreter is free meanwhile."""
    fcntl.ioctl(descriptor, request, argument)  # type: ignore[arg-type] - any writable buffer will do


def fourcc(code: str) -> int:
    """Four characters as the kernel packs them."""
    return int.from_bytes(code.encode(), "little")


def fourcc_text(code: int) -> str:
    """The characters of a code."""
    return code.to_bytes(4, "little").decode("ascii", "replace").rstrip()
