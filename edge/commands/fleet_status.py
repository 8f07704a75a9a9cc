"""goldline fleet status: every station with what it is wanted to have and what it judges by."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from edge.fleet.plan import Rollout
    from edge.fleet.stages import Line

HASH_DIGITS = 12


def run(arguments: argparse.Namespace) -> int:
    """Print it. Raises GoldlineError."""
    rows, rollouts = asyncio.run(_read(arguments))
    if arguments.json:
        print(msgspec.json.encode({"stations": rows, "rollouts": rollouts}).decode())
        return 0
    print("\n".join([*_table(rows), *map(_rollout, rollouts)]) or "no station has been heard of yet")
    return 0


async def _read(arguments: argparse.Namespace) -> "tuple[list[Line], list[Rollout]]":
    from edge.fleet.buckets import OperatorBuckets, connected, operator_options
    from edge.fleet.rollout import acknowledged
    from edge.fleet.stages import lines
    from edge.fleet.words import ROLLOUTS, STATE, WANTED

    async with connected(arguments.server, **operator_options(arguments.nkey)) as client:
        buckets = OperatorBuckets(client)
        said, wanted = acknowledged(await buckets.all(STATE)), _wanted(await buckets.all(WANTED))
        rollouts = _rollouts(await buckets.all(ROLLOUTS))
    each = {station: said.get(station) for station in {*said, *wanted}}
    return lines(each, wanted, datetime.now(UTC)), rollouts


def _rollouts(documents: dict[str, bytes]) -> "list[Rollout]":
    """By product; a record that cannot be read is told of, and keeps none of the others from being shown."""
    from edge.fleet.plan import DocumentError, Rollout, decode

    found: list[Rollout] = []
    for product, document in sorted(documents.items()):
        try:
            found.append(decode(document, Rollout))
        except DocumentError as problem:
            print(f"{product}: how its roll-out stands cannot be read: {problem}", file=sys.stderr)
    return found


def _wanted(documents: dict[str, bytes]) -> dict[str, dict[str, str]]:
    """Shown as it stands at the hub: whether it is signed is for each station to check."""
    from edge.fleet.plan import DocumentError, Wanted, decode

    found: dict[str, dict[str, str]] = {}
    for station, document in documents.items():
        try:
            said = decode(document.partition(b"\n")[2], Wanted)
        except DocumentError:
            continue
        found[station] = {product: one.bundle for product, one in said.products.items()}
    return found


def _table(rows: "list[Line]") -> list[str]:
    heads = ("station", "last heard", "product", "wanted", "has", "judges by", "since", "version", "behind", "problem")
    table = [heads, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads) - 1)]
    return (
        [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip()
            for row in table
        ]
        if rows
        else []
    )


def _cells(row: "Line") -> tuple[str, ...]:
    judged = "yes" if row.is_judged else "not yet" if row.is_in_force else "no" if row.product else "-"
    heard = f"{row.said:%m-%d %H:%M:%S}" if row.said else "never"
    return (
        row.station,
        heard if row.is_connected else f"{heard} (away)",
        row.product or "-",
        (row.wanted or "-")[:HASH_DIGITS],
        (row.active or "")[:HASH_DIGITS] or (f"local {row.reference_set}" if row.reference_set else "-"),
        judged,
        f"{row.since:%m-%d %H:%M}" if row.since else "-",
        row.goldline or "-",
        "-" if row.behind is None else str(row.behind),
        row.problem or "",
    )


def _rollout(rollout: "Rollout") -> str:
    stage = f"stage {min(rollout.stage + 1, len(rollout.stages))} of {len(rollout.stages)}"
    told = (
        f"{rollout.product}: {rollout.bundle[:HASH_DIGITS]} {rollout.state}, {stage}, begun {rollout.began:%m-%d %H:%M}"
    )
    return told + (f": {rollout.problem}" if rollout.problem else "")
