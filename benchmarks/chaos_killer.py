"""Ends or stops processes of a station at random: a part of `chaos.py`."""

import contextlib
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

# How often each is chosen, relative to the others; a supervisor takes everybody with it.
WEIGHTS = {"capture": 2.0, "inspection": 2.0, "publish": 3.0, "sync": 1.5, "archive": 1.0, "lane": 1.0}
WEIGHTS |= {"supervisor": 0.6, "consumer": 0.7}
# Of all signals; the others are SIGKILL.
STOPPED, TOLD = 0.2, 0.3
# Longer than any worker may be silent: the supervisor's watchdog ends it.
FOR_THE_WATCHDOG_S = 6.0


class Killer(threading.Thread):
    """Signals at random until `over` is set, at most one stopped process at a time; a line of kills.jsonl for each."""

    def __init__(self, station, consumer, directory, *, every_s, seed):
        super().__init__()
        self.over = threading.Event()
        self._station, self._consumer, self._every_s = station, consumer, every_s
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._log = (directory / "kills.jsonl").open("a", buffering=1)
        self._stopped, self._continue_at_s = None, 0.0

    def run(self):
        while not self.over.wait(self._pause_s()):
            self._let_go()
            self._strike()
        self._let_go(now=True)

    def _pause_s(self):
        pause_s = self._every_s * self._random.uniform(0.4, 1.6)
        left_s = self._continue_at_s - time.monotonic()
        return min(pause_s, max(left_s, 0.05)) if self._stopped and left_s < pause_s else pause_s

    def _strike(self):
        pids = self._station.pids()
        pids["consumer"] = self._consumer.pid
        names = sorted(pids)
        if len(names) < 4:
            return  # nothing but the supervisor is there
        weights = [WEIGHTS[name.partition("@")[0]] for name in names]
        worker = self._random.choices(names, weights)[0]
        number, pause_s = self._signal(worker)
        if self._send(pids[worker], number):
            if number is signal.SIGSTOP:
                self._stopped, self._continue_at_s = pids[worker], time.monotonic() + pause_s
            row = {"t": time.time(), "signal": number.name, "worker": worker, "pid": pids[worker]}
            self._log.write(json.dumps(row | ({"stopped_s": pause_s} if pause_s else {})) + "\n")

    def _signal(self, worker):
        chance = self._random.random()
        if chance < STOPPED and self._stopped is None:
            # Nobody but systemd watches the supervisor, and the consumer nobody.
            is_watched = worker not in {"supervisor", "consumer"}
            is_long = is_watched and self._random.random() < 0.4
            return signal.SIGSTOP, FOR_THE_WATCHDOG_S if is_long else round(self._random.uniform(0.1, 1.5), 2)
        if worker == "supervisor" and chance < STOPPED + TOLD:
            return signal.SIGTERM, None
        return signal.SIGKILL, None

    def _let_go(self, *, now=False):
        if self._stopped and (now or time.monotonic() >= self._continue_at_s):
            self._send(self._stopped, signal.SIGCONT)
            self._stopped = None

    @staticmethod
    def _send(pid, number):
        """True: it reached a process that was alive."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            os.kill(pid, number)
            return state != "Z"
        return False
