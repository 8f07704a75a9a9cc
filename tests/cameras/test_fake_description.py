"""The fake camera's GenICam description, read by GenICam's own reference implementation."""

import importlib
from pathlib import Path

import pytest

from edge.cameras import fake_simulation
from edge.cameras.fake_pictures import CODES
from edge.cameras.fake_simulation import Register
from tests.needs import needs_module

DESCRIPTION = Path(fake_simulation.__file__).with_name("fake_gige.xml")
# What SFNC calls them, as far as a line camera needs them.
FEATURES = """
    Width Height OffsetX OffsetY PixelFormat ExposureTime ExposureAuto Gain GainAuto BalanceWhiteAuto AcquisitionMode
    AcquisitionStart AcquisitionStop AcquisitionFrameRate AcquisitionBurstFrameCount TriggerSelector TriggerMode
    TriggerSource TriggerActivation TriggerSoftware LineSelector LineMode LineSource LineInverter UserOutputSelector
    UserOutputValue CounterSelector CounterEventSource CounterEventActivation CounterValue CounterReset
    DeviceTemperature DeviceVendorName DeviceModelName DeviceSerialNumber DeviceUserID TimestampLatchValue
    GevTimestampTickFrequency GevSCPSPacketSize GevSCPD PayloadSize
"""


@pytest.fixture(scope="module")
def genapi():
    needs_module("genicam", "gentl")
    return importlib.import_module("genicam.genapi")


@pytest.fixture
def device(genapi):
    """The description over 64 KiB of memory, as the simulation starts it, and that memory."""

    class Memory(genapi.AbstractPort):
        is_open = True

        def __init__(self) -> None:
            super().__init__()
            self.bytes = bytearray(0x10000)

        def read(self, address: int, length: int) -> bytes:
            return bytes(self.bytes[address : address + length])

        def write(self, address: int, value: bytes) -> None:
            self.bytes[address : address + len(value)] = value

        def get_access_mode(self):
            return genapi.EAccessMode.RW

        def get_principal_interface_type(self):
            return genapi.EInterfaceType.intfIPort

    memory, nodes = Memory(), genapi.NodeMap()
    nodes.load_xml_from_file(str(DESCRIPTION))
    starts = {Register.SENSOR_WIDTH: 96, Register.SENSOR_HEIGHT: 64, Register.WIDTH: 96, Register.HEIGHT: 64}
    starts |= {Register.PIXEL_FORMAT: CODES["Mono8"], Register.FRAME_PERIOD_US: 100_000, Register.EXPOSURE_US: 10_000}
    for register, value in starts.items():
        memory.write(register, value.to_bytes(4, "big"))
    assert nodes.connect(memory, "Device")
    return nodes, memory.bytes


def word(memory: bytearray, register: Register) -> int:
    return int.from_bytes(memory[register : register + 4], "big")


def test_it_has_every_feature_by_its_standard_name(device) -> None:
    nodes, _ = device
    assert [name for name in FEATURES.split() if nodes.get_node(name) is None] == []


def test_every_setting_lands_where_the_simulation_and_the_line_look_for_it(device) -> None:
    nodes, memory = device
    nodes.AcquisitionFrameRate.value = 250.0
    nodes.ExposureTime.value = 2500.0
    nodes.Gain.value = 6.0
    nodes.AcquisitionBurstFrameCount.value = 3
    nodes.CounterEventSource.value = "Line0"
    nodes.UserOutputValue.value = True
    for register, value in (
        (Register.FRAME_PERIOD_US, 4000),
        (Register.EXPOSURE_US, 2500),
        (Register.BURST_FRAMES, 3),
        (Register.COUNTER_SOURCE, 1),
        (Register.USER_OUTPUT_0, 1),
    ):
        assert word(memory, register) == value
    assert nodes.AcquisitionFrameRate.value == 250.0
    assert nodes.Gain.value == 6.0
    for name, code in CODES.items():
        nodes.PixelFormat.value = name
        assert word(memory, Register.PIXEL_FORMAT) == code


def test_each_trigger_has_its_own_mode_and_source(device) -> None:
    nodes, memory = device
    nodes.TriggerSelector.value = "FrameBurstStart"
    nodes.TriggerMode.value, nodes.TriggerSource.value = "On", "Line0"
    nodes.TriggerSelector.value = "FrameStart"
    assert nodes.TriggerMode.value == "Off"
    nodes.TriggerMode.value, nodes.TriggerSource.value = "On", "Software"
    assert word(memory, Register.TRIGGER_MODES) == 0b11
    assert (word(memory, Register.FRAME_SOURCE), word(memory, Register.BURST_SOURCE)) == (1, 0)
    nodes.TriggerSelector.value = "FrameBurstStart"
    nodes.TriggerMode.value = "Off"
    assert word(memory, Register.TRIGGER_MODES) == 0b01


def test_the_region_stays_within_the_picture_and_tells_its_bytes(device) -> None:
    nodes, _ = device
    assert (nodes.Width.max, nodes.OffsetX.max) == (96, 0)
    nodes.Width.value = 50
    assert nodes.OffsetX.max == 46
    nodes.PixelFormat.value = "Mono12p"
    assert nodes.PayloadSize.value == 50 * 64 * 12 // 8


def test_a_line_and_the_stream_have_registers_of_their_own(device) -> None:
    nodes, memory = device
    nodes.LineSelector.value = "Line1"
    nodes.LineMode.value, nodes.LineSource.value, nodes.LineInverter.value = "Output", "ExposureActive", True
    nodes.LineSelector.value = "Line0"
    assert (nodes.LineMode.value, nodes.LineSource.value, nodes.LineInverter.value) == ("Input", "Off", False)
    assert word(memory, Register.LINE_1_MODE) == 1
    nodes.GevSCPSPacketSize.value = 9000
    assert nodes.GevSCPSPacketSize.value == 9000
