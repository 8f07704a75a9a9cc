"""The order desk: reads orders from the command socket and takes them from lanes, has them carried out, answers each."""

from collections.abc import Callable
from functools import partial

import structlog
import zmq

from edge import orders
from edge.config import Station
from edge.inbox import MOST_FRAMES, Inbox
from edge.job import Command
from edge.job_desk import JobDesk, Reply
from edge.orders import (
    Accepted,
    AnnounceOrder,
    Answer,
    AnyOrder,
    HaltOrder,
    OrderError,
    PrepareOrder,
    Refused,
    ResetOrder,
    StartOrder,
    StartSingleOrder,
    StateOrder,
    StopOrder,
    TriggerOrder,
)
from edge.station_state import Describer

# More in one go would keep verdicts waiting: an order takes a tenth of a millisecond.
ORDERS_A_TURN = 32
# The orders that are nothing but a change of the station's state.
_COMMANDS: dict[type[AnyOrder], Command] = {
    StartOrder: Command.START,
    StopOrder: Command.STOP,
    HaltOrder: Command.HALT,
    ResetOrder: Command.RESET,
}


class OrderDesk:
    """Owns the ROUTER socket."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        station: Station,
        jobs: JobDesk,
        describer: Describer,
        is_stopping: Callable[[], bool],
    ) -> None:
        """Nothing is read before `serve`."""
        self._socket, self._station, self._jobs, self._describer = socket, station, jobs, describer
        self._is_stopping = is_stopping
        self._inbox = Inbox(socket)

    def serve(self) -> None:
        """Take the orders that are here now. A reader that does not keep up loses its answers, nothing else."""
        for _ in range(ORDERS_A_TURN):
            if (frames := self._inbox.receive()) is None:
                break
            *envelope, body = (frame.bytes for frame in frames)
            # What goes on behind the frames that are read is no order, whatever stands there.
            self.answer(body if len(frames) < MOST_FRAMES else b"", partial(self._reply, envelope))

    def _reply(self, envelope: list[bytes], answer: bytes) -> None:
        try:
            self._socket.send_multipart([*envelope, answer], zmq.DONTWAIT)
        except zmq.Again:
            structlog.get_logger().warning("an answer is let go: its reader does not keep up")

    def answer(self, body: bytes, reply: Reply, lane: str | None = None) -> None:
        """Carry out one order, of the socket or of a lane. `reply` is called once with its answer: now, or when it is done.

        `lane`: the name of the lane that gave it; the trigger that the order may open is then a PLC's.
        """
        asked_id = orders.id_of(body)
        try:
            order = orders.parse(body)
            answer = self._carry_out(order, reply, lane)
        except OrderError as problem:
            answer = Refused(error=str(problem), id=asked_id)
        if answer is not None:
            reply(orders.encode(answer))

    def _carry_out(self, order: AnyOrder, reply: Reply, lane: str | None) -> Answer | None:
        """None: it is answered when it is done."""
        if isinstance(order, StateOrder):
            return self._describer.describe(order.id)
        if self._is_stopping():
            raise OrderError("the station is stopping")
        match order:
            case PrepareOrder():
                self._jobs.prepare(order, reply)
                return None
            case TriggerOrder():
                self._check_fired(order.camera)
                trigger = self._jobs.trigger(order.camera, order.unit_identifier, order.expect, lane)
                return Accepted(trigger_id=trigger.trigger_id, id=order.id)
            case StartSingleOrder():
                self._check(order.camera)
                if (one := self._jobs.start_single(order, lane)) is not None:
                    return Accepted(trigger_id=one.trigger_id, id=order.id)
            case AnnounceOrder():
                self._check(order.camera)
                self._jobs.announce(order)
            case _:
                self._jobs.change(_COMMANDS[type(order)])
        return self._jobs.done(order.id)

    def _check(self, name: str) -> None:
        """Raises OrderError where this is nothing that can be triggered."""
        if name not in self._station.triggered:
            known = ", ".join(sorted(self._station.triggered)) or "none"
            raise OrderError(f"unknown camera {name!r}: known are {known}")
        if group := self._station.group_of(name):
            raise OrderError(f"camera {name!r} sees a part together with others: trigger group {group!r}")

    def _check_fired(self, name: str) -> None:
        self._check(name)
        kind = "group" if name in self._station.groups else "camera"
        # The cameras of a group have one mode.
        mode = self._station.cameras[self._station.cameras_of(name)[0]].trigger.mode
        if mode != "software":
            raise OrderError(f"{kind} {name!r} has trigger mode {mode!r}, not 'software'")
