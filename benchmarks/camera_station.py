"""What the fault benchmarks of cameras stand on: a taught station with GigE cameras, and what is read from it."""

import os
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise

import numpy as np
from camera_devices import PATIENCE_S, Cable, Device, network

from edge import client, rehearsal
from edge.cameras import scene
from edge.errors import GoldlineError

SIZE = (320, 240)
REFERENCES = 12
SLOTS = 8
# A look at the station's own page.
LOOK_S = 0.02
# An answer waits for its picture, so that a stall is seen for what it is and not as a deadline.
DEADLINE_MS = 2_000.0


class Listener:
    """Every event, with the time it came, UTC ns."""

    def __init__(self, addresses):
        self.events, self.joined = [], threading.Event()
        threading.Thread(target=self._listen, args=[addresses], daemon=True).start()

    def _listen(self, addresses):
        notify = client.Notify(begun=lambda _: self.joined.set())
        # The station's silence is what is being measured.
        heard = client.Subscriber(live=addresses["live"], sync=addresses["sync"], silence_s=600, notify=notify)
        try:
            with heard:
                for event in heard:
                    self.events.append((time.time_ns(), event.data))
        except GoldlineError:
            return

    def first_picture_ns(self, camera, after_ns):
        """When the first verdict of a picture that was taken after this came; UTC ns."""
        until, index = time.monotonic() + PATIENCE_S, max(0, len(self.events) - 200)
        while time.monotonic() < until:
            while index < len(self.events):
                received_ns, result = self.events[index]
                index += 1
                judged = result.captured is not None and result.reason in (None, "cannot_judge")
                if judged and result.camera == camera and result.captured.timestamp() * 1e9 > after_ns:
                    return received_ns
            time.sleep(LOOK_S)
        raise GoldlineError(f"camera {camera}: no verdict of a picture within {PATIENCE_S} s")


def show_parts(folder):
    """Parts for our own camera to show, good ones and one of each deviation."""
    rehearsal.draw_good_parts(folder, 12, SIZE, seed=2)
    generator = np.random.default_rng(3)
    for kind in scene.DEVIATIONS:
        rehearsal.write_picture(folder / f"{kind}.png", scene.render(kind, generator, SIZE)[0])


def camera_section(device, mode, rate_hz):
    """`[cameras.<name>]` for this device: `software` by the station's own period, or `free`."""
    trigger = {"mode": mode, "deadline_ms": DEADLINE_MS}
    features = {"PixelFormat": "RGB8"}
    if device.kind == "stock":
        features = {"PixelFormat": "Mono8", "Width": SIZE[0], "Height": SIZE[1]}
    if mode == "software":
        trigger["period_ms"] = 1000 / rate_hz
    else:
        features["AcquisitionFrameRate"] = rate_hz
    return {
        "source": "gige",
        "address": device.address,
        "slots": SLOTS,
        "packet_size_bytes": 1400,
        "trigger": trigger,
        "features": features,
    }


class Bench:
    """A station, its cameras by name, and its listener."""

    def __init__(self, daemon, config, devices, listener):
        self.daemon, self.config, self.devices, self.listener = daemon, config, devices, listener

    def is_up(self, camera):
        return self.daemon.total("goldline_camera_up", camera=camera) == 1

    def wait_up(self, camera, *, up=True, within_s=PATIENCE_S):
        """When the station's own page said so, UTC ns; None when it did not in time."""
        until = time.monotonic() + within_s
        while self.is_up(camera) is not up:
            if time.monotonic() > until:
                return None
            time.sleep(LOOK_S)
        return time.time_ns()

    def kill(self, worker):
        """SIGKILL of one of the station's processes, once it is there."""
        until = time.monotonic() + PATIENCE_S
        while (pid := self.daemon.workers().get(worker)) is None:
            if time.monotonic() > until:
                raise GoldlineError(f"{worker} was not started again")
            time.sleep(LOOK_S)
        os.kill(pid, signal.SIGKILL)

    def counters(self, camera):
        """What is compared before and after: by name without `goldline_`, of one camera."""
        counted = Counter()
        for name, value in self.daemon.metrics().items():
            if f'camera="{camera}"' in name:
                bare = name.partition("{")[0].removeprefix("goldline_")
                counted[bare] += value
                for label in ("reason", "cause", "verdict"):
                    if f'{label}="' in name:
                        counted[bare, name.partition(f'{label}="')[2].partition('"')[0]] += value
        return counted

    def books(self):
        """What must hold at any time: looked at until it does, for the pages are read while the station runs."""
        until = time.monotonic() + PATIENCE_S / 6
        while True:
            totals, restarts = Counter(), Counter()
            for name, value in self.daemon.metrics().items():
                totals[name.partition("{")[0].removeprefix("goldline_")] += value
                if name.startswith("goldline_worker_restarts_total"):
                    restarts[name.partition('cause="')[2].partition('"')[0]] += int(value)
            in_flight = totals["triggers_in_flight"]
            if totals["triggers_total"] == totals["verdicts_total"] + in_flight or time.monotonic() > until:
                break
            time.sleep(LOOK_S)
        with closing(sqlite3.connect(f"file:{self.config.parent}/state/outbox.sqlite3?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT sequence, trigger_id FROM events ORDER BY sequence").fetchall()
        answered = Counter(trigger_id for _, trigger_id in rows if trigger_id is not None)
        return {
            "triggers": int(totals["triggers_total"]),
            "verdicts": int(totals["verdicts_total"]),
            "in_flight": int(in_flight),
            # Deaths by `signal` are those that were asked for.
            "worker_restarts": dict(+restarts),
            "duplicates": sum(count > 1 for count in answered.values()),
            "sequence_gaps": sum(after - before != 1 for (before, _), (after, _) in pairwise(rows)),
            "passed_without_picture": sum(
                result.verdict == "PASS" and (result.captured is None or result.score is None)
                for _, result in self.listener.events
            ),
            "verdict_counts": dict(Counter(str(result.verdict) for _, result in self.listener.events)),
            "error_reasons": dict(
                Counter(str(result.reason) for _, result in self.listener.events if result.reason is not None)
            ),
        }


def assert_right(books):
    """Every trigger answered once, and nothing passed unseen."""
    assert books["triggers"] == books["verdicts"] + books["in_flight"], books
    assert not any(books[key] for key in ("duplicates", "sequence_gaps", "passed_without_picture")), books


def teach(directory):
    """Draws and teaches the product once; stations of other folders link to what was taught."""
    rehearsal.draw_good_parts(directory / "good", REFERENCES, SIZE)
    show_parts(directory / "shown")
    config = rehearsal.write_config(directory, {"none": {"source": "simulated"}})
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)


@contextmanager
def station(taught, directory, cameras, rate_hz):
    """A running station, each camera streaming; everything ends with it. `cameras`: name to (`stock` or `own`, mode)."""
    with ExitStack() as stack:
        stack.enter_context(network())
        devices, sections = {}, {}
        for number, (name, (kind, mode)) in enumerate(cameras.items()):
            cable = Cable(number)
            stack.callback(cable.close)
            devices[name] = device = Device(kind, cable, taught / "shown")
            stack.callback(device.kill)
            device.start()
            device.wait_answering()
            sections[name] = camera_section(device, mode, rate_hz)
        config = rehearsal.write_config(directory, sections)
        (directory / "state").mkdir()
        (directory / "state" / "references").symlink_to(taught / "state" / "references")
        (directory / "pipelines").symlink_to(taught / "pipelines")
        daemon = stack.enter_context(rehearsal.running(config))
        listener = Listener(rehearsal.settings(config)["events"])
        listener.joined.wait(PATIENCE_S)
        bench = Bench(daemon, config, devices, listener)
        for name in cameras:
            if bench.wait_up(name) is None:
                raise GoldlineError(f"camera {name} did not come up: {daemon.log.read_text()[-500:]}")
        try:
            yield bench
        except BaseException:
            sys.stderr.write("".join(daemon.log.read_text().splitlines(keepends=True)[-30:]))
            raise
