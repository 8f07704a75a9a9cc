"""Another product while frames come: what came before is judged by the one before, and what cannot be loaded is said."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import judging
from edge.channel import Channel
from edge.config import Station
from edge.errors import GoldlineError
from edge.messages import Frame, Judged, Prepare, Prepared
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


def test_frames_that_wait_at_the_switch_are_fed_to_the_product_before(bench: Bench) -> None:
    capture = channel_of(bench)
    inspection = bench.inspection
    inspection._hear_supervisor()
    for number in range(3):
        capture.send(Frame(frame=bench.frame(number, slot=number, brightness=90)))
    inspection._hear_capture("left")
    asked = Prepare(product="lid", generation=2)
    inspection._preparing._ready = judging.Ready(asked, Named("lid"))  # type: ignore[arg-type]
    inspection._switch()
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
