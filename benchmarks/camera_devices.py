"""Fake cameras behind cables of their own, and what can happen to them.

A cable is a veth pair from this process's network namespace to one of the camera's own; pulling it is setting the
camera's end down, by which this end loses its carrier and keeps its address. Needs root, iproute2, util-linux, libaravis-0.8-0 and, for the independent camera, aravis-tools. Nothing of the
machine's own network is touched.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from edge.cameras import gvcp
from edge.errors import GoldlineError

# From <linux/sched.h>.
CLONE_NEWNET = 0x40000000
# A camera's process answers within a second; a busy machine takes longer.
PATIENCE_S = 60.0
# The cable's; a camera is told the packet size it may use.
MTU_BYTES = 9_000


@contextmanager
def network():
    """A network namespace of this thread's own with a loopback interface; the one before comes back."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        os.close(before)
        raise GoldlineError(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}; it needs root")
    try:
        ip("link", "set", "lo", "up")
        yield
    finally:
        libc.setns(before, CLONE_NEWNET)
        os.close(before)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Cable:
    """From here to a namespace of its own, in which `address` is the camera's."""

    def __init__(self, number):
        self.address, self._here = f"10.77.{number}.2", f"goldline{number}"
        self._there = f"there{number}"
        # It says so once it is there, and holds its namespace until it ends.
        holding = ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
        self._holder = subprocess.Popen(holding, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", str(self._holder.pid))
        for words in (
            ("address", "add", f"{self.address}/24", "dev", self._there),
            ("link", "set", self._there, "mtu", str(MTU_BYTES), "up"),
            ("link", "set", "lo", "up"),
        ):
            subprocess.run([*self.inside(), "ip", *words], check=True)
        ip("address", "add", f"10.77.{number}.1/24", "dev", self._here)
        ip("link", "set", self._here, "mtu", str(MTU_BYTES), "up")

    def inside(self):
        """The words before a command that run it at the camera's end."""
        return ["nsenter", "--net", "--target", str(self._holder.pid)]

    def pull(self):
        self._set("down")

    def plug(self):
        self._set("up")

    def _set(self, state):
        subprocess.run([*self.inside(), "ip", "link", "set", self._there, state], check=True)

    def close(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


class Device:
    """A fake camera at the end of a cable: `stock` is Debian's, which has nothing of ours; `own` shows a folder."""

    def __init__(self, kind, cable, folder):
        self.kind, self.cable, self._folder = kind, cable, folder
        self._process = None

    @property
    def address(self):
        return self.cable.address

    def _command(self, options):
        if self.kind == "stock":
            return ["arv-fake-gv-camera-0.8", "-i", self.address, "-s", f"ST-{self.address}", *options]
        program = [sys.executable, "-m", "edge.cameras.fake_gige", "--folder", str(self._folder)]
        return [*program, "--interface", self.address, "--serial", f"GL-{self.address}", *options]

    def start(self, *options):
        command = [*self.cable.inside(), *self._command(options)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **quiet)

    def wait_answering(self):
        until = time.monotonic() + PATIENCE_S
        while gvcp.is_controlled(self.address) is None:
            if self._process.poll() is not None or time.monotonic() > until:
                raise GoldlineError(f"{self.kind} camera at {self.address} does not answer")

    def order(self, words):
        """A line on the standard input of our own camera."""
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process = None


# --- faults: each lasts as long as its context


@contextmanager
def killed(device):
    """The camera loses its power, and has it again."""
    device.kill()
    yield
    device.start()


@contextmanager
def lossy(device):
    """Five packets in a thousand are lost on the way. The independent camera must be started for it."""
    if device.kind == "own":
        device.order("lose 5")
        yield
        device.order("lose 0")
        return
    device.kill()
    device.start("-r", "5")
    yield
    device.kill()
    device.start()


@contextmanager
def unplugged(device):
    """The cable is pulled."""
    device.cable.pull()
    yield
    device.cable.plug()


@contextmanager
def hanging(device):
    """The camera is there and does nothing at all."""
    device.signal(signal.SIGSTOP)
    yield
    device.signal(signal.SIGCONT)


@contextmanager
def frozen(device):
    """It sends the same picture again and again. Our own camera only."""
    device.order("freeze")
    yield
    device.order("thaw")


@contextmanager
def mute(device):
    """It answers every command and sends no picture. Our own camera only."""
    device.order("stop")
    yield
    device.order("go")


ANY_CAMERA, OWN_CAMERA = (lossy, killed, unplugged, hanging), (mute, frozen)
