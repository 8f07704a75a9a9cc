"""goldline fleet join: the configuration of this device's NATS server, with a key of its own."""

import argparse
import os
import shutil
from pathlib import Path

from edge.errors import GoldlineError

STORE = Path("/var/lib/goldline-nats")
# The server's user reads its configuration; everybody else must not, for it holds the key.
MODE = 0o640
# Above what `[fleet] max_bytes` lets the events take.
ROOM = 256 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline fleet join`."""
    parser.add_argument("hub", help="where the hub lets devices in: tls://HOST:7422 (nats-leaf:// without TLS)")
    parser.add_argument("--out", type=Path, default=Path("leaf.conf"), metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, default=STORE, metavar="DIR", help="where it keeps events (%(default)s)")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="the authority that signed the hub's certificate")
    parser.add_argument("--group", metavar="NAME", help="who may read FILE besides its owner: the server's group")
    parser.add_argument("--replace", action="store_true", help="in place of the key that is there")


def run(arguments: argparse.Namespace) -> int:
    """Write it, and say what is left to do. Raises GoldlineError."""
    from edge.config import load_station
    from edge.fleet import servers

    station = load_station(arguments.config)
    if station.fleet is None:
        raise GoldlineError("config.toml has no [fleet]: add the section, and give this command again")
    seed, public = servers.new_seed()
    text = servers.leaf_conf(
        station=station.station_id,
        hub=arguments.hub,
        seed=seed,
        store_dir=arguments.store.absolute(),
        ca_file=arguments.ca and arguments.ca.absolute(),
        port=servers.port_of(station.fleet.server),
        max_file_store=station.fleet.max_bytes + ROOM,
    )
    write(arguments.out, text, arguments.group, is_replaced=arguments.replace)
    print(f"{arguments.out}: made. Start the server (systemctl enable --now goldline-nats), and at the hub:")
    print(f"goldline fleet hub add {station.station_id} {public}")
    return 0


def write(path: Path, text: str, group: str | None, *, is_replaced: bool, mode: int = MODE) -> None:
    """Put the file there, whole, never readable for others. Raises GoldlineError."""
    if path.exists() and not is_replaced:
        raise GoldlineError(f"{path}: is there already, with the key that the hub knows; another one: --replace")
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(text)
        if group is not None:
            shutil.chown(beside, group=group)
        beside.replace(path)
    except (OSError, LookupError) as problem:
        raise GoldlineError(f"{path}: cannot be written: {problem}") from problem
