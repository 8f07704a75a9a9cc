"""The code of every line that asks somebody to act, by its sentence. `goldline logs explain CODE` says what to do.

A warning or an error needs its sentence here, and the code an entry in `messages/`; so a call names no code, and cannot
name a wrong one. A code stays what it is: it is in people's notes and in the plant's searches. A new sentence takes the
next free number of its part. A sentence that says that it is over has the code of what is.
"""

from collections.abc import Mapping
from types import MappingProxyType

from structlog.typing import EventDict, WrappedLogger

CODES: Mapping[str, str] = MappingProxyType(
    {
        # cameras
        "camera down": "GL-CAM-001",
        "camera open": "GL-CAM-001",
        "no picture for a trigger": "GL-CAM-002",
        "the receive buffer is smaller than asked for": "GL-CAM-003",
        "%s: 16 bits a channel, scaled to 8": "GL-CAM-004",
        # the station's processes
        "worker died": "GL-WRK-001",
        "worker hangs": "GL-WRK-002",
        "worker failed": "GL-WRK-003",
        "cannot run": "GL-WRK-004",
        "did not stop in time": "GL-WRK-005",
        "does not read its control socket": "GL-WRK-006",
        "unexpected message": "GL-WRK-007",
        "http answer failed": "GL-WRK-008",
        "control answer failed": "GL-WRK-009",
        "the configuration is not reloaded": "GL-CFG-001",
        "the configuration is reloaded": "GL-CFG-001",
        "the outcome of a reload is not written down": "GL-CFG-002",
        # triggers and their answers
        "not triggered": "GL-TRG-001",
        "a part goes without an answer: no trigger id is left": "GL-TRG-002",
        "late result": "GL-TRG-003",
        "opened trigger is not in its log": "GL-TRG-004",
        "word of an unknown trigger": "GL-TRG-005",
        "verdict for an unknown trigger": "GL-TRG-006",
        "triggers and verdicts do not add up": "GL-TRG-007",
        "triggers without a record: the power failed": "GL-TRG-008",
        "the trigger ids in use are not noted": "GL-TRG-009",
        "what went with the power cannot be read": "GL-TRG-010",
        "the trigger ids that are left are not given back": "GL-TRG-011",
        "the file of given trigger ids cannot be written": "GL-TRG-012",
        "a trigger log of another version is let go": "GL-TRG-013",
        "triggers without a record are noted in memory alone": "GL-TRG-014",
        # the record of events
        "the disk is full: what is in flight is written into the reserve": "GL-OUT-001",
        "events cannot be written": "GL-OUT-002",
        "events can be written again": "GL-OUT-002",
        "the outbox is set aside for a new one": "GL-OUT-003",
        "the outbox is left with its log beside it": "GL-OUT-004",
        "no room can be reserved": "GL-OUT-005",
        "the outbox can be opened: publish is started again": "GL-OUT-006",
        # kept pictures
        "pictures cannot be kept": "GL-ARC-001",
        "pictures are kept again": "GL-ARC-001",
        "the archive's index is damaged and made anew": "GL-ARC-002",
        "no pictures are kept": "GL-ARC-003",
        # inspection and products
        "the CPU stands in for the accelerator": "GL-INS-001",
        "not prepared": "GL-INS-002",
        "drift": "GL-INS-003",
        "drift is over": "GL-INS-003",
        "what was ordered is not kept over a restart": "GL-INS-004",
        # who connects to the station's sockets
        "nobody is let in yet: goldline keys client NAME": "GL-NET-001",
        "the list of clients is refused; the one before counts": "GL-NET-002",
        "refused: a key that is not listed": "GL-NET-003",
        "peers take too much memory: all are sent off": "GL-NET-004",
        "nobody is let in: cannot listen again": "GL-NET-005",
        "subscriptions without end: all who listen are sent off": "GL-NET-006",
        "an answer is let go: its reader does not keep up": "GL-NET-007",
        "%s: nothing heard for %g s: %s": "GL-NET-008",
        # lanes to PLCs and brokers
        "a Modbus client is refused": "GL-PLC-001",
        "an order of the PLC is refused": "GL-PLC-002",
        "what another version of this lane kept is let go": "GL-PLC-003",
        "decisions were overwritten before this lane had read them": "GL-PLC-004",
        "an OPC UA connection is refused": "GL-OPC-001",
        "a client is refused: its certificate is not in trusted/": "GL-OPC-002",
        "not a client's certificate": "GL-OPC-003",
        "a client is cut off: it holds too much": "GL-OPC-004",
        "the broker is away": "GL-MQT-001",
        "connected to the broker": "GL-MQT-001",
        "a message is passed over": "GL-MQT-002",
        "the cursor cannot be written": "GL-MQT-003",
        # the fleet
        "the fleet's server is away": "GL-FLT-001",
        "connected to the fleet's server": "GL-FLT-001",
        "the fleet's hub is away": "GL-FLT-002",
        "roll-outs wait": "GL-FLT-003",
        "a roll-out is refused": "GL-FLT-004",
        "an event is passed over": "GL-FLT-005",
        "[fleet] needs a library that is not installed: pip install 'goldline[fleet]'": "GL-FLT-006",
        # the log itself
        "log lines were lost": "GL-LOG-001",
    }
)

# "alarm" and "alarm is over" are about one of these, the label of `goldline_outbox_alarm`.
ALARMS: Mapping[str, str] = MappingProxyType(
    {
        "disk_full": "GL-OUT-011",
        "disk_failed": "GL-OUT-012",
        "outbox_set_aside": "GL-OUT-013",
        "unacknowledged": "GL-OUT-014",
        "outbox_behind": "GL-OUT-015",
    }
)

# "a part has no verdict" is about one of these: why its answer was ERROR.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "camera_down": "GL-ERR-001",
        "no_slot": "GL-ERR-002",
        "overrun": "GL-ERR-003",
        "incomplete": "GL-ERR-004",
        "stale": "GL-ERR-005",
        "frozen": "GL-ERR-006",
        "torn": "GL-ERR-007",
        "missing_view": "GL-ERR-008",
        "cannot_judge": "GL-ERR-009",
        "worker_crash": "GL-ERR-010",
        "deadline": "GL-ERR-011",
        "interrupted": "GL-ERR-012",
        "shutdown": "GL-ERR-013",
    }
)

# The key of a line, beside its sentence, that says which of several codes it has.
BY_KEY = {
    "alarm": ("alarm", ALARMS),
    "alarm is over": ("alarm", ALARMS),
    "a part has no verdict": ("reason", REASONS),
}


def code_of(event: Mapping[str, object], sentence: str) -> str | None:
    """Of a line with this sentence; None: it asks nobody to act."""
    if sentence in BY_KEY:
        key, codes = BY_KEY[sentence]
        return codes.get(str(event.get(key)))
    return CODES.get(sentence)


def name_code(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor: gives a line its code. One that comes from a library may have brought it along."""
    if "code" not in event and (code := code_of(event, str(event["event"]))) is not None:
        event["code"] = code
    return event
