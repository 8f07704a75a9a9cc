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

from edge import announce, events, header
from edge.errors import GoldlineError
from edge.events import IdRange, Source
from edge.header import Flag
from edge.ledger import Decision, Late, View
from edge.outbox import BLOCK_IDS, Draft, Outbox
from edge.records import Outcome, Reason, Verdict, error
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


@pytest.mark.parametrize("content", [b"this is not a database" * 50, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_corrupt_file_is_named(tmp_path, content):
    path = tmp_path / "outbox.sqlite3"
    path.write_bytes(content)
    with pytest.raises(GoldlineError, match=r"outbox\.sqlite3: the outbox cannot be used"):
        Outbox(path, "run")


def test_a_corrupt_page_is_named_when_it_is_met(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    with Outbox(path, "run") as outbox:
        for batch in range(10):
            outbox.commit([draft(batch * 50 + number) for number in range(1, 51)])
    data = path.read_bytes()
    path.write_bytes(data[:8192] + b"\x5a" * (len(data) - 8192))
    with pytest.raises(GoldlineError, match=r"outbox\.sqlite3"), Outbox(path, "run") as outbox:
        outbox.commit([draft(1000)])


def test_another_version_is_refused(tmp_path):
    path = tmp_path / "outbox"
    Outbox(path, "run").close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(GoldlineError, match="another version"):
        Outbox(path, "run")


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
