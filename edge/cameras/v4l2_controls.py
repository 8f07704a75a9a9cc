"""The controls of a V4L2 device, by the names that v4l2-ctl gives them: `exposure_time_absolute`, `gain`.

Every one that is written is read back; what cannot be, what is out of bounds, and what another control decides at the
moment is refused before the device is asked.
"""

import ctypes
import difflib
import errno
import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from edge.camera_config import FeatureValue
from edge.cameras import v4l2_kernel as kernel
from edge.cameras.camera import CameraConfigError, Feature
from edge.cameras.v4l2_device import Device, where_there_is
from edge.cameras.v4l2_kernel import ControlFlag, ControlType, Request

EXPOSURE_TIME_ABSOLUTE, _WHITE_BALANCE_TEMPERATURE = 0x009A0902, 0x0098091A
# <linux/v4l2-controls.h>: what moves by itself under a reference set, and its value that holds still. By id, since
# kernels have renamed some.
_STILL = {
    0x0098090C: 0,  # AUTO_WHITE_BALANCE
    0x00980912: 0,  # AUTOGAIN
    0x00980919: 0,  # HUE_AUTO
    0x0098091D: 0,  # CHROMA_AGC
    0x00980920: 0,  # AUTOBRIGHTNESS
    0x009A0901: 1,  # EXPOSURE_AUTO: V4L2_EXPOSURE_MANUAL
    0x009A0903: 0,  # EXPOSURE_AUTO_PRIORITY: a rate that falls in the dark
    0x009A090C: 0,  # FOCUS_AUTO
    0x009A0914: 0,  # AUTO_N_PRESET_WHITE_BALANCE: manual
    0x009A0918: 0,  # ISO_SENSITIVITY_AUTO: manual
}
# The device is going, or stuck: no word about a control.
_GONE = frozenset({errno.ENODEV, errno.EPROTO, errno.ETIMEDOUT, errno.ESHUTDOWN})
_UNITS = {EXPOSURE_TIME_ABSOLUTE: "100 us", _WHITE_BALANCE_TEMPERATURE: "K"}
_Kind = Literal["boolean", "command", "enumeration", "integer", "string"]
_KINDS: dict[int, _Kind] = {
    ControlType.INTEGER: "integer",
    ControlType.INTEGER64: "integer",
    ControlType.BITMASK: "integer",
    ControlType.BOOLEAN: "boolean",
    ControlType.BUTTON: "command",
    ControlType.MENU: "enumeration",
    ControlType.INTEGER_MENU: "enumeration",
    ControlType.STRING: "string",
}


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """One control. `entries` of a menu by their value, which need not be in a row."""

    id: int
    name: str
    label: str
    group: str
    type: ControlType
    lowest: int
    highest: int
    step: int
    flags: ControlFlag
    entries: dict[int, str]

    @property
    def kind(self) -> _Kind:
        """What it holds."""
        return _KINDS[self.type]

    @property
    def still(self) -> FeatureValue | None:
        """The value by which an automatic control holds still; None for one that is not automatic."""
        value = _STILL.get(self.id)
        if value is None or (self.entries and value not in self.entries):
            return None
        return self.meant(value)

    def meant(self, value: int) -> FeatureValue:
        """The kernel's number as a user says it."""
        if self.kind == "enumeration":
            return self.entries.get(value, str(value))
        return bool(value) if self.kind == "boolean" else value


class Controls:
    """Those of one open device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known = {control.name: control for control in _enumerate(device)}

    def by_id(self, number: int) -> Control | None:
        """The control of this id, if the device has it."""
        return next((control for control in self._known.values() if control.id == number), None)

    def automatic(self) -> dict[str, FeatureValue]:
        """The controls that move by themselves, with the values by which they hold still."""
        return {name: control.still for name, control in self._known.items() if control.still is not None}

    def meant(self, section: str, name: str, value: FeatureValue) -> FeatureValue:
        """The value as it would be read back. Raises CameraConfigError for one that cannot be."""
        control = self._find(section, name)
        number = _number(f"{section}.{name} = {value!r}", control, value)
        return value if control.kind == "string" else control.meant(number)

    def features(self) -> Iterator[Feature]:
        """Every control, in the device's order."""
        return (self.feature(name) for name in self._known)

    def feature(self, name: str) -> Feature:
        """One control as it is now."""
        return self._feature(self._current(self._known[name]))

    def _feature(self, control: Control) -> Feature:
        has_bounds = control.kind == "integer"
        return Feature(
            name=control.name,
            kind=control.kind,
            value=self.read(control.name),
            unit=_UNITS.get(control.id),
            lowest=control.lowest if has_bounds else None,
            highest=control.highest if has_bounds else None,
            step=control.step if has_bounds else None,
            entries=tuple(control.entries.values()),
            is_writable=not control.flags & (ControlFlag.READ_ONLY | ControlFlag.INACTIVE),
            description=control.label,
            path=(control.group,),
        )

    def read(self, name: str) -> FeatureValue | None:
        """What the device has; None for a button and what can only be written."""
        control = self._known[name]
        if control.kind == "command" or control.flags & ControlFlag.WRITE_ONLY:
            return None
        room = ctypes.create_string_buffer(control.highest + 1) if control.kind == "string" else None
        try:
            value = self._exchange(Request.G_EXT_CTRLS, control, 0, room)
        except OSError as problem:
            if problem.errno in _GONE:
                raise
            return None  # it may be one that can be read only while another is set, or a camera that refuses its own
        return control.meant(value) if room is None else room.value.decode("utf-8", "replace")

    def write(self, section: str, values: Mapping[str, FeatureValue]) -> None:
        """Writes in order, reads each back, and all again at the end, since one may change another.

        Raises CameraConfigError naming `section`, control, value, and what the device has or allows instead.
        """
        for name, value in values.items():
            self._write(f"{section}.{name} = {value!r}", self._find(section, name), value)
        for name, value in values.items():
            self._compare(f"{section}.{name} = {value!r}", self._known[name], value)

    def execute(self, section: str, name: str, value: FeatureValue) -> Feature:
        """Writes one control, a button included, and returns it as it is now. Raises CameraConfigError."""
        control = self._find(section, name)
        if control.kind == "command":
            self._exchange(Request.S_EXT_CTRLS, control, 1, None)
            return self._feature(control)
        self.write(section, {name: value})
        return self.feature(name)

    def _find(self, section: str, name: str) -> Control:
        if name in self._known:
            return self._known[name]
        similar = difflib.get_close_matches(name, self._known, cutoff=0.5) or list(self._known)
        has = f"it has {', '.join(similar)}" if similar else "it has none"
        raise CameraConfigError(f"{section}.{name}: the camera has no control of that name; {has}")

    def _current(self, control: Control) -> Control:
        """The control with its flags of now: another one switches it on and off."""
        described = kernel.ControlDescription(id=control.id)
        self._device.call(Request.QUERY_EXT_CTRL, described)
        return msgspec.structs.replace(control, flags=ControlFlag(described.flags))

    def _write(self, setting: str, control: Control, value: FeatureValue) -> None:
        number = _number(setting, control, value)
        flags = self._current(control).flags
        if flags & ControlFlag.READ_ONLY:
            raise CameraConfigError(f"{setting}: the camera has {self.read(control.name)!r}, and it is read-only")
        if flags & ControlFlag.INACTIVE:
            raise CameraConfigError(f"{setting}: an automatic control decides it; switch that off")
        room = ctypes.create_string_buffer(str(value).encode()) if control.kind == "string" else None
        try:
            self._exchange(Request.S_EXT_CTRLS, control, number, room)
        except OSError as problem:
            if problem.errno in _GONE:
                raise
            raise CameraConfigError(f"{setting}: the camera refuses: {problem.strerror}") from None
        self._compare(setting, control, value)

    def _compare(self, setting: str, control: Control, value: FeatureValue) -> None:
        read = self.read(control.name)
        asked = value if control.kind == "string" else control.meant(_number(setting, control, value))
        if read is None and not control.flags & ControlFlag.WRITE_ONLY:
            raise CameraConfigError(f"{setting}: the camera does not let it be read back")
        if read not in (asked, None):
            raise CameraConfigError(f"{setting}: the camera took {read!r} instead")

    def _exchange(
        self, request: Request, control: Control, number: int, room: ctypes.Array[ctypes.c_char] | None
    ) -> int:
        """Reads or writes one value; a string in `room`."""
        item = kernel.ControlValue(id=control.id)
        if room is not None:
            item.size, item.of.string = len(room), ctypes.addressof(room)
        elif control.type == ControlType.INTEGER64:
            item.of.value64 = number
        else:
            # A bitmask is a number without a sign.
            item.of.value = ctypes.c_int32(number).value
        values = kernel.ControlValues(count=1, controls=ctypes.pointer(item))
        self._device.call(request, values)
        if control.type == ControlType.BITMASK:
            return ctypes.c_uint32(item.of.value).value
        return item.of.value64 if control.type == ControlType.INTEGER64 else item.of.value


def _number(setting: str, control: Control, value: FeatureValue) -> int:
    """What the kernel calls this value. Raises CameraConfigError for one that cannot be."""
    if control.kind == "enumeration":
        return _entry(setting, control, value)
    if control.kind == "command":
        raise CameraConfigError(f"{setting}: it is a button, and holds no value")
    if control.kind == "string":
        if not isinstance(value, str) or not control.lowest <= len(value.encode()) <= control.highest:
            raise CameraConfigError(f"{setting}: it is a text of {control.lowest} to {control.highest} characters")
        return 0
    # bool is an int to Python, and never to a camera.
    if not isinstance(value, int) or isinstance(value, bool) != (control.kind == "boolean"):
        wanted = "true or false" if control.kind == "boolean" else "a whole number"
        raise CameraConfigError(f"{setting}: the control is {wanted}")
    if not control.lowest <= value <= control.highest or (value - control.lowest) % max(control.step, 1):
        raise CameraConfigError(f"{setting}: outside {_bounds(control)}")
    return int(value)


def _bounds(control: Control) -> str:
    steps = f" in steps of {control.step}" if control.step > 1 else ""
    return f"{control.lowest} to {control.highest}{steps}"


def _entry(setting: str, control: Control, value: FeatureValue) -> int:
    """A menu's entry by its text, or by its number as v4l2-ctl takes it."""
    for number, text in control.entries.items():
        if value == text or (value == number and not isinstance(value, bool)):
            return number
    entries = ", ".join(f"{text!r}" for text in control.entries.values())
    raise CameraConfigError(f"{setting}: not one of {entries}")


def _enumerate(device: Device) -> Iterator[Control]:
    group = ""
    described = kernel.ControlDescription(id=kernel.NEXT_CONTROL)
    with where_there_is():
        while True:
            device.call(Request.QUERY_EXT_CTRL, described)
            label = described.name.decode("utf-8", "replace")
            if described.type == ControlType.CLASS:
                group = label
            elif described.type in _KINDS and not described.flags & ControlFlag.DISABLED:
                yield _control(device, described, label, group)
            described = kernel.ControlDescription(id=described.id | kernel.NEXT_CONTROL)


def _control(device: Device, described: kernel.ControlDescription, label: str, group: str) -> Control:
    is_bitmask = described.type == ControlType.BITMASK
    return Control(
        id=described.id,
        name=slug(label),
        label=label,
        group=group,
        type=ControlType(described.type),
        lowest=described.minimum,
        highest=ctypes.c_uint32(described.maximum).value if is_bitmask else described.maximum,
        step=0 if is_bitmask else described.step,
        flags=ControlFlag(described.flags),
        entries=dict(_menu(device, described)),
    )


def _menu(device: Device, described: kernel.ControlDescription) -> Iterator[tuple[int, str]]:
    if _KINDS[described.type] != "enumeration":
        return
    for index in range(described.minimum, described.maximum + 1):
        entry = kernel.MenuEntry(id=described.id, index=index)
        with where_there_is():  # a menu may have gaps
            device.call(Request.QUERYMENU, entry)
            is_number = described.type == ControlType.INTEGER_MENU
            yield index, str(entry.entry.value) if is_number else entry.entry.name.decode("utf-8", "replace")


def slug(label: str) -> str:
    """The name that v4l2-ctl makes of a label: "Exposure Time, Absolute" is `exposure_time_absolute`."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
