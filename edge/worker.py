"""The entry point every worker is exec'd through: `python -m edge.worker NAME BIRTH`.

    NAME            `capture@<camera>`, `inspection` or `publish`: a row of `topology.py`
    BIRTH           JSON: the descriptors of its station (JSON), metrics page and control socket, how the page is laid
                    out, the generation, and its supervisor's process id

A worker that fails logs why and exits non-zero; the supervisor restarts it within a budget.
"""

import ctypes
import faulthandler
import importlib
import json
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from edge import log
from edge.channel import Channel
from edge.config import Station
from edge.errors import GoldlineError
from edge.messages import Failed
from edge.metrics import Page

PR_SET_PDEATHSIG = 1
# A worker that meets bad input the user must mend; the supervisor repeats its one line instead of a traceback.
EXIT_CANNOT_RUN = 2


@dataclass(frozen=True)
class WorkerContext:
    """What a worker is born with. Rings and links to its peers arrive over `control`."""

    name: str
    station: Station
    page: Page
    control: Channel
    generation: int

    @property
    def camera(self) -> str:
        """The camera of a `capture@<camera>` worker."""
        return self.name.partition("@")[2]


def main() -> int:
    """Become the worker named on the command line."""
    birth = json.loads(sys.argv[2])
    die_with_parent(birth["supervisor"])
    faulthandler.enable()
    # SIGABRT from the supervisor leaves a traceback of every thread; SIGINT and SIGHUP are the supervisor's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    context = context_of(sys.argv[1], birth)
    log.setup(context.station.log, context.name)
    log.take_uncaught()
    role = importlib.import_module(f"edge.{context.name.partition('@')[0]}")
    try:
        role.run(context)
    except GoldlineError as problem:
        context.control.send(Failed(problem=str(problem)))
        return EXIT_CANNOT_RUN
    except Exception:  # noqa: BLE001 - the outermost loop of a process: log, leave, be restarted
        structlog.get_logger().exception("worker failed")
        return 1
    context.control.close()
    return 0


def leave(code: int) -> NoReturn:
    """End the process, at once where a thread still hangs in a library.

    Code of a library that comes back while the interpreter is taken down around it ends in an abort.
    """
    log.close()
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def context_of(name: str, birth: dict[str, Any]) -> WorkerContext:
    """The worker's context from what the supervisor wrote on its command line."""
    with open(birth["station"]) as handle:
        station = Station.model_validate_json(handle.read())
    return WorkerContext(
        name=name,
        station=station,
        page=Page(birth["page"], name, birth["counted"], birth["deadlines_s"]),
        control=Channel(socket.socket(fileno=birth["control"])),
        generation=birth["generation"],
    )


def die_with_parent(supervisor: int) -> None:
    """No worker outlives its supervisor, however that dies. It may have died before this was said."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        sys.exit(EXIT_CANNOT_RUN)


if __name__ == "__main__":
    leave(main())
