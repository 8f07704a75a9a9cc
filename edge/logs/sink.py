"""Where lines go: rendered for a person, as JSON, or for the journal. What cannot be taken at once is counted and let go."""

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from structlog.typing import EventDict

from edge.logs import journal
from edge.logs.codes import CODES
from edge.logs.journal import Journal
from edge.logs.stream import Stream

LOST = "log lines were lost"
# journalctl shows no message that has one of these, and a terminal obeys it: a stranger's name may have it.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Takes one line; False: it could not be taken.
Write = Callable[[EventDict], bool]


class Sink:
    """The last step: writes a line, and before the next one how many were lost meanwhile."""

    def __init__(self, write: Write) -> None:
        self._write = write
        # A garbage collection may come in the middle of a line, and what it ends may have something to say itself.
        self._lock = threading.RLock()
        self._is_writing = False
        self._said_meanwhile: list[EventDict] = []
        self._lost = 0

    def write(self, **event: object) -> None:
        """Never waits for whoever reads the log."""
        with self._lock:
            self._said_meanwhile.append(event)
            if self._is_writing:
                return
            self._is_writing = True
            try:
                while self._said_meanwhile:
                    self._write_or_count(self._said_meanwhile.pop(0))
            finally:
                self._is_writing = False

    def _write_or_count(self, event: EventDict) -> None:
        if self._lost and self._write(lost(self._lost, event)):
            self._lost = 0
        # What is told as lost comes before what is newer.
        if self._lost or not self._write(event):
            self._lost += 1

    debug = info = warning = error = critical = exception = write


def lost(count: int, following: EventDict) -> EventDict:
    """The line that says how many could not be written before this one."""
    return {
        "event": LOST,
        "code": CODES[LOST],
        "lines": count,
        "worker": following.get("worker", ""),
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }


def to_stream(stream: Stream, *, as_json: bool, colors: bool, with_priority: bool = False) -> Write:
    """Lines on a stream. `with_priority`: each begins with `<4>` or the like, as systemd reads it (sd-daemon(3))."""
    render = (
        _json
        if as_json
        else structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    )

    def write(event: EventDict) -> bool:
        prefix = f"<{journal.PRIORITIES.get(event['level'], 6)}>" if with_priority else ""
        return stream.write(prefix + str(render(None, "", dict(event) if as_json else _all_visible(event))))

    return write


def to_journal(to: Journal, otherwise: Write) -> Write:
    """Lines as fields; `otherwise`, where the journal takes nothing and the stream may."""

    def write(event: EventDict) -> bool:
        datagram = journal.encode(journal.fields(event, message(event)))
        return to.send(datagram) or (not to.is_there() and otherwise(event))

    return write


def _all_visible(event: EventDict) -> EventDict:
    return {
        key: visible(value) if isinstance(value, str) and key != "exception" else value for key, value in event.items()
    }


def message(event: EventDict) -> str:
    """A line as the journal shows it: who says what, its code, what it is about; a traceback below."""
    about = [
        f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for key, value in event.items()
        if key not in ("event", "level", "timestamp", "worker", "code", "exception")
    ]
    code = f" [{event['code']}]" if "code" in event else ""
    first = f"{event.get('worker', '')}: {event['event']}{code}" + (f": {', '.join(about)}" if about else "")
    first = visible(first)
    return f"{first}\n{event['exception']}" if event.get("exception") else first


def visible(text: str) -> str:
    """With its control characters written out."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _json(_logger: object, _method: str, event: EventDict) -> str:
    return json.dumps(event, default=str, ensure_ascii=False)
