"""The table of processes, the word to systemd, and what the supervisor shows."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import supervisor as supervision
from edge import topology, vitals
from edge.channel import Channel
from edge.config import Station, load_station
from edge.errors import GoldlineError
from edge.messages import Grant, Link
from edge.metrics import State
from edge.sd_notify import Notifier
from edge.supervisor import Supervisor


@pytest.fixture
def station(tmp_path: Path) -> Station:
    config = tmp_path / "config.toml"
    config.write_text('[cameras.left]\nsource = "simulated"\n[cameras.right]\nsource = "simulated"\n')
    return load_station(config)


def test_the_table_names_every_process_in_the_order_data_flows(station: Station) -> None:
    names = [process.name for process in topology.processes(station)]
    assert names == ["capture@left", "capture@right", "inspection", "publish", "sync", "archive"]
    assert topology.links(station) == (
        ("capture@left", "inspection"),
        ("capture@left", "publish"),
        ("capture@right", "inspection"),
        ("capture@right", "publish"),
        ("inspection", "publish"),
        ("inspection", "archive"),
        ("publish", "sync"),
    )
    senders = [topology.frames_from(link) for link in topology.links(station)]
    assert senders == ["capture@left", "", "capture@right", "", "", "", ""]


def test_stopping_fits_the_ten_seconds_a_service_is_given() -> None:
    assert sum(role.stop_s for role in topology.ROLES) < 10


@pytest.mark.parametrize(("worker", "is_fed"), [("archive", True), ("sync", True), ("publish", False)])
def test_the_watchdog_starves_for_critical_workers_alone(station: Station, worker: str, is_fed: bool) -> None:
    supervisor = Supervisor(station)
    child = supervisor.children[worker]
    # One that was warm when this machine was started, and has said nothing since.
    with subprocess.Popen(["sleep", "60"]) as child.popen:
        child.page.beat(State.IDLE, 0)
        assert not child.is_healthy
        assert supervisor.is_healthy is is_fed
        child.kill()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, abstract: bool) -> None:
    address = f"@goldline-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        notifier = Notifier(address)
        notifier.send("READY=1", "STATUS=inspecting trunk")
        assert manager.recv(100) == b"READY=1\nSTATUS=inspecting trunk"
        notifier.close()


def test_nobody_to_tell_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    for address in (None, str(tmp_path / "gone")):
        notifier = Notifier(address)
        notifier.send("WATCHDOG=1")
        notifier.close()


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0, 0, 0], 0.5, None),
        ([10, 0, 0], 0.5, 0.5),
        ([0, 10, 0], 0.5, 1.5),
        ([5, 5, 0], 1.0, 2.0),
        ([0, 0, 3], 0.5, 2.0),  # beyond the last bound nothing more is known
    ],
)
def test_quantiles_are_interpolated_inside_their_bucket(
    counts: list[float], share: float, expected: float | None
) -> None:
    assert vitals.quantile_s(counts, (1.0, 2.0), share) == expected


Workers = tuple[Supervisor, dict[str, Channel]]


@pytest.fixture
def workers(station: Station, channels: Callable[[], tuple[Channel, Channel]]) -> Workers:
    """A supervisor whose workers the test plays."""
    made = Supervisor(station)
    theirs: dict[str, Channel] = {}
    for name, child in made.children.items():
        child.control, theirs[name] = channels()
    return made, theirs


def kinds(channel: Channel) -> list[type]:
    return [type(message) for message in channel.drain()]


def test_a_capture_is_linked_to_inspection_only_after_it_has_its_ring(workers: Workers) -> None:
    """A capture that was just started again has not opened its camera: the ring of the one before is not yet its own."""
    made, theirs = workers
    capture = made.children["capture@left"]
    made._give_ring(capture, 100)
    assert kinds(theirs["capture@left"]) == kinds(theirs["inspection"]) == [Grant, Link]
    capture.has_ring = False
    made._link(("capture@left", "inspection"))
    assert kinds(theirs["capture@left"]) == kinds(theirs["inspection"]) == []
    made._give_ring(capture, 100)
    assert kinds(theirs["capture@left"]) == kinds(theirs["inspection"]) == [Grant, Link]


def test_no_memory_for_a_ring_ends_a_start_but_not_a_station_that_runs(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, theirs = workers
    monkeypatch.setattr(supervision.ring, "available_bytes", lambda: 0)
    with pytest.raises(GoldlineError, match="cannot reserve"):
        made._try_to_give_ring(made.children["capture@left"], 100)
    made.has_been_ready = True
    made._try_to_give_ring(made.children["capture@left"], 100)
    assert kinds(theirs["capture@left"]) == []


def test_a_worker_whose_supervisor_died_before_it_began_leaves_at_once() -> None:
    """Whoever adopts orphans here need not be process 1."""
    command = [sys.executable, "-m", "edge.worker", "publish", json.dumps({"supervisor": 0})]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, b"")
