"""The newest results of an OPC UA server, to be asked for and to be repeated. Pure: time is an argument.

An event of OPC UA goes to whoever is subscribed at that moment, and is gone. So that a PLC misses nothing when this
process dies:
1. the place in the decided log is kept only when what lies before it has been sent `SENT_FOR_NS` ago: by then a
   client that reads has it;
2. the next process goes on from there, so the last of what was sent is sent again, under the same ids;
3. for `REPEAT_NS` after its start, each new subscription is given everything from that place on: a client takes
   a moment to come back, and several do not come back at once.
What is older is asked for: GetResultById, GetResultListFiltered.
"""

from collections import deque
from collections.abc import Iterator

from edge.events import Event
from edge.lanes.station_link import Decision, Place

# A publishing interval of PLCs is up to a second, and a response may be under way for another.
SENT_FOR_NS = 2_000_000_000
# Clients try again every second to every half minute.
REPEAT_NS = 60_000_000_000
# Some minutes of a fast line; 4 MB.
KEPT = 1000


class Memory:
    """Results by trigger id, newest last."""

    def __init__(self, started_ns: int, place: Place | None) -> None:
        """`place`: where the process before this one had come to."""
        self._started_ns = started_ns
        self._results: dict[int, Event] = {}
        self._repeated: dict[int, Event] = {}
        self._sent: deque[tuple[int, Place]] = deque()
        self._place = place

    def recall(self, event: Event) -> None:
        """Of before this process: to be asked for, not to be repeated."""
        self._keep(self._results, event)

    def sent(self, decision: Decision, now_ns: int) -> None:
        """It was handed to every subscription there is."""
        self._keep(self._results, decision.event)
        if now_ns - self._started_ns < REPEAT_NS:
            self._keep(self._repeated, decision.event)
        else:
            self._repeated.clear()
        self._sent.append((now_ns, decision.behind))

    def repeats(self, now_ns: int) -> tuple[Event, ...]:
        """What a new subscription is given, oldest first."""
        return tuple(self._repeated.values()) if now_ns - self._started_ns < REPEAT_NS else ()

    def begin(self, place: Place | None) -> None:
        """Where this process begins, if it has not taken a place over."""
        if self._place is None:
            self._place = place

    def place(self, now_ns: int) -> Place | None:
        """Where another process would have to go on; None: there is no log yet."""
        while self._sent and now_ns - self._sent[0][0] >= SENT_FOR_NS:
            self._place = self._sent.popleft()[1]
        return self._place

    def find(self, trigger_id: int) -> Event | None:
        """The result of this trigger, if it is kept."""
        return self._results.get(trigger_id)

    def newest_first(self) -> Iterator[Event]:
        """Every result that is kept."""
        return reversed(self._results.values())

    @staticmethod
    def _keep(results: dict[int, Event], event: Event) -> None:
        number = event.data.trigger_id or 0
        results.pop(number, None)
        results[number] = event
        if len(results) > KEPT:
            del results[next(iter(results))]
