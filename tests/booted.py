"""A device of its own: a Debian with systemd as PID 1, in namespaces of this machine, as long as the test takes.

    with booted(dependencies(), debian()) as device:
        device.install(wheel(tmp_path))
        device.run("systemctl", "start", "goldline")

Its files are in memory and gone with it; no process or mount of it is left, even when the test is killed.
What it cannot show: limits of memory and processor, whose controllers may be held by the machine around it.
"""

import ctypes
import itertools
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.debian_root import PROGRAM
from tests.needs import needs_namespaces, needs_program

Result = TypeVar("Result")

BOOT = Path(__file__).with_name("boot.sh")
# A boot takes a second; a machine that is busy, many times that.
BOOTED_WITHIN_S = 120.0
COMMAND_WITHIN_S = 120.0
CLONE_NEWNET = 0x40000000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_numbers = itertools.count(1)


class Device:
    """A booted one. `pid` is its PID 1 as this machine counts."""

    def __init__(self, pid: int, console: Path) -> None:
        self.pid, self.console = pid, console

    def path(self, inside: str | Path) -> Path:
        """A file of the device, to be read or written from here. Absolute links in it lead astray."""
        return Path(f"/proc/{self.pid}/root") / str(inside).lstrip("/")

    def enter(self, *command: str | Path) -> list[str]:
        """The command line that runs this one inside, as root."""
        return [
            *("nsenter", f"--target={self.pid}", "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"),
            *("env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER="),
            *map(str, command),
        ]

    def run(
        self, *command: str | Path, code: int | None = 0, text: str | None = None, timeout_s: float = COMMAND_WITHIN_S
    ) -> str:
        """What it printed, errors too. `code`: how it must end; None: however it likes. `text`: its standard input."""
        done = subprocess.run(
            self.enter(*command),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert code is None or done.returncode == code, (
            f"{shlex.join(map(str, command))}: {done.returncode}\n{done.stdout}"
        )
        return done.stdout

    def in_its_network(self, function: Callable[[], Result]) -> Result:
        """Call it on a thread whose sockets, and those of threads it starts, are the device's."""
        with ThreadPoolExecutor(1, initializer=self._enter_network) as thread:
            return thread.submit(function).result()

    def _enter_network(self) -> None:
        with open(f"/proc/{self.pid}/ns/net") as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "the device's network cannot be entered")

    def unit(self, name: str, property_: str) -> str:
        """One property of a unit, as `systemctl show` says it."""
        return self.run("systemctl", "show", "--value", f"--property={property_}", name).strip()

    def journal(self, unit: str) -> str:
        """Every message of this unit."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def wait(self, until: Callable[[], bool], what: str, timeout_s: float = BOOTED_WITHIN_S) -> float:
        """Seconds until it was so."""
        began_s = time.monotonic()
        while not until():
            assert time.monotonic() - began_s < timeout_s, f"{what}: not within {timeout_s:.0f} s"
            time.sleep(0.02)
        return time.monotonic() - began_s

    def install(self, wheel: Path) -> None:
        """Put Goldline's wheel where the units look for the program. The device was booted from `dependencies()`."""
        self.path(f"/run/{wheel.name}").write_bytes(wheel.read_bytes())
        words = ("--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", "--root-user-action=ignore")
        self.run(f"/{PROGRAM}/bin/python", "-m", "pip", "install", *words, f"/run/{wheel.name}")


@contextmanager
def booted(*layers: Path, name: str = "device", state: Path | None = None) -> Generator[Device]:
    """A device of these layers, the uppermost first, all of which stay as they are. For root, and the main thread:

    the device dies with the thread that made it. `state`: a folder of this machine to be its /var/lib/goldline.
    """
    needs_namespaces()
    for program, package in (("setpriv", "util-linux"), ("ip", "iproute2")):
        needs_program(program, package)
    group = f"goldline-device-{os.getpid()}-{next(_numbers)}"
    with tempfile.TemporaryDirectory() as folder:
        place, console = Path(folder, "place"), Path(folder, "console")
        place.mkdir()
        outer = ("sh", BOOT, "outer", group, name, ":".join(map(str, layers)), state or "")
        with console.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", *outer],
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield _up(process, console)
        finally:
            process.kill()
            process.wait()
            _remove_cgroups(group)


def _up(process: subprocess.Popen[bytes], console: Path) -> Device:
    """The device, once systemd says that it has started what there is to start."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + BOOTED_WITHIN_S
    state = ""
    while time.monotonic() < until and process.poll() is None:
        for pid in children.read_text().split():
            if _name(pid) == "systemd":
                device = Device(int(pid), console)
                state = device.run("systemctl", "is-system-running", "--wait", code=None).strip()
                if state in ("running", "degraded"):
                    return device
        time.sleep(0.02)
    raise AssertionError(f"the device did not boot: {state}\n{console.read_text()[-2000:]}")


def _name(pid: str) -> str:
    """Of a process; nothing for one that has just ended, as those do that mount things before systemd is there."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _remove_cgroups(group: str) -> None:
    """Those of a dead device. A process that was killed leaves its cgroup some moments later."""
    script = (
        "mount -t cgroup2 none $PWD; here=$PWD$(sed -n 's/^0:://p' /proc/self/cgroup)/$0; tries=0; "
        'while [ -d "$here" ] && [ $tries -lt 100 ]; do '
        'find "$here" -depth -type d -exec rmdir {} + 2>/dev/null; tries=$((tries + 1)); sleep 0.02; done'
    )
    with tempfile.TemporaryDirectory() as place:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, group]
        subprocess.run(command, cwd=place, check=False)
