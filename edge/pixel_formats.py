"""What a camera's pixels look like in memory, by the names and codes of EMVA's Pixel Format Naming Convention (PFNC).

Pixels of 10, 12 and 16 bits are reduced to their 8 highest bits: what a camera calls full scale stays full scale, and
an 8-bit reading of the same scene is the same but for noise. The layouts, of which the first pixel is P0:

- a plain number: 16-bit little-endian words, the value in the low bits.
- `p`: one stream of bits without gaps, each pixel's lowest bit first, lines not padded (PFNC 2.1, 6.1).
- `Packed`: two pixels in three bytes, P0's high 8, both's low bits (P0's lower), P1's high 8 (GigE Vision 1.2, 26.1).
"""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


class Packing(msgspec.Struct, frozen=True, kw_only=True):
    """So many `pixels` lie in so many `bytes`. `reduce` turns whole groups into 8 bits a pixel; none where they are."""

    pixels: int
    bytes: int
    reduce: Callable[[Bytes], Bytes] | None = None


class PixelFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One format. `code` is PFNC's, None for what has none; `colour` is the name without bits and packing."""

    code: int | None
    colour: str
    packing: Packing

    def frame_bytes(self, pixels: int) -> int:
        """Bytes of so many pixels, the last byte filled up; of a JPEG, the most that it may take."""
        return -(-pixels * self.packing.bytes // self.packing.pixels)

    def eight_bits(self, frame: Bytes, pixels: int) -> Bytes:
        """A frame with 8 bits for each value, flat: a view where it has them already."""
        if self.packing.reduce is None:
            return frame
        missing = -frame.size % self.packing.bytes
        whole = np.append(frame, np.zeros(missing, np.uint8)) if missing else frame
        return self.packing.reduce(whole)[:pixels]


def _words(bits: int) -> Packing:
    def reduce(frame: Bytes) -> Bytes:
        return (frame.view("<u2") >> (bits - 8)).astype(np.uint8)

    return Packing(pixels=1, bytes=2, reduce=reduce)


def _high_of_ten(frame: Bytes) -> Bytes:
    """P0..P3 in bits 0..39 of five bytes: their high bits are 2..9, 12..19, 22..29, 32..39."""
    byte = frame.reshape(-1, 5).T
    high = np.empty((frame.size // 5, 4), np.uint8)
    for pixel in range(3):
        high[:, pixel] = byte[pixel] >> (2 + 2 * pixel) | byte[pixel + 1] << (6 - 2 * pixel)
    high[:, 3] = byte[4]
    return high.ravel()


def _high_of_twelve(frame: Bytes) -> Bytes:
    """P0 and P1 in bits 0..23 of three bytes: their high bits are 4..11, 16..23."""
    byte = frame.reshape(-1, 3).T
    high = np.empty((frame.size // 3, 2), np.uint8)
    high[:, 0] = byte[0] >> 4 | byte[1] << 4
    high[:, 1] = byte[2]
    return high.ravel()


def _high_of_packed(frame: Bytes) -> Bytes:
    high = np.empty((frame.size // 3, 2), np.uint8)
    high[:, 0], high[:, 1] = frame[::3], frame[2::3]
    return high.ravel()


_BYTE = Packing(pixels=1, bytes=1)
_COLOUR = Packing(pixels=1, bytes=3)
_PACKED = Packing(pixels=2, bytes=3, reduce=_high_of_packed)
_PACKINGS = {
    "8": _BYTE,
    "10": _words(10),
    "12": _words(12),
    "16": _words(16),
    "10p": Packing(pixels=4, bytes=5, reduce=_high_of_ten),
    "12p": Packing(pixels=2, bytes=3, reduce=_high_of_twelve),
    "10Packed": _PACKED,
    "12Packed": _PACKED,
}
# PFNC's codes, in the order of the packings above.
_CODES = {
    "Mono": (0x01080001, 0x01100003, 0x01100005, 0x01100007, 0x010A0046, 0x010C0047, 0x010C0004, 0x010C0006),
    "BayerRG": (0x01080009, 0x0110000D, 0x01100011, 0x0110002F, 0x010A0058, 0x010C0059, 0x010C0027, 0x010C002B),
    "BayerGB": (0x0108000A, 0x0110000E, 0x01100012, 0x01100030, 0x010A0054, 0x010C0055, 0x010C0028, 0x010C002C),
    "BayerGR": (0x01080008, 0x0110000C, 0x01100010, 0x0110002E, 0x010A0056, 0x010C0057, 0x010C0026, 0x010C002A),
    "BayerBG": (0x0108000B, 0x0110000F, 0x01100013, 0x01100031, 0x010A0052, 0x010C0053, 0x010C0029, 0x010C002D),
}

PIXEL_FORMATS: Mapping[str, PixelFormat] = {
    "BGR8": PixelFormat(code=0x02180015, colour="BGR", packing=_COLOUR),
    "RGB8": PixelFormat(code=0x02180014, colour="RGB", packing=_COLOUR),
    # Y U Y V, as USB cameras send it; two pixels share their colour.
    "YUV422_8": PixelFormat(code=0x02100032, colour="YUV422", packing=Packing(pixels=2, bytes=4)),
    # No JPEG that a camera makes of a picture is larger than the same as YUV422_8.
    "JPEG": PixelFormat(code=None, colour="JPEG", packing=Packing(pixels=1, bytes=2)),
    **{
        f"{colour}{bits}": PixelFormat(code=code, colour=colour, packing=packing)
        for colour, codes in _CODES.items()
        for code, (bits, packing) in zip(codes, _PACKINGS.items(), strict=True)
    },
}
