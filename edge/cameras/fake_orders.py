"""What a running fake camera can be told on its standard input, one order a line; each is answered by a line of JSON.

pulse [N [HZ]]      N pulses on Line0 (1), so many a second (10); answered after the last
freeze, thaw        the same picture again and again; the next ones again
stop, go            no frames, though it answers and says that it streams; frames again
lose N              N packets in a thousand from now on; 1000 is a network that lets none through
light on|off        UserOutput0
"""

import json
import os
import select
import sys
from collections.abc import Callable

import msgspec

from edge.cameras.fake_line import Line, Pulses, PulseTrain
from edge.cameras.fake_player import Player
from edge.cameras.fake_simulation import Register, Simulation

# Slow enough for any exposure that is not set for a test of its own.
_PULSE_HZ = 10.0
_MOST_PULSES, _FASTEST_PULSE_HZ = 1_000_000, 1000.0
# An order is a few words.
_READ_BYTES = 4096


class Faults:
    """What the camera is made to do wrong."""

    def __init__(self, simulation: Simulation, player: Player) -> None:
        self._simulation, self._player = simulation, player
        self.is_silent = False

    def freeze(self) -> None:
        """The same picture again and again."""
        self._player.is_frozen = True

    def thaw(self) -> None:
        """The next pictures again."""
        self._player.is_frozen = False

    def stop(self) -> None:
        """No frames."""
        self.is_silent = True

    def go(self) -> None:
        """Frames again."""
        self.is_silent = False

    def lose(self, per_thousand: float) -> None:
        """So many packets in a thousand."""
        self._simulation.lose(per_thousand)


class Orders:
    """Reads standard input without waiting for it; its end only ends the orders."""

    def __init__(self, simulation: Simulation, line: Line, faults: Faults) -> None:
        self._simulation, self._line, self._faults = simulation, line, faults
        self._unread = b""
        self._is_open = _can_be_read()
        self._simple: dict[str, Callable[[], None]] = {
            "freeze": faults.freeze,
            "thaw": faults.thaw,
            "stop": faults.stop,
            "go": faults.go,
        }

    def wait(self, timeout_s: float) -> None:
        """Does what comes within this time, at least once."""
        sources = [sys.stdin] if self._is_open and not _is_in_background() else []
        if not select.select(sources, [], [], timeout_s)[0]:
            return
        read = os.read(sys.stdin.fileno(), _READ_BYTES)
        self._is_open = bool(read)
        *lines, self._unread = (self._unread + read).split(b"\n")
        for line in lines:
            if words := line.decode(errors="replace").split():
                self._obey(words)

    def _obey(self, words: list[str]) -> None:
        order, arguments = words[0], words[1:]
        try:
            self._do(order, arguments)
        except (ValueError, TypeError) as problem:
            say({"order": " ".join(words), "error": str(problem)})

    def _do(self, order: str, arguments: list[str]) -> None:
        match order, arguments:
            case _, [] if order in self._simple:
                self._simple[order]()
            case "lose", [text]:
                self._faults.lose(_within(text, 0, 1000))
            case "light", ["on" | "off" as state]:
                self._simulation.write({Register.USER_OUTPUT_0: int(state == "on")})
            case "pulse", [*texts] if len(texts) <= 2:
                self._pulse(*texts)
                return
            case _:
                raise ValueError("not one of: pulse [N [HZ]], freeze, thaw, stop, go, lose N, light on|off")
        say({"order": " ".join([order, *arguments])})

    def _pulse(self, count: str = "1", rate_hz: str = str(_PULSE_HZ)) -> None:
        pulses, rate = round(_within(count, 1, _MOST_PULSES)), _within(rate_hz, 0.001, _FASTEST_PULSE_HZ)

        def done(became: Pulses) -> None:
            say({"order": "pulse", **msgspec.structs.asdict(became)})

        PulseTrain(self._line, pulses, rate, done).start()


def _can_be_read() -> bool:
    # It is None for a program that was started without one.
    return bool(sys.stdin)


def _is_in_background() -> bool:
    # A job in the background that reads its terminal is stopped by the kernel.
    return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()


def say(answer: dict[str, object]) -> None:
    """A line of JSON on standard output, at once."""
    # In one piece: several threads say something.
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _within(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text} is not a number") from None
    if not low <= value <= high:
        raise ValueError(f"{text} is outside {low:g} to {high:g}")
    return value
