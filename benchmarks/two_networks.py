"""Two network namespaces with a virtual cable between them: a part of `network_faults.py`. Root."""

import ctypes
import os
import subprocess
import time
from contextlib import contextmanager

from command_line import cannot

# From <linux/sched.h>: this thread, and what it starts from now on, in a network of its own.
CLONE_NEWNET = 0x40000000
STATION, READER = "10.9.0.1", "10.9.0.2"
CABLE, OTHER_END = "station0", "reader0"
PATIENCE_S = 120.0


def until(condition, what):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.01)


def ip(*words, network=None):
    inside = ["nsenter", f"--net=/proc/{network}/ns/net"] if network else []
    subprocess.run([*inside, "ip", *words], check=True)


@contextmanager
def two_networks():
    """This process moves into the station's; yields the process that holds the readers'."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        cannot(f"needs root and network namespaces: {os.strerror(ctypes.get_errno())}")
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"), "a network")
        ip("link", "add", CABLE, "type", "veth", "peer", "name", OTHER_END, "netns", str(holder.pid))
        ip("address", "add", f"{STATION}/24", "dev", CABLE)
        ip("address", "add", f"{READER}/24", "dev", OTHER_END, network=holder.pid)
        for name, network in (("lo", None), (CABLE, None), ("lo", holder.pid), (OTHER_END, holder.pid)):
            ip("link", "set", name, "up", network=network)
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
