"""A PLC's program against the Modbus lane, as fast as the handshake goes: a part of `disk_faults.py`."""

import threading
import time
from contextlib import suppress

from plc import ACK, FIELDS, STATUS, TRIGGER, Plc

from edge.lanes.modbus_map import INPUTS

LOOK_S = 0.01


class Program(threading.Thread):
    """What the PLC does: trigger, wait, acknowledge, for ever. `rows`: time and what came of it."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self._port, self._plc, self.over = port, Plc(port), threading.Event()
        self.rows, self.waits_ms = [], []

    def run(self):
        while not self.over.is_set():
            try:
                self._look()
            except OSError:
                self.rows.append((time.time(), "no connection"))
                self._connect()
            time.sleep(LOOK_S)

    def _look(self):
        if self._is("ready") and not self._is("busy"):
            self._cycle()
        else:
            self.rows.append((time.time(), "not ready"))

    def _connect(self):
        with suppress(OSError):
            self._plc = Plc(self._port)

    def _is(self, name):
        return bool(self._words()[0] & STATUS[name])

    def _words(self):
        return self._plc.words(INPUTS, INPUTS)

    def _cycle(self):
        began = time.monotonic()
        self._plc.control(1 << TRIGGER)
        words = self._until("valid", "missed")
        if words[0] & STATUS["valid"]:
            self.rows.append((time.time(), ("none", "PASS", "FAIL", "ERROR")[words[FIELDS["result"]]]))
            self.waits_ms.append((time.monotonic() - began) * 1000)
            self._plc.control(1 << ACK)
            while self._is("valid") and not self.over.is_set():
                time.sleep(LOOK_S)
        elif not self.over.is_set():
            self.rows.append((time.time(), "refused"))
        self._plc.control(0)

    def _until(self, *names):
        wanted = sum(STATUS[name] for name in names)
        while not (words := self._words())[0] & wanted and not self.over.is_set():
            time.sleep(LOOK_S)
        return words
