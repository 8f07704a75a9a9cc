"""How a capture process leaves: at once where the station stops; where another incarnation follows, after its last pictures."""

from edge.exposures import Exposures
from edge.messages import Stop
from edge.records import Reason

# Pictures that were asked for are waited for this long; the supervisor allows 2 s, of which the camera may take 1.5 s
# to be let go.
LAST_PICTURES_S = 0.4
RESTARTED = "the camera's process is started anew with another configuration"


class Leaving:
    """Once told to. Time is an argument."""

    def __init__(self) -> None:
        """Not told yet."""
        self._by_s: float | None = None
        # Why what gets no picture any more gets none.
        self.reason = Reason.SHUTDOWN

    def begin(self, stop: Stop, exposures: Exposures, now_s: float) -> None:
        """Told to."""
        self._by_s = now_s
        if stop.is_restart:
            self._by_s, self.reason = now_s + LAST_PICTURES_S, Reason.CAMERA_DOWN
            exposures.close(RESTARTED)

    def is_due(self, exposures: Exposures, now_s: float) -> bool:
        """The last picture was taken, or is not waited for any longer."""
        return self._by_s is not None and (now_s >= self._by_s or not exposures.are_waiting)
