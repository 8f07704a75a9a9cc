"""Every panel of the boards has something to show: a real Prometheus, a real station, and what goes wrong on a line."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import needs_group

needs_group("boards", "grafana_foundation_sdk")

from tests.faulty_station import Faulty, faulty  # noqa: E402
from tests.watched_station import eventually  # noqa: E402
from tools.boards import asking  # noqa: E402
from tools.boards.annotations import ANNOTATIONS  # noqa: E402
from tools.boards.asking import Answer  # noqa: E402
from tools.dashboards import BOARDS  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Scraped each second, a rate needs some of them; what the board shows as a whole is the time of the test.
WINDOW, WHOLE = "15s", "3m"
# What no machine for tests can be relied on to have, by the name of the panel. tests/test_device.py reads a driver of
# its own and a tree of sensors of its own, and so shows that these metrics are made.
NOT_HERE = {
    "Temperatures": "virtual machines have no sensors",
    "Accelerator: busy": "no accelerator",
    "Accelerator: memory": "no accelerator",
    "Accelerator: temperature": "no accelerator",
    "Accelerator: power": "no accelerator",
}
EVERY = [
    (panel.title, query.legend, query.promql) for board in BOARDS for panel in board.panels for query in panel.queries
]


@pytest.fixture(scope="module")
def line(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """After a camera went and came, a worker died, and a deadline was changed."""
    with faulty(taught, tmp_path_factory.mktemp("boards")) as running:
        running.kill("archive")
        running.take_camera_away(0.0)
        running.change_deadline(1900.0)
        yield running


def ask(line: Faulty, expression: str) -> list[Answer]:
    """The series that have a number now."""
    answers = asking.now(line.prometheus.url, asking.filled(expression, WINDOW, WHOLE))
    return [answer for answer in answers if not math.isnan(answer.points[0][1])]


def test_every_panel_has_something_to_show(line: Faulty) -> None:
    assert NOT_HERE.keys() <= {title for title, _, _ in EVERY}
    missing = [one for one in EVERY if one[0] not in NOT_HERE]

    def all_shown() -> bool:
        missing[:] = [one for one in missing if not ask(line, one[2])]
        return not missing

    eventually(all_shown, f"nothing to show: {missing}")


@pytest.mark.parametrize(
    "mark",
    [mark for mark in ANNOTATIONS if mark[0] in {"Worker started again", "Configuration changed"}],
    ids=lambda mark: mark[0],
)
def test_what_happened_is_marked(line: Faulty, mark: tuple[str, str, str]) -> None:
    expression = (
        asking.filled(mark[1], WINDOW, WHOLE).replace("[1m]", f"[{WHOLE}]").replace("offset 1m", f"offset {WHOLE}")
    )
    eventually(lambda: ask(line, expression), f"{mark[0]} is seen")


def value(line: Faulty, title: str, legend: str) -> float:
    (expression,) = [promql for panel, name, promql in EVERY if (panel, name) == (title, legend)]
    return sum(answer.points[0][1] for answer in ask(line, expression))


def test_what_they_show_is_what_happened(line: Faulty) -> None:
    eventually(lambda: value(line, "Last fails", "FAIL") > 0, "parts fail")
    eventually(lambda: value(line, "Late answers, by camera", "{{instance}} {{camera}}") > 0, "answers are late")
    assert value(line, "Last fails", "ERROR") > 0
    assert value(line, "Restarts", "times") == pytest.approx(1)
    assert value(line, "Cameras opened again", "times") >= 1
    assert 0 < value(line, "First-pass yield", "yield") < 1
    assert value(line, "Configuration in force", "generation") == 2
    deadlines = [
        panel for panel in EVERY if panel[:2] == ("Answers against their deadlines", "deadline {{instance}} {{camera}}")
    ]
    found = {answer.labels["camera"]: answer.points[0][1] for answer in ask(line, deadlines[0][2])}
    assert found == {"top": 1.9, "side": 0.005, "left": 1.0, "right": 1.5}


def test_choosing_one_camera_leaves_the_others_out(line: Faulty) -> None:
    (expression,) = [promql for title, _, promql in EVERY if title == "Parts per minute, by camera"]
    chosen = expression.replace("$camera", "(top|side)")
    assert {answer.labels["camera"] for answer in ask(line, chosen)} == {"top", "side"}
