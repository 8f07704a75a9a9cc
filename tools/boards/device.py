"""The Device board: the machines below a line, from "has it room" downwards."""

from tools.boards.device_lanes import LANES, PICTURES
from tools.boards.device_machine import ACCELERATOR, MACHINE
from tools.boards.device_record import RECORD
from tools.boards.device_work import ROOM, STAGES
from tools.boards.panel import Board

DEVICE = Board(
    uid="goldline-device",
    title="Goldline: device",
    description="Stages, queues, record, lanes, pictures and hardware of the devices of a line.",
    has_cameras=False,
    rows=(ROOM, STAGES, RECORD, LANES, PICTURES, MACHINE, ACCELERATOR),
)
