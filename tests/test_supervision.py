"""The table of processes, the word to systemd, and what the supervisor shows."""

import socket
from pathlib import Path

import pytest

from edge import topology, vitals
from edge.config import Station, load_station
from edge.sd_notify import Notifier


@pytest.fixture
def station(tmp_path: Path) -> Station:
    config = tmp_path / "config.toml"
    config.write_text('[cameras.left]\nsource = "simulated"\n[cameras.right]\nsource = "simulated"\n')
    return load_station(config)


def test_the_table_names_every_process_in_the_order_data_flows(station: Station) -> None:
    names = [process.name for process in topology.processes(station)]
    assert names == ["capture@left", "capture@right", "inspection", "publish"]
    assert topology.links(station) == (
        ("capture@left", "inspection"),
        ("capture@left", "publish"),
        ("capture@right", "inspection"),
        ("capture@right", "publish"),
        ("inspection", "publish"),
    )
    senders = [topology.frames_from(link) for link in topology.links(station)]
    assert senders == ["capture@left", "", "capture@right", "", ""]


def test_stopping_fits_the_ten_seconds_a_service_is_given() -> None:
    assert sum(role.stop_s for role in topology.ROLES) < 10


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
