"""Publish as a real process: what capture and inspection say becomes one event each, whoever is killed when."""

import json
import random
import select
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from edge.channel import ChannelClosed
from edge.client import ask
from edge.header import Flag
from edge.messages import Failed, Fire, Ids, Opened, Unjudged, WantIds
from edge.outbox import Outbox
from edge.publish import outbox_path
from edge.records import Outcome, Reason
from edge.trigger_log import OpenedLog, opened_path
from tests import values
from tests.publish_line import PATIENCE_S, Line, camera, until, verdicts_of


@pytest.fixture
def line(make_line) -> Line:
    made = make_line()
    made.start()
    made.link("inspection")
    return made


def test_a_judged_trigger_becomes_one_event(line):
    line.capture()
    one = line.open()
    line.judge(one.trigger_id, outcome=Outcome.FAIL)
    (event,) = line.subscriber.wait(1)
    assert event.data.trigger_id == one.trigger_id
    assert (event.data.verdict, event.data.on_time, event.data.is_simulated) == (Outcome.FAIL, True, True)
    assert event.data.model_sha256 == values.PROVENANCE.model_sha256
    (head,) = line.subscriber.headers
    assert (head.sequence, head.previous, head.flags) == (1, 0, Flag.DURABLE | Flag.SIMULATED)
    assert event.id == f"{head.stream}/1"
    line.wait_until(lambda: line.metric("goldline_events_written_total") == 1, "counted")
    assert line.metric("goldline_verdicts_total", camera="left", verdict="FAIL") == 1
    line.assert_in_balance()


def test_a_repeated_or_second_verdict_changes_nothing(line):
    line.capture()
    one, two = line.open(), line.open()
    line.judge(one.trigger_id)
    line.judge(one.trigger_id)
    line.judge(one.trigger_id, outcome=Outcome.FAIL)
    line.peers["capture@left"].send(Unjudged(trigger_id=one.trigger_id, reason=Reason.WORKER_CRASH))
    line.judge(two.trigger_id)
    heard = line.subscriber.wait(2)
    assert verdicts_of(heard) == {one.trigger_id: ("PASS", None), two.trigger_id: ("PASS", None)}
    assert len(heard) == 2


def test_a_verdict_may_overtake_its_trigger(line):
    line.capture()
    one = line.open(is_told=False)
    line.judge(one.trigger_id)
    line.subscriber.wait(1)
    line.peers["capture@left"].send(Opened(trigger=one))
    two = line.open()
    line.judge(two.trigger_id)
    assert list(verdicts_of(line.subscriber.wait(2))) == [one.trigger_id, two.trigger_id]
    line.assert_in_balance()


def test_a_verdict_on_nothing_is_refused(line):
    line.capture()
    line.judge(99_999)
    one = line.open()
    line.judge(one.trigger_id)
    assert list(verdicts_of(line.subscriber.wait(1))) == [one.trigger_id]


def test_a_deadline_closes_a_trigger_and_what_comes_late_is_kept_as_late(line):
    line.capture()
    one = line.open(deadline_ms=30)
    (event,) = line.subscriber.wait(1)
    assert (event.data.verdict, event.data.reason, event.data.on_time) == ("ERROR", "deadline", False)
    line.judge(one.trigger_id)
    two = line.open()
    line.judge(two.trigger_id)
    assert len(line.subscriber.wait(2)) == 2
    assert line.metric("goldline_deadline_missed_total", camera="left") == 1
    assert line.metric("goldline_errors_total", camera="left", reason="deadline") == 1
    assert line.stop() == 0
    with Outbox(outbox_path(line.station), "reader") as outbox:
        assert outbox._db.execute("SELECT trigger_id FROM late").fetchall() == [(one.trigger_id,)]


def test_a_dead_capture_fails_what_it_held_and_inspection_answers_for_the_rest(line):
    log = line.capture()
    held, handed = line.open(is_told=False), line.open(is_told=False)
    log.mark_handed(handed.trigger_id)
    line.unlink("capture@left")
    line.subscriber.wait(1)
    line.judge(handed.trigger_id)
    heard = line.subscriber.wait(2)
    assert verdicts_of(heard) == {held.trigger_id: ("ERROR", "worker_crash"), handed.trigger_id: ("PASS", None)}


@pytest.mark.parametrize("order", [("capture@left", "inspection"), ("inspection", "capture@left")])
def test_with_inspection_dead_as_well_nothing_waits(line, order):
    log = line.capture()
    handed = line.open()
    log.mark_handed(handed.trigger_id)
    for peer in order:
        line.unlink(peer)
    assert verdicts_of(line.subscriber.wait(1)) == {handed.trigger_id: ("ERROR", "worker_crash")}


def test_a_restarted_capture_goes_on_with_its_ids(line):
    line.capture()
    first = line.open()
    line.capture()
    assert line.logs["left"].next_id() == first.trigger_id + 1
    line.subscriber.wait(1)
    second = line.open()
    line.judge(second.trigger_id)
    heard = line.subscriber.wait(2)
    assert verdicts_of(heard) == {first.trigger_id: ("ERROR", "worker_crash"), second.trigger_id: ("PASS", None)}


def test_ids_that_a_capture_has_no_room_for_are_given_when_it_has(line):
    right = line.link("capture@right")
    # It reads nothing, until no more fits into its socket.
    while not line.metric("goldline_errors_total", camera="right", reason="overrun"):
        assert ask(line.station.events.command, {"verb": "trigger", "camera": "right"}, PATIENCE_S)["accepted"]
    right.send(WantIds())
    until(lambda: "right" in reserved(line), "its ids are reserved")
    # Said after them: they were tried.
    assert ask(line.station.events.command, {"verb": "state"}, PATIENCE_S)["cameras"]["right"]["is_linked"]
    time.sleep(0.1)
    line.wait_until(lambda: any(isinstance(said, Ids) for said in right.drain()), "its ids")


def reserved(line: Line) -> set[str]:
    """Who has a block of ids."""
    with closing(sqlite3.connect(f"file:{outbox_path(line.station)}?mode=ro", uri=True)) as database:
        return {holder for (holder,) in database.execute("SELECT holder FROM reservations")}


def test_a_command_is_fired_and_judged(line):
    log = line.capture("right")
    order = {"verb": "trigger", "camera": "right", "unit_identifier": "A17", "expect": {"variant": "oak"}, "id": 7}
    answer = ask(line.station.events.command, order, PATIENCE_S)
    fire = line.hear("capture@right")
    assert isinstance(fire, Fire)
    assert answer == {"accepted": True, "trigger_id": fire.trigger.trigger_id, "id": 7}
    assert (fire.trigger.unit_identifier, fire.trigger.expect) == ("A17", {"variant": "oak"})
    log.append(fire.trigger)
    log.mark_handed(fire.trigger.trigger_id)
    line.judge(fire.trigger.trigger_id, "right")
    (event,) = line.subscriber.wait(1)
    assert (event.subject, event.data.unit_identifier, event.data.expect) == ("A17", "A17", {"variant": "oak"})
    # Closed in the log of commands and in capture's own.
    reader = OpenedLog.attach(opened_path(line.station.runtime_dir, "right"))
    assert reader is not None
    until(lambda: reader.read_unclosed() == [], "closed")


def test_a_command_without_a_capture_process_is_an_error_at_once(line):
    answer = ask(line.station.events.command, {"verb": "trigger", "camera": "right"}, PATIENCE_S)
    assert answer["accepted"]
    assert verdicts_of(line.subscriber.wait(1)) == {answer["trigger_id"]: ("ERROR", "camera_down")}


BAD_ORDERS = {
    b'{"verb":"trigger","camera":"middle","id":"x"}': "unknown camera 'middle': known are left, right",
    b'{"verb":"trigger","camera":"left"}': "camera 'left' has trigger mode 'free', not 'software'",
    b'{"verb":"dance"}': "not an order: Invalid value 'dance'",
    b'{"verb":"trigger","camera":"right","colour":1}': "unknown field `colour`",
    b"\xff\x00": "not an order",
    b'{"verb":"state","id":%d}' % 10**30: "not an order",
    b'{"x":' + b"[" * 8000 + b"]" * 8000 + b"}": "not an order",
    b'{"verb":"trigger","camera":"right","expect":{"a":"%s"}}' % (b"x" * 60_000): "more than 16384",
    b"": "not an order",
}


def test_a_bad_order_is_refused_with_its_reason(line):
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(line.station.events.command)
        for order, problem in BAD_ORDERS.items():
            dealer.send(order)
            assert dealer.poll(PATIENCE_S * 1000)
            answer = json.loads(dealer.recv())
            assert not answer["accepted"]
            assert problem in answer["error"]


def test_the_state_can_be_asked_for(line):
    line.capture()
    one = line.open()
    line.judge(one.trigger_id)
    line.subscriber.wait(1)
    line.open()
    line.wait_until(lambda: line.metric("goldline_triggers_in_flight", camera="left") == 1, "the second trigger")
    state = ask(line.station.events.command, {"verb": "state"}, PATIENCE_S)
    assert state["head"] == 1
    left = {"mode": "free", "is_linked": True, "is_up": False, "triggers": 2, "in_flight": 1}
    assert state["cameras"]["left"] == {**left, "verdicts": {"PASS": 1, "FAIL": 0, "ERROR": 0}}
    assert not state["cameras"]["right"]["is_linked"]


def test_a_camera_with_a_period_triggers_itself(make_line):
    line = make_line(cameras={"right": camera("software", period_ms=20)})
    line.start()
    line.link("inspection")
    line.capture("right")
    fired = [line.hear("capture@right") for _ in range(3)]
    assert all(isinstance(one, Fire) for one in fired)
    assert len({one.trigger.trigger_id for one in fired}) == 3


def test_a_clean_stop_closes_what_is_open_and_gives_the_ids_back(line):
    line.capture()
    one = line.open(is_told=False)
    # Capture leaves as it should; its last word is still in the log.
    line.logs["left"].mark_handed(one.trigger_id)
    line.logs["left"].surrender_ids()
    assert line.stop() == 0
    assert verdicts_of(line.stored()) == {one.trigger_id: ("ERROR", "shutdown")}
    line.subscriber.wait(1)
    with Outbox(outbox_path(line.station), "reader") as outbox:
        assert outbox._db.execute("SELECT COUNT(*) FROM reservations").fetchone() == (0,)
    assert not Path(f"{outbox_path(line.station)}-wal").exists()


def test_after_a_power_cut_one_event_names_the_lost_ids(line):
    line.capture()
    one = line.open()
    line.judge(one.trigger_id)
    line.open()
    line.subscriber.wait(1)
    line.kill()
    for path in (line.station.runtime_dir / "triggers").iterdir():
        path.unlink()
    for _ in range(2):
        line.start()
        line.kill()
    lost = [event for event in line.stored() if event.data.reason is Reason.INTERRUPTED]
    assert len(lost) == 1
    ranges = {gap.camera: (gap.first, gap.last) for gap in lost[0].data.interrupted}
    assert ranges["left"] == (one.trigger_id + 1, one.trigger_id + 1023)
    line.start()
    line.link("inspection")
    log = line.capture()
    assert log.next_id() > ranges["left"][1]


def test_publish_is_killed_anywhere_and_every_trigger_has_one_event(make_line):
    """SIGKILL at random instants while triggers open and are judged: exactly one event each, counters exact."""
    line = make_line()
    opened: list[int] = []
    for life in range(6):
        line.start()
        line.link("inspection")
        # Capture lives on: its log and its open triggers are there, its socket is new.
        line.link("capture@left") if "left" in line.logs else line.capture()
        # Inspection repeats its recent verdicts on a new link: what lay in the old socket is gone.
        for trigger_id in opened:
            line.judge(trigger_id)
        # Fewer in all than a block of ids: this capture never asks for a second.
        for _ in range(random.randint(0, 150)):
            try:
                opened.append(line.open().trigger_id)
                line.judge(opened[-1])
            except ChannelClosed:
                break
        if life < 5:
            line.kill()
    # Between two looks at the log nothing may be in flight although more is to come.
    until(lambda: line.metric("goldline_triggers_total", camera="left") == len(opened), "everything opened")
    until(lambda: line.metric("goldline_triggers_in_flight", camera="left") == 0, "everything closed")
    assert line.metric("goldline_verdicts_total", camera="left", verdict="PASS") == len(opened)
    line.assert_in_balance()
    assert line.stop() == 0
    stored = line.stored()
    assert Counter(event.data.trigger_id for event in stored) == Counter(opened)
    assert {event.data.verdict for event in stored} == {Outcome.PASS}
    assert [int(event.sequence) for event in stored] == list(range(1, len(opened) + 1))
    # What was heard was heard once, in order, and is what is stored.
    heard = [int(event.sequence) for event in line.subscriber.events]
    assert heard == sorted(set(heard))


def test_what_was_decided_and_not_committed_is_committed_by_the_next(make_line, monkeypatch):
    """The kill falls between decided log and outbox: made certain by a database that is locked."""
    line = make_line()
    line.start()
    line.link("inspection")
    line.capture()
    one, two = line.open(), line.open()
    with Outbox(outbox_path(line.station), "blocker") as blocker:
        blocker._db.execute("BEGIN IMMEDIATE")
        line.judge(one.trigger_id, outcome=Outcome.FAIL)
        line.wait_until(lambda: line.metric("goldline_verdicts_total", camera="left", verdict="FAIL") == 1, "decided")
        line.kill()
        assert blocker.head == 0
        blocker._db.execute("ROLLBACK")
    line.start()
    line.link("inspection")
    line.link("capture@left")
    # The first decision stands, whatever is said now.
    line.judge(one.trigger_id, outcome=Outcome.PASS)
    line.judge(two.trigger_id)
    line.wait_until(lambda: line.metric("goldline_events_written_total") == 2, "both committed")
    assert line.metric("goldline_verdicts_total", camera="left", verdict="FAIL") == 1
    assert line.metric("goldline_triggers_total", camera="left") == 2
    assert line.stop() == 0
    assert verdicts_of(line.stored()) == {one.trigger_id: ("FAIL", None), two.trigger_id: ("PASS", None)}
    assert len(line.stored()) == 2


def _problem(line: Line) -> str:
    """The line with which publish refuses to start."""
    line.child.start(time.monotonic())
    assert line.child.popen is not None
    assert line.child.popen.wait(PATIENCE_S) == 2
    assert line.child.control is not None
    message = line.child.control.receive()
    assert isinstance(message, Failed)
    return message.problem


def with_events(line: Line, **changes: str) -> Line:
    settings = line.station.events.model_copy(update=changes)
    line.child._station = line.station = line.station.model_copy(update={"events": settings})
    return line


def test_an_address_in_use_is_named_with_its_key(make_line):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        problem = _problem(with_events(make_line(), command=address))
    assert problem == f"events.command: cannot listen on {address}: Address already in use"


def test_a_corrupt_outbox_is_set_aside_and_the_station_runs(make_line):
    line = make_line()
    outbox_path(line.station).parent.mkdir()
    outbox_path(line.station).write_bytes(b"not a database, not at all" * 100)
    line.start()
    line.link("inspection")
    line.capture()
    line.judge(line.open().trigger_id)
    line.subscriber.wait(1)
    state = ask(line.station.events.command, {"verb": "state"}, PATIENCE_S)
    assert [one["name"] for one in state["alarms"]] == ["outbox_set_aside"]
    assert len(list(outbox_path(line.station).parent.glob("*.corrupt-*"))) == 1


def test_the_documented_subscriber_works(line):
    page = (Path(__file__).parent.parent / "docs" / "events.md").read_text()
    program = page.partition("```python\n")[2].partition("```")[0]
    reader = subprocess.Popen(
        [sys.executable, "-u", "-c", program, line.station.events.live], stdout=subprocess.PIPE, text=True
    )
    try:
        line.capture()
        line.wait_until(lambda: ask(line.station.events.command, {"verb": "state"}, PATIENCE_S), "publish is up")
        # The reader has joined when it hears something: one trigger after another until it does.
        while not select.select([reader.stdout], [], [], 0.1)[0]:
            line.judge(line.open().trigger_id, outcome=Outcome.FAIL)
        assert reader.stdout is not None
        sequence, *rest = reader.stdout.readline().split()
        assert rest == ["left", "FAIL", "None"]
        assert len(sequence) == 20
    finally:
        reader.kill()
        reader.communicate()
