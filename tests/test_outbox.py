"""The outbox: gap-free numbers, one event for a trigger, counts equal to rows, whoever is killed."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest

from edge import announce, events, header, outbox_kept
from edge.errors import GoldlineError
from edge.events import IdRange, Source
from edge.header import Flag
from edge.ledger import Decision, Late, View
from edge.outbox import BLOCK_IDS, Draft, Outbox, OutboxError, Trouble
from edge.outbox_file import MOST_ASIDE
from edge.outbox_kept import MOST_CONSUMERS
from edge.records import Outcome, Reason, Verdict, error
from edge.unkept import Unkept
from tests import values

SOURCE = Source(site="-", line="-", station="s1")
RUNTIME, OTHER_RUNTIME = UUID(int=1), UUID(int=2)
PASS = Verdict(outcome=Outcome.PASS)

WRITER = """
import sys
from pathlib import Path
from edge.outbox import Outbox
from tests.test_outbox import PASS, draft
from edge.records import Reason, error

with Outbox(Path(sys.argv[1]), "run") as outbox:
    number = outbox.head
    while True:
        # Some of them again, as after a kill between commit and mark.
        batch = [max(1, number - 2), number + 1, number + 2, number + 3]
        stored = outbox.commit([draft(one, error(Reason.DEADLINE) if one % 3 else PASS) for one in batch])
        number += 3
        sys.stdout.write(f"{stored[-1].sequence}\\n")
        sys.stdout.flush()
"""


def draft(trigger_id: int, verdict: Verdict = PASS, camera: str = "left") -> Draft:
    trigger, views = values.trigger(trigger_id, camera), {camera: View(verdict=verdict)}
    decision = Decision(trigger=trigger, verdict=verdict, views=views, decided_ns=2)
    event = announce.result_event(SOURCE, decision, is_simulated=False)
    return Draft(topic=SOURCE.topic(camera, "result"), flags=Flag.DURABLE, verdict_utc_ns=1, event=event)


def interrupted(ranges: tuple[IdRange, ...]) -> Draft:
    event = announce.interrupted_event(SOURCE, ranges, 1)
    return Draft(topic=SOURCE.topic("-", "result"), flags=Flag.DURABLE, verdict_utc_ns=1, event=event)


def test_numbers_are_gap_free_and_a_trigger_has_one_event(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        assert (outbox.head, outbox.low) == (0, 0)
        first = outbox.commit([draft(10), draft(11), draft(10, error(Reason.TORN))])
        second = outbox.commit([draft(11), draft(12, camera="right")])
        assert [one.sequence for one in first + second] == [1, 2, 3]
        assert outbox.commit([draft(12)]) == []
        assert [events.decode(one.body).data.trigger_id for one in outbox.read(1, 10)] == [10, 11, 12]
        assert outbox.counts() == {("left", Outcome.PASS, None): 2, ("right", Outcome.PASS, None): 1}


def test_everything_is_there_after_opening_again(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        stored = outbox.commit([draft(1), draft(2, camera="right"), draft(3, error(Reason.DEADLINE))])
        stream = outbox.stream
    with Outbox(tmp_path / "outbox", "run") as outbox:
        assert (outbox.stream, outbox.head, outbox.low) == (stream, 3, 1)
        assert outbox.read(1, 10) == stored
        assert outbox.read(2, 1) == stored[1:2]
        assert outbox.counts()["left", Outcome.ERROR, Reason.DEADLINE] == 1
        (last,) = outbox.commit([draft(4)])
        assert header.decode(last.header).previous == 3
        assert [header.decode(one.header).previous for one in stored] == [0, 0, 1]
    with Outbox(tmp_path / "outbox", "another run") as outbox:
        assert outbox.counts() == {}


def test_ids_are_never_given_twice(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        blocks = [outbox.reserve("left", RUNTIME), outbox.reserve("right", RUNTIME)]
        outbox.release(RUNTIME, [])
    with Outbox(tmp_path / "outbox", "run") as outbox:
        blocks.append(outbox.reserve("left", OTHER_RUNTIME))
    assert blocks == [(1 + n * BLOCK_IDS, (n + 1) * BLOCK_IDS) for n in range(3)]


def test_what_a_power_cut_took_is_named_once(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        first, last = outbox.reserve("left", RUNTIME)
        right = outbox.reserve("right", RUNTIME)
        outbox.commit([draft(first), draft(first + 1), draft(first + 5)])
    with Outbox(tmp_path / "outbox", "run") as outbox:
        assert outbox.lost_ids(RUNTIME) == ()
        lost = outbox.lost_ids(OTHER_RUNTIME)
        assert lost == (
            IdRange(camera="left", first=first + 2, last=first + 4),
            IdRange(camera="left", first=first + 6, last=last),
            IdRange(camera="right", first=right[0], last=right[1]),
        )
        (stored,) = outbox.close_lost(OTHER_RUNTIME, interrupted(lost))
        assert stored.sequence == outbox.head == 4
        assert events.decode(stored.body).data.reason is Reason.INTERRUPTED
        assert outbox.lost_ids(OTHER_RUNTIME) == ()
        # It is no verdict on a trigger.
        assert sum(outbox.counts().values()) == 3


def test_a_clean_stop_loses_nothing_but_what_is_still_held(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        outbox.reserve("left", RUNTIME)
        held, last = outbox.reserve("right", RUNTIME)
        outbox.release(RUNTIME, [held])
        assert outbox.lost_ids(OTHER_RUNTIME) == (IdRange(camera="right", first=held, last=last),)


def test_a_block_whose_ids_all_have_events_is_let_go(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        first, last = outbox.reserve("left", RUNTIME)
        outbox.commit([draft(number) for number in range(first, last + 1)])
        outbox.reserve("left", RUNTIME)
        rows = outbox._db.execute("SELECT first FROM reservations").fetchall()
    assert rows == [(last + 1,)]


def test_late_results_are_kept_once(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        for arrived_ns in (5, 6):
            outbox.add_late(Late(trigger_id=1, view="left", verdict=PASS, arrived_ns=arrived_ns))
        assert outbox._db.execute("SELECT COUNT(*) FROM late").fetchone() == (1,)


def assert_set_aside(path: Path, outbox: Outbox) -> None:
    """It went on with a new stream from event 1 on, the old file is there, and no id is given a second time."""
    (aside,) = (
        one for one in path.parent.iterdir() if ".corrupt-" in one.name and not one.name.endswith(("wal", "shm"))
    )
    assert outbox.aside_name == aside.name
    assert outbox.commit([draft(1_000_000)])[0].sequence == 1


@pytest.mark.parametrize("content", [b"this is not a database" * 50, b"SQLite format 3\0" + b"\xff" * 4000])
def test_what_is_no_database_is_set_aside(tmp_path, content):
    path = tmp_path / "outbox.sqlite3"
    path.write_bytes(content)
    with Outbox(path, "run") as outbox:
        assert_set_aside(path, outbox)
    (aside,) = tmp_path.glob("*.corrupt-*")
    assert aside.read_bytes() == content
    with Outbox(path, "run") as outbox:
        assert outbox.aside_name == aside.name
        outbox.release(RUNTIME, [])
    with Outbox(path, "run") as outbox:
        assert outbox.aside_name is None


def filled(path: Path, count: int = 500) -> tuple[UUID, int]:
    """Its stream, and the last id that was given."""
    with Outbox(path, "run") as outbox:
        _, last = outbox.reserve("left", RUNTIME)
        for first in range(1, count + 1, 50):
            outbox.commit([draft(number) for number in range(first, first + 50)])
        return outbox.stream, last


DAMAGE = {
    "spoilt": lambda data: data[:8192] + b"\x5a" * (len(data) - 8192),
    "cut short": lambda data: data[: len(data) // 2],
    "cut to nothing but a head": lambda data: data[:100],
    "its newest pages spoilt": lambda data: data[: len(data) - 65536] + b"\0" * 65536,
    "without its version": lambda data: data[:60] + bytes(4) + data[64:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_outbox_is_set_aside_at_start_and_no_id_is_given_twice(tmp_path, damage):
    path = tmp_path / "outbox.sqlite3"
    stream, last = filled(path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with Outbox(path, "run") as outbox:
        assert outbox.stream != stream
        assert outbox.reserve("left", RUNTIME)[0] > last
        assert_set_aside(path, outbox)


@pytest.mark.parametrize("key", ["stream", "next_trigger_id"])
@pytest.mark.parametrize("value", ["x", b"\xff"])
def test_an_outbox_that_does_not_know_itself_is_set_aside_at_start(tmp_path, key, value):
    path = tmp_path / "outbox.sqlite3"
    _, last = filled(path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = CAST(? AS TEXT) WHERE key = ?", (value, key))
    database.close()
    with Outbox(path, "run") as outbox:
        assert_set_aside(path, outbox)
        assert outbox.reserve("left", RUNTIME)[0] > last


def test_without_the_file_of_given_ids_the_next_lie_beyond_all_that_could_have_been_given(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    _, last = filled(path)
    (tmp_path / "trigger_ids").unlink()
    path.write_bytes(path.read_bytes()[:5000])
    with Outbox(path, "run") as outbox:
        first, _ = outbox.reserve("left", RUNTIME)
        assert first > last + 10**11
        # Of a number that a 64-bit float still holds exactly.
        assert first < 2**53


def test_an_outbox_that_breaks_in_use_is_set_aside_and_its_blocks_stay_reserved(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    filled(path)
    with Outbox(path, "run") as outbox:
        first, last = outbox.reserve("left", RUNTIME)
        outbox.set_aside(time.time_ns(), "a test")
        assert outbox.lost_ids(OTHER_RUNTIME) == (IdRange(camera="left", first=first, last=last),)
        assert outbox.reserve("left", RUNTIME)[0] == last + 1
        assert_set_aside(path, outbox)


def test_a_disk_that_breaks_every_outbox_gets_no_more_than_a_few(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    for _ in range(MOST_ASIDE):
        path.write_bytes(b"not a database" * 100)
        Outbox(path, "run").close()
    path.write_bytes(b"not a database" * 100)
    kept = sorted(tmp_path.iterdir())
    for _ in range(3):
        with pytest.raises(OutboxError, match="are 5 that were kept beside it: see to the disk") as raised:
            Outbox(path, "run")
        assert raised.value.trouble is Trouble.FAILED
    assert sorted(tmp_path.iterdir()) == kept
    for one in tmp_path.glob("*.corrupt-*"):
        one.unlink()
    with Outbox(path, "run") as outbox:
        assert_set_aside(path, outbox)


def test_what_was_let_go_is_named_once_whoever_dies_over_it_and_without_what_has_its_event(tmp_path):
    note = tmp_path / "unkept.json"
    drafts = [draft(number) for number in range(1, 6)]
    with Outbox(tmp_path / "outbox", "run") as outbox:
        # Killed between commit and mark: the next publish found no outbox, and let it go as well.
        outbox.commit(drafts[2:3])
        assert Unkept(note).add(drafts) == 5
        dying = Unkept(note)
        (stored,) = dying.name(outbox, SOURCE)
        named = events.decode(stored.body).data.interrupted
        assert named == (IdRange(camera="left", first=1, last=2), IdRange(camera="left", first=4, last=5))
        # It is killed here.
        following = Unkept(note)
        assert following.ranges
        assert following.name(outbox, SOURCE) == []
        following.clear()
        # What comes later is something else, even if it is the same.
        assert Unkept(note).ranges == ()
        following.add(drafts[:1])
        assert len(Unkept(note).name(outbox, SOURCE)) == 1
        following.clear()
        following.add(drafts[2:3])
        assert Unkept(note).name(outbox, SOURCE) == []
        assert outbox.head == 3


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "outbox"
    Outbox(path, "run").close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(GoldlineError, match="a newer version"):
        Outbox(path, "run")


VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, trigger_id INTEGER UNIQUE, topic TEXT NOT NULL, previous INTEGER NOT NULL,
    flags INTEGER NOT NULL, verdict_utc_ns INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE topics (topic TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counts (
    run TEXT, camera TEXT, outcome TEXT, reason TEXT, n INTEGER NOT NULL, PRIMARY KEY (run, camera, outcome, reason)
) WITHOUT ROWID;
CREATE TABLE reservations (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, holder TEXT, runtime TEXT NOT NULL);
CREATE TABLE late (trigger_id INTEGER PRIMARY KEY, body BLOB NOT NULL);
INSERT INTO meta VALUES ('stream', '00000000-0000-0000-0000-000000000007'), ('next_trigger_id', '4097');
PRAGMA user_version = 1;
"""


def test_an_outbox_of_version_1_is_taken_over_with_all_that_it_has(tmp_path):
    path = tmp_path / "outbox"
    with sqlite3.connect(path) as database:
        database.executescript(VERSION_1)
        for number in (1, 2, 3):
            body = events.encode(events.sealed(draft(number).event, UUID(int=7), number))
            database.execute(
                "INSERT INTO events VALUES (?, ?, 'topic', ?, 1, 1, ?)", (number, number, number - 1, body)
            )
        database.execute("INSERT INTO topics VALUES ('topic', 3)")
    database.close()
    with Outbox(path, "run") as outbox:
        assert (outbox.stream, outbox.head, outbox.low) == (UUID(int=7), 3, 1)
        assert outbox.commit([draft(3), draft(4)], {"mes": 2})[0].sequence == 4
        assert [(one.name, one.upto) for one in outbox.consumers()] == [("mes", 2)]
        assert outbox.reserve("left", RUNTIME)[0] == 4097
    with Outbox(path, "run") as outbox:
        assert len(outbox.read(1, 10)) == 4


def test_what_is_pruned_is_a_range_and_its_triggers_stay_answered(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        first, last = outbox.reserve("left", RUNTIME)
        outbox.commit([draft(first + number) for number in range(10)])
        outbox.add_late(Late(trigger_id=first, view="left", verdict=PASS, arrived_ns=5))
        outbox.prune(4)
        assert (outbox.low, outbox.head) == (5, 10)
        assert [one.sequence for one in outbox.read(1, 100)] == list(range(5, 11))
        assert outbox._db.execute("SELECT COUNT(*) FROM late").fetchone() == (0,)
        # A decision that comes again, after a death, is no second event; nor is a pruned one lost with the power.
        assert outbox.commit([draft(first)]) == []
        assert outbox.lost_ids(OTHER_RUNTIME) == (IdRange(camera="left", first=first + 10, last=last),)
        outbox.prune(10)
        assert (outbox.low, outbox.extent().low, outbox.extent().used_bytes > 0) == (11, 11, True)
    with Outbox(tmp_path / "outbox", "run") as outbox:
        assert (outbox.low, outbox.head) == (11, 10)
        assert outbox.commit([draft(first + 10)])[0].sequence == 11
        outbox.release(RUNTIME, [])
        assert outbox._db.execute("SELECT COUNT(*) FROM answered").fetchone() == (0,)


def test_a_block_whose_events_were_pruned_is_let_go_as_well(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        first, last = outbox.reserve("left", RUNTIME)
        outbox.commit([draft(number) for number in range(first, last + 1)])
        outbox.prune(500)
        outbox.reserve("left", RUNTIME)
        assert outbox._db.execute("SELECT first FROM reservations").fetchall() == [(last + 1,)]
        assert outbox._db.execute("SELECT COUNT(*) FROM answered").fetchone() == (0,)


def test_acknowledgements_only_grow_and_only_up_to_what_there_is(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        outbox.commit([draft(number) for number in range(1, 6)], {"mes": 3, "spc": 0})
        outbox.commit([], {"mes": 2, "spc": 1_000_000})
        found = {one.name: one.upto for one in outbox.consumers()}
        assert found == {"mes": 3, "spc": 5}
        assert outbox_kept.forget(outbox._db, "spc")
        assert not outbox_kept.forget(outbox._db, "spc")
        outbox.commit([], {f"c{number}": 1 for number in range(MOST_CONSUMERS + 10)})
        assert len(outbox.consumers()) == MOST_CONSUMERS
        outbox.commit([], {"mes": 4})
        assert outbox.consumers()[-1].upto == 4


def test_a_full_disk_is_named_and_leaves_no_half_batch(tmp_path):
    with Outbox(tmp_path / "outbox", "run") as outbox:
        outbox.commit([draft(1)])
        (pages,) = outbox._db.execute("PRAGMA page_count").fetchone()
        outbox._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(GoldlineError, match="outbox: the outbox cannot be used: database or disk is full"):
            outbox.commit([draft(number) for number in range(2, 200)])
        outbox._db.execute("PRAGMA max_page_count = 100000")
        (stored,) = outbox.commit([draft(3)])
        assert stored.sequence == outbox.head == 2
        assert sum(outbox.counts().values()) == 2


def test_a_kill_during_commits_leaves_whole_batches(tmp_path):
    path = tmp_path / "outbox"

    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
        )
        assert writer.stdout is not None
        said = b"".join(writer.stdout.readline() for _ in range(random.randint(1, 40)))
        time.sleep(random.uniform(0, 0.002))
        writer.send_signal(signal.SIGKILL)
        said += writer.communicate()[0]
        # The last line may be torn, as may the commit it is about.
        acknowledged = int(said.split(b"\n")[-2])
        with Outbox(path, "run") as outbox:
            stored = outbox.read(1, 1_000_000)
            assert [one.sequence for one in stored] == list(range(1, outbox.head + 1))
            assert outbox.head >= acknowledged
            bodies = [events.decode(one.body).data for one in stored]
            assert [one.trigger_id for one in bodies] == list(range(1, outbox.head + 1))
            passes = sum(one.verdict is Outcome.PASS for one in bodies)
            expected = {
                ("left", Outcome.PASS, None): passes,
                ("left", Outcome.ERROR, Reason.DEADLINE): len(bodies) - passes,
            }
            assert outbox.counts() == expected
