"""Drift: what good parts do raises no alarm, what has changed does, and a running station shows it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from edge import rehearsal
from edge.cameras import scene
from edge.drift import (
    ALARM_SPREADS,
    KINDS,
    LEAST_IMAGES,
    QUANTITIES,
    Baseline,
    Change,
    Drift,
    Usual,
    baseline,
    measured,
)
from edge.metric_table import ALARMS, TRENDS
from edge.metrics import Page, page_size
from edge.ranks import CLEAR_LOG10, WINDOW
from edge.records import Outcome, Pose, Reason, Verdict, error
from edge.watch import Watch
from tests.lines import Line, calibration
from tests.stations import CAMERA, SIZE, station


def goods(count: int, seed: int = 1) -> Baseline:
    draw = np.random.default_rng(seed)
    return baseline(draw.normal((4, -2, 0, 1, 1), (2, 1, 0.2, 0.04, 0.1), (count, 5)))


def verdict(*, outcome: Outcome = Outcome.PASS, p: float | None = None, **pose: float) -> Verdict:
    return Verdict(outcome=outcome, p_value=p, pose=Pose(**pose))


NOTHING_TAUGHT = calibration([])
USUAL = Baseline(
    dx_px=Usual(median=4.0, spread=2.0),
    dy_px=Usual(median=-2.0, spread=1.0),
    angle_deg=Usual(median=0.0, spread=0.2),
    gain=Usual(median=1.0, spread=0.04),
    sharpness=Usual(median=1.0, spread=0.1),
)


def test_a_baseline_is_median_and_spread_of_the_goods() -> None:
    found = goods(400)
    for name, centre, spread in (
        ("dx_px", 4, 2), ("dy_px", -2, 1), ("angle_deg", 0, 0.2), ("gain", 1, 0.04), ("sharpness", 1, 0.1),
    ):  # fmt: skip
        usual = getattr(found, name)
        assert usual.median == pytest.approx(centre, abs=0.3 * spread)
        assert usual.spread == pytest.approx(spread, rel=0.2)


def test_a_baseline_of_few_images_or_of_nothing_measured_says_nothing() -> None:
    assert goods(LEAST_IMAGES - 1) == Baseline()
    assert goods(LEAST_IMAGES).dx_px is not None
    assert baseline([]) == Baseline()
    unmeasured = baseline([measured(Pose(), None, 1.0)] * LEAST_IMAGES)
    assert unmeasured.gain is None
    assert unmeasured.sharpness == Usual(median=1.0, spread=0.0)


def test_a_baseline_can_be_stored() -> None:
    stored = msgspec.json.encode(goods(20))
    assert msgspec.json.decode(stored, type=Baseline) == goods(20)


def feed(drift: Drift, parts: int, draw: Callable[[], tuple[Verdict, float | None, float | None]]) -> list[Change]:
    return [change for _ in range(parts) for change in drift.observe(*draw())]


def usual_part(random_: np.random.Generator, **shift: float) -> tuple[Verdict, float, float]:
    """A part as USUAL has them, each quantity moved by so many spreads."""
    values = {
        name: getattr(USUAL, name).median + getattr(USUAL, name).spread * (random_.normal() + shift.get(name, 0.0))
        for name in QUANTITIES
    }
    gain, sharpness = values.pop("gain"), values.pop("sharpness")
    return verdict(**values), gain, sharpness


def test_parts_as_the_goods_were_raise_no_alarm() -> None:
    draw = np.random.default_rng(1)
    drift = Drift(NOTHING_TAUGHT, USUAL)
    assert feed(drift, 20_000, lambda: usual_part(draw)) == []
    assert max(abs(spreads) for spreads in drift.trends.values()) < 0.6


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("way", [-1, 1])
def test_each_quantity_that_leaves_its_place_raises_its_alarm_and_no_other(name: str, way: int) -> None:
    draw = np.random.default_rng(2)
    drift = Drift(NOTHING_TAUGHT, USUAL)
    feed(drift, 100, lambda: usual_part(draw))
    (up,) = feed(drift, 300, lambda: usual_part(draw, **{name: 6.0 * way}))
    kind = next(kind for kind, names in KINDS.items() if name in names)
    assert (up.kind, up.is_up, up.lead) == (kind, True, name)
    assert way * up.reached >= ALARM_SPREADS
    assert way * drift.trends[name] == pytest.approx(6, abs=0.6)
    (down,) = feed(drift, 300, lambda: usual_part(draw))
    assert (down.kind, down.is_up) == (kind, False)


def test_an_alarm_at_its_threshold_does_not_flutter() -> None:
    draw = np.random.default_rng(3)
    drift = Drift(NOTHING_TAUGHT, USUAL)
    assert len(feed(drift, 20_000, lambda: usual_part(draw, gain=4.0))) == 1


def test_parts_that_were_misplaced_now_and_then_move_no_trend() -> None:
    draw = np.random.default_rng(4)
    drift = Drift(NOTHING_TAUGHT, USUAL)
    for number in range(5_000):
        part, gain, sharpness = usual_part(draw, dx_px=500.0 if number % 10 == 0 else 0.0)
        assert drift.observe(part, gain, sharpness) == []


def test_what_the_goods_did_not_vary_by_may_still_vary_a_little() -> None:
    drift = Drift(NOTHING_TAUGHT, baseline([measured(Pose(), 1.0, 1.0)] * 20))
    assert feed(drift, 500, lambda: (verdict(dx_px=1.5, angle_deg=-0.15), 1.06, 0.85)) == []
    changes = feed(drift, 500, lambda: (verdict(dx_px=3.0, angle_deg=-0.15), 1.12, 0.7))
    assert sorted(change.kind for change in changes) == ["gain", "pose", "sharpness"]


def test_parts_that_fail_are_measured_but_only_passed_ones_are_ranked_and_errors_say_nothing() -> None:
    drift = Drift(calibration([0.1 * number for number in range(50)]), USUAL)
    for _ in range(2 * WINDOW):
        drift.observe(verdict(outcome=Outcome.FAIL, p=0.02), 1.08, 1.0)
        drift.observe(error(Reason.CANNOT_JUDGE), 9.0, 9.0)
    assert drift.trends["gain"] == pytest.approx(2.0, abs=0.1)
    assert drift.trends["sharpness"] == 0
    assert (drift.ks_distance, drift.log10_evidence) == (0, 0)
    for _ in range(WINDOW):
        drift.observe(verdict(p=1.0), None, None)
    assert drift.ks_distance > 0.9


def test_a_set_without_goods_or_baseline_is_silent() -> None:
    drift = Drift(NOTHING_TAUGHT, Baseline())
    assert feed(drift, 1_000, lambda: (verdict(p=None, dx_px=1e6), 3.0, 0.0)) == []
    assert drift.trends == {}


# --- metrics and the log


@pytest.fixture
def page() -> Page:
    memory = os.memfd_create("page")
    os.ftruncate(memory, page_size("inspection", ("left",)))
    made = Page(memory, "inspection", ("left",))
    os.close(memory)
    return made


def shown(page: Page, name: str) -> dict[str, float]:
    """By the last label's value."""
    return {series.labels[-1]: numbers[0] for series, numbers in page.read() if series.metric.name == name}


def test_the_labels_are_those_of_the_alarms_and_trends() -> None:
    assert tuple(KINDS) == ALARMS
    assert QUANTITIES == TRENDS


def test_an_alarm_is_shown_counted_and_said_once_and_its_end_too(page: Page) -> None:
    with capture_logs() as said:
        watch = Watch(page, "left", Drift(NOTHING_TAUGHT, USUAL))
        for _ in range(300):
            watch.observe(verdict(dx_px=4.0, dy_px=-2.0), 1.3, 1.0)
        assert shown(page, "goldline_drift_alarm") == {"appearance": 0, "pose": 0, "gain": 1, "sharpness": 0}
        assert shown(page, "goldline_drift_trend_spreads")["gain"] == pytest.approx(7.5, abs=0.1)
        for _ in range(300):
            watch.observe(verdict(dx_px=4.0, dy_px=-2.0), 1.0, 1.0)
    assert shown(page, "goldline_drift_alarm")["gain"] == 0
    assert shown(page, "goldline_drift_alarms_total") == {"appearance": 0, "pose": 0, "gain": 1, "sharpness": 0}
    assert [(line["log_level"], line["camera"], line["kind"]) for line in said] == [
        ("warning", "left", "gain"),
        ("info", "left", "gain"),
    ]


def test_parts_that_look_otherwise_are_shown(page: Page) -> None:
    line = Line(5, 100)
    with capture_logs() as said:
        watch = Watch(page, "left", Drift(line.calibration, Baseline()))
        for p in [*line.p_values(1_000), *line.p_values(500, worse=3.0)]:
            outcome = Outcome.PASS if line.grid.cell(p) is not None else Outcome.FAIL
            watch.observe(verdict(outcome=outcome, p=p), None, None)
    assert shown(page, "goldline_drift_ks_distance")["left"] > 0.2
    assert shown(page, "goldline_drift_log10_evidence")["left"] > CLEAR_LOG10
    assert shown(page, "goldline_drift_alarm")["appearance"] == 1
    assert [(line["log_level"], line["kind"], line["lead"]) for line in said] == [("warning", "appearance", "worse")]


def test_a_worker_that_died_leaves_no_alarm_standing(page: Page) -> None:
    with capture_logs():
        watch = Watch(page, "left", Drift(NOTHING_TAUGHT, USUAL))
        for _ in range(300):
            watch.observe(verdict(dx_px=4.0, dy_px=-2.0), 1.3, 1.0)
    page.lapse()
    assert set(shown(page, "goldline_drift_alarm").values()) == {0}
    assert set(shown(page, "goldline_drift_trend_spreads").values()) == {0}
    assert shown(page, "goldline_drift_alarms_total")["gain"] == 1


@pytest.mark.timeout(180)
def test_a_running_station_shows_that_its_pictures_grew_darker(taught: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    (tmp_path / "dark").mkdir()
    for number in range(20):
        picture = scene.render(scene.GOOD, draw, SIZE)[0]
        rehearsal.write_picture(tmp_path / "dark" / f"{number:02}.png", (picture * 0.72).astype(np.uint8))
    camera = {"source": "folder", "path": str(tmp_path / "dark"), "rate_hz": 25.0}
    config = station(taught, tmp_path, {"left": camera, "right": CAMERA})
    with rehearsal.running(config) as daemon:
        until = time.monotonic() + 100
        while daemon.total("goldline_drift_alarm", camera="left", kind="gain") < 1:
            assert time.monotonic() < until, daemon.metrics()
            time.sleep(0.1)
        assert daemon.total("goldline_drift_trend_spreads", camera="left", quantity="gain") >= ALARM_SPREADS
        assert daemon.total("goldline_drift_alarms_total", camera="left", kind="gain") == 1
        assert daemon.total("goldline_drift_alarm", camera="right") == 0
    lines = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
    drifted = [line for line in lines if line["event"] == "drift"]
    assert [(line["camera"], line["kind"], line["reached"] >= ALARM_SPREADS) for line in drifted] == [
        ("left", "gain", True)
    ]
    assert drifted[0]["worker"] == "inspection"
