"""The events of the companion specification, sent from VisionSystem and, for clients that look there, from Server."""

import copy
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.common.events import get_event_obj_from_type_node

from edge.lanes import opcua_types
from edge.lanes.opcua_result import Described, Identity
from edge.lanes.opcua_space import ROOT, Space
from edge.lanes.opcua_state import Move
from edge.lanes.opcua_types import words

RESULT_READY, STATE_CHANGED, RECIPE_PREPARED, READY, JOB_STARTED = 1024, 1018, 1022, 1023, 1013
ERROR, ERROR_RESOLVED, INFORMATION = 1019, 1020, 1038
KINDS = (RESULT_READY, STATE_CHANGED, RECIPE_PREPARED, READY, JOB_STARTED, ERROR, ERROR_RESOLVED, INFORMATION)
# OPC 10000-5 6.4.2: 1 is of no concern, 1000 a catastrophe.
SEVERITY, SEVERITY_ERROR = 100, 700


class Announcer:
    """Makes events and hands them to the subscriptions there are. Use `of`."""

    def __init__(self, space: Space, templates: dict[int, Any]) -> None:
        """`templates`: an event of each type, to be copied."""
        self._templates = templates
        self._service = space.server.iserver.subscription_service
        self._sources = (space.node("").nodeid, space.server.nodes.server.nodeid)

    @classmethod
    async def of(cls, space: Space) -> "Announcer":
        """For a built space."""
        return cls(space, {kind: await get_event_obj_from_type_node(space.type(kind)) for kind in KINDS})

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self._service.subscriptions)

    async def result(self, described: Described) -> None:
        """A result is there."""
        await self._send(self._ready(described))

    async def repeat(self, results: Iterable[Described], subscription: int, items: frozenset[int]) -> None:
        """Give these results to these monitored items of one subscription alone."""
        target = self._service.subscriptions.get(subscription)
        if target is None:
            return
        for described in results:
            for event in self._from_each_source(self._ready(described)):
                for item in items:
                    await target.monitored_item_srv.trigger_event(event, item)

    async def moved(self, move: Move, transition: tuple[str, ua.NodeId | None]) -> None:
        """A state machine changed its state."""
        name, node_id = transition
        kind = ERROR if move.after == "Error" else ERROR_RESOLVED if move.before == "Error" else STATE_CHANGED
        event = self._made(kind, f"{move.before} to {move.after}", datetime.now(UTC))
        for field, text in (("FromState", move.before), ("ToState", move.after), ("Transition", name)):
            _set(event, field, ua.Variant(ua.LocalizedText(text, "en"), ua.VariantType.LocalizedText))
        if node_id is not None:
            _set(event, "Transition/Id", ua.Variant(node_id, ua.VariantType.NodeId))
        event.Severity = SEVERITY_ERROR if kind == ERROR else SEVERITY
        await self._send(event)

    async def prepared(self, product: Identity) -> None:
        """From here on this product is judged by."""
        event = self._made(RECIPE_PREPARED, f"prepared {product.id}", datetime.now(UTC))
        for field, kind in (("ExternalId", "RecipeIdExternalDataType"), ("InternalId", "RecipeIdInternalDataType")):
            _set(event, field, opcua_types.variant_of(opcua_types.identity(kind, product)))
        await self._send(event)

    async def job(self, *, is_started: bool, job: str) -> None:
        """A job was started, or the station is ready for one."""
        event = self._made(JOB_STARTED if is_started else READY, job, datetime.now(UTC))
        _set(event, "JobId", opcua_types.variant_of(words.JobIdDataType(Id=job)))
        await self._send(event)

    async def said(self, text: str) -> None:
        """Something that people want to know."""
        await self._send(self._made(INFORMATION, text, datetime.now(UTC)))

    # --- inside

    def _ready(self, described: Described) -> Any:
        message = f"{described.channel} {described.trigger_id}: {described.verdict} {described.reason}".rstrip()
        event = self._made(RESULT_READY, message, described.created)
        # The same result has the same id, however often it is told.
        name = f"{described.channel}/{described.trigger_id}/{described.created.isoformat()}"
        event.EventId = hashlib.sha256(name.encode()).digest()[:16]
        made = opcua_types.result(described)
        for field in ("ResultId", *opcua_types.RESULT_FIELDS):
            _set(event, field, opcua_types.variant_of(getattr(made, field)))
        return event

    def _made(self, kind: int, message: str, time: datetime) -> Any:
        event = copy.copy(self._templates[kind])
        event.data_types = dict(event.data_types)
        now = datetime.now(UTC)
        event.EventId = hashlib.sha256(f"{kind}/{message}/{now.isoformat()}".encode()).digest()[:16]
        event.SourceNode, event.SourceName = self._sources[0], ROOT
        event.Time, event.ReceiveTime = time, now
        event.Message, event.Severity = ua.LocalizedText(message, "en"), SEVERITY
        return event

    def _from_each_source(self, event: Any) -> Iterable[Any]:
        for source in self._sources:
            event.emitting_node = source
            yield event

    async def _send(self, event: Any) -> None:
        for one in self._from_each_source(event):
            await self._service.trigger_event(one)


def _set(event: Any, field: str, value: ua.Variant) -> None:
    """A field with its type: asyncua does not find it for every one, and sends no value without."""
    event.add_property(field, value.Value, value.VariantType)
