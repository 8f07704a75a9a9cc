"""Whether a USB3 Vision camera is in use, by what the kernel says, without asking the camera or libaravis."""

from pathlib import Path

_DEVICES = Path("/sys/bus/usb/devices")
# USB3 Vision 1.0, section 2.3: class and subclass of its interfaces, as the kernel writes them.
_VISION = ("ef", "05")
# What drives an interface that a program holds.
_PROGRAM = "usbfs"


def is_claimed(serial: str, devices: Path = _DEVICES) -> bool:
    """Whether a program, this one included, holds an interface of the camera of this serial number.

    False where the kernel does not tell, as in a container without its files.
    """
    return any(_is_vision(it) and _driver(it) == _PROGRAM for it in _interfaces(serial, devices))


def _interfaces(serial: str, devices: Path) -> list[Path]:
    """Those of every USB device of this serial number, which are its neighbours in the folder: 1-2 has 1-2:1.0."""
    numbered = [it.parent for it in devices.glob("*/serial") if _text(it) == serial]
    return [interface for device in numbered for interface in devices.glob(f"{device.name}:*")]


def _is_vision(interface: Path) -> bool:
    return (_text(interface / "bInterfaceClass"), _text(interface / "bInterfaceSubClass")) == _VISION


def _driver(interface: Path) -> str | None:
    try:
        return (interface / "driver").readlink().name
    except OSError:  # none, or the device is gone
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # the device is gone
        return ""
