"""Says what is wrong with a TOML file the way a person would: file, section, key, value, and the bound it breaks.

config.toml: [cameras.left.trigger] deadline_ms = -5: must be greater than 0
GOLDLINE_METRICS__PORT = "x": must be a whole number
"""

import json
import tomllib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge import schema, urls
from edge.errors import ConfigError, GoldlineError

Place = tuple[str | int, ...]

# A longer value is cut: the line is to be read.
SHOWN_CHARACTERS = 60
# pydantic's error types, in words; {…} is from the error's context.
WORDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be a path",
    "string_pattern_mismatch": "must match {pattern}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "is missing",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "too_long": "must have at most {max_length} elements",
    "missing": "is missing",
    "value_error": "{error}",
}


@dataclass(frozen=True)
class Document:
    """What is validated: its name, its tables, and which variable of the environment set the value at a path."""

    name: str
    data: Mapping[str, Any]
    variables: Mapping[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Raises GoldlineError where the file cannot be read, ConfigError with line and column where it is not TOML."""
    try:
        yield
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: not UTF-8 text, at byte {problem.start}") from problem
    except (ValueError, RecursionError) as problem:  # a number of thousands of digits, a thousand brackets
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem
    except OSError as problem:
        raise GoldlineError(f"{path}: cannot be read: {problem.strerror}") from problem


def problems(error: ValidationError, model: type[BaseModel], document: Document) -> list[str]:
    """One line for each key that was refused, in the order found."""
    lines: dict[str, list[str]] = {}
    for detail in error.errors():
        place = _place(detail, document.data)
        words = _words(detail, place, model)
        said = lines.setdefault(_where(place, detail, document), [])
        if words not in said:
            said.append(words)
    return [f"{where}: {_joined(said)}" for where, said in lines.items()]


def _joined(said: list[str]) -> str:
    """A key of several possible types was refused by each."""
    return " or ".join([said[0], *(words.removeprefix("must be ") for words in said[1:])])


def _place(detail: ErrorDetails, data: Any) -> Place:
    """The location that pydantic gives, without what is not in the file: the tags of unions, the marks of keys."""
    place: Place = ()
    for key in detail["loc"]:
        if _has(data, key):
            data = data[key]
        elif detail["type"] != "missing" or key != detail["loc"][-1]:
            continue
        place = (*place, key)
    return (*place, "source") if detail["type"].startswith("union_tag") else place


def _where(place: Place, detail: ErrorDetails, document: Document) -> str:
    """`file: [section] key = value`, or `VARIABLE = value`."""
    value = _value(place, document.data)
    shown = "" if isinstance(value, Mapping) or value is None else f" = {_shown(value, place)}"
    variable = document.variables.get(tuple(str(key) for key in place))
    if variable:
        return variable + shown
    if detail["type"] == "value_error" and isinstance(value, Mapping):
        return f"{document.name}: [{_dotted(place)}]" if place else document.name
    # The key is the last name, with the numbers of the list elements below it.
    split = max((index for index, key in enumerate(place) if isinstance(key, str)), default=0)
    section = f"[{_dotted(place[:split])}] " if split else ""
    return f"{document.name}: {section}{_dotted(place[split:])}{shown}"


def _has(data: Any, key: str | int) -> bool:
    if isinstance(data, Mapping):
        return key in data
    return isinstance(data, list | tuple) and isinstance(key, int) and key < len(cast("Sequence[object]", data))


def _value(place: Place, data: Any) -> Any:
    for key in place:
        if not _has(data, key):
            return None
        data = data[key]
    return data


def _dotted(place: Place) -> str:
    """`cameras.left`; the members of a list count from 1, as people do: `regions #1`."""
    return "".join(f" #{key + 1}" if isinstance(key, int) else f".{key}" for key in place).removeprefix(".")


def _shown(value: object, place: Place) -> str:
    """As JSON. What a URL has of secrets, also in a key that was misspelt, is for no terminal and no journal."""
    if isinstance(value, str):
        value = urls.without_secrets(value) if place[-1:] == ("url",) else urls.may_be_shown(value)
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _words(detail: ErrorDetails, place: Place, model: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "unknown key" + schema.did_you_mean(str(place[-1]), _siblings(detail, model))
    if detail["loc"][-1:] == ("[key]",):
        return f"the name must match {detail.get('ctx', {}).get('pattern')}"
    if kind in WORDS:
        # 0, not 0.0: bounds are written as people write them.
        bounds = {
            name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in detail.get("ctx", {}).items()
        }
        return WORDS[kind].format(**bounds)
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _siblings(detail: ErrorDetails, model: type[BaseModel]) -> list[str]:
    """The keys known where this one was refused."""
    kind: Any = model
    for key in detail["loc"][:-1]:
        kind = schema.step(kind, key) or schema.member(kind, key)
    return list(schema.fields(kind))
