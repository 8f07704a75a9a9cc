"""goldline fleet hub: whose events the plant's hub takes, and who is let in."""

import argparse
import asyncio
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import GoldlineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DEVICES = Path("devices.toml")
# A reload lets nobody in anew, and leaves a device's connection that is there (nats-server 2.15).
RESTART = "to end its connection: systemctl restart goldline-hub (a reload does not)"
EPILOG = """\
The list of devices is DEVICES (TOML: who, and by which public key); beside it `devices.conf` is written for the hub's
server, which is then told: systemctl reload goldline-hub (SIGHUP).

examples:
  goldline fleet hub new operator --operator              makes operator.nk, this command's own key
  goldline fleet hub init --max-gb 400 --days 365         the plant's stream
  goldline fleet hub add cell7 UDXX...                    as `goldline fleet join` printed it on the device
  goldline fleet hub add cell7 UDYY... --replace          the device was replaced
  goldline fleet hub new mes                              makes mes.nk, for a program that reads events
  goldline fleet hub remove cell7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline fleet hub`."""
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--server", default="nats://127.0.0.1:4222", metavar="URL", help="default: %(default)s")
    common.add_argument("--nkey", type=Path, default=Path("operator.nk"), metavar="FILE", help="default: %(default)s")
    common.add_argument("--devices", type=Path, default=DEVICES, metavar="FILE", help="default: %(default)s")
    new = steps.add_parser("new", parents=[common], help="make the key of the operator, or of a program that reads")
    new.add_argument("name")
    new.add_argument("--operator", action="store_true", help="it may do everything")
    init = steps.add_parser("init", parents=[common], help="make the plant's stream, or give it other limits")
    init.add_argument("--max-gb", type=_above_zero, required=True, metavar="GB", help="beyond it the oldest events go")
    init.add_argument("--days", type=_above_zero, default=365, help="and those older than this (default: %(default)s)")
    init.add_argument("--replicas", type=int, default=1, metavar="N", help="in a cluster: 3")
    add = steps.add_parser("add", parents=[common], help="let a device in, and its events")
    add.add_argument("station")
    add.add_argument("public")
    add.add_argument("--replace", action="store_true", help="another device of the same name")
    remove = steps.add_parser("remove", parents=[common], help="let a device in no more; its events stay")
    remove.add_argument("station")
    listing = steps.add_parser("list", parents=[common], help="who is let in")
    listing.add_argument("--json", action="store_true", help="print one JSON object")


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Do what the step says. Raises GoldlineError."""
    steps = {"new": _new, "init": _init, "add": _add, "remove": _remove, "list": _list}
    steps[arguments.step](arguments)
    return 0


def _new(arguments: argparse.Namespace) -> None:
    from edge.commands.fleet_join import write
    from edge.fleet import hub, roster, servers

    seed, public = servers.new_seed()
    who = roster.load(arguments.devices).with_reader(arguments.name, public, is_operator=arguments.operator)
    if not arguments.operator:
        _ask(arguments, lambda js: hub.add_reader(js, arguments.name))
    write(Path(f"{arguments.name}.nk"), seed, None, is_replaced=False, mode=0o600)
    roster.save(arguments.devices, who)
    print(f"{arguments.name}.nk: made; now: systemctl reload goldline-hub")


def _init(arguments: argparse.Namespace) -> None:
    from edge.fleet import hub

    size = int(arguments.max_gb * 1e9)
    _ask(arguments, lambda js: hub.make_plant(js, max_bytes=size, max_days=arguments.days, replicas=arguments.replicas))
    print("the hub keeps the plant's events")


def _add(arguments: argparse.Namespace) -> None:
    from edge.fleet import roster

    before = roster.load(arguments.devices)
    who = before.with_device(arguments.station, arguments.public, is_replaced=arguments.replace)
    roster.save(arguments.devices, who)
    print(f"{arguments.station}: its events are taken once the hub knows the key: systemctl reload goldline-hub")
    if before.devices.get(arguments.station, arguments.public) != arguments.public:
        print(f"the device before it: {RESTART}")


def _remove(arguments: argparse.Namespace) -> None:
    from edge.fleet import roster

    who = roster.load(arguments.devices).without(arguments.station)
    roster.save(arguments.devices, who)
    print(f"{arguments.station}: removed; {RESTART}")


def _list(arguments: argparse.Namespace) -> None:
    from edge.fleet import roster

    who = roster.load(arguments.devices)
    if arguments.json:
        print(json.dumps({"devices": who.devices, "readers": who.readers}))
        return
    for name in sorted(who.devices):
        print(name)


def _ask(arguments: argparse.Namespace, question: "Callable[[Any], Awaitable[Any]]") -> Any:
    """What the hub answers to the operator. Raises GoldlineError."""
    from edge.fleet.asking import asked

    if not arguments.nkey.is_file():
        raise GoldlineError(
            f"{arguments.nkey}: no such file: the operator's key (goldline fleet hub new NAME --operator)"
        )
    return asyncio.run(asked(arguments.server, arguments.nkey, question))
