"""The real capture process of a GigE camera with everything around it: fake cameras, and one that takes its frames."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from edge import ring
from edge.cameras import gvcp
from edge.channel import Channel, ChannelClosed, pair
from edge.child import Child
from edge.config import Station, runtime_directory
from edge.messages import Fire, Frame, Grant, Hello, Ids, Link, Opened, Release, Run, Stop, Unjudged, WantIds, WantRing
from edge.records import Trigger
from edge.topology import processes
from edge.trigger_log import OpenedLog, opened_path

ADDRESSES = ("127.0.0.1", "127.0.0.2")
# At 500 frames a second, what a machine that is busy for 60 ms leaves behind.
SLOTS = 32
# Nothing here takes as long, on whatever machine.
PATIENCE_S = 30.0
IDS_A_BLOCK = 4096


def cpu_s(pid):
    """Of all threads of a process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pictures(directory, size):
    """Eight pictures of noise: no two in a row are equal, as with a sensor."""
    directory.mkdir(parents=True)
    generator = np.random.default_rng(1)
    for index in range(8):
        picture = generator.integers(0, 256, (size[1], size[0]), dtype=np.uint8)
        assert cv2.imwrite(str(directory / f"{index}.png"), picture)


class FakeCamera:
    """A camera process at an address."""

    def __init__(self, kind, address, directory, size, rate):
        if kind == "own":
            pictures(directory, size)
            command = [sys.executable, "-m", "edge.cameras.fake_gige", "--folder", str(directory)]
            command += ["--interface", address, "--pixel-format", "Mono8", "--rate", str(rate)]
        else:
            command = ["arv-fake-gv-camera-0.8", "-i", address, "-s", f"ST{address[-1]}"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + PATIENCE_S
        while gvcp.is_controlled(address) is None:
            assert self.process.poll() is None, f"{command} has ended"
            assert time.monotonic() < until_s, f"{command} does not answer"
            time.sleep(0.05)

    def order(self, words):
        self.process.stdin.write(f"{words}\n".encode())
        self.process.stdin.flush()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()


class Consumer:
    """Supervisor, publish and inspection to one capture process: it gives every slot back at once."""

    def __init__(self, station, name, epoll):
        self._station, self.camera, self._epoll = station, name, epoll
        row = next(row for row in processes(station) if row.name == f"capture@{name}")
        self.child = Child(row, station, generation=1)
        self.child.start(time.monotonic())
        self.handlers, self._log, self._next_id = {}, None, 1
        self.handoffs, self.frame_ids, self.triggers, self.unjudged = [], [], [], []
        self._listen(self.child.control, self._hear_control)
        self._publish = self._link("publish")
        self._publish.send(Run(is_on=True))
        self._listen(self._publish, self._hear_publish)

    def _listen(self, channel, handler):
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self.handlers[channel.fileno()] = lambda: handler(channel)

    def _link(self, peer):
        ours, theirs = pair()
        self.child.tell(Link(peer=peer), theirs.fileno())
        theirs.close()
        return Channel(ours)

    def _hear_control(self, channel):
        for message in channel.drain():
            if not isinstance(message, WantRing):
                raise SystemExit(f"capture says {message}")
            memory = ring.create("bench", SLOTS, message.slot_bytes)
            self.child.tell(Grant(camera=self.camera, slots=SLOTS, slot_bytes=message.slot_bytes), memory)
            os.close(memory)
            inspection = self._link("inspection")
            self._listen(inspection, self._hear_inspection)
            inspection.send(Hello(held=()))

    def _hear_inspection(self, channel):
        for message in channel.drain():
            if isinstance(message, Frame):
                frame = message.frame
                self.handoffs.append(time.monotonic_ns() - frame.host_timestamp_ns)
                self.frame_ids.append(frame.frame_id)
                self.triggers.append(frame.trigger_id)
                channel.send(Release(slot=frame.slot, generation=frame.generation))

    def _hear_publish(self, channel):
        for message in channel.drain():
            match message:
                case WantIds():
                    channel.send(Ids(first=self._next_id, last=self._next_id + IDS_A_BLOCK - 1))
                    self._next_id += IDS_A_BLOCK
                case Opened():
                    self._close_opened()
                case Unjudged():
                    self.unjudged.append(message)

    def _close_opened(self):
        """As the ledger does once it has decided: the log's records may be overwritten."""
        if self._log is None:
            self._log = OpenedLog.attach(opened_path(runtime_directory(self._station), self.camera))
        for trigger in self._log.read_new():
            self._log.mark_closed(trigger.trigger_id)

    def fire(self, trigger_id):
        """Returns when, monotonic ns."""
        now_ns = time.monotonic_ns()
        trigger = Trigger(
            trigger_id=trigger_id,
            camera=self.camera,
            source="software",
            opened_ns=now_ns,
            opened_utc_ns=time.time_ns(),
            deadline_ns=now_ns + int(PATIENCE_S * 1e9),
        )
        self._publish.send(Fire(trigger=trigger))
        return now_ns

    @property
    def is_up(self):
        return any(
            series.metric.name == "goldline_camera_up" and values[0] for series, values in self.child.page.read()
        )

    def counted(self):
        """Captured, lost, bad and superseded frames by capture's own metrics page."""
        found = dict.fromkeys(("captured", "bad", "lost", "superseded"), 0)
        for series, values in self.child.page.read():
            count = int(values[0])
            match series.metric.name:
                case "goldline_frames_captured_total":
                    found["captured"] += count
                case "goldline_camera_incomplete_frames_total":
                    found["bad"] += count
                case "goldline_frames_dropped_total" if series.labels[-1] == "superseded":
                    found["superseded"] += count
                case "goldline_frames_dropped_total" if series.labels[-1] != "incomplete":
                    found["lost"] += count
        return found

    def close(self):
        self.child.tell(Stop())
        try:
            self.child.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()


class Bench:
    """So many cameras, their captures, and the one wait of this process. `stack` closes it all."""

    def __init__(self, stack, kind, cameras, size, rate, trigger):
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = ADDRESSES[:cameras]
        self.cameras = []
        for address in addresses:
            self.cameras.append(FakeCamera(kind, address, directory / address, size, rate))
            stack.callback(self.cameras[-1].close)
        station = _station(directory, kind, addresses, size, trigger)
        self._epoll = select.epoll()
        self.consumers = [Consumer(station, name, self._epoll) for name in station.cameras]
        for consumer in self.consumers:
            stack.callback(consumer.close)
        self.until(lambda: all(consumer.is_up for consumer in self.consumers), PATIENCE_S)

    def turn(self, timeout_s=0.05):
        handlers = {key: value for consumer in self.consumers for key, value in consumer.handlers.items()}
        for descriptor, _ in self._epoll.poll(timeout_s):
            try:
                handlers[descriptor]()
            except ChannelClosed:
                raise SystemExit("capture has died") from None

    def until(self, condition, patience_s):
        """Turns until it holds."""
        end_s = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end_s:
                raise SystemExit(f"waited {patience_s} s in vain")
            self.turn()

    def spend(self, seconds):
        """Turns for so long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.turn(min(0.05, left_s))


def _station(directory, kind, addresses, size, trigger):
    features = {"Width": size[0], "Height": size[1], "PixelFormat": "Mono8"}
    if kind == "debian":
        features["AcquisitionFrameRate"] = 1000.0
    else:
        features["ExposureTime"] = 1000.0  # after a pulse, before its picture
    camera = {
        "source": "gige",
        "packet_size_bytes": 9000,
        "receive_buffer_bytes": 64 << 20,
        "slots": SLOTS,
        "settling_frames": 0,
        "features": features,
        "trigger": trigger,
    }
    cameras = {f"camera{index}": camera | {"address": address} for index, address in enumerate(addresses)}
    paths = {"state_dir": directory / "state", "runtime_dir": directory / "run"}
    return Station.model_validate(paths | {"cameras": cameras, "log": {"level": "warning", "format": "console"}})
