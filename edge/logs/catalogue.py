"""What each code means and what to do: the tables of `messages/`, read when somebody asks.

Kinds: a line of the log; an alarm about the record and the reason of an ERROR, known by their names; what a command says
when it cannot run, known by a part of its words.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from operator import itemgetter
from typing import Any, Literal

import msgspec

from edge.logs.codes import ALARMS, REASONS

# What an ERROR means for the verdict is the same for every reason.
ANSWERED_ERROR = "The part has its one answer, ERROR with this reason: the PLC rejects it, and it never passes."
REFUSED = "None: nothing was started or changed."


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One code. `says`: the sentences of its lines; `fragments`: words that a command's refusal has; `do`: the steps."""

    code: str
    name: str | None = None
    says: tuple[str, ...] = ()
    fragments: tuple[str, ...] = ()
    level: Literal["info", "warning", "error"] | None = None
    why: str
    verdicts: str
    do: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    page: str

    @property
    def part(self) -> str:
        """The middle of its code: what part of the station it is about."""
        return self.code.split("-")[1]

    @property
    def title(self) -> str:
        """What it is listed by."""
        if self.part == "ERR":
            return f"ERROR({self.name})"
        if self.name in ALARMS:
            return f"alarm {self.name}"
        return self.says[0] if self.says else self.fragments[0]

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return msgspec.structs.asdict(self) | {"title": self.title}


@cache
def entries() -> Mapping[str, Entry]:
    """All of them, by code, in the order of the tables."""
    found: dict[str, Entry] = {}
    for code, table in sorted(_tables(), key=itemgetter(0)):
        assert code not in found, f"{code} stands in two tables"
        found[code] = _entry(code, table)
    return found


def find(words: str) -> list[Entry]:
    """The entries of a code, a name, or a line as it was printed: the best first; [] for none."""
    wanted, known = words.strip(), entries().values()
    by_code = [entry for entry in known if entry.code == wanted.upper() or entry.name == wanted.lower()]
    if by_code:
        return by_code
    within = [entry for entry in known if entry.code in wanted]
    return within or [entry for entry in known if _is_said_in(entry, wanted.lower())]


def names() -> list[str]:
    """Everything that can be asked for by a single word."""
    return [*entries(), *(entry.name for entry in entries().values() if entry.name)]


def _is_said_in(entry: Entry, line: str) -> bool:
    """Whether a line has one of its sentences, or is a good part of one."""
    texts = [text.lower() for text in (*entry.says, *entry.fragments)]
    return any(text in line or (len(line) >= 4 and line in text) for text in texts)


def _tables() -> Iterator[tuple[str, dict[str, Any]]]:
    for table in files("edge.logs").joinpath("messages").iterdir():
        if table.name.endswith(".toml"):
            yield from tomllib.loads(table.read_text(encoding="utf-8")).items()


def _entry(code: str, table: dict[str, Any]) -> Entry:
    """With what all of its kind have in common. Raises msgspec.ValidationError: the table is not as it should be."""
    common: dict[str, Any] = {"code": code, "verdicts": REFUSED}
    if code in REASONS.values():
        common |= {
            "says": ["a part has no verdict"],
            "level": "info" if table["name"] == "shutdown" else "warning",
            "verdicts": ANSWERED_ERROR,
            "metrics": ["goldline_errors_total"],
            "page": "docs/reliability.md",
        }
    return msgspec.convert(common | table, Entry)
