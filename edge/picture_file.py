"""Kept pixels as files, without loss: what is written, and what is read back.

    .png   8 and 16 bits a value, one or three a pixel; the mosaic of a colour camera stays one; 10 and 12 bits lie in
           the low bits of 16
    .jpg   a JPEG as the camera made it
    .raw   bytes as the camera packs them, where several pixels share them (`10p`, `12Packed`, `YUV422_8`)

The SHA-256 is that of the pixels, not of the file: rows without padding, 16 bits low byte first, in the order of
channels that the format's name says.
"""

import hashlib
from typing import cast

import cv2
import numpy as np

from edge.cutout import Bytes, Size, Values, layout
from edge.images import ImageError
from edge.pixel_formats import PIXEL_FORMATS

# zlib's fastest: three times as fast as its default here, for files a tenth larger.
PNG_FLAGS = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def suffix(pixel_format: str) -> str:
    """How the name of a file of this format ends."""
    known = PIXEL_FORMATS[pixel_format]
    if known.colour == "JPEG":
        return ".jpg"
    return ".png" if known.packing.pixels == 1 else ".raw"


def sha256(pixels: Bytes) -> str:
    """Of kept pixels, flat. 0.5 ms a megabyte."""
    return hashlib.sha256(pixels.data).hexdigest()


def encode(pixels: Bytes, size: Size, pixel_format: str) -> bytes:
    """The file of a kept picture (its bytes, flat) of size (width, height)."""
    found = layout(size, pixel_format)
    if suffix(pixel_format) != ".png" or found is None:
        return pixels.tobytes()
    return png(_swapped(found.view(pixels), pixel_format))


def png(picture: Values) -> bytes:
    """A picture [h, w] or [h, w, 1 or 3], 8 or 16 bits, as PNG."""
    return np.asarray(cv2.imencode(".png", picture, PNG_FLAGS)[1], np.uint8).tobytes()


def decode(content: bytes, size: Size, pixel_format: str) -> Bytes:
    """The pixels of such a file, flat, as they were kept. Raises ImageError for what is no such picture."""
    if suffix(pixel_format) != ".png":
        return np.frombuffer(content, np.uint8)
    found = layout(size, pixel_format)
    picture = _shown(content, cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ImageError(f"{size[0]}x{size[1]} {pixel_format} is none of its kind")
    values = picture[..., ::-1] if picture.ndim == 3 and PIXEL_FORMATS[pixel_format].colour == "RGB" else picture
    if picture.nbytes != found.bytes:
        seen = f"{picture.shape[1]}x{picture.shape[0]} {picture.dtype}"
        raise ImageError(f"{seen}, not {size[0]}x{size[1]} {pixel_format}")
    # The same bytes are stored once: all black, they may have come last as a picture of another shape. The hash decides.
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def decode_map(content: bytes, size: Size) -> Bytes:
    """A map as it was kept, [h, w]. Raises ImageError for what is none of this size."""
    levels = _shown(content, cv2.IMREAD_UNCHANGED)
    if levels.shape != size[::-1] or levels.dtype != np.uint8:
        raise ImageError(f"a map of {levels.shape[1]}x{levels.shape[0]}, not {size[0]}x{size[1]}")
    return np.asarray(levels, np.uint8)


def _shown(content: bytes, flags: int) -> Values:
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as problem:
        raise ImageError(f"damaged: {problem.err}") from problem
    if picture is None:
        raise ImageError("damaged: it cannot be decoded")
    return cast("Values", picture)


def _swapped(picture: Values, pixel_format: str) -> Values:
    """Between the format's order of channels and OpenCV's, which is B, G, R."""
    return picture[..., ::-1] if PIXEL_FORMATS[pixel_format].colour == "RGB" else picture
