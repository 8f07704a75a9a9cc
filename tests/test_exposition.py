"""/metrics, /healthz and /readyz: real HTTP, and promtool's opinion of a real page."""

import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from edge.errors import GoldlineError
from edge.exposition import Collector, Health, Samples, serve
from edge.metric_table import ROWS
from edge.metrics import Page, page_size
from tests.needs import needs_program

CAMERAS = ("left", "right")
WORKERS = ("capture@left", "capture@right", "inspection", "publish")


@pytest.fixture
def pages() -> dict[str, Page]:
    """The pages of a station with two cameras."""
    made: dict[str, Page] = {}
    for worker in WORKERS:
        descriptor = os.memfd_create(worker)
        os.ftruncate(descriptor, page_size(worker, CAMERAS))
        made[worker] = Page(descriptor, worker, CAMERAS)
        os.close(descriptor)
    return made


def registry_of(pages: Mapping[str, Page]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collector(pages))
    return registry


def fine() -> Health:
    return Health(is_ok=True)


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def test_what_was_counted_on_several_pages_is_one_family(pages):
    pages["capture@left"].counter(
        "goldline_frames_dropped_total", camera="left", stage="capture", reason="no_slot"
    ).inc(2)
    pages["inspection"].counter(
        "goldline_frames_dropped_total", camera="right", stage="inspection", reason="deadline"
    ).inc(5)
    text = generate_latest(registry_of(pages)).decode()
    assert text.count("# TYPE goldline_frames_dropped_total counter") == 1
    assert 'goldline_frames_dropped_total{camera="left",reason="no_slot",stage="capture"} 2.0' in text
    assert 'goldline_frames_dropped_total{camera="right",reason="deadline",stage="inspection"} 5.0' in text


def test_a_histogram_is_cumulative_with_count_and_sum(pages):
    histogram = pages["inspection"].histogram("goldline_batch_size")
    for value in (1, 2, 2, 16):
        histogram.observe(value)
    families = {
        family.name: family for family in text_string_to_metric_families(generate_latest(registry_of(pages)).decode())
    }
    samples = {
        (sample.name.removeprefix("goldline_batch_size"), sample.labels.get("le")): sample.value
        for sample in families["goldline_batch_size"].samples
    }
    assert samples == {
        ("_bucket", "1"): 1, ("_bucket", "2"): 3, ("_bucket", "4"): 3, ("_bucket", "8"): 3, ("_bucket", "+Inf"): 4,
        ("_count", None): 4, ("_sum", None): 21,
    }  # fmt: skip


def test_promtool_finds_nothing_wrong_with_a_real_page(pages):
    promtool = needs_program("promtool", package="prometheus")
    pages["publish"].histogram("goldline_answer_seconds", camera="left").observe(0.02)
    with serve("127.0.0.1", 0, registry_of(pages), fine, fine) as server:
        status, text = get(server.port, "/metrics")
    assert status == 200
    found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_what_tells_why_is_shown_once_it_counts_and_the_rest_from_the_start(pages):
    text = generate_latest(registry_of(pages)).decode()
    assert "# TYPE goldline_errors_total counter\n" in text
    assert "\ngoldline_errors_total" not in text
    assert 'goldline_verdicts_total{camera="left",verdict="ERROR"} 0.0' in text
    pages["publish"].counter("goldline_errors_total", camera="left", reason="stale").inc()
    text = generate_latest(registry_of(pages)).decode()
    assert [line for line in text.splitlines() if line.startswith("goldline_errors_total")] == [
        'goldline_errors_total{camera="left",reason="stale"} 1.0'
    ]


def test_what_the_supervisor_knows_is_named_as_in_the_table():
    samples = Samples()
    samples.add("goldline_worker_up", 1.0, "publish")
    samples.add("goldline_worker_restarts_total", 0, "publish", "exit")
    samples.add("goldline_worker_restarts_total", 2, "publish", "signal")
    up, restarts = samples.families
    assert (up.documentation, restarts.type) == (ROWS["goldline_worker_up"].help, "counter")
    assert [(sample.labels, sample.value) for sample in restarts.samples] == [
        ({"worker": "publish", "cause": "signal"}, 2)
    ]
    with pytest.raises(KeyError):
        samples.add("goldline_worker_upp", 1.0, "publish")


def test_health_and_readiness_are_asked_at_each_request(pages):
    answers = {"health": Health(is_ok=True), "ready": Health(is_ok=False, detail={"waiting": ["inspection"]})}
    with serve("127.0.0.1", 0, registry_of(pages), lambda: answers["health"], lambda: answers["ready"]) as server:
        assert get(server.port, "/healthz") == (200, '{"ok": true}\n')
        assert get(server.port, "/readyz") == (503, '{"ok": false, "waiting": ["inspection"]}\n')
        answers["ready"] = fine()
        assert get(server.port, "/readyz")[0] == 200
        assert get(server.port, "/")[0] == 404
        assert get(server.port, "/metrics?x=1")[0] == 200


def test_a_page_added_later_is_shown(pages):
    inspection = pages.pop("inspection")
    registry = registry_of(pages)
    assert b"goldline_frames_judged_total" not in generate_latest(registry)
    pages["inspection"] = inspection
    assert b"goldline_frames_judged_total" in generate_latest(registry)


def test_a_port_in_use_is_named(pages):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            GoldlineError, match=rf"^metrics: cannot listen on 127.0.0.1:{port}: Address already in use$"
        ):
            serve("127.0.0.1", port, registry_of(pages), fine, fine)


def test_closing_frees_the_port_at_once(pages):
    with serve("127.0.0.1", 0, registry_of(pages), fine, fine) as server:
        port = server.port
    with serve("127.0.0.1", port, registry_of(pages), fine, fine) as server:
        assert get(server.port, "/healthz")[0] == 200


def test_a_client_that_says_nothing_keeps_nobody_waiting(pages):
    with serve("127.0.0.1", 0, registry_of(pages), fine, fine) as server, socket.socket() as silent:
        silent.connect(("127.0.0.1", server.port))
        assert get(server.port, "/healthz")[0] == 200


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_that_fails_ends_that_connection_alone(pages, capsys, restored_logging):
    def broken() -> Health:
        raise RuntimeError("no idea")

    with serve("127.0.0.1", 0, registry_of(pages), broken, fine) as server:
        with pytest.raises(OSError, match=r"Remote end closed|reset"):
            get(server.port, "/healthz")
        assert get(server.port, "/readyz")[0] == 200
    assert "no idea" in capsys.readouterr().out
