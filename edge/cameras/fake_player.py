"""Which picture goes into which frame of the fake camera: the next of the folder, under the light that is on."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.cameras.aravis import Library
from edge.cameras.fake_line import Line
from edge.cameras.fake_pictures import Look, Pictures
from edge.cameras.fake_simulation import Register, Simulation


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One frame sent: the how manieth, its 16-bit id on the wire, the file, and whether the light was on."""

    frame: int
    frame_id: int
    image: Path
    light: bool


class Player:
    """Fills frames, on the simulation's thread. `is_frozen` may be set from any: the same picture from then on.

    `views`: so many frames in a row show the same part. `has_grain`: no two frames in a row are equal.
    """

    def __init__(
        self, library: Library, pictures: Pictures, paths: list[Path], report: Callable[[Served], None] | None
    ) -> None:
        self._library, self._pictures, self._paths, self._report = library, pictures, paths, report
        self._frame = self._shown = 0
        self.is_frozen = False
        self.has_grain = False
        self.views = 1

    def use(self, simulation: Simulation, line: Line) -> None:
        """Where the light's state and a burst's pictures come from: before the first frame."""
        self._simulation, self._line = simulation, line

    def fill(self, buffer: int, _data: int, exposure_us: int, gain: int, pixel_format: int) -> None:
        """The simulation's call for pixels, before each frame is sent. The buffer has room for its region and format."""
        ask = self._library
        lit = self._is_lit()
        look = Look(
            picture=self._shown // self.views % self._pictures.count,
            lit=lit,
            grain=self._shown % 2 if self.has_grain else None,
            pixel_format=pixel_format,
            x=ask("arv_buffer_get_image_x", buffer),
            y=ask("arv_buffer_get_image_y", buffer),
            width=ask("arv_buffer_get_image_width", buffer),
            height=ask("arv_buffer_get_image_height", buffer),
            exposure_us=exposure_us,
            gain=gain,
        )
        pixels = self._pictures.bytes_of(look)
        # The simulation leaves out a last byte that is not full.
        room = look.width * look.height * (pixel_format >> 16 & 0xFF) // 8
        ctypes.memmove(ask("arv_buffer_get_data", buffer, None), pixels.ctypes.data, min(pixels.nbytes, room))
        if self._report is not None:
            frame_id = ask("arv_buffer_get_frame_id", buffer)
            self._report(Served(frame=self._frame, frame_id=frame_id, image=self._paths[look.picture], light=lit))
        self._line.filled()
        self._frame += 1
        if not self.is_frozen:
            self._shown += 1

    def _is_lit(self) -> bool:
        """In a burst the light changes with every picture, as a strobe controller has it."""
        lit = bool(self._simulation.read(Register.USER_OUTPUT_0))
        return lit ^ bool(self._line.picture % 2)
