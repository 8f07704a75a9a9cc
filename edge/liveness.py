"""Whether a camera that says it streams does so: what stalled and frozen mean, for every source. Time is an argument.

    stalled   free-running: no frame for max(3 periods, 1 s) although it has a slot to fill
              software:     no picture within max(3 exposures, 1 s) of a trigger
              line:         never by silence; nobody knows of a pulse that gave no picture
    frozen    the same picture to the last bit, the same frame id or the same device time, again and again:
              free-running for max(3 periods, 1 s), else three times in a row

A sensor's noise makes two equal pictures impossible, but where every pixel is clipped: black behind a lens cap, white
under too much light. Such a picture is marked as a repetition like any other, so that it is never judged, but opening
the camera anew would not help, so it does not count as frozen.
"""

from dataclasses import dataclass

from edge.camera_config import CameraConfig, RealCamera
from edge.cameras.camera import CameraFrozen, CameraInfo, CameraStalled, CapturedFrame

# A hiccup of a busy network or machine is shorter; three periods leave room for two frames that were lost.
SHORTEST_NS, PERIODS = 1_000_000_000, 3
# From the start of the stream to its first frame: USB cameras take up to 2 s to set their sensor going.
FIRST_FRAME_NS = 3_000_000_000
# Where pictures are asked for one by one, so many that are the same are no chance.
SAME_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is expected of one camera. `patience_ns`: how long it may be silent, or say the same."""

    is_free_running: bool
    patience_ns: int
    detects_frozen: bool


def patience_ns(expected_s: float) -> int:
    """How long to wait for a picture that takes so many seconds."""
    return max(SHORTEST_NS, round(PERIODS * expected_s * 1e9))


def rules_for(config: CameraConfig, info: CameraInfo) -> Rules | None:
    """The rules of an opened camera; None for those without a sensor, which may be silent and may repeat."""
    if not isinstance(config, RealCamera):
        return None
    is_free_running = config.trigger.mode == "free"
    # A free-running camera that does not tell its period has at least its exposure.
    expected_s = max(info.period_s or 0.0, info.exposure_s or 0.0)
    return Rules(
        is_free_running=is_free_running,
        patience_ns=patience_ns(expected_s),
        detects_frozen=config.detect_frozen,
    )


class Standstill:
    """For how long, and how often in a row, something was the same."""

    def __init__(self) -> None:
        self._since_ns, self._newest_ns, self._times = 0, 0, 0

    def see(self, *, is_same: bool, at_ns: int) -> None:
        """It came again, or something else did."""
        if not is_same or self._times == 0:
            self._since_ns, self._times = at_ns, 0
        self._newest_ns, self._times = at_ns, self._times + 1

    def is_over(self, rules: Rules) -> bool:
        """True once it was the same for too long."""
        if self._times < SAME_IN_A_ROW:
            return False
        return not rules.is_free_running or self._newest_ns - self._since_ns >= rules.patience_ns


class Liveness:
    """One stream of one camera. `asked` may be called from another thread than the rest."""

    def __init__(self, name: str, rules: Rules, began_ns: int) -> None:
        self._name, self._rules = name, rules
        # Free-running: silence is counted from here.
        self._heard_ns = began_ns
        self._first_ns = max(FIRST_FRAME_NS, rules.patience_ns)
        # Software triggers: when the picture that has not come was asked for, and how long it may take.
        self._asked_ns: int | None = None
        self._answer_ns = rules.patience_ns
        self._newest: CapturedFrame | None = None
        self._signs = {"picture": Standstill(), "frame id": Standstill(), "device time": Standstill()}

    def asked(self, now_ns: int) -> None:
        """A picture was asked for. At most one is outstanding."""
        self._asked_ns = now_ns

    def exposes(self, exposure_s: float) -> None:
        """Pictures asked for from now on are exposed for this long."""
        self._answer_ns = patience_ns(exposure_s)

    def arrived(self, frame: CapturedFrame, *, is_clipped: bool = False) -> None:
        """A frame came. `frame.repeats` is what `repeats` was found to be; `is_clipped`: its bytes are all alike."""
        self._heard_ns, self._first_ns = frame.host_timestamp_ns, self._rules.patience_ns
        if self._asked_ns is not None and frame.host_timestamp_ns >= self._asked_ns:
            self._asked_ns = None
        before, self._newest = self._newest, frame
        same: dict[str, bool] = {
            "frame id": before is not None and frame.frame_id == before.frame_id,
            "device time": before is not None
            and frame.device_timestamp_ns is not None
            and frame.device_timestamp_ns == before.device_timestamp_ns,
        }
        if frame.complete:  # one with missing data was not compared
            same["picture"] = frame.repeats and not is_clipped
        for sign, is_same in same.items():
            self._signs[sign].see(is_same=is_same, at_ns=frame.host_timestamp_ns)

    def check_moving(self) -> None:
        """Raises CameraFrozen once what came was the same for too long."""
        if not self._rules.detects_frozen:
            return
        for sign, standstill in self._signs.items():
            if standstill.is_over(self._rules):
                raise CameraFrozen(f"camera {self._name}: it sends the same {sign} again and again")

    def check_silence(self, now_ns: int, *, is_starved: bool) -> None:
        """Nothing has come until now. Raises CameraStalled after too long; a camera without a free slot cannot send."""
        if is_starved:
            self._heard_ns = now_ns
        asked_ns = self._asked_ns
        if self._rules.is_free_running and now_ns - self._heard_ns > self._first_ns:
            raise CameraStalled(f"camera {self._name}: it sent no frame for {self._first_ns / 1e9:.1f} s")
        if asked_ns is not None and now_ns - asked_ns > self._answer_ns:
            raise CameraStalled(f"camera {self._name}: no picture within {self._answer_ns / 1e9:.1f} s of its trigger")
