"""The whole station as a user runs it: real processes, real rings, a real subscriber; and what faults do to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from edge import client, rehearsal
from tests.stations import (
    CAMERA,
    TRIGGERED,
    Manager,
    assert_balanced,
    assert_each_answered_once,
    leftovers,
    record,
    running,
    station,
)

pytestmark = pytest.mark.timeout(300)


def test_frames_become_events_and_a_stop_is_clean(taught: Path, tmp_path: Path) -> None:
    before = leftovers()
    config = station(taught, tmp_path, {"left": CAMERA, "right": CAMERA | {"seed": 3}})
    with running(config) as (daemon, listener):
        listener.wait_for(60)
        assert_balanced(daemon)
        assert daemon.get("/healthz")[0] == 200
        assert daemon.stop() == 0
    verdicts = Counter(str(event.data.verdict) for event in listener.events)
    assert {event.data.camera for event in listener.events} == {"left", "right"}
    errors = [event.data.detail for event in listener.events if event.data.verdict == "ERROR"]
    assert verdicts["PASS"] > 10 and verdicts["FAIL"] > 0 and not errors, errors
    assert all(event.data.reference_set and event.data.model_sha256 for event in listener.events)
    assert_each_answered_once(config, listener)
    assert "triggers" in daemon.log.read_text().splitlines()[-1]
    assert not leftovers() - before


def test_a_killed_worker_loses_no_answer(taught: Path, tmp_path: Path) -> None:
    config = station(taught, tmp_path, {"left": CAMERA, "right": CAMERA})
    with running(config) as (daemon, listener):
        listener.wait_for(20)
        for victim in ("inspection", "publish", "capture@left"):
            for _ in range(3):
                os.kill(daemon.workers()[victim], signal.SIGKILL)
                listener.wait_for(30)
            assert daemon.total("goldline_worker_restarts_total", worker=victim, cause="signal") == 3
            assert_balanced(daemon)
            lent = daemon.total("goldline_ring_slots", state="lent")
            free = daemon.total("goldline_ring_slots", state="free")
            assert lent + free >= 14 and lent <= 4, "a slot leaked"
        descriptors = daemon.total("goldline_worker_open_fds", worker="inspection")
        assert descriptors < 60
    assert_each_answered_once(config, listener)
    errors = Counter(str(event.data.reason) for event in record(config) if event.data.verdict == "ERROR")
    assert set(errors) <= {"worker_crash", "deadline"}, errors


def test_a_worker_that_hangs_is_replaced(taught: Path, tmp_path: Path) -> None:
    config = station(taught, tmp_path, {"left": CAMERA})
    with running(config) as (daemon, listener):
        listener.wait_for(10)
        hanging = daemon.workers()["inspection"]
        os.kill(hanging, signal.SIGSTOP)
        until = time.monotonic() + 60
        while daemon.workers().get("inspection", hanging) == hanging:
            assert time.monotonic() < until
            time.sleep(0.1)
        listener.wait_for(20)
        assert daemon.total("goldline_worker_restarts_total", worker="inspection", cause="stall") == 1
        assert_balanced(daemon)
    assert_each_answered_once(config, listener)


def test_a_killed_supervisor_takes_its_workers_along_and_its_successor_goes_on(taught: Path, tmp_path: Path) -> None:
    config = station(taught, tmp_path, {"left": CAMERA})
    before = leftovers()
    with running(config) as (daemon, listener):
        listener.wait_for(10)
        workers = daemon.workers()
        daemon.process.kill()
        daemon.process.wait()
        until = time.monotonic() + 20
        while any(Path(f"/proc/{pid}/exe").exists() for pid in workers.values()):
            assert time.monotonic() < until, "a worker outlived its supervisor"
            time.sleep(0.02)
        assert not leftovers() - before
        with rehearsal.running(config) as successor:
            listener.wait_for(20)
            assert_balanced(successor)
    assert_each_answered_once(config, listener)
    ids = [event.data.trigger_id for event in record(config) if event.data.trigger_id is not None]
    assert sorted(ids) == list(range(min(ids), max(ids) + 1)), "every trigger has its answer"


def test_systemd_is_told_of_readiness_and_fed_only_while_every_worker_is_well(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = station(taught, tmp_path, {"left": CAMERA})
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with closing(Manager(str(tmp_path / "notify"))) as manager, running(config) as (daemon, _listener):
        # A turn feeds the watchdog first and says that it is ready after: by the second, it has.
        manager.wait_for(b"WATCHDOG=1")
        manager.wait_for(b"WATCHDOG=1")
        assert manager.said.count(b"READY=1") == 1
        os.kill(daemon.workers()["publish"], signal.SIGSTOP)
        until = time.monotonic() + 60
        while daemon.get("/healthz")[0] == 200:
            assert time.monotonic() < until
        hungry = manager.said.count(b"WATCHDOG=1")
        time.sleep(0.6)
        assert manager.said.count(b"WATCHDOG=1") <= hungry + 1, "fed although a worker hangs"
        # It is killed after its patience of 3 s and one for its stacks; then all is well again.
        manager.wait_for(b"WATCHDOG=1")
        assert daemon.total("goldline_worker_restarts_total", worker="publish", cause="stall") == 1
        assert daemon.stop() == 0
        assert b"STOPPING=1" in manager.said


def test_every_software_trigger_is_answered(taught: Path, tmp_path: Path) -> None:
    config = station(taught, tmp_path, {"left": TRIGGERED})
    command = rehearsal.settings(config)["events"]["command"]
    with running(config) as (daemon, listener):
        accepted: list[int] = []
        for number in range(40):
            answer = client.ask(command, {"verb": "trigger", "camera": "left", "unit_identifier": f"part-{number}"})
            assert answer["accepted"], answer
            accepted.append(answer["trigger_id"])
            if number == 20:
                os.kill(daemon.workers()["inspection"], signal.SIGKILL)
            time.sleep(0.02)
        until = time.monotonic() + 60
        while len(listener.events) < len(accepted):
            assert time.monotonic() < until, f"{len(listener.events)} of {len(accepted)}"
            time.sleep(0.05)
        assert_balanced(daemon)
    assert sorted(listener.ids()) == accepted
    assert_each_answered_once(config, listener)
    units = {event.data.trigger_id: event.data.unit_identifier for event in listener.events}
    assert [units[trigger_id] for trigger_id in accepted] == [f"part-{number}" for number in range(40)]
    assert not client_refuses_unknown_camera(command, tmp_path)


def client_refuses_unknown_camera(command: str, _directory: Path) -> bool:
    """After the stop nobody answers, in bounded time, with one line."""
    with pytest.raises(client.GoldlineError, match="is the station running"):
        client.ask(command, {"verb": "trigger", "camera": "left"}, timeout_s=0.3)
    return False


def run_to_its_end(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "run", "--config", str(config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_of_limited_time_prints_its_summary(taught: Path, tmp_path: Path) -> None:
    done = run_to_its_end(station(taught, tmp_path, {"left": CAMERA}), "--for", "2", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["triggers"] == sum(summary["verdicts"].values()) + summary["in_flight"] > 20
    assert summary["in_flight"] == 0 and summary["capture_to_event_ms"]["p50"] > 0


def test_what_cannot_start_says_why_on_one_line(taught: Path, tmp_path: Path) -> None:
    untaught = rehearsal.write_config(tmp_path / "untaught", {"left": CAMERA})
    (tmp_path / "untaught" / "pipelines").symlink_to(taught / "pipelines")
    corrupt = station(taught, tmp_path / "corrupt", {"left": CAMERA})
    (tmp_path / "corrupt" / "state" / "references").unlink()
    spoil(taught / "state" / "references", tmp_path / "corrupt" / "state" / "references")
    busy = station(taught, tmp_path / "busy", {"left": CAMERA})
    second = station(taught, tmp_path / "second", {"left": CAMERA})
    second.write_text(second.read_text().replace(live(second), live(busy)))
    with rehearsal.running(busy):
        cases = {
            untaught: "goldline teach trunk --good",
            corrupt: "part.onnx",
            busy: "another goldline run",
            second: f"events.live: cannot listen on {live(busy)}",
        }
        for config, expected in cases.items():
            done = run_to_its_end(config)
            last = done.stderr.strip().splitlines()[-1]
            assert done.returncode == 2 and last.startswith("goldline: ") and expected in last, done.stderr


def live(config: Path) -> str:
    address: str = rehearsal.settings(config)["events"]["live"]
    return address


def spoil(source: Path, target: Path) -> None:
    """A copy of the references with one byte of the graph changed."""
    import shutil

    shutil.copytree(source, target, symlinks=True)
    graph = next(path for path in target.rglob("*.onnx") if not path.is_symlink())
    graph.chmod(0o600)
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
