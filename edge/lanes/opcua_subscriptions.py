"""Subscriptions that outlive their client's connection, as OPC 10000-4 sections 5.14 and 6.7 want them.

A client whose connection breaks comes back with another, and then
1. opens a session there, for it cannot have the one before (`opcua_guard.py`);
2. takes its subscriptions over (TransferSubscriptions): of asyncua alone, they would go on asking the connection that is
   gone for something to answer. What it has not acknowledged is said again, before what came meanwhile: it may have
   gone into the connection when that was broken already. What is past its deadline by then is not good any more;
3. asks for messages that it may have missed (Republish), one number after the other, until it is told that there is no
   such message: asyncua gives it an empty one for ever, and the client never gets to listening again. Clients differ in
   which number they begin with, so nothing is left to this;
4. where the subscription is gone, with the process that had it, makes it anew; `opcua_memory.py` does the rest.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server import subscription_service
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.subscription_service import SubscriptionService

from edge.lanes.opcua_types import Content, words

# A shorter interval is a loop that takes the whole processor.
SHORTEST_PUBLISHING_MS = 5.0
# asyncua counts monitored items from above a hundred on.
AGAIN = 0


def install() -> None:
    """Have asyncua make subscriptions of this class: it offers no parameter for it."""
    subscription_service.InternalSubscription = Subscription  # pyright: ignore[reportPrivateImportUsage]


class Subscriptions(SubscriptionService):
    """asyncua's, with what it lacks. A `callback` is a method of the client's connection (`UaProcessor`)."""

    async def create_subscription(
        self, params: ua.CreateSubscriptionParameters, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """With an interval that the machine can keep; where all places are taken, in that of one without a client."""
        request: Any = params
        request.RequestedPublishingInterval = max(request.RequestedPublishingInterval, SHORTEST_PUBLISHING_MS)
        if self.iserver is not None and len(self.subscriptions) >= self.iserver.max_subscriptions:
            await self.delete_subscriptions([number for number, one in self._ours.items() if one.is_left][:1])
        return await super().create_subscription(params, callback, *args, **kwargs)

    def republish(self, params: ua.RepublishParameters) -> Any:
        """A message that was not acknowledged; it is kept until it is. Raises ServiceError: there is no such message."""
        request: Any = params
        subscription = self._ours.get(request.SubscriptionId)
        if subscription is None:
            raise ServiceError(words.StatusCodes.BadSubscriptionIdInvalid)
        kept = subscription.said(request.RetransmitSequenceNumber)
        if kept is None:
            raise ServiceError(words.StatusCodes.BadMessageNotAvailable)
        return kept

    async def transfer_subscriptions(
        self, params: ua.TransferSubscriptionsParameters, session_id: ua.NodeId, callback: Callable[..., Any]
    ) -> list[Any]:
        """To another session of the same client: from now on its connection is asked, and answered."""
        request: Any = params
        return [self._transfer(int(number), session_id, callback) for number in request.SubscriptionIds]

    def _transfer(self, number: int, session_id: ua.NodeId, callback: Callable[..., Any]) -> Any:
        made, subscription = words.TransferResult(), self._ours.get(number)
        if subscription is None:
            made.StatusCode = words.StatusCode(words.StatusCodes.BadSubscriptionIdInvalid)
        elif _client(subscription.pub_result_callback) != _client(callback):
            made.StatusCode = words.StatusCode(words.StatusCodes.BadUserAccessDenied)
        else:
            subscription.move_to(session_id, callback)
        return made

    @property
    def _ours(self) -> "Mapping[int, Subscription]":
        return cast("Mapping[int, Subscription]", self.subscriptions)


class Subscription(InternalSubscription):
    """asyncua's, which can be moved to another connection of its client."""

    @property
    def is_left(self) -> bool:
        """Whether its client's connection is gone, and nobody has taken it over."""
        return _connection(self.pub_result_callback).is_gone

    def said(self, number: int) -> Any:
        """A message that was sent under this number and not acknowledged; None: there is none."""
        kept: Any = self._not_acknowledged_results.get(number)
        return None if kept is None else kept.NotificationMessage

    def move_to(self, session_id: ua.NodeId, callback: Callable[..., Any]) -> None:
        """From now on it is this OPC UA client's, and the connection of that one is asked and answered."""
        self.session_id = session_id
        self.pub_result_callback = callback
        self.pub_request_callback = _connection(callback).get_publish_request
        events: list[Any] = []
        changes: list[Any] = []
        for result in cast("dict[int, Any]", self._not_acknowledged_results).values():
            for one in result.NotificationMessage.NotificationData:
                events += getattr(one, "Events", ())
                changes += getattr(one, "MonitoredItems", ())
        self._not_acknowledged_results.clear()
        self._triggered_events = _before(events, self._triggered_events)
        self._triggered_datachanges = _before(changes, self._triggered_datachanges)
        _lapse(self._triggered_events, datetime.now(UTC))


def _lapse(waiting: Mapping[int, list[Any]], now: datetime) -> None:
    """Results that are told only now. Each event has its own copy of its fields."""
    for event in (one for events in waiting.values() for one in events):
        for field in event.EventFields:
            if isinstance(field.Value, Content):
                field.Value.lapse(now)


def _before(again: list[Any], waiting: dict[int, list[Any]]) -> dict[int, list[Any]]:
    """By monitored item, in the order that it will be said in; what is said again is under a number that none has."""
    later = dict(waiting)
    again = again + later.pop(AGAIN, [])
    return {AGAIN: again, **later} if again else later


def _connection(callback: Any) -> Any:
    return callback.__self__


def _client(callback: Any) -> str | None:
    """Whose connection this is; None for everybody where nobody proves who he is."""
    return _connection(callback).session.user.name
