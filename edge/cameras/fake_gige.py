"""A GigE Vision camera that serves a folder's images over the real protocol, one for each frame, in name order.

    python -m edge.cameras.fake_gige --interface 127.0.0.1 --serial GL01 --folder images --print-served

It is a camera to any GigE Vision client: discovery, control, heartbeat, triggers and stream packets are libaravis' own
device simulation, and only the pixels come from here. Pixels are sent as they are, so a client receives RGB8 bit for
bit. Frame ids start at 65400 in that simulation: a client meets the wrap of the 16-bit counter within 136 frames.
"""

import argparse
import ctypes
import ipaddress
import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras import gvcp
from edge.cameras.aravis import FillPattern, Library
from edge.errors import GoldlineError
from edge.images import list_images, read_image

# PFNC codes; both stand in the PixelFormat enumeration of the simulation's description.
_PIXEL_FORMATS = {"Mono8": 0x01080001, "RGB8": 0x02180014}
_CONVERSIONS = {0x01080001: cv2.COLOR_BGR2GRAY, 0x02180014: cv2.COLOR_BGR2RGB}

# Registers of the simulation (the addresses its GenICam description gives).
_WIDTH, _HEIGHT, _PIXEL_FORMAT, _FRAME_PERIOD_US = 0x100, 0x104, 0x128, 0x138
_SENSOR_HEIGHT, _SENSOR_WIDTH = 0x118, 0x11C

# How often the simulation looks for a software trigger: a mean wait of 1 ms, for a part of a core while it streams.
_TRIGGER_POLL_HZ = 500.0
# Bounds of the simulation's AcquisitionFramePeriod.
_SLOWEST_HZ, _FASTEST_HZ = 0.1, 1000.0
# A signal that another thread took reaches the interpreter's main thread only when it runs.
_SIGNAL_POLL_S = 0.1
# The discovery protocol's serial number field holds 16 bytes with the closing zero.
_SERIAL_BYTES = 15


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One frame sent: the how manieth, its 16-bit id on the wire, and the file."""

    frame: int
    frame_id: int
    image: Path


class Player:
    """Puts the next image into every frame. All images have the size of the first."""

    def __init__(self, library: Library, paths: list[Path], report: Callable[[Served], None]) -> None:
        self._library = library
        self._paths = paths
        self._report = report
        self._images = [read_image(path) for path in paths]
        self._converted: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._frame = 0
        self._refuse_other_sizes()

    def _refuse_other_sizes(self) -> None:
        for path, image in zip(self._paths, self._images, strict=True):
            if image.shape != self._images[0].shape:
                raise GoldlineError(
                    f"{path}: {image.shape[1]} x {image.shape[0]} px; a camera has one size, and "
                    f"{self._paths[0].name} has {self._images[0].shape[1]} x {self._images[0].shape[0]} px"
                )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of every image, px."""
        height, width = self._images[0].shape[:2]
        return width, height

    def fill(self, buffer: int, _data: int, _exposure_us: int, _gain: int, pixel_format: int) -> None:
        """The simulation's call for pixels, on its own thread, before each frame is sent."""
        index = self._frame % len(self._paths)
        # The buffer has no size before it is filled, but the region and format that it was made for.
        width = self._library("arv_buffer_get_image_width", buffer)
        height = self._library("arv_buffer_get_image_height", buffer)
        pixels = np.ascontiguousarray(self._pixels(index, pixel_format)[:height, :width])
        ctypes.memmove(self._library("arv_buffer_get_data", buffer, None), pixels.ctypes.data, pixels.nbytes)
        frame_id = self._library("arv_buffer_get_frame_id", buffer)
        self._report(Served(frame=self._frame, frame_id=frame_id, image=self._paths[index]))
        self._frame += 1

    def _pixels(self, index: int, pixel_format: int) -> NDArray[np.uint8]:
        key = (index, pixel_format)
        if key not in self._converted:
            # A format it does not know, such as BayerRG8, is sent as grey, which fits and is seen to be wrong.
            conversion = _CONVERSIONS.get(pixel_format, cv2.COLOR_BGR2GRAY)
            self._converted[key] = np.asarray(cv2.cvtColor(self._images[index], conversion), dtype=np.uint8)
        return self._converted[key]


def serve(library: Library, player: Player, arguments: argparse.Namespace) -> None:
    """Answers as a camera until SIGTERM or SIGINT. Raises GoldlineError when the address cannot be used."""
    # Two cameras can share the port without an error, and neither would then make sense.
    if gvcp.is_controlled(arguments.interface) is not None:
        raise GoldlineError(f"--interface {arguments.interface}: another camera answers there")
    camera = library("arv_gv_fake_camera_new", arguments.interface.encode(), arguments.serial.encode())
    if not library("arv_gv_fake_camera_is_running", camera):
        raise GoldlineError(f"--interface {arguments.interface}: not an address of this machine")
    simulation = library("arv_gv_fake_camera_get_fake_camera", camera)
    width, height = player.size
    registers = {_SENSOR_WIDTH: width, _SENSOR_HEIGHT: height, _WIDTH: width, _HEIGHT: height}
    registers |= {_PIXEL_FORMAT: _PIXEL_FORMATS[arguments.pixel_format], _FRAME_PERIOD_US: round(1e6 / arguments.rate)}
    for address, value in registers.items():
        library("arv_fake_camera_write_register", simulation, address, value)
    pattern = FillPattern(player.fill)
    library("arv_fake_camera_set_trigger_frequency", simulation, _TRIGGER_POLL_HZ)
    library("arv_fake_camera_set_fill_pattern", simulation, pattern, None)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    sys.stderr.write(f"serving {width} x {height} px {arguments.pixel_format} on {arguments.interface}\n")
    while not stopped.wait(_SIGNAL_POLL_S):
        pass
    library("g_object_unref", camera)  # ends its thread, before the pattern goes


def _print_served(served: Served) -> None:
    line = {"frame": served.frame, "frame_id": served.frame_id, "image": str(served.image)}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _say_nothing(_served: Served) -> None:
    return


def _rate(text: str) -> float:
    rate_hz = float(text)
    if not _SLOWEST_HZ <= rate_hz <= _FASTEST_HZ:
        raise argparse.ArgumentTypeError(f"{text} Hz is outside {_SLOWEST_HZ} to {_FASTEST_HZ}")
    return rate_hz


def _serial(text: str) -> str:
    if not 0 < len(text.encode()) <= _SERIAL_BYTES:
        raise argparse.ArgumentTypeError(f"'{text}' is not 1 to {_SERIAL_BYTES} bytes long")
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge.cameras.fake_gige", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--interface", default="127.0.0.1", type=_address, help="address to answer at")
    parser.add_argument("--serial", default="GL01", type=_serial, help="serial number it answers with")
    parser.add_argument("--folder", required=True, type=Path, help="images to serve, all of one size")
    parser.add_argument("--rate", default=10.0, type=_rate, help="frames a second while free-running")
    parser.add_argument("--pixel-format", default="RGB8", choices=_PIXEL_FORMATS)
    parser.add_argument("--print-served", action="store_true", help="a JSON line on stdout for each frame sent")
    return parser


def main() -> int:
    """Serves until told to stop; 2 when it cannot."""
    arguments = _parser().parse_args()
    try:
        library = Library()
        player = Player(
            library, list_images(arguments.folder), _print_served if arguments.print_served else _say_nothing
        )
        serve(library, player, arguments)
    except GoldlineError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
