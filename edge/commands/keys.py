"""goldline keys: the station's key, and who is let in by theirs."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config import Station
    from edge.keys import Zone

EPILOG = """\
An address beyond this machine ([events] live, sync, command) is for peers with keys: the station's own, and one for each
client. A key is good for zones: "events" to hear the station, "orders" to have it do something. A running station notices
every change of the list by itself; another station key needs a restart. docs/security.md tells the whole.

examples:
  goldline keys new
  goldline keys client mes --for events,orders    makes mes.key, to be carried to the MES
  goldline keys allow scada 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7' --for events
  goldline keys deny scada
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline keys`."""
    parser.description, parser.epilog = "Make the station's key, and say whose keys are let in.", EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    zones = argparse.ArgumentParser(add_help=False)
    zones.add_argument(
        "--for", dest="zones", default="events", metavar="ZONES", help="events, orders, or both: events,orders"
    )
    replace = argparse.ArgumentParser(add_help=False)
    replace.add_argument("--replace", action="store_true", help="in place of the key that is there")
    verbs.add_parser("new", parents=[common, replace], help="make the station's own key")
    name = "lower-case letters, digits, - and _"
    client = verbs.add_parser("client", parents=[common, zones, replace], help="make a client's key, and let it in")
    client.add_argument("name", help=name)
    client.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: NAME.key in this folder)")
    allow = verbs.add_parser("allow", parents=[common, zones, replace], help="let a client in by its public key")
    allow.add_argument("name", help=name)
    allow.add_argument("public", help="40 characters, in single quotes; one that begins with - after --")
    deny = verbs.add_parser("deny", parents=[common], help="let a client in no more, and send it off")
    deny.add_argument("name", help="as it is on the list")
    listing = verbs.add_parser("list", parents=[common], help="the station's public key, and who is let in")
    listing.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says. Raises GoldlineError."""
    from edge.config import load_station

    station = load_station(arguments.config)
    {"new": _new, "client": _client, "allow": _allow, "deny": _deny, "list": _list}[arguments.verb](station, arguments)
    return 0


def _new(station: "Station", arguments: argparse.Namespace) -> None:
    from edge import key_files

    key = key_files.new_station_key(station.keys_dir, is_replaced=arguments.replace)
    print(f"{station.keys_dir}: made. The station's public key, for its clients:\n{key.public}")
    if arguments.replace:
        print("every client needs it in its file (server_public), and the station a restart: goldline keys client NAME")


def _client(station: "Station", arguments: argparse.Namespace) -> None:
    from edge import key_files
    from edge.keys import ClientKeys, load_clients, load_station_public, new_pair

    key_files.check_name(arguments.name)
    zones = _zones(arguments.zones)
    own = load_station_public(station.keys_dir)
    if own is None:
        raise _needed(station)
    if arguments.name in load_clients(station.keys_dir).clients and not arguments.replace:
        raise _taken(arguments.name)
    public, secret = new_pair()
    path = (arguments.out or Path(f"{arguments.name}.key")).absolute()
    key_files.write_client_file(path, arguments.name, ClientKeys(server_public=own, public=public, secret=secret))
    key_files.allow(station.keys_dir, arguments.name, public, zones, is_replaced=arguments.replace)
    print(f"{arguments.name} is let in: {', '.join(zones)}. Carry {path} to it, then delete it here; it connects to")
    for line in _addresses(station, zones):
        print(f"  {line}")


def _allow(station: "Station", arguments: argparse.Namespace) -> None:
    from edge import key_files
    from edge.keys import load_station_public

    zones = _zones(arguments.zones)
    key_files.allow(station.keys_dir, arguments.name, arguments.public, zones, is_replaced=arguments.replace)
    own = load_station_public(station.keys_dir)
    print(f"{arguments.name} is let in: {', '.join(zones)}")
    print("this station has no key itself yet: goldline keys new" if own is None else f"it needs to know: {own}")


def _deny(station: "Station", arguments: argparse.Namespace) -> None:
    from edge import key_files

    key_files.deny(station.keys_dir, arguments.name)
    print(f"{arguments.name} is let in no more; a running station sends it off within 2 s")


def _list(station: "Station", arguments: argparse.Namespace) -> None:
    from edge.keys import load_clients, load_station_public

    own, clients = load_station_public(station.keys_dir), load_clients(station.keys_dir).clients
    if arguments.json:
        listed = {name: client.model_dump(mode="json") for name, client in clients.items()}
        print(json.dumps({"station": own and {"public": own}, "clients": listed}))
        return
    print(f"{'station':<20}  {own or 'no key: goldline keys new'}")
    for name, client in sorted(clients.items()):
        print(f"{name:<20}  {client.public}  {', '.join(client.zones)}")


def _zones(text: str) -> "tuple[Zone, ...]":
    from edge.errors import GoldlineError
    from edge.keys import ZONES

    named = [part.strip() for part in text.split(",")]
    if unknown := [part for part in named if part not in ZONES]:
        raise GoldlineError(f"--for {text}: {unknown[0]!r} is no zone: {', '.join(ZONES)}")
    return tuple(zone for zone in ZONES if zone in named)


def _addresses(station: "Station", zones: "tuple[Zone, ...]") -> list[str]:
    """What a client of these zones connects to, or why it cannot from elsewhere."""
    from edge.addresses import is_remote
    from edge.keys import ZONES

    each = {key: getattr(station.events, key) for zone in zones for key in ZONES[zone]}
    hint = "   (this machine alone can reach it: config.toml, [events])"
    return [f"{key:<8} {address}{'' if is_remote(address) else hint}" for key, address in each.items()]


def _needed(station: "Station") -> Exception:
    from edge.errors import GoldlineError

    return GoldlineError(f"{station.keys_dir}: this station has no key yet: goldline keys new")


def _taken(name: str) -> Exception:
    from edge.errors import GoldlineError

    return GoldlineError(
        f"{name}: is let in already; --replace makes it another key, and the one before counts no more"
    )
