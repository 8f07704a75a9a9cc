"""Write the tables of docs/plc.md from `edge/lanes/modbus_map.py` and `codes.py`: `python tools/plc_map.py`."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge.lanes import codes
from edge.lanes import modbus_map as layout
from edge.lanes.modbus_map import BITS, HOLDING, INPUTS, MIRROR, Bit, Field

PAGE = Path(__file__).parent.parent / "docs" / "plc.md"


def tables() -> dict[str, str]:
    """Each table of the page as markdown, by the name between its marks."""
    return {
        "channel-controls": _bits(layout.CHANNEL_CONTROLS, BITS, "coil"),
        "channel-status": _bits(layout.CHANNEL_STATUS, BITS, "discrete input"),
        "channel-inputs": _fields(layout.CHANNEL_INPUTS, INPUTS, MIRROR),
        "channel-holding": _fields(layout.CHANNEL_HOLDING, HOLDING, None),
        "station-status": _bits(layout.STATION_STATUS, 0, "discrete input"),
        "station-inputs": _fields(layout.STATION_INPUTS, 0, MIRROR),
        "reasons": _rows(("number", "reason", "what it means"), _reasons()),
        "refusals": _rows(
            ("number", "why a trigger was missed"), ((f"{one:d}", codes.REFUSAL_TEXTS[one]) for one in codes.Refusal)
        ),
        "states": _rows(("number", "state"), ((str(number), name) for name, number in codes.STATES.items())),
    }


def page(text: str) -> str:
    """The page with its tables as the code has them."""
    for name, table in tables().items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not mark.search(text):
            raise SystemExit(f"{PAGE}: no table {name}")
        text = mark.sub(lambda found, table=table: f"{found[1]}{table}{found[2]}", text)
    return text


def _bits(bits: Sequence[Bit], base: int, kind: str) -> str:
    rows = ((str(bit.at), _address(base, bit.at), f"`{bit.name}`", bit.text) for bit in bits)
    return _rows(("bit", f"{kind} of the first channel" if base else kind, "name", "meaning"), rows)


def _fields(fields: Sequence[Field], base: int, mirror: int | None) -> str:
    kind = "holding register" if mirror is None else "input register"
    heads = ["offset", f"{kind} of the first channel" if base else kind, "name", "type", "meaning"]
    rows = [[str(field.at), _address(base, field.at), f"`{field.name}`", _kind(field), field.text] for field in fields]
    if mirror is not None:
        heads.insert(2, "also holding register")
        at = HOLDING + mirror if base else mirror
        for row, field in zip(rows, fields, strict=True):
            row.insert(2, _address(at, field.at))
    return _rows(heads, rows)


def _kind(field: Field) -> str:
    return f"text, {field.words * 2} characters" if field.kind == "text" else field.kind


def _address(base: int, at: int) -> str:
    return str(base + at)


def _reasons() -> Iterable[tuple[str, ...]]:
    yield "0", "", "it was judged"
    for reason, number in codes.REASONS.items():
        yield str(number), f"`{reason}`", codes.REASON_TEXTS[reason]


def _rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
