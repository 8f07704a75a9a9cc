"""A worker's side of a reload: another configuration is offered, answered for, and taken over or let go.

    supervisor   Offer ─▶   the worker makes ready                 ─▶ Offered, with a problem where it cannot
                 Commit ─▶  it goes by the new one from here on     ─▶ Taken
                 Abandon ─▶ it forgets it: nothing was changed

What a worker takes over, and what it is started anew for, is in `change.py`.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

from edge import log
from edge.channel import Channel, ChannelClosed
from edge.config import Station
from edge.messages import Abandon, Commit, Offer, Offered, Taken

# Called with the offer's number, the station, and the number that events name it by. False: it is not done yet, and the
# worker says Taken itself.
TakeOver = Callable[[int, Station, int], bool]
# Called with the number and the station. What is answered; None: it is answered later.
MakeReady = Callable[[int, Station], Offered | None]


@contextmanager
def station_file(station: Station) -> Generator[int]:
    """A station as it is handed to workers: an open file of its JSON. They read it wherever its place stands."""
    descriptor = os.memfd_create("goldline-station", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, station.model_dump_json().encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def at_once(_number: int, _station: Station, _generation: int) -> bool:
    """Of a worker that has nothing of its own to take over."""
    return True


def agree(number: int, _station: Station) -> Offered:
    """The answer of a worker that has nothing to make ready."""
    return Offered(number=number)


def read_station(descriptor: int) -> Station:
    """The station that the supervisor wrote. The descriptor is closed; its place is shared with other workers, so not used."""
    with open(descriptor, "rb") as handle:
        written = os.pread(handle.fileno(), os.fstat(handle.fileno()).st_size, 0)
    return Station.model_validate_json(written)


class Takeover:
    """For the worker's own loop. One offer at a time: a new one takes the place of the one before."""

    def __init__(
        self,
        control: Channel,
        take_over: TakeOver = at_once,
        make_ready: MakeReady = agree,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        """`let_go`: what was made ready is not taken over."""
        self._control, self._take_over, self._make_ready, self._let_go = control, take_over, make_ready, let_go
        self._offered: tuple[int, Station] | None = None

    def hear(self, said: Offer | Commit | Abandon, descriptor: int | None) -> None:
        """One word of the supervisor."""
        match said:
            case Offer(number=number):
                assert descriptor is not None
                self._offered = number, read_station(descriptor)
                if (answer := self._make_ready(*self._offered)) is not None:
                    self.say(answer)
            case Commit(number=number, generation=generation):
                if self._offered is not None and self._offered[0] == number:
                    self._commit(*self._offered, generation)
            case Abandon():
                if self._offered is not None:
                    self._offered = None
                    self._let_go()

    def _commit(self, number: int, station: Station, generation: int) -> None:
        self._offered = None
        log.set_level(station.log.level)
        if self._take_over(number, station, generation):
            self.say(Taken(number=number))

    def say(self, answer: Offered | Taken) -> None:
        """An answer that took a while. A supervisor that has gone needs none."""
        try:
            self._control.send(answer)
        except ChannelClosed:
            return
