"""One worker as its parent sees it: exec'd, told things, watched by its page, and waited for by its pidfd."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import structlog

from edge.channel import Channel, ChannelClosed, ChannelFull, pair
from edge.config import Station
from edge.messages import Abandon, Commit, Grant, Link, Offer, Stop
from edge.metrics import Page, State, page_size
from edge.takeover import station_file
from edge.topology import Process, counted, deadlines_of

# Restart at once after the first death, then ever slower; a second of work clears the record: what is wrong with a
# worker itself shows while it starts, and a line that stands still costs more than a restart.
BACKOFF_FIRST_S, BACKOFF_LAST_S, HEALTHY_AFTER_S = 0.05, 30.0, 1.0
# NumPy's thread pool and the graph's fight over the cores: one pool, the graph's.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# A worker that hangs gets SIGABRT, which prints its stacks, and this long to print them.
ABORT_GRACE_S = 1.0


class Child:
    """A row of the table, alive or waiting to be started again. Its page outlives it, so counters never go back."""

    def __init__(self, process: Process, station: Station, generation: int) -> None:
        # Of the station's start: a deadline that changes in flight has no bucket of its own before the next.
        names, deadlines_s = counted(process.name, station), deadlines_of(station)
        self.process, self.name = process, process.name
        self._station, self._generation = station, generation
        self._log = structlog.get_logger().bind(child=process.name)
        self._page_descriptor = os.memfd_create(f"goldline-page-{process.name}", os.MFD_CLOEXEC)
        os.posix_fallocate(self._page_descriptor, 0, page_size(process.name, names, deadlines_s))
        self.page = Page(self._page_descriptor, process.name, names, deadlines_s)
        self._layout = {"counted": names, "deadlines_s": deadlines_s}
        self.popen: subprocess.Popen[bytes] | None = None
        self.control: Channel | None = None
        self.pidfd = -1
        # Capture: this incarnation asked for its ring and has it.
        self.has_ring = False
        self.restarts: dict[str, int] = {"exit": 0, "signal": 0, "stall": 0}
        self._failures = 0
        self._start_at_s = 0.0
        # Since when it works: warm, and its loop coming round.
        self._works_since_s: float | None = None
        self._aborted_at_s: float | None = None
        self._told_to_stop = False
        # Told to make room for another incarnation, and when it is made to.
        self._leaves_by_s: float | None = None

    # --- life

    def is_due(self, now_s: float) -> bool:
        """True when it is not running and its pause is over."""
        return self.popen is None and now_s >= self._start_at_s

    def start(self, now_s: float) -> None:
        """Exec it, with descriptors of its station, its page and its control socket."""
        ours, theirs = pair()
        self.page.beat(State.STARTING, time.monotonic_ns())
        with theirs, station_file(self._station) as station:
            descriptors = {"station": station, "page": self._page_descriptor, "control": theirs.fileno()}
            told = {**descriptors, **self._layout, "generation": self._generation, "supervisor": os.getpid()}
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "edge.worker", self.name, json.dumps(told)],
                pass_fds=tuple(descriptors.values()),
                stdin=subprocess.DEVNULL,
                env=os.environ | ONE_THREAD,
            )
        self.control, self.pidfd = Channel(ours), os.pidfd_open(self.popen.pid)
        self._works_since_s, self._aborted_at_s, self.has_ring = None, None, False
        self._set_oom_score(self.popen.pid)
        self._log.debug("started", pid=self.popen.pid)

    def _set_oom_score(self, pid: int) -> None:
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w") as handle:
                handle.write(str(self.process.role.oom_score))
        except OSError:  # lowering needs CAP_SYS_RESOURCE; without it the kernel's own order holds
            return

    def reap(self, now_s: float) -> None:
        """Collect it after its death, and set when it starts again. Its control socket must have been read out."""
        if self.popen is None:
            return
        code = self.popen.wait()
        cause = "stall" if self._aborted_at_s is not None else "signal" if code < 0 else "exit"
        os.close(self.pidfd)
        self.hang_up()
        self.popen, self.pidfd = None, -1
        self.page.lapse()
        if self._told_to_stop:
            self._log.info("stopped", exit_code=code)
            return
        if self._leaves_by_s is not None:
            self._leaves_by_s, self._start_at_s = None, now_s
            self._log.info("started anew with another configuration", exit_code=code)
            return
        self.restarts[cause] += 1
        worked_s = 0.0 if self._works_since_s is None else now_s - self._works_since_s
        self._failures = 0 if worked_s > HEALTHY_AFTER_S else self._failures + 1
        pause_s = min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2.0 ** (self._failures - 1)) if self._failures > 1 else 0.0
        # Jitter, so that workers that fell together do not rise together.
        self._start_at_s = now_s + pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._log.warning("worker died", exit_code=code, cause=cause, restart_in_s=round(pause_s, 2))

    def renew(self, station: Station, generation: int) -> None:
        """Its next incarnation is born with this configuration."""
        self._station, self._generation = station, generation

    def restart(self, now_s: float) -> None:
        """Have it finish what it holds and make room for another incarnation; one that waits is started at once."""
        if self.popen is None:
            self._start_at_s, self._failures = now_s, 0
        elif self._leaves_by_s is None:
            self._leaves_by_s = now_s + self.process.role.stop_s
            self.tell(Stop(is_restart=True))

    @property
    def is_restarting(self) -> bool:
        """Told to leave, and another follows."""
        return self._leaves_by_s is not None

    def hang_up(self) -> None:
        """Close the control socket."""
        if self.control is not None:
            self.control.close()
            self.control = None

    def dismiss(self) -> None:
        """Kill it for good: its death is no news."""
        self._told_to_stop = True
        self.kill()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, if there is anybody to send it to."""
        if self.popen is not None:
            self.popen.send_signal(number)

    # --- talk

    def tell(self, message: Link | Grant | Stop | Offer | Commit | Abandon, descriptor: int | None = None) -> None:
        """Send over the control socket. A worker that does not read it is killed; its pidfd tells the rest."""
        self._told_to_stop |= isinstance(message, Stop) and not message.is_restart
        if self.control is None:
            return
        try:
            self.control.send(message, descriptor=descriptor)
        except ChannelClosed:
            return
        except ChannelFull:
            self._log.error("does not read its control socket")
            self.kill()

    # --- health

    @property
    def pid(self) -> int | None:
        """Of the running process, or None."""
        popen = self.popen  # read once: a scrape asks on a thread of its own
        return None if popen is None else popen.pid

    @property
    def silent_s(self) -> float:
        """Since its last beat."""
        return time.monotonic() - self.page.beat_ns / 1e9

    @property
    def is_running(self) -> bool:
        """Started, warm, and beating or not."""
        return self.popen is not None and self.page.state in (State.IDLE, State.BUSY)

    @property
    def patience_s(self) -> float:
        """How long it may be silent in its present state."""
        role = self.process.role
        return {State.STARTING: role.starting_s, State.WARMUP: role.warmup_s}.get(self.page.state, role.running_s)

    @property
    def is_healthy(self) -> bool:
        """Beating in time, or in its declared pause before a restart."""
        return self.popen is None or self.silent_s <= self.patience_s

    def watch(self, now_s: float) -> None:
        """Ask a silent worker where it hangs, then kill it."""
        if self.popen is None:
            return
        if self._works_since_s is None and self.is_running:
            self._works_since_s = now_s
        if self._leaves_by_s is not None and now_s > self._leaves_by_s:
            self._log.error("did not stop in time")
            self.kill()
        if self._aborted_at_s is None and not self.is_healthy:
            self._log.error("worker hangs", state=self.page.state.name, silent_s=round(self.silent_s, 1))
            self.kill(signal.SIGABRT)
            self._aborted_at_s = now_s
        elif self._aborted_at_s is not None and now_s - self._aborted_at_s > ABORT_GRACE_S:
            self.kill()
