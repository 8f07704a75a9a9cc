"""`GOLDLINE_…` variables: the station's keys in capitals, sections joined by `__`.

GOLDLINE_STATION_ID=press-4
GOLDLINE_CAMERAS__LEFT__TRIGGER__DEADLINE_MS=250
GOLDLINE_CAMERAS__LEFT__FEATURES__ExposureTime=800      # GenICam features keep their capitals
GOLDLINE_GROUPS__BOX__CAMERAS=top,side
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from edge import schema

PREFIX = "GOLDLINE_"
SEPARATOR = "__"
# Variables of that prefix that are not keys: the folder of images that tests measure on, and the file itself.
OTHER_VARIABLES = frozenset({"GOLDLINE_TEST_DATA", "GOLDLINE_CONFIG"})

Keys = tuple[str, ...]


@dataclass
class Variables:
    """What the environment sets: the values as nested tables, and which variable set the key at each path."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    names: dict[Keys, str] = field(default_factory=dict[Keys, str])
    problems: list[str] = field(default_factory=list[str])


def read(environ: Mapping[str, str], model: type[BaseModel]) -> Variables:
    """Every variable of the prefix, placed where `model` has its key, or refused in `problems`."""
    found = Variables()
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        segments = name.removeprefix(PREFIX).split(SEPARATOR)
        path, kind = _resolve(segments, model)
        if kind is None:
            known = [_name(leaf) for leaf in schema.leaves(model, tuple(segments))]
            found.problems.append(f"{name}: unknown variable{schema.did_you_mean(name, known)}")
        elif schema.is_section(kind):
            example = next(schema.leaves(kind, ()))
            found.problems.append(f"{name}: is a section, set its keys one by one, as in {_name((*path, *example))}")
        else:
            _place(found.values, path, _value(environ[name], kind))
            found.names[path] = name
    return found


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of both, key by key; `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        are_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = laid_over(merged[key], cast("dict[str, Any]", value)) if are_tables else value
    return merged


def _name(path: Keys) -> str:
    return PREFIX + SEPARATOR.join(path).upper()


def _resolve(segments: list[str], model: type[BaseModel]) -> tuple[Keys, Any]:
    """The path of a variable and the type there; None for the type where no such key is known."""
    kind: Any = model
    path: Keys = ()
    for segment in segments:
        # What is not itself a section below a free key is a GenICam feature, whose capitals matter.
        is_feature = not schema.fields(kind) and not schema.is_section(schema.element(kind))
        key = segment if is_feature else segment.lower()
        kind = schema.step(kind, key)
        if kind is None:
            return path, None
        path = (*path, key)
    return path, kind


def _place(values: dict[str, Any], path: Keys, value: object) -> None:
    for key in path[:-1]:
        values = values.setdefault(key, {})
    values[path[-1]] = value


def _value(text: str, kind: Any) -> object:
    """As it stands, unless the key wants something else.

    A path is relative to the current directory; a list is divided by commas; where a number or text may stand, it is
    what TOML makes of it.
    """
    types = schema.alternatives(kind)
    if schema.element(kind) is not None:
        return [part.strip() for part in text.split(",")]
    if Path in types:
        return Path(text).expanduser().absolute()
    if str in types and float in types:
        return _as_toml(text)
    return text


def _as_toml(text: str) -> object:
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, bool | int | float) else text
