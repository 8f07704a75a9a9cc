"""goldline evaluate: measure false calls and escapes on labelled images."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge.config import load_station


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline evaluate`."""
    parser.description = (
        "Judge the images of a folder laid out as MVTec AD (test/good, test/<defect>, ground_truth/<defect>) by the "
        "product's active reference set. Images that cannot be judged count as the worst score."
    )
    parser.epilog = "example:\n  goldline evaluate lid --data labelled/"
    parser.add_argument("product", metavar="NAME", help="the product")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds test/")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and report. 0 when it ran."""
    from edge.evaluate import evaluate
    from edge.inspector import Inspector
    from edge.terminal import stages

    inspector = Inspector.load(load_station(arguments.config), arguments.product)
    with stages() as tell:
        report = evaluate(inspector, arguments.data, lambda done, total: tell("judging", done, total))
    if arguments.json:
        print(json.dumps(report))
    else:
        _print_table(report)
    return 0


def _print_table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['n_good']} good and {report['n_bad']} bad images, set {report['reference_set']}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("AUROC", f"{report['auroc']:.4f}")
    for label, area in report["per_class"].items():
        table.add_row(f"  {label}", f"{area:.4f}")
    if report["pixel_auroc"] is not None:
        table.add_row("pixel AUROC", f"{report['pixel_auroc']:.4f}")
    for name, what in (
        ("false_call_rate", "false calls: good, not PASS"),
        ("escape_rate", "escapes: bad, PASS"),
        ("error_rate", "ERROR"),
    ):
        table.add_row(what, f"{report[name]:.1%}")
    latency = report["latency_ms"]
    if latency["p50"] is not None:
        table.add_row("frame to verdict", f"{latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms")
    table.add_row("method", report["method"])
    Console().print(table)
