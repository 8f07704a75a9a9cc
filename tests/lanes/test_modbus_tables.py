"""The lane's tables and its door, by a PLC's means and by another maker's programs."""

import socket
import subprocess

from edge.lanes import modbus_map as layout
from edge.lanes.modbus_guests import MOST_CONNECTIONS
from edge.lanes.modbus_map import BITS, HOLDING, INPUTS, MIRROR
from edge.messages import Failed
from edge.worker import EXIT_CANNOT_RUN
from tests.lanes.lane_line import Make
from tests.lanes.plc import PATIENCE_S, Plc, hung_up, until
from tests.needs import needs_program


def test_a_plc_that_has_holding_registers_alone(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        line.decide(9)
        plc.wait("valid")
        block = plc.read_holding(HOLDING + MIRROR, INPUTS)
        assert block == plc.read_inputs(INPUTS, INPUTS)
        client = plc._client
        # Acknowledge and read in one exchange: the answer shows it gone already.
        answer = client.readwrite_registers(
            read_address=HOLDING + MIRROR, read_count=2, write_address=HOLDING, values=[0b10]
        )
        assert answer.registers[1] == 0
        assert client.read_coils(BITS, count=4).bits[:4] == [False, True, False, False]
        assert not plc.status("valid")


def test_what_is_not_there_is_refused(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        client = plc._client
        plc.wait("ready")
        asked = [
            client.read_input_registers(2 * INPUTS - 1, count=2),
            client.read_holding_registers(2 * HOLDING, count=1),
            client.read_discrete_inputs(2 * BITS, count=1),
            client.write_coil(0, True),
            client.write_coil(BITS + len(layout.CHANNEL_CONTROLS), True),
            client.write_coils(BITS, [True] * BITS),
            client.write_register(HOLDING + MIRROR, 1),
            client.write_registers(HOLDING + layout.IDENTIFIER_AT, [0] * 17),
        ]
        assert [answer.exception_code for answer in asked] == [2] * len(asked)
        assert client.mask_write_register(address=HOLDING).exception_code == 1
        assert plc.inputs().ready


def test_trigger_and_identifier_in_one_write(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        words = [1, *[7] * (layout.IDENTIFIER_AT - 1), *layout.words_of(b"A-1".ljust(32, b"\0"))]
        assert not plc._client.write_registers(HOLDING, words).isError()
        assert line.accept(5)["unit_identifier"] == "A-1"
        assert plc.read_holding(HOLDING, layout.IDENTIFIER_AT) == [1] + [0] * (layout.IDENTIFIER_AT - 1)


def test_mbpoll_reads_and_writes(make: Make) -> None:
    mbpoll = str(needs_program("mbpoll", "mbpoll"))
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        line.decide(77_777, verdict="FAIL")
        plc.wait("valid")
        base = [mbpoll, "-m", "tcp", "-p", str(line.port), "-0", "-1", "-q"]
        read = [*base, "-t", "3", "-r", str(INPUTS), "-c", "6", "127.0.0.1"]
        said = subprocess.run(read, capture_output=True, text=True, timeout=60, check=True).stdout
        words = [int(row.split()[1]) for row in said.splitlines() if row.startswith("[")]
        assert words[1:4] == [2, 0, 1]
        assert words[4] << 16 | words[5] == 77_777
        write = [*base[:-2], "-t", "0", "-r", str(BITS + 1), "127.0.0.1", "1"]
        subprocess.run(write, capture_output=True, text=True, timeout=60, check=True)
        plc.wait_for(lambda seen: not seen.valid, "valid to fall")


def test_as_many_connect_as_may(make: Make) -> None:
    line = make()
    with Plc(line.port) as plc:
        plc.wait("ready")
        others = [socket.create_connection(("127.0.0.1", line.port), timeout=30) for _ in range(MOST_CONNECTIONS - 1)]
        with socket.create_connection(("127.0.0.1", line.port), timeout=30) as one_too_many:
            assert hung_up(one_too_many)
        assert plc.inputs().ready
        for other in others:
            other.close()


def test_only_who_is_on_the_list_is_answered(make: Make) -> None:
    line = make(allow=["127.0.0.2/32"])
    until(lambda: reaches(line.port, "127.0.0.2"), "the lane to answer who is on its list")
    assert not reaches(line.port, "127.0.0.1")


def test_an_address_that_is_taken_is_named(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        line = make(listen=listen)
        assert line.child.popen is not None
        assert line.child.popen.wait(PATIENCE_S) == EXIT_CANNOT_RUN
    assert line.child.control is not None
    assert line.child.control.receive() == Failed(problem=f"[lanes.modbus] listen = {listen}: Address already in use")


def reaches(port: int, source: str) -> bool:
    """Whether a request from this address is answered."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0)) as peer:
            peer.sendall(b"\0\1\0\0\0\6\1\4\0\0\0\1")
            return len(peer.recv(100)) == 11
    except OSError:
        return False
