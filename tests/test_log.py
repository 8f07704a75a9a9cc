"""Log lines: JSON for machines, readable on a terminal, every line naming its worker."""

import io
import json
import logging
import threading
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from edge import log
from edge.config import LogConfig
from edge.logs import sink
from edge.logs.secrets import clean

pytestmark = pytest.mark.usefixtures("restored_logging")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


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


def test_the_level_changes_for_loggers_that_are_bound_already(stream):
    log.setup(LogConfig(), "publish", stream)
    bound = structlog.get_logger().bind(camera="left")
    bound.debug("too fine")
    log.set_level("debug")
    assert log.shows("debug")
    bound.debug("verdict")
    logging.getLogger("library").debug("fine")
    log.set_level("error")
    assert not log.shows("warning")
    bound.warning("too mild")
    assert [line["event"] for line in logged(stream)] == ["verdict", "fine"]


@pytest.mark.parametrize(
    ("worker", "said", "camera"),
    [
        ("capture@left", {}, "left"),
        ("capture@left", {"camera": "group"}, "group"),
        ("supervisor", {"child": "capture@left"}, "left"),
        ("supervisor", {"child": "publish"}, None),
        ("publish", {}, None),
    ],
)
def test_a_line_about_a_camera_names_it(stream, worker, said, camera):
    log.setup(LogConfig(), worker, stream)
    structlog.get_logger().warning("worker died", **said)
    assert logged(stream)[0].get("camera") == camera


def test_what_no_thread_caught_is_a_line_like_any_other(stream):
    log.setup(LogConfig(), "publish", stream)
    log.take_uncaught()

    def fail() -> None:
        raise LookupError("nowhere")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    (line,) = logged(stream)
    assert (line["event"], line["code"], line["level"]) == ("worker failed", "GL-WRK-003", "error")
    assert "LookupError: nowhere" in str(line["exception"])


def test_a_library_brings_what_names_its_line_and_nothing_else(stream):
    log.setup(LogConfig(), "archive", stream)
    logging.getLogger("goldline.images").warning("%s: 16 bits a channel, scaled to 8", "a.png", extra={"camera": "top"})
    (line,) = logged(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "a.png: 16 bits a channel, scaled to 8", "code": "GL-CAM-004", "camera": "top",
        "logger": "goldline.images", "level": "warning", "worker": "archive",
    }  # fmt: skip


# --- what no line tells


def test_a_strangers_name_moves_no_terminals_cursor():
    terminal = Terminal()
    log.setup(LogConfig(), "lane@opcua", terminal)
    structlog.get_logger().warning("a client is refused: its certificate is not in trusted/", subject="CN=\x1b[2Jwell")
    assert "\x1b[2J" not in terminal.getvalue() and "x1b[2Jwell" in terminal.getvalue()
    assert sink.message({"event": "let in", "client": "a\x1b[1Ab\x00"}) == ": let in: client=a\\x1b[1Ab\\x00"


LETTERS = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=4, max_size=10)
# All that a password in a URL may have unescaped, and some that it may not.
SECRETS = st.builds(
    "{}{}{}".format, LETTERS, st.sampled_from(["", "'", "'x'", '"', "<", ">", "!", ",", ";", "(", "@"]), LETTERS
)


@given(SECRETS, st.sampled_from(["rtsp", "http", "mqtts", "nats", "postgresql"]), st.sampled_from(" ,;:'\")>"))
def test_no_address_keeps_its_password_wherever_it_stands(secret, scheme, after):
    address = f"{scheme}://inspector:{secret}@10.0.0.9:554/stream?token={secret[:4]}{after} and more"
    said = clean({"event": address, "problem": [f"cannot open {address}", {"url": address}], "number": 7})
    said = [said, clean(OSError(address)), clean((f"'{address}'", {address}))]
    assert secret[:4] not in str(said) and secret[-4:] not in str(said)
    assert "10.0.0.9:554/stream" in str(said)
    assert clean("10.0.0.9 does not answer") == "10.0.0.9 does not answer"


def test_what_a_library_or_a_traceback_says_loses_its_password_too(stream):
    log.setup(LogConfig(), "capture@left", stream)
    logging.getLogger("ffmpeg").error("cannot open %s", "rtsp://inspector:hunter2@10.0.0.9/stream")
    warnings.warn("http://inspector:hunter2@10.0.0.9 is slow", UserWarning, stacklevel=1)
    try:
        raise OSError("rtsp://inspector:hunter2@10.0.0.9/stream: refused")
    except OSError:
        structlog.get_logger().exception("worker failed", urls={"left": "rtsp://10.0.0.9/stream?key=hunter2"})
    said = stream.getvalue()
    assert said.count("10.0.0.9") >= 4
    assert "hunter2" not in said and "inspector" not in said
