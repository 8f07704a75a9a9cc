"""Where everything stands in the Modbus tables: the one source of the map, of `docs/plc.md`, and of the values. Pure.

Block 0 is the station's, block k that of the k-th channel, in the order of `[lanes.modbus] channels`. A block has

    BITS  coils             from k * BITS on     what the PLC says, bit by bit
    BITS  discrete inputs   from k * BITS on     what the lane says, bit by bit
    INPUTS  input registers from k * INPUTS on   what the lane says, with the discrete inputs as one word in front
    HOLDING holding registers from k * HOLDING on  what the PLC says, with the coils as one word in front; behind that, from
            MIRROR on, the block of input registers once more, to read, for a PLC that has no other tables

Addresses count from 0, as they are on the wire. Two words are one number with its high word first; text has two
characters a word, the first in the high byte, and zeros behind it.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.lanes.codes import REASONS, STATES, Refusal, ResultCode
from edge.lanes.result_lane import Controls, ResultLane
from edge.lanes.shown import IDENTIFIER_BYTES, NO_SCORE, SCORE_SCALE, settings_checksum
from edge.lanes.standing import Standing

# Changes when a PLC's program would have to; what is added stands where zeros stood.
MAP_VERSION = 1
BITS = 16
INPUTS = 32
HOLDING = 64
MIRROR = HOLDING - INPUTS
_IDENTIFIER_WORDS = IDENTIFIER_BYTES // 2
# Within a channel's holding registers.
CONTROL_AT, IDENTIFIER_AT = 0, 8
# What fits into 65536 holding registers; no station comes near it.
MOST_CHANNELS = 65_536 // HOLDING - 1


@dataclass(frozen=True)
class Bit:
    """One bit of a status or control word."""

    at: int
    name: str
    text: str


@dataclass(frozen=True)
class Field:
    """One or more registers. `kind`: u16, u32, i32 or text."""

    at: int
    name: str
    kind: str
    text: str

    @property
    def words(self) -> int:
        """Registers that it takes."""
        return {"u16": 1, "u32": 2, "i32": 2, "text": _IDENTIFIER_WORDS}[self.kind]


CHANNEL_CONTROLS = (
    Bit(0, "trigger", "rising: take a picture of the part that is there, and judge it (trigger mode `software`)"),
    Bit(1, "ack", "while `valid`: the result is taken"),
    Bit(2, "clear", "rising: forget `overrun`, `error` and the refusal code"),
    Bit(3, "announce", "rising: the unit identifier is that of the next part that the line triggers"),
)
CHANNEL_STATUS = (
    Bit(0, "ready", "a trigger would be accepted now: this PLC's, or the line's where that triggers"),
    Bit(1, "trigger_ack", "the trigger is accepted; falls with `trigger`"),
    Bit(2, "busy", "a trigger of this PLC has no result yet"),
    Bit(3, "completed", "toggles with each result, those that were let go included"),
    Bit(4, "valid", "the registers show a result that is not acknowledged"),
    Bit(5, "good", "`valid`, and it is a PASS that came in time: the only bit that lets a part go on"),
    Bit(6, "overrun", "a result found every buffer taken and was let go; until `clear`"),
    Bit(7, "missed", "the trigger is not accepted, and gets no result: see the refusal code; falls with `trigger`"),
    Bit(
        8,
        "error",
        "the refusal code is not 0; until the next trigger is accepted, the next announcement asked for, or `clear`",
    ),
    Bit(9, "announce_ack", "the announcement is taken; falls with `announce`"),
    Bit(10, "late", "the result that is shown came after its deadline"),
    Bit(11, "review", "the result that is shown is a FAIL between its two limits: worth a second look"),
    Bit(12, "camera_up", "every camera of this channel can take pictures"),
)
CHANNEL_INPUTS = (
    Field(0, "status", "u16", "the bits of the discrete inputs, the first the lowest"),
    Field(1, "result", "u16", "0 none, 1 PASS, 2 FAIL, 3 ERROR; 0 while not `valid`"),
    Field(2, "reason", "u16", "of an ERROR, from the table of reasons; else 0"),
    Field(3, "result_number", "u16", "counts what is shown: 1 to 65535, then 1 again; 0 while not `valid`"),
    Field(4, "trigger_id", "u32", "of the result that is shown: the low 32 bits of the event's"),
    Field(6, "processing_ms", "u16", "from trigger to verdict, in ms; 65535 is that or more"),
    Field(7, "settings", "u16", "checksum of the recipe, reference set and configuration that judged; 0 for none"),
    Field(8, "score", "i32", f"the part's score times {SCORE_SCALE}; {NO_SCORE} for none"),
    Field(10, "buffers_left", "u16", "triggers that may come now and find a place for their results, 0 to 8"),
    Field(
        11,
        "refusal",
        "u16",
        "why the newest trigger was missed, or announcement not taken, from the table of refusals; else 0",
    ),
    Field(12, "accepted_trigger_id", "u32", "the newest trigger of this PLC that was accepted"),
    Field(14, "overruns", "u16", "results let go since the start; counts round"),
    Field(15, "missed_triggers", "u16", "triggers not accepted since the start; counts round"),
    Field(
        16,
        "unit_identifier",
        "text",
        "that the result's trigger carried; what is longer is cut, what is no ASCII is `?`",
    ),
)
CHANNEL_HOLDING = (
    Field(CONTROL_AT, "control", "u16", "the bits of the coils, the first the lowest"),
    Field(
        IDENTIFIER_AT, "unit_identifier", "text", "of the next trigger or announcement, printable ASCII; empty for none"
    ),
)
STATION_STATUS = (
    Bit(0, "alive", "the station answers for triggers; without it, reject everything"),
    Bit(1, "executes", "its state is SingleExecution or ContinuousExecution"),
    Bit(2, "alarm", "something needs a person: the station's log and `goldline doctor` say what"),
)
STATION_INPUTS = (
    Field(0, "status", "u16", "the bits of the discrete inputs, the first the lowest"),
    Field(1, "life", "u16", "counts up every 100 ms while the station is alive, round at 65535"),
    Field(2, "state", "u16", "from the table of states; 0: nobody has said"),
    Field(3, "channels", "u16", "how many blocks follow"),
    Field(4, "cameras_up", "u16", "bit k: the k-th camera of the configuration can take pictures, counted from 0"),
    Field(5, "settings", "u16", "checksum of what is judged by now; 0 for nothing"),
    Field(6, "alarms", "u16", "how many there are"),
    Field(7, "map_version", "u16", f"{MAP_VERSION}"),
)
STATION_CONTROLS: tuple[Bit, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a channel's bits say besides the handshake."""

    is_ready: bool
    is_camera_up: bool


def channel_bits(lane: ResultLane, around: Surroundings) -> list[bool]:
    """The discrete inputs of a channel."""
    shown = lane.shown
    named = {
        "ready": around.is_ready,
        "trigger_ack": lane.is_acked,
        "busy": lane.is_busy,
        "completed": bool(lane.completed & 1),
        "valid": lane.is_valid,
        "good": shown is not None and shown.is_good,
        "overrun": lane.is_overrun,
        "missed": lane.is_missed,
        "error": lane.refusal is not Refusal.NONE,
        "announce_ack": lane.is_announced,
        "late": shown is not None and shown.is_late,
        "review": shown is not None and shown.review,
        "camera_up": around.is_camera_up,
    }
    return _bits(CHANNEL_STATUS, named)


def channel_words(lane: ResultLane, bits: Sequence[bool]) -> list[int]:
    """The input registers of a channel."""
    shown = lane.shown
    values: dict[str, int | str] = {
        "status": word_of(bits),
        "result": ResultCode.NONE,
        "reason": 0,
        "result_number": 0,
        "trigger_id": 0,
        "processing_ms": 0,
        "settings": 0,
        "score": NO_SCORE,
        "unit_identifier": "",
        "buffers_left": lane.room,
        "refusal": lane.refusal,
        "accepted_trigger_id": lane.accepted,
        "overruns": lane.overruns,
        "missed_triggers": lane.missed,
    }
    if shown is not None:
        values |= {
            "result": shown.result,
            "reason": shown.reason,
            "result_number": shown.number,
            "trigger_id": shown.trigger_id,
            "processing_ms": shown.processing_ms,
            "settings": shown.checksum,
            "score": shown.score,
            "unit_identifier": shown.unit_identifier,
        }
    return _registers(CHANNEL_INPUTS, values)


def station_bits(standing: Standing | None, *, is_fresh: bool) -> list[bool]:
    """The discrete inputs of the station."""
    known = standing or Standing(state="")
    named = {"alive": is_fresh, "executes": is_fresh and known.executes, "alarm": bool(known.alarms)}
    return _bits(STATION_STATUS, named)


def station_words(standing: Standing | None, bits: Sequence[bool], life: int, channels: int) -> list[int]:
    """The input registers of the station."""
    known = standing or Standing(state="")
    job = known.job
    cameras = [camera.is_ready for camera in known.cameras.values()]
    values: dict[str, int | str] = {
        "status": word_of(bits),
        "life": life,
        "state": STATES.get(known.state, 0),
        "channels": channels,
        "cameras_up": word_of(cameras[:BITS]),
        "settings": 0 if job is None else settings_checksum(job.recipe_sha256, job.reference_set, job.configuration),
        "alarms": len(known.alarms),
        "map_version": MAP_VERSION,
    }
    return _registers(STATION_INPUTS, values)


def controls_of(word: int) -> Controls:
    """A channel's control word."""
    return Controls(**{bit.name: bool(word >> bit.at & 1) for bit in CHANNEL_CONTROLS})


def identifier_of(words: Sequence[int]) -> str | None:
    """The text in these registers, without the zeros and blanks behind it; None: no printable ASCII."""
    raw = bytes_of(words).rstrip(b"\0 ")
    return raw.decode("ascii") if all(0x20 <= byte < 0x7F for byte in raw) else None


def bytes_of(words: Sequence[int]) -> bytes:
    """Registers as bytes, the high one of each first."""
    return struct.pack(f">{len(words)}H", *words)


def words_of(raw: bytes) -> list[int]:
    """And back."""
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


def word_of(bits: Sequence[bool]) -> int:
    """Bits as a word, the first the lowest."""
    return sum(bit << at for at, bit in enumerate(bits))


def bits_of(word: int) -> list[bool]:
    """And back."""
    return [bool(word >> at & 1) for at in range(BITS)]


def _bits(table: Sequence[Bit], named: Mapping[str, bool]) -> list[bool]:
    bits = [False] * BITS
    for bit in table:
        bits[bit.at] = named[bit.name]
    return bits


def _registers(table: Sequence[Field], values: Mapping[str, int | str]) -> list[int]:
    words = [0] * INPUTS
    for field in table:
        words[field.at : field.at + field.words] = _packed(field.kind, values[field.name])
    return words


def _packed(kind: str, value: int | str) -> tuple[int, ...]:
    if isinstance(value, str):
        raw = value.encode("ascii", "replace")[:IDENTIFIER_BYTES].ljust(IDENTIFIER_BYTES, b"\0")
        return struct.unpack(f">{_IDENTIFIER_WORDS}H", raw)
    if kind == "u16":
        return (value & 0xFFFF,)
    return (value >> 16 & 0xFFFF, value & 0xFFFF)


# For the documentation: the closed lists that registers refer to.
REASON_NUMBERS = {number: reason for reason, number in REASONS.items()}
