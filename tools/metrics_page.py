"""Write docs/metrics.md from the table in edge/metrics.py: `python tools/metrics_page.py`."""

from pathlib import Path

from edge.metric_table import METRICS, Metric

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
HEADER = """\
# Metrics

Everything on `/metrics`, by the process that feeds it. Written by `tools/metrics_page.py` from `edge/metric_table.py`.
Units are in the names; counters go on counting when a worker is restarted, and start at 0 with the service.
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
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help}{buckets} |"


def _label(name: str, values: tuple[str, ...] | None) -> str:
    return f"`{name}`" if values is None else f"`{name}` = {', '.join(values)}"


if __name__ == "__main__":
    PAGE.write_text(page())
