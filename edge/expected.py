"""What orders expect of labelled images: one order for all, and a table of those that differ.

# NAME,KEY,VALUE[,KEY,VALUE…]      a row a part; NAME is its stem, or <label>/<stem> where several have that stem
017,variant,oak,code,4711
scratch/003,variant,walnut
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge.errors import GoldlineError
from edge.labelled import Sample, keys

# What spreadsheets put between the cells of a row.
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One row of the table, and its line in the file."""

    line: int
    name: str
    expect: Mapping[str, str]


def read_orders(path: Path) -> list[Row]:
    """The rows of a table of orders; empty ones and those that begin with # are left out. Raises GoldlineError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        delimiter = max(DELIMITERS, key="".join(lines).count)
        rows = [(line, _cells(text, delimiter)) for line, text in enumerate(lines, start=1)]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise GoldlineError(f"{path}: no table in UTF-8: {problem}") from problem
    return [_row(path, line, cells) for line, cells in rows if any(cells) and not cells[0].startswith("#")]


def _cells(text: str, delimiter: str) -> list[str]:
    return [cell.strip() for row in csv.reader([text], delimiter=delimiter) for cell in row]


def _row(path: Path, line: int, cells: Sequence[str]) -> Row:
    name, rest = cells[0], list(cells[1:])
    while rest and not rest[-1]:  # a spreadsheet fills rows up to the longest
        rest.pop()
    names = rest[::2]
    if not name or not rest or len(rest) % 2 or not all(names) or len(set(names)) < len(names):
        raise GoldlineError(f"{path}: line {line}: expected NAME,KEY,VALUE[,KEY,VALUE…], each key once")
    return Row(line, name, dict(zip(names, rest[1::2], strict=True)))


def with_orders(labelled: Sequence[Sample], everywhere: Mapping[str, str], path: Path | None = None) -> list[Sample]:
    """The samples with what is expected of each: of all of them, and by the table at `path`, which counts before it.

    Raises GoldlineError naming the line whose name is no sample's, or that of several.
    """
    rows = [] if path is None else read_orders(path)
    called = Counter(key for sample in labelled for key in keys(sample))
    table: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if called[row.name] != 1:
            what = "no image is" if not called[row.name] else f"{called[row.name]} images are"
            raise GoldlineError(
                f"{path}: line {row.line}: {what} called {row.name!r}; expected <stem> or <label>/<stem>, without suffix"
            )
        table[row.name] |= row.expect
    return [replace(sample, expect={**everywhere, **_asked(table, sample)}) for sample in labelled]


def _asked(table: Mapping[str, Mapping[str, str]], sample: Sample) -> dict[str, str]:
    return {key: value for name in keys(sample) for key, value in table.get(name, {}).items()}
