"""PROCESS: what was said before, for whoever was away: reads the outbox, never writes it."""

import os
import time

from edge.channel import ChannelClosed
from edge.messages import Link, Stop
from edge.metrics import State
from edge.poller import Poller
from edge.worker import WorkerContext

POLL_S = 0.05


def run(context: WorkerContext) -> None:
    """Until told to stop."""
    stopping: list[bool] = []

    def hear() -> None:
        try:
            while (heard := context.control.receive_with_descriptor()) is not None:
                match heard:
                    case Stop(), _:
                        stopping.append(True)
                    case Link(), int(descriptor):
                        os.close(descriptor)
                    case message, _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            stopping.append(True)

    poller = Poller()
    poller.listen(context.control.fileno(), hear)
    while not stopping:
        context.page.beat(State.IDLE, time.monotonic_ns())
        poller.turn(POLL_S)
