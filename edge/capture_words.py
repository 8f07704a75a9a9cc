"""What captures are told of the job: whether they open triggers by themselves, and the units announced to them, in order."""

from collections.abc import Callable, Iterable

from edge.links import CAPTURE
from edge.messages import Announce, AnyMessage, Run
from edge.records import Reason


class CaptureWords:
    """To each camera's process what it does not know yet. `send` says why something could not be handed over."""

    def __init__(self, send: Callable[[str, AnyMessage], Reason | None]) -> None:
        """Nobody knows anything."""
        self._send = send
        self._told: dict[str, Run] = {}
        # What is still to be said to the cameras that open triggers, oldest first.
        self._unsaid: dict[str, list[Announce]] = {}

    def link(self, camera: str, announced: Iterable[Announce]) -> None:
        """A new incarnation: it knows nothing, and is to hear of these."""
        self._told.pop(camera, None)
        self._unsaid[camera] = list(announced)

    def announce(self, camera: str, announced: Announce) -> None:
        """One more."""
        self._unsaid.setdefault(camera, []).append(announced)

    def tell(self, camera: str, run: Run) -> None:
        """What does not fit into its socket is said on a later turn."""
        unsaid = self._unsaid.get(camera, [])
        while unsaid and self._send(f"{CAPTURE}{camera}", unsaid[0]) is None:
            unsaid.pop(0)
        # A unit goes before the word that lets its trigger in: else the next part would bear it.
        is_told = unsaid or self._told.get(camera) == run
        if not is_told and self._send(f"{CAPTURE}{camera}", run) is None:
            self._told[camera] = run
