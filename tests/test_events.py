"""Events: what goes out comes back, and the published schema is the one in force."""

import json
import math
import re
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import announce, events, header
from edge.events import Event, IdRange, Result, Source
from edge.header import Flag, Header
from edge.ledger import Decision, Origin, View
from edge.records import CheckScore, Defect, Limits, Offset, Outcome, Pose, Reason, Verdict, error
from tests import values
from tools import asyncapi

SOURCE = Source(site="-", line="a", station="s1")
STREAM = UUID(int=7)
SCHEMA = Path(__file__).parent.parent / "docs" / "schema" / "goldline-event-v1.json"
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
PIXELS = st.integers(0, 10_000)

LIMITS = st.builds(Limits, review=NUMBERS, fail=NUMBERS)
DEFECTS = st.builds(Defect, check=st.text(), bbox=st.tuples(PIXELS, PIXELS, PIXELS, PIXELS), score=NUMBERS)
OFFSETS = st.builds(
    Offset, dx_px=NUMBERS, dy_px=NUMBERS, angle_deg=NUMBERS, dx_mm=st.none() | NUMBERS, dy_mm=st.none() | NUMBERS
)
TEXTS = st.none() | st.text()
CHECKS = st.builds(CheckScore, score=NUMBERS, limits=LIMITS, found=TEXTS, expected=TEXTS, offset=st.none() | OFFSETS)
VERDICTS = st.builds(
    Verdict,
    outcome=st.sampled_from(Outcome),
    reason=st.none() | st.sampled_from(Reason),
    detail=st.none() | st.text(),
    review=st.booleans(),
    score=st.none() | NUMBERS,
    limits=st.none() | LIMITS,
    checks=st.dictionaries(st.text(), CHECKS, max_size=3),
    defects=st.lists(DEFECTS, max_size=3).map(tuple),
    pose=st.none() | st.just(Pose(dx_px=1.5, dy_px=-2.0, angle_deg=0.25)),
    closest_reference=st.none() | st.text(),
    p_value=st.none() | NUMBERS,
)
ORIGIN = Origin(frame=values.frame(1), provenance=values.PROVENANCE, timing=values.TIMING)
VIEWS = st.builds(View, verdict=VERDICTS, origin=st.none() | st.just(ORIGIN))
TRIGGERS = st.builds(
    values.trigger,
    st.integers(1, 2**53),
    unit_identifier=st.none() | st.text(),
    expect=st.dictionaries(st.text(), st.text(), max_size=2),
    views=st.sampled_from([(), ("top", "side"), ("top.bright", "top.dark")]),
)


def null_for_not_finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: null_for_not_finite(one) for key, one in value.items()}
    return [null_for_not_finite(one) for one in value] if isinstance(value, list | tuple) else value


def decision(verdict: Verdict, origin: Origin | None = None) -> Decision:
    return decided(values.trigger(3), verdict, {"left": View(verdict=verdict, origin=origin)})


def decided(trigger, verdict: Verdict, views: dict[str, View]) -> Decision:
    return Decision(trigger=trigger, verdict=verdict, views=views, decided_ns=values.OPENED_NS + 12_000_000)


@given(VERDICTS, st.lists(VIEWS, min_size=2, max_size=2), TRIGGERS, st.booleans(), st.integers(1, 2**63))
def test_what_goes_out_comes_back(verdict, views, trigger, is_simulated, sequence):
    made = decided(trigger, verdict, dict(zip(trigger.every_view, views, strict=False)))
    event = events.sealed(announce.result_event(SOURCE, made, is_simulated=is_simulated), STREAM, sequence)
    back = events.decode(events.encode(event))
    assert null_for_not_finite(msgspec.to_builtins(back)) == null_for_not_finite(msgspec.to_builtins(event))
    assert events.decode(events.encode(back)) == back
    assert int(back.sequence) == sequence
    assert back.data.trigger_id == trigger.trigger_id
    assert tuple(back.data.views) == trigger.views


def test_an_event_says_what_was_decided_about_what_and_when():
    verdict = Verdict(outcome=Outcome.FAIL, review=True, score=4.5, limits=Limits(review=3.0, fail=6.0))
    event = announce.result_event(SOURCE, decision(verdict, ORIGIN), is_simulated=True)
    known = json.loads(events.encode(events.sealed(event, STREAM, 41)))
    assert known["id"] == f"{STREAM}/41"
    assert known["sequence"] == "00000000000000000041"
    assert known["source"] == "urn:goldline:-:a:s1"
    assert known["time"] == "2025-10-09T08:53:20.135456Z"
    data = known["data"]
    assert (data["verdict"], data["review"], data["limits"]) == ("FAIL", True, {"review": 3.0, "fail": 6.0})
    assert (data["product"], data["model_sha256"]) == ("lid", "m" * 64)
    assert data["own_models_sha256"] == {"part.model": "o" * 64}
    assert (data["deadline_ms"], data["on_time"], data["is_simulated"]) == (1000.0, True, True)
    assert data["latency"]["capture_to_verdict_ms"] == 12.0


def test_what_was_never_judged_names_no_model():
    data = announce.result_event(SOURCE, decision(error(Reason.DEADLINE)), is_simulated=False).data
    assert (data.verdict, data.reason, data.model_sha256, data.latency) == (Outcome.ERROR, Reason.DEADLINE, None, None)
    assert data.own_models_sha256 == {}


def test_an_event_says_what_a_check_read_and_where_and_how_rare_that_is():
    offset = Offset(dx_px=1.5, dy_px=-2.0, angle_deg=0.5, dx_mm=0.3, dy_mm=-0.4)
    limits = Limits(review=1.0, fail=1.0)
    checks = {"plate.variant": CheckScore(score=2.0, limits=limits, found="oak", expected="ash", offset=offset)}
    verdict = Verdict(outcome=Outcome.FAIL, score=9.0, checks=checks, p_value=0.02)
    event = announce.result_event(SOURCE, decision(verdict, ORIGIN), is_simulated=True)
    data = json.loads(events.encode(event))["data"]
    check = data["checks"]["plate.variant"]
    assert (check["found"], check["expected"], check["camera"], data["p_value"]) == ("oak", "ash", "left", 0.02)
    assert check["offset"] == {"dx_px": 1.5, "dy_px": -2.0, "angle_deg": 0.5, "dx_mm": 0.3, "dy_mm": -0.4}
    assert data["views"] == {}


def seen(check: str, outcome: Outcome, dx_px: float) -> View:
    verdict = Verdict(
        outcome=outcome,
        score=dx_px,
        checks={check: CheckScore(score=dx_px, limits=Limits(review=1.0, fail=2.0))},
        defects=(Defect(check=check, bbox=(1, 2, 3, 4), score=dx_px),) if outcome is Outcome.FAIL else (),
        pose=Pose(dx_px=dx_px),
        closest_reference=f"{check}.png",
        p_value=0.5,
    )
    return View(verdict=verdict, origin=ORIGIN)


def test_an_event_of_a_group_has_every_view_and_says_which_camera_saw_what():
    views = {
        "top": seen("lid.anomaly", Outcome.PASS, 0.5),
        "side": seen("label.anomaly", Outcome.FAIL, 3.0),
        "back": View(verdict=error(Reason.MISSING_VIEW, "no view by the deadline")),
    }
    trigger = values.trigger(3, "box", views=("top", "side", "back"))
    verdict = Verdict(outcome=Outcome.FAIL, score=3.0, detail="back: no view by the deadline")
    event = announce.result_event(SOURCE, decided(trigger, verdict, views), is_simulated=True)
    data = json.loads(events.encode(event))["data"]
    assert (data["camera"], data["verdict"], data["model_sha256"]) == ("box", "FAIL", "m" * 64)
    assert {name: check["camera"] for name, check in data["checks"].items()} == {
        "lid.anomaly": "top",
        "label.anomaly": "side",
    }
    (defect,) = data["defects"]
    assert (defect["check"], defect["camera"]) == ("label.anomaly", "side")
    of_one_view = ("pose", "closest_reference", "captured", "frame_id", "device_timestamp_ns", "latency")
    assert all(data[field] is None for field in of_one_view)
    assert {camera: view["verdict"] for camera, view in data["views"].items()} == {
        "top": "PASS",
        "side": "FAIL",
        "back": "ERROR",
    }
    side, back = data["views"]["side"], data["views"]["back"]
    assert (side["pose"]["dx_px"], side["closest_reference"], side["frame_id"]) == (3.0, "label.anomaly.png", 1)
    assert (side["latency"]["capture_to_verdict_ms"], side["p_value"], side["reference_set"]) == (12.0, 0.5, "s" * 64)
    assert (back["reason"], back["detail"]) == ("missing_view", "no view by the deadline")
    assert back["latency"] is back["reference_set"] is back["captured"] is None


def test_a_reader_ignores_fields_of_a_later_version():
    event = announce.interrupted_event(SOURCE, (IdRange(camera="left", first=3, last=9),), values.OPENED_UTC_NS)
    known = json.loads(events.encode(event))
    known["later"] = known["data"]["later"] = known["data"]["interrupted"][0]["later"] = 1
    assert events.decode(json.dumps(known).encode()) == event


HEADERS = st.builds(
    Header,
    flags=st.integers(0, 7).map(Flag),
    stream=st.uuids(),
    sequence=st.integers(0, 2**64 - 1),
    previous=st.integers(0, 2**64 - 1),
    verdict_utc_ns=st.integers(-(2**63), 2**63 - 1),
)


@given(HEADERS)
def test_a_header_comes_back(given_header):
    assert header.decode(header.encode(given_header)) == given_header


def test_a_header_is_as_documented():
    known = Header(flags=Flag.DURABLE | Flag.SIMULATED, stream=STREAM, sequence=258, previous=2, verdict_utc_ns=-1)
    assert header.encode(known).hex() == "010501" + "0" * 31 + "7" + "0000000000000102" + "0000000000000002" + "f" * 16


@pytest.mark.parametrize("data", [b"", b"\1" * 42, b"\2" + b"\1" * 42, b"\1\1\7" + b"\0" * 40])
def test_another_header_is_refused(data):
    with pytest.raises(ValueError, match="header of"):
        header.decode(data)


def test_a_topic_matches_by_whole_words():
    assert SOURCE.topic("left", "result") == "goldline.v1.-.a.s1.left.result."
    assert not SOURCE.topic("left2", "result").startswith(SOURCE.topic("left", "")[:-1])


def test_the_published_schema_is_current():
    assert SCHEMA.read_text() == json.dumps(events.schema(), indent=2) + "\n", "run tools/event_schema.py"


def test_the_documented_example_has_every_field():
    page = (SCHEMA.parent.parent / "events.md").read_text()
    example = json.loads(
        page.partition('```json\n{\n  "specversion"')[2].partition("```")[0].join(['{"specversion"', ""])
    )
    assert set(example) == set(Event.__struct_fields__)
    assert set(example["data"]) == set(Result.__struct_fields__)


def test_the_asyncapi_document_is_current_and_whole():
    """`@asyncapi/parser` finds no error in it; here, that every reference leads somewhere and every verb is there."""
    assert asyncapi.TARGET.read_text() == asyncapi.text(), "run: python tools/asyncapi.py"
    document = json.loads(asyncapi.TARGET.read_text())
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', asyncapi.TARGET.read_text()):
        found = document
        for word in reference.split("/"):
            found = found[word]
    messages = document["channels"]["sync"]["messages"]
    assert set(messages) == {"HELLO", "FETCH", "ACK", "WELCOME", "BATCH", "GONE", "ACKED", "ERR"}
    assert {"from", "stream"} <= set(document["components"]["schemas"]["Fetch"]["required"])
    assert set(document["operations"]) == {"say", "hello", "fetch", "ack", "order"}


def test_the_schema_lets_later_fields_in():
    assert all(one.get("additionalProperties", True) for one in events.schema()["$defs"].values())
    assert "verdict" in events.schema()["$defs"]["Result"]["required"]
    assert Event.__name__ in events.schema()["$defs"]
