"""From a decision to its record: the event goes into the decided log, as soon as there is room, in the order of deciding."""

from collections import deque
from collections.abc import Iterator

from edge import announce, events
from edge.camera_config import CameraConfig, FolderCamera
from edge.committer import Decided
from edge.config import Station
from edge.decided_log import DecidedLog
from edge.events import Event, Source
from edge.header import Flag
from edge.ledger import Decision
from edge.outbox import Draft

# Longer than what one view adds to an event. With less than this free for each view that a part can have, results wait
# for the outbox.
LARGEST_VIEW_BYTES = 256 << 10
# Sources that show pictures, not parts: their events say so.
_NO_REAL_PARTS = ("simulated", "folder")


class Decisions:
    """Writes the decided log."""

    def __init__(self, station: Station, decided: DecidedLog, source: Source) -> None:
        """Nothing is written yet."""
        self._decided, self._source = decided, source
        self.take_over(station)
        most_views = max((len(station.views_of(name)) for name in station.triggered), default=1)
        self._largest_event_bytes = LARGEST_VIEW_BYTES * most_views
        self._waiting: deque[tuple[Decision, Event, bytes]] = deque()

    def take_over(self, station: Station) -> None:
        """Cameras may be of another source from now on."""
        self._simulated = {name for name, camera in station.cameras.items() if _shows_no_real_parts(camera)}

    @property
    def is_blocked(self) -> bool:
        """The outbox is so far behind that no result can be taken in until it has caught up."""
        return bool(self._waiting) or not self._decided.has_room(self._largest_event_bytes)

    def waiting(self, name: str) -> int:
        """Decisions about this camera or group that are not written yet."""
        return sum(decision.trigger.camera == name for decision, _, _ in self._waiting)

    def add(self, decision: Decision) -> None:
        """It is to be written down."""
        is_simulated = not self._simulated.isdisjoint(decision.trigger.cameras)
        event = announce.result_event(self._source, decision, is_simulated=is_simulated)
        self._waiting.append((decision, event, events.encode(event)))

    def written(self) -> Iterator[tuple[Decision, Decided]]:
        """Write what there is room for, and give it on for the outbox.

        What finds no room is seen by nobody yet; a new publish in between finds its trigger open, past its deadline.
        """
        while self._waiting and self._decided.has_room(len(self._waiting[0][2])):
            decision, event, encoded = self._waiting.popleft()
            # The part is complete with its last frame.
            captured_ns = max((origin.frame.host_timestamp_ns for origin in decision.origins), default=None)
            yield decision, self.work(event, self._decided.append(encoded), captured_ns)

    def work(self, event: Event, record: int, captured_ns: int | None = None) -> Decided:
        """What the outbox is to commit."""
        flags = Flag.DURABLE | (Flag.SIMULATED if event.data.is_simulated else Flag(0))
        draft = Draft(
            topic=self._source.topic(event.data.camera, "result"),
            flags=flags,
            verdict_utc_ns=events.utc_ns(event.time),
            event=event,
        )
        return Decided(draft=draft, record=record, captured_ns=captured_ns)


def _shows_no_real_parts(camera: CameraConfig) -> bool:
    """True of a rendered camera and of a folder that is played; what another program puts into a watched one is real."""
    return camera.source in _NO_REAL_PARTS and not (isinstance(camera, FolderCamera) and camera.play == "watch")
