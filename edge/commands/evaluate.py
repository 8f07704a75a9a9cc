"""goldline evaluate: measure false calls and escapes on labelled images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config import load_station
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.evaluate import Evaluation
    from edge.inspector import Inspector
    from edge.summary import Figures, Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline evaluate`."""
    parser.description = (
        "Judge the images of a folder laid out as MVTec AD (test/good, test/<defect>, ground_truth/<defect>) by the "
        "product's active reference set. Images that cannot be judged count as the worst score."
    )
    parser.epilog = "example:\n  goldline evaluate lid --data labelled/ --report lid.html --against 41c0"
    parser.add_argument("product", metavar="NAME", help="the product")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds test/")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write everything as one page, with pictures")
    parser.add_argument("--against", metavar="HASH", help="judge by this stored reference set too; its first digits do")
    parser.add_argument("--camera", metavar="ROLE", help="which view the images are of, where there are several")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and report. 0 when it ran."""
    from edge.evaluate import evaluate
    from edge.inspector import Inspector
    from edge.labelled import samples
    from edge.references import Store
    from edge.summary import report
    from edge.terminal import stages

    _refuse(arguments.report)
    station, product = load_station(arguments.config), arguments.product
    inspectors = [Inspector.load(station, product)]
    if arguments.against is not None:
        identity = Store(station.state_dir, product).find(arguments.against)
        inspectors.append(Inspector.load(station, product, identity=identity))
    labelled = samples(arguments.data)
    with stages() as tell:
        evaluations = [
            evaluate(
                inspector,
                inspector.role(arguments.camera),
                labelled,
                lambda done, total, stage=f"judging by {inspector.reference_set}": tell(stage, done, total),
            )
            for inspector in inspectors
        ]
    told = report(*evaluations)
    if arguments.report is not None:
        _write(arguments, inspectors[0], told, evaluations)
    _say(told, as_json=arguments.json)
    return 0


def _refuse(page: Path | None) -> None:
    """Say at once that the page cannot be written, rather than after everything was judged."""
    if page is not None and not page.parent.is_dir():
        raise GoldlineError(f"{page.parent}: not a folder")


def _write(
    arguments: argparse.Namespace, inspector: "Inspector", told: "Report", evaluations: "list[Evaluation]"
) -> None:
    from datetime import datetime

    from edge import exhibits
    from edge.labelled import readable
    from edge.report import Content, write

    content = Content(
        report=told,
        found=evaluations[0],
        other=evaluations[1] if len(evaluations) > 1 else None,
        false_calls=exhibits.false_calls(inspector, evaluations[0]),
        escapes=exhibits.escapes(inspector, evaluations[0]),
        data=readable(arguments.data),
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    write(arguments.report, content)


def _say(told: "Report", *, as_json: bool) -> None:
    if as_json:
        import msgspec

        print(msgspec.json.encode(told).decode())
    else:
        _print_table(told)


def _print_table(told: "Report") -> None:
    from rich.console import Console
    from rich.table import Table

    columns = [_column(told), *([] if told.against is None else [_column(told.against)])]
    table = Table(title=f"{told.n_good} good and {told.n_bad} bad images")
    table.add_column("figure")
    for one in (told, told.against):
        if one is not None:
            table.add_column(one.reference_set, justify="right")
    for name in columns[0]:
        table.add_row(name, *(column.get(name, "") for column in columns))
    console = Console()
    console.print(table)
    if told.against is not None:
        from edge.report_tables import difference

        console.print(difference(told.against))
        for one in told.against.changed:
            console.print(f"  {one.image}: {one.old} -> {one.new}", markup=False, highlight=False)


def _column(told: "Figures") -> dict[str, str]:
    def rate(share: float, ends: tuple[float, float]) -> str:
        return f"{share:.1%} (95%: {ends[0]:.1%} to {ends[1]:.1%})"

    rows = {"AUROC": f"{told.auroc:.4f} (95%: {told.auroc_interval[0]:.3f} to {told.auroc_interval[1]:.3f})"}
    rows |= {f"  {label}": f"{area:.4f}" for label, area in told.per_class.items()}
    if told.pixel_auroc is not None and told.au_pro is not None:
        rows |= {"pixel AUROC": f"{told.pixel_auroc:.4f}", "AU-PRO": f"{told.au_pro:.4f}"}
    rows["false calls: good, not PASS"] = rate(told.false_call_rate, told.false_call_interval)
    rows["escapes: bad, PASS"] = rate(told.escape_rate, told.escape_interval)
    rows["ERROR"] = f"{told.error_rate:.1%}"
    if told.latency_ms["p50"] is not None:
        rows["frame to verdict"] = f"{told.latency_ms['p50']:.1f} ms, p99 {told.latency_ms['p99']:.1f} ms"
    return rows | {"method": told.method}
