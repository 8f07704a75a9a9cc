"""The OPC UA lane, by a client that is not ours: node-opcua, which reads the companion specification for itself."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from edge.lanes.kept import kept_path
from edge.lanes.station_link import Place
from edge.metrics import State
from edge.record_log import RecordLog
from edge.records import Outcome, Reason
from tests.lanes.opcua_bench import (
    CONTINUOUS,
    Peer,
    Publish,
    accepted,
    counted,
    decided,
    free_port,
    publishing,
    results,
    until,
)
from tests.needs import needs_module, needs_node, needs_root

# What decides in a result's content, by place (docs/opcua.md).
VERDICT, EVALUATION, REASON, GOOD = range(4)


@pytest.fixture(scope="module")
def needed():
    needs_module("asyncua", "opcua")
    needs_node("node-opcua-client")


@pytest.fixture
def lane(needed, tmp_path):
    port = free_port()
    with publishing(tmp_path, {"opcua": {"listen": f"127.0.0.1:{port}"}}) as publish:
        publish.start()
        publish.wait_until_up()
        yield publish, Peer(f"opc.tcp://127.0.0.1:{port}/goldline", tmp_path / "pki")


@pytest.fixture(scope="module")
def kept_lane(needed, tmp_path_factory):
    """One for the tests that need nothing but answers of it: a start takes seconds."""
    port, folder = free_port(), tmp_path_factory.mktemp("lane")
    with publishing(folder, {"opcua": {"listen": f"127.0.0.1:{port}"}}) as publish:
        publish.start()
        publish.wait_until_up()
        yield publish, Peer(f"opc.tcp://127.0.0.1:{port}/goldline", folder / "pki")


@pytest.fixture
def answering(kept_lane):
    """That one, with nothing ordered yet."""
    publish, _ = kept_lane
    publish.orders.clear()
    publish.answer = accepted
    publish.stand(CONTINUOUS)
    return kept_lane


def value_of(peer: Peer, path: str) -> object:
    (answer,) = peer.ask("read", path)
    return answer["value"]


def test_each_result_is_an_event_of_the_companion_specification(lane):
    publish, peer = lane
    with peer.watching() as heard:
        publish.decide(*(decided(number) for number in range(1, 51)))
        publish.decide(decided(51, Outcome.FAIL), decided(52, Outcome.ERROR, reason=Reason.CAMERA_DOWN))
        until(lambda: len(results(heard)) >= 52, "every result")
    assert results(heard) == [str(number) for number in range(1, 53)]
    events = [one for one in heard if one.get("ResultId")]
    passed, failed, unjudged = events[0], events[50], events[51]
    assert passed["EventType"].endswith("i=1024") and passed["PartId"]["id"] == "U1" and passed["IsPartial"] is False
    assert bytes(passed["InternalRecipeId"]["hash"]["data"]) == bytes.fromhex("ab" * 32)
    assert passed["InternalRecipeId"]["id"] == "lid" and passed["JobId"]["id"] == "lid/1"
    assert round(passed["ProcessingTimes"]["processingDuration"]) == 40
    assert [one["ResultState"] for one in (passed, failed, unjudged)] == [1, 1, 4]
    content = [one["ResultContent"] for one in (passed, failed, unjudged)]
    assert [one[VERDICT] for one in content] == ["PASS", "FAIL", "ERROR"]
    assert [one[EVALUATION] for one in content] == [1, 2, 3]
    assert [one[GOOD] for one in content] == [True, False, False]
    assert content[2][REASON] == "camera_down"


def test_what_is_told_after_its_deadline_is_not_good(lane):
    publish, peer = lane
    long_ago = datetime.now(UTC) - timedelta(seconds=30)
    with peer.watching() as heard:
        publish.decide(decided(1, triggered=long_ago, deadline_ms=1000.0))
        until(lambda: results(heard), "the result")
    assert heard[-1]["ResultContent"][VERDICT] == "PASS" and heard[-1]["ResultContent"][GOOD] is False
    assert value_of(peer, "Channels.left.Good") is False


def test_methods_are_orders(answering):
    publish, peer = answering
    machine = "VisionStateMachine.AutomaticModeStateMachine"
    part, recipe = {"PartIdDataType": {"id": "A17"}}, {"RecipeIdExternalDataType": {"id": "lid/oak"}}
    started = peer.call(f"{machine}.StartSingleJob", None, part, None, None, ["channel=left", "code=4711"])
    assert started == {"status": "Good", "outputs": [{"id": "7"}, 0]}
    publish.answer = lambda _: {"accepted": True, "state": "Ready", "job": {"product": "lid", "configuration": 2}}
    prepared = peer.call("RecipeManagement.PrepareRecipe", recipe, None)
    assert prepared == {"status": "Good", "outputs": [{"id": "lid"}, True, 0]}
    assert peer.call("VisionStateMachine.Halt", 0, "")["status"] == "Good"
    publish.answer = lambda _: {"accepted": False, "error": "not in Halted"}
    assert peer.call(f"{machine}.StartContinuous", None, None, None, None, [])["status"] == "BadInvalidState"
    assert value_of(peer, "LastRefusal") == "not in Halted"
    assert peer.call("Trigger", "middle", "", "")["status"] == "BadInvalidArgument"
    orders = [{key: value for key, value in order.items() if key != "id"} for order in publish.orders]
    assert orders == [
        {"verb": "start_single", "camera": "left", "unit_identifier": "A17", "expect": {"code": "4711"}},
        {"verb": "prepare", "product": "lid", "variant": "oak"},
        {"verb": "halt"},
        {"verb": "start"},
    ]


def test_results_can_be_asked_for(answering):
    publish, peer = answering
    publish.decide(*(decided(number) for number in range(1, 8)))
    until(lambda: value_of(peer, "Channels.left.TriggerId") == [0, 7], "the newest")
    one = peer.call("ResultManagement.GetResultById", {"ResultIdDataType": {"id": "3"}}, 0)
    assert one["outputs"][1]["partId"]["id"] == "U3" and one["outputs"][2] == 0
    none = peer.call("ResultManagement.GetResultById", {"ResultIdDataType": {"id": "99"}}, 0)
    assert none["status"] == "BadNotFound"
    # The specification has less than 0 for a client that cannot say how long.
    for name, wait_ms, status in (("3", -1, "Good"), ("99", -1, "BadNotFound"), ("3", "soon", "BadInvalidArgument")):
        asked = peer.call("ResultManagement.GetResultById", {"ResultIdDataType": {"id": name}}, wait_ms)
        assert asked["status"] == status
    ids = (None,) * 8
    listed = peer.call("ResultManagement.GetResultListFiltered", 1, *ids, 2, 1, 0)
    assert [one["partId"]["id"] for one in listed["outputs"][3]] == ["U6", "U5"]
    assert peer.call("ResultManagement.GetResultListFiltered", -1, *ids, 2, 0, 0)["status"] == "BadInvalidArgument"


def test_a_job_is_started_with_what_is_prepared(answering):
    publish, peer = answering
    start, part = "VisionStateMachine.AutomaticModeStateMachine.StartSingleJob", {"PartIdDataType": {"id": "A17"}}
    box = {"RecipeIdExternalDataType": {"id": "box"}}
    assert peer.call(start, None, part, box, None, ["channel=left"])["status"] == "BadInvalidArgument"
    assert value_of(peer, "LastRefusal") == "box is not prepared: lid is"
    publish.stand(CONTINUOUS | {"job": {"product": "lid", "variant": "oak", "configuration": 1}})
    until(lambda: value_of(peer, "Variant") == "oak", "the variant")
    answers = {
        name: peer.call(start, None, part, {"RecipeIdExternalDataType": {"id": name}}, None, ["channel=left"])["status"]
        for name in ("lid", "lid/oak", "lid/birch", "box")
    }
    assert answers == {"lid": "Good", "lid/oak": "Good", "lid/birch": "BadInvalidArgument", "box": "BadInvalidArgument"}
    assert len(publish.orders) == 2


def test_the_state_is_the_stations_and_ends_with_publish(lane):
    publish, peer = lane
    with peer.watching() as heard:
        publish.stand(CONTINUOUS | {"state": "Error", "alarms": [{"name": "disk", "text": "full"}]})
        until(lambda: any(one.get("EventType", "").endswith("i=1019") for one in heard), "the event of the error")
    assert value_of(peer, "VisionStateMachine.CurrentState") == {"locale": "en", "text": "Error"}
    assert value_of(peer, "Alarms") == ["disk: full"]
    publish.stand(CONTINUOUS)
    inner = "VisionStateMachine.AutomaticModeStateMachine.CurrentState"
    until(lambda: value_of(peer, inner) == {"locale": "en", "text": "ContinuousExecution"}, "the state")
    publish.beats = False
    until(lambda: "publish" in str(value_of(peer, "Alarms")), "the alarm of a publish that does not beat")
    assert peer.ask("read", inner)[0]["status"] == "BadStateNotActive"
    life = value_of(peer, "LifeCounter")
    assert value_of(peer, "LifeCounter") == life
    publish.beats = True
    until(lambda: value_of(peer, "LifeCounter") != life, "life goes on")


def test_no_result_is_missed_when_the_lane_is_killed(lane):
    publish, peer = lane
    with peer.watching() as heard:
        publish.decide(*(decided(number) for number in range(1, 21)))
        until(lambda: len(results(heard)) >= 20, "the first twenty")
        for first in (21, 41):
            publish.decide(*(decided(number) for number in range(first, first + 10)))
            publish.kill()
            publish.decide(*(decided(number) for number in range(first + 10, first + 20)))
            publish.start()
            until(lambda last=first + 19: str(last) in results(heard), "what was decided meanwhile")
        publish.unlink()
        publish.link()
        publish.decide(decided(61))
        until(lambda: "61" in results(heard), "what a new publish decides")
    told = results(heard)
    assert set(told) == {str(number) for number in range(1, 62)}
    assert told.count("61") == 1


def test_a_client_that_connects_again_by_itself_misses_nothing_of_a_killed_lane(lane):
    """It finds its subscription gone, makes it anew, and asks for what it may have missed: nothing, in words it knows."""
    publish, peer = lane
    with peer.staying() as client:
        publish.decide(*(decided(number) for number in range(1, 11)))
        until(lambda: len(results(client.heard)) >= 10, "the first ten")
        publish.decide(*(decided(number) for number in range(11, 16)))
        publish.kill()
        publish.decide(*(decided(number) for number in range(16, 21)))
        publish.start()
        until(lambda: "20" in results(client.heard), "what was decided meanwhile")
        publish.decide(decided(21))
        until(lambda: "21" in results(client.heard), "what comes then")
    assert set(results(client.heard)) == {str(number) for number in range(1, 22)}


def test_the_supervisor_hears_of_a_lane_that_loads_or_has_much_to_tell(lane):
    """Each is done in steps with a beat between them: at once they take longer than the patience with a running lane."""
    from edge.lanes.opcua import DECISIONS_A_TURN

    publish, _ = lane
    publish.kill()
    publish.decide(*(decided(number) for number in range(1, 3001)))
    publish.start()
    until(lambda: publish.child.page.state is State.WARMUP, "the lane loads, and says so")
    publish.wait_until_up()
    rounds = publish.child.page.loop_count
    until(lambda: kept_index(publish) == publish.log.end(), "the lane has told it all")
    assert publish.child.page.loop_count - rounds >= 3000 // DECISIONS_A_TURN - 10


def kept_index(publish: Publish) -> int:
    """How far the lane would not repeat: what it has told some seconds ago. 0: nothing can be read at the moment."""
    log = RecordLog.attach(kept_path(publish.station.runtime_dir, "opcua", "all"))
    assert log is not None
    records = list(log.records())
    log.close()
    return msgspec.msgpack.decode(records[-1].body, type=Place).index if records else 0


def make_certificates(folder: Path) -> None:
    from edge.lanes import opcua_certificate

    opcua_certificate.make(folder, "cell", "127.0.0.1", folder)


def test_only_a_trusted_certificate_enters(needed, tmp_path):
    folder, port = tmp_path / "certificates", free_port()
    make_certificates(folder)
    settings = {"opcua": {"listen": f"127.0.0.1:{port}", "certificates": str(folder)}}
    with publishing(tmp_path, settings) as publish:
        publish.start()
        publish.wait_until_up()
        url = f"opc.tcp://127.0.0.1:{port}/goldline"
        open_one = Peer(url, tmp_path / "pki").ask("read", "Product")
        secure = Peer(url, tmp_path / "pki", is_secure=True)
        unknown = secure.ask("read", "Product")
        assert "error" in open_one[0] and "error" in unknown[0]
        trust(tmp_path / "pki" / "own" / "certs" / "peer.pem", folder / "trusted" / "peer.der")
        assert secure.ask("read", "Product") == [{"path": "Product", "status": "Good", "value": "lid"}]
        assert secure.call("VisionStateMachine.Halt", 0, "")["status"] == "Good"
        (folder / "trusted" / "peer.der").unlink()
        assert "error" in secure.ask("read", "Product")[0]


def trust(pem: Path, der: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    der.write_bytes(x509.load_pem_x509_certificate(pem.read_bytes()).public_bytes(Encoding.DER))


def test_an_unencrypted_channel_gets_no_session_where_certificates_are_asked_for(needed, tmp_path):
    """asyncua lets anybody open a channel without security, to ask for the endpoints: no more may come of it."""
    folder, port = tmp_path / "certificates", free_port()
    make_certificates(folder)
    with publishing(tmp_path, {"opcua": {"listen": f"127.0.0.1:{port}", "certificates": str(folder)}}) as publish:
        publish.start()
        publish.wait_until_up()
        probe = Path(__file__).with_name("opcua_intruder.py")
        done = subprocess.run(
            [sys.executable, str(probe), str(port)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.split() == ["session:BadUserAccessDenied", "takeover:BadSessionIdInvalid"], done


def test_the_key_is_its_owners_and_is_not_written_over(needed, tmp_path):
    from edge.errors import GoldlineError

    make_certificates(tmp_path)
    assert (tmp_path / "own" / "key.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(GoldlineError, match="there is a key already"):
        make_certificates(tmp_path)


def test_what_root_makes_belongs_to_the_owner_of_its_folder_or_else_of_the_state(needed, tmp_path):
    """/etc is root's, and the service must read its key all the same."""
    from edge.lanes import opcua_certificate

    needs_root()
    given, state = tmp_path / "given", tmp_path / "state"
    for folder in (given, state):
        folder.mkdir()
    os.chown(given, 1234, 1235)
    os.chown(state, 2234, 2235)
    for folder, owner in ((given / "opcua", (1234, 1235)), (tmp_path / "etc" / "opcua", (2234, 2235))):
        opcua_certificate.make(folder, "cell", "127.0.0.1", state / "not" / "yet")
        for path in (folder, folder / "trusted", *folder.glob("own/*")):
            assert (path.stat().st_uid, path.stat().st_gid) == owner, path
        assert len(list(folder.glob("own/*"))) == 2


def test_a_listener_that_cannot_be_is_one_line(needed, tmp_path, capfd):
    port = free_port()
    with publishing(tmp_path, {"opcua": {"listen": f"127.0.0.1:{port}"}}) as first:
        first.start()
        first.wait_until_up()
        (tmp_path / "other").mkdir()
        with publishing(tmp_path / "other", {"opcua": {"listen": f"127.0.0.1:{port}"}}) as second:
            assert "in use" in failure_of(second)


def failure_of(publish: Publish) -> str:
    """A worker's last word."""
    publish.start()
    assert publish.child.popen is not None and publish.child.control is not None
    assert publish.child.popen.wait(60) == 2
    return getattr(publish.child.control.receive(), "problem", "")


def test_the_server_stops_without_waiting_for_its_clock(needed):
    """A worker that takes longer than half a second to leave is killed."""
    from edge.lanes.opcua_door import Door
    from edge.lanes.opcua_guard import Clients, GuardedServer

    async def stopped() -> None:
        server = GuardedServer(Clients(None), Door(*counted()))
        server.time_task = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.wait_for(server.stop(), 60)

    asyncio.run(stopped())


def test_nothing_stays_of_sessions_that_nobody_activates(needed):
    from edge.lanes.opcua_door import Door
    from edge.lanes.opcua_guard import Clients, GuardedServer

    server = GuardedServer(Clients(None), Door(*counted()))
    for _ in range(100):
        server.create_session("intruder", external=True)
    assert not server._external_sessions
