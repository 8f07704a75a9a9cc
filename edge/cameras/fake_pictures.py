"""What the fake camera shows: a folder's images under its lights, in any of its pixel formats, ready to be copied out.

A picture is prepared when it is first asked for and kept: to send it again is one copy. More bits than a file has are
filled by repeating the high ones, as a sensor's scale would have them, so the 8 high bits are the file's own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.images import Image, read_image
from edge.pixel_formats import PIXEL_FORMATS

Bytes = NDArray[np.uint8]

# Of a scene that has no pictures for the light turned off: what daylight is left.
_DAYLIGHT = 0.25
# The exposure under which a picture is as bright as its file, where exposure tells at all: the simulation's own.
_FULL_EXPOSURE_US = 10_000
# Grain for pictures that must not repeat: the weakest there is.
_GRAIN_LEVELS = 1
# What prepared pictures may take; beyond it the oldest are prepared anew when they are asked for.
_KEPT_BYTES = 1 << 30


class Look(NamedTuple):
    """Everything a picture's bytes depend on. `gain` is in tenths of a dB; `grain` picks one of two patterns, or none."""

    picture: int
    lit: bool
    grain: int | None
    pixel_format: int
    x: int
    y: int
    width: int
    height: int
    exposure_us: int
    gain: int


class Pictures:
    """All images of one size, by name order, and for the light turned off those of a second folder, or the same darker."""

    def __init__(self, paths: list[Path], dark_paths: list[Path], *, light_response: bool) -> None:
        """Reads the files. Raises ImageError, and GoldlineError for one that has another size than the first."""
        self._lit = _read(paths)
        self._dark = _read([paths[0], *dark_paths])[1:]
        self._light_response = light_response
        self._ready: dict[Look, Bytes] = {}
        self._ready_bytes = 0

    @property
    def count(self) -> int:
        """Pictures before the first comes again."""
        return len(self._lit)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of every image, px."""
        height, width = self._lit[0].shape[:2]
        return width, height

    def bytes_of(self, look: Look) -> Bytes:
        """The picture as it is sent: flat, and not to be written to."""
        if not self._light_response:
            look = look._replace(exposure_us=0, gain=0)
        if look not in self._ready:
            self._keep(look, self._prepared(look))
        return self._ready[look]

    def _keep(self, look: Look, prepared: Bytes) -> None:
        self._ready[look] = prepared
        self._ready_bytes += prepared.nbytes
        while self._ready_bytes > _KEPT_BYTES and len(self._ready) > 1:
            self._ready_bytes -= self._ready.pop(next(iter(self._ready))).nbytes

    def _prepared(self, look: Look) -> Bytes:
        light = self._factor(look)
        if look.lit or not self._dark:
            image = self._lit[look.picture]
            light *= 1.0 if look.lit else _DAYLIGHT
        else:
            image = self._dark[look.picture % len(self._dark)]
        if light != 1.0:
            image = np.clip(image * light + 0.5, 0, 255).astype(np.uint8)
        if look.grain is not None:
            image = _grained(image, look.grain)
        region = image[look.y : look.y + look.height, look.x : look.x + look.width]
        return encode(np.ascontiguousarray(region), look.pixel_format)

    def _factor(self, look: Look) -> float:
        if not self._light_response:
            return 1.0
        return look.exposure_us / _FULL_EXPOSURE_US * 10 ** (look.gain / 10 / 20)


def _read(paths: list[Path]) -> list[Image]:
    images = [read_image(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise GoldlineError(
                f"{path}: {image.shape[1]} x {image.shape[0]} px; a camera has one size, and "
                f"{paths[0].name} has {images[0].shape[1]} x {images[0].shape[0]} px"
            )
    return images


def _grained(image: Image, pattern: int) -> Image:
    generator = np.random.default_rng(pattern)
    grain = generator.integers(-_GRAIN_LEVELS, _GRAIN_LEVELS, image.shape, np.int16, endpoint=True)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


# --- pixel formats


def _grey(image: Image) -> Bytes:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _mosaic(image: Image) -> Bytes:
    """What a sensor behind filters RGRG…, GBGB… sees of it."""
    seen = image[..., 1].copy()
    seen[::2, ::2] = image[::2, ::2, 2]
    seen[1::2, 1::2] = image[1::2, 1::2, 0]
    return seen


def _words(values: Bytes, bits: int) -> Bytes:
    wide = values.astype("<u2")
    return (wide << (bits - 8) | wide >> (16 - bits)).view(np.uint8).ravel()


def _packed_12(values: Bytes) -> Bytes:
    """Two pixels in three bytes, lowest bit first (PFNC 12p); an odd last pixel has a byte and a half to itself."""
    flat = values.ravel().astype(np.uint32)
    twelve = flat << 4 | flat >> 4
    pairs = np.append(twelve, np.zeros(twelve.size % 2, np.uint32)).reshape(-1, 2)
    bits = pairs[:, 0] | pairs[:, 1] << 12
    packed = np.stack([bits & 0xFF, bits >> 8 & 0xFF, bits >> 16], axis=1).astype(np.uint8).ravel()
    return packed[: (twelve.size * 12 + 7) // 8]


_ENCODERS: dict[str, Callable[[Image], Bytes]] = {
    "Mono8": _grey,
    "Mono10": lambda image: _words(_grey(image), 10),
    "Mono12": lambda image: _words(_grey(image), 12),
    "Mono12p": lambda image: _packed_12(_grey(image)),
    "Mono16": lambda image: _words(_grey(image), 16),
    "BayerRG8": _mosaic,
    "BayerRG12": lambda image: _words(_mosaic(image), 12),
    "RGB8": lambda image: np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8),
}
FORMATS = tuple(_ENCODERS)
CODES = {name: PIXEL_FORMATS[name].code or 0 for name in FORMATS}
_NAMES = {code: name for name, code in CODES.items()}


def encode(image: Image, pixel_format: int) -> Bytes:
    """A BGR image as a camera sends it in the format of that PFNC code, flat. One it does not know is sent as Mono8."""
    return np.ascontiguousarray(_ENCODERS[_NAMES.get(pixel_format, "Mono8")](image)).ravel()
