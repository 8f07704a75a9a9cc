"""goldline camera watch: live readings in the terminal for mounting a camera. Needs no screen but the terminal's."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from edge.commands.camera_common import add_looking
from edge.errors import GoldlineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge.cameras.session import Stream
    from edge.focus import Region
    from edge.mounting import Reading

EPILOG = """\
examples:
  goldline camera watch top
  goldline camera watch top --region 400,300,200,200 --seconds 60
  goldline camera watch 192.168.1.20 --set ExposureTime=2000 --json

focus       slope of the brightness (Tenengrad) in percent of the brightness; compares pictures of one scene, so watch
            the bar: it is full at the best that was seen
brightness  mean, 0 to 255, and the shares of pixels at either end, where nothing can be seen any more
pictures    rate by the camera's own count; lost ones are missing in that count, incomplete ones lost packets

Ctrl-C ends it.
exit code: 0, or 2 where the camera cannot be opened or goes away
"""
# So often a second a person can read; a program or a file gets a line a second without a terminal.
_LOOKS_HZ, _LINES_HZ = 5.0, 1.0
# A look waits this much longer for a whole picture, and is one without.
_SILENCE_S = 1.0
_BARS = " ▁▂▃▄▅▆▇█"
_BAR_COLUMNS = 32

Show = Callable[["Reading"], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline camera watch`."""
    parser.description = "Live readings in the terminal for mounting a camera. Needs no screen but the terminal's."
    parser.epilog = EPILOG
    add_looking(parser)
    parser.add_argument("--seconds", type=float, metavar="N", help="end by itself after N seconds")
    parser.add_argument("--region", metavar="X,Y,W,H", help="measure this part of the picture, px")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each look, five a second")


def run(arguments: argparse.Namespace) -> int:
    """Look until interrupted or until the time is over."""
    from edge.cameras.session import streaming
    from edge.commands.camera_common import asked, reached

    region = _region(arguments.region)
    camera, station = asked(arguments)
    with interrupted() as ended, reached(camera, station), streaming(camera.name, camera.config) as stream:
        info = stream.info
        title = f"{camera.name} · {info.vendor} {info.model} · {info.width} x {info.height} px {info.pixel_format}"
        until_s = time.monotonic() + (arguments.seconds or float("inf"))
        with _shown(title, as_json=arguments.json) as (show, looks_hz):
            for reading in readings(stream, region, looks_hz):
                show(reading)
                if ended or time.monotonic() > until_s:
                    break
    return 0


def readings(stream: "Stream", region: "Region | None", looks_hz: float) -> "Iterator[Reading]":
    """A look at the newest picture so often a second, or as often as one comes; without end. Raises GoldlineError."""
    from edge.mounting import Counts, Mounting

    mounting = Mounting(time.monotonic_ns())
    looked_s = time.monotonic()
    while True:
        frame = stream.newest()
        if frame is not None:
            mounting.saw(frame.frame_id, frame.host_timestamp_ns)
        is_whole = frame is not None and frame.complete
        # Converting a picture takes longer than receiving it: only those that are looked at.
        if time.monotonic() - looked_s < 1 / looks_hz + (0 if is_whole else _SILENCE_S):
            continue
        stats = stream.camera.stats()
        counts = Counts(frames=stats.frames, incomplete=stats.incomplete, lost=stats.lost)
        picture = _seen(stream.picture(frame), region) if frame is not None and is_whole else None
        yield mounting.look(picture, counts, time.monotonic_ns())
        looked_s = time.monotonic()


def _seen(picture: "NDArray[np.uint8]", region: "Region | None") -> "NDArray[np.uint8]":
    from edge import focus

    try:
        return focus.cut(picture, region)
    except ValueError as problem:
        raise GoldlineError(f"--region {problem}") from None


def _region(text: str | None) -> "Region | None":
    if text is None:
        return None
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise GoldlineError(f"--region {text}: expected x,y,width,height in px, as in 400,300,200,200") from None
    return x, y, width, height


@contextmanager
def interrupted() -> Generator[list[int]]:
    """Filled by Ctrl-C or SIGTERM, so that the camera is let go in order."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(title: str, *, as_json: bool) -> "Generator[tuple[Show, float]]":
    """How a reading is shown, and how often: JSON lines, a live display, or plain lines where there is no terminal."""
    if as_json:
        yield (lambda reading: print(as_line(reading), flush=True)), _LOOKS_HZ
    elif sys.stdout.isatty():
        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            yield (lambda reading: live.update(Text("\n".join([title, *display(reading)])), refresh=True)), _LOOKS_HZ
    else:
        yield (lambda reading: print(" | ".join(display(reading)), flush=True)), _LINES_HZ


def as_line(reading: "Reading") -> str:
    """One JSON object; shares as percents, measures null where no picture came."""
    measures = reading.measures
    told: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "focus": measures and round(measures.focus, 3),
        "focus_best": round(reading.best_focus, 3),
        "mean": measures and round(measures.mean, 2),
        "black_percent": measures and round(100 * measures.black_share, 3),
        "white_percent": measures and round(100 * measures.white_share, 3),
        "histogram": measures and measures.histogram,
        "rate_hz": reading.rate_hz and round(reading.rate_hz, 2),
        "frames": reading.counts.frames,
        "incomplete": reading.counts.incomplete,
        "lost": reading.counts.lost,
        "hints": reading.hints,
    }
    return json.dumps(told, ensure_ascii=False)


def display(reading: "Reading") -> list[str]:
    """The reading in a few lines."""
    measures, counts = reading.measures, reading.counts
    rate = "-" if reading.rate_hz is None else f"{reading.rate_hz:.1f}"
    pictures = f"pictures   {rate} a second, {counts.frames} taken, {counts.lost} lost, {counts.incomplete} incomplete"
    told = [f"! {hint}" for hint in reading.hints]
    if measures is None:
        return [pictures, *told]
    share = measures.focus / reading.best_focus if reading.best_focus else 0.0
    filled = round(share * _BAR_COLUMNS)
    bar = "█" * filled + "░" * (_BAR_COLUMNS - filled)
    clipped = f"black {measures.black_share:.1%}, white {measures.white_share:.1%}"
    return [
        f"focus      {measures.focus:6.2f} {bar} {share:.0%} of the best, {reading.best_focus:.2f}",
        f"brightness {measures.mean:6.1f} of 255, {clipped}",
        f"histogram  0 {histogram(measures.histogram)} 255",
        pictures,
        *told,
    ]


def histogram(counts: tuple[int, ...]) -> str:
    """A column for each count; the tallest is full, and none that has pixels is empty."""
    tallest = max(counts) or 1
    steps = len(_BARS) - 1
    return "".join(_BARS[-(-count * steps // tallest)] for count in counts)
