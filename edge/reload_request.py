"""What is asked of the supervisor about its configuration: by its control socket, or by SIGHUP. Reads and validates, on the asker's thread.

1. The file, with the environment over it, the recipe of its product and its keys are read and validated whole.
2. What is valid goes to the supervisor's pass (`reload.py`), which answers when it is over.
3. The outcome stands in the log, on the metrics page and in `reload.json` in the runtime directory.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from edge import job_file
from edge.change import difference
from edge.child import Child
from edge.config import Station
from edge.errors import GoldlineError
from edge.reload import Request
from edge.station_control import OUTCOME_FILE, Outcome, Status, WorkerStatus
from edge.supervisor import Supervisor
from edge.vitals import usage_of


class Reloader:
    """Its methods may be called on any thread. `load` reads the configuration anew and raises GoldlineError."""

    def __init__(
        self, supervisor: Supervisor, load: Callable[[], Station], runtime: Path, configuration: Path | None
    ) -> None:
        self._supervisor, self._load, self._runtime = supervisor, load, runtime
        self._configuration, self._started = configuration, time.time()
        self._newest: Outcome | None = None
        self._log = structlog.get_logger()

    def reload(self, dry_run: bool) -> Outcome:  # noqa: FBT001 - as it stands in the order
        """Take over the configuration as it stands now, or say why not; returns when that is settled."""
        began_s = time.monotonic()
        try:
            request = Request(self._load(), dry_run)
        except (GoldlineError, OSError) as problem:  # a disk or a directory may refuse what is to be read
            outcome = Outcome(
                outcome="rejected", problem=str(problem), took_ms=round((time.monotonic() - began_s) * 1e3, 1)
            )
            self._log.warning("the configuration is not reloaded", problem=outcome.problem)
        else:
            self._supervisor.reloads.ask(request)
            outcome = request.future.result()
        if not dry_run:
            self._keep(outcome)
        return outcome

    def begin(self) -> None:
        """The same, by a signal: the outcome is in the log."""
        threading.Thread(target=self.reload, args=(False,), name="reload", daemon=True).start()

    def _keep(self, outcome: Outcome) -> None:
        self._newest = outcome
        self._supervisor.configured.reloads["rejected" if outcome.outcome == "rejected" else "applied"] += 1
        partial = self._runtime / f"{OUTCOME_FILE}.{threading.get_ident()}"
        try:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)) + b"\n")
            os.replace(partial, self._runtime / OUTCOME_FILE)
        except OSError as problem:
            self._log.warning("the outcome of a reload is not written down", problem=problem.strerror)

    # --- how it is

    def status(self) -> Status:
        """What the supervisor alone knows."""
        supervisor, kept = self._supervisor, job_file.read(self._runtime)
        differs, problem = self._differs()
        return Status(
            pid=os.getpid(),
            started=self._started,
            is_ready=supervisor.is_ready,
            is_reloading=supervisor.reloads.is_busy,
            generation=supervisor.configured.generation if kept is None else kept.generation,
            product=(kept.product if kept else None) or supervisor.station.product or "",
            configuration=None if self._configuration is None else str(self._configuration.absolute()),
            differs=differs,
            problem=problem,
            newest_reload=self._newest,
            workers=tuple(_worker(child) for child in supervisor.children.values()),
        )

    def _differs(self) -> tuple[int | None, str | None]:
        try:
            return len(difference(self._supervisor.station, self._load())), None
        except (GoldlineError, OSError) as problem:
            return None, str(problem)


def _worker(child: Child) -> WorkerStatus:
    pid = child.pid
    usage = None if pid is None else usage_of(pid)
    return WorkerStatus(
        name=child.name,
        pid=pid,
        state="down" if pid is None else child.page.state.name.lower(),
        silent_s=round(child.silent_s, 3),
        restarts=dict(child.restarts),
        resident_bytes=0 if usage is None else usage.resident_bytes,
    )
