"""What a change of each key of `config.toml` does to a running station: one table, and the difference of two stations. Pure.

    live       taken over between two frames; no process is started anew
    worker     the processes it concerns finish what they hold and are started anew; the others do not notice
    station    the whole station has to be started anew: `systemctl restart goldline`

A key that is in no row is an error, also in the tests: nobody may add one without saying what changing it does.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from edge import urls
from edge.config import Station
from edge.records import Record

# What stands where a key is not set at all.
UNSET = "-"
# Values longer than this are cut where they are shown: the line is to be read.
SHOWN_CHARACTERS = 60
ANY = "*"


class Effect(StrEnum):
    """What a change does, the heaviest last."""

    LIVE = "live"
    WORKER = "worker"
    STATION = "station"


@dataclass(frozen=True)
class Rule:
    """What changing these keys does. `workers`: who takes it over (live) or is started anew; `@` stands for the key's own.

    Keys are dotted; `*` is any name of a camera, a group, a shot (by its place) or a feature.
    """

    effect: Effect
    workers: tuple[str, ...]
    keys: tuple[str, ...]
    why: str


def _camera(keys: str) -> tuple[str, ...]:
    return tuple(f"cameras.*.{key}" for key in keys.split())


CAPTURE = ("capture@",)
# In the order of `config.toml`. `why` is shown by `goldline reload` and in the documentation.
RULES = (
    Rule(
        Effect.STATION,
        (),
        ("station_id", "state_dir", "runtime_dir"),
        "events, keys and the logs of triggers belong to it",
    ),
    Rule(
        Effect.LIVE,
        ("inspection", "publish"),
        ("product",),
        "the product is loaded beside the one that is judged, and judged from one frame on",
    ),
    Rule(Effect.STATION, (), ("pipelines_dir",), "who judges and who brings a fleet's products go by it together"),
    Rule(
        Effect.STATION,
        (),
        ("cameras.*", "groups.*", "groups.*.cameras"),
        "which cameras and groups there are: a trigger, its counts and its lanes go by them",
    ),
    Rule(
        Effect.STATION,
        (),
        _camera("trigger.mode shot shot.* shot.*.name"),
        "who opens a trigger and which views it has: publish, capture and lanes go by it",
    ),
    Rule(Effect.LIVE, ("inspection",), _camera("role shot.*.role"), "the product's views are assigned anew"),
    Rule(
        Effect.LIVE,
        ("capture@", "publish", "lane"),
        _camera("trigger.deadline_ms"),
        "for triggers that are opened from then on; the buckets of histograms stay until a restart",
    ),
    Rule(Effect.LIVE, CAPTURE, _camera("trigger.queue_depth"), "for triggers that come from then on"),
    Rule(
        Effect.LIVE,
        ("publish",),
        (*_camera("trigger.period_ms"), "groups.*.period_ms"),
        "the station's own clock beats anew",
    ),
    Rule(
        Effect.WORKER,
        CAPTURE,
        _camera("trigger.source trigger.activation trigger.counter"),
        "the camera's input is set up when it is opened",
    ),
    Rule(Effect.WORKER, CAPTURE, _camera("slots"), "another ring is made"),
    Rule(
        Effect.WORKER,
        CAPTURE,
        _camera(
            "source settling_frames detect_frozen width height rate_hz deviation_rate seed phase prerendered "
            "path play allow_automatic strobe strobe.* address packet_size_bytes packet_delay_ns "
            "packet_resend packet_timeout_ms frame_retention_ms receive_buffer_bytes chunks device "
            "pixel_format url transport timeout_ms serial producer features features.* controls controls.* "
            "shot.*.features shot.*.features.* "
        ),
        "the camera is opened anew, its settings written and read back",
    ),
    Rule(
        Effect.LIVE,
        ("inspection",),
        ("inference.provider", "inference.allow_fallback", "inference.threads"),
        "the product is loaded anew beside the one that is judged, and judged from one frame on",
    ),
    Rule(Effect.LIVE, (), ("inference.backbone",), "for what is taught from then on"),
    Rule(
        Effect.STATION,
        (),
        ("events.site", "events.line", "events.live", "events.command", "events.sync"),
        "every topic and every address that others know the station by",
    ),
    Rule(Effect.LIVE, ("publish",), ("events.heartbeat_ms",), "from the next heartbeat on"),
    Rule(Effect.STATION, (), ("security.keys_dir", "security.curve"), "every socket is bound with its keys"),
    Rule(
        Effect.LIVE,
        ("publish",),
        ("outbox.max_bytes", "outbox.max_days", "outbox.when_unacknowledged", "outbox.when_disk_full"),
        "from the next look at the record on",
    ),
    Rule(Effect.STATION, (), ("outbox.reserve_bytes",), "the reserve on the disk is made at the start"),
    Rule(Effect.LIVE, ("publish",), ("orders.autostart",), "at the next order `reset`, and at the next start"),
    Rule(Effect.STATION, (), ("archive.is_on",), "whether there is a process that keeps pictures"),
    Rule(
        Effect.LIVE,
        ("inspection",),
        ("archive.share_of_pass", "archive.whole_pictures"),
        "for pictures from then on",
    ),
    Rule(Effect.LIVE, ("archive",), ("archive.max_bytes", "archive.max_days"), "from the next look at the store on"),
    Rule(
        Effect.STATION,
        (),
        ("lanes.modbus", "lanes.opcua", "lanes.mqtt"),
        "which lanes there are: each has a process of its own",
    ),
    Rule(
        Effect.WORKER,
        ("lane@",),
        (
            "lanes.modbus.channels",
            "lanes.modbus.listen",
            "lanes.modbus.allow",
            "lanes.opcua.channels",
            "lanes.opcua.listen",
            "lanes.opcua.certificates",
            "lanes.mqtt.broker",
            "lanes.mqtt.topic",
            "lanes.mqtt.username",
            "lanes.mqtt.password_file",
            "lanes.mqtt.ca_file",
            "lanes.mqtt.certificate_file",
            "lanes.mqtt.key_file",
        ),
        "the lane listens or connects anew; what it had to say it says then",
    ),
    Rule(Effect.STATION, (), ("fleet",), "whether there is a process that ties the station to a fleet"),
    Rule(
        Effect.WORKER,
        ("uplink",),
        ("fleet.server", "fleet.max_bytes", "fleet.trusted"),
        "it connects anew; what it had to say it says then",
    ),
    Rule(Effect.STATION, (), ("metrics.host", "metrics.port"), "where Prometheus and systemd's checks look"),
    Rule(Effect.LIVE, ("every process",), ("log.level",), "from the next line on"),
    Rule(Effect.STATION, (), ("log.format",), "where lines go is settled before the first of them"),
)


class Change(Record, frozen=True):
    """One key that differs. `workers`: those that take it over, or are started anew, by their names."""

    key: str
    old: str
    new: str
    effect: Effect
    workers: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}   {self.meaning}"

    @property
    def meaning(self) -> str:
        """What it does, in the words of a terminal."""
        match self.effect:
            case Effect.LIVE:
                return "live"
            case Effect.WORKER:
                return f"restarts {', '.join(self.workers)}"
            case Effect.STATION:
                return f"needs a restart of the station: {self.why}"


def difference(old: Station, new: Station) -> tuple[Change, ...]:
    """Every key in which they differ, in the file's order. Values are as they may be shown: no password, no token."""
    before, after = (station.model_dump(mode="json") for station in (old, new))
    return tuple(_change(path, *values) for path, *values in _differing(before, after, ()))


def heaviest(changes: tuple[Change, ...]) -> Effect:
    """What all of them together do."""
    effects = {change.effect for change in changes}
    return max(effects, key=list(Effect).index, default=Effect.LIVE)


def restarted(changes: tuple[Change, ...]) -> frozenset[str]:
    """The workers that have to be started anew."""
    return frozenset(name for change in changes if change.effect is Effect.WORKER for name in change.workers)


def rule_of(path: tuple[str, ...]) -> Rule:
    """The row of the key at this path. Raises KeyError: nobody has said what changing it does."""
    for rule in RULES:
        if any(_matches(pattern.split("."), path) for pattern in rule.keys):
            return rule
    raise KeyError(path)


def _matches(pattern: list[str], path: tuple[str, ...]) -> bool:
    return len(pattern) == len(path) and all(one in (ANY, name) for one, name in zip(pattern, path, strict=True))


def _differing(old: object, new: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object, object]]:
    """Sections are gone into where both have them; one that only one of them has is a change itself."""
    if old == new:
        return
    before, after = _section(old), _section(new)
    if before is None or after is None:
        yield path, old, new
        return
    for name in [*before, *(name for name in after if name not in before)]:
        yield from _differing(before.get(name), after.get(name), (*path, name))


def _section(value: object) -> Mapping[str, object] | None:
    """A table as it stands, a list of tables by their places; None for what is a value."""
    if isinstance(value, dict):
        return cast("dict[str, object]", value)
    if isinstance(value, list):
        items = cast("list[object]", value)
        if items and all(isinstance(item, dict) for item in items):
            return {str(place): item for place, item in enumerate(items)}
    return None


def _change(path: tuple[str, ...], old: object, new: object) -> Change:
    """By its path: the name of a camera's feature may have a dot."""
    rule = rule_of(path)
    workers = tuple(name + path[1] if name.endswith("@") else name for name in rule.workers)
    return Change(key=".".join(path), old=shown(old), new=shown(new), effect=rule.effect, workers=workers, why=rule.why)


def shown(value: Any) -> str:
    """As it may stand in a log: what a URL has of secrets is left out, and what is long is cut."""
    if value is None:
        return UNSET
    if isinstance(value, dict):
        return "a table" if value else UNSET
    text = json.dumps(urls.may_be_shown(value) if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
