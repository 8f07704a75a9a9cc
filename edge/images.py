"""Pictures from files and from camera buffers, always as uint8 [height, width, 3] in B, G, R order.

A file that is not whole is refused: OpenCV fills what is missing with grey and says nothing. That is also why only
formats whose end can be checked are read. 16 bits a channel are scaled to 8 (65535 becomes 255; a warning says so),
grey becomes three equal channels, and transparency is refused, because what lies under it is anybody's guess. The
orientation a JPEG was tagged with is applied, as viewers do.
"""

import logging
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.pixel_formats import PIXEL_FORMATS, PixelFormat

Image = NDArray[np.uint8]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png"})

# Any JPEG marker but a stuffed zero, a fill byte and the restart markers, which occur inside the coded data.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_JPEG_END = b"\xff\xd9"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# From 8 bits a value to B, G, R, with the channels that OpenCV is given. GenICam names the first two pixels of the first
# row, as these names of OpenCV do. Y is 16 to 235 and the matrix BT.601's, as USB cameras have it.
_CONVERSIONS = {
    "Mono": (cv2.COLOR_GRAY2BGR, 1),
    "RGB": (cv2.COLOR_RGB2BGR, 3),
    "YUV422": (cv2.COLOR_YUV2BGR_YUY2, 2),
    "BayerRG": (cv2.COLOR_BayerRGGB2BGR, 1),
    "BayerGB": (cv2.COLOR_BayerGBRG2BGR, 1),
    "BayerGR": (cv2.COLOR_BayerGRBG2BGR, 1),
    "BayerBG": (cv2.COLOR_BayerBGGR2BGR, 1),
}

_log = logging.getLogger("goldline.images")


class ImageError(GoldlineError):
    """A picture that cannot be used; the message names the file and why."""


def read_image(path: Path) -> Image:
    """The picture in a JPEG, PNG or BMP file, [height, width, 3] BGR. Raises ImageError."""
    try:
        decoded = _decode(_bytes_of(path))
        if decoded.dtype == np.uint16:
            _log.warning("%s: 16 bits a channel, scaled to 8", path)
        return _three_channels(_eight_bits(decoded))
    except ImageError as problem:
        raise ImageError(f"{path}: {problem}") from None


def list_images(directory: Path) -> list[Path]:
    """The picture files directly in a folder, by name; hidden ones are left out. Raises ImageError when none."""
    if not directory.is_dir():
        raise ImageError(f"{directory}: not a folder")
    images = sorted(
        path
        for path in directory.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not images:
        raise ImageError(f"{directory}: no images in it ({' '.join(sorted(SUFFIXES))})")
    return images


def has_images(directory: Path) -> bool:
    """Whether picture files lie directly in a folder."""
    return any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in directory.iterdir())


def frame_bytes(width: int, height: int, pixel_format: str) -> int:
    """Bytes of one frame as the camera delivers it; of a JPEG, the most that it may take, unless the camera tells.

    Raises ImageError for a format not in PIXEL_FORMATS.
    """
    return _known(pixel_format).frame_bytes(width * height)


def as_bgr(buffer: Image, width: int, height: int, pixel_format: str, used_bytes: int | None = None) -> Image:
    """A camera's flat buffer as [height, width, 3] BGR, 8 bits a channel: of deeper pixels the 8 highest bits.

    Bytes after the frame are ignored (a ring slot may be larger); `used_bytes` is where it ends, for a JPEG. BGR8 is a
    view: it changes with the buffer, so copy it to keep it. Raises ImageError for an unknown format, a buffer that is
    too short, and a JPEG that is truncated or of another size.
    """
    known = _known(pixel_format)
    filled = buffer if used_bytes is None else buffer[:used_bytes]
    if known.colour == "JPEG":
        return _from_jpeg(filled, width, height)
    needed = known.frame_bytes(width * height)
    if filled.size < needed:
        raise ImageError(f"{filled.size} bytes are too few for {width}x{height} {pixel_format}, which takes {needed}")
    values = known.eight_bits(filled[:needed], width * height)
    if known.colour == "BGR":
        return values.reshape(height, width, 3)
    conversion, channels = _CONVERSIONS[known.colour]
    try:
        return np.asarray(cv2.cvtColor(values.reshape(height, width, channels), conversion), np.uint8)
    except (cv2.error, ValueError):
        raise ImageError(f"{width}x{height} is no size of a {pixel_format} picture") from None


def _known(pixel_format: str) -> PixelFormat:
    if pixel_format not in PIXEL_FORMATS:
        raise ImageError(f"pixel format {pixel_format} is not one of {' '.join(PIXEL_FORMATS)}")
    return PIXEL_FORMATS[pixel_format]


def _from_jpeg(data: Image, width: int, height: int) -> Image:
    picture = _three_channels(_eight_bits(_decode(data.tobytes())))
    if picture.shape != (height, width, 3):
        raise ImageError(f"a JPEG of {picture.shape[1]}x{picture.shape[0]} pixels, not {width}x{height}")
    return picture


def _decode(data: bytes) -> NDArray[np.generic]:
    """As stored: 8 or 16 bits, one to four channels. Only JPEG is oriented and made colour by the decoder."""
    flags = cv2.IMREAD_COLOR if _check_whole(data) == "JPEG" else cv2.IMREAD_UNCHANGED
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as problem:
        raise ImageError(f"cannot be decoded ({problem.err})") from None
    if decoded is None:
        raise ImageError("damaged: it cannot be decoded")
    return np.asarray(decoded)


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ImageError(problem.strerror or "cannot be read") from None
    if not data:
        raise ImageError("an empty file")
    return data


def _check_whole(data: bytes) -> str:
    """The kind of picture file this is. Raises ImageError when it is none, or has lost its end."""
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
        return "JPEG"
    if data.startswith(_PNG_SIGNATURE):
        _check_png(data)
        return "PNG"
    if data.startswith(b"BM"):
        if len(data) < int.from_bytes(data[2:6], "little"):
            raise ImageError("a truncated BMP: shorter than it says")
        return "BMP"
    raise ImageError("not a JPEG, PNG or BMP image")


def _check_jpeg(data: bytes) -> None:
    """Walk the segments to the end-of-image marker: a thumbnail inside one has an end marker of its own."""
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        if marker[0] == _JPEG_END:
            return
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    raise ImageError("a truncated JPEG: it has no end-of-image marker")


def _check_png(data: bytes) -> None:
    """Walk the chunks to IEND and hold each against its checksum."""
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):  # length, type and checksum: 4 bytes each
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if int.from_bytes(data[end : end + 4], "big") != zlib.crc32(memoryview(data)[position + 4 : end]):
            break
        if data[position + 4 : position + 8] == b"IEND":
            return
        position = end + 4
    raise ImageError("a truncated or damaged PNG: its chunks do not reach IEND with their checksums")


def _eight_bits(decoded: NDArray[np.generic]) -> Image:
    if decoded.dtype == np.uint8:
        return decoded.view(np.uint8)
    if decoded.dtype == np.uint16:
        return (decoded.astype(np.float32) / 257 + 0.5).astype(np.uint8)
    raise ImageError(f"pixels of type {decoded.dtype}; 8 or 16 bits a channel are wanted")


def _three_channels(decoded: Image) -> Image:
    if decoded.ndim == 2:
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_GRAY2BGR), np.uint8)
    if decoded.shape[2] == 3:
        return decoded
    if decoded.shape[2] == 4 and decoded[..., 3].min() == 255:
        return np.ascontiguousarray(decoded[..., :3])
    raise ImageError("has transparent pixels; save it without an alpha channel")
