"""The pieces of a reload: the offer to a worker, the numbers, what is taken over by each part, and the pass that leads it."""

import errno
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge import job_file, station_control
from edge.channel import Channel, pair
from edge.config import Station
from edge.control_desk import ControlDesk
from edge.errors import GoldlineError
from edge.job import Mode
from edge.job_file import Kept
from edge.messages import Abandon, Commit, Offer, Offered, Taken
from edge.metronome import Metronome
from edge.record_log import boot_identity
from edge.reload import AWAY_WITHIN_S, COMMIT_WITHIN_S, OFFER_WITHIN_S, Reloads, Request
from edge.reload_request import Reloader
from edge.running import make_findable, runtime_of
from edge.station_control import Outcome, Status
from edge.takeover import Takeover, station_file
from edge.vitals import Configured

CAMERAS = {"left": {"source": "simulated"}, "right": {"source": "simulated"}}
OLD = Station(product="trunk", cameras=CAMERAS)  # pyright: ignore[reportArgumentType]
LIVE = OLD.model_copy(update={"log": OLD.log.model_copy(update={"level": "debug"})})
ONE_CAMERA = Station(product="trunk", cameras=CAMERAS | {"left": {"source": "simulated", "rate_hz": 9.0}})  # pyright: ignore[reportArgumentType]
# Of a thread, on a busy machine.
PATIENCE_S = 30.0


# --- a worker's side


@contextmanager
def worker(
    make_ready: Callable[[int, Station], Offered | None] | None = None,
) -> Iterator[tuple[Channel, Callable[[], None], list[tuple[int, Station, int]], list[str]]]:
    """The supervisor's end of a control socket, and the worker's loop behind the other."""
    ours, theirs = (Channel(one) for one in pair())
    taken: list[tuple[int, Station, int]] = []
    dropped: list[str] = []

    def take_over(number: int, station: Station, generation: int) -> bool:
        taken.append((number, station, generation))
        return True

    ready = {} if make_ready is None else {"make_ready": make_ready}
    side = Takeover(theirs, take_over, let_go=lambda: dropped.append("let go"), **ready)

    def turn() -> None:
        while (heard := theirs.receive_with_descriptor()) is not None:
            said, descriptor = heard
            assert isinstance(said, Offer | Commit | Abandon)
            side.hear(said, descriptor)

    yield ours, turn, taken, dropped
    ours.close()
    theirs.close()


def test_what_is_offered_is_taken_over_when_it_is_committed_and_not_before() -> None:
    with worker() as (supervisor, turn, taken, _), station_file(LIVE) as descriptor:
        supervisor.send(Offer(number=3), descriptor=descriptor)
        turn()
        assert list(supervisor.drain()) == [Offered(number=3)]
        assert not taken
        supervisor.send(Commit(number=3, generation=8))
        turn()
        assert taken == [(3, LIVE, 8)]
        assert list(supervisor.drain()) == [Taken(number=3)]
        supervisor.send(Commit(number=3, generation=8))
        turn()
        assert len(taken) == 1, "once"


def test_what_is_let_go_or_replaced_by_another_offer_is_never_taken_over() -> None:
    with worker() as (supervisor, turn, taken, dropped):
        for number, station in ((1, LIVE), (2, ONE_CAMERA)):
            with station_file(station) as descriptor:
                supervisor.send(Offer(number=number), descriptor=descriptor)
        supervisor.send(Commit(number=1, generation=2))
        turn()
        assert not taken
        supervisor.send(Abandon(number=2))
        supervisor.send(Commit(number=2, generation=3))
        turn()
        assert not taken
        assert dropped == ["let go"]


def test_a_worker_that_needs_time_answers_later_and_one_that_cannot_says_why() -> None:
    with worker(lambda _number, _station: None) as (supervisor, turn, _, _), station_file(LIVE) as descriptor:
        supervisor.send(Offer(number=1), descriptor=descriptor)
        turn()
        assert list(supervisor.drain()) == []
    refuse = Offered(number=1, problem="no such product")
    with worker(lambda _number, _station: refuse) as (supervisor, turn, _, _), station_file(LIVE) as descriptor:
        supervisor.send(Offer(number=1), descriptor=descriptor)
        turn()
        assert list(supervisor.drain()) == [refuse]


def test_several_workers_read_the_same_station_though_its_file_has_one_place() -> None:
    with worker() as first, worker() as second, station_file(LIVE) as descriptor:
        for supervisor, turn, taken, _ in (first, second):
            supervisor.send(Offer(number=1), descriptor=descriptor)
            supervisor.send(Commit(number=1, generation=2))
            turn()
            assert taken == [(1, LIVE, 2)]
    assert len(os.listdir("/proc/self/fd")) < 200, "and closes it"


# --- numbers


def kept(**changed: Any) -> Kept:
    first = {"boot": boot_identity().hex(), "run": "r", "configured": "trunk", "mode": Mode.CONTINUOUS}
    return Kept(**(first | {"product": "trunk", "generation": 4, "newest_generation": 4} | changed))


@pytest.mark.parametrize(
    ("product", "was", "generation", "expected"),
    [
        ("trunk", kept(), 1, ("trunk", 4)),
        # A station that was started anew with another product in its file.
        ("lid", kept(), 1, ("lid", 5)),
        # A reload gave the number 5, and inspection died before it, or publish, was as far.
        ("lid", kept(newest_generation=5), 5, ("lid", 5)),
        ("trunk", kept(newest_generation=5), 5, ("trunk", 5)),
        # Committed here, and inspection judges by it: publish dies, and its successor goes by the file.
        ("lid", kept(product="lid", generation=5, newest_generation=5), 5, ("lid", 5)),
        # An order prepared another product; the configuration still names the first.
        ("trunk", kept(product="lid", generation=6, newest_generation=6), 5, ("lid", 6)),
    ],
)
def test_whoever_dies_a_number_stays_one_products(
    product: str, was: Kept, generation: int, expected: tuple[str, int]
) -> None:
    found = job_file.in_force(OLD.model_copy(update={"product": product}), was, generation)
    assert (found.product, found.generation) == expected


# --- the clock


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 1000)),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 1000)),
    st.integers(0, 5000),
)
def test_a_clock_whose_period_stays_beats_on_and_another_begins_at_once(
    before: dict[str, int], after: dict[str, int], at_ms: int
) -> None:
    metronome, now_ns = Metronome(before, 0), at_ms * 1_000_000
    metronome.take(now_ns)
    alone = Metronome(before, 0)
    alone.take(now_ns)
    metronome.take_over(after, now_ns)
    stayed = {name for name in after if before.get(name) == after[name]}
    assert set(metronome.take(now_ns)) == (set(after) - stayed) | (stayed & set(alone.take(now_ns)))


def test_a_clock_that_was_stopped_stays_so() -> None:
    metronome = Metronome({"a": 5}, 0)
    metronome.stop()
    metronome.take_over({"a": 7}, 0)
    assert metronome.next_ns is None


# --- the supervisor's pass


class Worker:
    """A child as the pass sees it, with what it was told."""

    def __init__(self, name: str, pid: int) -> None:
        self.name, self.pid, self.is_running, self.is_restarting = name, pid, True, False
        self.told: deque[Any] = deque()
        self.goes_by, self.offered = "old", ""
        self.restarts = 0

    def tell(self, said: Any, _descriptor: int | None = None) -> None:
        self.told.append(said)

    def restart(self, _now_s: float) -> None:
        self.restarts += 1


class Stage:
    """A station of workers, and what it runs."""

    def __init__(self) -> None:
        names = ("capture@left", "capture@right", "inspection", "publish", "sync")
        self.children: dict[str, Any] = {name: Worker(name, number) for number, name in enumerate(names, start=100)}
        self.station, self.generation = OLD, 1

    def commit(self, station: Station, generation: int) -> None:
        self.station, self.generation = station, generation


def answer(stage: Stage, reloads: Reloads, name: str, problem: str | None = None) -> None:
    """What this worker says to what it was told."""
    child = stage.children[name]
    while child.told:
        match child.told.popleft():
            case Offer(number=number):
                generation = 7 if name == "publish" else 0
                reloads.heard(child, Offered(number=number, problem=problem, generation=generation))
            case Commit(number=number):
                child.goes_by = "new"
                reloads.heard(child, Taken(number=number))
            case Abandon():
                pass


@settings(max_examples=100)
@given(
    st.sampled_from([LIVE, ONE_CAMERA]),
    st.lists(
        st.tuples(
            st.sampled_from(["answers", "refuses", "dies", "passes"]),
            st.sampled_from(["capture@left", "capture@right", "inspection", "publish", "sync"]),
        ),
        max_size=14,
    ),
)
def test_all_take_it_over_or_none_whoever_refuses_or_dies(new: Station, steps: list[tuple[str, str]]) -> None:
    stage = Stage()
    reloads = Reloads(stage)
    request = Request(new, dry_run=False)
    reloads.ask(request)
    now_s = 0.0
    reloads.turn(now_s)
    for step, name in steps:
        child = stage.children[name]
        match step:
            case "answers":
                answer(stage, reloads, name)
            case "refuses":
                answer(stage, reloads, name, "it cannot")
            case "dies":
                # Its successor is born with what runs.
                child.told.clear()
                child.pid += 1000
                child.goes_by = "old" if stage.station is OLD else "new"
                reloads.lost(child)
            case _:
                now_s += 0.1
                reloads.turn(now_s)
    # Nobody says anything more: it comes to an end all the same.
    for wait_s in (AWAY_WITHIN_S, OFFER_WITHIN_S["cpu"], COMMIT_WITHIN_S, 1.0):
        now_s += wait_s + 1
        reloads.turn(now_s)
    outcome = request.future.result(0)
    told = {name: any(isinstance(one, Commit) for one in child.told) for name, child in stage.children.items()}
    if outcome.outcome == "applied":
        assert stage.station is new
        assert stage.generation == outcome.generation == 7
        for name, child in stage.children.items():
            assert child.goes_by == "new" or told[name] or child.restarts, f"{name} goes by the old one for ever"
        assert bool(stage.children["capture@left"].restarts) or new is LIVE
    else:
        assert outcome.problem
        assert stage.station is OLD
        assert not any(told.values())
        assert not any(child.restarts for child in stage.children.values())
        assert {child.goes_by for child in stage.children.values()} == {"old"}
    os.close(reloads.wake)


def test_a_stop_leaves_nobody_waiting() -> None:
    reloads = Reloads(Stage())
    requests = [Request(LIVE, dry_run=False) for _ in range(3)]
    for request in requests:
        reloads.ask(request)
    reloads.turn(0.0)
    reloads.close("the station is stopping")
    late = Request(LIVE, dry_run=False)
    reloads.ask(late)
    assert {request.future.result(0).problem for request in (*requests, late)} == {"the station is stopping"}
    os.close(reloads.wake)


def test_a_station_whose_inspection_is_away_says_so_and_one_whose_camera_is_takes_it_over() -> None:
    stage = Stage()
    reloads = Reloads(stage)
    stage.children["inspection"].is_running = False
    first, second = Request(LIVE, dry_run=False), Request(LIVE, dry_run=False)
    reloads.ask(first)
    reloads.turn(0.0)
    assert not first.future.done(), "it may be back in a moment"
    reloads.turn(AWAY_WITHIN_S + 1)
    assert "inspection is being started" in str(first.future.result(0).problem)
    stage.children["inspection"].is_running = True
    stage.children["capture@left"].is_running = False
    reloads.ask(second)
    for _ in range(4):
        reloads.turn(0.0)
        for name in stage.children:
            if name != "capture@left":
                answer(stage, reloads, name)
    stage.children["capture@left"].is_running = True
    reloads.turn(0.1)
    assert second.future.result(0).outcome == "applied"
    assert stage.children["capture@left"].restarts == 1, "it was not offered it"
    os.close(reloads.wake)


# --- who asks


def test_the_socket_answers_its_user_however_long_its_path_is_and_nobody_for_nonsense(tmp_path: Path) -> None:
    runtime = tmp_path / ("long-" * 30)
    runtime.mkdir()
    (runtime / station_control.SOCKET).touch()  # left by one that was killed
    asked: list[bool] = []

    def reload(dry_run: bool) -> Outcome:
        asked.append(dry_run)
        return Outcome(outcome="unchanged")

    def status() -> Status:
        raise GoldlineError("not asked for")

    with ControlDesk(runtime, reload, status):
        assert (runtime / station_control.SOCKET).stat().st_mode & 0o777 == 0o600
        assert station_control.reload(runtime).outcome == "unchanged"
        assert station_control.reload(runtime, dry_run=True).outcome == "unchanged"
        with pytest.raises(GoldlineError, match="hung up without an answer"):
            station_control.status(runtime)
        nothings = (
            b"",
            b"\n",
            b"{}\n",
            b'{"verb":"reload","now":1}\n',
            b'{"verb":"\xff"}\n',
            b"[" * 4000,
            b"x" * 10_000,
        )
        for nonsense in nothings:
            with socket.socket(socket.AF_UNIX) as connection, station_control.addressed(runtime) as address:
                connection.connect(address)
                connection.sendall(nonsense)
                connection.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):  # there was more than is read of an order
                    assert connection.recv(100) == b""
    assert asked == [False, True]
    assert not (runtime / station_control.SOCKET).exists()
    with pytest.raises(GoldlineError, match="no station is running here"):
        station_control.status(runtime)


def test_who_asks_and_goes_away_is_no_failure(tmp_path: Path) -> None:
    is_gone, has_answered = threading.Event(), threading.Event()

    def reload(_dry_run: bool) -> Outcome:
        assert is_gone.wait(PATIENCE_S)
        has_answered.set()
        return Outcome(outcome="unchanged")

    def status() -> Status:
        raise GoldlineError("not asked for")

    with ControlDesk(tmp_path, reload, status), capture_logs() as logged:
        with socket.socket(socket.AF_UNIX) as connection, station_control.addressed(tmp_path) as address:
            connection.connect(address)
            connection.sendall(b'{"verb":"reload"}\n')
        is_gone.set()
        assert has_answered.wait(PATIENCE_S)
        assert station_control.reload(tmp_path).outcome == "unchanged"
        until_over("process_request_thread")
    assert not logged


def test_a_configuration_that_the_disk_refuses_is_rejected_with_its_words(tmp_path: Path) -> None:
    def load() -> Station:
        raise PermissionError(errno.EACCES, "Permission denied", "/etc/goldline/config.toml")

    supervisor: Any = SimpleNamespace(configured=Configured())
    outcome = Reloader(supervisor, load, tmp_path, None).reload(dry_run=False)
    assert outcome.outcome == "rejected"
    assert "/etc/goldline/config.toml" in str(outcome.problem)
    assert supervisor.configured.reloads["rejected"] == 1


def until_over(name: str) -> None:
    """Until no thread of this name is left."""
    by_s = time.monotonic() + PATIENCE_S
    while any(name in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < by_s, name
        time.sleep(0.01)


def test_an_outcome_comes_back_as_it_was_said() -> None:
    outcome = Outcome(outcome="applied", generation=3, took_ms=5.0, unfinished=("sync",))
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


def test_a_station_is_found_by_its_state_wherever_its_runtime_directory_is(tmp_path: Path) -> None:
    state, runtime = tmp_path / "state", tmp_path / "elsewhere"
    for folder in (state, runtime):
        folder.mkdir()
    config = tmp_path / "config.toml"
    config.write_text('state_dir = "state"\n')
    make_findable(OLD.model_copy(update={"state_dir": state}), runtime)
    assert runtime_of(config, {}).resolve() == runtime
    # In place, and again: nothing is linked to itself, and a directory that is there is left alone.
    own = OLD.model_copy(update={"state_dir": state})
    make_findable(own, state / "run")
    assert not (state / "run").exists()
    (state / "run").mkdir()
    make_findable(own, runtime)
    assert not (state / "run").is_symlink()
    for broken in ('state_dir = "state"\nproduct = 7\n', 'state_dir = "state"\n[cameras.x]\nsource = "?"\n'):
        config.write_text(broken)
        assert runtime_of(config, {}) == state / "run", "also where the file has become one that is refused"
    config.write_text("state_dir = [")
    with pytest.raises(GoldlineError, match="not valid TOML"):
        runtime_of(config, {})
