"""What /readyz says of cameras: each by name, and a station is ready without them."""

from pathlib import Path

import pytest

from edge import topology, vitals
from edge.camera_state import CameraState
from edge.child import Child
from edge.config import Station
from edge.metrics import State


@pytest.fixture
def children(tmp_path: Path) -> dict[str, Child]:
    cameras = {"left": {"source": "simulated"}, "right": {"source": "simulated"}}
    station = Station.model_validate({"state_dir": tmp_path, "cameras": cameras})
    return {process.name: Child(process, station, 1) for process in topology.processes(station)}


def show(child: Child, camera: str, current: CameraState) -> None:
    for state in CameraState:
        gauge = child.page.gauge("goldline_camera_state", camera=camera, state=state)
        gauge.set(float(state is current))


def test_each_camera_is_named_with_its_state(children: dict[str, Child]) -> None:
    show(children["capture@left"], "left", CameraState.STREAMING)
    show(children["capture@right"], "right", CameraState.BACKOFF)
    assert vitals.camera_states(children) == {"left": "streaming", "right": "backoff"}
    children["capture@left"].page.lapse()
    assert vitals.camera_states(children) == {"left": "down", "right": "backoff"}


def test_cameras_do_not_decide_whether_the_workers_are_ready(children: dict[str, Child]) -> None:
    answer = vitals.ready(children)
    assert not answer.is_ok
    assert answer.detail == {
        "workers": dict.fromkeys(children, "down"),
        "cameras": {"left": "down", "right": "down"},
    }
    for child in children.values():
        child.page.beat(State.IDLE, 1)
    # None of them is a process: warm pages alone are not enough.
    assert not vitals.ready(children).is_ok
