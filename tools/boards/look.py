"""How numbers, times and series look on a drawn board: Grafana's units and its colours on a light page."""

import math
from collections.abc import Sequence

# Grafana's own palette, as it colours series one after the other.
PALETTE = (
    "#73bf69", "#5794f2", "#f2cc0c", "#ff780a", "#b877d9", "#e02f44", "#8ab8ff", "#c8f2c2", "#ffb357", "#deb6f2",
    "#37872d", "#1f60c4", "#e0b400", "#fa6400", "#8f3bb8", "#c4162a",
)  # fmt: skip
COLOURS = {
    "green": "#73bf69",
    "orange": "#ff9830",
    "red": "#e02f44",
    "purple": "#a352cc",
    "blue": "#5794f2",
    "yellow": "#f2cc0c",
}
PAGE, CARD, EDGE, WORDS, FAINT = "#f4f5f5", "#ffffff", "#dcdee0", "#24292e", "#7b8087"
# Powers of 1024 and of 1000, and their letters.
BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
SHORT = ("", " K", " Mil", " Bil")
DAY_S, HOUR_S, MINUTE_S = 86400, 3600, 60


def colour(name: str) -> str:
    """A colour by its name, or as it is written."""
    return COLOURS.get(name, name)


# What is written behind a number, and how it is scaled first.
PLAIN = {"cpm": (1, " c/min"), "cps": (1, " c/s"), "reqps": (1, " req/s"), "celsius": (1, " °C"), "watt": (1, " W")}


def written(value: float, unit: str) -> str:
    """A number with its unit."""
    if math.isnan(value):
        return "-"
    if unit == "s":
        return _seconds(value)
    if unit in {"bytes", "short"}:
        return _scaled(value, 1024, BINARY) if unit == "bytes" else _scaled(value, 1000, SHORT)
    factor, words = {**PLAIN, "percentunit": (100, " %")}.get(unit, (1, ""))
    return f"{value * factor:.3g}{words}" if value * factor < 1000 else f"{value * factor:.0f}{words}"


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    if abs(value) < 1:
        return f"{value * 1e3:.3g} ms" if abs(value) >= 1e-3 else f"{value * 1e6:.3g} µs"
    return f"{value:.3g} s" if value < MINUTE_S else f"{value / MINUTE_S:.3g} min"


def _scaled(value: float, base: int, words: Sequence[str]) -> str:
    power = 0
    while abs(value) >= base and power < len(words) - 1:
        value, power = value / base, power + 1
    return f"{value:.3g}{' ' if base == 1024 else ''}{words[power]}"


def ago(then_s: float, now_s: float) -> str:
    """How long ago, as a table says it."""
    passed = max(0.0, now_s - then_s)
    for length, word in ((DAY_S, "days"), (HOUR_S, "hours"), (MINUTE_S, "minutes")):
        if passed >= length:
            return f"{passed / length:.0f} {word} ago"
    return f"{passed:.0f} seconds ago"


def step_of(value: float, steps: Sequence[tuple[float | None, str]]) -> str:
    """The colour that thresholds give a value."""
    return colour([name for start, name in steps if start is None or value >= start][-1])
