"""Every line that asks somebody to act has a code, every code an entry, and every entry a line that says it."""

import argparse
import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edge import outbox_health
from edge.logs import catalogue
from edge.logs.codes import ALARMS, BY_KEY, CODES, REASONS, code_of
from edge.records import Reason

ROOT = Path(__file__).parents[1]
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
ASKING = ("warning", "error", "critical", "exception")
# Said by the log about itself, not by a call.
OWN = {"log lines were lost": "warning"}


class Call(NamedTuple):
    where: str
    level: str
    sentence: str | None
    keys: tuple[str | None, ...]


def is_logger(node: ast.expr) -> bool:
    """`structlog.get_logger()`, `self._log`, `logger`, `logging.getLogger(…)` and the like."""
    text = ast.unparse(node).lower()
    return any(text.endswith(end) for end in ("log", "logger", "get_logger()")) or "getlogger" in text


def calls(path: Path) -> Iterator[Call]:
    """Calls of a logger; also of a name that was given one of its methods, as `say = log.info if … else log.debug`."""
    tree = ast.parse(path.read_text())
    named: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            methods = {
                one.attr
                for one in ast.walk(node.value)
                if isinstance(one, ast.Attribute) and one.attr in LEVELS and is_logger(one.value)
            }
            if methods and not isinstance(node.value, ast.Call):
                named.setdefault(node.targets[0].id, set()).update(methods)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS and is_logger(node.func.value):
            levels = {node.func.attr}
        elif isinstance(node.func, ast.Name) and node.func.id in named:
            levels = named[node.func.id]
        else:
            continue
        first = node.args[0] if node.args else None
        sentence = first.value if isinstance(first, ast.Constant) else None
        keys = tuple(keyword.arg for keyword in node.keywords)
        yield from (Call(f"{path.relative_to(ROOT)}:{node.lineno}", level, sentence, keys) for level in sorted(levels))


CALLS = [call for path in sorted((ROOT / "edge").rglob("*.py")) for call in calls(path)]
ENTRIES = catalogue.entries()


def test_the_walk_finds_the_lines():
    assert len(CALLS) > 60
    assert {"camera down", "worker died", "drift"} <= {call.sentence for call in CALLS}


def test_every_warning_and_error_has_a_code():
    without = [call for call in CALLS if call.level in ASKING and call.sentence not in {*CODES, *BY_KEY}]
    assert not without, "put the sentence into edge/logs/codes.py and an entry into edge/logs/messages/"


def test_the_code_of_a_sentence_that_has_several_can_be_told():
    for call in CALLS:
        if call.sentence in BY_KEY:
            assert BY_KEY[call.sentence][0] in call.keys, call.where


def test_every_code_has_an_entry_that_says_the_same():
    for sentence, code in CODES.items():
        assert sentence in ENTRIES[code].says, sentence
    assert {code for code, entry in ENTRIES.items() if not entry.fragments} == {
        *CODES.values(),
        *ALARMS.values(),
        *REASONS.values(),
    }


def test_every_sentence_with_a_code_is_said_somewhere():
    said = {call.sentence for call in CALLS} | set(OWN)
    assert {*CODES, *BY_KEY} <= said


def test_entries_name_the_level_that_their_lines_have():
    levels: dict[str, set[str]] = {}
    for call in CALLS:
        level = "error" if call.level == "exception" else call.level
        if call.sentence in CODES and level != "debug":
            levels.setdefault(CODES[call.sentence], set()).add(level)
    for sentence, level in OWN.items():
        levels.setdefault(CODES[sentence], set()).add(level)
    order = ("info", "warning", "error")
    for code, found in levels.items():
        # A line that says that it is over is an info.
        assert ENTRIES[code].level == max(found, key=order.index), code


def test_alarms_and_reasons_are_those_that_there_are():
    alarms = {value for name, value in vars(outbox_health).items() if name.isupper() and isinstance(value, str)}
    assert set(ALARMS) == alarms
    assert set(REASONS) == set(Reason)
    for name, code in {**ALARMS, **REASONS}.items():
        assert ENTRIES[code].name == name


def test_what_a_command_says_is_said_somewhere():
    source = "\n".join(path.read_text() for path in (ROOT / "edge").rglob("*.py"))
    for entry in ENTRIES.values():
        for fragment in entry.fragments:
            assert fragment in source, f"{entry.code}: {fragment}"


def test_entries_name_metrics_alerts_and_pages_that_exist():
    source = "\n".join((ROOT / "edge" / name).read_text() for name in ("metric_table.py", "vitals.py"))
    rules = "\n".join(path.read_text() for path in (ROOT / "deploy").rglob("goldline.rules.yml"))
    for entry in ENTRIES.values():
        for metric in entry.metrics:
            assert f'"{metric.removeprefix("goldline_")}"' in source or f'"{metric}"' in source, (entry.code, metric)
        for alert in entry.alerts:
            assert f"alert: {alert}\n" in rules, (entry.code, alert)
        assert (ROOT / entry.page).is_file(), (entry.code, entry.page)


def test_entries_can_be_acted_on():
    for entry in ENTRIES.values():
        assert entry.do, entry.code
        assert all(text.endswith((".", "?", "…")) for text in (entry.why, entry.verdicts, *entry.do)), entry.code


def words_of(parser: argparse.ArgumentParser) -> set[str]:
    """Every option and verb that a command takes."""
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                found |= {name} | words_of(verb)
    return found


def test_the_commands_that_entries_tell_to_give_exist():
    told = {
        command for entry in ENTRIES.values() for step in entry.do for command in re.findall("`goldline ([^`]*)`", step)
    }
    assert len(told) > 20
    for command, *words in (one.split() for one in told - {"--version"}):
        parser = argparse.ArgumentParser()
        parser.add_argument("--config")
        importlib.import_module(f"edge.commands.{command}").add_arguments(parser)
        wanted = {word for word in words if word.startswith("--") or word.islower()}
        # What an order is called is no verb of the parser's.
        assert command == "order" or wanted <= words_of(parser), (command, wanted - words_of(parser))


def test_the_page_is_as_the_tables_are():
    spec = importlib.util.spec_from_file_location("logs_page", ROOT / "tools" / "logs_page.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = tool.PAGE.read_text()
    assert tool.page(text) == text, "run tools/logs_page.py"
    for link in re.findall(r"\]\(([a-z][^)#:]*)\)", text):
        assert (ROOT / "docs" / link).is_file(), link


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"event": "camera down"}, "GL-CAM-001"),
        ({"event": "alarm", "alarm": "disk_full"}, "GL-OUT-011"),
        ({"event": "a part has no verdict", "reason": Reason.DEADLINE}, "GL-ERR-011"),
        ({"event": "alarm", "alarm": "another"}, None),
        ({"event": "camera up"}, None),
    ],
)
def test_a_line_gets_its_code(event, code):
    assert code_of(event, event["event"]) == code


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("GL-CAM-001", ["GL-CAM-001"]),
        ("gl-cam-001", ["GL-CAM-001"]),
        ("Deadline", ["GL-ERR-011"]),
        ("disk_full", ["GL-OUT-011"]),
        ('{"event": "camera down", "code": "GL-CAM-001", "level": "warning"}', ["GL-CAM-001"]),
        ("capture@left: camera down (camera=left)", ["GL-CAM-001"]),
        ("goldline: config.toml: [cameras.left] widht = 3: unknown key; did you mean width?", ["GL-RUN-001"]),
        ("nothing of the kind", []),
        ("", []),
    ],
)
def test_an_entry_is_found_by_what_stands_in_the_log(words, codes):
    assert [entry.code for entry in catalogue.find(words)] == codes


def test_every_entry_is_found_by_its_code_and_its_name():
    for entry in ENTRIES.values():
        assert catalogue.find(entry.code) == [entry]
        if entry.name:
            assert catalogue.find(entry.name) == [entry]


def test_no_line_uses_a_name_that_the_log_gives_itself():
    taken = {"event", "level", "timestamp", "worker", "code", "message", "repeats", "since", "exception"}
    # "unexpected message" tells a message's kind; nothing that is held back has that name at the same time.
    for call in CALLS:
        assert not taken.intersection(call.keys) - {"message"}, call
