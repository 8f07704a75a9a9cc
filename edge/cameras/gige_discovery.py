"""Which GigE Vision and USB3 Vision devices are there, and which of them an address of the configuration means."""

import ipaddress

import msgspec

from edge.cameras import gvcp
from edge.cameras.aravis import Library
from edge.cameras.camera import Found
from edge.cameras.usb_claim import is_claimed

_GIGE = "GigEVision"


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A device that answered. `key` opens it: the IP address of a GigE Vision device, the library's id of another.

    `hardware_id` is the MAC address, or what USB3 Vision has instead (its GUID).
    """

    key: str
    library_id: str
    protocol: str
    vendor: str
    model: str
    serial: str
    hardware_id: str

    @property
    def is_gige(self) -> bool:
        """Whether GigE Vision's own questions can be asked."""
        return self.protocol == _GIGE


def discover() -> list[Found]:
    """Every device that answers within about 1 s. Raises CameraConfigError where libaravis is not installed.

    A GigE Vision device's `address` is its IP address, another's its serial number.
    """
    return [_found(device) for device in listed(Library())]


def _found(device: Listed) -> Found:
    return Found(
        source="gige",
        address=device.key if device.is_gige else device.serial or device.library_id,
        vendor=device.vendor,
        model=device.model,
        serial=device.serial,
        name=gvcp.user_defined_name(device.key) if device.is_gige else "",
        is_busy=bool(gvcp.is_controlled(device.key)) if device.is_gige else is_claimed(device.serial),
        aliases=(device.library_id, device.hardware_id),
    )


def listed(library: Library) -> list[Listed]:
    """What answers a broadcast on any interface within 1 s, and what is on USB."""
    library("arv_update_device_list")
    return [_listed(library, index) for index in range(library("arv_get_n_devices"))]


def _listed(library: Library, index: int) -> Listed:
    def text(what: str) -> str:
        return (library(f"arv_get_device_{what}", index) or b"").decode(errors="replace")

    protocol = text("protocol")
    return Listed(
        key=text("address") if protocol == _GIGE else text("id"),
        library_id=text("id"),
        protocol=protocol,
        vendor=text("vendor"),
        model=text("model"),
        serial=text("serial_nbr"),
        hardware_id=text("physical_id"),
    )


def find(library: Library, address: str) -> list[Listed]:
    """The devices of this serial number, library id or hardware (MAC) address, else those of this user-defined name."""
    # One that answers on two interfaces is one.
    devices = {device.key: device for device in listed(library)}.values()
    wanted = address.casefold()
    found = [
        device
        for device in devices
        if wanted in (device.serial.casefold(), device.library_id.casefold(), device.hardware_id.casefold())
    ]
    return found or [it for it in devices if it.is_gige and gvcp.user_defined_name(it.key) == address]


def is_ip(address: str) -> bool:
    """Whether this is an IPv4 address, the only kind that GigE Vision has."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return True
