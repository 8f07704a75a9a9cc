"""Metric pages: count exactly, go on after a SIGKILL, and refuse what is not in the table."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import GoldlineError
from edge.metric_table import METRICS, Metric
from edge.metrics import Page, State, layout, page_size
from tools import metrics_page

CAMERAS = ("left", "right")


@pytest.fixture
def memory() -> Iterator[int]:
    """A memfd for the page of `publish`."""
    yield from _memory("publish")


def _memory(worker: str) -> Iterator[int]:
    descriptor = os.memfd_create("page")
    os.ftruncate(descriptor, page_size(worker, CAMERAS))
    yield descriptor
    os.close(descriptor)


def page_of(worker: str) -> Page:
    """A page whose descriptor is closed at once: the mapping holds the memory."""
    memory = _memory(worker)
    page = Page(next(memory), worker, CAMERAS)
    next(memory, None)
    return page


def values(page: Page, name: str) -> dict[tuple[str, ...], tuple[float, ...]]:
    return {series.labels: numbers for series, numbers in page.read() if series.metric.name == name}


def test_a_counter_counts_for_its_labels_alone():
    page = page_of("publish")
    counter = page.counter("goldline_verdicts_total", verdict="FAIL", camera="right")
    counter.inc()
    counter.inc(3)
    counted = values(page, "goldline_verdicts_total")
    assert counted.pop(("right", "FAIL")) == (4.0,)
    assert len(counted) == 5
    assert set(counted.values()) == {(0.0,)}


def test_a_value_on_a_bound_counts_below_it():
    page = page_of("inspection")
    histogram = page.histogram("goldline_batch_size")
    for value in (1, 2, 3, 8, 9):
        histogram.observe(value)
    assert values(page, "goldline_batch_size")[()] == (1, 1, 1, 1, 1, 23)


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=30))
def test_every_value_is_in_one_bucket_and_in_the_sum(observed):
    page = page_of("publish")
    histogram = page.histogram("goldline_outbox_commit_seconds")
    for value in observed:
        histogram.observe(value)
    *counts, total = values(page, "goldline_outbox_commit_seconds")[()]
    assert sum(counts) == len(observed)
    assert total == pytest.approx(sum(observed))


def test_no_two_series_share_a_word():
    for worker in ("publish", "inspection", "capture@left"):
        taken = [
            word
            for series in layout(worker, CAMERAS)
            for word in range(series.offset, series.offset + series.metric.words)
        ]
        assert taken == list(range(len(taken)))


def test_a_capture_page_is_its_cameras_alone():
    assert {series.labels[0] for series in layout("capture@left", CAMERAS)} == {"left"}


@pytest.mark.parametrize(
    ("kind", "name", "labels"),
    [
        ("counter", "goldline_trigger_total", {"camera": "left"}),
        ("counter", "goldline_triggers_total", {"camera": "top"}),
        ("counter", "goldline_triggers_total", {}),
        ("counter", "goldline_errors_total", {"camera": "left", "reason": "bad_luck"}),
        ("counter", "goldline_triggers_total", {"camera": "left", "line": "1"}),
        ("gauge", "goldline_triggers_total", {"camera": "left"}),
        ("counter", "goldline_camera_up", {"camera": "left"}),
    ],
)
def test_what_is_not_in_the_table_is_refused(kind, name, labels):
    with pytest.raises(KeyError):
        getattr(page_of("publish"), kind)(name, **labels)


DEADLINES_S = (0.0123456789, 0.02, 1.0, 2.5)


@given(st.lists(st.integers(0, 3 * 10**9), max_size=30))
def test_a_bucket_ends_exactly_at_each_deadline(took_ns):
    memory = os.memfd_create("page")
    os.ftruncate(memory, page_size("publish", CAMERAS, DEADLINES_S))
    page = Page(memory, "publish", CAMERAS, DEADLINES_S)
    os.close(memory)
    histogram = page.histogram("goldline_answer_seconds", camera="left")
    for one_ns in took_ns:
        histogram.observe(one_ns / 1e9)
    series, found = next((s, v) for s, v in page.read() if s.labels == ("left",) and "answer" in s.metric.name)
    assert set(DEADLINES_S) < set(series.metric.buckets)
    for deadline_s in DEADLINES_S:
        within = sum(found[: series.metric.buckets.index(deadline_s) + 1])
        assert within == sum(one_ns <= round(deadline_s * 1e9) for one_ns in took_ns)


def test_a_page_with_other_deadlines_is_another_layout(memory):
    os.ftruncate(memory, 1 << 16)
    Page(memory, "publish", CAMERAS, (0.5, 0.7))
    with pytest.raises(GoldlineError, match="laid out for another role"):
        Page(memory, "publish", CAMERAS, (0.5, 0.8))


def test_only_what_has_a_deadline_has_buckets_at_deadlines():
    plain = {series.metric.name: series.metric for series in layout("publish", CAMERAS)}
    timed = {series.metric.name: series.metric for series in layout("publish", CAMERAS, DEADLINES_S)}
    changed = {name for name, metric in plain.items() if metric != timed[name]}
    assert changed == {"goldline_answer_seconds", "goldline_capture_to_event_seconds"}


def test_an_unknown_role_has_no_page():
    with pytest.raises(KeyError):
        page_size("cook", CAMERAS)


def test_a_page_of_another_layout_is_refused(memory):
    Page(memory, "publish", CAMERAS)
    os.ftruncate(memory, 1 << 16)
    Page(memory, "publish", CAMERAS)
    with pytest.raises(GoldlineError, match="metrics page of inspection: laid out for another role"):
        Page(memory, "inspection", CAMERAS)


def test_a_beat_says_what_the_worker_does():
    page = page_of("inspection")
    assert (page.state, page.beat_ns, page.loop_count) == (State.STARTING, 0, 0)
    page.beat(State.BUSY, 5_000_000_000_000_000_123, in_flight=3)
    page.beat(State.IDLE, 5_000_000_000_000_000_124)
    assert (page.state, page.beat_ns, page.loop_count, page.in_flight) == (State.IDLE, 5_000_000_000_000_000_124, 2, 0)


def test_what_only_a_live_worker_can_say_lapses_and_nothing_else():
    page = page_of("capture@left")
    page.gauge("goldline_camera_up", camera="left").set(1)
    page.gauge("goldline_camera_last_frame_timestamp_seconds", camera="left").set(7)
    page.counter("goldline_frames_captured_total", camera="left").inc()
    page.lapse()
    assert values(page, "goldline_camera_up")[("left",)] == (0,)
    assert values(page, "goldline_camera_last_frame_timestamp_seconds")[("left",)] == (7,)
    assert values(page, "goldline_frames_captured_total")[("left",)] == (1,)


WRITER = """
import sys
from edge.metrics import Page, State
page = Page(int(sys.argv[1]), "publish", ("left", "right"))
triggers = page.counter("goldline_triggers_total", camera="left")
commits = page.histogram("goldline_outbox_commit_seconds")
print("counting", flush=True)
while True:
    page.beat(State.BUSY, 1)
    triggers.inc()
    commits.observe(0.5)
"""


def test_counters_survive_the_sigkill_of_their_writer_and_go_on(memory):
    page = Page(memory, "publish", CAMERAS)
    last = (0.0, 0.0, 0)
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(memory)], pass_fds=[memory], stdout=subprocess.PIPE, text=True
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "counting\n"
            seen = [_state(page)]
            while seen[-1][2] < last[2] + 1000:
                seen.append(_state(page))
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        for earlier, later in zip([last, *seen], [*seen, _state(page)], strict=True):
            assert all(before <= after for before, after in zip(earlier, later, strict=True))
        assert _state(page) > last
        last = _state(page)
    triggers, commits, loops = last
    # Killed between two stores, a writer leaves at most one of the three ahead of the others, each time.
    assert max(triggers, commits, loops) - min(triggers, commits, loops) <= 3


def _state(page: Page) -> tuple[float, float, int]:
    (triggers,) = values(page, "goldline_triggers_total")[("left",)]
    *counts, _ = values(page, "goldline_outbox_commit_seconds")[()]
    return triggers, sum(counts), page.loop_count


def every_metric() -> list[Metric]:
    return [metric for metrics in METRICS.values() for metric in metrics]


def test_names_follow_the_conventions():
    for metric in every_metric():
        assert metric.name.startswith("goldline_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.help.endswith(".")
        assert metric.buckets == tuple(sorted(set(metric.buckets)))
        assert bool(metric.buckets) == (metric.kind == "histogram")


def test_rows_of_one_metric_agree():
    kinds: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for metric in every_metric():
        shape = (metric.kind, metric.help, tuple(metric.labels))
        assert kinds.setdefault(metric.name, shape) == shape


def test_the_page_of_the_documentation_is_current():
    assert metrics_page.PAGE.read_text() == metrics_page.page(), "run: python tools/metrics_page.py"


def test_what_is_documented_is_fed_and_what_is_fed_is_documented():
    edge = Path(metrics_page.PAGE.parent.parent, "edge")
    source = "".join(path.read_text() for path in edge.rglob("*.py") if path.name != "metrics.py")
    # prometheus_client adds the _info to the name of an info metric.
    fed = {word.removesuffix("_info") for word in re.findall(r'"(goldline_[a-z0-9_]+)"', source)}
    assert fed == {metric.name.removesuffix("_info") for metric in every_metric()}


def test_workers_do_not_import_the_http_server():
    code = "import sys, edge.metrics; print([name for name in sys.modules if 'http' in name or 'prometheus' in name])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert out.stdout == "[]\n"
