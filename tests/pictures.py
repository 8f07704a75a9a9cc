"""Pictures to keep, made up, as inspection hands them to the archive."""

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import archive_reader, archive_record, picture_file
from edge.archive_index import Index, Wanted
from edge.archive_record import Sidecar
from edge.archive_retention import Bounds
from edge.archive_store import FOLDER, Files, Store
from edge.lived import Instant
from edge.messages import Keep
from edge.records import Image, Outcome, Verdict
from tests import values

SIZE = (40, 30)
WIDE = Bounds(1 << 30, 30)


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


# --- the archive that keeps them


def instant(later_ns: int = 0, *, jumped_ns: int = 0, boot: str = "first") -> Instant:
    """So long after this moment, on a clock that has jumped meanwhile."""
    return Instant(time.time_ns() + later_ns + jumped_ns, time.monotonic_ns() + later_ns, boot)


def opened(state: Path, bounds: Bounds = WIDE, now: Instant | None = None) -> Store:
    return Store(state, bounds, now or instant())


def files(state: Path) -> set[str]:
    return {path.name for path in (state / FOLDER).glob("??/*")}


def put(store: Store, trigger_id: int, seed: int | None = None, now: Instant | None = None, **said: Any) -> Sidecar:
    sidecar, made = kept(trigger_id, pixels(trigger_id if seed is None else seed), **said)
    store.put(sidecar, made, now or instant())
    return sidecar


def mend(store: Store, now: Instant | None = None) -> None:
    while store.tidy(now or instant()):
        pass


def triggers(state: Path) -> list[int]:
    """Of the pictures that are found, in order."""
    return sorted(row.trigger_id for row in archive_reader.find(state, Wanted()))


def assert_agrees(state: Path) -> int:
    """Every file is whole and named by the index, and the other way round; returns how many records there are."""
    with Index.reading(state / FOLDER) as index:
        rows = index.find(Wanted())
        total = index.total_bytes()
    expected: set[str] = set()
    for row in rows:
        found = archive_reader.read(state, row)
        expected |= {found.sidecar.file, f"{row.name}.json"}
        expected |= {f"{row.name}.map.png"} if found.sidecar.maps else set()
    assert files(state) == expected
    assert total == sum(path.stat().st_size for path in (state / FOLDER).glob("??/*"))
    return len(rows)
