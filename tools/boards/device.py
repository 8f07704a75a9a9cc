"""The Device board: the machines below a line, from "has it room" downwards."""

from tools.boards.device_machine import ACCELERATOR, LANES, MACHINE, PICTURES
from tools.boards.device_work import RECORD, ROOM, STAGES
from tools.boards.panel import Board

DEVICE = Board(
    uid="goldline-device",
    title="Goldline: device",
    description="Stages, queues, record, lanes, pictures and hardware of the devices of a line.",
    has_cameras=False,
    rows=(ROOM, STAGES, RECORD, LANES, PICTURES, MACHINE, ACCELERATOR),
)
