"""Orders of OPC UA clients on their way to the station, each until it is answered or given up."""

import asyncio
from typing import Any

import msgspec

from edge import orders
from edge.lanes.opcua_arguments import Refusal
from edge.lanes.opcua_types import words
from edge.lanes.station_link import StationLink
from edge.metric_table import LANE_ORDERS
from edge.metrics import Page
from edge.orders import AnyOrder, PrepareOrder

LANE = "opcua"
# An order is answered within milliseconds; a product is loaded and warmed before `prepare` is.
ORDER_S, PREPARE_S = 2.0, 900.0


class Orders:
    """What was asked of the station over this link."""

    def __init__(self, link: StationLink, page: Page) -> None:
        """Nothing is asked yet."""
        self._link = link
        self._asked: dict[int, asyncio.Future[bytes | None]] = {}
        self._counted = {
            outcome: page.counter("goldline_lane_orders_total", lane=LANE, outcome=outcome) for outcome in LANE_ORDERS
        }

    def hear(self) -> None:
        """Take in what the station has answered."""
        for reply in self._link.answers():
            waiting = self._asked.pop(reply.token, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply.answer)

    async def give(self, order: AnyOrder) -> dict[str, Any]:
        """Have it carried out, and return the answer. Raises Refusal."""
        token = self._link.ask(orders.encode(order))
        if token is None:
            raise self._refusal("refused", words.StatusCodes.BadResourceUnavailable, "the station takes no orders now")
        answer = await self._answer(token, PREPARE_S if isinstance(order, PrepareOrder) else ORDER_S)
        said = msgspec.json.decode(answer, type=dict[str, Any])
        if not said.get("accepted"):
            raise self._refusal("refused", words.StatusCodes.BadInvalidState, str(said.get("error", "refused")))
        self._counted["accepted"].inc()
        return said

    async def _answer(self, token: int, patience_s: float) -> bytes:
        """What the station says. Raises Refusal: it says nothing."""
        waiting = self._asked[token] = asyncio.get_running_loop().create_future()
        codes = words.StatusCodes
        try:
            answer = await asyncio.wait_for(waiting, patience_s)
        except TimeoutError:
            text = f"no answer within {patience_s:g} s: it may yet be done"
            raise self._refusal("unanswered", codes.BadTimeout, text) from None
        finally:
            self._asked.pop(token, None)
        if answer is None:
            text = "the answer was lost: the order may have been done"
            raise self._refusal("unanswered", codes.BadCommunicationError, text)
        return answer

    def _refusal(self, outcome: str, code: int, text: str) -> Refusal:
        self._counted[outcome].inc()
        return Refusal(code, text)
