"""The outside world that gives the orders, as a process of its own with a log of its own: a part of `chaos.py`.

    python benchmarks/chaos_triggers.py tcp://127.0.0.1:5557 left,right 60 DIRECTORY

Each camera has its turn at an even pace; every order carries a `unit_identifier` of its own. Written at once, line by line:

    triggers.jsonl   an accepted trigger: t (UTC, s), trigger_id, camera, unit_identifier
    orders.jsonl     every other order, with its outcome: refused (and why), or unanswered at the end

SIGTERM ends it: nothing more is ordered, what was is given time to be answered.
"""

import json
import signal
import sys
import time
from pathlib import Path

import zmq

# Orders of one camera that may wait for their answer; beyond, none is given: nobody orders from a station that is mute.
WINDOW = 6
# An order that is older waits for its answer outside the window: its station has died with it.
PATIENCE_S = 2.0
LAST_ANSWERS_S = 6.0


class Orders:
    """What was ordered and not answered, and the two logs."""

    def __init__(self, directory):
        self.pending = {}
        self._accepted = (directory / "triggers.jsonl").open("a", buffering=1)
        self._others = (directory / "orders.jsonl").open("a", buffering=1)

    def has_room(self, camera, now_s):
        fresh = [one for one in self.pending.values() if one[1] == camera and now_s - one[0] < PATIENCE_S]
        return len(fresh) < WINDOW

    def note(self, answer):
        ordered = self.pending.pop(answer["id"], None)
        if ordered is None:
            raise SystemExit(f"an answer to no order: {answer}")
        line = {"t": time.time(), "camera": ordered[1], "unit_identifier": answer["id"]}
        if answer["accepted"]:
            self._accepted.write(json.dumps(line | {"trigger_id": answer["trigger_id"]}) + "\n")
        else:
            self._others.write(json.dumps(line | {"outcome": "refused", "error": answer["error"]}) + "\n")

    def close(self):
        for unit, (_, camera) in self.pending.items():
            line = {"t": time.time(), "camera": camera, "unit_identifier": unit, "outcome": "unanswered"}
            self._others.write(json.dumps(line) + "\n")


def hear(socket, orders, wait_s):
    if socket.poll(max(0, int(wait_s * 1000))):
        while socket.poll(0):
            orders.note(json.loads(socket.recv()))


def order(socket, orders, camera, number):
    unit = f"{camera}-{number}"
    try:
        socket.send(json.dumps({"verb": "trigger", "camera": camera, "unit_identifier": unit, "id": unit}).encode())
    except zmq.Again:
        return
    orders.pending[unit] = (time.monotonic(), camera)


def main():
    address, names, rate, directory = sys.argv[1:]
    cameras, period_s = names.split(","), 1 / float(rate)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    orders = Orders(Path(directory))
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDTIMEO, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 400)
        socket.connect(address)
        number, next_s = 0, time.monotonic()
        while not stopping:
            hear(socket, orders, next_s - time.monotonic())
            now_s = time.monotonic()
            if now_s < next_s:
                continue
            camera = cameras[number % len(cameras)]
            if orders.has_room(camera, now_s):
                order(socket, orders, camera, number)
            number += 1
            # What the machine made this process miss is not made up for at once: parts do not come in bursts.
            next_s = max(next_s + period_s, now_s - 1.0)
        until_s = time.monotonic() + LAST_ANSWERS_S
        while orders.pending and time.monotonic() < until_s:
            hear(socket, orders, 0.1)
    orders.close()


if __name__ == "__main__":
    main()
