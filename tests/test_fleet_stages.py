"""Which stations are next in a roll-out, and when a stage is over."""

import json
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import GoldlineError
from tests.needs import needs_module

needs_module("cryptography", "fleet")
needs_module("nats", "fleet")

from edge.config import Station  # noqa: E402
from edge.fleet import judged_by  # noqa: E402
from edge.fleet.plan import Acknowledged, ProductState, Rules  # noqa: E402
from edge.fleet.rollout import acknowledged  # noqa: E402
from edge.fleet.stages import Ordered, Over, Stopped, Waiting, before_of, lines, look, planned  # noqa: E402
from tests.fleet_product import MADE  # noqa: E402


@given(count=st.integers(1, 60), shares=st.lists(st.integers(1, 100), min_size=1, max_size=4, unique=True).map(sorted))
def test_stages_are_the_stations_in_order_each_once(count, shares):
    stations = [f"s{number}" for number in range(count)]
    stages = planned(stations, [share / 100 for share in shares])
    flat = [one for stage in stages for one in stage]
    assert flat == stations[: len(flat)]
    assert all(stages)
    assert len(flat) == max(1, -(-count * shares[-1] // 100))


def test_shares_that_do_not_grow_are_refused():
    with pytest.raises(GoldlineError, match="grow from stage to stage"):
        planned(["a"], [0.5, 0.2])


ORDER = Ordered("b" * 64, 7, "d" * 64)


def _said(*, serial=7, problem=None, refused=None, **state):
    product = ProductState(**{"wanted": ORDER.bundle, "active": ORDER.bundle, **state})
    return Acknowledged(
        station="s1",
        goldline="1",
        said=MADE,
        serial=serial,
        products={"lid": product},
        problem=problem,
        refused=refused,
    )


def _look(said, waited_s=1.0, arrived_s=None, **rules):
    acknowledged = {} if said is None else {"s1": said}
    return look("lid", {"s1": ORDER}, acknowledged, Rules(**rules), waited_s=waited_s, arrived_s=arrived_s)


def test_a_stage_is_over_when_every_station_judges_by_it():
    assert _look(_said(), arrived_s=0.0) == Over()
    assert _look(_said(is_in_force=True, is_judged=True), arrived_s=0.0) == Over()
    for waits in (None, _said(serial=6), _said(active=None), _said(is_in_force=True), _said(wanted="c" * 64)):
        assert isinstance(_look(waits), Waiting)
        assert isinstance(_look(waits, waited_s=700), Stopped)
    assert isinstance(_look(_said(), arrived_s=5.0, wait_s=10), Waiting)
    assert _look(_said(), arrived_s=11.0, wait_s=10) == Over()


def test_the_first_refusal_stops_it_and_an_older_one_does_not():
    state = ProductState(wanted=ORDER.bundle, problem="roles", is_refused=True)
    refused = msgspec.structs.replace(_said(), products={"lid": state})
    assert _look(refused) == Stopped("s1", "roles")
    assert isinstance(_look(msgspec.structs.replace(refused, serial=6)), Waiting)
    assert _look(_said(serial=3, problem="not trusted", refused=ORDER.document)) == Stopped("s1", "not trusted")
    assert isinstance(_look(_said(serial=3, problem="not trusted", refused="e" * 64)), Waiting)


def test_parts_are_judged_before_it_goes_on_and_worse_ones_stop_it():
    judged = {"is_in_force": True, "is_judged": True, "before": {"PASS": 98, "FAIL": 2}}
    few = _said(counts={"PASS": 9}, **judged)
    assert isinstance(_look(few, arrived_s=1.0, parts=10), Waiting)
    well, badly = _said(counts={"PASS": 97, "FAIL": 3}, **judged), _said(counts={"PASS": 90, "ERROR": 10}, **judged)
    assert _look(well, arrived_s=1.0, parts=10) == Over()
    assert "10.0% of its parts are not PASS; before it was 2.0%" in _look(badly, arrived_s=1.0, parts=10).problem


def test_a_station_goes_back_to_what_it_had():
    assert before_of("lid", ORDER.bundle, _said(previous="a" * 64)) == "a" * 64
    # It refused the bundle: what it has is what it had.
    assert before_of("lid", ORDER.bundle, _said(active="a" * 64, previous="0" * 64)) == "a" * 64
    assert before_of("lid", ORDER.bundle, None) is None


WHOLE = {"format": 1, "station": "s1", "goldline": "1", "said": "2026-01-02T00:00:00Z", "serial": 1, "products": {}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"said": "2026-01-02T00:00:00"},
        {"serial": 1 << 70},
        {"serial": -1},
        {"goldline": "1\n\x1b[2Js2  all is well"},
        {"problem": "x" * 2000},
        {"behind": 1 << 70},
        {"products": {"lid": {"previous": "../../x"}}},
        {"products": {"lid": {"since": "2026-01-02T00:00:00"}}},
        {"products": {"lid": {"counts": {"PASS": 1 << 70}}}},
        {"products": {"lid": {"problem": "\u202eright to left"}}},
    ],
)
def test_what_a_stations_key_may_write_is_computed_with_signed_and_shown_only_within_bounds(wrong):
    assert set(acknowledged({"s1": json.dumps(WHOLE).encode()})) == {"s1"}
    assert acknowledged({"s1": json.dumps(WHOLE | wrong).encode()}) == {}


def test_a_station_that_dies_while_it_prepares_has_refused_nothing(monkeypatch, tmp_path):
    standing = {
        "state": "Ready",
        "job": {"product": "lid", "recipe_sha256": None, "reference_set": None, "configuration": 1},
    }

    def ask(address, order, within_s, keys):
        if order["verb"] == "prepare":
            raise GoldlineError("no answer")
        return standing

    monkeypatch.setattr(judged_by, "ask", ask)
    with pytest.raises(judged_by.Busy, match="no answer"):
        judged_by.CommandSocket(Station.model_validate({"state_dir": tmp_path})).prepare("lid", None)


def test_a_station_whose_clock_is_ahead_is_not_for_ever_there():
    for said, is_there in ((MADE, True), (MADE - timedelta(days=1), False), (MADE + timedelta(days=365), False)):
        (line,) = lines({"s1": msgspec.structs.replace(_said(), said=said)}, {}, MADE)
        assert line.is_connected is is_there
