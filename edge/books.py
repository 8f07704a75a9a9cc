"""The ledger with its logs: what publish promises and decides, written down before anybody else sees it.

Opening: capture (or `accept`, for a command) writes the opened log; the ledger reads it there, never from a message.
Closing:
1. the ledger decides;
2. the event goes into the decided log: from here on it is decided, whoever is killed;
3. the opened record is finished with;
4. the event is queued for the outbox, and its decided record is finished with when it is on disk.

After a kill, a new publish reads both logs and the outbox and goes on: what is decided and not on disk is queued
again, what is opened and not decided is open again.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import structlog

from edge import events
from edge.committer import Decided, Reserved, Work
from edge.config import Station
from edge.events import Event, Flag, Source
from edge.ledger import Decision, Late, Ledger, Origin, UnknownTrigger
from edge.messages import Judged, Unjudged
from edge.orders import OrderError
from edge.outbox import Draft, Outbox
from edge.records import Trigger, TriggerSource, Verdict, error
from edge.tally import Tally
from edge.trigger_log import DecidedLog, OpenedLog, commands_path, opened_path

# Longer than any event: with less than this free, deciding waits for the outbox.
LARGEST_EVENT_BYTES = 256 << 10
COMMANDS = "-commands"


class Books:
    """Owns the ledger and this process's side of the trigger logs."""

    def __init__(self, station: Station, runtime: Path, decided: DecidedLog, tally: Tally) -> None:
        """The commands log is made or resumed here; nothing is read before `recover`."""
        self._runtime, self._decided, self._tally = runtime, decided, tally
        self.source = Source(site=station.events.site, line=station.events.line, station=station.station_id)
        self._simulated = {name for name, camera in station.cameras.items() if camera.source == "simulated"}
        self._deadline_ns = {name: int(c.trigger.deadline_ms * 1e6) for name, c in station.cameras.items()}
        self._log = structlog.get_logger()
        self.commands = OpenedLog.create_or_resume(commands_path(runtime), COMMANDS)
        self._opened: dict[str, OpenedLog] = {}
        self.ledger = Ledger()
        self._submit: Callable[[Work], None] = lambda _: None

    # --- after a death

    def recover(self, outbox: Outbox) -> list[Work]:
        """Read what earlier processes left. The result is to be committed: decided, and not on disk."""
        pending, closed = self._undone(outbox)
        counts = outbox.counts()
        for work in pending:
            result = work.draft.event.data
            key = (result.camera, result.verdict, result.reason)
            counts[key] = counts.get(key, 0) + 1
        self.ledger = Ledger(counts)
        for trigger_id in closed:
            self.ledger.remember_closed(trigger_id)
        for camera in self._cameras_on_disk():
            self.attach(camera)
        for log in (self.commands, *self._opened.values()):
            self._resume(log, outbox)
        self._tally.restore(self.ledger)
        return list(pending)

    def _undone(self, outbox: Outbox) -> tuple[list[Decided], list[int]]:
        pending: list[Decided] = []
        closed: list[int] = []
        for record in self._decided.read_all():
            event = events.decode(record.event)
            trigger_id = event.data.trigger_id or 0
            closed.append(trigger_id)
            if outbox.has_event(trigger_id):
                self._decided.mark_committed(record.at)
            elif not record.committed:
                pending.append(self._work(event, record.at, None))
        return pending, closed

    def _cameras_on_disk(self) -> list[str]:
        names = (path.stem.removeprefix("opened-") for path in self._runtime.glob("triggers/opened-*.log"))
        return sorted(names)

    def _resume(self, log: OpenedLog, outbox: Outbox) -> None:
        for entry in log.read_all():
            trigger_id = entry.trigger.trigger_id
            if log.is_closed(trigger_id):
                continue
            if self.ledger.knows(trigger_id) and trigger_id not in self.ledger or outbox.has_event(trigger_id):
                log.mark_closed(trigger_id)
            else:
                self.ledger.open(entry.trigger)

    # --- opening

    def attach(self, camera: str) -> None:
        """Map the camera's opened log anew: a new capture process may have begun another file."""
        log = OpenedLog.attach(opened_path(self._runtime, camera))
        if log is None:
            return
        if previous := self._opened.pop(camera, None):
            previous.close()
        self._opened[camera] = log
