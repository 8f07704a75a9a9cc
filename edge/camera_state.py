"""Where a camera is on its way from closed to streaming and back; `grabber.py` takes it there."""

from enum import StrEnum


class CameraState(StrEnum):
    """Not begun or ended, being opened, streaming, being let go, waiting for the next try."""

    CLOSED = "closed"
    OPENING = "opening"
    STREAMING = "streaming"
    STALLED = "stalled"
    BACKOFF = "backoff"
