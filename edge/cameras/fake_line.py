"""Line0 of the fake camera: pulses that come in, the pictures they are answered with, and those that are missed.

1. A pulse is counted, where Counter0 counts Line0, whatever becomes of it.
2. It is missed while an earlier one is exposed or read out, and where nothing waits for Line0.
3. After the exposure the simulation is asked for a picture, by its software trigger.
4. Each further picture of a burst is asked for when the one before was filled.

The simulation looks only every 0.1 s for the first picture of a stream: pulses that come meanwhile are not missed but
answered one after the other, as if it had looked at once.
"""

import threading
import time
from collections.abc import Callable

import msgspec

from edge.cameras.fake_simulation import Register, Simulation

# Bits of TRIGGER_MODES, which are also the two values the simulation knows: 0 free, 1 triggered.
_FREE, _FRAME, _BURST = 0, 1, 2
# A bit that no client sees: with it the simulation sends nothing at all.
SILENT = 0x100
_LINE, _SOFTWARE = 0, 1
_COUNTS_LINE = 1


class Pulses(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a train of pulses."""

    pulses: int
    taken: int
    missed: int


class Line:
    """The input. `pulse` may be called from any thread, `filled` from the simulation's, `turn` from the main one."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._lock = threading.Lock()
        # Pictures still to come for the pulse that is being answered, and how many it asked for.
        self._left = self._asked = 0
        # Pulses that came while the stream's first picture was waited for.
        self._behind = 0
        self._is_exposing = self._has_begun = False
        self._modes = _FREE
        self._was_acquiring = False

    def pulse(self) -> bool:
        """One pulse. Returns whether pictures will come of it."""
        read = self._simulation.read
        with self._lock:
            if read(Register.COUNTER_SOURCE) == _COUNTS_LINE:
                self._simulation.write({Register.COUNTER: (read(Register.COUNTER) + 1) & 0xFFFF_FFFF})
            frames = self._frames_for(_LINE)
            if frames == 0 or (self._left and (self._has_begun or self._is_exposing)):
                return False
            if self._left:
                self._behind += 1
            else:
                self._accept(frames, read(Register.EXPOSURE_US) / 1e6)
            return True

    def _frames_for(self, source: int) -> int:
        """Pictures that a trigger from there is answered with now."""
        read = self._simulation.read
        if not self._simulation.is_acquiring:
            return 0
        modes = self._modes if self._left else read(Register.TRIGGER_MODES)
        if modes & _BURST and read(Register.BURST_SOURCE) == source:
            return max(1, read(Register.BURST_FRAMES))
        return 1 if modes == _FRAME and read(Register.FRAME_SOURCE) == source else 0

    def _accept(self, frames: int, exposure_s: float) -> None:
        self._left = self._asked = frames
        self._is_exposing = True
        self._modes = self._simulation.read(Register.TRIGGER_MODES)
        exposing = threading.Timer(exposure_s, self._read_out)
        exposing.daemon = True
        exposing.start()

    def _read_out(self) -> None:
        with self._lock:
            self._is_exposing = False
            if self._left:
                self._simulation.write({Register.TRIGGER_MODES: _FRAME, Register.TRIGGER_SOFTWARE: 1})

    @property
    def picture(self) -> int:
        """The how manieth picture of its burst the next one is, from 0."""
        return self._asked - self._left if self._left else 0

    def filled(self) -> None:
        """A frame was filled: ask for the next of the burst, or let the next pulse come."""
        if not self._left:
            return
        with self._lock:
            self._has_begun = True
            self._left -= 1
            if not self._left and self._behind:
                self._behind -= 1
                self._left = self._asked
            if self._left:
                self._simulation.write({Register.TRIGGER_SOFTWARE: 1})
            else:
                self._simulation.write({Register.TRIGGER_MODES: self._modes})

    def turn(self) -> None:
        """What takes its time: a burst asked for by software, a stream that ended with a trigger unanswered."""
        acquiring = self._simulation.is_acquiring
        with self._lock:
            if self._was_acquiring and not acquiring:
                self._forget()
            elif not self._left and self._software_burst():
                self._simulation.write({Register.TRIGGER_SOFTWARE: 0})
                self._accept(self._frames_for(_SOFTWARE), 0.0)
            self._was_acquiring = acquiring

    def _software_burst(self) -> bool:
        read = self._simulation.read
        return bool(read(Register.TRIGGER_SOFTWARE) and read(Register.TRIGGER_MODES) & _BURST) and (
            self._frames_for(_SOFTWARE) > 0
        )

    def _forget(self) -> None:
        # A trigger that nobody answered must not give a picture to the next stream.
        self._has_begun = False
        if self._left:
            self._left = self._behind = 0
            self._simulation.write({Register.TRIGGER_MODES: self._modes})
        self._simulation.write({Register.TRIGGER_SOFTWARE: 0})


class PulseTrain(threading.Thread):
    """So many pulses (none: without end), one each period; `done` hears what became of them."""

    def __init__(self, line: Line, pulses: int | None, rate_hz: float, done: Callable[[Pulses], None]) -> None:
        super().__init__(name="pulses", daemon=True)
        self._line, self._pulses, self._rate_hz, self._done = line, pulses, rate_hz, done

    def run(self) -> None:
        """A late pulse delays those after it: no two are closer together than was asked for."""
        sent = taken = 0
        while self._pulses is None or sent < self._pulses:
            begun_s = time.monotonic()
            taken += self._line.pulse()
            sent += 1
            time.sleep(max(0.0, begun_s + 1 / self._rate_hz - time.monotonic()))
        self._done(Pulses(pulses=sent, taken=taken, missed=sent - taken))
