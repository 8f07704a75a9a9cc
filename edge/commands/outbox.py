"""What the outbox keeps and for whom, and to forget a consumer that nobody wants any more."""

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "example: goldline outbox status      example: goldline outbox forget old-mes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = (
        "Show what the outbox keeps and who has acknowledged how much of it; the station may be running."
    )
    parser.epilog = EXAMPLE
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="status | forget NAME")
    status = verbs.add_parser("status", help="what is kept, and what each consumer has not acknowledged")
    status.add_argument("--json", action="store_true", help="one JSON object")
    forget = verbs.add_parser("forget", help="keep nothing for this consumer any more")
    forget.add_argument("name", metavar="NAME")
    for verb in (status, forget):
        # Wherever it is given, it is the same.
        verb.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """0 when it was done, 1 when there is no such consumer."""
    from edge.config import load_station

    path = load_station(arguments.config).state_dir / "outbox.sqlite3"
    return forget(path, arguments.name) if arguments.verb == "forget" else status(path, is_json=arguments.json)


def status(path: Path, *, is_json: bool) -> int:
    """Print it."""
    import json
    from contextlib import closing

    from edge import outbox_kept
    from edge.outbox_file import naming, open_reading

    with naming(path), closing(open_reading(path)) as database:
        kept, consumers = outbox_kept.extent(database), outbox_kept.consumers(database)
    shown: dict[str, Any] = {
        "file": str(path),
        "low": kept.low,
        "head": kept.head,
        "used_bytes": kept.used_bytes,
        "oldest_utc": _utc(kept.oldest_utc_ns),
        "consumers": [
            {"name": one.name, "upto": one.upto, "unacknowledged": kept.head - one.upto, "seen_utc": one.seen_utc}
            for one in consumers
        ],
    }
    if is_json:
        print(json.dumps(shown))
        return 0
    print(
        f"{path}: events {kept.low} to {kept.head}, {kept.used_bytes / 1e6:.1f} MB, from {shown['oldest_utc'] or '-'} on"
    )
    for one in shown["consumers"]:
        print(
            f"{one['name']:<20} has up to {one['upto']}, {one['unacknowledged']} to come, last seen {one['seen_utc']}"
        )
    return 0


def forget(path: Path, name: str) -> int:
    """Let its name go; it is a consumer again when it comes again."""
    from contextlib import closing

    from edge import outbox_kept
    from edge.outbox_file import naming, open_reading
    from edge.transactions import transaction

    with naming(path), closing(open_reading(path, may_write=True)) as database, transaction(database):
        known = [one.name for one in outbox_kept.consumers(database)]
        is_known = outbox_kept.forget(database, name)
    if not is_known:
        print(f"no consumer {name!r}: known are {', '.join(known) or 'none'}")
    return 0 if is_known else 1


def _utc(utc_ns: int | None) -> str | None:
    from edge.events import utc

    return None if utc_ns is None else utc(utc_ns).isoformat(timespec="seconds")
