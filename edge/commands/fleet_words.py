"""Times and shares as they are written on the command line of `goldline fleet`."""

import re

from edge.errors import GoldlineError

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def seconds(text: str) -> float:
    """`90`, `90s`, `10m` or `2h`. Raises GoldlineError."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise GoldlineError(f"{text!r} is no time: 90s, 10m or 2h")
    return float(found[1]) * _UNITS_S[found[2]]


def share(text: str) -> float:
    """`10%` as 0.1. Raises GoldlineError."""
    found = _SHARE.fullmatch(text.strip())
    if found is None or float(found[1]) > 100:
        raise GoldlineError(f"{text!r} is no share: 10%, at most 100%")
    return float(found[1]) / 100


def names(text: str) -> list[str]:
    """`a,b` as a list, each once. Raises GoldlineError."""
    found = [one.strip() for one in text.split(",")]
    if "" in found or len(set(found)) != len(found):
        raise GoldlineError(f"{text!r}: station ids with a comma between them, each once")
    return found
