"""The Modbus lane: a server whose tables are the handshakes of its channels. `docs/plc.md` has the map.

1. What the PLC writes is taken in order, each write at once: no edge is lost between two looks.
2. What the station says wakes the loop; the registers follow within the same turn.
3. A request and a turn of the loop exclude each other, so no request ever sees half of a result.
"""

import time
from collections.abc import Sequence
from contextlib import closing

from edge.lanes import modbus_map as layout
from edge.lanes.channels import Channels
from edge.lanes.codes import Refusal
from edge.lanes.modbus_identity import objects_of
from edge.lanes.modbus_map import BITS, CONTROL_AT, HOLDING, IDENTIFIER_AT, INPUTS, MIRROR, Surroundings
from edge.lanes.modbus_server import Server
from edge.lanes.modbus_tables import BitTable, NoSuchAddress, WordTable
from edge.lanes.shown import IDENTIFIER_BYTES
from edge.lanes.station_link import POLL_S, StationLink
from edge.metrics import State
from edge.poller import Poller
from edge.worker import WorkerContext

LANE = "modbus"
# As fast as the slowest PLC cycle that is common; a PLC that sees it stand for two of its cycles knows.
LIFE_NS = 100_000_000
_IDENTIFIER = range(IDENTIFIER_AT, IDENTIFIER_AT + IDENTIFIER_BYTES // 2)


def run(context: WorkerContext) -> None:
    """Serve PLCs until told to stop. Raises GoldlineError when the address cannot be had."""
    config = context.station.lanes.modbus
    assert config is not None
    names = config.channels or tuple(context.station.triggered)
    channels = Channels(context.station, LANE, names, context.page)
    poller = Poller()
    with StationLink(context, channels.since) as link:
        channels.use(link)
        bank = ChannelBank(channels, link)
        server = Server(
            config.listen,
            config.allow,
            bank,
            identity=objects_of(context.station.station_id),
            connections=context.page.gauge("goldline_lane_connections", lane=LANE),
            refused=context.page.counter("goldline_lane_connections_refused_total", lane=LANE),
        )
        poller.listen(link.fileno(), lambda: None)
        with closing(server):
            while not link.is_stopping:
                poller.turn(POLL_S)
                with server.lock:
                    now_ns = time.monotonic_ns()
                    link.hear(now_ns, State.IDLE)
                    channels.turn(now_ns)
                    bank.turn(now_ns)
                server.turn(now_ns / 1e9)
    channels.close()


class ChannelBank:
    """The tables. What the PLC writes goes to the channels at once; what it reads is as of the last turn or write."""

    def __init__(self, channels: Channels, link: StationLink) -> None:
        """The PLC's side begins as the channels remember it."""
        self._channels, self._link = channels, link
        self._blocks = len(channels.names) + 1
        self._holding = [0] * HOLDING * self._blocks
        self._life, self._life_ns = 0, 0
        for at, name in enumerate(channels.names):
            controls = channels[name].controls
            bits = [getattr(controls, bit.name) for bit in layout.CHANNEL_CONTROLS]
            block = (at + 1) * HOLDING
            self._holding[block + CONTROL_AT] = layout.word_of(bits)
            words = layout.words_of(channels[name].written)
            self._holding[block + IDENTIFIER_AT : block + IDENTIFIER_AT + len(words)] = words
        self._bits: list[bool] = [False] * BITS * self._blocks
        self._words: list[int] = [0] * INPUTS * self._blocks
        self._show(time.monotonic_ns())

    def turn(self, now_ns: int) -> None:
        """Show how things stand now."""
        if not self._link.is_fresh(now_ns):
            self._life_ns = now_ns
        elif now_ns - self._life_ns >= LIFE_NS:
            self._life, self._life_ns = (self._life + 1) & 0xFFFF, now_ns
        self._show(now_ns)

    # --- what is read

    def read_bits(self, table: BitTable, start: int, count: int) -> Sequence[bool]:
        """Coils as they were written, or discrete inputs."""
        if start + count > BITS * self._blocks:
            raise NoSuchAddress
        return (self._coils() if table == "coils" else self._bits)[start : start + count]

    def read_words(self, table: WordTable, start: int, count: int) -> Sequence[int]:
        """Input registers, or holding registers with their mirror of them."""
        words = self._words if table == "input_registers" else self._mirrored()
        if start + count > len(words):
            raise NoSuchAddress
        return words[start : start + count]

    def _coils(self) -> list[bool]:
        words = self._holding[CONTROL_AT::HOLDING]
        return [bit for word in words for bit in layout.bits_of(word)]

    def _mirrored(self) -> list[int]:
        words = list(self._holding)
        for block in range(self._blocks):
            at = block * HOLDING + MIRROR
            words[at : at + INPUTS] = self._words[block * INPUTS : (block + 1) * INPUTS]
        return words

    # --- what is written

    def write_bits(self, start: int, values: Sequence[bool]) -> None:
        """Coils: the control bits of one or more channels."""
        written = dict(enumerate(values, start))
        if not all(self._is_control(at) for at in written):
            raise NoSuchAddress
        blocks = {at // BITS for at in written}
        for block in sorted(blocks):
            at = block * HOLDING + CONTROL_AT
            bits = layout.bits_of(self._holding[at])
            bits = [written.get(block * BITS + place, bit) for place, bit in enumerate(bits)]
            self._holding[at] = layout.word_of(bits)
        self._command(blocks)

    def write_words(self, start: int, values: Sequence[int]) -> None:
        """Holding registers: unit identifiers first, then the bits that may send them. What is between is let go."""
        written = dict(enumerate(values, start))
        if not all(self._is_writable(at) for at in written):
            raise NoSuchAddress
        for at, value in written.items():
            if at % HOLDING == CONTROL_AT or at % HOLDING in _IDENTIFIER:
                self._holding[at] = value
        self._command({at // HOLDING for at in written})

    def _is_control(self, coil: int) -> bool:
        return coil // BITS in range(1, self._blocks) and coil % BITS < len(layout.CHANNEL_CONTROLS)

    def _is_writable(self, register: int) -> bool:
        block, place = divmod(register, HOLDING)
        # What is between the two may come along: a request can only write registers that follow each other.
        return block in range(1, self._blocks) and CONTROL_AT <= place < _IDENTIFIER.stop

    def _command(self, blocks: set[int]) -> None:
        for block in sorted(blocks):
            registers = self._holding[block * HOLDING : (block + 1) * HOLDING]
            controls = layout.controls_of(registers[CONTROL_AT])
            words = registers[_IDENTIFIER.start : _IDENTIFIER.stop]
            name = self._channels.names[block - 1]
            self._channels.command(name, controls, layout.identifier_of(words), layout.bytes_of(words))
        self._show(time.monotonic_ns())

    # --- how things stand

    def _show(self, now_ns: int) -> None:
        standing, is_fresh = self._link.standing, self._link.is_fresh(now_ns)
        bits = layout.station_bits(standing, is_fresh=is_fresh)
        words = layout.station_words(standing, bits, self._life, self._blocks - 1)
        self._put(0, bits, words)
        for at, name in enumerate(self._channels.names):
            lane = self._channels[name]
            around = Surroundings(
                is_ready=self._channels.hindrance(name, now_ns) is Refusal.NONE,
                is_camera_up=is_fresh and standing is not None and standing.is_up(name),
            )
            bits = layout.channel_bits(lane, around)
            self._put(at + 1, bits, layout.channel_words(lane, bits))

    def _put(self, block: int, bits: list[bool], words: list[int]) -> None:
        self._bits[block * BITS : (block + 1) * BITS] = bits
        self._words[block * INPUTS : (block + 1) * INPUTS] = words
