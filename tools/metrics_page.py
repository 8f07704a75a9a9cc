"""Write docs/metrics.md from the table in edge/metrics.py: `python tools/metrics_page.py`."""

from pathlib import Path

from edge.metric_table import METRICS, Metric

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
HEADER = """\
# Metrics

Everything on `/metrics`, by the process that feeds it. Written by `tools/metrics_page.py` from `edge/metric_table.py`.
Units are in the names; counters go on counting when a worker is restarted, and start at 0 with the service.

- **Series.** A station with four cameras, every lane and the archive has less than 500, which a test counts on one that
  runs; 60 more with each camera. `camera` is what was triggered (a camera that is in no group, or a group) for triggers and
  verdicts, the camera for what captures count, and the view (`camera`, or `camera.shot`) for what inspection judges.
- **Counters that say why** (marked *why*) show a series from its first count on, not before
  ([why](decisions/0047-a-budget-of-series.md)). `increase()` does not see that first one; the recorded
  `goldline:errors:increase1h`, `goldline:worker_restarts:increase10m` and `goldline:camera_reconnects:increase10m` do. In a
  query of one's own: `(x unless x offset 1h) or increase(x[1h])`. What they break down is there from the start.
- **Deadlines.** Histograms marked *deadlines* have a bucket exactly at each of the station's deadlines besides those listed:
  `goldline_answer_seconds_bucket{le="…"}` at a camera's deadline counts just its verdicts that were on time. A deadline that
  is changed in flight is in `goldline_deadline_seconds` and in `goldline_deadline_missed_total` at once; it has its bucket
  from the next start of the service on.
- **The machine** is read every 5 s, each source on a thread of its own; a scrape shows what was read last and waits for
  nothing. What could not be read for 15 s is absent, and `goldline_device_reading_age_seconds` tells since when.
  Accelerators by NVML (extra `gpu`) or a Jetson's /sys; without one there are no such series.
- **Alerts** on these, and what to do: [runbooks](runbooks/README.md).
"""
BY_ROLE = {
    "publish": "Ledger and outbox (`publish`)",
    "capture": "Cameras (`capture@<camera>`)",
    "inspection": "Inspection (`inspection`)",
    "lane@modbus": "Modbus (`lane@modbus`)",
    "lane@opcua": "OPC UA (`lane@opcua`)",
    "lane@mqtt": "MQTT (`lane@mqtt`)",
    "sync": "What was said before (`sync`)",
    "uplink": "The fleet (`uplink`)",
    "archive": "Pictures (`archive`)",
    "supervisor": "The station (`supervisor`)",
    "device": "The machine (`supervisor`)",
}


def page() -> str:
    """The whole page, as markdown."""
    sections = [HEADER]
    for role, metrics in METRICS.items():
        if not metrics:
            continue
        rows = "\n".join(map(_row, metrics))
        sections.append(f"## {BY_ROLE[role]}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(sections)


def _row(metric: Metric) -> str:
    labels = "; ".join(_label(name, values) for name, values in metric.labels.items())
    buckets = f" Buckets: {' '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
    mark = ", *why*" if metric.tells_why else ", *deadlines*" if metric.has_deadlines else ""
    return f"| `{metric.name}` | {metric.kind}{mark} | {labels} | {metric.help}{buckets} |"


def _label(name: str, values: tuple[str, ...] | None) -> str:
    return f"`{name}`" if values is None else f"`{name}` = {', '.join(values)}"


if __name__ == "__main__":
    PAGE.write_text(page())
