"""The memory of `u3v_camera` (GenCP 1.3, USB3 Vision 1.0.1), and the GenICam description in it: both made of one table."""

import struct

# --- bootstrap registers, by GenCP's and USB3 Vision's own names; those of the streaming interface from `SIRM` on
GENCP_VERSION, MANUFACTURER, MODEL, FAMILY, DEVICE_VERSION = 0x0000, 0x0004, 0x0044, 0x0084, 0x00C4
SERIAL, USER_NAME, CAPABILITY, RESPONSE_MS = 0x0144, 0x0184, 0x01C4, 0x01CC
MANIFEST_ADDRESS, SBRM_ADDRESS = 0x01D0, 0x01D8
SBRM, SIRM, MANIFEST = 0x1000, 0x2000, 0x3000
_U3V_VERSION, _U3V_CAPABILITY, _LARGEST_COMMAND, _LARGEST_ANSWER = 0x00, 0x04, 0x14, 0x18
_STREAMS, _SIRM_ADDRESS, _SIRM_BYTES = 0x1C, 0x20, 0x28
STREAM_CONTROL, NEEDED_PAYLOAD, NEEDED_LEADER, NEEDED_TRAILER = SIRM + 0x04, SIRM + 0x08, SIRM + 0x10, SIRM + 0x14
PAYLOAD_SIZE, PAYLOAD_COUNT, FINAL_SIZES = SIRM + 0x1C, SIRM + 0x20, (SIRM + 0x24, SIRM + 0x28)
LEADER_BYTES, TRAILER_BYTES = 52, 32
# It may take this long to answer a command. So long also libaravis waits for a transfer of the stream before it asks again,
# and what arrives at that moment is lost; so it is not short.
ANSWER_MS = 300

# --- the features
FREE, XML_ADDRESS, MEMORY_BYTES = 0x4000, 0x8000, 0x10000
MONO8 = 0x01080001
# Name: entries, and the one that it starts with. It was left with a moving exposure, waiting for a trigger.
ENUMERATIONS: dict[str, tuple[dict[str, int], int]] = {
    "PixelFormat": ({"Mono8": MONO8}, MONO8),
    "AcquisitionMode": ({"SingleFrame": 0, "Continuous": 1}, 0),
    "ExposureAuto": ({"Off": 0, "Continuous": 1}, 1),
    "TriggerSelector": ({"FrameStart": 0}, 0),
    "TriggerMode": ({"Off": 0, "On": 1}, 1),
    "TriggerSource": ({"Software": 0, "Line0": 1}, 1),
    "TriggerActivation": ({"RisingEdge": 0, "FallingEdge": 1}, 1),
    "CounterSelector": ({"Counter0": 0}, 0),
    "CounterEventSource": ({"Off": 0, "Line0": 1}, 0),
    "ChunkSelector": ({"CounterValue": 0, "ExposureTime": 1}, 0),
}
# Value when it starts, smallest, largest, access.
NUMBERS = {
    "Width": (64, 16, 256, "RW"),
    "Height": (48, 16, 256, "RW"),
    "PayloadSize": (0, 0, 1 << 20, "RO"),
    "ExposureTime": (2_000, 10, 1_000_000, "RW"),
    "AcquisitionFrameRate": (20, 1, 200, "RW"),
    "CounterValue": (0, 0, 0xFFFFFFFF, "RO"),
}
_FLOATS = {"ExposureTime": "us", "AcquisitionFrameRate": "Hz"}
# Name: the selector under which there are several.
BOOLEANS = {"ChunkModeActive": None, "ChunkEnable": "ChunkSelector"}
COMMANDS = ("AcquisitionStart", "AcquisitionStop", "TriggerSoftware", "CounterReset")
CHUNKS = {"CounterValue": 0xA001, "ExposureTime": 0xA002}
_SELECTED = {
    "TriggerSelector": ("TriggerMode", "TriggerSource", "TriggerActivation", "TriggerSoftware"),
    "CounterSelector": ("CounterEventSource", "CounterValue", "CounterReset"),
    "ChunkSelector": ("ChunkEnable",),
}
_NAMES = (*ENUMERATIONS, *NUMBERS, *BOOLEANS, *COMMANDS)
# Registers of 4 bytes, those under a selector one after another.
ADDRESSES = {name: FREE + 0x20 * index for index, name in enumerate(_NAMES)}


class Memory:
    """What the device remembers, little-endian, by address or by feature."""

    def __init__(self, maker: str, model: str, serial: str) -> None:
        self.bytes = bytearray(MEMORY_BYTES)
        xml = description().encode()
        words = {GENCP_VERSION: 0x0001_0003, RESPONSE_MS: ANSWER_MS, SBRM + _U3V_VERSION: 0x0001_0001}
        words |= {SBRM + _LARGEST_COMMAND: 1024, SBRM + _LARGEST_ANSWER: 16_384, SBRM + _STREAMS: 1}
        words |= {SBRM + _SIRM_BYTES: 0x30, NEEDED_LEADER: LEADER_BYTES, NEEDED_TRAILER: TRAILER_BYTES}
        for address, value in words.items():
            self.write(address, value)
        # Of its capabilities that of a stream alone; and one file in the manifest, of GenICam schema 1.1, not zipped.
        longs = {MANIFEST_ADDRESS: MANIFEST, SBRM_ADDRESS: SBRM, SBRM + _U3V_CAPABILITY: 1, SBRM + _SIRM_ADDRESS: SIRM}
        for address, value in (longs | {MANIFEST: 1}).items():
            struct.pack_into("<Q", self.bytes, address, value)
        struct.pack_into("<HBBIQQ", self.bytes, MANIFEST + 8, 0, 0, 1, 0x0101_0000, XML_ADDRESS, len(xml))
        texts = {MANUFACTURER: maker, MODEL: model, FAMILY: "Bench", DEVICE_VERSION: "1", SERIAL: serial}
        for address, text in texts.items():
            self.bytes[address : address + len(text)] = text.encode()
        self.bytes[XML_ADDRESS : XML_ADDRESS + len(xml)] = xml
        for name, (_entries, value) in ENUMERATIONS.items():
            self.set(name, value)
        for name, (value, *_bounds) in NUMBERS.items():
            self.set(name, value)

    def read(self, address: int) -> int:
        """The 32-bit register at an address."""
        return struct.unpack_from("<I", self.bytes, address)[0]

    def write(self, address: int, value: int) -> None:
        """Sets the 32-bit register at an address."""
        struct.pack_into("<I", self.bytes, address, value)

    def get(self, name: str, index: int = 0) -> int:
        """A feature's number."""
        return self.read(ADDRESSES[name] + 4 * index)

    def set(self, name: str, value: int, index: int = 0) -> None:
        """Sets a feature's number."""
        self.write(ADDRESSES[name] + 4 * index, value)


def description() -> str:
    """The GenICam description."""
    features = "".join(f"<pFeature>{name}</pFeature>" for name in _NAMES)
    parts = ['<Category Name="Root"><pFeature>All</pFeature></Category>']
    parts += [f'<Category Name="All">{features}</Category>']
    parts += [_enumeration(name, entries) for name, (entries, _value) in ENUMERATIONS.items()]
    parts += [_number(name, low, high, access) for name, (_value, low, high, access) in NUMBERS.items()]
    parts += [f'<Boolean Name="{name}"><pValue>{name}Reg</pValue></Boolean>{_register(name)}' for name in BOOLEANS]
    parts += [_command(name) for name in COMMANDS]
    parts += [_chunk(name, identity) for name, identity in CHUNKS.items()]
    parts += [_string("DeviceVendorName", MANUFACTURER), _string("DeviceModelName", MODEL)]
    parts += [_string("DeviceSerialNumber", SERIAL), '<Integer Name="TLParamsLocked"><Value>0</Value></Integer>']
    return (
        '<?xml version="1.0" encoding="UTF-8"?><RegisterDescription ModelName="Bench" VendorName="Goldline" '
        'StandardNameSpace="U3V" SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" '
        'MajorVersion="1" MinorVersion="0" SubMinorVersion="0" xmlns="http://www.genicam.org/GenApi/Version_1_1">'
        + "".join(parts)
        + '<Port Name="Device"></Port></RegisterDescription>'
    )


def _register(name: str, access: str = "RW") -> str:
    selector = next((selector for selector, has in _SELECTED.items() if name in has), None)
    index = f'<pIndex Offset="4">{selector}Reg</pIndex>' if selector else ""
    return (
        f'<IntReg Name="{name}Reg"><Address>{ADDRESSES[name]:#x}</Address>{index}<Length>4</Length>'
        f"<AccessMode>{access}</AccessMode><pPort>Device</pPort><Cachable>NoCache</Cachable><Sign>Unsigned</Sign>"
        "<Endianess>LittleEndian</Endianess></IntReg>"
    )


def _enumeration(name: str, entries: dict[str, int]) -> str:
    said = "".join(f'<EnumEntry Name="{it}"><Value>{value}</Value></EnumEntry>' for it, value in entries.items())
    selects = "".join(f"<pSelected>{it}</pSelected>" for it in _SELECTED.get(name, ()))
    return f'<Enumeration Name="{name}">{said}<pValue>{name}Reg</pValue>{selects}</Enumeration>{_register(name)}'


def _number(name: str, low: int, high: int, access: str) -> str:
    tag = "Float" if name in _FLOATS else "Integer"
    unit = f"<Unit>{_FLOATS[name]}</Unit>" if name in _FLOATS else ""
    bounds = f"<Min>{low}</Min><Max>{high}</Max>"
    return f'<{tag} Name="{name}"><pValue>{name}Reg</pValue>{bounds}{unit}</{tag}>{_register(name, access)}'


def _command(name: str) -> str:
    return f'<Command Name="{name}"><pValue>{name}Reg</pValue><CommandValue>1</CommandValue></Command>{_register(name)}'


def _string(name: str, address: int) -> str:
    return (
        f'<StringReg Name="{name}"><Address>{address:#x}</Address><Length>64</Length>'
        "<AccessMode>RO</AccessMode><pPort>Device</pPort></StringReg>"
    )


def _chunk(name: str, identity: int) -> str:
    tag = "Float" if name in _FLOATS else "Integer"
    return (
        f'<{tag} Name="Chunk{name}"><pValue>Chunk{name}Reg</pValue></{tag}><IntReg Name="Chunk{name}Reg">'
        f"<Address>0</Address><Length>4</Length><AccessMode>RO</AccessMode><pPort>Chunk{name}Port</pPort>"
        f'<Sign>Unsigned</Sign><Endianess>LittleEndian</Endianess></IntReg><Port Name="Chunk{name}Port">'
        f"<ChunkID>{identity:x}</ChunkID></Port>"
    )
