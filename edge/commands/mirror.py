"""Keep a copy of the station's events in a database."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.heard import Item

EXAMPLE = """\
example: goldline mirror --to sqlite:events.db
         goldline mirror --to postgresql://mes@db.plant/quality --consumer mes.quality --keys mes.key \\
             --address tcp://10.0.0.7:5556 --sync tcp://10.0.0.7:5558"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    from edge.commands.tail import add_border

    parser.description = (
        "Write every event into a database, each once, and go on after any interruption of either side."
    )
    parser.epilog = EXAMPLE
    parser.add_argument(
        "--to", required=True, metavar="DATABASE", help="sqlite:PATH or postgresql://USER@HOST/DATABASE"
    )
    parser.add_argument("--consumer", default="mirror", metavar="NAME", help="who acknowledges (default mirror)")
    parser.add_argument("--once", action="store_true", help="leave when all that there was is written")
    add_border(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write until interrupted."""
    from edge.client import Subscriber
    from edge.commands.tail import SILENCE_S, border
    from edge.mirror import open_store

    live, sync, keys = border(arguments)
    with open_store(arguments.to, arguments.consumer) as store:
        after, consumer = store.cursor(), arguments.consumer
        print(f"goldline: {arguments.consumer} goes on after {after}", file=sys.stderr)
        with Subscriber(
            live=live,
            sync=sync,
            consumer=consumer,
            after=after,
            keys=keys,
            silence_s=SILENCE_S if arguments.once else None,
        ) as subscriber:
            while not (arguments.once and subscriber.is_level):
                if items := subscriber.take(1.0):
                    store.write(items)
                    _tell(items)
                    subscriber.acknowledge(items[-1].cursor)
    return 0


def _tell(items: "Sequence[Item]") -> None:
    """What is in the database, and whoever watches should know."""
    from edge.commands.tail import report_gone, report_new_stream
    from edge.heard import Gone, NewStream

    for item in items:
        if isinstance(item, Gone):
            report_gone(item)
        elif isinstance(item, NewStream):
            report_new_stream(item)
