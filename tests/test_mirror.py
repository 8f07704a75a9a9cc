"""The consumer: whatever is killed when, its table is the outbox, event by event."""

import os
import pwd
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from edge import mirror
from edge.errors import GoldlineError
from edge.heard import Arrived, Cursor, Gone, NewStream
from edge.rehearsal import free_ports
from tests.needs import needs_file, needs_module
from tests.publish_line import PATIENCE_S, until
from tests.sync_line import SyncLine, sync_lines

STREAM = UUID(int=5)
Reader = Callable[[], list[tuple[int, str]]]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the test's own, as the user that its package made: it refuses to be root. Yields its address."""
    needs_module("psycopg", "postgres")
    programs = needs_file("/usr/lib/postgresql/*/bin/initdb", "postgresql").parent
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path("/tmp", f"goldline-postgres-{os.getpid()}")
    folder.mkdir(mode=0o700)
    os.chown(folder, user.pw_uid, user.pw_gid)
    (port,) = free_ports(1)
    options: dict[str, int] = {"user": user.pw_uid, "group": user.pw_gid} if os.geteuid() == 0 else {}
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "mes", "--auth=trust", "-E", "UTF8"],
        check=True, capture_output=True, cwd="/", **options,
    )  # fmt: skip
    command = [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **options)
    try:
        address = f"postgresql://mes@127.0.0.1:{port}/postgres"
        until(lambda: answers(address), "the database server is up")
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(PATIENCE_S)
        shutil.rmtree(folder)


def answers(address: str) -> bool:
    import psycopg

    try:
        psycopg.connect(address).close()
    except psycopg.OperationalError:
        return False
    return True


QUERY = "SELECT sequence, body FROM goldline_events ORDER BY sequence"


def sqlite_rows(path: Path) -> list[tuple[int, str]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        return database.execute(QUERY).fetchall()


def postgres_rows(address: str) -> list[tuple[int, str]]:
    import psycopg

    with psycopg.connect(address) as database:
        return database.execute("SELECT sequence, body::text FROM goldline_events ORDER BY sequence").fetchall()


class Mirror:
    """`goldline mirror` as a process that is killed and started."""

    def __init__(self, line: SyncLine, to: str) -> None:
        self._command = [sys.executable, "-m", "edge", "mirror", "--to", to, "--consumer", "mes"]
        self._command += ["--address", line.addresses["live"], "--sync", line.addresses["sync"]]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def live_through_kills(line: SyncLine, to: str, rows: Reader, kills: int, seed: int) -> None:
    """Reader, publish and SYNC are killed at random instants while events come; then everything is let come to rest."""
    chance = random.Random(seed)
    line.fill(300)
    line.start_both()
    reader = Mirror(line, to)
    said = 300
    try:
        for _ in range(kills):
            victim = chance.choice(["reader", "reader", "publish", "sync"])
            until_s = time.monotonic() + chance.uniform(0.2, 0.8)
            while time.monotonic() < until_s:
                line.say(10)
                said += 10
                time.sleep(0.01)
            if victim == "reader":
                reader.kill()
                reader.start()
            elif victim == "sync":
                line.kill_sync()
                line.start_sync()
            else:
                line.kill()
                line.start()
                line.link_both()
                line.capture("left")
                line.link("inspection")
        until(lambda: len(rows()) >= said, f"{said} events in the copy")
        until(lambda: line.acknowledged() == {"mes": said}, "the last is acknowledged")
        assert reader.process.poll() is None
    finally:
        reader.kill()
    assert line.stop() == 0
    kept = [(number, body.decode()) for number, body in enumerate(line.bodies(), start=1)]
    assert rows() == kept


def test_a_sqlite_copy_is_the_outbox_whatever_is_killed(tmp_path):
    path = tmp_path / "copy.db"
    with sync_lines(tmp_path) as line:
        live_through_kills(line, f"sqlite:{path}", lambda: sqlite_rows(path), kills=10, seed=1)


def test_a_postgresql_copy_is_the_outbox_whatever_is_killed(tmp_path, postgres):
    with sync_lines(tmp_path) as line:
        live_through_kills(line, postgres, lambda: postgres_rows(postgres), kills=6, seed=2)


def arrived(sequence: int, body: bytes = b'{"time":"t","data":{"verdict":"PASS","trigger_id":7,"new":1}}') -> Arrived:
    return Arrived(stream=STREAM, sequence=sequence, topic="t.", body=body, is_replay=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request, tmp_path) -> str:
    return f"sqlite:{tmp_path}/one.db" if request.param == "sqlite" else request.getfixturevalue("postgres")


def test_what_is_gone_and_new_streams_move_the_cursor(target):
    with mirror.open_store(target, f"one-{target[:4]}") as store:
        assert store.cursor() == Cursor(0)
        store.write([Gone(stream=STREAM, first=1, last=4), arrived(5)])
        assert store.cursor() == Cursor(5, STREAM)
        new = NewStream(before=STREAM, heard=5, stream=UUID(int=6))
        store.write([new])
        assert store.cursor() == Cursor(0, UUID(int=6))


def test_all_of_a_batch_is_written_or_nothing(target):
    with mirror.open_store(target, f"two-{target[:4]}") as store:
        store.write([arrived(11), arrived(12)])
        with pytest.raises(GoldlineError, match=r"(?i)not.null"):
            store.write([arrived(13), arrived(None)])
        assert store.cursor() == Cursor(12, STREAM)
        store.write([arrived(13)])
        assert store.cursor() == Cursor(13, STREAM)


def test_what_stands_there_already_is_not_written_twice_and_stops_nobody(target):
    """A consumer that goes by another name from now on, and a station that went back to an older outbox, begin anew."""
    # Beyond what any other test has put into this database.
    first = 1_000_001
    events = [Gone(stream=STREAM, first=first, last=first), arrived(first + 1), arrived(first + 2)]
    with mirror.open_store(target, f"three-{target[:4]}") as store:
        store.write(events)
    with mirror.open_store(target, f"four-{target[:4]}") as other:
        assert other.cursor() == Cursor(0)
        other.write([*events, arrived(first + 3)])
        assert other.cursor() == Cursor(first + 3, STREAM)
    rows = sqlite_rows(Path(target.removeprefix("sqlite:"))) if target.startswith("sqlite") else postgres_rows(target)
    assert [number for number, _ in rows if number >= first] == [first + 1, first + 2, first + 3]


@pytest.mark.parametrize("unit", [r'"A\u0000B"', "7"])
def test_an_event_with_what_no_column_takes_stops_nobody(target, unit):
    body = b'{"time":"t","data":{"unit_identifier":%s}}' % unit.encode()
    number = 31 if unit == "7" else 32
    with mirror.open_store(target, f"five-{target[:4]}") as store:
        store.write([arrived(number, body)])
        assert store.cursor() == Cursor(number, STREAM)


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("mysql:x", 'must be "sqlite:PATH" or'),
        ("sqlite:/proc/none/x.db", "cannot be written: unable to open database file"),
        ("postgresql://u:secret@127.0.0.1:1/x", "postgresql: "),
        ("postgresql://u:secret@[::1/x", "postgresql: "),
    ],
)
def test_a_target_that_cannot_be_is_one_line_without_its_password(to, problem):
    if to.startswith("postgresql"):
        needs_module("psycopg", "postgres")
    with pytest.raises(GoldlineError, match=problem) as raised:
        mirror.open_store(to, "mes")
    assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_once_leaves_when_everything_is_written(tmp_path):
    path = tmp_path / "copy.db"
    with sync_lines(tmp_path) as line:
        line.fill(700)
        line.start_both()
        words = ["--to", f"sqlite:{path}", "--once", "--address", line.addresses["live"]]
        command = [sys.executable, "-m", "edge", "mirror", *words, "--sync", line.addresses["sync"]]
        assert subprocess.run(command, check=False, timeout=PATIENCE_S * 2).returncode == 0
        assert len(sqlite_rows(path)) == 700
