"""The registers of `wire_camera`, and the GenICam description of them that it serves: both made of one table."""

import struct

# --- bootstrap registers (GigE Vision 2.0, section 28)
VERSION, DEVICE_MODE, MAC_HIGH, MAC_LOW, CURRENT_IP = 0x0000, 0x0004, 0x0008, 0x000C, 0x0024
MANUFACTURER, MODEL, DEVICE_VERSION, SERIAL, USER_NAME = 0x0048, 0x0068, 0x0088, 0x00D8, 0x00E8
DISCOVERY_BYTES, FIRST_URL, INTERFACES, CHANNELS = 0x00F8, 0x0200, 0x0600, 0x0904
CAPABILITIES, HEARTBEAT_MS, TICKS_HIGH, TICKS_LOW, PRIVILEGE = 0x0934, 0x0938, 0x093C, 0x0940, 0x0A00
HOST_PORT, PACKET_SIZE, PACKET_DELAY, HOST_ADDRESS, SOURCE_PORT = 0x0D00, 0x0D04, 0x0D08, 0x0D18, 0x0D1C
# Name, serial, packet resend, write memory, concatenation.
CAN, CAN_RESEND = 0xC0000007, 0x4
TICK_HZ = 125_000_000

# --- the features: name, kind, entries or bounds, value when it starts, and the selector under which there are several
FREE, XML_ADDRESS, MEMORY_BYTES = 0x4000, 0x8000, 0x20000
_MODES = ("Off", "On")
_FORMATS = {"Mono8": 0x01080001, "BayerRG12p": 0x010C0059, "Mono12": 0x01100005, "Mono10p": 0x010A0046}
_AUTO = ("Off", "Once", "Continuous")
SELECTORS = {
    "TriggerSelector": ("AcquisitionStart", "FrameBurstStart", "FrameStart"),
    "LineSelector": ("Line0", "Line1"),
    "CounterSelector": ("Counter0", "Counter1"),
    "ChunkSelector": ("CounterValue", "ExposureTime", "Timestamp"),
    "GainSelector": ("AnalogAll", "DigitalAll"),
}
ENUMERATIONS: dict[str, tuple[tuple[str, ...], int, str | None]] = {
    "AcquisitionMode": (("SingleFrame", "Continuous"), 0, None),
    # Its maker left it waiting for a trigger that never comes, and its exposure moving.
    "TriggerMode": (_MODES, 1, "TriggerSelector"),
    "TriggerSource": (("Software", "Line0"), 1, "TriggerSelector"),
    "TriggerActivation": (("RisingEdge", "FallingEdge", "AnyEdge"), 1, "TriggerSelector"),
    "LineMode": (("Input", "Output"), 0, "LineSelector"),
    "LineSource": (("Off", "ExposureActive"), 0, "LineSelector"),
    "CounterEventSource": (("Off", "Line0"), 0, "CounterSelector"),
    "CounterEventActivation": (("RisingEdge", "FallingEdge"), 1, "CounterSelector"),
    "ExposureAuto": (_AUTO, 2, None),
    "GainAuto": (_AUTO, 1, "GainSelector"),
}
BOOLEANS = {"LineInverter": "LineSelector", "ChunkEnable": "ChunkSelector", "ChunkModeActive": None}
# Value when it starts, smallest, largest, access.
INTEGERS = {
    "Width": (64, 16, 256, "RW"),
    "Height": (48, 16, 256, "RW"),
    "AcquisitionBurstFrameCount": (1, 1, 16, "RW"),
    "PayloadSize": (0, 0, 1 << 20, "RO"),
    "ExposureTime": (2_000, 10, 1_000_000, "RW"),
    "AcquisitionFrameRate": (20, 1, 200, "RW"),
    "TriggerDelay": (0, 0, 5_000_000, "RW"),
}
FLOATS = frozenset({"ExposureTime", "AcquisitionFrameRate", "TriggerDelay"})
UNITS = {"ExposureTime": "us", "AcquisitionFrameRate": "Hz", "TriggerDelay": "us"}
COMMANDS = ("AcquisitionStart", "AcquisitionStop", "TriggerSoftware", "CounterReset")
COUNTER_VALUE = "CounterValue"
CHUNKS = {"CounterValue": 0xA001, "ExposureTime": 0xA002, "Timestamp": 0xA003}
CATEGORIES = {
    "ImageFormatControl": ("Width", "Height", "PixelFormat", "PayloadSize"),
    "AcquisitionControl": (
        *("AcquisitionMode", "AcquisitionStart", "AcquisitionStop", "AcquisitionFrameRate", "ExposureTime"),
        *("ExposureAuto", "TriggerSelector", "TriggerMode", "TriggerSoftware", "TriggerSource", "TriggerActivation"),
        *("AcquisitionBurstFrameCount", "TriggerDelay"),
    ),
    "DigitalIOControl": ("LineSelector", "LineMode", "LineSource", "LineInverter"),
    "AnalogControl": ("GainSelector", "GainAuto"),
    "CounterAndTimerControl": (
        *("CounterSelector", "CounterEventSource", "CounterEventActivation", "CounterValue", "CounterReset"),
    ),
    "ChunkDataControl": ("ChunkModeActive", "ChunkSelector", "ChunkEnable"),
}


def _addresses() -> dict[str, int]:
    """Each feature's register; those under a selector have one for each entry, 4 bytes apart."""
    names = ["PixelFormat", *SELECTORS, *ENUMERATIONS, *BOOLEANS, *INTEGERS, *COMMANDS, COUNTER_VALUE]
    return {name: FREE + 0x40 * index for index, name in enumerate(names)}


ADDRESSES = _addresses()


def selector_of(name: str) -> str | None:
    """The feature that says which of several is meant."""
    if name in ENUMERATIONS:
        return ENUMERATIONS[name][2]
    return "CounterSelector" if name in ("CounterValue", "CounterReset") else BOOLEANS.get(name)


class Memory:
    """What the device remembers, big-endian, by address or by feature."""

    def __init__(self, address: str, serial: str, name: str) -> None:
        self.bytes = bytearray(MEMORY_BYTES)
        mac = 0x02_47_4C_00_00_00 | int(address.rpartition(".")[2])
        ip = int.from_bytes(bytes(int(part) for part in address.split(".")), "big")
        words = {VERSION: 0x00020000, DEVICE_MODE: 0x80000001, MAC_HIGH: mac >> 32, MAC_LOW: mac & 0xFFFFFFFF}
        words |= {CURRENT_IP: ip, INTERFACES: 1, CHANNELS: 1, CAPABILITIES: CAN, HEARTBEAT_MS: 3000}
        words |= {TICKS_LOW: TICK_HZ, PACKET_SIZE: 1500}
        for where, value in words.items():
            self.write(where, value)
        texts = {MANUFACTURER: "Wire", MODEL: "WireCam", DEVICE_VERSION: "1", SERIAL: serial, USER_NAME: name}
        xml = description().encode()
        texts[FIRST_URL] = f"Local:wire.xml;{XML_ADDRESS:x};{len(xml):x}"
        for where, text in texts.items():
            self.bytes[where : where + len(text)] = text.encode()
        self.bytes[XML_ADDRESS : XML_ADDRESS + len(xml)] = xml
        self._set_defaults()

    def _set_defaults(self) -> None:
        self.set("PixelFormat", _FORMATS["Mono8"])
        for name, (value, *_bounds) in INTEGERS.items():
            self.set(name, value)
        for name, (_entries, value, selector) in ENUMERATIONS.items():
            for index in range(len(SELECTORS[selector]) if selector else 1):
                self.set(name, value, index)
        self.set("TriggerMode", 0, SELECTORS["TriggerSelector"].index("FrameStart"))

    def read(self, address: int) -> int:
        """The 32-bit register at an address."""
        return struct.unpack_from(">I", self.bytes, address)[0]

    def write(self, address: int, value: int) -> None:
        """Sets the 32-bit register at an address."""
        struct.pack_into(">I", self.bytes, address, value & 0xFFFFFFFF)

    def get(self, name: str, index: int = 0) -> int:
        """A feature's number."""
        return self.read(ADDRESSES[name] + 4 * index)

    def set(self, name: str, value: int, index: int = 0) -> None:
        """Sets a feature's number."""
        self.write(ADDRESSES[name] + 4 * index, value)

    def state(self) -> dict[str, str | int]:
        """Every feature as a person would say it, the selected ones as Name[Entry]."""
        said: dict[str, str | int] = {name: self.get(name) for name in INTEGERS}
        for name, (entries, _value, selector) in ENUMERATIONS.items():
            said |= {key: entries[self.get(name, at)] for key, at in self._keys(name, selector)}
        for name, selector in BOOLEANS.items():
            said |= {key: self.get(name, at) for key, at in self._keys(name, selector)}
        return said | {key: self.get(COUNTER_VALUE, at) for key, at in self._keys(COUNTER_VALUE, "CounterSelector")}

    @staticmethod
    def _keys(name: str, selector: str | None) -> list[tuple[str, int]]:
        if selector is None:
            return [(name, 0)]
        return [(f"{name}[{entry}]", index) for index, entry in enumerate(SELECTORS[selector])]


# --- the description


def description() -> str:
    """The GenICam description, whose namespace is that of version 1.1."""
    parts = [_category("Root", tuple(CATEGORIES)), *(_category(name, has) for name, has in CATEGORIES.items())]
    parts += [_enumeration(name, entries) for name, entries in SELECTORS.items()]
    parts += [_enumeration(name, entries) for name, (entries, *_rest) in ENUMERATIONS.items()]
    parts += [_enumeration("PixelFormat", tuple(_FORMATS), tuple(_FORMATS.values()))]
    parts += [f'<Boolean Name="{name}"><pValue>{name}Reg</pValue></Boolean>' + _register(name) for name in BOOLEANS]
    parts += [_integer(name, low, high, access) for name, (_value, low, high, access) in INTEGERS.items()]
    parts += [_command(name) for name in COMMANDS]
    parts += [f'<Integer Name="CounterValue"><pValue>CounterValueReg</pValue></Integer>{_register(COUNTER_VALUE)}']
    parts += [_chunk(name, identity) for name, identity in CHUNKS.items()]
    parts += [_string("DeviceVendorName", MANUFACTURER, 32), _string("DeviceModelName", MODEL, 32)]
    parts += [_string("DeviceSerialNumber", SERIAL, 16), '<Integer Name="TLParamsLocked"><Value>0</Value></Integer>']
    parts += ['<Port Name="Device"></Port>']
    return (
        '<?xml version="1.0" encoding="UTF-8"?><RegisterDescription ModelName="WireCam" VendorName="Wire" '
        'StandardNameSpace="GEV" SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" '
        'MajorVersion="1" MinorVersion="0" SubMinorVersion="0" xmlns="http://www.genicam.org/GenApi/Version_1_1">'
        + "".join(parts)
        + "</RegisterDescription>"
    )


def _category(name: str, features: tuple[str, ...]) -> str:
    return f'<Category Name="{name}">{"".join(f"<pFeature>{it}</pFeature>" for it in features)}</Category>'


def _register(name: str, access: str = "RW") -> str:
    selector = selector_of(name)
    index = f'<pIndex Offset="4">{selector}Reg</pIndex>' if selector else ""
    return (
        f'<IntReg Name="{name}Reg"><Address>{ADDRESSES[name]:#x}</Address>{index}<Length>4</Length>'
        f"<AccessMode>{access}</AccessMode><pPort>Device</pPort><Cachable>NoCache</Cachable><Sign>Unsigned</Sign>"
        "<Endianess>BigEndian</Endianess></IntReg>"
    )


def _enumeration(name: str, entries: tuple[str, ...], values: tuple[int, ...] | None = None) -> str:
    numbers = values or tuple(range(len(entries)))
    said = "".join(
        f'<EnumEntry Name="{entry}"><Value>{value}</Value></EnumEntry>'
        for entry, value in zip(entries, numbers, strict=True)
    )
    chosen = [*ENUMERATIONS, *BOOLEANS, COUNTER_VALUE, "CounterReset"]
    selects = "".join(f"<pSelected>{it}</pSelected>" for it in chosen if selector_of(it) == name)
    told = f"<Description>How it does\n  {name}.</Description>"
    return f'<Enumeration Name="{name}">{told}{said}<pValue>{name}Reg</pValue>{selects}</Enumeration>{_register(name)}'


def _integer(name: str, low: int, high: int, access: str) -> str:
    tag = "Float" if name in FLOATS else "Integer"
    unit = f"<Unit>{UNITS[name]}</Unit>" if name in UNITS else ""
    bounds = f"<Min>{low}</Min><Max>{high}</Max>"
    return f'<{tag} Name="{name}"><pValue>{name}Reg</pValue>{bounds}{unit}</{tag}>{_register(name, access)}'


def _command(name: str) -> str:
    return f'<Command Name="{name}"><pValue>{name}Reg</pValue><CommandValue>1</CommandValue></Command>{_register(name)}'


def _string(name: str, address: int, length: int) -> str:
    return (
        f'<StringReg Name="{name}"><Address>{address:#x}</Address><Length>{length}</Length>'
        "<AccessMode>RO</AccessMode><pPort>Device</pPort></StringReg>"
    )


def _chunk(name: str, identity: int) -> str:
    tag, length = ("Float", 4) if name in FLOATS else ("Integer", 8 if name == "Timestamp" else 4)
    return (
        f'<{tag} Name="Chunk{name}"><pValue>Chunk{name}Reg</pValue></{tag}><IntReg Name="Chunk{name}Reg">'
        f"<Address>0</Address><Length>{length}</Length><AccessMode>RO</AccessMode><pPort>Chunk{name}Port</pPort>"
        f'<Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg><Port Name="Chunk{name}Port">'
        f"<ChunkID>{identity:x}</ChunkID></Port>"
    )
