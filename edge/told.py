"""Says in the log of each event that is on disk: at level debug of every one, else of each part that has no verdict.

By the outbox thread, once the event has its number; nothing that a part waits for comes after.
"""

from collections.abc import Iterable

import structlog

from edge import events, log
from edge.events import Event, Result
from edge.ledger import View
from edge.records import Outcome, Reason, camera_of
from edge.stored import Stored

# Found in a body without taking it apart: within a text of JSON its quotes would be escaped.
_ERROR = b'"verdict":"ERROR"'


def tell(written: Iterable[Stored]) -> None:
    """One line for each that is to be told."""
    shows_all = log.shows("debug")
    for event in written:
        if shows_all or _ERROR in event.body:
            _tell(events.decode(event.body))


def about(name: str, trigger_id: int, view: View) -> dict[str, object]:
    """What names a result that inspection gave on this view, or that capture gave up."""
    frame = {} if view.origin is None else {"frame_id": view.origin.frame.frame_id}
    return {"camera": camera_of(name), "view": name, "trigger_id": trigger_id, **frame}


def _tell(event: Event) -> None:
    result, logger = event.data, structlog.get_logger()
    if result.verdict is not Outcome.ERROR:
        logger.debug("verdict", **_ids(event), verdict=result.verdict, on_time=result.on_time)
        return
    # At the end of a station there are always some; nobody has to act.
    say = logger.info if result.reason is Reason.SHUTDOWN else logger.warning
    say("a part has no verdict", **_ids(event), reason=result.reason, detail=result.detail)


def _ids(event: Event) -> dict[str, object]:
    """What names the event, its trigger and its frames; a frame of each view where there are several."""
    result = event.data
    known = {
        "camera": result.camera,
        "trigger_id": result.trigger_id,
        "frame_id": _frames(result),
        "event_id": event.id,
    }
    return {name: value for name, value in known.items() if value is not None}


def _frames(result: Result) -> int | dict[str, int] | None:
    frames = {name: view.frame_id for name, view in result.views.items() if view.frame_id is not None}
    return result.frame_id if not result.views else frames or None
