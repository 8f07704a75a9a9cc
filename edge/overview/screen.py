"""The overview on a terminal: what somebody has to see to first, then answers, cameras, processes, the record."""

from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge.event_line import line
from edge.overview.report import Answers, Camera, Overview, Worker

# Colours say what words say as well: a terminal without them loses nothing.
_GOOD, _BAD, _FAINT = "green", "bold red", "dim"
_HASH_LETTERS = 8
_COLUMNS = 160


def console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_COLUMNS)


def screen(shown: Overview) -> RenderableType:
    """Everything, in the order a person asks."""
    parts: list[RenderableType] = [_title(shown), _attention(shown)]
    if shown.answers:
        parts.append(_answers(shown))
    if shown.cameras:
        parts.append(_cameras(shown.cameras))
    if shown.workers:
        parts.append(_workers(shown.workers))
    parts.append(_footer(shown))
    return Group(*parts)


def _title(shown: Overview) -> Text:
    running = {True: "", False: "not running", None: "running? its runtime directory may not be read"}[shown.is_running]
    told = [f"station {shown.station}", shown.state or running or "running"]
    if shown.job is not None:
        job = shown.job
        variant = f", variant {job.variant}" if job.variant else ""
        told.append(f"product {job.product}{variant}")
        told.append(f"recipe {_short(job.recipe_sha256)}, references {_short(job.reference_set)}")
        told.append(f"configuration {job.configuration}")
    if shown.started is not None:
        told.append(f"since {shown.started.astimezone():%Y-%m-%d %H:%M}")
    if shown.version is not None:
        told.append(f"Goldline {shown.version}")
    return Text(" · ".join(told), style="bold")


def _short(text: str | None) -> str:
    return "-" if text is None else text[:_HASH_LETTERS]


def _attention(shown: Overview) -> Text:
    if not shown.attention and not shown.unheard:
        return Text("all is well", style=_GOOD)
    told = [Text(f"! {one}", style=_BAD) for one in shown.attention]
    told += [Text(f"? {one}", style=_FAINT) for one in shown.unheard]
    return Text("\n").join(told)


def _table(*columns: str) -> Table:
    # One blank between columns: counts of weeks then fit into a terminal of 80.
    table = Table(box=None, pad_edge=False, header_style=_FAINT, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    return table


def _answers(shown: Overview) -> RenderableType:
    rate = "/min" if shown.over_s else "triggers"
    table = _table(
        "answers", rate, "PASS", "FAIL", "review", "ERROR", "late", "in hand", "p50 ms", "p99 ms", "deadline ms"
    )
    for name, one in shown.answers.items():
        table.add_row(name, *_answer_cells(one))
    reasons = {
        name: ", ".join(f"{why} {count}" for why, count in one.errors.items()) for name, one in shown.answers.items()
    }
    return Group(table, *(Text(f"ERROR of {name}: {why}", style=_FAINT) for name, why in reasons.items() if why))


def _answer_cells(one: Answers) -> tuple[str | Text, ...]:
    rate = str(one.triggers) if one.per_minute is None else f"{one.per_minute:.1f}"
    times = [_number(one.quantiles_ms[name]) for name in ("p50", "p99")]
    counts = [str(one.verdicts[name]) for name in ("PASS", "FAIL")]
    return (
        rate,
        *counts,
        str(one.review),
        _alarming(one.verdicts["ERROR"]),
        _alarming(one.late),
        str(one.in_flight),
        *times,
        f"{one.deadline_ms:g}",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _alarming(count: int) -> Text:
    return Text(str(count), style=_BAD if count else "")


def _cameras(cameras: dict[str, Camera]) -> Table:
    table = _table("cameras", "state", "frames", "/s", "lost", "incomplete", "reopened", "ring free", "not judged")
    for name, one in cameras.items():
        dropped = ", ".join(f"{reason} {count}" for reason, count in one.dropped.items() if reason != "lost")
        table.add_row(
            name,
            Text(one.state, style=_GOOD if one.state == "streaming" else _BAD),
            str(one.frames),
            _number(one.frames_per_second),
            _alarming(one.lost),
            _alarming(one.incomplete),
            str(one.reconnects),
            f"{one.slots_free}/{one.slots}",
            Text(dropped, style=_FAINT),
        )
    return table


def _workers(workers: dict[str, Worker]) -> Table:
    table = _table("processes", "pid", "state", "silent s", "MiB", "files", "CPU %", "died")
    for name, one in workers.items():
        died = ", ".join(f"{cause} {count}" for cause, count in one.restarts.items())
        share = "-" if one.cpu_share is None else f"{one.cpu_share * 100:.0f}"
        table.add_row(
            name,
            "-" if one.pid is None else str(one.pid),
            Text(one.state, style=_GOOD if one.state in ("idle", "busy") else _BAD),
            f"{one.silent_s:.1f}",
            f"{one.resident_bytes / 2**20:.0f}",
            str(one.open_fds),
            share,
            died or "0",
        )
    return table


def _footer(shown: Overview) -> Text:
    told: list[str] = []
    if shown.record is not None:
        kept = shown.record
        told.append(f"record: events {kept.low} to {kept.head}, {kept.used_bytes / 1e6:.1f} MB")
        told += [f"  {one.name}: {one.behind} to come, last seen {_clock(one.seen_utc)}" for one in kept.consumers]
    told += [_device_line(shown.device)] if shown.device else []
    told += ["last rejected:", *(f"  {line(event)}" for event in shown.rejected)] if shown.rejected else []
    return Text("\n".join(told))


def _clock(seen_utc: str) -> str:
    """Local time, as a person on the line reads it."""
    seen = datetime.fromisoformat(seen_utc).replace(tzinfo=UTC).astimezone()
    return f"{seen:%Y-%m-%d %H:%M:%S}"


def _device_line(device: dict[str, float]) -> str:
    told: list[str] = []
    if (busy := device.get("cpu_busy_ratio")) is not None:
        told.append(f"CPU {busy:.0%}")
    if (gpu := device.get("gpu_utilization_ratio")) is not None:
        told.append(f"GPU {gpu:.0%}")
    if (free := device.get("memory_available_bytes")) is not None:
        told.append(f"memory free {free / 2**30:.1f} GiB")
    told += [
        f"{name.removesuffix('_free_bytes')} disk free {value / 2**30:.1f} GiB"
        for name, value in device.items()
        if name.endswith("_free_bytes")
    ]
    told += [f"{name.split('_')[0]} {value:.0f} °C" for name, value in device.items() if name.endswith("_celsius")]
    return "device: " + " · ".join(told)
