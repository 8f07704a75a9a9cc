"""A station of which only a lane is real: the test is the supervisor, and publish."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from edge import events, topology
from edge.channel import Channel, pair
from edge.child import Child
from edge.config import Station
from edge.decided_log import DecidedLog, decided_path
from edge.events import Event, Result
from edge.messages import Answered, Asked, Link, News, Standing, Stop
from edge.records import Outcome, Reason
from edge.rehearsal import free_ports
from tests.lanes.plc import PATIENCE_S, until

DEADLINE_S = 1.0
CAMERA = {"source": "simulated", "trigger": {"mode": "software", "deadline_ms": DEADLINE_S * 1000}}
BEAT_S = 0.02


class LaneLine:
    """The lane's process, and a publish that does as the test says."""

    def __init__(self, tmp_path: Path, cameras: tuple[str, ...] = ("left",), **modbus: Any) -> None:
        (self.port,) = free_ports(1)
        self.station = Station.model_validate(
            {
                "state_dir": tmp_path / "state",
                "runtime_dir": tmp_path / "run",
                "cameras": dict.fromkeys(cameras, CAMERA),
                "lanes": {"modbus": {"listen": f"127.0.0.1:{self.port}", **modbus}},
            }
        )
        self.log = DecidedLog.create_or_resume(decided_path(tmp_path / "run"), "station")
        (process,) = (one for one in topology.processes(self.station) if one.name == "lane@modbus")
        self.child = Child(process, self.station, 1)
        self.link: Channel | None = None
        self.state = "ContinuousExecution"
        self.orders: list[dict[str, Any]] = []
        self._beats = threading.Event()
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beats.set()
        self._beating.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            if self._beats.is_set():
                self.log.beat(time.monotonic_ns())

    # --- the supervisor

    def start(self) -> None:
        self.child.start(time.monotonic())
        self.relink()

    def relink(self) -> None:
        """A fresh publish."""
        self.unlink()
        ours, theirs = pair()
        self.child.tell(Link(peer="publish"), theirs.fileno())
        theirs.close()
        self.link = Channel(ours)
        self.stand(self.state)

    def unlink(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None

    def kill(self) -> None:
        """And what the supervisor does then."""
        self.child.kill(signal.SIGKILL)
        self.child.reap(time.monotonic())
        self.start()

    def stop(self) -> int:
        assert self.child.popen is not None
        self.child.tell(Stop())
        return self.child.popen.wait(PATIENCE_S)

    def close(self) -> None:
        self._ended.set()
        self._beating.join()
        if self.child.popen is not None:
            self.child.kill(signal.SIGKILL)
            self.child.reap(time.monotonic())
        self.unlink()
        self.log.close()

    def metric(self, name: str) -> float:
        """Of the lane's own page."""
        return sum(values[0] for series, values in self.child.page.read() if series.metric.name == name)

    # --- publish

    def hang(self) -> None:
        """Publish's loop comes round no more."""
        self._beats.clear()

    def go_on(self) -> None:
        self._beats.set()

    def stand(self, state: str, *, is_linked: bool = True) -> None:
        assert self.link is not None
        self.state = state
        cameras = {name: {"mode": "software", "is_linked": is_linked} for name in self.station.cameras}
        job = {"product": "lid", "recipe_sha256": "r", "reference_set": "s", "configuration": 1}
        body = {"state": state, "cameras": cameras, "groups": {}, "job": job, "alarms": []}
        self.link.send(Standing(state=json.dumps(body).encode()))

    def asked(self) -> tuple[int, dict[str, Any]]:
        """The next order of the lane."""
        found: list[Asked] = []

        def hear() -> bool:
            assert self.link is not None
            message = self.link.receive()
            assert message is None or isinstance(message, Asked)
            found.extend([message] if message else [])
            return bool(found)

        until(hear, "an order of the lane")
        return found[0].token, json.loads(found[0].order)

    def accept(self, trigger_id: int) -> dict[str, Any]:
        token, order = self.asked()
        self.answer(token, accepted=True, trigger_id=trigger_id)
        return order

    def answer(self, token: int, **answer: Any) -> None:
        assert self.link is not None
        self.link.send(Answered(token=token, answer=json.dumps(answer).encode()))

    def decide(self, trigger_id: int, camera: str = "left", verdict: str = "PASS", **fields: Any) -> None:
        record = self.log.append(events.encode(event_of(trigger_id, camera, verdict, **fields)))
        self.log.mark_committed(record)
        if self.link is not None:
            self.link.send(News())


def event_of(trigger_id: int, camera: str, verdict: str, *, age_s: float = 0.005, **fields: Any) -> Event:
    """A result that was triggered that long ago."""
    now = events.utc(time.time_ns())
    known: dict[str, Any] = {
        "station": "station",
        "camera": camera,
        "trigger_id": trigger_id,
        "verdict": Outcome(verdict),
        "reason": Reason.CAMERA_DOWN if verdict == "ERROR" else None,
        "trigger_source": "plc",
        "trigger_lane": "modbus",
        "triggered": now - timedelta(seconds=age_s),
        "decided": now,
        "deadline_ms": 1000.0,
        "score": 0.25,
        "recipe_sha256": "r",
        "reference_set": "s",
        "configuration": 1,
    }
    return Event(source="urn:test", time=now, subject="test", data=Result(**(known | fields)))


# Starts one with a lane for these cameras, and what else [lanes.modbus] is to say.
Make = Callable[..., LaneLine]


@contextmanager
def lane_lines(tmp_path: Path) -> Iterator[Make]:
    made: list[LaneLine] = []

    def make(*cameras: str, **modbus: Any) -> LaneLine:
        made.append(LaneLine(tmp_path, cameras or ("left",), **modbus))
        made[-1].start()
        return made[-1]

    yield make
    for line in made:
        line.close()
