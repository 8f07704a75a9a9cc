"""Walks the types of a configuration: which keys a section knows, and what type a key has.

A section is a pydantic model, a dict of sections (cameras) or a tuple of them (regions); a union of models
(the kinds of camera) knows the keys of all its members.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def alternatives(annotation: Any) -> list[Any]:
    """The types a value may have, unions and annotations taken apart."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [one for member in get_args(annotation) for one in alternatives(member)]
    return [annotation]


def fields(annotation: Any) -> dict[str, Any]:
    """The keys a section knows, with their types; empty where any key goes or none."""
    known: dict[str, Any] = {}
    for one in alternatives(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            known |= {name: field.annotation for name, field in one.model_fields.items()}
    return known


def element(annotation: Any) -> Any:
    """The type of the values of a dict or tuple; None for anything else."""
    for one in alternatives(annotation):
        if get_origin(one) is dict:
            return get_args(one)[1]
        if get_origin(one) is tuple:
            return get_args(one)[0]
    return None


def is_section(annotation: Any) -> bool:
    """True for what is written as a table, or as several; a list of values is not."""
    if fields(annotation):
        return True
    is_table = any(get_origin(one) is dict for one in alternatives(annotation))
    return is_table or (element(annotation) is not None and is_section(element(annotation)))


def step(annotation: Any, key: str | int) -> Any:
    """The type of a section's key; None where it knows no such key."""
    known = fields(annotation)
    if known:
        return known.get(str(key))
    return element(annotation) if is_section(annotation) else None


def member(annotation: Any, tag: str | int) -> Any:
    """The model of a union whose key `source` takes this one value; None where there is none."""
    for one in alternatives(annotation):
        if get_args(fields(one).get("source")) == (tag,):
            return one
    return None


def leaves(annotation: Any, hint: tuple[str, ...], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key that holds a value. Where any key goes, it is the one that `hint` has there."""
    if not is_section(annotation):
        yield path
        return
    free = {hint[len(path)] if len(hint) > len(path) else "name": element(annotation)}
    for key, kind in (fields(annotation) or free).items():
        yield from leaves(kind, hint, (*path, key))


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint to append to an error: the nearest known word, or nothing."""
    nearest = get_close_matches(word, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
