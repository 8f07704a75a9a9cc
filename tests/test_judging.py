"""Another product while frames come: what came before is judged by the one before, and what cannot be loaded is said."""

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import judging
from edge.channel import Channel
from edge.config import Station
from edge.errors import GoldlineError
from edge.messages import Frame, Judged, Prepare, Prepared
from edge.metrics import Page, page_size
from edge.records import Provenance
from tests import values
from tests.capture_bench import Connect
from tests.stations import CAMERA
from tests.test_inspection import PATIENCE_S, Bench, ByBrightness


class Named(ByBrightness):
    """Stands in for the inspector of a product."""

    def __init__(self, product: str) -> None:
        self._product = product

    def provenance(self, generation: int) -> Provenance:
        return msgspec.structs.replace(values.PROVENANCE, product=self._product, configuration=generation)


class Loads:
    """Stands in for the threads that load: the test says when one ends."""

    def __init__(self) -> None:
        self._running: list[Any] = []
        self.most_at_once = 0

    def begin(self, _station: Station, prepare: Prepare, ordered_ns: int, _wake: int) -> Any:
        self._running.append(SimpleNamespace(prepare=prepare, ordered_ns=ordered_ns, outcome=None))
        self.most_at_once = max(self.most_at_once, len(self._running))
        return self._running[-1]

    def end(self, outcome: Any) -> None:
        for one in self._running:
            one.outcome = outcome
        self._running.clear()


def a_page() -> Page:
    """Where inspection counts."""
    memory = os.memfd_create("page")
    os.posix_fallocate(memory, 0, page_size("inspection", ["left"]))
    try:
        return Page(memory, "inspection", ["left"])
    finally:
        os.close(memory)


CAPTURES: list[Channel] = []


def channel_of(bench: Bench) -> Channel:
    """An incarnation of the camera's process; it leaves after the test."""
    CAPTURES.append(bench.capture())
    return CAPTURES[-1]


@pytest.fixture
def bench(tmp_path: Path, channels: Connect) -> Iterator[Bench]:
    made = Bench(tmp_path, channels, inspector=Named("trunk"))
    yield made
    made.stop()
    while CAPTURES:
        CAPTURES.pop().close()


def hear(bench: Bench, channel: Channel, count: int) -> list[Any]:
    """So many messages, with what inspection judges by."""
    found: list[Any] = []
    bench.until(lambda: found.extend(channel.drain()) or len(found) >= count)
    return found


def test_publish_hears_first_what_is_judged_by_also_a_new_one_that_has_verdicts_said_again(bench: Bench) -> None:
    capture = channel_of(bench)
    bench.run()
    (first,) = hear(bench, bench.publish, 1)
    assert isinstance(first, Prepared)
    assert (first.product, first.generation, first.problem) == ("trunk", 1, None)
    capture.send(Frame(frame=bench.frame(7, slot=1, brightness=90)))
    hear(bench, bench.publish, 1)
    bench.publish.close()
    bench.publish = bench.link("publish")
    again, verdict = hear(bench, bench.publish, 2)
    assert again == first
    assert isinstance(verdict, Judged)


def test_frames_that_came_before_the_switch_are_judged_by_the_product_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load = threading.Event()

    def load(_station: Station, product: str, _variant: str | None) -> Any:
        assert may_load.wait(PATIENCE_S)
        return Named(product)

    monkeypatch.setattr(judging, "load", load)
    capture = channel_of(bench)
    bench.run()
    bench.publish.send(Prepare(product="lid", generation=3, variant="oak"))
    # Said again, by a publish that had not heard yet how far this inspection is.
    bench.publish.send(Prepare(product="box", generation=2))
    capture.send(Frame(frame=bench.frame(1, slot=1, brightness=90)))
    _, before = hear(bench, bench.publish, 2)
    assert (before.provenance.product, before.provenance.configuration) == ("trunk", 1)
    may_load.set()
    (switched,) = hear(bench, bench.publish, 1)
    assert (switched.product, switched.generation, switched.provenance.product) == ("lid", 3, "lid")
    assert switched.variant == "oak"
    for number in (2, 3):
        capture.send(Frame(frame=bench.frame(number, slot=number, brightness=90)))
        (after,) = hear(bench, bench.publish, 1)
        assert (after.provenance.product, after.provenance.configuration) == ("lid", 3)


def test_frames_that_wait_at_the_switch_are_fed_to_the_product_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "load", lambda _station, product, _variant: Named(product))
    capture = channel_of(bench)
    inspection = bench.inspection
    inspection._hear_supervisor()
    for number in range(3):
        capture.send(Frame(frame=bench.frame(number, slot=number, brightness=90)))
    inspection._hear_capture("left")
    inspection._by.order(Prepare(product="lid", generation=2), 0)
    assert select.select([inspection._by.wake], [], [], PATIENCE_S)[0]
    inspection._by.turn(inspection._feed_all, 0)
    said = hear(bench, bench.publish, 5)
    judged = {one.frame.trigger_id: one.provenance.product for one in said if isinstance(one, Judged)}
    assert judged == dict.fromkeys(range(3), "trunk")
    assert [one.product for one in said if isinstance(one, Prepared)] == ["trunk", "lid"]


def test_what_cannot_be_loaded_is_said_in_one_line_and_the_next_order_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_station: Station, product: str, _variant: str | None) -> Any:
        if product == "broken":
            raise GoldlineError("first line\nsecond line")
        return Named(product)

    monkeypatch.setattr(judging, "load", load)
    bench.run()
    for number, product in enumerate(("broken", "lid"), start=2):
        bench.publish.send(Prepare(product=product, generation=number))
    _, refused, switched = hear(bench, bench.publish, 3)
    assert (refused.generation, refused.problem) == (2, "first line; second line")
    assert (switched.product, switched.problem) == ("lid", None)


def test_a_product_whose_loading_hangs_is_refused_in_time_and_what_it_comes_to_is_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, left = threading.Event(), threading.Event()

    def load(_station: Station, product: str, _variant: str | None) -> Any:
        if product == "lid":
            assert may_load.wait(PATIENCE_S)
            left.set()
        return Named(product)

    monkeypatch.setattr(judging, "load", load)
    monkeypatch.setattr(judging, "WITHIN_S", {"cpu": 0.3})
    capture = channel_of(bench)
    bench.run()
    bench.publish.send(Prepare(product="lid", generation=2))
    _, refused = hear(bench, bench.publish, 2)
    assert (refused.generation, refused.problem) == (2, "product lid: it was not loaded within 0.3 s")
    bench.publish.send(Prepare(product="box", generation=3))
    (refused,) = hear(bench, bench.publish, 1)
    assert (refused.generation, refused.problem) == (
        3,
        "product box: product lid hangs in being loaded: see to the disk, or restart the station",
    )
    capture.send(Frame(frame=bench.frame(1, slot=1, brightness=90)))
    (judged,) = hear(bench, bench.publish, 1)
    assert judged.provenance.product == "trunk"
    may_load.set()
    assert left.wait(PATIENCE_S)
    said: list[Any] = []
    for number in range(4, 4 + 100):
        # Its thread ends some moment after it has left `load`.
        bench.publish.send(Prepare(product="box", generation=number))
        said += hear(bench, bench.publish, 1)
        if said[-1].problem is None:
            break
    assert {one.product for one in said} == {"box"}
    assert said[-1].provenance.product == "box"
    refusals = {series.labels: values[0] for series, values in bench.page.read() if "refused" in series.metric.name}
    assert refusals == {("problem",): 0, ("time-out",): 1 + len(said)}


@given(
    st.lists(
        st.sampled_from(["order", "comes", "fails", "time", "look"]),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=60)
def test_every_order_to_prepare_comes_to_one_answer_or_makes_way_for_a_newer_one(steps: list[str]) -> None:
    loads, answers, ordered, now_ns = Loads(), [], [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "Loading", loads.begin)
        preparing = judging.Preparing(Station.model_validate({"cameras": {"left": CAMERA}}), a_page())
        for step in [*steps, *["time", "look", "comes", "look"] * 3]:
            if step == "order":
                ordered.append(len(ordered) + 2)
                preparing.order(Prepare(product="lid", generation=ordered[-1]), now_ns)
            elif step == "time":
                now_ns += 10**12
            elif step in ("comes", "fails"):
                loads.end(GoldlineError("no") if step == "fails" else Named("lid"))
            elif (ready := preparing.take(now_ns)) is not None:
                answers.append(ready.prepare.generation)
        os.close(preparing.wake)
    assert answers == sorted(set(answers))
    assert answers[-1:] == ordered[-1:]
    assert loads.most_at_once <= 1


@pytest.mark.parametrize(
    ("product", "variant", "role", "problem"),
    [
        ("nothing", None, "main", "product nothing: no recipe"),
        ("trunk", None, "other", "no camera has this role"),
        ("trunk", "oak", "main", "variant 'oak' is not one it knows: none"),
        ("Trunk/..", None, "main", "lower-case letters"),
        ("untaught", None, "main", "untaught has no reference set"),
    ],
)
def test_a_product_that_this_station_cannot_judge_by_is_refused(
    taught: Path, tmp_path: Path, product: str, variant: str | None, role: str, problem: str
) -> None:
    (tmp_path / "pipelines").mkdir()
    for name in ("trunk", "untaught"):
        (tmp_path / "pipelines" / name).symlink_to(taught / "pipelines" / "trunk")
    cameras = {"left": {**CAMERA, "role": role}}
    station = Station.model_validate(
        {"state_dir": taught / "state", "pipelines_dir": tmp_path / "pipelines", "cameras": cameras}
    )
    with pytest.raises(GoldlineError, match=problem):
        judging.load(station, product, variant)


def test_a_prepared_product_that_is_gone_at_the_next_start_is_named_with_the_file_that_asks_for_it(
    tmp_path: Path,
) -> None:
    folders = {"state_dir": tmp_path, "pipelines_dir": tmp_path, "runtime_dir": tmp_path / "run"}
    station = Station.model_validate({"product": "trunk", **folders})
    with pytest.raises(GoldlineError, match=f"gone: no recipe.*remove {tmp_path}/run/job.json"):
        judging.load_first(station, "gone", None)
    with pytest.raises(GoldlineError, match=r"trunk: no recipe at [^;]*$"):
        judging.load_first(station, "trunk", None)
