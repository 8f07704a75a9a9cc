"""The running system as one table: which processes there are, who talks to whom, and what each is allowed.

No other file starts a process, and everything the supervisor does derives from here: the order of starting and
stopping, the links, the watchdog's patience. Rows are in the order data flows; stopping follows it, so that what is
in hand flows out.
"""

from dataclasses import dataclass
from typing import Literal

from edge.config import Station
from edge.metric_table import NS_PER_MS, NS_PER_S


@dataclass(frozen=True)
class Role:
    """A kind of process. `stop_s`: how long it may take to hand on what it holds before it is killed.

    `each`: one for each camera, for each lane, or one at all; the archive and the uplink, only where they are on.
    """

    name: str
    each: Literal["station", "camera", "lane", "archive", "fleet"]
    peers: tuple[str, ...]
    # Patience with a worker that does not beat, by its state. A model may take long to warm (TensorRT builds an
    # engine); a loop that runs beats several times a second, and 3 s is a stall even on a busy machine.
    starting_s: float
    warmup_s: float
    running_s: float
    stop_s: float
    # Higher dies first when memory runs out.
    oom_score: int
    # False: verdicts and lanes do without it. A disk that hangs holds it where no signal reaches: then only it is away.
    is_critical: bool = True


# Stopping takes at most the sum of `stop_s`, inside the 10 s a service is given.
ROLES = (
    Role("capture", "camera", ("inspection", "publish"), 30, 60, 3, 2.0, 0),
    Role("inspection", "station", ("publish", "archive"), 30, 1200, 3, 3.0, 300),
    Role("publish", "station", ("lane", "sync"), 30, 60, 3, 3.0, -800),
    Role("lane", "lane", (), 30, 60, 3, 0.5, -800),
    Role("sync", "station", (), 30, 60, 3, 0.5, 0, is_critical=False),
    Role("archive", "archive", (), 30, 60, 10, 0.5, 500, is_critical=False),
    Role("uplink", "fleet", (), 30, 60, 10, 0.4, 500, is_critical=False),
)


@dataclass(frozen=True)
class Process:
    """One row of the running station: `capture@left`, `inspection`, `publish`, `lane@modbus`."""

    name: str
    role: Role


def processes(station: Station) -> tuple[Process, ...]:
    """Every process of this station, in the order data flows."""
    return tuple(
        Process(f"{role.name}@{one}" if one else role.name, role) for role in ROLES for one in _instances(role, station)
    )


def _instances(role: Role, station: Station) -> tuple[str, ...]:
    """What tells the processes of this role apart; `("",)` for a single one."""
    return {
        "station": ("",),
        "camera": tuple(station.cameras),
        "lane": station.lanes.names,
        "archive": ("",) if station.archive.is_on else (),
        "fleet": ("",) if station.fleet is not None else (),
    }[role.each]


def counted(worker: str, station: Station) -> tuple[str, ...]:
    """What a worker's metrics page counts by: publish what can be triggered, inspection views, capture its camera."""
    return {"publish": triggerable(station), "inspection": station.views}.get(worker, tuple(station.cameras))


def triggerable(station: Station) -> tuple[str, ...]:
    """What has triggers of its own: groups, and cameras that are in none."""
    return tuple(name for name in station.triggered if station.group_of(name) is None)


def deadlines_of(station: Station) -> tuple[float, ...]:
    """The different deadlines of the station, in s, as the ledger counts them."""
    return tuple(sorted({round(station.deadline_ms(name) * NS_PER_MS) / NS_PER_S for name in triggerable(station)}))


def links(station: Station) -> tuple[tuple[str, str], ...]:
    """Every pair of processes that talk, upstream first."""
    rows = processes(station)
    return tuple((up.name, down.name) for up in rows for down in rows if down.role.name in up.role.peers)


def frames_from(link: tuple[str, str]) -> str:
    """The sender, on links over which frames travel; such a link is made once the camera's ring exists."""
    return link[0] if link[0].startswith("capture@") and link[1] == "inspection" else ""
