"""The numbers that PLCs are told things by. A number never changes its meaning; new ones are only added. Pure."""

from enum import IntEnum

from edge.records import Outcome, Reason


class ResultCode(IntEnum):
    """What came of a part. Everything but PASS is a reject, and so is PASS without the bit `good`."""

    NONE = 0
    PASS = 1
    FAIL = 2
    ERROR = 3


RESULTS = {Outcome.PASS: ResultCode.PASS, Outcome.FAIL: ResultCode.FAIL, Outcome.ERROR: ResultCode.ERROR}

# Why a part could not be judged; 0 for one that was.
REASONS = {
    Reason.CAMERA_DOWN: 1,
    Reason.NO_SLOT: 2,
    Reason.OVERRUN: 3,
    Reason.INCOMPLETE: 4,
    Reason.STALE: 5,
    Reason.FROZEN: 6,
    Reason.TORN: 7,
    Reason.MISSING_VIEW: 8,
    Reason.CANNOT_JUDGE: 9,
    Reason.WORKER_CRASH: 10,
    Reason.DEADLINE: 11,
    Reason.INTERRUPTED: 12,
    Reason.SHUTDOWN: 13,
}

REASON_TEXTS = {
    Reason.CAMERA_DOWN: "the camera is not there",
    Reason.NO_SLOT: "no memory was free for the picture",
    Reason.OVERRUN: "more triggers than the camera can take",
    Reason.INCOMPLETE: "parts of the picture are missing",
    Reason.STALE: "the picture is of another time",
    Reason.FROZEN: "the picture repeats the one before",
    Reason.TORN: "the picture was overwritten while it was read",
    Reason.MISSING_VIEW: "one of several views did not come",
    Reason.CANNOT_JUDGE: "the picture cannot be judged, as with no part in it",
    Reason.WORKER_CRASH: "a process died over it",
    Reason.DEADLINE: "no verdict in time",
    Reason.INTERRUPTED: "the power failed",
    Reason.SHUTDOWN: "the station was stopped",
}


class Refusal(IntEnum):
    """Why a trigger was missed, or an announcement not taken."""

    NONE = 0
    # The station is in no state that takes triggers.
    NOT_EXECUTING = 1
    # The station's process that answers for triggers is away.
    STALE = 2
    CAMERA_DOWN = 3
    # Results that are not acknowledged, and triggers in flight, take every buffer.
    NO_BUFFER = 4
    # The trigger before has no answer yet.
    BUSY = 5
    # The station said no: its log says why.
    REFUSED = 6
    # The station was restarted over it. Of a trigger it is sure by now that it was not accepted.
    LOST = 7
    # The unit identifier is not printable ASCII.
    BAD_IDENTIFIER = 8


REFUSAL_TEXTS = {
    Refusal.NONE: "nothing was missed",
    Refusal.NOT_EXECUTING: "the station is in no state that takes triggers",
    Refusal.STALE: "the station's process that answers for triggers is away",
    Refusal.CAMERA_DOWN: "the camera is not there",
    Refusal.NO_BUFFER: "results that are not acknowledged, and triggers in flight, take every buffer",
    Refusal.BUSY: "the trigger before has no answer yet",
    Refusal.REFUSED: "the station said no: its log says why",
    Refusal.LOST: "the station was restarted over it: a trigger was not accepted, an announcement may have been",
    Refusal.BAD_IDENTIFIER: "the unit identifier is not printable ASCII",
}

# The states of OPC 40100-1; 0 while nobody has said.
STATES = {
    "Preoperational": 1,
    "Halted": 2,
    "Ready": 3,
    "SingleExecution": 4,
    "ContinuousExecution": 5,
    "Error": 6,
}
