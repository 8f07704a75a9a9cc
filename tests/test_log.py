"""Log lines: JSON for machines, readable on a terminal, every line naming its worker."""

import io
import json
import logging
import threading
import warnings

import pytest
import structlog

from edge import log
from edge.config import LogConfig

pytestmark = pytest.mark.usefixtures("restored_logging")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_for_a_machine_is_one_json_object():
    stream = io.StringIO()
    log.setup(LogConfig(), "capture@left", stream)
    structlog.get_logger().warning("camera lost", camera="left", silent_s=1.5)
    (line,) = logged(stream)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "camera lost", "camera": "left", "silent_s": 1.5, "level": "warning", "worker": "capture@left",
    }  # fmt: skip


def test_a_line_on_a_terminal_is_for_people():
    stream = Terminal()
    log.setup(LogConfig(), "inspection", stream)
    structlog.get_logger().info("warm", batch=8)
    assert "warm" in stream.getvalue()
    assert "inspection" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


@pytest.mark.parametrize(("form", "stream", "is_json"), [("json", Terminal(), True), ("console", io.StringIO(), False)])
def test_the_format_can_be_chosen(form, stream, is_json):
    log.setup(LogConfig(format=form), "publish", stream)
    structlog.get_logger().info("hello")
    assert stream.getvalue().startswith("{") is is_json


def test_lines_below_the_level_are_left_out():
    stream = io.StringIO()
    log.setup(LogConfig(level="warning"), "publish", stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet too")
    structlog.get_logger().error("loud")
    assert [line["event"] for line in logged(stream)] == ["loud"]


def test_threads_name_the_worker_too():
    stream = io.StringIO()
    log.setup(LogConfig(), "publish", stream)
    thread = threading.Thread(target=lambda: structlog.get_logger().info("from a thread"))
    thread.start()
    thread.join()
    assert logged(stream)[0]["worker"] == "publish"


def test_warnings_and_the_standard_library_come_out_the_same_way():
    stream = io.StringIO()
    log.setup(LogConfig(), "publish", stream)
    warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    logging.getLogger("library").error("broken %s", "pipe")
    warned, broken = logged(stream)
    assert "old ways" in str(warned["event"])
    assert (broken["event"], broken["level"], broken["worker"]) == ("broken pipe", "error", "publish")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_traceback_is_whole_and_shows_no_variables(stream):
    log.setup(LogConfig(), "publish", stream)
    secret = "hunter2".upper()
    try:
        raise ValueError(len(secret))
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError: 7" in stream.getvalue()
    assert "HUNTER2" not in stream.getvalue()
    if not stream.isatty():
        assert "ValueError" in str(logged(stream)[0]["exception"])
