"""No line waits: not for a reader that does not read, not for another process, not for itself."""

import gc
import io
import json
import os
import threading
from contextlib import ExitStack

import structlog

from edge import log
from edge.config import LogConfig
from edge.logs.stream import Stream


def test_a_full_pipe_holds_nobody_up_and_what_was_missed_is_counted(restored_logging):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w") as output:
        log.setup(LogConfig(level="debug"), "publish", output)
        # A pipe holds 64 KiB. A write that waited would wait for ever.
        for number in range(3000):
            structlog.get_logger().debug("verdict", trigger_id=number)
        told = _read_out(reader)
        structlog.get_logger().info("ready")
        lost, ready = _read_out(reader)
    assert [line["trigger_id"] for line in told] == list(range(len(told)))
    assert (lost["event"], lost["code"]) == ("log lines were lost", "GL-LOG-001")
    assert lost["lines"] == 3000 - len(told)
    assert ready["event"] == "ready"


def test_a_line_that_was_cut_spoils_no_other(restored_logging):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w") as output:
        log.setup(LogConfig(), "inspection", output)
        structlog.get_logger().info("large", text="x" * 100_000)
        os.set_blocking(reading, False)
        cut = b""
        while part := reader.read(1 << 16) or b"":
            cut += part
        structlog.get_logger().info("ready")
        empty, lost, ready = (reader.read(1 << 16) or b"").split(b"\n")[:3]
    assert cut.startswith(b"{")
    assert b"\n" not in cut
    assert empty == b""
    assert [json.loads(line)["event"] for line in (lost, ready)] == ["log lines were lost", "ready"]


def test_a_reader_that_has_gone_ends_nobody(restored_logging):
    reading, writing = os.pipe()
    with open(writing, "w") as output:
        log.setup(LogConfig(), "publish", output)
        os.close(reading)
        structlog.get_logger().info("ready")


def test_of_many_who_write_to_one_full_pipe_none_waits(restored_logging):
    reading, writing = os.pipe()
    # Every process of a station has the same pipe: whether there is room is no longer so when another has written.
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        streams = [Stream(stack.enter_context(os.fdopen(os.dup(writing), "w"))) for _ in range(8)]
        os.close(writing)
        begin = threading.Barrier(len(streams))

        def say(stream: Stream) -> None:
            begin.wait()
            for _ in range(200):
                stream.write("x" * 3000)

        threads = [threading.Thread(target=say, args=(stream,), daemon=True) for stream in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)


def test_what_is_said_while_a_line_is_made_holds_nobody_up(restored_logging):
    made = io.StringIO()
    log.setup(LogConfig(), "lane@opcua", made)
    collected = []

    def speak(phase: str, _info: object) -> None:
        # As asyncio does of a task whose failure nobody took, when it is collected.
        if phase == "start" and threading.current_thread() is thread:
            collected.append(phase)
            structlog.get_logger().warning("not triggered", trigger_id=len(collected))

    def say() -> None:
        for number in range(300):
            structlog.get_logger().warning("camera down", trigger_id=number)

    thread = threading.Thread(target=say, daemon=True)
    before = gc.get_threshold()
    gc.callbacks.append(speak)
    gc.set_threshold(1)
    try:
        thread.start()
        thread.join(60)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(speak)
    assert not thread.is_alive()
    log.close()
    camera = [
        line
        for line in map(json.loads, made.getvalue().splitlines())
        if "camera down" in (line["event"], line.get("message"))
    ]
    assert sum(int(str(line.get("repeats", 1))) for line in camera) == 300
    assert len(collected) > 300


def _read_out(reader: "io.BufferedReader") -> list[dict[str, object]]:
    os.set_blocking(reader.fileno(), False)
    read = b""
    while part := reader.read(1 << 16) or b"":
        read += part
    return [json.loads(line) for line in read.splitlines()]
