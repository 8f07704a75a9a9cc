"""Pictures to keep, made up, as inspection hands them to the archive."""

import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import archive_record, picture_file
from edge.archive_record import Sidecar
from edge.archive_store import Files
from edge.messages import Keep
from edge.records import Image, Outcome, Verdict
from tests import values

SIZE = (40, 30)


def pixels(seed: int, count: int = SIZE[0] * SIZE[1]) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8)


def keep(trigger_id: int, content: NDArray[np.uint8], view: str = "left", **said: Any) -> Keep:
    """A whole Mono8 picture of SIZE, if nothing else is said."""
    sha256 = picture_file.sha256(content)
    frame = msgspec.structs.replace(
        values.frame(trigger_id, view), width=SIZE[0], height=SIZE[1], unit_identifier=f"part-{trigger_id}",
        host_timestamp_utc_ns=time.time_ns(),
    )  # fmt: skip
    known = {
        "slot": 0, "generation": 2, "frame": frame, "verdict": Verdict(outcome=Outcome.FAIL, score=4.5),
        "provenance": values.PROVENANCE, "image": Image(ref=f"images/{sha256[:2]}/{sha256}.png", sha256=sha256),
        "box": (0, 0, *SIZE), "pixel_format": "Mono8", "used_bytes": content.size,
    }  # fmt: skip
    return Keep(**(known | said))


def kept(trigger_id: int, content: NDArray[np.uint8], **said: Any) -> tuple[Sidecar, Files]:
    made = keep(trigger_id, content, **said)
    picture = picture_file.encode(content, made.box[2:], made.pixel_format)
    return archive_record.sidecar(made), Files(picture=picture, map=None)
