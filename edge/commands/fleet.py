"""goldline fleet: products on many stations at once, from the hub of a plant."""

import argparse
import importlib
from pathlib import Path

EPILOG = """\
A hub (NATS) has bundles: a product's recipe, models and reference set in one signed file. Each station takes what it is
wanted to have, checks it, judges by it, and says so. docs/roll-outs.md tells the whole, step by step.

examples:
  goldline fleet join tls://hub.plant:7422                  on a device, once: its events go to the hub
  goldline fleet key new plant.key                          makes plant.key and plant.pub
  goldline fleet roll-out lid --stations s1 --then 30%,100% --wait 10m --parts 200 --key plant.key
  goldline fleet roll-out lid --resume --key plant.key      go on after this command was ended
  goldline fleet roll-back lid --key plant.key              every station judges by what it judged by before
  goldline fleet status
  goldline fleet pull                                       on a station, before its first start

exit code: 0 done, 1 a station refused or is not there, 2 it cannot be done: no hub, another operator, no right
"""
VERBS = {
    "join": "on a device: make the configuration of its NATS server, with a key of its own",
    "hub": "at the hub: who is let in",
    "key": "make the key that bundles are signed with",
    "init": "make the hub's buckets; those that are there stay",
    "status": "every station with what it is wanted to have and what it judges by",
    "roll-out": "put the product as it is here on other stations, stage by stage",
    "roll-back": "have stations judge by the bundle before",
    "pull": "on a station: take what it is wanted to have, while it does not run",
}
DEFAULT_SERVER = "nats://127.0.0.1:4222"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline fleet`."""
    parser.description, parser.epilog = "Products on many stations at once, from the hub of a plant.", EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    made = {name: verbs.add_parser(name, help=text, description=text, parents=[common]) for name, text in VERBS.items()}
    for name in ("join", "hub"):
        importlib.import_module(f"edge.commands.fleet_{name}").add_arguments(made[name])
    made["key"].add_argument("what", choices=["new"])
    made["key"].add_argument("file", type=Path, help="where to write the secret key; the public one goes beside it")
    for name in ("init", "status", "roll-out", "roll-back"):
        made[name].add_argument(
            "--server", default=DEFAULT_SERVER, metavar="URL", help="the hub (default: %(default)s)"
        )
        made[name].add_argument("--nkey", type=Path, metavar="FILE", help="the operator's own secret key at the hub")
    made["init"].add_argument("--replicas", type=int, default=1, metavar="N", help="of each bucket, in a cluster")
    for name in ("roll-out", "roll-back"):
        made[name].add_argument("product")
        made[name].add_argument("--key", type=Path, required=True, metavar="FILE", help="the key to sign with")
        made[name].add_argument("--patience", default="10m", metavar="TIME", help="how long a station may say nothing")
    for name in ("status", "roll-out", "roll-back", "pull"):
        made[name].add_argument("--json", action="store_true", help="print one JSON object")
    _add_roll_out(made["roll-out"])
    made["roll-back"].add_argument("--stations", metavar="A,B", help="these alone (default: all that were given it)")
    made["pull"].add_argument("--wait", default="30s", metavar="TIME", help="how long the hub may be away")


def _add_roll_out(parser: argparse.ArgumentParser) -> None:
    first = parser.add_mutually_exclusive_group(required=True)
    first.add_argument("--stations", metavar="A,B", help="the first stage: these")
    first.add_argument("--share", metavar="10%", help="the first stage: this share, by their names")
    first.add_argument("--all", action="store_true", help="every station at once")
    first.add_argument("--resume", action="store_true", help="go on with one that was stopped, or whose command died")
    parser.add_argument("--then", default="", metavar="50%,100%", help="the stages after the first, as shares of all")
    parser.add_argument("--wait", default="0s", metavar="TIME", help="after a stage has arrived, before the next")
    parser.add_argument("--parts", type=int, default=0, metavar="N", help="each station has judged so many parts first")
    parser.add_argument(
        "--margin", default="2%", metavar="SHARE", help="by which not-PASS may grow (default: %(default)s)"
    )
    parser.add_argument("--bundle", metavar="HASH", help="one that is at the hub, instead of what is here")
    parser.add_argument("--replace-local", action="store_true", help="also where something else was taught; it is kept")


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says. Raises GoldlineError."""
    from edge.errors import GoldlineError

    module = {"join": "join", "hub": "hub", "key": "key", "pull": "pull", "status": "status"}.get(
        arguments.verb, "products"
    )
    try:
        return importlib.import_module(f"edge.commands.fleet_{module}").run(arguments)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("edge."):
            raise
        raise GoldlineError(f"{missing.name} is not installed: pip install 'goldline[fleet]'") from None
