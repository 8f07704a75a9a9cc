"""The command socket: reads orders, carries them out, answers."""

from typing import Any, Protocol

import structlog
import zmq

from edge import orders
from edge.books import Books
from edge.config import Station
from edge.orders import (
    Accepted,
    Answer,
    CameraState,
    GroupState,
    OrderError,
    Refused,
    StateOrder,
    StationState,
    TriggerOrder,
)
from edge.outbox import Outbox
from edge.records import Outcome

# More in one go would keep verdicts waiting: an order takes a tenth of a millisecond.
ORDERS_A_TURN = 32


class Line(Protocol):
    """What the desk can have done."""

    @property
    def is_stopping(self) -> bool:
        """No more triggers are taken."""
        ...

    def is_linked(self, camera: str) -> bool:
        """Whether the camera's process is there."""
        ...

    def trigger(self, name: str, unit_identifier: str | None, expect: dict[str, str]) -> int:
        """Open a trigger of a camera or a group, have it fired, return its id. Raises OrderError."""
        ...


class OrderDesk:
    """Owns the ROUTER socket."""

    def __init__(self, socket: zmq.Socket[bytes], station: Station, books: Books, outbox: Outbox, line: Line) -> None:
        """Nothing is read before `serve`."""
        self._socket, self._station, self._books, self._outbox, self._line = socket, station, books, outbox, line

    def serve(self) -> None:
        """Answer the orders that are here now. A reader that does not keep up loses its answers, nothing else."""
        for _ in range(ORDERS_A_TURN):
            if not self._socket.poll(0):
                break
            *envelope, body = self._socket.recv_multipart()
            answer = orders.encode(self.answer(body))
            try:
                self._socket.send_multipart([*envelope, answer], zmq.DONTWAIT)
            except zmq.Again:
                structlog.get_logger().warning("an answer is let go: its reader does not keep up")

    def answer(self, body: bytes) -> Answer:
        """Carry out one order."""
        try:
            order = orders.parse(body)
        except OrderError as problem:
            return Refused(error=str(problem))
        if isinstance(order, StateOrder):
            return self._state(order)
        try:
            self._check(order)
            trigger_id = self._line.trigger(order.camera, order.unit_identifier, order.expect)
        except OrderError as problem:
            return Refused(error=str(problem), id=order.id)
        return Accepted(trigger_id=trigger_id, id=order.id)

    def _check(self, order: TriggerOrder) -> None:
        if self._line.is_stopping:
            raise OrderError("the station is stopping")
        if order.camera not in self._station.triggered:
            known = ", ".join(sorted(self._station.triggered)) or "none"
            raise OrderError(f"unknown camera {order.camera!r}: known are {known}")
        if group := self._station.group_of(order.camera):
            raise OrderError(f"camera {order.camera!r} sees a part together with others: trigger group {group!r}")
        kind = "group" if order.camera in self._station.groups else "camera"
        # The cameras of a group have one mode.
        mode = self._station.cameras[self._station.cameras_of(order.camera)[0]].trigger.mode
        if mode != "software":
            raise OrderError(f"{kind} {order.camera!r} has trigger mode {mode!r}, not 'software'")

    def _state(self, order: StateOrder) -> StationState:
        cameras = {
            name: CameraState(mode=camera.trigger.mode, is_linked=self._line.is_linked(name), **self._counts(name))
            for name, camera in self._station.cameras.items()
        }
        groups = {
            name: GroupState(cameras=group.cameras, **self._counts(name))
            for name, group in self._station.groups.items()
        }
        return StationState(
            station=self._station.station_id,
            stream=str(self._outbox.stream),
            head=self._outbox.head,
            cameras=cameras,
            groups=groups,
            id=order.id,
        )

    def _counts(self, name: str) -> dict[str, Any]:
        ledger = self._books.ledger
        return {
            "triggers": ledger.triggers(name),
            "in_flight": ledger.in_flight(name),
            "verdicts": {str(outcome): ledger.verdicts(name, outcome) for outcome in Outcome},
        }
