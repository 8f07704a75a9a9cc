"""Log lines: structlog, one JSON object a line, fields for the journal under systemd, readable on a terminal.

Python warnings, the standard library's loggers and what no thread caught go the same way. A line on its way:

1. below the level it ends here;
2. it gets its worker, its camera where the worker has one, its code (`logs/codes.py`), level and time;
3. it loses what no line may tell (`logs/secrets.py`);
4. a message that repeats itself is held back (`logs/limiter.py`);
5. it is rendered and written; nothing waits for whoever reads it (`logs/sink.py`).
"""

import logging
import os
import sys
import threading
import warnings
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from edge.config import LogConfig
from edge.logs import journal, sink
from edge.logs.codes import CODES, name_code
from edge.logs.limiter import Limiter
from edge.logs.secrets import hide
from edge.logs.stream import Stream

# What a line of a library may carry besides its text.
EXTRA = ("camera", "trigger_id", "frame_id", "event_id")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "critical": 50}


class _Level:
    """The one level of this process. It changes while loggers that are bound already go on, so it is a step, not a class."""

    def __init__(self) -> None:
        self.number = logging.INFO

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if _LEVELS[method] < self.number:
            raise structlog.DropEvent
        return event


# Logging is the process's, as in structlog and the standard library: so are its level and what it holds back.
_level = _Level()
_limiters: list[Limiter] = []


def setup(config: LogConfig, worker: str, stream: TextIO | None = None) -> None:
    """Send this process's log to `stream` (stderr), every line naming `worker`. Call once, before the first line."""
    out = sink.Sink(_writing(config, sys.stderr if stream is None else stream))
    limiter = Limiter(out.write)
    _limiters[:] = [limiter]
    structlog.configure(
        processors=[
            _level,
            _naming(worker),
            name_code,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide,
            limiter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda *_: out,
    )
    set_level(config.level)
    _route_standard_library()


def set_level(level: str) -> None:
    """From now on, in every thread: `debug`, `info`, `warning` or `error`."""
    _level.number = _LEVELS[level]
    logging.getLogger().setLevel(_level.number)


def shows(level: str) -> bool:
    """Whether lines of this level are written: for a caller to whom making one is work."""
    return _LEVELS[level] >= _level.number


def close() -> None:
    """Tell what was held back. Before the process ends."""
    for limiter in _limiters:
        limiter.close()


def take_uncaught() -> None:
    """What no thread of this process catches is logged from now on, and ends what it ended before."""

    def log_it(kind: type[BaseException], problem: BaseException | None) -> None:
        if issubclass(kind, Exception):
            structlog.get_logger().error("worker failed", exc_info=problem)

    sys.excepthook = lambda kind, problem, _trace: log_it(kind, problem)
    threading.excepthook = lambda uncaught: log_it(uncaught.exc_type, uncaught.exc_value)


def _writing(config: LogConfig, output: TextIO) -> sink.Write:
    """How lines leave by the configuration; `auto` looks at what `output` is."""
    stream, form = Stream(output), config.format
    if form == "auto":
        is_journal = stream.descriptor is not None and journal.is_stream(os.environ, stream.descriptor)
        form = "journal" if is_journal else "console" if output.isatty() else "json"
    if form != "journal":
        return sink.to_stream(stream, as_json=form == "json", colors=output.isatty())
    with_priority = sink.to_stream(stream, as_json=True, colors=False, with_priority=True)
    try:
        return sink.to_journal(journal.Journal(journal.SOCKET), with_priority)
    except OSError:  # no journal here that takes fields: systemd reads the severity before each line
        return with_priority


def _naming(worker: str) -> Processor:
    """A processor rather than a context variable: those do not reach threads started later.

    `capture@left` speaks of camera left, and so does the supervisor where it speaks of that worker.
    """

    def add_worker(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["worker"] = worker
        if camera := str(event.get("child", worker)).partition("@")[2]:
            event.setdefault("camera", camera)
        return event

    return add_worker


class _FromLibraries(logging.Handler):
    """Lines of the standard library's loggers, made lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """With the logger's name, and nothing of its variables but what `EXTRA` names."""
        known = {name: value for name in EXTRA if (value := getattr(record, name, None)) is not None}
        if code := CODES.get(str(record.msg)):
            known["code"] = code
        level = max(logging.DEBUG, min(record.levelno // 10 * 10, logging.CRITICAL))
        exception = record.exc_info if record.exc_info and record.exc_info[0] else None
        structlog.get_logger().log(level, record.getMessage(), logger=record.name, exc_info=exception, **known)


def _route_standard_library() -> None:
    logging.basicConfig(handlers=[_FromLibraries()], level=_level.number, force=True)
    logging.captureWarnings(capture=True)
    warnings.simplefilter("default")
    # A process that ends lets its sockets go; while it runs, the tests watch over them.
    warnings.simplefilter("ignore", ResourceWarning)
