"""Run in the service's place by the booted tests: prints as JSON what the sandbox lets a process do. Standard library only.

Each probe's value is `yes`, what it found, or the name of the error it met.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
F_ADD_SEALS, SEAL_SHRINK = 1033, 2
CLONE_NEWUSER = 0x10000000
PAGE = mmap.PAGESIZE


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")


def sealed_memory() -> None:
    """As the rings are made."""
    descriptor = os.memfd_create("probe", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.posix_fallocate(descriptor, 0, 16 * PAGE)
    fcntl.fcntl(descriptor, F_ADD_SEALS, SEAL_SHRINK)
    with mmap.mmap(descriptor, 16 * PAGE) as mapped:
        mapped.madvise(mmap.MADV_HUGEPAGE)
    try:
        os.ftruncate(descriptor, PAGE)
    except PermissionError:
        return
    raise OSError(errno.EINVAL, "it shrank in spite of its seal")


def locked_memory() -> None:
    with mmap.mmap(-1, 16 * PAGE) as mapped:
        checked(LIBC.mlock(ctypes.byref(ctypes.c_char.from_buffer(mapped)), ctypes.c_size_t(16 * PAGE)))


def executable_memory() -> None:
    """As CUDA's compiler has it."""
    mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def be_idle() -> None:
    """ioprio_set, of this thread, to the idle class, as the archive does."""
    checked(LIBC.syscall({"x86_64": 251, "aarch64": 30}[os.uname().machine], 1, 0, 3 << 13))


def sends(address: tuple[str, int]) -> Callable[[], object]:
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            out.sendto(b"probe", address)

    return send


def opens(family: int, kind: int, protocol: int = 0) -> Callable[[], object]:
    return lambda: socket.socket(family, kind, protocol).close()


PROBES: dict[str, Callable[[], object]] = {
    "user": os.getuid,
    "capabilities": lambda: next(
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")
    ),
    "write /etc": lambda: Path("/etc/probe").write_text(""),
    "write its program": lambda: Path("/opt/goldline/probe").write_text(""),
    "write its configuration": lambda: Path("/etc/goldline/config.toml").open("a").close(),
    "write its state": lambda: Path(os.environ["STATE_DIRECTORY"], "probe").write_text(""),
    "write its runtime": lambda: Path(os.environ["RUNTIME_DIRECTORY"], "probe").write_text(""),
    "states it sees": lambda: sorted(os.listdir("/var/lib")),
    "look at homes": lambda: os.listdir("/root"),
    "processes of others": lambda: Path("/proc/1/cmdline").read_text(),
    "read the processor's description": lambda: Path("/proc/cpuinfo").read_text()[:0],
    "open a camera": lambda: os.open("/dev/camera", os.O_RDWR),
    "open another device": lambda: os.open("/dev/other", os.O_RDWR),
    "sealed memory": sealed_memory,
    "locked memory": locked_memory,
    "executable memory": executable_memory,
    "descriptors": lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "lower its limits": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    "be nicer": lambda: os.setpriority(os.PRIO_PROCESS, 0, 19),
    "be idle at the disk": be_idle,
    "choose processors": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "keep its policy": lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "new namespace": lambda: checked(LIBC.unshare(CLONE_NEWUSER)),
    "mount": lambda: checked(LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "netlink": opens(socket.AF_NETLINK, socket.SOCK_RAW),
    "raw packets": opens(socket.AF_PACKET, socket.SOCK_RAW, 0x0300),
    "raw IP": opens(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP),
    "send to itself": sends(("127.0.0.1", 9)),
    "send to a private network": sends(("192.168.77.2", 9)),
    "send to a camera without address": sends(("169.254.7.7", 9)),
    "look for cameras": sends(("255.255.255.255", 3956)),
    "send to the world": sends(("203.0.113.1", 9)),
}


def attempt(probe: Callable[[], object]) -> object:
    try:
        found = probe()
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, str(problem))
    return found if found and probe in SAID else "yes"


# What is not only allowed or refused.
SAID = {PROBES[name] for name in ("user", "capabilities", "states it sees", "descriptors")}
json.dump({name: attempt(probe) for name, probe in PROBES.items()}, sys.stdout)
