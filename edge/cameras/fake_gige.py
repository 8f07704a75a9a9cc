"""A GigE Vision camera that serves a folder's images over the real protocol, one for each frame, in name order.

It is a camera to any GigE Vision client: discovery, control, heartbeat, triggers and stream packets are libaravis' own
device simulation; the pixels, the lines, the light and what goes wrong come from here. Pixels are sent as they are, so
a client receives RGB8 bit for bit. Frame ids start at 65400 in that simulation: a client meets the wrap of the 16-bit
counter within 136 frames. What can be told to the running camera is in `fake_orders.py`, its features in
`fake_gige.xml`.
"""

import argparse
import ipaddress
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from edge.cameras import gvcp
from edge.cameras.aravis import Library
from edge.cameras.fake_line import SILENT, Line, PulseTrain
from edge.cameras.fake_orders import Faults, Orders, say
from edge.cameras.fake_pictures import CODES, FORMATS, Look, Pictures
from edge.cameras.fake_player import Player, Served
from edge.cameras.fake_simulation import Register, Simulation
from edge.errors import GoldlineError
from edge.images import list_images

# How often the simulation looks for a software trigger: a mean wait of 1 ms, for a part of a core while it streams.
_TRIGGER_POLL_HZ = 500.0
# Bounds of AcquisitionFrameRate, as the description has them.
_SLOWEST_HZ, _FASTEST_HZ = 0.1, 10_000.0
# The pace while bursts are awaited: the simulation looks for their trigger once a frame period.
_BURST_PACE_US = 2_000
# How often the main thread looks after clock, pace and faults, and how long the simulation sleeps at most: while
# frames are sent, and else.
_TURN_S, _IDLE_TURN_S = 0.004, 0.02
# Beyond what a part can have.
_MOST_VIEWS = 100
# The serial number and the user's name take 16 bytes with the closing zero.
_NAME_BYTES = 15
# Exposure and gain that leave a picture as bright as its file.
_EXPOSURE_US, _GAIN = 10_000, 0
# 41.5 degrees: a camera that has been on for a while.
_TEMPERATURE_TENTHS = 415


class FakeCamera:
    """The simulation with its pictures, its line and its faults. `turn` is for the main thread, again and again."""

    def __init__(self, library: Library, arguments: argparse.Namespace) -> None:
        """Answers from now on. Raises GoldlineError when it cannot, and ImageError for its folders."""
        paths = list_images(arguments.folder)
        dark = list_images(arguments.dark_folder) if arguments.dark_folder else []
        self.pictures = Pictures(paths, dark, light_response=arguments.light_response)
        _prepare(self.pictures, CODES[arguments.pixel_format])
        player = Player(library, self.pictures, paths, _print_served if arguments.print_served else None)
        player.has_grain, player.views = arguments.grain, arguments.views
        _refuse_taken(arguments.interface)
        self.simulation = Simulation(library, arguments.interface, arguments.serial, player.fill)
        self.line = Line(self.simulation)
        player.use(self.simulation, self.line)
        self.simulation.name(arguments.interface, arguments.name or "")
        self.simulation.write(_registers(arguments, self.pictures.size))
        self.simulation.look_for_triggers(_TRIGGER_POLL_HZ)
        self.faults = Faults(self.simulation, player)
        self.faults.lose(arguments.loss_per_thousand)

    def turn(self) -> None:
        """Keeps the clock that can be read, the pace and the silence."""
        self.simulation.nudge()
        self.line.turn()
        modes = self.simulation.read(Register.TRIGGER_MODES)
        pace_us = _BURST_PACE_US if modes & ~SILENT else self.simulation.read(Register.FRAME_PERIOD_US)
        self.simulation.write({Register.PACE_US: pace_us})
        self.simulation.write_wide(Register.TIMESTAMP, time.time_ns())
        if bool(modes & SILENT) != self.faults.is_silent:
            self.simulation.write({Register.TRIGGER_MODES: modes ^ SILENT})


def serve(camera: FakeCamera, arguments: argparse.Namespace) -> None:
    """Answers as a camera until SIGTERM or SIGINT."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    orders = Orders(camera.simulation, camera.line, camera.faults)
    if arguments.pulse_hz is not None:
        PulseTrain(camera.line, None, arguments.pulse_hz, lambda _pulses: None).start()
    width, height = camera.pictures.size
    sys.stderr.write(f"serving {width} x {height} px {arguments.pixel_format} on {arguments.interface}\n")
    if camera.pictures.count == 1 and not arguments.grain:
        sys.stderr.write("a single image, again and again: a station takes it for a frozen camera without --grain\n")
    begun_s = time.monotonic()
    later = [(arguments.freeze_after, camera.faults.freeze), (arguments.stop_after, camera.faults.stop)]
    due = [(begun_s + after_s, happen) for after_s, happen in later if after_s is not None]
    while not stopped.is_set():
        orders.wait(_TURN_S if camera.simulation.is_acquiring else _IDLE_TURN_S)
        camera.turn()
        for happening in [one for one in due if time.monotonic() >= one[0]]:
            due.remove(happening)
            happening[1]()


def _registers(arguments: argparse.Namespace, size: tuple[int, int]) -> dict[Register, int]:
    width, height = size
    period_us = round(1e6 / arguments.rate)
    return {
        Register.SENSOR_WIDTH: width,
        Register.SENSOR_HEIGHT: height,
        Register.WIDTH: width,
        Register.HEIGHT: height,
        Register.PIXEL_FORMAT: CODES[arguments.pixel_format],
        Register.FRAME_PERIOD_US: period_us,
        Register.PACE_US: period_us,
        # What triggers is decided here: the simulation itself is always to be triggered by software.
        Register.SIMULATION_SOURCE: 1,
        Register.FRAME_SOURCE: 1,
        Register.BURST_SOURCE: 1,
        Register.BURST_FRAMES: 1,
        Register.LINE_1_MODE: 1,
        Register.USER_OUTPUT_0: 1,
        Register.TEMPERATURE: _TEMPERATURE_TENTHS,
    }


def _prepare(pictures: Pictures, pixel_format: int) -> None:
    """The whole pictures in the format it starts with, so that the first frames of all are on time."""
    width, height = pictures.size
    for index in range(pictures.count):
        look = Look(index, True, None, pixel_format, 0, 0, width, height, _EXPOSURE_US, _GAIN)
        pictures.bytes_of(look)


def _refuse_taken(interface: str) -> None:
    # Two cameras can share the port without an error, and neither would then make sense.
    if gvcp.is_controlled(interface) is not None:
        raise GoldlineError(f"--interface {interface}: another camera answers there")


def _print_served(served: Served) -> None:
    say(
        {"frame": served.frame, "frame_id": served.frame_id, "image": str(served.image), "light": served.light},
    )


# --- the command line


class _Range:
    """Reads a number and refuses one outside."""

    def __init__(self, low: float, high: float, unit: str) -> None:
        self._low, self._high, self._unit = low, high, unit

    def __call__(self, text: str) -> float:
        value = float(text)
        if not self._low <= value <= self._high:
            raise argparse.ArgumentTypeError(f"{text} {self._unit} is outside {self._low:g} to {self._high:g}")
        return value

    def __repr__(self) -> str:
        return "number"


def _count(text: str) -> int:
    if not 0 < int(text) <= _MOST_VIEWS:
        raise argparse.ArgumentTypeError(f"{text} is outside 1 to {_MOST_VIEWS}")
    return int(text)


def _short(text: str) -> str:
    if not 0 < len(text.encode()) <= _NAME_BYTES:
        raise argparse.ArgumentTypeError(f"'{text}' is not 1 to {_NAME_BYTES} bytes long")
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


_EXAMPLE = """example:
  goldline camera fake --folder good --interface 127.0.0.1 --serial GL01 --rate 20
  and in config.toml:  [cameras.top]  source = "gige"  address = "127.0.0.1"
while it runs it takes orders on standard input, and answers each with a line of JSON:
  pulse [N [HZ]]   freeze   thaw   stop   go   lose N   light on|off
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="goldline camera fake",
        description=(__doc__ or "").split("\n")[0],
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--folder", required=True, type=Path, metavar="F", help="images to serve, all of one size")
    add(
        "--dark-folder",
        type=Path,
        metavar="F",
        help="images for the light (UserOutput0) turned off; without, darker ones",
    )
    add("--interface", default="127.0.0.1", type=_address, metavar="IP", help="address to answer at (%(default)s)")
    add("--serial", default="GL01", type=_short, metavar="S", help="serial number it answers with (%(default)s)")
    add("--name", type=_short, metavar="S", help="user-defined name it answers with")
    rate = _Range(_SLOWEST_HZ, _FASTEST_HZ, "Hz")
    add("--rate", default=10.0, type=rate, metavar="HZ", help="frames a second while free-running (%(default)s)")
    add("--pixel-format", default="RGB8", choices=FORMATS, help="to start with (%(default)s)")
    add("--light-response", action="store_true", help="pictures get brighter with ExposureTime and Gain")
    add("--grain", action="store_true", help="one grey level of noise: no picture equals the one before")
    add("--views", default=1, type=_count, metavar="N", help="N frames in a row show the same part (%(default)s)")
    add("--pulse-hz", type=_Range(0.001, 1000, "Hz"), metavar="HZ", help="pulses on Line0, from the start on")
    share = _Range(0, 1000, "packets")
    add("--loss-per-thousand", default=0.0, type=share, metavar="N", help="stream packets that are left out (0)")
    after = _Range(0, 1e9, "s")
    add("--freeze-after", type=after, metavar="S", help="the same picture again and again, after S seconds")
    add("--stop-after", type=after, metavar="S", help="no more frames, after S seconds")
    add("--print-served", action="store_true", help="a JSON line on stdout for each frame sent")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until told to stop; 2 when it cannot."""
    arguments = _parser().parse_args(argv)
    try:
        camera = FakeCamera(Library(), arguments)
    except GoldlineError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    try:
        serve(camera, arguments)
    finally:
        camera.simulation.close()  # ends its thread, before the pixels go
    return 0


if __name__ == "__main__":
    sys.exit(main())
