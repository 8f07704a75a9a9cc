"""The files of `deploy/` for USB cameras, read by udev and systemd themselves, and what `goldline doctor` says before and
after. The camera is a USB3 Vision device in name alone. Run by `vivid.sh`, in its virtual machine.
"""

import contextlib
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.doctor import host
from edge.doctor.finding import Machine, Person, Status
from tests.hardware.usb_device import UsbDevice

DEPLOY = Path(__file__).parents[2] / "deploy"
VIDEO_GROUP = 44  # Debian's, in every installation
SERVICE = Machine(person=Person(name="goldline", uid=4711, groups=frozenset({4711, VIDEO_GROUP})))
STRANGER = Machine(person=Person(name="stranger", uid=4712, groups=frozenset({4712})))
# The kernel enumerates a device, and udev reads a hundred files of rules, on a processor that is emulated.
PATIENCE_S = 60.0
# The machine sees its host's files in a folder, which udevadm would take for a container.
ANYWHERE = os.environ | {"SYSTEMD_IGNORE_CHROOT": "1"}


def vision_device() -> UsbDevice:
    """USB3 Vision 1.0, 2.3: class EF, subclass 05, protocol 00 is the control interface."""
    device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0105, 0x0100, 1, 2, 3, 1)
    interface = bytes([9, 4, 0, 0, 2, 0xEF, 5, 0, 0])
    endpoints = b"".join(struct.pack("<BBBBHB", 7, 5, address, 2, 512, 0) for address in (0x81, 0x02))
    body = interface + endpoints
    configuration = struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 1, 1, 0, 0x80, 250) + body
    return UsbDevice(device, configuration, ["Goldline", "Vision in name", "U3V-0001"], lambda *_transfer: None)


def wait_for(happened: object, what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, what
        time.sleep(0.05)


@pytest.fixture
def camera() -> Iterator[UsbDevice]:
    device = vision_device()
    device.plug_in()
    wait_for(lambda: any(node.exists() for node in host.vision_devices(Machine())), "the kernel does not see it")
    yield device
    device.unplug()
    wait_for(lambda: not list(host.vision_devices(Machine())), "the kernel still sees it")


@pytest.fixture
def udev() -> Iterator[None]:
    """udev with the rules of `deploy/`."""
    rules = Path("/run/udev/rules.d")
    rules.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEPLOY / "udev" / "60-goldline.rules", rules)
    try:
        with udev_daemon():
            yield
    finally:
        shutil.rmtree("/run/udev/rules.d")


@contextlib.contextmanager
def udev_daemon() -> Iterator[None]:
    """udev with the rules that there are."""
    daemon = subprocess.Popen(["/lib/systemd/systemd-udevd"], env=ANYWHERE)
    try:
        ping = ["udevadm", "control", "--ping"]
        wait_for(lambda: subprocess.run(ping, check=False, env=ANYWHERE).returncode == 0, "no udev")
        yield
    finally:
        daemon.terminate()
        daemon.wait()


def access(machine: Machine) -> Status:
    (found,) = host.usb_access(machine)
    return found.status


def test_without_the_rules_the_service_may_not_use_a_usb_camera(camera: UsbDevice) -> None:
    assert (access(SERVICE), access(STRANGER)) == (Status.BAD, Status.BAD)


def test_udev_gives_usb_cameras_to_group_video_and_keeps_them_awake(udev: None, camera: UsbDevice) -> None:
    subprocess.run(["udevadm", "settle", f"--timeout={PATIENCE_S:.0f}"], check=True, env=ANYWHERE)
    assert (access(SERVICE), access(STRANGER)) == (Status.OK, Status.BAD)
    (node,) = host.vision_devices(Machine())
    assert node.stat().st_gid == VIDEO_GROUP
    (interface,) = [
        path
        for path in Path("/sys/bus/usb/devices").glob("*:1.0")
        if (path / "bInterfaceSubClass").read_text() == "05\n"
    ]
    assert (interface.resolve().parent / "power/control").read_text() == "on\n"


def test_tmpfiles_gives_usb_cameras_memory(camera: UsbDevice) -> None:
    (before,) = host.usb_memory(Machine())
    assert (before.status, before.seen) == (Status.BAD, "usbfs_memory_mb is 16, for 1 USB3 Vision camera(s)")
    subprocess.run(["systemd-tmpfiles", "--create", str(DEPLOY / "tmpfiles.d" / "goldline.conf")], check=True)
    (after,) = host.usb_memory(Machine())
    assert (after.status, after.seen) == (Status.OK, "usbfs_memory_mb is 1000, for 1 USB3 Vision camera(s)")
