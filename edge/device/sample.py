"""One figure of the machine, named as in `metric_table.py`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """`labels` in the order of the metric's row."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


Read = Callable[[], Iterable[Sample]]


def text_of(path: Path) -> str | None:
    """What a file of /proc or /sys says; None where it is not there, or its device does not answer."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number_of(path: Path) -> float | None:
    """The whole number that a file of /sys holds; None where it holds none."""
    text = text_of(path)
    try:
        return None if text is None else float(int(text))
    except ValueError:
        return None
