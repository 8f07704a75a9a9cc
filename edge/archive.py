"""PROCESS: the bounded store of pictures; it may lose one and never delays a verdict.

The loop hears inspection and says that it is alive; a thread of low priority reads the pictures out of the ring and
writes them, one at a time. A disk that hangs stops that thread alone: inspection gets no slot back, and drops.
"""

import os
import socket
import threading
import time

from edge.archive_writer import Picture, Writer
from edge.channel import Channel, ChannelClosed
from edge.config import Station
from edge.messages import Abandon, Commit, Grant, Keep, Link, Offer, Stop
from edge.metrics import State
from edge.poller import Poller
from edge.record_log import boot_identity
from edge.ring import Ring
from edge.takeover import Takeover
from edge.worker import WorkerContext

POLL_S = 0.25
# Pictures that still wait when told to stop are written for so long; the supervisor allows 0.5 s.
DRAIN_S = 0.3


def run(context: WorkerContext) -> None:
    """Until told to stop."""
    Archive(context).loop()


class Archive:
    """The loop beside the writer."""

    def __init__(self, context: WorkerContext) -> None:
        self._control, self._page = context.control, context.page
        self._writer = Writer(context.station, context.page, boot_identity().hex())
        self._thread = threading.Thread(target=self._writer.run, name="writer", daemon=True)
        self._inspection: Channel | None = None
        self._ring: Ring | None = None
        self._stopping = False
        self._takeover = Takeover(context.control, self._take_over)
        self._poller = Poller()
        self._poller.listen(self._control.fileno(), self._hear_supervisor)

    def loop(self) -> None:
        """Until told to stop, and what is in hand is written or the time for that is over."""
        self._thread.start()
        while not self._stopping:
            if not self._thread.is_alive():
                raise RuntimeError("the thread that writes has failed")
            self._writer.show(time.monotonic_ns())
            state = State.BUSY if self._writer.is_busy else State.IDLE
            self._page.beat(state, time.monotonic_ns(), in_flight=self._writer.waiting)
            self._poller.turn(POLL_S)
        self._writer.stop()
        self._thread.join(DRAIN_S)
        self._unlink()

    def _hear_supervisor(self) -> None:
        try:
            while (heard := self._control.receive_with_descriptor()) is not None:
                match heard:
                    case Stop(), _:
                        self._stopping = True
                    case (Offer() | Commit() | Abandon()) as said, descriptor:
                        self._takeover.hear(said, descriptor)
                    case Link(peer="inspection"), int(descriptor):
                        self._link(Channel(socket.socket(fileno=descriptor)))
                    case message, _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            self._stopping = True

    def _take_over(self, _number: int, station: Station, _generation: int) -> bool:
        self._writer.take_over(station.archive)
        return True

    def _link(self, channel: Channel) -> None:
        """Another inspection: what the one before lent can still be read, in the ring that it lies in."""
        self._unlink()
        self._inspection = channel
        self._poller.listen(channel.fileno(), self._hear_inspection)

    def _unlink(self) -> None:
        if self._inspection is not None:
            self._poller.forget(self._inspection.fileno())
            self._inspection.close()
        self._inspection, self._ring = None, None

    def _hear_inspection(self) -> None:
        assert self._inspection is not None
        try:
            while (heard := self._inspection.receive_with_descriptor()) is not None:
                match heard:
                    case Grant(slots=slots, slot_bytes=slot_bytes), int(descriptor):
                        self._ring = Ring(descriptor, slots, slot_bytes)
                        os.close(descriptor)
                    case Keep() as keep, _ if self._ring is not None:
                        self._writer.take(Picture(keep, self._ring, self._inspection))
                    case message, _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            self._unlink()
