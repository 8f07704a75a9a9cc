"""The configurations of the fleet's NATS servers: one beside each station, one (or a cluster) for the plant.

A device is known to the hub by the public half of its key, and is in an account of its own there, from which it reaches
only what its station may ask for and say (rights.py). The secret half never leaves the device.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nkeys  # pyright: ignore[reportMissingTypeStubs] - it has none

from edge.errors import GoldlineError
from edge.fleet.rights import EXPORTS, OPERATOR, Rights, device_rights, services
from edge.fleet.words import HUB_DOMAIN

_nkeys: Any = nkeys
CLIENT_PORT = 4222
# The hub's port for leaf nodes as NATS has it by default.
LEAF_PORT = 7422
# An event of a part with many views is a megabyte at most; the hub takes as much.
MAX_PAYLOAD = "8MB"
STATION = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
PUBLIC = re.compile(r"U[A-Z2-7]{55}")

LEAF = """\
# The NATS server of this device, written by `goldline fleet join`. It holds the device's secret key: mode 0640.
server_name: {station}
listen: 127.0.0.1:{port}
max_payload: {max_payload}
jetstream {{
  store_dir: {store_dir}
  domain: {station}
  # An event is on the disk before the station hears that it was taken.
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: {max_file_store}
}}
leafnodes {{
  remotes: [{{
    url: {hub}
    nkey: {seed}{tls}
  }}]
}}
"""
LEAF_TLS = """
    tls {{ ca_file: {ca_file} }}"""

DEVICES_HEAD = """\
# Who is let into the hub, written by `goldline fleet hub`: public keys only. After a change:
#   systemctl reload goldline-hub     (by hand: nats-server --signal reload=PID, twice, a second apart)
"""
# By this name the plant's account keeps its streams on the disk.
PLANT_ACCOUNT = "FLEET"
PLANT = """\
FLEET {{
  jetstream: enabled
  users: [
{users}  ]
  exports: [
{exports}  ]
}}
"""


def new_seed() -> tuple[str, str]:
    """A fresh secret key (a seed) and its public half, as NATS writes them."""
    seed = _nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
    return seed, public_of(seed)


def public_of(seed: str) -> str:
    """The public half. Raises GoldlineError for what is no seed."""
    try:
        return _nkeys.from_seed(seed.strip().encode()).public_key.decode()
    except (nkeys.NkeysError, ValueError, IndexError) as problem:
        raise GoldlineError(f"this is no seed of a NATS user (SU...): {type(problem).__name__}") from None


def leaf_conf(
    *, station: str, hub: str, seed: str, store_dir: Path, ca_file: Path | None, port: int, max_file_store: int
) -> str:
    """The configuration of a device's server. Raises GoldlineError for what is no station id or URL of a hub."""
    check_station(station)
    return LEAF.format(
        station=json.dumps(station),
        port=port,
        max_payload=MAX_PAYLOAD,
        store_dir=json.dumps(str(store_dir)),
        max_file_store=max_file_store,
        hub=json.dumps(hub_url(hub)),
        seed=seed,
        tls="" if ca_file is None else LEAF_TLS.format(ca_file=json.dumps(str(ca_file))),
    )


def hub_url(url: str) -> str:
    """Where the hub lets leaf nodes in. Raises GoldlineError."""
    try:
        parts = urlsplit(url)
        port, host = parts.port or LEAF_PORT, parts.hostname
    except ValueError:
        port, host, parts = 0, None, urlsplit("")
    if not host or parts.scheme not in ("nats-leaf", "tls") or "@" in parts.netloc or parts.path.strip("/"):
        raise GoldlineError(f"{url}: expected nats-leaf://HOST:{LEAF_PORT}, or tls://HOST:{LEAF_PORT}")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def port_of(server: str) -> int:
    """Of the URL of a device's own server."""
    return urlsplit(server).port or CLIENT_PORT


def devices_conf(devices: Mapping[str, str], others: Mapping[str, tuple[str, Rights]] | None = None) -> str:
    """The hub's accounts: the plant's, and one for each device, which holds nothing.

    `devices`: public key by station; `others`: public key and rights by name.
    """
    users = (_user(name, key, rights) for name, (key, rights) in sorted((others or {}).items()))
    exports = (f"    {{ service: {json.dumps(subject)} }}\n" for subject in EXPORTS)
    accounts = (_device(check_station(name), check_public(key)) for name, key in sorted(devices.items()))
    return DEVICES_HEAD + PLANT.format(users="".join(users), exports="".join(exports)) + "".join(accounts)


def _device(station: str, key: str) -> str:
    imports = (
        f"    {{ service: {{ account: {PLANT_ACCOUNT}, subject: {json.dumps(one.plant)} }}, to: {json.dumps(one.asked)} }}\n"
        for one in services(station)
    )
    user = _user(station, key, device_rights(station))
    return f"{json.dumps(f'device-{station}')} {{\n  users: [\n{user}  ]\n  imports: [\n{''.join(imports)}  ]\n}}\n"


def _user(name: str, key: str, rights: Rights) -> str:
    if rights is OPERATOR:
        return f"    {{ nkey: {key} }} # {name}\n"
    publish, subscribe = (json.dumps(list(one)) for one in (rights.publish, rights.subscribe))
    return (
        f"    {{ nkey: {key}, permissions: {{ # {name}\n"
        f"      publish: {{ allow: {publish} }}\n      subscribe: {{ allow: {subscribe} }}\n    }} }}\n"
    )


def check_station(name: str) -> str:
    """Raises GoldlineError for what is no station id, or the hub's own name: a device of that would hear its questions."""
    if name == HUB_DOMAIN:
        raise GoldlineError(f"{name}: is the hub's own name; a station has another")
    if not STATION.fullmatch(name):
        raise GoldlineError(f"{name}: is no station id: lower-case letters, digits, - and _")
    return name


def check_public(key: str) -> str:
    """Raises GoldlineError for what is no public key of a device."""
    if not PUBLIC.fullmatch(key):
        raise GoldlineError(f"{key}: is no public key of a device: U and 55 more, as `goldline fleet join` prints it")
    return key
