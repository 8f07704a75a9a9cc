"""The Line board: what a person who stands before the line wants to know, from "is it well" downwards."""

from tools.boards.line_machines import CAMERAS, WORKERS
from tools.boards.line_quality import LATENCY, QUALITY
from tools.boards.line_verdicts import PARTS_ROW, WELL
from tools.boards.panel import Board

LINE = Board(
    uid="goldline-line",
    title="Goldline: line",
    description="Parts, verdicts, cameras and workers of the stations of a line.",
    has_cameras=True,
    rows=(WELL, PARTS_ROW, QUALITY, LATENCY, CAMERAS, WORKERS),
)
