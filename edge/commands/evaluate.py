"""goldline evaluate: measure false calls and escapes on labelled images."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands.inspect import expectation
from edge.config import Station, load_station
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.evaluate import Evaluation
    from edge.inspector import Inspector
    from edge.summary import Figures, Report


# Of each view, what the terminal shows; `--json` has everything.
VIEW_ROWS = ("AUROC", "false calls: good, not PASS", "  promised, at most", "escapes: bad, PASS", "ERROR")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline evaluate`."""
    parser.description = (
        "Judge the images of a folder laid out as MVTec AD (test/good, test/<defect>, ground_truth/<defect>) by the "
        "product's active reference set. Images that cannot be judged count as the worst score.\n\n"
        "Of a product with several camera roles, whole parts are judged: each of these folders then has one sub-folder "
        "a role, and the pictures of one part have one stem. --camera judges one role's pictures by themselves."
    )
    parser.epilog = (
        "examples:\n  goldline evaluate lid --data labelled/ --report lid.html --against 41c0\n"
        "  goldline evaluate lid --data labelled/ --expect variant=oak --orders orders.csv\n\n"
        "orders.csv: NAME,KEY,VALUE[,KEY,VALUE...], a row a part; NAME is its stem or <label>/<stem>, as in\n"
        "  good/017,variant,oak,code,4711"
    )
    parser.add_argument("product", metavar="NAME", help="the product")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds test/")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write everything as one page, with pictures")
    parser.add_argument("--against", metavar="HASH", help="judge by this stored reference set too; its first digits do")
    parser.add_argument("--camera", metavar="ROLE", help="judge the pictures of this camera role alone")
    parser.add_argument(
        "--expect", type=expectation, action="append", default=[], metavar="KEY=VALUE,…", help="what every order gives"
    )
    parser.add_argument("--orders", type=Path, metavar="FILE.csv", help="what the order of each part gives, see below")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and report. 0 when it ran."""
    from edge.summary import report
    from edge.taught import find

    _refuse(arguments.report)
    station, product, against = load_station(arguments.config), arguments.product, arguments.against
    inspectors = [_load(station, product, None)]
    if against is not None:
        inspectors.append(_load(station, product, find(station, product, against)))
    evaluations = _judge(arguments, inspectors)
    told = report(*evaluations)
    if arguments.report is not None:
        _write(arguments, inspectors[0], told, evaluations)
    _say(told, as_json=arguments.json)
    return 0


def _refuse(page: Path | None) -> None:
    """Say at once that the page cannot be written, rather than after everything was judged."""
    if page is not None and not page.parent.is_dir():
        raise GoldlineError(f"{page.parent}: not a folder")


def _load(station: Station, product: str, identity: str | None) -> "Inspector":
    """A set with the recipe that it was taught by, whatever the recipe has become since; that it has is said."""
    from edge.inspector import Inspector
    from edge.recipe import load_recipe
    from edge.references import Store, taught_by
    from edge.taught import as_taught, differences

    now, found = load_recipe(station, product), Store(station.state_dir, product).load(identity)
    recipe = as_taught(now, found)
    changed = [one.key for one in differences(found.manifest.taught, taught_by(now.recipe))]
    if changed:
        print(
            f"{found.id} is judged by the recipe it was taught by; {now.path} has another {', '.join(changed)}, and the "
            "station would refuse the set",
            file=sys.stderr,
        )
    return Inspector.load(station, product, identity=found.id, recipe=recipe)


def _judge(arguments: argparse.Namespace, inspectors: "Sequence[Inspector]") -> "list[Evaluation]":
    """What each makes of the labelled images: of whole parts, unless there is one camera or one is named."""
    from edge.evaluate import evaluate, evaluate_parts
    from edge.expected import with_orders
    from edge.labelled import parts, samples
    from edge.terminal import stages

    everywhere = {key: value for order in arguments.expect for key, value in order.items()}
    whole = arguments.camera is None and any(len(inspector.roles) > 1 for inspector in inspectors)
    if whole:
        labelled = parts(arguments.data, sorted({role for inspector in inspectors for role in inspector.roles}))
    else:
        roles = [inspector.role(arguments.camera) for inspector in inspectors]
        labelled = samples(arguments.data, roles[0])
    labelled = with_orders(labelled, everywhere, arguments.orders)
    evaluations: list[Evaluation] = []
    with stages() as tell:
        for inspector in inspectors:

            def progress(done: int, total: int, stage: str = f"judging by {inspector.reference_set}") -> None:
                tell(stage, done, total)

            evaluations.append(
                evaluate_parts(inspector, labelled, progress)
                if whole
                else evaluate(inspector, inspector.role(arguments.camera), labelled, progress)
            )
    return evaluations


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

    from edge.report_tables import UNION_BOUND, difference, value

    sets = [told] if told.against is None else [told, told.against]
    columns = [_column(one) for one in sets]
    table = Table(title=f"{told.n_good} good and {told.n_bad} bad {'parts' if told.views else 'images'}")
    table.add_column("figure")
    for one in sets:
        table.add_column(one.reference_set, justify="right")
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    console = Console()
    console.print(table)
    if told.views:
        console.print(UNION_BOUND, highlight=False)
    if told.against is not None:
        console.print(difference(told.against))
        for one in told.against.differences:
            line = f"  taught by {one.key} = {value(one.this)}, against {value(one.against)}"
            console.print(line, markup=False, highlight=False)
        if told.against.changed:
            console.print(
                f"verdicts that differ ({len(told.against.changed)}), {told.against.reference_set} -> this set:"
            )
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
    promised = told.promised_false_call_rate
    rows["  promised, at most"] = "nothing" if promised is None else f"{promised:.1%}"
    rows["escapes: bad, PASS"] = rate(told.escape_rate, told.escape_interval)
    rows["ERROR"] = f"{told.error_rate:.1%}"
    if told.latency_ms["p50"] is not None:
        rows["frame to verdict"] = f"{told.latency_ms['p50']:.1f} ms, p99 {told.latency_ms['p99']:.1f} ms"
    for role, view in told.views.items():
        rows |= {f"{role}: {name.strip()}": text for name, text in _column(view).items() if name in VIEW_ROWS}
    return rows | {"method": told.method}
