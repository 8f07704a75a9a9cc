"""Log lines: structlog on stderr, readable on a terminal and one JSON object a line anywhere else.

Under systemd stderr is the journal's socket, so a service logs JSON. Python warnings and the standard library's
loggers go the same way.
"""

import logging
import sys
import warnings
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from edge.config import LogConfig


def setup(config: LogConfig, worker: str, stream: TextIO | None = None) -> None:
    """Send this process's log to `stream` (stderr), every line naming `worker`. Call once, before the first line."""
    output = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[config.level.upper()]
    as_json = config.format == "json" or (config.format == "auto" and not output.isatty())
    common: list[Processor] = [
        _naming(worker),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering = _rendering(as_json=as_json, colors=output.isatty())
    structlog.configure(
        processors=[*common, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(output),
    )
    _route_standard_library(output, level, common, rendering)


def _naming(worker: str) -> Processor:
    """A processor rather than a context variable: those do not reach threads started later."""

    def add_worker(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["worker"] = worker
        return event

    return add_worker


def _rendering(*, as_json: bool, colors: bool) -> list[Processor]:
    """Tracebacks without local variables: those would carry addresses and keys into the log."""
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _route_standard_library(output: TextIO, level: int, common: list[Processor], rendering: list[Processor]) -> None:
    """Libraries that log by `logging`, and `warnings`, come out like our own lines."""
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    warnings.simplefilter("default")
    # A process that ends lets its sockets go; while it runs, the tests watch over them.
    warnings.simplefilter("ignore", ResourceWarning)
