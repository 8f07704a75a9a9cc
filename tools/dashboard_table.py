"""Print every panel's queries with what a Prometheus answers now, as markdown: `python -m tools.dashboard_table --help`."""

import argparse
import math

from tools.boards import asking, look
from tools.boards.asking import Answer
from tools.boards.panel import Panel, Query
from tools.dashboards import BOARDS

# Of many series a few values say enough.
VALUES = 4


def row(prometheus: str, panel: Panel, query: Query, window: str, whole: str) -> str:
    """One line of the table. Raises OSError."""
    answers = asking.now(prometheus, asking.filled(query.promql, window, whole))
    unit = panel.units.get(query.legend, panel.unit)
    said = ", ".join(value(answer, unit) for answer in answers[:VALUES]) + (", …" if len(answers) > VALUES else "")
    expression = query.expression.replace("|", "\\|")
    return f"| {panel.title} | `{query.legend}` | `{expression}` | {len(answers)} | {said or 'none'} |"


def value(answer: Answer, unit: str) -> str:
    """The newest, with its unit."""
    (_, newest) = answer.points[-1]
    if unit == "dateTimeFromNow" and not math.isnan(newest):
        return look.ago(newest / 1000, answer.points[-1][0])
    return look.written(newest, unit)


def main() -> None:
    """Write both boards' tables to standard output."""
    arguments = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python -m tools.dashboard_table --range 20m"
    )
    arguments.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address (default: %(default)s)")
    arguments.add_argument("--window", default="20s", help="in the place of $__rate_interval (default: %(default)s)")
    arguments.add_argument("--range", default="1h", help="in the place of $__range (default: %(default)s)")
    chosen = arguments.parse_args()
    for board in BOARDS:
        print(
            f"\n### {board.title}\n\n| panel | series | expression | series now | values now |\n|---|---|---|---|---|"
        )
        for panel in board.panels:
            for query in panel.queries:
                print(row(chosen.prometheus, panel, query, chosen.window, chosen.range))


if __name__ == "__main__":
    main()
