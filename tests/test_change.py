"""What a change of each key does: every key has one row, the difference of two stations names it, and the page shows it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import change, schema
from edge.change import RULES, Effect, difference, restarted, rule_of
from edge.config import Station

ROOT = Path(__file__).parents[1]
CAMERA = {"source": "simulated"}
GIGE: dict[str, Any] = {"source": "gige", "address": "cam1"}
KEYS = sorted({".".join(path) for path in schema.leaves(Station, ())})


def station(**keys: Any) -> Station:
    return Station(**({"product": "trunk", "cameras": {"left": CAMERA, "right": CAMERA}} | keys))


def matches(pattern: str, key: str) -> bool:
    one, other = pattern.split("."), key.split(".")
    return len(one) == len(other) and all(a in ("*", b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_one_row(key: str) -> None:
    rows = [rule for rule in RULES for pattern in rule.keys if matches(pattern, key)]
    assert len(rows) == 1, key
    assert rule_of(tuple(key.split("."))) is rows[0]
    assert rows[0].why


def test_no_row_is_of_a_key_that_there_is_not() -> None:
    sections = {key.rsplit(".", count)[0] for key in KEYS for count in range(1, 5)}
    unknown = [
        pattern
        for rule in RULES
        for pattern in rule.keys
        if not any(matches(pattern, key) for key in {*KEYS, *sections})
    ]
    assert not unknown


def test_what_is_live_names_who_takes_it_over_and_what_is_a_workers_who_is_started_anew() -> None:
    for rule in RULES:
        assert bool(rule.workers) == (rule.effect is not Effect.STATION) or rule.keys == ("inference.backbone",)
        if rule.effect is Effect.WORKER:
            assert all(worker.endswith("@") or worker in ("uplink", "sync", "archive") for worker in rule.workers)


def test_nothing_differs_from_itself() -> None:
    assert difference(station(), station()) == ()


@pytest.mark.parametrize(
    ("before", "after", "key", "effect", "workers"),
    [
        ({}, {"product": "lid"}, "product", Effect.LIVE, ("inspection", "publish")),
        (
            {},
            {"cameras": {"left": CAMERA | {"rate_hz": 3.0}, "right": CAMERA}},
            "cameras.left.rate_hz",
            Effect.WORKER,
            ("capture@left",),
        ),
        ({}, {"cameras": {"left": CAMERA}}, "cameras.right", Effect.STATION, ()),
        ({}, {"station_id": "other"}, "station_id", Effect.STATION, ()),
        ({}, {"lanes": {"modbus": {}}}, "lanes.modbus", Effect.STATION, ()),
        (
            {"lanes": {"modbus": {}}},
            {"lanes": {"modbus": {"listen": "127.0.0.1:5021"}}},
            "lanes.modbus.listen",
            Effect.WORKER,
            ("lane@modbus",),
        ),
        (
            {"cameras": {"left": GIGE}},
            {"cameras": {"left": GIGE | {"features": {"ExposureTime": 800.0}}}},
            "cameras.left.features.ExposureTime",
            Effect.WORKER,
            ("capture@left",),
        ),
        (
            {"cameras": {"left": GIGE}},
            {"cameras": {"left": GIGE | {"features": {"Maker.Exposure": 800.0}}}},
            "cameras.left.features.Maker.Exposure",
            Effect.WORKER,
            ("capture@left",),
        ),
    ],
)
def test_each_change_says_what_it_does(
    before: dict[str, Any], after: dict[str, Any], key: str, effect: Effect, workers: tuple[str, ...]
) -> None:
    (one,) = difference(station(**before), station(**after))
    assert (one.key, one.effect, one.workers) == (key, effect, workers)
    assert restarted((one,)) == (frozenset(workers) if effect is Effect.WORKER else frozenset())


def test_shots_are_compared_by_their_place() -> None:
    shots = [{"name": "dark", "role": "a"}, {"name": "bright", "role": "b"}]
    trigger = {"mode": "software"}
    before = station(cameras={"left": GIGE | {"shot": shots, "trigger": trigger}})
    brighter = [shots[0], shots[1] | {"features": {"Gain": 2.0}}]
    (one,) = difference(before, station(cameras={"left": GIGE | {"shot": brighter, "trigger": trigger}}))
    assert (one.key, one.old, one.new) == ("cameras.left.shot.1.features.Gain", "-", "2.0")
    (more,) = difference(
        before, station(cameras={"left": GIGE | {"shot": [*shots, {"name": "c", "role": "c"}], "trigger": trigger}})
    )
    assert (more.key, more.effect) == ("cameras.left.shot.2", Effect.STATION)


def test_no_password_is_shown() -> None:
    cameras = [{"left": {"source": "stream", "url": f"rtsp://user:{word}@cam/1"}} for word in ("first", "second")]
    (one,) = difference(station(cameras=cameras[0]), station(cameras=cameras[1]))
    assert "first" not in str(one)
    assert "second" not in str(one)


deadlines = st.floats(1, 1000)


@given(deadlines, deadlines, st.integers(1, 64), st.sampled_from(["debug", "info"]))
def test_what_differs_is_exactly_what_was_changed(first: float, second: float, depth: int, level: str) -> None:
    def made(deadline_ms: float, queue_depth: int, log_level: str) -> Station:
        trigger = {"mode": "software", "deadline_ms": deadline_ms, "queue_depth": queue_depth}
        return station(cameras={"left": CAMERA | {"trigger": trigger}}, log={"level": log_level})

    found = {one.key for one in difference(made(first, 4, "info"), made(second, depth, level))}
    expected = {"cameras.left.trigger.deadline_ms": first != second, "cameras.left.trigger.queue_depth": depth != 4}
    assert found == {key for key, differs in {**expected, "log.level": level != "info"}.items() if differs}


def test_the_page_shows_the_table() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    import reload_page

    assert reload_page.table() in (ROOT / "docs" / "reload.md").read_text()
    assert all(key in reload_page.table() for rule in change.RULES for key in rule.keys)
